//! The fields of a pluginConfig, each with how it is read.
//!
//! Problems are reported in the order of these functions. A table may use what those before it have
//! read.

use super::fields::{self, Field};
use super::names::emitted_name;
use super::{Context, authorization, exempt, jwt_rule};
use crate::codec::decimal::Decimal;
use crate::codec::json::Value;
use crate::codec::problems::{Node, Object, Problems};
use crate::policy::authorization::no_token;
use crate::policy::{
    AuthorizationPolicy, Config, FilterState, HashKey, JwtRule, MissingToken, PeerIdentity, Rate,
    SourceAddress,
};

/// The most that a header can hold: Envoy's own ceiling for all headers is 8 MiB.
const MAX_BYTES: u32 = 8_388_608;

/// serde_json refuses more than 128 levels, for any configuration.
const MAX_JSON_DEPTH: u32 = 127;

/// Each worker has its own tokens, in a memory of at most 4 GiB.
const MAX_CACHED: (u32, u32) = (1_048_576, 1 << 30);

/// The JWT rules; empty if one of them cannot be read.
pub(super) fn rules(object: &Object<'_>, context: &mut Context<'_>) -> Vec<JwtRule> {
    let (problems, mut rules) = (context.problems, Vec::new());
    let mut read = |node: &Node<'_>| rules.push(jwt_rule::read(node, context));
    fields::read(object, &mut [Field::each("jwtRules", &mut read)], problems);
    rules.into_iter().collect::<Option<_>>().unwrap_or_default()
}

/// The policies, the settings that they may refer to, and what is checked against the JWT rules.
#[inline(never)]
pub(super) fn policies(root: &Object<'_>, config: &mut Config, problems: &Problems) {
    let settings = &mut config.settings;
    let mut beside = authorization::Context::default();
    fields::read(
        root,
        &mut [
            Field::with("sourceAddress", &mut |n| {
                settings.source_address = source_address(n, problems)
            }),
            Field::texts("trustDomains", &mut beside.trust_domains),
            Field::flag("matchScalarClaims", &mut config.match_scalar_claims),
        ],
        problems,
    );
    beside.source_address = settings.source_address.is_some();
    let policies = &mut config.authorization_policies;
    let (strip, limits) = (&mut config.strip, &mut settings.limits);
    fields::read(
        root,
        &mut [
            Field::with("authorizationPolicies", &mut |n| {
                *policies = authorization::read_all(n, &beside, problems);
            }),
            Field::object(
                "identityHeaders",
                &mut [
                    Field::each("strip", &mut |n| strip.extend(emitted_name(n, problems))),
                    Field::word("onSpoof", &mut settings.on_spoof),
                ],
            ),
            Field::object(
                "limits",
                &mut [
                    Field::size("tokenBytes", 1, MAX_BYTES, &mut limits.token.token_bytes),
                    Field::size("emittedBytes", 1, MAX_BYTES, &mut limits.emitted_bytes),
                    Field::size("signatureChecks", 1, 10_000, &mut limits.signature_checks),
                    Field::size("jsonDepth", 1, MAX_JSON_DEPTH, &mut limits.token.json_depth),
                ],
            ),
        ],
        problems,
    );
}

/// All other fields.
#[inline(never)]
pub(super) fn others(root: &Object<'_>, config: &mut Config, problems: &Problems) {
    let mut missing_token = None;
    let mut filter_state = true;
    let settings = &mut config.settings;
    let (responses, log) = (&mut settings.responses, &mut settings.decision_log);
    let (mut logged, mut hash, mut hash_key) = (None, false, None);
    let cache = &mut settings.token_cache;
    fields::read(
        root,
        &mut [
            Field::each("exempt", &mut |n| settings.exempt.extend(exempt::read(n, problems))),
            Field::word("missingToken", &mut missing_token),
            Field::word("corsPreflight", &mut settings.cors_preflight),
            Field::word("pathNormalization", &mut settings.path_normalization),
            Field::with("peerIdentity", &mut |n| {
                settings.peer_identity = peer_identity(n, problems)
            }),
            Field::flag("requireValidatedPeer", &mut settings.require_validated_peer),
            Field::object(
                "responses",
                &mut [
                    Field::word("format", &mut responses.format),
                    Field::word("details", &mut responses.details),
                    Field::flag("challengeAnonymous", &mut responses.challenge_anonymous),
                ],
            ),
            Field::object(
                "decisionLog",
                &mut [
                    Field::word("emit", &mut log.emit),
                    Field::claims("claims", &mut logged),
                    Field::with("sample", &mut |n| {
                        log.sample = fraction(n, problems).unwrap_or(log.sample);
                    }),
                    Field::with("refusalsPerSecond", &mut |n| {
                        log.refusals_per_second = rate(n, problems).unwrap_or_default();
                    }),
                    Field::flag("hash", &mut hash),
                    Field::with("hashKey", &mut |n| hash_key = self::hash_key(n, problems)),
                ],
            ),
            Field::word("mode", &mut settings.mode),
            Field::flag("filterState", &mut filter_state),
            Field::word("signatureEngine", &mut settings.signature_engine),
            Field::object(
                "tokenCache",
                &mut [
                    Field::size("entries", 0, MAX_CACHED.0, &mut cache.entries),
                    Field::size("bytes", 0, MAX_CACHED.1, &mut cache.bytes),
                ],
            ),
            Field::word("onInvalidConfig", &mut settings.on_invalid_config),
            Field::text("instance", &mut settings.instance),
        ],
        problems,
    );
    settings.missing_token = missing_token.unwrap_or_else(|| {
        default_missing_token(&config.jwt_rules, &config.authorization_policies)
    });
    settings.filter_state = if filter_state { FilterState::Set } else { FilterState::Unset };
    let log = &mut settings.decision_log;
    if let Some(claims) = logged {
        log.claims = claims;
    }
    log.hash = hash.then(|| hash_key.map_or(HashKey::OfProcess, HashKey::Given));
}

fn source_address(node: &Node<'_>, problems: &Problems) -> Option<SourceAddress> {
    if node.value.as_str() == Some("connection") {
        return Some(SourceAddress::Connection);
    }
    if !node.value.is_object() {
        return node.expected("`connection` or `{filterState: KEY}`", problems);
    }
    filter_state_key(node, problems).map(SourceAddress::FilterState)
}

fn peer_identity(node: &Node<'_>, problems: &Problems) -> PeerIdentity {
    let given = match node.value.as_str() {
        Some("auto") => Some(PeerIdentity::Auto),
        Some("connection") => Some(PeerIdentity::Connection),
        _ if node.value.is_object() => {
            filter_state_key(node, problems).map(PeerIdentity::FilterState)
        }
        _ => node.expected("`auto`, `connection` or `{filterState: KEY}`", problems),
    };
    given.unwrap_or_default()
}

fn filter_state_key(node: &Node<'_>, problems: &Problems) -> Option<String> {
    let mut key = None;
    fields::read_object(node, &mut [Field::text("filterState", &mut key).required()], problems)?;
    key
}

/// The default of `missingToken`. With JWT rules a token is required, unless an enforced policy is
/// about callers without one: adding any other policy must not remove the requirement. Without JWT
/// rules no token can be verified, and the policies alone decide.
fn default_missing_token(rules: &[JwtRule], policies: &[AuthorizationPolicy]) -> MissingToken {
    if rules.is_empty() || no_token::is_spoken_about(policies) {
        MissingToken::Allow
    } else {
        MissingToken::Reject
    }
}

/// More lines than a proxy can write.
const MAX_REFUSALS: u64 = 1_000_000;

fn rate(node: &Node<'_>, problems: &Problems) -> Option<Rate> {
    if node.value.as_str() == Some("unlimited") {
        return Some(Rate::Unlimited);
    }
    let number = node.integer(0..=MAX_REFUSALS, &Problems::default());
    match number.and_then(|number| u32::try_from(number).ok()) {
        Some(number) => Some(Rate::PerSecond(number)),
        None => {
            let expected = format!("`unlimited` or a whole number from 0 to {MAX_REFUSALS}");
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
        // The key found is not reported: the message goes to a log.
        let expected = format!("expected at least {HASH_KEY_BYTES} bytes, found {}", key.len());
        problems.error(&node.at, expected);
        return None;
    }
    Some(key.as_bytes().to_vec())
}
