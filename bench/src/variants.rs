//! The variants that are measured, as Envoy configurations: one listener each, in one Envoy.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};
use usher_testkit::{config, jwt_authn, rbac};

/// The header that a service reads the identity from.
pub(crate) const IDENTITY: &str = "user-info";

/// An issuer, and its keys.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    pub(crate) jwks: Value,
}

/// The rules that a variant enforces: tokens of these issuers, and policies as Istio has them.
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
        let plugin = plugin(rules);
        let mut jwt_authn = jwt_authn::filter(&plugin["jwtRules"]);
        let providers = jwt_authn["typed_config"]["providers"].as_object_mut();
        for (_, provider) in providers.into_iter().flatten() {
            if let Some(size) = cache {
                provider["jwt_cache_config"] = json!({ "jwt_cache_size": size });
            }
        }
        let mut filters = vec![jwt_authn];
        let policies = plugin.get("authorizationPolicies").cloned().unwrap_or_else(|| json!([]));
        filters.extend(rbac::filters(&policies, &[]));
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
    let fields = json!({ "configuration": config::string_value(configuration) });
    json!({ "name": vm, "typed_config": config::wasm(name, vm, module, &fields) })
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

/// The whole configuration, and where each variant listens.
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
    let bootstrap = json!({
        "admin": { "address": config::address(0) },
        "static_resources": { "listeners": listeners },
    });
    Ok((bootstrap, addresses))
}

fn listener(variant: &Variant, address: SocketAddr) -> Value {
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
    let routes = json!([shown, any]);
    let fields = json!({ "generate_request_id": false });
    let manager = config::connection_manager("bench", &variant.filters, &routes, &fields);
    config::listener(&variant.name, &config::address(address.port()), &manager)
}
