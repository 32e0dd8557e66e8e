//! Where Usher refuses what Istio lets pass, because what refuses is matched in every spelling: the classes
//! `spellings-of-hosts` and `any-byte-in-templates` of docs/differences.md, as predicates on a policy and a
//! request. Written apart from Usher.

use serde_json::Value;

/// The class of a request whose spelling these policies see through, and Istio does not.
pub fn class(policies: &Value, authority: &str, path: &str) -> Option<&'static str> {
    let fields = |name: &str, not: &str| -> Vec<String> {
        let mut values = Vec::new();
        for policy in policies.as_array().unwrap() {
            let action = policy["action"].as_str().unwrap_or("ALLOW");
            let field = match action {
                "DENY" => name,
                "ALLOW" => not,
                _ => continue,
            };
            for rule in policy["rules"].as_array().into_iter().flatten() {
                for item in rule["to"].as_array().into_iter().flatten() {
                    let list = item["operation"][field].as_array().into_iter().flatten();
                    values.extend(list.map(|value| value.as_str().unwrap().to_owned()));
                }
            }
        }
        values
    };
    let host = authority.to_ascii_lowercase();
    let sees_through = |value: &String| {
        let value = value.to_ascii_lowercase();
        !matches(&value, &host) && spellings(&host, has_port(&value)).any(|s| matches(&value, &s))
    };
    if fields("hosts", "notHosts").iter().any(sees_through) {
        return Some("spellings-of-hosts");
    }
    let path = path.split(['?', '#']).next().unwrap();
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;:@=".contains(&b);
    let template = fields("paths", "notPaths").iter().any(|value| value.contains('{'));
    (template && !path.bytes().all(plain)).then_some("any-byte-in-templates")
}

fn matches(value: &str, text: &str) -> bool {
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(suffix), _) => text.ends_with(suffix),
        (_, Some(prefix)) => text.starts_with(prefix),
        _ => text == value,
    }
}

fn has_port(value: &str) -> bool {
    let port = value.rsplit_once(':').map(|(_, port)| port.trim_end_matches('*'));
    port.is_some_and(|port| port.bytes().all(|b| b.is_ascii_digit()))
}

fn spellings(host: &str, with_port: bool) -> impl Iterator<Item = String> {
    let (name, port) = match host.rfind(':').filter(|_| has_port(host)) {
        Some(at) => host.split_at(at),
        None => (host, ""),
    };
    let undotted = name.strip_suffix('.').unwrap_or(name);
    let mut all = vec![format!("{undotted}{port}")];
    if !with_port {
        all.extend([name.to_owned(), undotted.to_owned()]);
    }
    all.into_iter()
}
