//! pluginConfig -> [`Config`]; every problem at once, each with its JSON path.
//!
//! Nothing is applied in part: either the whole configuration is valid, or the result is a list of its errors.
//! Names and forms are Istio's where Istio has the field; an unknown field is an error, since a field that this
//! version does not support may be the one that denies access.
//!
//! Tables of fields say how each is read. A function with `inline(never)` stays separate in the module, where no
//! function of the readers may exceed 4 KB.

use std::collections::HashMap;
use std::rc::Rc;

use crate::codec::json::{self, Value};
use crate::hash::FastMap;
use crate::headers::{fold, folded};
use crate::jwks::{KeySet, Published};
use crate::policy::untried_keys::untried;
use crate::policy::{Config, Issuers, Keys, TokenLocation, identity_headers};

mod authorization;
mod exempt;
mod fields;
mod jwt_rule;
mod keys;
pub mod last_good;
mod names;
mod places;
mod settings;
mod words;

#[cfg(feature = "schema-fields")]
use crate::codec::problems;
pub use crate::codec::problems::InvalidConfig;
use crate::codec::problems::{Node, Problems};

/// A configuration that was read, and its warnings.
#[derive(Debug)]
pub struct Parsed {
    /// The configuration.
    pub config: Config,
    /// What is valid, but perhaps not intended.
    pub warnings: Vec<InvalidConfig>,
}

/// JSON levels in a pluginConfig: a JWK in a set in a rule in a list is 5 deep, a condition's value 8.
const CONFIG_DEPTH: usize = 32;

/// Reads a pluginConfig as Envoy hands it over; an empty text is an empty configuration (docs/semantics.md, "How
/// pluginConfig reaches the plugin").
///
/// # Errors
/// All errors in it.
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
            Err(vec![InvalidConfig { at: String::new(), problem, code: "" }])
        }
    }
}

/// Reads a pluginConfig that is a JSON value already.
///
/// # Errors
/// All errors in it.
pub fn from_value(value: &Value) -> Result<Parsed, Vec<InvalidConfig>> {
    let problems = Problems::default();
    let config = read(&Node::root(value), &problems);
    let valid = problems.is_valid();
    let (mut errors, warnings) = problems.into_parts();
    match config {
        Some(config) if valid => Ok(Parsed { config, warnings }),
        _ => {
            if errors.is_empty() {
                // A reader failed without recording a problem: never accept that as a valid configuration.
                let problem = "could not be read".to_owned();
                errors.push(InvalidConfig { at: String::new(), problem, code: "" });
            }
            Err(errors)
        }
    }
}

/// The fields and words that the reader accepts at each place of this configuration, valid or not.
#[cfg(feature = "schema-fields")]
pub fn schema_fields(value: &Value) -> std::collections::BTreeSet<problems::SchemaField> {
    let problems = Problems::default();
    read(&Node::root(value), &problems);
    problems.schema_fields()
}

fn read(root: &Node<'_>, problems: &Problems) -> Option<Config> {
    let object = root.object(problems)?;
    let mut context = Context {
        problems,
        places: Vec::new(),
        places_by_form: FastMap::default(),
        key_sets: HashMap::new(),
    };
    let rules = settings::rules(&object, &mut context);
    let has_policies = object.field("authorizationPolicies").is_some_and(|n| !is_empty(n.value));
    if rules.is_empty() && !has_policies && problems.is_valid() {
        let missing = "nothing to check: give `jwtRules` or `authorizationPolicies`; \
                       a filter with nothing to check protects nothing";
        problems.error("", missing);
    }
    let mut config =
        Config { jwt_rules: rules, token_locations: context.places, ..Config::default() };
    settings::policies(&object, &mut config, problems);
    check(&config, problems);
    settings::others(&object, &mut config, problems);
    object.finish(problems);
    Some(config)
}

/// Checks that concern several fields.
#[inline(never)]
fn check(config: &Config, problems: &Problems) {
    check_locations(config, problems);
    // For fetched keys the warning comes once they are fetched.
    let (rules, checks) = (&config.jwt_rules, config.settings.limits.signature_checks);
    for crowd in untried(rules, &Issuers::of(rules), checks, &Keys::inline) {
        problems.warning(
            "keys-untried",
            format!("jwtRules[{}].jwks", crowd.rule),
            crowd.problem(checks),
        );
    }
}

/// A token in a header that Usher emits would be removed as spoofed before it was read.
fn check_locations(config: &Config, problems: &Problems) {
    let rules = &config.jwt_rules;
    let protected = folded(identity_headers(rules, &config.strip));
    for (index, place) in config.token_locations.iter().enumerate() {
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
                    "expected a token location that is not an identity header, found header `{name}`: \
                     `{folded}` is emitted or stripped, so a token there would be removed as spoofed"
                ),
            );
        }
    }
}

/// The state that the readers of rules share.
pub(crate) struct Context<'p> {
    problems: &'p Problems,
    places: Vec<TokenLocation>,
    /// The position of each place in the list.
    places_by_form: FastMap<Box<[u8]>, usize>,
    /// Key sets by their text, and by whether symmetric and published keys count: rules with the same keys share
    /// them.
    key_sets: HashMap<(String, bool, Published), Rc<KeySet>>,
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
}
