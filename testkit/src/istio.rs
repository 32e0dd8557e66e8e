//! What istiod makes of manifests: the HTTP filters of a sidecar's inbound side, and their ECDS resources.
//!
//! Only what the tests need, and it panics where a manifest asks for more. Sources: istio/istio
//! pilot/pkg/networking/core/extension/extensionfilter.go, pilot/pkg/model/extensions.go,
//! pilot/pkg/security/authn/policy_applier.go, pilot/pkg/security/authz/builder,
//! pilot/pkg/networking/core/cluster_tls.go.

use std::fmt::Write;
use std::net::SocketAddr;
use std::path::Path;

use serde::Deserialize;
use serde_json::{Number, Value, json};

use crate::{config, jwt_authn, rbac};

/// A WasmPlugin or a TrafficExtension with a module.
#[derive(Clone, Debug)]
pub struct Plugin {
    namespace: String,
    name: String,
    phase: Phase,
    priority: i64,
    /// What both kinds say of a module: `url`, `pluginConfig`, ..
    module: Value,
}

/// Where in the chain; in the order of the chain (docs/semantics.md, "Filter order and decision").
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Authn,
    Authz,
    Stats,
    Unspecified,
}

/// The documents of a YAML text.
///
/// # Panics
/// When it is not YAML.
#[track_caller]
pub fn documents(text: &str) -> Vec<Value> {
    let documents = serde_yaml_ng::Deserializer::from_str(text);
    let documents =
        documents.map(|d| Value::deserialize(d).unwrap_or_else(|e| panic!("{e}:\n{text}")));
    documents.filter(|document| !document.is_null()).collect()
}

/// The documents of a YAML file below the repository's root.
///
/// # Panics
/// When there is no such file, or it is not YAML.
#[track_caller]
pub fn read(file: impl AsRef<Path>) -> Vec<Value> {
    let path = crate::paths::root().join(file);
    let text = std::fs::read_to_string(&path);
    documents(&text.unwrap_or_else(|e| panic!("{}: {e}", path.display())))
}

/// The place of a manifest's pluginConfig: a JSON pointer. `None` where it is of another kind.
pub fn plugin_config_at(manifest: &Value) -> Option<&'static str> {
    match manifest["kind"].as_str() {
        Some("WasmPlugin") => Some("/spec/pluginConfig"),
        Some("TrafficExtension") => Some("/spec/wasm/pluginConfig"),
        _ => None,
    }
}

impl Plugin {
    /// The plugin that a manifest is, if it is one.
    pub fn of(manifest: &Value) -> Option<Self> {
        let spec = &manifest["spec"];
        let module = match manifest["kind"].as_str()? {
            "WasmPlugin" => spec.clone(),
            "TrafficExtension" => spec["wasm"].clone(),
            _ => return None,
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Some(Self {
            namespace: text(&manifest["metadata"]["namespace"]),
            name: text(&manifest["metadata"]["name"]),
            phase: match spec["phase"].as_str() {
                Some("AUTHN") => Phase::Authn,
                Some("AUTHZ") => Phase::Authz,
                Some("STATS") => Phase::Stats,
                None | Some("UNSPECIFIED_PHASE") => Phase::Unspecified,
                Some(other) => panic!("no phase {other}"),
            },
            // Measured at istiod: unset comes last.
            priority: spec["priority"].as_i64().unwrap_or(i64::from(i32::MIN)),
            module,
        })
    }

    /// The name of its ECDS resource, which is its filter's.
    pub fn resource(&self) -> String {
        let Self { namespace, name, .. } = self;
        format!(
            "extensions.istio.io/trafficextension/{namespace}.{name}~istio-translated-wasmplugin"
        )
    }

    /// The text that the plugin gets.
    pub fn configuration(&self) -> Option<String> {
        let config = &self.module["pluginConfig"];
        // An empty Struct is an empty Any: zero bytes (docs/semantics.md, "How pluginConfig reaches the
        // plugin").
        config.as_object().filter(|members| !members.is_empty()).map(|_| protobuf_json(config))
    }

    /// Its ECDS resource.
    ///
    /// # Panics
    /// When its url is not a `file://`: others are fetched by the agent.
    pub fn extension_config(&self) -> Value {
        let url = self.module["url"].as_str().unwrap_or_default();
        let file = url.strip_prefix("file://").unwrap_or_else(|| panic!("not a file: `{url}`"));
        let policy = match self.module["failStrategy"].as_str() {
            None | Some("FAIL_CLOSE") => "FAIL_CLOSED",
            Some("FAIL_OPEN") => "FAIL_OPEN",
            Some("FAIL_RELOAD") => "FAIL_RELOAD",
            Some(other) => panic!("no failStrategy {other}"),
        };
        let name = format!("{}.{}~istio-translated-wasmplugin", self.namespace, self.name);
        let mut fields = json!({
            "root_id": self.module["pluginName"].as_str().unwrap_or_default(),
            "failure_policy": policy,
        });
        if let Some(text) = self.configuration() {
            fields["configuration"] = config::string_value(&text);
        }
        json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": self.resource(),
            "typed_config": config::wasm(&name, "", Path::new(file), &fields),
        })
    }
}

/// The plugins among manifests, in the order of the chain.
pub fn plugins(manifests: &[Value]) -> Vec<Plugin> {
    let mut plugins: Vec<Plugin> = manifests.iter().filter_map(Plugin::of).collect();
    plugins.sort_by_key(|plugin| (plugin.phase, -plugin.priority));
    plugins
}

/// The inbound chain up to the router (docs/semantics.md, "Filter order and decision"); `discovery` is
/// the filter of a discovered plugin.
pub fn inbound_chain(manifests: &[Value], discovery: impl Fn(&Plugin) -> Value) -> Vec<Value> {
    let plugins = plugins(manifests);
    let of = |phase| plugins.iter().filter(move |plugin| plugin.phase == phase).map(&discovery);
    let rules: Vec<Value> = kind(manifests, "RequestAuthentication")
        .flat_map(|m| list(&m["spec"]["jwtRules"]).to_vec())
        .collect();
    let mut chain: Vec<Value> = of(Phase::Authn).collect();
    chain.extend((!rules.is_empty()).then(|| jwt_authn::filter(&Value::Array(rules))));
    chain.extend(of(Phase::Authz));
    chain.extend(rbac::filters(&policies(manifests), &["cluster.local"]));
    chain.extend(of(Phase::Stats));
    chain.extend(of(Phase::Unspecified));
    chain
}

fn kind<'m>(manifests: &'m [Value], kind: &'m str) -> impl Iterator<Item = &'m Value> {
    manifests.iter().filter(move |manifest| manifest["kind"] == kind)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// The AuthorizationPolicies as `authorizationPolicies` of a pluginConfig.
fn policies(manifests: &[Value]) -> Value {
    let policies = kind(manifests, "AuthorizationPolicy").map(|manifest| {
        let mut policy = manifest["spec"].clone();
        for field in ["name", "namespace"] {
            policy[field] = manifest["metadata"][field].as_str().unwrap_or_default().into();
        }
        policy
    });
    Value::Array(policies.collect())
}

/// The routes of a VirtualService whose rules match headers exactly. Instead of going to a subset, a
/// request is marked with its name, in the header `x-routed-to`.
///
/// # Panics
/// When a rule asks for anything else.
pub fn routes(virtual_service: &Value) -> Vec<Value> {
    let rules = list(&virtual_service["spec"]["http"]).iter();
    let routes = rules.flat_map(|rule| {
        let subset = rule["route"][0]["destination"]["subset"].as_str().expect("a subset");
        let matches = match list(&rule["match"]) {
            [] => vec![json!({ "prefix": "/" })],
            some => some.iter().map(route_match).collect(),
        };
        matches.into_iter().map(move |matched| {
            json!({
                "match": matched,
                "route": { "cluster": "service" },
                "request_headers_to_add": [{
                    "header": { "key": "x-routed-to", "value": subset },
                    "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
                }],
            })
        })
    });
    routes.collect()
}

fn route_match(matched: &Value) -> Value {
    let headers = matched["headers"].as_object().expect("only headers are translated here");
    let headers = headers.iter().map(|(name, value)| {
        let exact = value["exact"].as_str().expect("only exact values are translated here");
        json!({ "name": name, "string_match": { "exact": exact } })
    });
    json!({ "prefix": "/", "headers": headers.collect::<Vec<_>>() })
}

/// The cluster of a ServiceEntry with one host and one port, spoken to as its DestinationRule says. Its one
/// endpoint stands for the answer of DNS, and the file `authorities` for the one in the proxy's container.
///
/// # Panics
/// When the manifests ask for anything else than TLS that is checked.
pub fn outbound_cluster(manifests: &[Value], endpoint: SocketAddr, authorities: &Path) -> Value {
    let spec = |name| &kind(manifests, name).next().unwrap_or_else(|| panic!("no {name}"))["spec"];
    let (entry, rule) = (spec("ServiceEntry"), spec("DestinationRule"));
    let host = entry["hosts"][0].as_str().expect("a host");
    let port = entry["ports"][0]["number"].as_u64().expect("a port");
    assert_eq!(rule["host"], host, "the DestinationRule is another's");
    assert_eq!(entry["ports"][0]["protocol"], "HTTP", "the sidecar would speak TLS within TLS");
    let tls = &rule["trafficPolicy"]["tls"];
    assert_eq!(tls["mode"], "SIMPLE", "only this is translated here");
    assert!(tls["caCertificates"].is_string(), "only a private authority is translated here");
    let sans = list(&tls["subjectAltNames"])
        .iter()
        .map(|san| json!({ "san_type": "DNS", "matcher": { "exact": san } }));
    let mut cluster = config::cluster(&format!("outbound|{port}||{host}"), endpoint);
    cluster["transport_socket"] = json!({
        "name": "envoy.transport_sockets.tls",
        "typed_config": {
            "@type": concat!(
                "type.googleapis.com/envoy.extensions.transport_sockets",
                ".tls.v3.UpstreamTlsContext",
            ),
            "sni": tls["sni"],
            "common_tls_context": { "validation_context": {
                "trusted_ca": { "filename": authorities },
                "match_typed_subject_alt_names": sans.collect::<Vec<_>>(),
            }},
        },
    });
    cluster
}

/// A protobuf Struct as JSON text: sorted names, and every number once a double (docs/semantics.md,
/// "How pluginConfig reaches the plugin").
pub fn protobuf_json(value: &Value) -> String {
    let mut text = String::new();
    write_json(value, &mut text);
    text
}

fn write_json(value: &Value, text: &mut String) {
    match value {
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            text.push('{');
            for (index, (name, value)) in members.into_iter().enumerate() {
                let comma = if index > 0 { "," } else { "" };
                write!(text, "{comma}{}:", json!(name)).unwrap();
                write_json(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                text.push_str(if index > 0 { "," } else { "" });
                write_json(item, text);
            }
            text.push(']');
        }
        Value::Number(number) => text.push_str(&double(number)),
        other => text.push_str(&other.to_string()),
    }
}

/// As Go writes a float64 in JSON: with an exponent below 1e-6 and from 1e21 on.
fn double(number: &Number) -> String {
    let double = number.as_f64().expect("a number of JSON");
    if double == 0.0 || (1e-6..1e21).contains(&double.abs()) {
        format!("{double}")
    } else {
        format!("{double:e}")
    }
}

#[test]
fn numbers_pass_through_a_double() {
    let cases = [
        ("60", "60"),
        ("60.0", "60"),
        ("9007199254740993", "9007199254740992"),
        ("0.5", "0.5"),
        ("1e30", "1e30"),
        ("-3", "-3"),
    ];
    for (given, sent) in cases {
        let value: Value = serde_json::from_str(given).unwrap();
        assert_eq!(protobuf_json(&value), sent, "{given}");
    }
    let value = json!({ "b": [1, "x", null], "a": { "c": true } });
    assert_eq!(protobuf_json(&value), r#"{"a":{"c":true},"b":[1,"x",null]}"#);
}

#[test]
fn plugins_stand_by_phase_and_then_by_priority() {
    let plugin = |name: &str, phase: &str, priority: Value| {
        json!({
            "kind": "WasmPlugin",
            "metadata": { "name": name },
            "spec": { "phase": phase, "priority": priority },
        })
    };
    let manifests = [
        plugin("unset", "AUTHN", Value::Null),
        plugin("late", "AUTHZ", json!(9000)),
        plugin("low", "AUTHN", json!(-5)),
        plugin("high", "AUTHN", json!(1000)),
    ];
    let names: Vec<String> = plugins(&manifests).into_iter().map(|plugin| plugin.name).collect();
    assert_eq!(names, ["high", "low", "unset", "late"]);
}
