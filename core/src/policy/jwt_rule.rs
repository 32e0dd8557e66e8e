//! JWT rules, with the fields of RequestAuthentication and Usher's own.

use std::rc::Rc;

use super::{Emission, Keys};
use crate::claims::ClaimName;
use crate::crypto::Algorithm;
use crate::hash::FastMap;

/// One entry of `jwtRules` (RequestAuthentication, with Usher's own fields).
#[derive(Clone, Debug)]
pub struct JwtRule {
    /// Its name in logs, metrics and `request.auth.provider`: its `name`, else its issuer.
    pub provider: String,
    /// The `iss` to accept; `None` is any (`anyIssuer`).
    pub issuer: Option<String>,
    /// Accepted audiences, normalised; if empty, any, and a token without `aud` too.
    pub audiences: Vec<String>,
    /// `audienceClaims`: of these claims the first that a token has decides, alone; if empty, `aud`.
    pub audience_claims: Vec<String>,
    /// The keys, or where they come from.
    pub keys: Keys,
    /// Indices into the list of locations that all rules share.
    pub places: Vec<usize>,
    /// Whether the service gets the token too.
    pub forward: Forward,
    /// The headers to emit.
    pub emission: Emission,
    /// Claims that rules read as lists of words, sorted.
    pub space_delimited: Rc<[String]>,
    /// `algorithms`; `None`: those that the keys allow, except symmetric ones.
    pub algorithms: Option<Vec<Algorithm>>,
    /// Seconds by which clocks may differ.
    pub clock_skew: u64,
    /// The same for `iat` (`issuedAtSkew`, or `clockSkew`).
    pub issued_at_skew: u64,
    /// Whether `exp` is required.
    pub expiration: Expiration,
    /// Seconds from `iat` to `exp` at most.
    pub max_lifetime: Option<u64>,
    /// Seconds from `iat` to now at most.
    pub max_age: Option<u64>,
    /// Accepted subjects; if empty, any.
    pub subjects: Vec<MatchSubject>,
    /// Claims that are required.
    pub required_claims: Vec<RequiredClaim>,
    /// Accepted `typ`, normalised; if empty, any, and a token without `typ` too.
    pub types: Vec<String>,
}

/// Rules by their issuer, in file order.
#[derive(Clone, Debug, Default)]
pub struct Issuers {
    /// Rules for one issuer.
    pub named: FastMap<String, Vec<usize>>,
    /// Rules for any issuer.
    pub any: Vec<usize>,
}

impl Issuers {
    /// The issuers of these rules.
    pub fn of(rules: &[JwtRule]) -> Self {
        let mut issuers = Self::default();
        for (index, rule) in rules.iter().enumerate() {
            match &rule.issuer {
                Some(issuer) => issuers.named.entry(issuer.clone()).or_default().push(index),
                None => issuers.any.push(index),
            }
        }
        issuers
    }
}

/// What happens to a verified token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// The service receives it at its original place (`forwardOriginalToken: true`).
    Keep,
    /// It is removed from the request.
    Withhold,
}

/// Whether a token must have an expiration time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiration {
    /// A token without `exp` never expires, as in Istio.
    Optional,
    /// A token without `exp` is refused.
    Required,
}

/// One accepted form of `sub`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MatchSubject {
    /// This text.
    Exact(String),
    /// A text with this prefix.
    Prefix(String),
    /// A text with this suffix.
    Suffix(String),
}

/// A claim that is required, with one of these values if any are listed. Values are compared with a
/// string's text, and with a number's or boolean's JSON text; for a list, with each element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequiredClaim {
    /// The claim.
    pub claim: ClaimName,
    /// Accepted values; if empty, any but null.
    pub values: Vec<String>,
}

/// A media type's short form in lower case.
pub fn normalize_type(typ: &str) -> String {
    let lower = typ.to_ascii_lowercase();
    lower.strip_prefix("application/").map(str::to_owned).unwrap_or(lower)
}

/// The audience without one leading `http://` or `https://` and one trailing `/`
/// (google/jwt_verify_lib src/check_audience.cc).
pub fn normalize_audience(audience: &str) -> &str {
    let rest = audience.strip_prefix("http://").or_else(|| audience.strip_prefix("https://"));
    let rest = rest.unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}
