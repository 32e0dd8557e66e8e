//! Where a rule that Istio accepts unchanged refuses less there.
//!
//! Where a match refuses (values of DENY, not-values of ALLOW), Usher matches every spelling that a service
//! may read as the same; Istio compares literally (docs/differences.md).

use usher_core::codec::json::Value;

/// What a rule of an enforced policy with this action refuses in Usher only, each as a text.
pub(super) fn of(rule: &Value, action: &str) -> Vec<String> {
    let (fields, values) = match action {
        "DENY" => (["paths", "hosts"], "values"),
        "ALLOW" => (["notPaths", "notHosts"], "notValues"),
        _ => return Vec::new(),
    };
    let mut found = Vec::new();
    for operation in list(rule, "to").filter_map(|to| to.get("operation")) {
        let [paths, hosts] = fields.map(|field| list(operation, field).filter_map(Value::as_str));
        for path in paths.filter(|path| path.contains('{')) {
            found.push(format!(
                "refuses less: in Istio `{path}` is not a path with a `[`, `|` or a byte beyond ASCII where the \
                 braces are"
            ));
        }
        // `*` matches every host, and `a*` every suffix.
        for host in hosts.filter(|host| !host.ends_with('*')) {
            found.push(format!(
                "refuses less: in Istio `{host}` with a dot or another port at its end is not this host; list \
                 these too"
            ));
        }
    }
    for condition in list(rule, "when").filter(|condition| list(condition, values).next().is_some())
    {
        let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
        if key.starts_with("request.headers[") && key.contains(['-', '_']) {
            found.push(format!(
                "refuses less: in Istio `{key}` is not the header with `_` for `-`, which many services read as \
                 the same; have Envoy refuse such names (`headers_with_underscores_action`)"
            ));
        }
    }
    found
}

/// Whether a rule uses one of these fields.
pub(super) fn asks_for(policies: &[Value], fields: &[&str]) -> bool {
    let text = Value::Array(policies.to_vec()).to_string();
    fields.iter().any(|field| text.contains(&format!("\"{field}\"")))
}

fn list<'v>(object: &'v Value, field: &str) -> impl Iterator<Item = &'v Value> {
    object.get(field).and_then(Value::as_array).into_iter().flatten()
}
