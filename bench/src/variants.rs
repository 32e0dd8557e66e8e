//! The ways to guard a service, as Envoy configurations: one listener each, in one Envoy.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

/// The header that a service reads the identity from.
pub(crate) const IDENTITY: &str = "user-info";

/// An issuer, and its keys.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) jwks: Value,
}

/// The rules that a way enforces: tokens of these issuers, and policies as Istio has them.
#[derive(Clone)]
pub(crate) struct Rules {
    pub(crate) issuers: Vec<Issuer>,
    /// Each lets pass `when` the claim `groups` holds this, on this path (any, where empty).
    pub(crate) allow: Vec<(String, String)>,
}

/// A listener's HTTP filters ahead of the router.
#[derive(Clone)]
pub(crate) struct Variant {
    pub(crate) name: String,
    /// Whether the service gets the token's payload from it.
    pub(crate) emits: bool,
    filters: Vec<Value>,
}

impl Variant {
    /// Nothing ahead of the router: what everything else is measured against.
    pub(crate) fn none() -> Self {
        Self { name: "no filter".to_owned(), emits: false, filters: Vec::new() }
    }

    /// `jwt_authn` and `rbac` as istiod compiles them (docs/semantics.md, "How rules become
    /// providers"); `cache`: entries of jwt_authn's own cache, which istiod does not turn on.
    pub(crate) fn native(name: &str, rules: &Rules, cache: Option<u32>) -> Self {
        let mut filters = vec![jwt_authn(rules, cache)];
        if !rules.allow.is_empty() {
            filters.push(rbac(rules));
        }
        Self { name: name.to_owned(), emits: true, filters }
    }

    /// Usher, with these fields beside the rules.
    pub(crate) fn usher(name: &str, module: &Path, rules: &Rules, more: &Value) -> Self {
        let mut plugin = plugin(rules);
        for (field, value) in more.as_object().into_iter().flatten() {
            plugin[field] = value.clone();
        }
        let filters = vec![wasm(name, "usher", module, &plugin.to_string())];
        Self { name: name.to_owned(), emits: true, filters }
    }

    /// A filter in wasm that makes the host do what Usher makes it do, and decides nothing; written to
    /// `module` first.
    pub(crate) fn minimal(name: &str, module: &Path) -> Result<Self> {
        std::fs::write(module, wat::parse_str(include_str!("minimal.wat"))?)?;
        let filters = vec![wasm(name, "minimal", module, "")];
        Ok(Self { name: name.to_owned(), emits: false, filters })
    }
}

fn wasm(name: &str, vm: &str, module: &Path, configuration: &str) -> Value {
    json!({
        "name": vm,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "root_id": name,
                "vm_config": {
                    "vm_id": vm,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": module } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration,
                },
            },
        },
    })
}

fn plugin(rules: &Rules) -> Value {
    let jwt: Vec<Value> = rules
        .issuers
        .iter()
        .map(|issuer| {
            json!({
                "issuer": issuer.name,
                "jwks": issuer.jwks,
                "outputPayloadToHeader": IDENTITY,
            })
        })
        .collect();
    let allow: Vec<Value> = rules
        .allow
        .iter()
        .map(|(path, group)| {
            let mut rule = json!({
                "when": [{ "key": "request.auth.claims[groups]", "values": [group] }],
            });
            if !path.is_empty() {
                rule["to"] = json!([{ "operation": { "paths": [path] } }]);
            }
            rule
        })
        .collect();
    let mut plugin = json!({ "jwtRules": jwt, "missingToken": "allow" });
    if !allow.is_empty() {
        plugin["authorizationPolicies"] =
            json!([{ "name": "bench", "namespace": "bench", "action": "ALLOW", "rules": allow }]);
    }
    plugin
}

fn jwt_authn(rules: &Rules, cache: Option<u32>) -> Value {
    let name = |index: usize| json!({ "provider_name": format!("origins-{index}") });
    let mut providers = json!({});
    for (index, issuer) in rules.issuers.iter().enumerate() {
        let mut provider = json!({
            "issuer": issuer.name,
            "local_jwks": { "inline_string": issuer.jwks.to_string() },
            "payload_in_metadata": "payload",
            "forward_payload_header": IDENTITY,
            "normalize_payload_in_metadata": { "space_delimited_claims": ["permission", "scope"] },
        });
        if let Some(size) = cache {
            provider["jwt_cache_config"] = json!({ "jwt_cache_size": size });
        }
        providers[format!("origins-{index}")] = provider;
    }
    let any = |list: Vec<Value>| json!({ "requires_any": { "requirements": list } });
    let or_missing = |index| any(vec![name(index), json!({ "allow_missing": {} })]);
    let count = rules.issuers.len();
    let requires = if count == 1 {
        or_missing(0)
    } else {
        let all: Vec<Value> = (0..count).map(or_missing).collect();
        let mut list: Vec<Value> = (0..count).map(name).collect();
        list.push(json!({ "requires_all": { "requirements": all } }));
        any(list)
    };
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{ "match": { "prefix": "/" }, "requires": requires }],
            "bypass_cors_preflight": true,
        },
    })
}

fn rbac(rules: &Rules) -> Value {
    let mut policies = json!({});
    for (number, (path, group)) in rules.allow.iter().enumerate() {
        let exact = json!({ "string_match": { "exact": group } });
        let claim = json!({ "metadata": {
            "filter": "envoy.filters.http.jwt_authn",
            "path": [{ "key": "payload" }, { "key": "groups" }],
            "value": { "or_match": {
                "value_matchers": [exact, { "list_match": { "one_of": exact } }],
            }},
        }});
        let permission = if path.is_empty() {
            json!({ "any": true })
        } else {
            let path = json!({ "url_path": { "path": { "exact": path } } });
            json!({ "and_rules": { "rules": [{ "or_rules": { "rules": [path] } }] } })
        };
        policies[format!("ns[bench]-policy[bench]-rule[{number}]")] = json!({
            "permissions": [permission],
            "principals": [{ "and_ids": { "ids": [{ "or_ids": { "ids": [claim] } }] } }],
        });
    }
    json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": "ALLOW", "policies": policies },
            "shadow_rules_stat_prefix": "istio_dry_run_allow_",
        },
    })
}

/// The whole configuration, and where each way listens.
pub(crate) fn bootstrap(variants: &[Variant]) -> Result<(Value, Vec<SocketAddr>)> {
    // Free ports, held until all are known.
    let held: Vec<TcpListener> =
        variants.iter().map(|_| TcpListener::bind("127.0.0.1:0")).collect::<Result<_, _>>()?;
    let addresses: Vec<SocketAddr> =
        held.iter().map(TcpListener::local_addr).collect::<Result<_, _>>()?;
    let listeners: Vec<Value> = variants
        .iter()
        .zip(&addresses)
        .map(|(variant, address)| listener(variant, *address))
        .collect();
    Ok((json!({ "static_resources": { "listeners": listeners } }), addresses))
}

fn listener(variant: &Variant, address: SocketAddr) -> Value {
    let mut filters = variant.filters.clone();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    }));
    // Envoy answers by itself: an upstream would only add its own noise.
    let answer = json!({ "status": 200, "body": { "inline_string": "hello" } });
    // For a look at what the service would see; not a part of what is measured.
    let shown = json!({
        "match": { "prefix": "/", "headers": [{ "name": "x-show", "present_match": true }] },
        "direct_response": answer,
        "response_headers_to_add": [
            { "header": { "key": "x-identity", "value": format!("%REQ({IDENTITY})%") } },
        ],
    });
    let any = json!({ "match": { "prefix": "/" }, "direct_response": answer });
    json!({
        "name": variant.name,
        "address": { "socket_address": { "address": "127.0.0.1", "port_value": address.port() } },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": {
                "@type": concat!(
                    "type.googleapis.com/envoy.extensions.filters.network",
                    ".http_connection_manager.v3.HttpConnectionManager",
                ),
                "stat_prefix": "bench",
                "generate_request_id": false,
                "route_config": {
                    "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [shown, any] }],
                },
                "http_filters": filters,
            },
        }]}],
    })
}
