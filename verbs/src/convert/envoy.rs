//! An Envoy configuration with `jwt_authn` and `rbac` -> a pluginConfig.
//!
//! Each list of HTTP filters with one of them becomes a separate configuration, wherever it stands: in a bootstrap, a
//! listener, a dump of Envoy's admin interface, an EnvoyFilter. What Usher cannot express is reported and left out.

mod alternatives;
mod envoy_filter;
mod jwt_authn;
mod matcher;
mod rbac;

use serde_json::json;
use usher_core::codec::json::{Map, Value};
use usher_core::load;

use super::{Manifest, Notes, readers};
use crate::config::below;

const JWT_AUTHN: &str = "envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication";
const RBAC: &str = "envoy.extensions.filters.http.rbac.v3.RBAC";

pub(crate) use envoy_filter::{is_envoy_filter, manifest as envoy_filter};

/// Whether a document is an Envoy configuration with one of the filters in it, in protobuf's own spelling.
pub(crate) fn is_envoy(value: &Value) -> bool {
    value.get("kind").is_none() && !chains(value, None, "").is_empty()
}

/// Reports the filters in a document that are in a place that is not read: an EnvoyFilter, a patch, a
/// dump.
pub(crate) fn unread(value: &Value, file: &str, notes: &mut Notes) {
    let found = if is_envoy(value) { chains(value, None, "") } else { Vec::new() };
    let read = found
        .iter()
        .flat_map(|chain| &chain.filters)
        .filter(|filter| kind(filter).is_some())
        .count();
    if typed(value, &is_filter) > read {
        notes.lost(
            file,
            "a jwt_authn or rbac filter in a place, of a version or of a kind that is not read: give its list of \
             `http_filters`, whole",
        );
    }
    if typed(value, &is_of_a_route) > 0 {
        notes.lost(
            file,
            "`typed_per_filter_config`: what a route asks for by itself, which a pluginConfig says with paths \
             and hosts",
        );
    }
}

/// Whether a type is one of the filters, of any version, for HTTP or for TCP.
fn is_filter(name: &str) -> bool {
    [".http.jwt_authn.", ".http.rbac.", ".network.rbac."].iter().any(|part| name.contains(part))
        && !is_of_a_route(name)
}

/// Whether a type is what a route asks for by itself.
fn is_of_a_route(name: &str) -> bool {
    ["PerRouteConfig", "RBACPerRoute"].iter().any(|end| name.ends_with(end))
        && [".jwt_authn.", ".rbac."].iter().any(|part| name.contains(part))
}

/// Whether a value has one of the filters, or what a route asks of them.
fn is_concerned(value: &Value) -> bool {
    typed(value, &|name| is_filter(name) || is_of_a_route(name)) > 0
}

/// The number of objects of a type in a value, and of those that are discovered (`type_urls`).
fn typed(value: &Value, wanted: &dyn Fn(&str) -> bool) -> usize {
    match value {
        Value::Object(members) => {
            let own = members.get("@type").and_then(Value::as_str).is_some_and(wanted);
            let counts = |(name, _): &(&String, &Value)| !OTHER_STATES.contains(&name.as_str());
            let inner = members.iter().filter(counts);
            let inner: usize = inner.map(|(_, value)| typed(value, wanted)).sum();
            let urls = members.get("type_urls").and_then(Value::as_array).into_iter().flatten();
            let urls = urls.filter_map(Value::as_str).filter(|url| wanted(url)).count();
            inner.saturating_add(usize::from(own)).saturating_add(urls)
        }
        Value::Array(items) => items.iter().map(|value| typed(value, wanted)).sum(),
        _ => 0,
    }
}

/// Reports which fields of an object are unknown here.
fn unknown(value: &Value, known: &[&str], place: &str, notes: &mut Notes) {
    for name in value.as_object().into_iter().flat_map(Map::keys) {
        if !known.contains(&name.as_str()) {
            notes.lost(&format!("{place}.{name}"), "a field that is not known here");
        }
    }
}

/// The configurations with the same meaning as the filters in a document.
pub(crate) fn manifest(value: &Value, file: &str, notes: &mut Notes) -> Vec<Manifest> {
    unread(value, file, notes);
    for at in readers::metadata(value) {
        notes.lost(&format!("{file}: {at}"), readers::NO_METADATA);
    }
    let mut manifests: Vec<Manifest> = Vec::new();
    let chains = chains(value, None, "");
    let several = chains.len() > 1;
    for chain in chains {
        let Some(config) = config(&chain.filters, notes) else { continue };
        // Listeners of one proxy have the same filters, one by one.
        if let Some(same) = manifests.iter_mut().find(|known| known.value == config) {
            same.comment.push(format!("and of {}", chain.at));
            continue;
        }
        let place = if several { format!(", {}", chain.at) } else { String::new() };
        let comment = vec![format!("from the filters jwt_authn and rbac of {file}{place}")];
        manifests.push(Manifest { comment, value: config });
    }
    manifests
}

/// A list of HTTP filters.
struct Chain<'v> {
    /// The name of its listener, if it has one, else its JSON path.
    at: String,
    /// The `typed_config` of each.
    filters: Vec<&'v Value>,
}

/// Of a listener in a dump (envoy.admin.v3.ListenersConfigDump), only the state in force counts.
const OTHER_STATES: [&str; 3] = ["draining_state", "error_state", "warming_state"];

/// The filters of interest, list by list; `listener`: that of the value, with its name, and `at`: the value's JSON path.
fn chains<'v>(value: &'v Value, listener: Option<&'v str>, at: &str) -> Vec<Chain<'v>> {
    let chain = |at: &str, filters: Vec<&'v Value>| {
        let at = listener.map_or_else(|| at.to_owned(), |name| format!("listener `{name}`"));
        Chain { at, filters }
    };
    if kind(value).is_some() {
        return vec![chain(at, vec![value])];
    }
    let mut found = Vec::new();
    match value {
        Value::Object(members) => {
            let name = members.get("name").and_then(Value::as_str);
            let listener = name.filter(|_| members.contains_key("filter_chains")).or(listener);
            let counts = |(name, _): &(&String, &Value)| !OTHER_STATES.contains(&name.as_str());
            for (name, value) in members.iter().filter(counts) {
                let at = below(at, name);
                let Some(filters) = value.as_array().filter(|_| name == "http_filters") else {
                    found.extend(chains(value, listener, &at));
                    continue;
                };
                let filters: Vec<&Value> =
                    filters.iter().filter_map(|f| f.get("typed_config")).collect();
                if filters.iter().any(|filter| kind(filter).is_some()) {
                    found.push(chain(&at, filters));
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                found.extend(chains(item, listener, &below(at, &format!("[{index}]"))));
            }
        }
        _ => {}
    }
    found
}

/// Which of the two filters a configuration belongs to.
fn kind(value: &Value) -> Option<&'static str> {
    let name = value.get("@type").and_then(Value::as_str)?;
    [JWT_AUTHN, RBAC].into_iter().find(|known| name.ends_with(known))
}

fn config(filters: &[&Value], notes: &mut Notes) -> Option<Value> {
    let mut config = Map::new();
    let mut policies = Vec::new();
    for filter in filters {
        match kind(filter) {
            Some(JWT_AUTHN) if config.contains_key("jwtRules") => {
                notes.lost("jwt_authn", "a second one in the same list of filters");
            }
            Some(JWT_AUTHN) => jwt_authn::convert(filter, &mut config, &mut policies, notes),
            Some(_) => {
                let more = rbac::convert(filter, policies.len(), notes);
                let asks = Value::Array(more.clone()).to_string().contains("\"request.auth.");
                if asks && !config.contains_key("jwtRules") {
                    notes.lost(
                        "rbac",
                        "asks for claims, and no jwt_authn stands ahead of it in this list: give both together",
                    );
                }
                if policies.iter().any(allows) && more.iter().any(allows) {
                    notes.lost(
                        "rbac",
                        "a second filter that allows: a request needs both, and of several ALLOW policies one suffices",
                    );
                }
                policies.extend(more);
            }
            None => {}
        }
    }
    let providers = || filters.iter().filter(|filter| kind(filter) == Some(JWT_AUTHN));
    for payload in rbac::payloads(filters) {
        let writes = |(_, provider): (&String, &Value)| {
            provider.get("payload_in_metadata").and_then(Value::as_str) == Some(payload.as_str())
        };
        let has_it = |filter: &&Value| {
            let all = filter.get("providers").and_then(Value::as_object);
            all.is_some_and(|all| all.iter().all(writes))
        };
        if providers().any(|filter| !has_it(filter)) {
            notes.lost(
                "rbac",
                format!(
                    "`{payload}` is not where each provider of the filter puts its claims (`payload_in_metadata`), and a \
                     rule here is about the claims of any: let all have one name for it"
                ),
            );
        }
    }
    let text = Value::Array(policies.clone()).to_string();
    let filters = filters.iter().filter(|filter| kind(filter) == Some(JWT_AUTHN));
    for claim in filters.flat_map(|filter| jwt_authn::whole_texts(filter)) {
        if text.contains(&format!("\"request.auth.claims[{claim}]\"")) {
            notes.lost(
                "rbac",
                format!(
                    "`{claim}` is compared as one text, since a provider does not name it in \
                     `normalize_payload_in_metadata`: Usher compares each of its words"
                ),
            );
        }
    }
    if !policies.is_empty() {
        if text.contains("\"ipBlocks\"") {
            notes.lost(
                "rbac",
                "`direct_remote_ip` needs the TCP peer's address, which a filter ahead would have to put into \
                 filter state (`sourceAddress` in docs/configuration.md): without it a DENY never matches",
            );
        }
        config.insert("authorizationPolicies".to_owned(), Value::Array(policies));
    }
    let config = Value::Object(config);
    match load::from_value(&config) {
        Ok(_) => Some(config),
        Err(errors) => {
            for error in errors {
                notes.lost("the result", error.to_string());
            }
            None
        }
    }
}

/// Whether a policy is an enforced ALLOW policy.
fn allows(policy: &Value) -> bool {
    policy.get("action") == Some(&json!("ALLOW")) && policy.get("dryRun").is_none()
}
