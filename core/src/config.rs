//! pluginConfig -> [`Config`]; every problem at once, each with its JSON path.
//!
//! Nothing is half-applied: either the whole configuration is good, or there is a list of what is
//! wrong with it. Names and forms are Istio's where Istio has the field; an unknown field is an error,
//! since a field that this version does not know may be the one that guards the door.

use std::collections::HashMap;
use std::rc::Rc;

use crate::codec::json::{self, Value};
use crate::hash::FastMap;
use crate::headers::{fold, folded};
use crate::jwks::{KeySet, Published};
use crate::policy::crowd::crowds;
use crate::policy::{Config, Issuers, JwtRule, Keys, TokenLocation, identity_headers};

mod authorization;
mod exempt;
mod jwt_rule;
mod keys;
pub mod last_good;
mod places;

mod settings;

#[cfg(feature = "vocabulary")]
use crate::codec::problems;
pub use crate::codec::problems::InvalidConfig;
use crate::codec::problems::{Node, Problems};

/// A configuration that was read, and what is worth a second look.
#[derive(Debug)]
pub struct Parsed {
    /// What it says.
    pub config: Config,
    /// What is legal and perhaps not meant.
    pub warnings: Vec<InvalidConfig>,
}

/// JSON levels in a pluginConfig: a JWK in a set in a rule in a list is 5 deep, a condition's value 8.
const CONFIG_DEPTH: usize = 32;

/// Reads a pluginConfig as Envoy hands it over; no bytes at all is an empty one
/// (docs/semantics.md, "How pluginConfig reaches the plugin").
///
/// # Errors
/// Everything that is wrong with it.
pub fn from_json(text: &[u8]) -> Result<Parsed, Vec<InvalidConfig>> {
    if text.trim_ascii().is_empty() {
        return from_value(&Value::Object(json::Map::new()));
    }
    match json::parse(text, CONFIG_DEPTH) {
        Ok(value) => from_value(&value),
        Err(invalid) => {
            let problem = match text.iter().any(|b| matches!(b, 0..=8)) {
                // A Struct in Envoy's `configuration` arrives in protobuf's binary form.
                true => "expected JSON text, found bytes: give the configuration to Envoy as a \
                             `google.protobuf.StringValue` that holds JSON"
                    .to_owned(),
                false => format!("expected JSON: {invalid}"),
            };
            Err(vec![InvalidConfig { at: String::new(), problem }])
        }
    }
}

/// Reads a pluginConfig that is a JSON value already.
///
/// # Errors
/// Everything that is wrong with it.
pub fn from_value(value: &Value) -> Result<Parsed, Vec<InvalidConfig>> {
    let problems = Problems::default();
    let config = read(&Node::root(value), &problems);
    let valid = problems.is_valid();
    let (mut errors, warnings) = problems.into_parts();
    match config {
        Some(config) if valid => Ok(Parsed { config, warnings }),
        _ => {
            if errors.is_empty() {
                // A reader gave up without a note: never let that pass for a good configuration.
                let problem = "could not be read".to_owned();
                errors.push(InvalidConfig { at: String::new(), problem });
            }
            Err(errors)
        }
    }
}

/// What the reader knows at each place of this configuration, valid or not.
#[cfg(feature = "vocabulary")]
pub fn vocabulary(value: &Value) -> std::collections::BTreeSet<problems::Known> {
    let problems = Problems::default();
    read(&Node::root(value), &problems);
    problems.vocabulary()
}

fn read(root: &Node<'_>, problems: &Problems) -> Option<Config> {
    let object = root.object(problems)?;
    let mut context = Context {
        problems,
        places: Vec::new(),
        places_by_form: FastMap::default(),
        key_sets: HashMap::new(),
    };
    let rules = object.field("jwtRules").and_then(|n| jwt_rule::read_all(&n, &mut context));
    let rules = rules.unwrap_or_default();
    let has_policies = object.field("authorizationPolicies").is_some_and(|n| !is_empty(n.value));
    if rules.is_empty() && !has_policies && problems.is_valid() {
        let missing = "nothing to check: give `jwtRules` or `authorizationPolicies`; \
                       a gate with nothing to check guards nothing";
        problems.error("", missing);
    }

    let source_address = settings::source_address(&object, problems);
    let beside = authorization::Context {
        trust_domains: authorization::trust_domains(&object, problems),
        source_address: source_address.is_some(),
    };
    let match_scalar_claims = object.field("matchScalarClaims").and_then(|n| n.boolean(problems));
    let policies = authorization::read_all(&object, &beside, problems);
    let (strip, on_spoof) = settings::identity_headers(&object, problems);
    let limits = settings::limits(&object, problems);
    check_locations(&rules, &context.places, &strip, problems);
    // Fetched keys are told of once they are there.
    for crowd in crowds(&rules, &Issuers::of(&rules), limits.signature_checks, &Keys::inline) {
        let at = format!("jwtRules[{}].jwks", crowd.rule);
        problems.warning(at, crowd.problem(limits.signature_checks));
    }

    let config = Config {
        exempt: exempt::read_all(&object, problems),
        missing_token: settings::missing_token(&object, &rules, &policies, problems),
        cors_preflight: settings::cors_preflight(&object, problems),
        path_normalization: settings::path_normalization(&object, problems),
        peer_identity: settings::peer_identity(&object, problems),
        require_validated_peer: settings::require_validated_peer(&object, problems),
        responses: settings::responses(&object, problems),
        decision_log: settings::decision_log(&object, problems),
        limits,
        mode: settings::mode(&object, problems),
        filter_state: settings::filter_state(&object, problems),
        signature_engine: settings::signature_engine(&object, problems),
        token_cache: settings::token_cache(&object, problems),
        on_invalid_config: last_good::on_invalid_config(&object, problems),
        instance: last_good::instance(&object, problems),
        jwt_rules: rules,
        token_locations: context.places,
        authorization_policies: policies,
        match_scalar_claims: match_scalar_claims.unwrap_or(false),
        strip,
        on_spoof,
        source_address,
    };
    object.finish(problems);
    Some(config)
}

/// A token in a header that Usher emits would be removed as a forgery before it was read.
fn check_locations(
    rules: &[JwtRule],
    locations: &[TokenLocation],
    strip: &[String],
    problems: &Problems,
) {
    let protected = folded(identity_headers(rules, strip));
    for (index, place) in locations.iter().enumerate() {
        let name = match place {
            TokenLocation::Header { name, .. } => name.as_str(),
            TokenLocation::Cookie(_) => "cookie",
            TokenLocation::WebSocketProtocol(_) => "sec-websocket-protocol",
            TokenLocation::Param(_) => continue,
        };
        let folded = fold(name.as_bytes());
        if protected.contains(&folded) {
            let reader = rules.iter().position(|rule| rule.places.contains(&index));
            let folded = String::from_utf8_lossy(&folded);
            problems.error(
                format!("jwtRules[{}]", reader.unwrap_or_default()),
                format!(
                    "expected a token place that is no identity header, found header `{name}`: \
                     `{folded}` is emitted or stripped, so a token there would be removed as a forgery"
                ),
            );
        }
    }
}

/// What the readers of rules share.
pub(crate) struct Context<'p> {
    problems: &'p Problems,
    places: Vec<TokenLocation>,
    /// Where in the list each place stands.
    places_by_form: FastMap<Box<[u8]>, usize>,
    /// Key sets by their text, and whether symmetric and published keys count: rules with the same keys share them.
    key_sets: HashMap<(String, bool, Published), Rc<KeySet>>,
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}
