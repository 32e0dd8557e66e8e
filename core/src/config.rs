//! pluginConfig -> [`Policy`]; every problem at once, each with its JSON path.
//!
//! Nothing is half-applied: either the whole configuration is good, or there is a list of what is
//! wrong with it. Names and forms are Istio's where Istio has the field; an unknown field is an error,
//! since a field that this version does not know may be the one that guards the door.

use std::collections::HashMap;
use std::rc::Rc;

use crate::authenticate::{JwtRules, crowd};
use crate::authorize::{self, Needs, Policies};
use crate::cache;
use crate::codec::json::{self, Value};
use crate::hash::FastMap;
use crate::headers::fold;
use crate::jwks::{KeySet, Published};
use crate::policy::TokenLocation;
use crate::policy::{
    CorsPreflight, DecisionLog, Engine, FilterState, Limits, MissingToken, Mode, Normalization,
    OnInvalidConfig, OnSpoof, PeerIdentity, Responses, SourceAddress, TokenCacheBounds,
};
use crate::remote::Ring;
use crate::request::bounds;
use crate::scrub::Firewall;

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
use crate::codec::problems::{Node, Object, Problems};
pub use exempt::Exemption;

/// A configuration, checked and made ready: all that a decision depends on beside the request.
#[derive(Debug)]
pub struct Policy {
    /// `jwtRules`.
    pub jwt: JwtRules,
    /// `authorizationPolicies`.
    pub authorization: Policies,
    /// The names that are Usher's to set: whatever a rule emits, and `identityHeaders.strip`.
    pub firewall: Firewall,
    /// `identityHeaders.onSpoof`.
    pub on_spoof: OnSpoof,
    /// `exempt`, in file order.
    pub exempt: Vec<Exemption>,
    /// `missingToken`, or what it is where it is not given.
    pub missing_token: MissingToken,
    /// `corsPreflight`.
    pub cors_preflight: CorsPreflight,
    /// `pathNormalization`.
    pub path_normalization: Normalization,
    /// `sourceAddress`.
    pub source_address: Option<SourceAddress>,
    /// `peerIdentity`.
    pub peer_identity: PeerIdentity,
    /// `requireValidatedPeer`.
    pub require_validated_peer: bool,
    /// `responses`.
    pub responses: Responses,
    /// `decisionLog`.
    pub decision_log: DecisionLog,
    /// `limits`.
    pub limits: Limits,
    /// The attributes with a bound that are read at all.
    pub reads: bounds::Reads,
    /// `mode`.
    pub mode: Mode,
    /// `filterState`.
    pub filter_state: FilterState,
    /// `signatureEngine`.
    pub signature_engine: Engine,
    /// `tokenCache`.
    pub token_cache: TokenCacheBounds,
    /// What cached tokens were verified under.
    pub generation: cache::Generation,
    /// `onInvalidConfig`.
    pub on_invalid_config: OnInvalidConfig,
    /// `instance`.
    pub instance: Option<String>,
}

/// A configuration that was read: the policy, and what is worth a second look.
#[derive(Debug)]
pub struct Loaded {
    /// What is in force from now on.
    pub policy: Policy,
    /// What is legal and perhaps not meant.
    pub warnings: Vec<InvalidConfig>,
}

/// JSON levels in a pluginConfig: a JWK in a set in a rule in a list is 5 deep, a condition's value 8.
const CONFIG_DEPTH: usize = 32;

impl Policy {
    /// Reads a pluginConfig as Envoy hands it over; no bytes at all is an empty one
    /// (docs/semantics.md, "How pluginConfig reaches the plugin").
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn from_json(text: &[u8]) -> Result<Loaded, Vec<InvalidConfig>> {
        if text.trim_ascii().is_empty() {
            return Self::from_value(&Value::Object(json::Map::new()));
        }
        match json::parse(text, CONFIG_DEPTH) {
            Ok(value) => Self::from_value(&value),
            Err(invalid) => {
                let problem = match text.iter().any(|b| matches!(b, 0..=8)) {
                    // A Struct in Envoy's `configuration` arrives in protobuf's binary form.
                    true => {
                        "expected JSON text, found bytes: give the configuration to Envoy as a \
                             `google.protobuf.StringValue` that holds JSON"
                            .to_owned()
                    }
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
    pub fn from_value(value: &Value) -> Result<Loaded, Vec<InvalidConfig>> {
        let problems = Problems::default();
        let policy = read(&Node::root(value), &problems);
        let valid = problems.is_valid();
        let (mut errors, warnings) = problems.into_parts();
        match policy {
            Some(policy) if valid => Ok(Loaded { policy, warnings }),
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

    /// What the host should tell about the connection: only what some rule reads.
    pub fn needs(&self) -> &Needs {
        self.authorization.needs()
    }
}

fn read(root: &Node<'_>, problems: &Problems) -> Option<Policy> {
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
    let authorization = authorization(&object, source_address.is_some(), problems);
    let (strip, on_spoof) = settings::identity_headers(&object, problems);
    let emitted = rules.iter().flat_map(|rule| rule.emission.names());
    let firewall = Firewall::new(emitted.chain(strip.iter().map(String::as_str)));
    let limits = settings::limits(&object, problems);
    let jwt = JwtRules::new(rules, context.places, limits.signature_checks);
    check_places(&jwt, &firewall, problems);
    // Fetched keys are told of once they are there.
    for crowd in crowd::crowds(&jwt, &Ring::default()) {
        let at = format!("jwtRules[{}].jwks", crowd.rule);
        problems.warning(at, crowd.problem(limits.signature_checks));
    }

    let exempt = exempt::read_all(&object, problems);
    let mut reads = reads(&jwt, &authorization, &firewall);
    reads.path |= !exempt.is_empty();
    let policy = Policy {
        exempt,
        missing_token: settings::missing_token(&object, &jwt, &authorization, problems),
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
        generation: cache::Generation::new(),
        reads,
        on_invalid_config: last_good::on_invalid_config(&object, problems),
        instance: last_good::instance(&object, problems),
        jwt,
        authorization,
        firewall,
        on_spoof,
        source_address,
    };
    object.finish(problems);
    Some(policy)
}

fn authorization(object: &Object<'_>, source_address: bool, problems: &Problems) -> Policies {
    let trust_domains = object.field("trustDomains").and_then(|n| n.texts(problems));
    let match_scalar_claims = object.field("matchScalarClaims").and_then(|n| n.boolean(problems));
    let context = authorize::Context {
        trust_domains: trust_domains.unwrap_or_default().into_iter().map(str::to_owned).collect(),
        source_address,
        match_scalar_claims: match_scalar_claims.unwrap_or(false),
    };
    object
        .field("authorizationPolicies")
        .and_then(|node| Policies::read(&node, &context, problems))
        .unwrap_or_default()
}

/// What is read of the attributes that have bounds.
fn reads(jwt: &JwtRules, authorization: &Policies, firewall: &Firewall) -> bounds::Reads {
    let needs = authorization.needs();
    let mut reads = bounds::Reads {
        captures: needs.captures,
        cookies: false,
        headers: needs.headers || !firewall.is_empty(),
        hosts: needs.hosts,
        path: needs.paths,
        peer: needs.peer,
        protocols: false,
        query: needs.query,
    };
    for place in &jwt.places {
        match place {
            TokenLocation::Cookie(_) => (reads.cookies, reads.headers) = (true, true),
            TokenLocation::Header { .. } => reads.headers = true,
            TokenLocation::WebSocketProtocol(_) => (reads.protocols, reads.headers) = (true, true),
            TokenLocation::Param(_) => reads.query = true,
        }
    }
    reads
}

/// A token in a header that Usher emits would be removed as a forgery before it was read.
fn check_places(jwt: &JwtRules, firewall: &Firewall, problems: &Problems) {
    for (index, place) in jwt.places.iter().enumerate() {
        let name = match place {
            TokenLocation::Header { name, .. } => name.as_str(),
            TokenLocation::Cookie(_) => "cookie",
            TokenLocation::WebSocketProtocol(_) => "sec-websocket-protocol",
            TokenLocation::Param(_) => continue,
        };
        if firewall.protects(name.as_bytes()) {
            let reader = jwt.rules.iter().position(|rule| rule.places.contains(&index));
            let folded = String::from_utf8_lossy(&fold(name.as_bytes())).into_owned();
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
