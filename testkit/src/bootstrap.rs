//! The listeners of an Envoy of the tests and its whole configuration, as data.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::config::{self, WASM};
use crate::stats::Tags;
use crate::upstream::Upstream;

/// One listener: the configuration of its Usher, and of all around it.
#[derive(Clone, Debug, Default)]
pub struct Setup {
    plugin: Option<Value>,
    called: Option<String>,
    hop: Option<Vec<Value>>,
    ahead: Vec<Value>,
    behind: Vec<Value>,
    routes: Vec<Value>,
    transport_socket: Option<Value>,
    accept_connect: bool,
    discovered: bool,
    failure_policy: Option<&'static str>,
    stop_iteration: Option<bool>,
    exact_balance: bool,
    port: Option<u16>,
    manager: Option<Value>,
}

/// An Envoy's files.
pub(crate) struct Site {
    /// The built filter.
    pub(crate) module: PathBuf,
    /// A directory for everything else.
    pub(crate) directory: PathBuf,
    /// Clusters beside the service.
    pub(crate) clusters: Vec<Value>,
    /// The node's metadata, by which a proxy of Istio's is known.
    pub(crate) metadata: Value,
}

impl Site {
    /// The access log of all listeners.
    pub(crate) fn access_log(&self) -> PathBuf {
        self.directory.join("access.log")
    }

    /// The file that Envoy discovers its listeners in (LDS).
    fn listeners(&self) -> PathBuf {
        self.directory.join("listeners.json")
    }

    /// Puts everything where Envoy discovers it.
    pub(crate) fn publish(&self, listeners: &[(String, Setup)]) {
        for (name, setup) in listeners.iter().filter(|(_, setup)| setup.discovered) {
            self.publish_plugin(name, setup);
        }
        let listeners = listeners.iter().flat_map(|(name, setup)| setup.listeners(name, self));
        config::publish_listeners(&self.listeners(), listeners.collect());
    }

    /// The file that listener `name` discovers its Usher's configuration in (ECDS), see
    /// [`Setup::discovered`].
    fn plugin(&self, name: &str) -> PathBuf {
        self.directory.join(format!("plugin-{name}.json"))
    }

    /// Puts `setup`'s configuration where listener `name` discovers it.
    fn publish_plugin(&self, name: &str, setup: &Setup) {
        let plugin = setup.plugin.as_ref().unwrap_or(&Value::Null);
        let resource = json!({
            "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
            "name": name,
            "typed_config": usher(setup.plugin_name(name), &self.module, plugin, setup),
        });
        config::publish(&self.plugin(name), &[resource]);
    }
}

impl Setup {
    /// An Usher with this pluginConfig.
    pub fn plugin(configuration: Value) -> Self {
        Self::plugin_text(&configuration.to_string())
    }

    /// An Usher with this text for a pluginConfig, valid or not.
    pub fn plugin_text(configuration: &str) -> Self {
        Self { plugin: Some(config::string_value(configuration)), ..Self::default() }
    }

    /// An Usher with no pluginConfig at all.
    pub fn plugin_absent() -> Self {
        Self { plugin: Some(Value::Null), ..Self::default() }
    }

    /// No Usher: what the harness itself does to requests.
    pub fn open() -> Self {
        Self::default()
    }

    /// Puts an HTTP filter (`{name, typed_config}`) ahead of Usher, behind earlier ones.
    pub fn ahead(mut self, filter: Value) -> Self {
        self.ahead.push(filter);
        self
    }

    /// Puts an HTTP filter behind Usher, and behind earlier ones.
    pub fn behind(mut self, filter: Value) -> Self {
        self.behind.push(filter);
        self
    }

    /// Puts routes before the one that takes everything; their cluster is `service`.
    pub fn routes(mut self, routes: Vec<Value>) -> Self {
        self.routes.extend(routes);
        self
    }

    /// Listens with this downstream TLS context, see [`crate::tls::Authority::downstream`].
    pub fn tls(mut self, transport_socket: Value) -> Self {
        self.transport_socket = Some(transport_socket);
        self
    }

    /// Accepts the method CONNECT, whose requests have no `:path`.
    pub fn accept_connect(mut self) -> Self {
        self.accept_connect = true;
        self
    }

    /// Lets Envoy discover Usher's configuration by itself (ECDS, as istiod delivers a WasmPlugin), not
    /// as a part of the listener's.
    pub fn discovered(mut self) -> Self {
        self.discovered = true;
        self
    }

    /// What Envoy is to do when the VM has failed (`failure_policy`).
    pub fn failure_policy(mut self, policy: &'static str) -> Self {
        self.failure_policy = Some(policy);
        self
    }

    /// Whether the filter decides how much of a request is held
    /// (`allow_on_headers_stop_iteration`).
    pub fn stop_iteration(mut self, allowed: bool) -> Self {
        self.stop_iteration = Some(allowed);
        self
    }

    /// Gives each worker as many connections as any other.
    pub fn exact_balance(mut self) -> Self {
        self.exact_balance = true;
        self
    }

    /// Listens at this port on every address of the machine, instead of at a free one on 127.0.0.1.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// Sets these fields of the connection manager, as a mesh would (`normalize_path`, ..).
    pub fn manager(mut self, fields: Value) -> Self {
        self.manager = Some(fields);
        self
    }

    /// Gives the plugin this name and root id instead of its listener's.
    pub fn called(mut self, name: &str) -> Self {
        self.called = Some(name.to_owned());
        self
    }

    /// Puts a hop before it, as a waypoint has one: the listener is the hop's, which ends TLS, has these
    /// HTTP filters, and passes requests on to an internal listener in the same Envoy, where Usher is.
    pub fn behind_a_hop(mut self, filters: Vec<Value>) -> Self {
        self.hop = Some(filters);
        self
    }

    fn plugin_name<'n>(&'n self, name: &'n str) -> &'n str {
        self.called.as_deref().unwrap_or(name)
    }

    pub(crate) fn has_plugin(&self) -> bool {
        self.plugin.is_some()
    }

    /// The listener `name` on a free port, and the internal one behind it if it is a hop.
    fn listeners(&self, name: &str, site: &Site) -> Vec<Value> {
        let Some(filters) = &self.hop else { return vec![self.listener(name, site)] };
        let inside = Self { transport_socket: None, hop: None, ..self.clone() };
        let mut inside = inside.listener(name, site);
        inside["name"] = json!(internal(name));
        inside.as_object_mut().unwrap().remove("address");
        inside["internal_listener"] = json!({});
        let hop = Self {
            ahead: filters.clone(),
            transport_socket: self.transport_socket.clone(),
            ..Self::default()
        };
        let mut hop = hop.listener(name, site);
        let manager = &mut hop["filter_chains"][0]["filters"][0]["typed_config"];
        let to = json!({ "cluster": internal(name) });
        manager["route_config"]["virtual_hosts"][0]["routes"] =
            json!([{ "match": { "prefix": "/" }, "route": to }]);
        // The inner listener's says what was decided.
        manager["access_log"] = json!([]);
        vec![hop, inside]
    }

    /// The clusters that lead to its internal listener.
    fn clusters(&self, name: &str) -> Option<Value> {
        self.hop.as_ref()?;
        let endpoint = json!({ "address": { "envoy_internal_address": {
            "server_listener_name": internal(name),
        }}});
        Some(json!({
            "name": internal(name),
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": internal(name),
                "endpoints": [{ "lb_endpoints": [{ "endpoint": endpoint }] }],
            },
            "transport_socket": {
                "name": "envoy.transport_sockets.internal_upstream",
                "typed_config": {
                    "@type": concat!(
                        "type.googleapis.com/envoy.extensions.transport_sockets",
                        ".internal_upstream.v3.InternalUpstreamTransport",
                    ),
                    "transport_socket": {
                        "name": "envoy.transport_sockets.raw_buffer",
                        "typed_config": {
                            "@type": concat!(
                                "type.googleapis.com/envoy.extensions.transport_sockets",
                                ".raw_buffer.v3.RawBuffer",
                            ),
                        },
                    },
                },
            },
        }))
    }

    /// The listener `name` on a free port.
    fn listener(&self, name: &str, site: &Site) -> Value {
        let mut filters = self.ahead.clone();
        filters.extend(self.plugin.as_ref().map(|plugin| {
            if self.discovered {
                config::discovered_filter(name, &site.plugin(name), &[WASM])
            } else {
                let typed = usher(self.plugin_name(name), &site.module, plugin, self);
                json!({ "name": "usher", "typed_config": typed })
            }
        }));
        filters.extend(self.behind.iter().cloned());
        let mut manager = self.connection_manager(name, &filters, &site.access_log());
        if let Some(Value::Object(fields)) = &self.manager {
            for (field, value) in fields {
                manager["typed_config"][field] = value.clone();
            }
        }
        let address = self.port.map_or_else(|| config::address(0), everywhere);
        let mut listener = config::listener(name, &address, &manager);
        if let Some(socket) = &self.transport_socket {
            listener["filter_chains"][0]["transport_socket"] = socket.clone();
            // The server name that a client asks for is known from the inspector alone, as in a sidecar.
            listener["listener_filters"] = json!([tls_inspector()]);
        }
        if self.exact_balance {
            listener["connection_balance_config"] = json!({ "exact_balance": {} });
            listener["tcp_backlog_size"] = json!(4096);
        }
        listener
    }

    fn connection_manager(&self, name: &str, filters: &[Value], access_log: &Path) -> Value {
        let connect =
            json!({ "match": { "connect_matcher": {} }, "route": { "cluster": "service" } });
        let any = json!({ "match": { "prefix": "/" }, "route": { "cluster": "service" } });
        let routes: Vec<Value> = self.routes.iter().cloned().chain([any, connect]).collect();
        let upgrades = self.accept_connect.then(|| json!({ "upgrade_type": "CONNECT" }));
        let fields = json!({
            "codec_type": "AUTO",
            "http_protocol_options": { "enable_trailers": true },
            "http2_protocol_options": { "allow_connect": true },
            // Large enough for what the tests send; Envoy's own default is 60 KiB.
            "max_request_headers_kb": 512,
            "common_http_protocol_options": { "max_headers_count": 1000 },
            "upgrade_configs": upgrades.into_iter().collect::<Vec<_>>(),
            "access_log": [config::access_log(access_log, &json!({
                "case": "%REQ(x-case)%",
                "status": "%RESPONSE_CODE%",
                "details": "%RESPONSE_CODE_DETAILS%",
                "decision": "%FILTER_STATE(wasm.usher.decision:PLAIN)%",
                "reason": "%FILTER_STATE(wasm.usher.reason:PLAIN)%",
                "provider": "%FILTER_STATE(wasm.usher.provider:PLAIN)%",
                "sub": "%FILTER_STATE(wasm.usher.sub:PLAIN)%",
                "iss": "%FILTER_STATE(wasm.usher.iss:PLAIN)%",
                "policy": "%FILTER_STATE(wasm.usher.policy:PLAIN)%",
                "rule": "%FILTER_STATE(wasm.usher.rule:PLAIN)%",
            }))],
        });
        config::connection_manager(name, filters, &json!(routes), &fields)
    }
}

/// The whole configuration.
pub(crate) fn envoy(site: &Site, tags: Tags, listeners: &[(String, Setup)]) -> Value {
    let clusters = std::iter::once(service()).chain(site.clusters.clone());
    let inside = listeners.iter().filter_map(|(name, setup)| setup.clusters(name));
    let clusters: Vec<Value> = clusters.chain(inside).collect();
    json!({
        // Envoy takes discovered resources only with a name of its own.
        "node": { "id": "envoy", "cluster": "usher-tests", "metadata": site.metadata },
        "bootstrap_extensions": [{
            "name": "envoy.bootstrap.internal_listener",
            "typed_config": {
                "@type": concat!(
                    "type.googleapis.com/envoy.extensions.bootstrap",
                    ".internal_listener.v3.InternalListener",
                ),
            },
        }],
        "admin": { "address": config::address(0) },
        "stats_config": tags.config(),
        "dynamic_resources": { "lds_config": config::discovered_in(&site.listeners()) },
        "static_resources": { "clusters": clusters },
    })
}

/// The wasm filter's configuration. All listeners share one VM.
fn usher(name: &str, module: &Path, configuration: &Value, setup: &Setup) -> Value {
    let mut fields = json!({});
    if !configuration.is_null() {
        fields["configuration"] = configuration.clone();
    }
    if let Some(policy) = setup.failure_policy {
        fields["failure_policy"] = json!(policy);
    }
    if let Some(allowed) = setup.stop_iteration {
        fields["allow_on_headers_stop_iteration"] = json!(allowed);
    }
    config::wasm(name, "usher", module, &fields)
}

/// The internal listener behind the listener `name`.
fn internal(name: &str) -> String {
    format!("{name}-internal")
}

/// The upstream, spoken to in the protocol that the client speaks.
fn service() -> Value {
    let mut cluster = config::cluster("service", Upstream::shared().address);
    // Envoy's own bounds of 1,024 are too low for some tests.
    cluster["circuit_breakers"] = json!({ "thresholds": [{
        "max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000,
    }]});
    let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
    cluster["typed_extension_protocol_options"] = json!({ options: {
        "@type": format!("type.googleapis.com/{options}"),
        "use_downstream_protocol_config": {
            "http_protocol_options": { "enable_trailers": true },
            "http2_protocol_options": {},
        },
    }});
    cluster
}

fn everywhere(port: u16) -> Value {
    json!({ "socket_address": { "address": "0.0.0.0", "port_value": port } })
}

fn tls_inspector() -> Value {
    json!({
        "name": "envoy.filters.listener.tls_inspector",
        "typed_config": {
            "@type": concat!(
                "type.googleapis.com/envoy.extensions.filters.listener",
                ".tls_inspector.v3.TlsInspector",
            ),
        },
    })
}
