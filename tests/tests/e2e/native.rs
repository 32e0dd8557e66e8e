//! The native side of the tests of differences: Envoy's own filters, from the configuration that Usher gets.

use serde_json::{Value, json};
use usher_testkit::{jwt_authn, rbac};

/// The HTTP filters, in Istio's order (docs/semantics.md, "Filter order and decision").
pub fn filters(configuration: &Value, issuers: &[&str], jwks: &str) -> Vec<Value> {
    let domains = configuration["trustDomains"].as_array().into_iter().flatten();
    let domains: Vec<&str> = domains.map(|domain| domain.as_str().unwrap()).collect();
    let rules = issuers.iter().map(|issuer| json!({ "issuer": issuer, "jwks": jwks })).collect();
    let mut filters = vec![jwt_authn::filter(&Value::Array(rules))];
    filters.extend(rbac::filters(&configuration["authorizationPolicies"], &domains));
    filters
}

/// The connection manager's part of `pathNormalization` (docs/semantics.md, "Path normalization").
pub fn manager(configuration: &Value) -> Value {
    match configuration["pathNormalization"].as_str().unwrap() {
        "NONE" => json!({}),
        "BASE" => json!({"normalize_path": true}),
        "MERGE_SLASHES" => json!({"normalize_path": true, "merge_slashes": true}),
        "DECODE_AND_MERGE_SLASHES" => json!({
            "normalize_path": true,
            "merge_slashes": true,
            "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD",
        }),
        other => panic!("no pathNormalization: {other}"),
    }
}

/// The filter that hands the TCP peer over to Usher (docs/configuration.md, `sourceAddress`).
pub fn source_address() -> Value {
    let source = "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%";
    json!({
        "name": "envoy.filters.http.set_filter_state",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{
                "object_key": "usher.source_ip",
                "factory_key": "envoy.string",
                "format_string": { "text_format_source": { "inline_string": source } },
            }],
        },
    })
}
