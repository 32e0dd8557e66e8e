//! Envoy's own filter for tokens, configured as istiod configures it from a RequestAuthentication.
//!
//! Source: istio/istio pilot/pkg/security/authn/policy_applier.go (`convertToEnvoyJwtConfig`).

use serde_json::{Map, Value, json};

/// The filter's name, under which it leaves what it verified in dynamic metadata.
pub const NAME: &str = "envoy.filters.http.jwt_authn";

/// The HTTP filter that these `jwtRules` become in a sidecar. Their `jwks` are JSON objects or text.
///
/// # Panics
/// When `rules` is not a list of objects with `jwks`.
pub fn filter(rules: &Value) -> Value {
    let mut rules = rules.as_array().expect("a list of rules").clone();
    let issuer = |rule: &Value| rule["issuer"].as_str().unwrap_or_default().to_owned();
    // istiod sorts by issuer, stably: file order is lost.
    rules.sort_by_key(issuer);
    let named = rules.iter().enumerate().map(|(index, rule)| (name(index), provider(rule)));
    json!({
        "name": NAME,
        "typed_config": {
            "@type": concat!(
                "type.googleapis.com/envoy.extensions.filters",
                ".http.jwt_authn.v3.JwtAuthentication",
            ),
            "providers": named.collect::<Map<_, _>>(),
            "rules": [{ "match": { "prefix": "/" }, "requires": requirement(rules.len()) }],
            "bypass_cors_preflight": true,
        },
    })
}

fn name(index: usize) -> String {
    format!("origins-{index}")
}

fn provider(rule: &Value) -> Value {
    let jwks = &rule["jwks"];
    let jwks = jwks.as_str().map_or_else(|| jwks.to_string(), str::to_owned);
    let list = |field: &str| rule[field].as_array().cloned().unwrap_or_default();
    let headers = list("fromHeaders").into_iter().map(|header| {
        let prefix = header["prefix"].as_str().unwrap_or_default();
        json!({ "name": header["name"], "value_prefix": prefix })
    });
    let claims = list("outputClaimToHeaders")
        .into_iter()
        .map(|output| json!({ "header_name": output["header"], "claim_name": output["claim"] }));
    let mut words = vec![json!("permission"), json!("scope")];
    words.extend(list("spaceDelimitedClaims"));
    json!({
        "issuer": rule["issuer"],
        "audiences": list("audiences"),
        "local_jwks": { "inline_string": jwks },
        "forward": rule["forwardOriginalToken"].as_bool().unwrap_or(false),
        "forward_payload_header": rule["outputPayloadToHeader"].as_str().unwrap_or_default(),
        "claim_to_headers": claims.collect::<Vec<_>>(),
        "from_headers": headers.collect::<Vec<_>>(),
        "from_params": list("fromParams"),
        "from_cookies": list("fromCookies"),
        "payload_in_metadata": "payload",
        "normalize_payload_in_metadata": { "space_delimited_claims": words },
    })
}

/// Any of the providers, or each of them unless its token is missing (docs/semantics.md, "How several
/// rules combine").
fn requirement(providers: usize) -> Value {
    let one = |index| json!({ "provider_name": name(index) });
    let missing = json!({ "allow_missing": {} });
    let any =
        |requirements: Vec<Value>| json!({ "requires_any": { "requirements": requirements } });
    if providers == 1 {
        return any(vec![one(0), missing]);
    }
    let each = (0..providers).map(|index| any(vec![one(index), missing.clone()]));
    let all = json!({ "requires_all": { "requirements": each.collect::<Vec<_>>() } });
    any((0..providers).map(one).chain([all]).collect())
}
