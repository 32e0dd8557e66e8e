//! Usher in an Envoy configuration: each of its filters with its pluginConfig, and their surroundings.
//!
//! The filter is found anywhere: in a bootstrap, a listener, a discovery response or a configuration dump.
//! Field names may be in either of protobuf's spellings.

mod lua;
mod spelling;

pub(crate) use spelling::snake;

use usher_core::codec::json::{self, Map, Value};
use usher_core::codec::problems::Problems;
use usher_core::load;

use crate::config::below;
use crate::input::DEPTH;
use crate::lint::earlier::headers;
use crate::manifest::{PluginConfig, speaks_usher};

/// The wasm filter.
const WASM: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";

/// The type that a plugin's configuration must have for a module to read it.
const STRING: &str = "google.protobuf.StringValue";

/// A filter's names in its Envoy, and what its listener accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// `name` and `root_id` of the plugin.
    pub(crate) names: (String, String),
    /// The place of `ACCEPT_UNTRUSTED` in the filter chain's TLS context, if it is there.
    pub(crate) accepts_untrusted: Option<String>,
    /// The filters ahead of it in its chain that set headers.
    pub(crate) ahead: Vec<Ahead>,
}

/// A filter that sets headers of requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    /// JSON path in the document.
    pub(crate) at: String,
    /// The headers as written; `None` if another service decides which.
    pub(crate) sets: Option<Vec<String>>,
}

/// Whether a document is an Envoy configuration, or a part of one: no pluginConfig has such fields.
pub(crate) fn is_envoy(document: &Value) -> bool {
    let parts = [
        "@type",
        "configs",
        "dynamic_resources",
        "filter_chains",
        "http_filters",
        "resources",
        "static_resources",
        "typed_config",
    ];
    if let Value::Array(listeners) = document {
        // `istioctl proxy-config listeners -o json`
        return listeners.iter().any(is_envoy);
    }
    document.is_object() && parts.iter().any(|part| field(document, part).is_some())
}

/// Usher's configurations in an Envoy configuration.
pub(crate) fn configs(document: &Value, problems: &Problems) -> Vec<PluginConfig> {
    let mut found = Vec::new();
    let secrets = untrusting_secrets(document);
    walk(document, "", None, &mut |value, at, tls| {
        let is_wasm = |kind: &str| kind.ends_with(WASM);
        if value.get("@type").and_then(Value::as_str).is_some_and(is_wasm) {
            let accepts = tls.and_then(|(tls, at)| accepts_untrusted(tls, &at, &secrets));
            found.extend(plugin_config(value, at, accepts, problems));
        }
    });
    let chains = chains(document);
    for config in &mut found {
        let PluginConfig { at, filter: Some(filter), .. } = config else { continue };
        let is_in = |ahead: &&Ahead| at.strip_prefix(&ahead.at).is_some_and(|r| r.starts_with('.'));
        for chain in &chains {
            if let Some(place) = chain.iter().position(|ahead| is_in(&ahead)) {
                let earlier = chain.iter().take(place);
                filter.ahead = earlier.filter(|a| a.sets != Some(Vec::new())).cloned().collect();
            }
        }
    }
    found
}

/// The HTTP filters of each chain, with the headers that they set.
fn chains(document: &Value) -> Vec<Vec<Ahead>> {
    let mut chains = Vec::new();
    walk(document, "", None, &mut |value, at, _| {
        if let Some((name, Value::Array(filters))) = named_field(value, "http_filters") {
            let at = below(at, name);
            let ahead = |(index, filter)| Ahead {
                at: below(&at, &format!("[{index}]")),
                sets: field(filter, "typed_config").map_or(Some(Vec::new()), sets),
            };
            chains.push(filters.iter().enumerate().map(ahead).collect());
        }
    });
    chains
}

/// The headers that a filter sets, for known filters: jwt_authn, ext_authz, Lua, header_mutation, and
/// Usher.
fn sets(config: &Value) -> Option<Vec<String>> {
    let kind = config.get("@type").and_then(Value::as_str).unwrap_or_default();
    if kind.ends_with("envoy.extensions.filters.http.ext_authz.v3.ExtAuthz") {
        return None;
    }
    if kind.ends_with("envoy.extensions.filters.http.lua.v3.Lua") {
        return lua::sets(config);
    }
    let mut names = Vec::new();
    if kind.ends_with("envoy.extensions.filters.http.header_mutation.v3.HeaderMutation") {
        let mutations = field(config, "mutations").and_then(|m| field(m, "request_mutations"));
        let mutations = mutations.and_then(Value::as_array).into_iter().flatten();
        let header = |mutation| field(field(mutation, "append")?, "header")?.get("key")?.as_str();
        names.extend(mutations.filter_map(header).map(str::to_owned));
    }
    if kind.ends_with("envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication") {
        let providers = field(config, "providers").and_then(Value::as_object);
        for provider in providers.into_iter().flatten().map(|(_, provider)| provider) {
            let claims = field(provider, "claim_to_headers").and_then(Value::as_array);
            let claims = claims.into_iter().flatten().filter_map(|c| field(c, "header_name"));
            let all = field(provider, "forward_payload_header").into_iter().chain(claims);
            names.extend(all.filter_map(Value::as_str).map(str::to_owned));
        }
    }
    if kind.ends_with(WASM)
        && let Some(text) = config.pointer("/config/configuration/value").and_then(Value::as_str)
        && let Ok(config) = json::parse(text.as_bytes(), DEPTH)
    {
        names = headers(&config);
    }
    Some(names)
}

/// A field in protobuf's own spelling, `root_id`, or in that of its JSON, `rootId`.
fn field<'v>(value: &'v Value, name: &str) -> Option<&'v Value> {
    named_field(value, name).map(|(_, value)| value)
}

fn named_field<'v>(value: &'v Value, name: &str) -> Option<(&'v str, &'v Value)> {
    let members = value.as_object()?;
    let camel = || {
        let mut pieces = name.split('_');
        let first = pieces.next().unwrap_or_default().to_owned();
        pieces.fold(first, |name, piece| {
            let (initial, rest) = piece.split_at_checked(1).unwrap_or_default();
            name + &initial.to_ascii_uppercase() + rest
        })
    };
    let found = members.get_key_value(name).or_else(|| members.get_key_value(&camel()));
    found.map(|(name, value)| (name.as_str(), value))
}

/// The TLS context of a filter chain, with its path.
type Socket<'v> = Option<(&'v Value, String)>;

/// Visits each object with its path and the TLS context of the filter chain that it is in.
fn walk<'v>(
    value: &'v Value,
    at: &str,
    tls: Socket<'v>,
    visit: &mut dyn FnMut(&'v Value, &str, Socket<'v>),
) {
    match value {
        Value::Object(members) => {
            let socket = named_field(value, "transport_socket").filter(|_| has_filters(members));
            let tls = socket.map(|(name, socket)| (socket, below(at, name))).or(tls);
            visit(value, at, tls.clone());
            for (name, inner) in members {
                walk(inner, &below(at, name), tls.clone(), visit);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                walk(item, &below(at, &format!("[{index}]")), tls.clone(), visit);
            }
        }
        _ => {}
    }
}

/// A filter chain has filters; a cluster has a transport socket too, but no filters.
fn has_filters(members: &Map<String, Value>) -> bool {
    members.contains_key("filters")
}

/// Names of the secrets (SDS) whose validation context accepts any certificate.
fn untrusting_secrets(document: &Value) -> Vec<String> {
    let mut names = Vec::new();
    walk(document, "", None, &mut |value, _, _| {
        let context = field(value, "validation_context");
        let name = value.get("name").and_then(Value::as_str);
        if let (Some(context), Some(name)) = (context, name)
            && find(context, "", &is_untrusting).is_some()
        {
            names.push(name.to_owned());
        }
    });
    names
}

/// The place where a TLS context accepts a certificate that was not validated.
fn accepts_untrusted(tls: &Value, at: &str, secrets: &[String]) -> Option<String> {
    let by_name = |value: &Value| {
        let secret = field(value, "validation_context_sds_secret_config");
        let name = secret.and_then(|secret| secret.get("name")?.as_str());
        name.is_some_and(|name| secrets.iter().any(|known| known == name))
    };
    find(tls, at, &|value| is_untrusting(value) || by_name(value))
}

fn is_untrusting(value: &Value) -> bool {
    // CertificateValidationContext.TrustChainVerification: ACCEPT_UNTRUSTED = 1.
    field(value, "trust_chain_verification").is_some_and(|word| match word {
        Value::String(word) => word == "ACCEPT_UNTRUSTED",
        Value::Number(number) => number.as_u64() == Some(1),
        _ => false,
    })
}

/// The path of the first object for which a test holds.
fn find(value: &Value, at: &str, test: &dyn Fn(&Value) -> bool) -> Option<String> {
    let mut found = None;
    walk(value, at, None, &mut |value, at, _| {
        if found.is_none() && test(value) {
            found = Some(at.to_owned());
        }
    });
    found
}

/// The configuration of a wasm filter at `at`, if it is Usher's.
fn plugin_config(
    filter: &Value,
    at: &str,
    accepts_untrusted: Option<String>,
    problems: &Problems,
) -> Option<PluginConfig> {
    let config = filter.get("config")?;
    let at = below(at, "config");
    let text = |name| field(config, name).and_then(Value::as_str).unwrap_or_default();
    let names = (text("name"), text("root_id"));
    let code = field(config, "vm_config").and_then(|vm| vm.get("code")).map(Value::to_string);
    let named = [Some(names.0), Some(names.1), code.as_deref()];
    let configuration = field(config, "configuration");
    let Some((kind, value)) = configuration.and_then(|c| Some((c.get("@type")?, c.get("value"))))
    else {
        if speaks_usher(&Map::new(), &named) {
            let problem = "no configuration: as it stands every request is answered 503 \
                           `config_invalid`";
            problems.warning("no-configuration", at, problem);
        }
        return None;
    };
    let at = below(&at, "configuration");
    let Some(text) = value.and_then(Value::as_str).filter(|_| is_string(kind)) else {
        if speaks_usher(&Map::new(), &named) {
            let found = kind.as_str().unwrap_or_default();
            problems.error(at, format!("expected a `{STRING}` that holds JSON, found `{found}`"));
        }
        return None;
    };
    let at = below(&at, "value");
    let names = (names.0.to_owned(), names.1.to_owned());
    match json::parse(text.as_bytes(), DEPTH) {
        Ok(Value::Object(members)) if !speaks_usher(&members, &named) => None,
        Ok(value) => {
            let filter = Some(Filter { names, accepts_untrusted, ahead: Vec::new() });
            Some(PluginConfig { filter, ..PluginConfig::new(&at, value) })
        }
        Err(_) if speaks_usher(&Map::new(), &named) => {
            // With the filter's messages.
            for error in load::from_json(text.as_bytes()).err().into_iter().flatten() {
                problems.error(&at, error.to_string());
            }
            None
        }
        Err(_) => None,
    }
}

fn is_string(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| kind.ends_with(STRING))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A filter chain with an Usher, and this validation context.
    fn chain(context: &Value) -> Value {
        let text = json!({ "authorizationPolicies": [{ "name": "p" }] }).to_string();
        json!({
            "filters": [{ "typed_config": { "http_filters": [{ "typed_config": {
                "@type": format!("type.googleapis.com/{WASM}"),
                "config": {
                    "name": "a",
                    "rootId": "b",
                    "configuration": { "@type": format!("type.googleapis.com/{STRING}"), "value": text },
                },
            }}]}}],
            "transport_socket": { "typed_config": { "common_tls_context": context } },
        })
    }

    fn found(document: &Value) -> Vec<PluginConfig> {
        let problems = Problems::default();
        let configs = configs(document, &problems);
        assert!(problems.is_valid());
        configs
    }

    #[test]
    fn each_filter_is_found_with_its_names_and_its_tls() {
        let accept = json!({ "trust_chain_verification": "ACCEPT_UNTRUSTED" });
        let secret =
            |name: &str| json!({ "validation_context_sds_secret_config": { "name": name } });
        for (context, expected) in [
            (json!({}), None),
            (json!({ "validation_context": {} }), None),
            (
                json!({ "validation_context": { "trust_chain_verification": "VERIFY_TRUST_CHAIN" } }),
                None,
            ),
            (
                json!({ "validation_context": accept }),
                Some("common_tls_context.validation_context"),
            ),
            (
                json!({ "validationContext": { "trustChainVerification": 1 } }),
                Some("common_tls_context.validationContext"),
            ),
            (
                json!({ "combined_validation_context": { "default_validation_context": accept } }),
                Some("common_tls_context.combined_validation_context.default_validation_context"),
            ),
            (secret("any"), Some("common_tls_context")),
            (secret("ours"), None),
        ] {
            let document = json!({ "static_resources": {
                "listeners": [{ "filter_chains": [chain(&context)] }],
                "clusters": [{ "transport_socket": { "validation_context": accept } }],
                "secrets": [
                    { "name": "any", "validation_context": accept },
                    { "name": "ours", "validation_context": {} },
                ],
            }});
            let [config] = found(&document).try_into().unwrap();
            let filter = config.filter.unwrap();
            assert_eq!(filter.names, ("a".to_owned(), "b".to_owned()));
            let at = "static_resources.listeners[0].filter_chains[0]";
            let place = expected.map(|e| format!("{at}.transport_socket.typed_config.{e}"));
            assert_eq!(filter.accepts_untrusted, place, "{context}");
            let inside =
                "filters[0].typed_config.http_filters[0].typed_config.config.configuration";
            assert_eq!(config.at, format!("{at}.{inside}.value"));
        }
    }

    #[test]
    fn a_plugin_that_is_not_ushers_is_left_alone() {
        let mut other = chain(&json!({}));
        let config = &mut other["filters"][0]["typed_config"]["http_filters"][0]["typed_config"];
        config["config"]["configuration"]["value"] = json!("{\"rate\": 1}");
        assert!(found(&json!({ "filter_chains": [other] })).is_empty());
        assert!(!is_envoy(&json!({ "jwtRules": [] })) && is_envoy(&json!({ "resources": [] })));
    }
}
