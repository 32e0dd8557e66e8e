//! jwtRules: issuer, type, algorithm, key, signature, then time, lifetime, audience, subject and
//! claims -> [`Verified`].
//!
//! Only this module can make a [`Verified`]. The signature is checked before any claim, so that a denial about a
//! claim is about a signed claim (Envoy checks claims first: docs/semantics.md, "Order of the checks on a token").
//! Several rules may have one issuer: the first in file order that accepts the token wins. If all refuse it, the
//! denial of the rule that the token got furthest with is reported.

use std::cell::OnceCell;
use std::rc::Rc;

use crate::claims::Claims;
use crate::codec::json::Value;
use crate::compact::Compact;
use crate::crypto::Algorithm;
use crate::crypto::SignatureEngine;
use crate::denial::Denial;
use crate::hash::FastMap;
use crate::jwks::{KeySet, Turn};
use crate::lookup::Lookup;
use crate::policy::untried_keys::{UntriedKeys, untried};
use crate::policy::{
    Expiration, Forward, Issuers, JwtRule, Keys, MatchSubject, Prefix, RequiredClaim,
    TokenLocation, normalize_audience, normalize_type,
};
use crate::remote::{JwksCache, MissingKey, Unavailable};
use crate::time::UnixSeconds;
use crate::token::Locations;

mod signatures;
mod verified;

use signatures::{Outcome, Signatures};
pub use verified::Verified;
use verified::{Reuse, Timing};

/// All rules, found by issuer.
#[derive(Clone, Debug, Default)]
pub struct JwtRules {
    /// In file order.
    pub rules: Vec<JwtRule>,
    /// Every place that a rule reads, each once.
    pub places: Vec<TokenLocation>,
    /// Signature checks of one token over all rules, at most (`limits.signatureChecks`).
    pub signature_checks: usize,
    /// The same places, indexed for finding tokens in a request.
    pub locations: Locations,
    /// For each place: whether a rule that reads it does not forward its tokens.
    withheld: Vec<bool>,
    /// For each place: the other one that reads the same header lines, if there is one.
    twins: Vec<Option<usize>>,
    issuers: Issuers,
}

impl JwtRules {
    /// Builds the index over `rules`.
    pub fn new(rules: Vec<JwtRule>, places: Vec<TokenLocation>, signature_checks: usize) -> Self {
        let issuers = Issuers::of(&rules);
        let twins = twins(&places);
        let mut withheld = vec![false; places.len()];
        for rule in rules.iter().filter(|rule| rule.forward == Forward::Withhold) {
            for place in &rule.places {
                withheld.get_mut(*place).into_iter().for_each(|withheld| *withheld = true);
            }
        }
        let locations = Locations::new(&places);
        Self { rules, places, signature_checks, locations, withheld, twins, issuers }
    }

    /// The rule that accepted a token.
    pub fn rule(&self, verified: &Verified) -> Option<&JwtRule> {
        self.rules.get(verified.rule())
    }

    /// Whether `rule`, after it verified a token, forwards it at `place`: at one of its own places, or at the twin
    /// of one, which holds the same token.
    pub fn keeps(&self, rule: &JwtRule, place: usize) -> bool {
        let twin = self.twins.get(place).copied().flatten();
        rule.forward == Forward::Keep
            && rule.places.iter().any(|read| *read == place || Some(*read) == twin)
    }

    /// Whether every rule that reads this place forwards its tokens.
    pub fn forwards_from(&self, place: usize) -> bool {
        self.withheld.get(place) != Some(&true)
    }

    /// The rules for which more keys fit one token than are tried, among the keys known so far.
    pub fn untried(&self, jwks_cache: &JwksCache) -> Vec<UntriedKeys> {
        let known = |keys: &Keys| keys.known(jwks_cache);
        untried(&self.rules, &self.issuers, self.signature_checks, &known)
    }

    /// The name in logs of the first rule for an issuer.
    fn provider_of(&self, issuer: Option<&str>) -> Option<String> {
        let index = self.issuers.named.get(issuer?).unwrap_or(&self.issuers.any).first()?;
        self.rules.get(*index).map(|rule| rule.provider.clone())
    }

    /// The rules for `issuer` that read one of `places`, in file order.
    fn eligible<'p>(
        &self,
        issuer: &str,
        places: &'p [usize],
    ) -> impl Iterator<Item = (usize, &JwtRule)> + use<'_, 'p> {
        let named = self.issuers.named.get(issuer).map(Vec::as_slice).unwrap_or_default();
        let mut indices: Vec<usize> = [named, self.issuers.any.as_slice()].concat();
        indices.sort_unstable();
        indices
            .into_iter()
            .filter_map(|index| Some((index, self.rules.get(index)?)))
            .filter(|(_, rule)| rule.places.iter().any(|place| places.contains(place)))
    }
}

/// For each place: the one that finds the same token in the same line, which is `Bearer` with and without the space
/// behind it.
fn twins(places: &[TokenLocation]) -> Vec<Option<usize>> {
    let mut twins = vec![None; places.len()];
    let mut firsts: FastMap<&str, usize> = FastMap::default();
    for (at, place) in places.iter().enumerate() {
        if let TokenLocation::Header { name, prefix: Prefix::Bearer | Prefix::BearerOpen } = place
            && let Some(first) = firsts.insert(name, at)
        {
            twins.get_mut(first).into_iter().for_each(|twin| *twin = Some(at));
            twins.get_mut(at).into_iter().for_each(|twin| *twin = Some(first));
        }
    }
    twins
}

/// No rule accepted a token.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The denial; of several rules, that of the rule that the token got furthest with.
    pub denial: Denial,
    /// The name in logs of the first rule for the token's issuer.
    pub provider: Option<String>,
    /// The keys that were missing. Once they are fetched, the outcome may differ.
    pub missing_keys: Vec<MissingKey>,
}

/// Verifies a token found at `places` (indices into [`JwtRules::places`]) at Unix time `now`.
///
/// # Errors
/// The denial of the rule that the token got furthest with; `issuer_unknown` if no rule has the token's issuer.
pub fn authenticate(
    rules: &JwtRules,
    token: Compact<'_>,
    places: &[usize],
    now: UnixSeconds,
    jwks_cache: &JwksCache,
    engine: &mut dyn SignatureEngine,
) -> Result<Verified, Refused> {
    let issuer = token.iss().unwrap_or_default();
    let audiences = OnceCell::new();
    let claimed = Claimed { token: &token, audiences: &audiences };
    let eligible = rules.eligible(issuer, places);
    let mut attempts: Vec<Attempt<'_>> =
        eligible.map(|(index, rule)| Attempt::new(index, rule, &token, jwks_cache, now)).collect();
    let mut signatures = Signatures::new(&token, rules.signature_checks);
    // Rules after the first that accepts do not count.
    let mut until = attempts.len();
    for turn in signatures.turns() {
        signatures.begin();
        for (at, attempt) in attempts.iter_mut().enumerate().take(until) {
            attempt.take(*turn, &mut signatures, &claimed, now, engine);
            if attempt.verdict.is_ok() {
                until = at;
                break;
            }
        }
    }
    let cut = signatures.is_cut();
    conclude(rules, token, attempts, cut)
}

/// A token under evaluation. What is expensive to read is read once for all rules.
struct Claimed<'t> {
    token: &'t Compact<'t>,
    /// Normalised and sorted, so that comparing two long lists costs their sum and not their product.
    audiences: &'t OnceCell<Lookup<'t>>,
}

/// The evaluation of a token by one rule.
struct Attempt<'r> {
    index: usize,
    rule: &'r JwtRule,
    keys: Result<Rc<KeySet>, Unavailable>,
    /// The token's algorithm, until it is known whether one of the rule's keys made the signature.
    open: Option<Algorithm>,
    /// The verdict so far.
    verdict: Result<(), Denial>,
}

impl<'r> Attempt<'r> {
    /// Makes the checks that precede the signature's.
    fn new(
        index: usize,
        rule: &'r JwtRule,
        token: &Compact<'_>,
        jwks_cache: &JwksCache,
        now: UnixSeconds,
    ) -> Self {
        let keys = rule.keys.current(jwks_cache, now);
        let may_verify = check_type(rule, token.header.typ.as_deref()).and_then(|()| match &keys {
            // Without a clock the age of fetched keys is unknown, and so is whether to fetch.
            _ if now == UnixSeconds::NO_CLOCK && rule.keys.remote().is_some() => {
                Err(Denial::HostFailed)
            }
            Ok(keys) => offered(rule, keys, token.algorithm),
            Err(unavailable) => {
                may_offer(rule, token.algorithm)?;
                Err(Denial::KeysUnavailable { retry_after: unavailable.retry_after })
            }
        });
        let (open, verdict) = match may_verify {
            Ok(algorithm) => (Some(algorithm), Err(Denial::KeyUnknown)),
            Err(denial) => (None, Err(denial)),
        };
        Self { index, rule, keys, open, verdict }
    }

    /// Tries the keys of this turn, and checks the claims once one of the rule's keys has verified the signature.
    fn take(
        &mut self,
        turn: Turn,
        signatures: &mut Signatures<'_>,
        claimed: &Claimed<'_>,
        now: UnixSeconds,
        engine: &mut dyn SignatureEngine,
    ) {
        let (Some(algorithm), Ok(keys)) = (self.open, &self.keys) else { return };
        match signatures.check(keys, turn, algorithm, engine) {
            Outcome::Verified => {
                self.open = None;
                self.verdict = check_claims(self.rule, claimed, now);
            }
            // An earlier turn may have got further.
            Outcome::Not(Denial::KeyUnknown) => {}
            Outcome::Not(denial) => self.verdict = Err(denial),
        }
    }
}

/// The first rule in file order that accepts, else the denial of the rule that the token got furthest with.
fn conclude(
    rules: &JwtRules,
    token: Compact<'_>,
    attempts: Vec<Attempt<'_>>,
    cut: bool,
) -> Result<Verified, Refused> {
    let mut furthest = Denial::IssuerUnknown;
    let mut reuse = Reuse::Same;
    let mut missing_keys = Vec::new();
    for attempt in attempts {
        let denial = match &attempt.verdict {
            Ok(()) => return Ok(Verified::new(token, attempt.index, attempt.rule, reuse)),
            Err(denial) => denial,
        };
        if let Some(lacked) = missing_key(attempt.rule, &attempt.keys, &token, denial) {
            // With the key this rule may accept the token, before any later rule.
            reuse = Reuse::Unsettled;
            missing_keys.push(lacked);
        }
        if *denial == Denial::TokenNotYetValid {
            reuse = Reuse::Unsettled;
        }
        if denial.progress() > furthest.progress() {
            furthest = denial.clone();
        }
    }
    if cut {
        // Not every key was tried, so that the signature may still be good; and a fetch would bring more keys.
        missing_keys.clear();
        let unknown = matches!(furthest, Denial::SignatureInvalid | Denial::KeysUnavailable { .. });
        if unknown {
            furthest = Denial::KeyUnknown;
        }
    }
    Err(Refused { denial: furthest, provider: rules.provider_of(token.iss()), missing_keys })
}

/// The key that a rule with remote keys was missing, if it refused the token for that.
fn missing_key(
    rule: &JwtRule,
    keys: &Result<Rc<KeySet>, Unavailable>,
    token: &Compact<'_>,
    denial: &Denial,
) -> Option<MissingKey> {
    let remote = Rc::clone(rule.keys.remote()?);
    let kid = token.header.kid.as_deref();
    match (keys, denial) {
        (Err(_), Denial::KeysUnavailable { .. }) => Some(MissingKey { remote, kid: None }),
        // A new key may bring a new algorithm along; and keys without `kid` were tried in its place.
        (Ok(keys), Denial::KeyUnknown | Denial::AlgorithmNotAllowed | Denial::SignatureInvalid) => {
            may_offer(rule, token.algorithm).ok()?;
            let kid = kid.filter(|kid| !keys.lists(kid))?;
            Some(MissingKey { remote, kid: Some(kid.to_owned()) })
        }
        _ => None,
    }
}

/// Checks the claims of a token that has the rule's issuer and a verified signature.
fn check_claims(rule: &JwtRule, claimed: &Claimed<'_>, now: UnixSeconds) -> Result<(), Denial> {
    let token = claimed.token;
    Timing::of(token).check(rule, now)?;
    check_audience(rule, claimed)?;
    check_subject(rule, token.sub())?;
    check_required_claims(rule, &token.claims)
}

/// RFC 8725 section 3.11; compared as in RFC 7515 section 4.1.9: without case, and without `application/`.
fn check_type(rule: &JwtRule, typ: Option<&str>) -> Result<(), Denial> {
    let allowed = |typ: &str| rule.types.contains(&normalize_type(typ));
    if rule.types.is_empty() || typ.is_some_and(allowed) {
        Ok(())
    } else {
        Err(Denial::TypeNotAllowed)
    }
}

/// The token's algorithm, if the rule offers it: the key and the operator choose the algorithm, never the token (RFC
/// 8725 section 3.1).
fn offered(rule: &JwtRule, keys: &KeySet, algorithm: Algorithm) -> Result<Algorithm, Denial> {
    let algorithm = may_offer(rule, algorithm)?;
    if keys.keys().is_empty() {
        // Its issuer has withdrawn the last key: nothing is wrong with the algorithm.
        return Err(Denial::KeyUnknown);
    }
    let offers = rule.algorithms.is_some() || keys.allows(algorithm);
    if offers { Ok(algorithm) } else { Err(Denial::AlgorithmNotAllowed) }
}

/// As [`offered`], regardless of the keys.
fn may_offer(rule: &JwtRule, algorithm: Algorithm) -> Result<Algorithm, Denial> {
    let offers = match &rule.algorithms {
        Some(listed) => listed.contains(&algorithm),
        None => !algorithm.is_symmetric(),
    };
    if offers { Ok(algorithm) } else { Err(Denial::AlgorithmNotAllowed) }
}

fn check_audience(rule: &JwtRule, claimed: &Claimed<'_>) -> Result<(), Denial> {
    if rule.audiences.is_empty() {
        return Ok(());
    }
    if !rule.audience_claims.is_empty() {
        return check_audience_claims(rule, &claimed.token.claims);
    }
    let of_token = || claimed.token.aud().map(|aud| normalize_audience(aud).as_bytes());
    let audiences = claimed.audiences.get_or_init(|| Lookup::of(of_token()));
    accepts_one_of(rule, audiences)
}

/// `audienceClaims`: a token says whom it is for in the first of these claims that it has. That one alone counts: a token
/// for others that names this service in a lesser claim is refused.
fn check_audience_claims(rule: &JwtRule, claims: &Claims) -> Result<(), Denial> {
    let mut values = rule.audience_claims.iter().filter_map(|name| claims.get(name));
    let named = match values.find(|value| !value.is_null()) {
        Some(Value::Array(items)) => items.as_slice(),
        Some(value) => std::slice::from_ref(value),
        None => &[],
    };
    let named = named.iter().filter_map(Value::as_str);
    let named = Lookup::of(named.map(|audience| normalize_audience(audience).as_bytes()));
    accepts_one_of(rule, &named)
}

fn accepts_one_of(rule: &JwtRule, audiences: &Lookup<'_>) -> Result<(), Denial> {
    match rule.audiences.iter().any(|audience| audiences.has(audience.as_bytes())) {
        true => Ok(()),
        false => Err(Denial::AudienceMismatch),
    }
}

fn check_subject(rule: &JwtRule, subject: Option<&str>) -> Result<(), Denial> {
    let accepted = |subject: &str| {
        rule.subjects.iter().any(|matcher| match matcher {
            MatchSubject::Exact(text) => subject == text,
            MatchSubject::Prefix(text) => subject.starts_with(text.as_str()),
            MatchSubject::Suffix(text) => subject.ends_with(text.as_str()),
        })
    };
    if rule.subjects.is_empty() || subject.is_some_and(accepted) {
        Ok(())
    } else {
        Err(Denial::SubjectNotAllowed)
    }
}

fn check_required_claims(rule: &JwtRule, claims: &Claims) -> Result<(), Denial> {
    match rule.required_claims.iter().find(|required| !required.is_in(claims)) {
        Some(required) => Err(Denial::ClaimMismatch { claim: required.claim.text.clone() }),
        None => Ok(()),
    }
}

impl RequiredClaim {
    fn is_in(&self, claims: &Claims) -> bool {
        let accepts = |value: &Value| match value {
            Value::Null => false,
            _ if self.values.is_empty() => true,
            Value::Array(items) => self.lists_any(items),
            _ => self.lists_any(std::slice::from_ref(value)),
        };
        self.claim.find(claims).into_iter().any(accepts)
    }

    fn lists_any(&self, items: &[Value]) -> bool {
        let text = |item: &'_ Value| match item {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(item.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        };
        let texts: Vec<String> = items.iter().filter_map(text).collect();
        let texts = Lookup::of(texts.iter().map(String::as_bytes));
        self.values.iter().any(|value| texts.has(value.as_bytes()))
    }
}

#[cfg(test)]
mod tests;
