//! One entry of `jwtRules` -> [`JwtRule`].

use std::rc::Rc;

use super::fields::{self, Field};
use super::{Context, is_empty, keys, places};
use crate::codec::problems::{Node, Object, Problems};
use crate::crypto::Algorithm;
use crate::policy::{
    ClaimHeader, Emission, Expiration, Forward, JwtRule, Keys, MatchSubject, PayloadEncoding,
    PayloadHeader, RequiredClaim, TextEncoding, normalize_audience, normalize_type,
};

/// Seconds; Envoy's default (docs/semantics.md, "Expiration and clock skew").
const CLOCK_SKEW: u64 = 60;

/// Claims that Istio always reads as lists of words (istio/istio
/// pilot/pkg/security/authn/policy_applier.go, `buildSpaceDelimitedClaims`).
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// Reads a rule. `None`, with a problem, if the value is not an object.
pub(super) fn read(node: &Node<'_>, context: &mut Context<'_>) -> Option<JwtRule> {
    let problems = context.problems;
    let object = node.object(problems)?;
    let issuer = issuer(&object, problems);
    let (mut name, mut algorithms) = (None, None);
    fields::read(
        &object,
        &mut [
            Field::text("name", &mut name),
            Field::with("algorithms", &mut |n| algorithms = self::algorithms(n, problems)),
        ],
        problems,
    );
    let places = places::read(&object, context);
    let keys = keys::read(&object, issuer.as_deref(), algorithms.as_deref(), context);
    let mut rule = JwtRule {
        provider: name.or_else(|| issuer.clone()).unwrap_or_else(|| "any".to_owned()),
        issuer,
        audiences: Vec::new(),
        audience_claims: Vec::new(),
        // The problem with the keys was recorded: this rule is not used in any configuration.
        keys: keys.unwrap_or_else(|| Keys::Inline(Rc::default())),
        places,
        forward: Forward::Withhold,
        emission: Emission::default(),
        space_delimited: Rc::default(),
        algorithms,
        clock_skew: CLOCK_SKEW,
        issued_at_skew: CLOCK_SKEW,
        expiration: Expiration::Required,
        max_lifetime: None,
        max_age: None,
        subjects: Vec::new(),
        required_claims: Vec::new(),
        types: Vec::new(),
    };
    about_tokens(&object, &mut rule, problems);
    object.finish(problems);
    Some(rule)
}

/// The conditions on a token, and what happens to it.
#[inline(never)]
fn about_tokens(object: &Object<'_>, rule: &mut JwtRule, problems: &Problems) {
    let (mut keep, mut expires, mut audience_claims) = (false, true, None);
    fields::read(
        object,
        &mut [
            Field::flag("forwardOriginalToken", &mut keep),
            Field::flag("requireExpiration", &mut expires),
            Field::texts("audiences", &mut rule.audiences),
            Field::claims("audienceClaims", &mut audience_claims),
        ],
        problems,
    );
    rule.forward = if keep { Forward::Keep } else { Forward::Withhold };
    rule.expiration = if expires { Expiration::Required } else { Expiration::Optional };
    if audience_claims.is_some() && rule.audiences.is_empty() {
        problems.error(object.path("audienceClaims"), "needs `audiences` beside it");
    }
    if audience_claims.as_ref().is_some_and(Vec::is_empty) {
        problems.error(object.path("audienceClaims"), "expected at least one claim, found none");
    }
    rule.audience_claims = audience_claims.unwrap_or_default();
    for audience in &mut rule.audiences {
        *audience = normalize_audience(audience).to_owned();
    }
    rule.emission = emission(object, problems);
    let (mut space_delimited, mut clock_skew, mut issued_at_skew) = (None, None, None);
    let (subjects, required_claims) = (&mut rule.subjects, &mut rule.required_claims);
    fields::read(
        object,
        &mut [
            Field::claims("spaceDelimitedClaims", &mut space_delimited),
            Field::seconds("clockSkew", &mut clock_skew),
            Field::seconds("issuedAtSkew", &mut issued_at_skew),
            Field::seconds("maxLifetime", &mut rule.max_lifetime),
            Field::seconds("maxAge", &mut rule.max_age),
            Field::with("subjects", &mut |n| *subjects = self::subjects(n, problems)),
            Field::each("requiredClaims", &mut |n| {
                required_claims.extend(required_claim(n, problems));
            }),
            Field::with("types", &mut |n| rule.types = types(n, problems)),
        ],
        problems,
    );
    rule.space_delimited = lists_of_words(space_delimited.unwrap_or_default());
    rule.clock_skew = clock_skew.unwrap_or(rule.clock_skew);
    rule.issued_at_skew = issued_at_skew.unwrap_or(rule.clock_skew);
}

fn issuer(object: &Object<'_>, problems: &Problems) -> Option<String> {
    let (mut any, mut issuer) = (false, None);
    fields::read(
        object,
        &mut [Field::flag("anyIssuer", &mut any), Field::kept("issuer", &mut issuer)],
        problems,
    );
    match (&issuer, any) {
        (Some(node), true) => {
            problems.error(&node.at, "expected either `issuer` or `anyIssuer: true`, found both")
        }
        (None, false) => problems.error(
            &object.at,
            "missing field `issuer`; a rule for tokens of any issuer says `anyIssuer: true`",
        ),
        _ => {}
    }
    issuer.and_then(|node| node.filled_text(problems)).map(str::to_owned)
}

fn algorithms(node: &Node<'_>, problems: &Problems) -> Option<Vec<Algorithm>> {
    let items = node.list(problems)?;
    if items.is_empty() {
        return node.expected("at least one algorithm", problems);
    }
    let words: Vec<(&str, Algorithm)> = Algorithm::names().collect();
    items.iter().map(|item| item.one_of(&words, problems)).collect()
}

fn types(node: &Node<'_>, problems: &Problems) -> Vec<String> {
    // Usher's own field: an empty list must not allow what a list with an entry refuses.
    if is_empty(node.value) {
        node.expected::<()>("at least one type, or no `types` for any", problems);
    }
    let types = node.texts(problems).unwrap_or_default();
    types.into_iter().map(normalize_type).collect()
}

/// Claims that are read as lists of words, sorted.
fn lists_of_words(mut claims: Vec<String>) -> Rc<[String]> {
    claims.extend(SPACE_DELIMITED.map(str::to_owned));
    claims.sort_unstable();
    claims.dedup();
    claims.into()
}

fn subjects(node: &Node<'_>, problems: &Problems) -> Vec<MatchSubject> {
    let texts = |node: &Node<'_>| {
        let texts = match node.value.is_array() {
            true => node.texts(problems).unwrap_or_default(),
            false => node.filled_text(problems).into_iter().collect(),
        };
        texts.into_iter().map(str::to_owned).collect()
    };
    let (mut exact, mut prefix, mut suffix) = (Vec::new(), Vec::new(), Vec::new());
    let read = fields::read_object(
        node,
        &mut [
            Field::with("exact", &mut |n| exact = texts(n)),
            Field::with("prefix", &mut |n| prefix = texts(n)),
            Field::with("suffix", &mut |n| suffix = texts(n)),
        ],
        problems,
    );
    let mut subjects: Vec<_> = exact.into_iter().map(MatchSubject::Exact).collect();
    subjects.extend(prefix.into_iter().map(MatchSubject::Prefix));
    subjects.extend(suffix.into_iter().map(MatchSubject::Suffix));
    if read.is_some() && subjects.is_empty() && problems.is_valid() {
        problems.error(&node.at, "expected `exact`, `prefix` or `suffix`, found none of them");
    }
    subjects
}

fn required_claim(node: &Node<'_>, problems: &Problems) -> Option<RequiredClaim> {
    let (mut claim, mut values) = (None, Vec::new());
    let mut read_values = |node: &Node<'_>| {
        if is_empty(node.value) {
            node.expected::<()>("at least one value, or no `values` for any", problems);
        }
        let texts = node.texts(problems).unwrap_or_default();
        values = texts.into_iter().map(str::to_owned).collect();
    };
    fields::read_object(
        node,
        &mut [
            Field::claim("claim", &mut claim).required(),
            Field::with("values", &mut read_values),
        ],
        problems,
    )?;
    Some(RequiredClaim { claim: claim?, values })
}

fn emission(object: &Object<'_>, problems: &Problems) -> Emission {
    let (mut name, mut encoding, mut claims) = (None, PayloadEncoding::default(), None);
    fields::read(
        object,
        &mut [
            Field::header("outputPayloadToHeader", &mut name),
            Field::word("outputPayloadEncoding", &mut encoding),
            Field::claims("outputPayloadClaims", &mut claims),
        ],
        problems,
    );
    if !object.gives("outputPayloadToHeader") {
        for field in ["outputPayloadEncoding", "outputPayloadClaims"] {
            if object.gives(field) {
                problems.error(object.path(field), "needs `outputPayloadToHeader` beside it");
            }
        }
    }
    let mut headers = Vec::new();
    let mut each = |node: &Node<'_>| headers.extend(claim_header(node, problems));
    fields::read(object, &mut [Field::each("outputClaimToHeaders", &mut each)], problems);
    let payload = name.map(|name| PayloadHeader { name, encoding, claims });
    Emission { payload, claims: headers }
}

fn claim_header(node: &Node<'_>, problems: &Problems) -> Option<ClaimHeader> {
    let (mut name, mut claim) = (None, None);
    let (mut format, mut encoding) = (None, TextEncoding::default());
    fields::read_object(
        node,
        &mut [
            Field::header("header", &mut name).required(),
            Field::claim("claim", &mut claim).required(),
            Field::word("format", &mut format),
            Field::word("encoding", &mut encoding),
        ],
        problems,
    )?;
    Some(ClaimHeader { name: name?, claim: claim?, format, encoding })
}
