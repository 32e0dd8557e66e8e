//! Envoy's own filter for policies, configured as istiod configures it from AuthorizationPolicies
//! (docs/semantics.md, "AuthorizationPolicy"; istio/istio pilot/pkg/security/authz). It shares nothing with Usher.

use serde_json::{Value, json};

use crate::{config, jwt_authn};

/// In the order of their filters.
const ACTIONS: [&str; 2] = ["DENY", "ALLOW"];

/// The HTTP filters that these `authorizationPolicies` become in a sidecar, in the order of the chain. Each policy has a
/// name and a namespace. `domains` are the mesh's trust domains.
///
/// # Panics
/// When `policies` is not a list of policies, or one has another action than ALLOW or DENY.
pub fn filters(policies: &Value, domains: &[&str]) -> Vec<Value> {
    let policies = policies.as_array().expect("a list of policies");
    for policy in policies {
        let action = policy["action"].as_str().unwrap_or("ALLOW");
        assert!(ACTIONS.contains(&action), "only {ACTIONS:?} are translated here: {policy}");
    }
    let of_action = |action: &'static str| {
        let is = move |policy: &&Value| policy["action"].as_str().unwrap_or("ALLOW") == action;
        let chosen: Vec<&Value> = policies.iter().filter(is).collect();
        (!chosen.is_empty()).then(|| filter(action, &chosen, domains))
    };
    ACTIONS.into_iter().filter_map(of_action).collect()
}

fn filter(action: &str, policies: &[&Value], domains: &[&str]) -> Value {
    let mut rules = serde_json::Map::new();
    for policy in policies {
        let (name, namespace) =
            (policy["name"].as_str().unwrap(), policy["namespace"].as_str().unwrap());
        for (number, rule) in policy["rules"].as_array().into_iter().flatten().enumerate() {
            let key = format!("ns[{namespace}]-policy[{name}]-rule[{number}]");
            rules.insert(key, compiled(rule, namespace, domains));
        }
    }
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": config::RBAC,
            "rules": { "action": action, "policies": rules },
            "shadow_rules_stat_prefix": format!("istio_dry_run_{}_", action.to_ascii_lowercase()),
        },
    })
}

/// docs/semantics.md, "How a rule matches": any `to` is a permission, any `from` with every `when` a principal. Of the `when` keys those of
/// the connection can only be permissions.
fn compiled(rule: &Value, namespace: &str, domains: &[&str]) -> Value {
    let items = |list: &str, of: &str| -> Vec<Value> {
        let items = rule[list].as_array().into_iter().flatten();
        items.map(|item| item[of].clone()).collect()
    };
    let (mut of_identity, mut of_connection) = (Vec::new(), Vec::new());
    for condition in rule["when"].as_array().into_iter().flatten() {
        let key = condition["key"].as_str().unwrap();
        let connection = matches!(key, "destination.ip" | "destination.port" | "connection.sni");
        let side = if connection { Side::Permission } else { Side::Principal };
        let compile = |value: &str| attribute(key, value, namespace, domains);
        let both = sides(&condition["values"], &condition["notValues"], side, &compile);
        if connection { of_connection.extend(both) } else { of_identity.extend(both) }
    }
    let permissions: Vec<Value> = alternatives(items("to", "operation"), |operation| {
        let mut all = of_connection.clone();
        for (field, not) in [
            ("hosts", "notHosts"),
            ("ports", "notPorts"),
            ("methods", "notMethods"),
            ("paths", "notPaths"),
        ] {
            let compile = |value: &str| vec![of_operation(field, value)];
            all.extend(sides(&operation[field], &operation[not], Side::Permission, &compile));
        }
        Side::Permission.all(all)
    });
    let principals: Vec<Value> = alternatives(items("from", "source"), |source| {
        let mut all = of_identity.clone();
        for (field, not, key) in [
            ("principals", "notPrincipals", "source.principal"),
            ("requestPrincipals", "notRequestPrincipals", "request.auth.principal"),
            ("namespaces", "notNamespaces", "source.namespace"),
            ("serviceAccounts", "notServiceAccounts", "source.serviceAccount"),
            ("trustDomains", "notTrustDomains", "source.trustDomain"),
            ("ipBlocks", "notIpBlocks", "source.ip"),
            ("remoteIpBlocks", "notRemoteIpBlocks", "remote.ip"),
        ] {
            let compile = |value: &str| attribute(key, value, namespace, domains);
            all.extend(sides(&source[field], &source[not], Side::Principal, &compile));
        }
        Side::Principal.all(all)
    });
    json!({ "permissions": permissions, "principals": principals })
}

fn alternatives(items: Vec<Value>, compile: impl Fn(&Value) -> Value) -> Vec<Value> {
    if items.is_empty() { vec![compile(&json!({}))] } else { items.iter().map(compile).collect() }
}

#[derive(Clone, Copy)]
enum Side {
    Permission,
    Principal,
}

impl Side {
    fn all(self, items: Vec<Value>) -> Value {
        match (self, items.is_empty()) {
            (_, true) => json!({ "any": true }),
            (Self::Permission, _) => json!({ "and_rules": { "rules": items } }),
            (Self::Principal, _) => json!({ "and_ids": { "ids": items } }),
        }
    }

    fn any(self, items: Vec<Value>) -> Value {
        match self {
            Self::Permission => json!({ "or_rules": { "rules": items } }),
            Self::Principal => json!({ "or_ids": { "ids": items } }),
        }
    }

    fn not(self, item: Value) -> Value {
        match self {
            Self::Permission => json!({ "not_rule": item }),
            Self::Principal => json!({ "not_id": item }),
        }
    }
}

fn sides(
    values: &Value,
    not_values: &Value,
    side: Side,
    compile: &dyn Fn(&str) -> Vec<Value>,
) -> Vec<Value> {
    let any = |values: &Value| {
        let items: Vec<Value> = strings(values).into_iter().flat_map(compile).collect();
        (!items.is_empty()).then(|| side.any(items))
    };
    any(values).into_iter().chain(any(not_values).map(|item| side.not(item))).collect()
}

fn strings(values: &Value) -> Vec<&str> {
    values.as_array().into_iter().flatten().map(|value| value.as_str().unwrap()).collect()
}

/// docs/semantics.md, "Operation fields".
fn of_operation(field: &str, value: &str) -> Value {
    match field {
        "hosts" => header(":authority", value, true),
        "methods" => header(":method", value, false),
        "ports" => json!({ "destination_port": value.parse::<u16>().unwrap() }),
        _ if value.contains("{*}") || value.contains("{**}") => json!({ "uri_template": {
            "name": "uri-template",
            "typed_config": {
                "@type": concat!(
                    "type.googleapis.com/envoy.extensions.path.match.uri_template.v3",
                    ".UriTemplateMatchConfig",
                ),
                "path_template": value.replace("{*}", "*").replace("{**}", "**"),
            },
        }}),
        _ => json!({ "url_path": { "path": text(value) } }),
    }
}

/// docs/semantics.md, "Peer identity" and "Conditions".
fn attribute(key: &str, value: &str, namespace: &str, domains: &[&str]) -> Vec<Value> {
    let one = |principal: Value| vec![principal];
    match key {
        "source.principal" => {
            expanded(value, domains).iter().map(|value| authenticated(&spiffe(value))).collect()
        }
        "source.namespace" => {
            let value = value.split('*').map(quoted).collect::<Vec<_>>().join(".*");
            one(authenticated(&regex(&format!(".*/ns/{value}/.*"))))
        }
        "source.serviceAccount" => {
            let (ns, account) = value.split_once('/').unwrap_or((namespace, value));
            let (ns, account) = (quoted(ns), quoted(account));
            one(authenticated(&regex(&format!("spiffe://.+/ns/{ns}/(.+/|)sa/{account}(/.+)?"))))
        }
        "source.trustDomain" => {
            let known = domains.contains(&value);
            let values = if known { domains.to_vec() } else { vec![value] };
            values.into_iter().map(|value| authenticated(&trust_domain(value))).collect()
        }
        "source.ip" => one(json!({ "direct_remote_ip": cidr(value) })),
        "remote.ip" => one(json!({ "remote_ip": cidr(value) })),
        "destination.ip" => one(json!({ "destination_ip": cidr(value) })),
        "destination.port" => one(json!({ "destination_port": value.parse::<u16>().unwrap() })),
        "connection.sni" => one(json!({ "requested_server_name": text(value) })),
        "request.auth.principal" => one(request_principal(value)),
        "request.auth.audiences" => claim(&["aud"], value),
        "request.auth.presenter" => claim(&["azp"], value),
        _ => match key.strip_prefix("request.headers[") {
            Some(name) => one(header(name.strip_suffix(']').unwrap(), value, false)),
            None => {
                let path = key.strip_prefix("request.auth.claims[").unwrap();
                let path: Vec<&str> = path.strip_suffix(']').unwrap().split("][").collect();
                claim(&path, value)
            }
        },
    }
}

fn authenticated(text: &Value) -> Value {
    json!({ "authenticated": { "principal_name": text } })
}

fn spiffe(value: &str) -> Value {
    if value == "*" {
        regex(".+")
    } else if let Some(suffix) = value.strip_prefix('*') {
        regex(&format!("spiffe://.*{}", quoted(suffix)))
    } else if let Some(prefix) = value.strip_suffix('*') {
        json!({ "prefix": format!("spiffe://{prefix}") })
    } else {
        json!({ "exact": format!("spiffe://{value}") })
    }
}

fn trust_domain(value: &str) -> Value {
    match value.split_once('*') {
        Some(("", "")) => json!({ "prefix": "spiffe://" }),
        None => json!({ "prefix": format!("spiffe://{value}/") }),
        Some((before, behind)) => {
            regex(&format!("spiffe://{}[^/]*{}/.*", quoted(before), quoted(behind)))
        }
    }
}

/// Aliases of a principal's trust domain (docs/semantics.md, "Trust domain aliases").
fn expanded(value: &str, domains: &[&str]) -> Vec<String> {
    let parts: Vec<&str> = value.split('/').collect();
    let matches = |a: &str, b: &str| match (a.strip_prefix('*'), a.strip_suffix('*')) {
        (Some(suffix), _) => b.ends_with(suffix),
        (None, Some(prefix)) => b.starts_with(prefix),
        (None, None) => a == b,
    };
    let td = parts[0];
    let known = td == "cluster.local" || domains.iter().any(|d| matches(td, d) || matches(d, td));
    if parts.len() != 5 || td == "*" || !known {
        return vec![value.to_owned()];
    }
    let mut all: Vec<String> = Vec::new();
    for domain in domains {
        let keeps = td.strip_prefix('*').is_some_and(|suffix| domain.ends_with(suffix));
        let domain = if keeps { td } else { domain };
        let value = [&[domain], &parts[1..]].concat().join("/");
        if !all.contains(&value) {
            all.push(value);
        }
    }
    all
}

/// docs/semantics.md, "Request principals".
fn request_principal(value: &str) -> Value {
    let any = || regex(".+");
    let exact = |text: &str| json!({ "exact": text });
    let split = value.rsplit_once('/');
    let (iss, sub) = if value == "*" {
        (any(), any())
    } else if let Some(rest) = value.strip_prefix('*') {
        match split {
            Some(("*", sub)) => (any(), exact(sub)),
            Some((iss, sub)) => (json!({ "suffix": &iss[1..] }), exact(sub)),
            None => (any(), json!({ "suffix": rest })),
        }
    } else if let Some(rest) = value.strip_suffix('*') {
        match split {
            Some((iss, "*")) => (exact(iss), any()),
            Some((iss, sub)) => (exact(iss), json!({ "prefix": &sub[..sub.len() - 1] })),
            None => (json!({ "prefix": rest }), any()),
        }
    } else {
        match split {
            Some((iss, sub)) => (exact(iss), exact(sub)),
            None => (exact(value), exact("")),
        }
    };
    json!({ "and_ids": { "ids": [
        payload(&["iss"], &json!({ "string_match": iss })),
        payload(&["sub"], &json!({ "string_match": sub })),
    ]}})
}

/// docs/semantics.md, "How a claim matches": a string, or a list with one string that matches.
fn claim(path: &[&str], value: &str) -> Vec<Value> {
    let text = json!({ "string_match": text(value) });
    let list = json!({ "list_match": { "one_of": text } });
    vec![payload(path, &json!({ "or_match": { "value_matchers": [text, list] } }))]
}

fn payload(path: &[&str], value: &Value) -> Value {
    let path: Vec<Value> =
        [&["payload"], path].concat().iter().map(|k| json!({"key": k})).collect();
    json!({ "metadata": { "filter": jwt_authn::NAME, "path": path, "value": value } })
}

fn header(name: &str, value: &str, ignore_case: bool) -> Value {
    if value == "*" {
        return json!({ "header": { "name": name, "present_match": true } });
    }
    let mut text = text(value);
    text["ignore_case"] = ignore_case.into();
    json!({ "header": { "name": name, "string_match": text } })
}

/// B5.
fn text(value: &str) -> Value {
    if value == "*" {
        regex(".+")
    } else if let Some(suffix) = value.strip_prefix('*') {
        json!({ "suffix": suffix })
    } else if let Some(prefix) = value.strip_suffix('*') {
        json!({ "prefix": prefix })
    } else {
        json!({ "exact": value })
    }
}

fn cidr(value: &str) -> Value {
    let full = if value.contains(':') { 128 } else { 32 };
    let (address, length) = match value.split_once('/') {
        Some((address, length)) => (address, length.parse().unwrap()),
        None => (value, full),
    };
    json!({ "address_prefix": address, "prefix_len": length })
}

fn regex(text: &str) -> Value {
    json!({ "safe_regex": { "regex": text } })
}

fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for c in text.chars() {
        if !c.is_ascii_alphanumeric() {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted
}
