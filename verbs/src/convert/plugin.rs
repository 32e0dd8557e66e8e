//! A group of policies -> the WasmPlugin with the same meaning.

use std::net::Ipv4Addr;

use serde_json::json;
use usher_core::codec::json::{self, Map, Value};
use usher_core::load;
use usher_core::policy::Location;

use super::collect::{Collected, Item, Scope};
use super::select::Group;
use super::{Manifest, Notes, object, tcp};
use crate::input;

/// Settings that are not in the manifests.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// `spec.url`.
    pub(crate) url: String,
    /// The mesh's trust domain, then its aliases; if empty, cluster.local.
    pub(crate) trust_domains: Vec<String>,
    /// The mesh's `pathNormalization`; default: BASE.
    pub(crate) path_normalization: Option<String>,
}

/// The filter state key that Usher's documentation uses.
const SOURCE_IP: &str = "usher.source_ip";

/// The plugin of a group; `None` if it could not mean the same.
pub(crate) fn manifest(
    group: &Group,
    collected: &Collected,
    settings: &Settings,
    notes: &mut Notes,
) -> Option<Manifest> {
    let items: Vec<&Item> =
        group.items.iter().filter_map(|index| collected.items.get(*index)).collect();
    let rules = jwt_rules(&items, notes);
    let policies = policies(&items, settings, notes);
    let mut config = Map::new();
    if rules.is_empty() && policies.is_empty() {
        return None;
    }
    if rules.is_empty() {
        claims_are_elsewhere(&items, group, collected, notes);
    } else {
        // Istio lets a request without a token continue to the policies, and without policies it passes.
        config.insert("missingToken".to_owned(), json!("allow"));
        config.insert("jwtRules".to_owned(), Value::Array(rules));
    }
    if peer_is_asked_for(&items, group.is_at_a_waypoint(&collected.waypoints), notes) {
        return None;
    }
    if !policies.is_empty() {
        config.insert("authorizationPolicies".to_owned(), Value::Array(policies));
    }
    if !settings.trust_domains.is_empty() {
        config.insert("trustDomains".to_owned(), json!(settings.trust_domains));
    }
    if let Some(mode) = &settings.path_normalization {
        config.insert("pathNormalization".to_owned(), json!(mode));
    }
    let config = Value::Object(config);
    if let Err(errors) = load::from_value(&config) {
        for error in errors {
            notes.lost(&format!("{}/{}", group.namespace, group.name), error.to_string());
        }
        return None;
    }
    let held = items.iter().filter(|item| item.action() != "CUSTOM");
    let comment = held.map(|i| format!("{} {}/{} ({})", i.kind, i.namespace, i.name, i.place));
    Some(Manifest { comment: comment.collect(), value: wasm_plugin(group, config, settings) })
}

/// Reports policies on the content of a token where the RequestAuthentication is in another plugin, or stays: here none
/// verifies one, and a DENY would never match.
fn claims_are_elsewhere(items: &[&Item], group: &Group, collected: &Collected, notes: &mut Notes) {
    let verifies = |item: &&Item| {
        item.kind == "RequestAuthentication"
            && (item.namespace == group.namespace || matches!(item.scope, Scope::Everyone))
    };
    let Some(other) = collected.items.iter().find(verifies) else { return };
    let asks = |item: &&&Item| item.action() != "CUSTOM" && tcp::asks_for_a_token(item);
    for item in items.iter().filter(asks) {
        notes.lost(
            &item.place,
            format!(
                "`{}/{}` asks for what a token says, and `{}/{}`, which verifies it, is for other workloads or names them in \
                 another way: give both the same selector or `targetRefs`",
                item.namespace, item.name, other.namespace, other.name
            ),
        );
    }
}

/// The manifest of a group's plugin.
pub(super) fn wasm_plugin(group: &Group, config: Value, settings: &Settings) -> Value {
    let (selector, targets) = match &group.scope {
        Scope::Everyone => (None, None),
        Scope::Labels(labels) => (Some(json!({ "matchLabels": labels })), None),
        Scope::Targets(targets) => (None, Some(targets.clone())),
    };
    // Inbound traffic of a sidecar. A gateway is not a sidecar: Istio counts its listeners as CLIENT, a
    // waypoint's as SERVER, and all of their traffic is inbound.
    let inbound = (!group.gateway).then(|| json!([{ "mode": "SERVER" }]));
    json!({
        "apiVersion": "extensions.istio.io/v1alpha1",
        "kind": "WasmPlugin",
        "metadata": { "name": group.name, "namespace": group.namespace },
        "spec": object([
            ("selector", selector),
            ("targetRefs", targets),
            ("url", Some(json!(settings.url))),
            // Without it no last good configuration stays in force.
            ("pluginName", Some(json!(group.name))),
            ("phase", Some(json!("AUTHN"))),
            ("failStrategy", Some(json!("FAIL_RELOAD"))),
            ("match", inbound),
            ("pluginConfig", Some(config)),
        ]),
    })
}

/// All rules of the group, in the order in which istiod compiles them (docs/semantics.md, "How rules
/// become providers").
fn jwt_rules(items: &[&Item], notes: &mut Notes) -> Vec<Value> {
    let mut rules = Vec::new();
    for item in items.iter().filter(|item| item.kind == "RequestAuthentication") {
        let listed = item.spec.get("jwtRules").and_then(Value::as_array);
        for rule in listed.into_iter().flatten() {
            rules.extend(jwt_rule(rule, item, notes));
        }
    }
    let issuer =
        |rule: &Value| rule.get("issuer").and_then(Value::as_str).unwrap_or_default().to_owned();
    rules.sort_by_key(issuer);
    rules
}

/// A key set as an object, which is easier to read than its text. `None`: the object would not be the same, since its
/// numbers do not fit doubles; then the text stays.
pub(super) fn key_set(text: &str) -> Option<Value> {
    let keys = json::parse(text.as_bytes(), 8).ok()?;
    input::is_same_through_doubles(&keys).then_some(keys)
}

fn jwt_rule(rule: &Value, item: &Item, notes: &mut Notes) -> Option<Value> {
    let place = item.place.as_str();
    let mut converted = rule.as_object()?.clone();
    converted.retain(|_, value| !value.is_null());
    if !converted.contains_key("issuer") {
        converted.insert("anyIssuer".to_owned(), json!(true));
    }
    match converted.get("jwks") {
        Some(Value::String(text)) if text.is_empty() => drop(converted.remove("jwks")),
        Some(Value::String(text)) => {
            if let Some(keys) = key_set(text) {
                converted.insert("jwks".to_owned(), keys);
            }
        }
        _ => {}
    }
    if !converted.contains_key("jwks") {
        let Some(url) = converted.get("jwksUri").and_then(Value::as_str) else {
            let issuer = converted.get("issuer").and_then(Value::as_str).unwrap_or_default();
            notes.lost(
                place,
                format!(
                    "`{issuer}` without `jwksUri`: istiod asks the issuer where its keys are, on any server; \
                     the filter follows no `jwks_uri` to another one. Give the `jwks_uri` of \
                     `{issuer}/.well-known/openid-configuration` as `jwksUri`"
                ),
            );
            return None;
        };
        match cluster(url, &item.namespace) {
            Ok(cluster) => {
                let needs = match cluster.ends_with(".svc.cluster.local") {
                    true => "the service of that name",
                    false => {
                        "the host needs a ServiceEntry, if it has none, and for https a DestinationRule with TLS \
                         (istio/examples/remote-keys.yaml)"
                    }
                };
                notes.advice(
                    place,
                    format!("the keys are fetched through the cluster `{cluster}`: {needs}"),
                );
                converted.insert("jwksCluster".to_owned(), json!(cluster));
            }
            Err(why) => notes.lost(
                place,
                format!(
                    "`{url}`: no cluster can be named that the keys are fetched through, since {why}: give a `jwksUri` \
                     with the name of a host, or `jwks`"
                ),
            ),
        }
    }
    if !converted.contains_key("jwksUri") {
        converted.remove("timeout");
    }
    // For Istio a token without `exp` never expires (docs/semantics.md, "Expiration and clock skew").
    converted.insert("requireExpiration".to_owned(), json!(false));
    notes.advice(
        place,
        "`requireExpiration: false` is Istio's way; remove it, and tokens that never end are refused",
    );
    if converted.contains_key("outputClaimToHeaders") {
        notes.advice(
            place,
            "a claim that is a list comes as `a,b` in its header, not as base64 of its JSON",
        );
    }
    Some(Value::Object(converted))
}

/// Istio's name for the cluster of a URL's host; `namespace`: where its manifest is. Why there is none: an IP address is
/// not the host of a service.
fn cluster(url: &str, namespace: &str) -> Result<String, String> {
    let location = Location::parse(url).map_err(|expected| format!("expected {expected}"))?;
    let host = location.host();
    if host.starts_with('[') || host.parse::<Ipv4Addr>().is_ok() {
        return Err(format!("`{host}` is an address and no service has it as its name"));
    }
    let given = location.authority.strip_prefix(host).and_then(|rest| rest.strip_prefix(':'));
    let port = match (given, location.scheme) {
        (Some(port), _) => port,
        (None, "http") => "80",
        (None, _) => "443",
    };
    let host = whole_host(host, namespace, location.scheme == "http" || given.is_some());
    Ok(format!("outbound|{port}||{host}"))
}

/// The full name of a service's host: `keycloak`, `keycloak.auth`, `keycloak.auth.svc`. `is_inside`: whether a name of two
/// parts is a service and its namespace, as the scheme or the port say, and not a domain.
fn whole_host(host: &str, namespace: &str, is_inside: bool) -> String {
    let host = host.trim_end_matches('.');
    let parts: Vec<&str> = host.split('.').collect();
    match parts.as_slice() {
        [service] => format!("{service}.{namespace}.svc.cluster.local"),
        [_, _] if is_inside => format!("{host}.svc.cluster.local"),
        [_, _, "svc"] => format!("{host}.cluster.local"),
        _ => host.to_owned(),
    }
}

/// The policies of the group, without those that cannot be converted.
fn policies(items: &[&Item], settings: &Settings, notes: &mut Notes) -> Vec<Value> {
    let mut policies = Vec::new();
    for item in items.iter().filter(|item| item.kind == "AuthorizationPolicy") {
        if item.action() == "CUSTOM" {
            let name = format!("{}/{}", item.namespace, item.name);
            notes.advice(
                &item.place,
                format!(
                    "CUSTOM `{name}` asks another service: it stays an AuthorizationPolicy, and Istio runs it \
                     ahead of the plugin"
                ),
            );
            continue;
        }
        let policy = policy(item, item.action());
        let problems = problems(&policy, settings);
        if problems.is_empty() {
            policies.push(policy);
            continue;
        }
        for problem in problems {
            notes.lost(&item.place, problem);
        }
    }
    policies
}

fn policy(item: &Item, action: &str) -> Value {
    let rules = item.spec.get("rules").filter(|rules| !rules.is_null());
    object([
        ("name", Some(json!(item.name))),
        ("namespace", Some(json!(item.namespace))),
        ("action", Some(json!(action))),
        ("dryRun", item.dry_run.then_some(Value::Bool(true))),
        ("rules", rules.cloned()),
    ])
}

/// Why Usher cannot accept the policy.
fn problems(policy: &Value, settings: &Settings) -> Vec<String> {
    let alone = json!({
        "authorizationPolicies": [policy],
        "sourceAddress": { "filterState": SOURCE_IP },
        "trustDomains": settings.trust_domains,
    });
    match load::from_value(&alone) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(ToString::to_string).collect(),
    }
}

/// Whether a policy uses the TCP peer's address, which a plugin does not have; each is reported with a
/// remedy.
fn peer_is_asked_for(items: &[&Item], at_a_waypoint: bool, notes: &mut Notes) -> bool {
    let policies = || items.iter().filter(|item| item.kind == "AuthorizationPolicy");
    let allows = policies().filter(|item| item.action() == "ALLOW" && !item.dry_run).count();
    let mut found = false;
    for item in policies().filter(|item| item.action() != "CUSTOM" && asks_for_peer(item)) {
        found = true;
        let policy = format!("`{}/{}` ({})", item.namespace, item.name, item.action());
        if at_a_waypoint {
            notes.lost(
                &item.place,
                format!(
                    "{policy} asks for `ipBlocks` or `source.ip`, and a waypoint does not know the TCP peer's \
                     address, so that none of them ever matches: say what is meant by `remoteIpBlocks`, or by \
                     the peer's identity"
                ),
            );
            continue;
        }
        // One of several ALLOW policies must match, so none of them can be separated from the others.
        let stays = !tcp::asks_for_a_token(item) && (item.action() != "ALLOW" || allows <= 1);
        let remedy = if stays {
            "It asks for nothing of the token, so that it decides the same behind the plugin: leave it out of \
             the input, and keep it"
        } else {
            "Leave it out of the input, and write it by hand into `authorizationPolicies` of the plugin, with \
             `sourceAddress` and a filter ahead that leaves the address in filter state \
             (docs/configuration.md); or, where the client's address is meant, with `remoteIpBlocks`"
        };
        notes.lost(
            &item.place,
            format!(
                "{policy} asks for `ipBlocks` or `source.ip`, the TCP peer's address, which a plugin does not get. \
                 {remedy}"
            ),
        );
    }
    found
}

/// Whether a rule uses the TCP peer's address.
fn asks_for_peer(item: &Item) -> bool {
    item.rules_hold(&["\"ipBlocks\"", "\"notIpBlocks\"", "\"source.ip\""])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_has_the_whole_name_of_the_host() {
        for (url, expected) in [
            ("https://idp.example.com/keys", Some("outbound|443||idp.example.com")),
            ("https://example.com/keys", Some("outbound|443||example.com")),
            ("http://keycloak:8080/certs", Some("outbound|8080||keycloak.shop.svc.cluster.local")),
            (
                "http://keycloak.auth:8080/certs",
                Some("outbound|8080||keycloak.auth.svc.cluster.local"),
            ),
            ("http://keycloak.auth/certs", Some("outbound|80||keycloak.auth.svc.cluster.local")),
            (
                "https://keycloak.auth.svc/certs",
                Some("outbound|443||keycloak.auth.svc.cluster.local"),
            ),
            ("https://a.b.svc.cluster.local:1/", Some("outbound|1||a.b.svc.cluster.local")),
            ("https://10.0.0.5:6443/keys", None),
            ("https://[::1]/keys", None),
        ] {
            assert_eq!(cluster(url, "shop").ok().as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_key_set_whose_numbers_would_change_stays_a_text() {
        for (text, expected) in [
            (r#"{"keys":[{"kid":"a","nbf":1700000000}]}"#, true),
            (r#"{"keys":[{"kid":"a","nbf":1e400}]}"#, false),
            (r#"{"keys":[{"kid":"a","n":18446744073709551615}]}"#, false),
            ("-----BEGIN PUBLIC KEY-----", false),
        ] {
            assert_eq!(key_set(text).is_some(), expected, "{text}");
        }
    }
}
