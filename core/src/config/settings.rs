//! The fields of a pluginConfig that are no rules.

use super::jwt_rule::{emitted_name, top_level_claims};
use crate::codec::decimal::Decimal;
use crate::codec::json::Value;
use crate::codec::problems::{Node, Object, Problems};
use crate::policy::authorization::no_token;
use crate::policy::{
    AuthorizationPolicy, CorsPreflight, DecisionLog, Details, Emit, Engine, FilterState, Format,
    HashKey, JwtRule, Limits, MissingToken, Mode, Normalization, OnSpoof, PeerIdentity, Rate,
    Responses, SourceAddress, TokenCacheBounds, TokenLimits,
};

/// Four times the keys that an issuer was seen to rotate through without `kid`; a check with Envoy's own
/// cryptography costs 30 to 100 microseconds, so that no token costs more than 3 milliseconds.
const SIGNATURE_CHECKS: usize = 32;

/// `emittedBytes` by default: half of what Envoy takes for all request headers (60 KiB,
/// HttpConnectionManager `max_request_headers_kb`).
const EMITTED_BYTES: usize = 32_768;

/// serde_json refuses what is deeper than 128 levels, whatever the configuration says.
const MAX_JSON_DEPTH: u64 = 127;

pub(super) fn mode(object: &Object<'_>, problems: &Problems) -> Mode {
    let words = [("enforce", Mode::Enforce), ("dryRun", Mode::DryRun)];
    object.field("mode").and_then(|n| n.one_of(&words, problems)).unwrap_or(Mode::Enforce)
}

pub(super) fn missing_token(
    object: &Object<'_>,
    rules: &[JwtRule],
    policies: &[AuthorizationPolicy],
    problems: &Problems,
) -> MissingToken {
    let words = [("reject", MissingToken::Reject), ("allow", MissingToken::Allow)];
    let given = object.field("missingToken").and_then(|n| n.one_of(&words, problems));
    given.unwrap_or_else(|| default_missing_token(rules, policies))
}

/// `missingToken` where it is not given. Rules for tokens ask for one, unless a policy that is enforced
/// speaks about callers without: adding any other policy must not take the demand away. Without such
/// rules no token could be shown, and the policies alone decide.
fn default_missing_token(rules: &[JwtRule], policies: &[AuthorizationPolicy]) -> MissingToken {
    if rules.is_empty() || no_token::is_spoken_about(policies) {
        MissingToken::Allow
    } else {
        MissingToken::Reject
    }
}

pub(super) fn cors_preflight(object: &Object<'_>, problems: &Problems) -> CorsPreflight {
    let words =
        [("authorize", CorsPreflight::Authorize), ("requireToken", CorsPreflight::RequireToken)];
    let given = object.field("corsPreflight").and_then(|n| n.one_of(&words, problems));
    given.unwrap_or(CorsPreflight::Authorize)
}

pub(super) fn path_normalization(object: &Object<'_>, problems: &Problems) -> Normalization {
    let words = [
        ("NONE", Normalization::None),
        ("BASE", Normalization::Base),
        ("MERGE_SLASHES", Normalization::MergeSlashes),
        ("DECODE_AND_MERGE_SLASHES", Normalization::DecodeAndMergeSlashes),
    ];
    let given = object.field("pathNormalization").and_then(|n| n.one_of(&words, problems));
    given.unwrap_or(Normalization::Base)
}

pub(super) fn source_address(object: &Object<'_>, problems: &Problems) -> Option<SourceAddress> {
    let node = object.field("sourceAddress")?;
    if node.value.as_str() == Some("connection") {
        return Some(SourceAddress::Connection);
    }
    if !node.value.is_object() {
        return node.expected("`connection` or `{filterState: KEY}`", problems);
    }
    filter_state_key(&node, problems).map(SourceAddress::FilterState)
}

pub(super) fn peer_identity(object: &Object<'_>, problems: &Problems) -> PeerIdentity {
    let given = object.field("peerIdentity").and_then(|node| match node.value.as_str() {
        Some("auto") => Some(PeerIdentity::Auto),
        Some("connection") => Some(PeerIdentity::Connection),
        _ if node.value.is_object() => {
            filter_state_key(&node, problems).map(PeerIdentity::FilterState)
        }
        _ => node.expected("`auto`, `connection` or `{filterState: KEY}`", problems),
    });
    given.unwrap_or_default()
}

fn filter_state_key(node: &Node<'_>, problems: &Problems) -> Option<String> {
    let inner = node.object(problems)?;
    let key = inner.required("filterState", problems).and_then(|n| n.filled_text(problems));
    inner.finish(problems);
    key.map(str::to_owned)
}

pub(super) fn require_validated_peer(object: &Object<'_>, problems: &Problems) -> bool {
    let given = object.field("requireValidatedPeer").and_then(|n| n.boolean(problems));
    given.unwrap_or(false)
}

pub(super) fn identity_headers(object: &Object<'_>, problems: &Problems) -> (Vec<String>, OnSpoof) {
    let node = object.field("identityHeaders");
    let Some(inner) = node.and_then(|node| node.object(problems)) else {
        return (Vec::new(), OnSpoof::Strip);
    };
    let strip = inner.field("strip").and_then(|n| n.list(problems)).unwrap_or_default();
    let strip = strip.iter().filter_map(|n| emitted_name(n, problems)).collect();
    let words = [("strip", OnSpoof::Strip), ("reject", OnSpoof::Reject)];
    let on_spoof = inner.field("onSpoof").and_then(|n| n.one_of(&words, problems));
    inner.finish(problems);
    (strip, on_spoof.unwrap_or(OnSpoof::Strip))
}

pub(super) fn responses(object: &Object<'_>, problems: &Problems) -> Responses {
    let mut responses = Responses::default();
    let Some(inner) = object.field("responses").and_then(|node| node.object(problems)) else {
        return responses;
    };
    let formats = [("text", Format::Text), ("problem+json", Format::ProblemJson)];
    if let Some(format) = inner.field("format").and_then(|n| n.one_of(&formats, problems)) {
        responses.format = format;
    }
    let details = [("full", Details::Full), ("terse", Details::Terse)];
    if let Some(details) = inner.field("details").and_then(|n| n.one_of(&details, problems)) {
        responses.details = details;
    }
    if let Some(challenge) = inner.field("challengeAnonymous").and_then(|n| n.boolean(problems)) {
        responses.challenge_anonymous = challenge;
    }
    inner.finish(problems);
    responses
}

pub(super) fn decision_log(object: &Object<'_>, problems: &Problems) -> DecisionLog {
    let mut log = DecisionLog::default();
    let Some(inner) = object.field("decisionLog").and_then(|node| node.object(problems)) else {
        return log;
    };
    let words = [("none", Emit::None), ("denied", Emit::Denied), ("all", Emit::All)];
    if let Some(emit) = inner.field("emit").and_then(|n| n.one_of(&words, problems)) {
        log.emit = emit;
    }
    if let Some(claims) = top_level_claims(&inner, "claims", problems) {
        log.claims = claims.into_iter().map(str::to_owned).collect();
    }
    if let Some(sample) = inner.field("sample").and_then(|n| fraction(&n, problems)) {
        log.sample = sample;
    }
    if let Some(rate) = inner.field("refusalsPerSecond").and_then(|n| rate(&n, problems)) {
        log.refusals_per_second = rate;
    }
    let hash = inner.field("hash").and_then(|n| n.boolean(problems)).unwrap_or(false);
    let key = inner.field("hashKey").and_then(|n| hash_key(&n, problems));
    log.hash = hash.then(|| key.map_or(HashKey::OfProcess, HashKey::Given));
    inner.finish(problems);
    log
}

/// More lines than a proxy can write.
const MOST_REFUSALS: u64 = 1_000_000;

fn rate(node: &Node<'_>, problems: &Problems) -> Option<Rate> {
    if node.value.as_str() == Some("unlimited") {
        return Some(Rate::Unlimited);
    }
    let number = node.integer(0..=MOST_REFUSALS, &Problems::default());
    match number.and_then(|number| u32::try_from(number).ok()) {
        Some(number) => Some(Rate::PerSecond(number)),
        None => {
            let expected = format!("`unlimited` or a whole number from 0 to {MOST_REFUSALS}");
            node.expected(&expected, problems)
        }
    }
}

fn fraction(node: &Node<'_>, problems: &Problems) -> Option<f64> {
    const BILLION: u32 = 1_000_000_000;
    let number = match node.value {
        Value::Number(number) => Decimal::parse(number.as_str()),
        _ => None,
    };
    let billionths = number.and_then(|number| number.times(BILLION.into()));
    match billionths.and_then(|part| Some((u32::try_from(part.number).ok()?, part.exact))) {
        Some((part, exact)) if part < BILLION || part == BILLION && exact => {
            Some(f64::from(part) / f64::from(BILLION))
        }
        _ => node.expected("a number from 0 to 1", problems),
    }
}

/// Shorter keys can be guessed, and then so can every subject (RFC 2104 section 3 asks for 32).
const HASH_KEY_BYTES: usize = 16;

fn hash_key(node: &Node<'_>, problems: &Problems) -> Option<Vec<u8>> {
    let key = node.text(problems)?;
    if key.len() < HASH_KEY_BYTES {
        // Not with what was found: that goes to a log.
        let expected = format!("expected at least {HASH_KEY_BYTES} bytes, found {}", key.len());
        problems.error(&node.at, expected);
        return None;
    }
    Some(key.as_bytes().to_vec())
}

pub(super) fn limits(object: &Object<'_>, problems: &Problems) -> Limits {
    let mut limits = Limits {
        token: TokenLimits::default(),
        emitted_bytes: EMITTED_BYTES,
        signature_checks: SIGNATURE_CHECKS,
    };
    let Some(inner) = object.field("limits").and_then(|node| node.object(problems)) else {
        return limits;
    };
    // Up to what a header can hold at all: Envoy's own ceiling for all headers is 8 MiB.
    let bytes = |name, limit: &mut usize| {
        let given = inner.field(name).and_then(|n| n.integer(1..=8_388_608, problems));
        if let Some(bytes) = given.and_then(|bytes| usize::try_from(bytes).ok()) {
            *limit = bytes;
        }
    };
    bytes("tokenBytes", &mut limits.token.token_bytes);
    bytes("emittedBytes", &mut limits.emitted_bytes);
    let checks = inner.field("signatureChecks").and_then(|n| n.integer(1..=10_000, problems));
    if let Some(checks) = checks.and_then(|checks| usize::try_from(checks).ok()) {
        limits.signature_checks = checks;
    }
    let depth = inner.field("jsonDepth").and_then(|n| n.integer(1..=MAX_JSON_DEPTH, problems));
    if let Some(depth) = depth.and_then(|depth| usize::try_from(depth).ok()) {
        limits.token.json_depth = depth;
    }
    inner.finish(problems);
    limits
}

pub(super) fn filter_state(object: &Object<'_>, problems: &Problems) -> FilterState {
    match object.field("filterState").and_then(|n| n.boolean(problems)) {
        Some(false) => FilterState::Unset,
        Some(true) | None => FilterState::Set,
    }
}

pub(super) fn signature_engine(object: &Object<'_>, problems: &Problems) -> Engine {
    let words = [("auto", Engine::Auto), ("portable", Engine::Portable)];
    let given = object.field("signatureEngine").and_then(|n| n.one_of(&words, problems));
    given.unwrap_or(Engine::Auto)
}

pub(super) fn token_cache(object: &Object<'_>, problems: &Problems) -> TokenCacheBounds {
    let mut bounds = TokenCacheBounds::default();
    let Some(inner) = object.field("tokenCache").and_then(|node| node.object(problems)) else {
        return bounds;
    };
    // Each worker has its own, in a memory of 4 GiB at most.
    let number = |name, most, bound: &mut usize| {
        let given = inner.field(name).and_then(|n| n.integer(0..=most, problems));
        if let Some(given) = given.and_then(|given| usize::try_from(given).ok()) {
            *bound = given;
        }
    };
    number("entries", 1_048_576, &mut bounds.entries);
    number("bytes", 1 << 30, &mut bounds.bytes);
    inner.finish(problems);
    bounds
}
