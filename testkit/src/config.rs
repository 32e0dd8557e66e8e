//! Pieces of Envoy's configuration, as data: every configuration that tests and measurements start an Envoy with is made
//! of them.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

/// The type of Envoy's wasm filter.
pub const WASM: &str = "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm";

/// The type of Envoy's RBAC filter.
pub const RBAC: &str = "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC";

const LISTENER: &str = "type.googleapis.com/envoy.config.listener.v3.Listener";

/// A port of 127.0.0.1; 0: any free one.
pub fn address(port: u16) -> Value {
    json!({ "socket_address": { "address": "127.0.0.1", "port_value": port } })
}

/// A cluster of one endpoint of 127.0.0.1, in HTTP/1.1.
pub fn cluster(name: &str, endpoint: SocketAddr) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": name,
            "endpoints": [{ "lb_endpoints": [{ "endpoint": {
                "address": address(endpoint.port()),
            }}]}],
        },
    })
}

/// A listener whose one filter is a [`connection_manager`].
pub fn listener(name: &str, address: &Value, manager: &Value) -> Value {
    json!({
        "name": name,
        "address": address,
        "filter_chains": [{ "filters": [manager] }],
    })
}

/// A connection manager with these HTTP filters and the router behind them, and these `routes`; `fields` are its
/// others.
pub fn connection_manager(
    stat_prefix: &str,
    filters: &[Value],
    routes: &Value,
    fields: &Value,
) -> Value {
    let mut filters = filters.to_vec();
    filters.push(json!({
        "name": "envoy.filters.http.router",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router",
        },
    }));
    let mut manager = json!({
        "@type": concat!(
            "type.googleapis.com/envoy.extensions.filters.network",
            ".http_connection_manager.v3.HttpConnectionManager",
        ),
        "stat_prefix": stat_prefix,
        "route_config": {
            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": routes }],
        },
        "http_filters": filters,
    });
    set(&mut manager, fields);
    json!({
        "name": "envoy.filters.network.http_connection_manager",
        "typed_config": manager,
    })
}

/// The wasm filter's configuration, of a plugin with this name and root id (Envoy's log lines name the root, not the
/// plugin); `fields` are its others. Plugins of one `vm` share it, as in a sidecar: what harms it harms all.
pub fn wasm(plugin: &str, vm: &str, module: &Path, fields: &Value) -> Value {
    let mut config = json!({
        "name": plugin,
        "root_id": plugin,
        "vm_config": {
            "vm_id": vm,
            "runtime": "envoy.wasm.runtime.v8",
            "code": { "local": { "filename": module } },
        },
    });
    set(&mut config, fields);
    json!({ "@type": WASM, "config": config })
}

/// A text where a configuration may be of any type.
pub fn string_value(text: &str) -> Value {
    json!({ "@type": "type.googleapis.com/google.protobuf.StringValue", "value": text })
}

/// An access log of JSON lines with these members.
pub fn access_log(file: &Path, members: &Value) -> Value {
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": file,
            "log_format": { "json_format": members },
        },
    })
}

/// The source of what [`publish`] puts into `file`.
pub(crate) fn discovered_in(file: &Path) -> Value {
    json!({ "path_config_source": { "path": file }, "resource_api_version": "V3" })
}

/// An HTTP filter of one of these types that is discovered in `file` (ECDS).
pub(crate) fn discovered_filter(name: &str, file: &Path, types: &[&str]) -> Value {
    json!({
        "name": name,
        "config_discovery": { "config_source": discovered_in(file), "type_urls": types },
    })
}

/// Puts listeners into the file that Envoy discovers them in (LDS).
pub(crate) fn publish_listeners(file: &Path, mut listeners: Vec<Value>) {
    for listener in &mut listeners {
        listener["@type"] = json!(LISTENER);
    }
    publish(file, &listeners);
}

/// Moves a discovery response into place; Envoy does not watch for files that are written to.
pub(crate) fn publish(file: &Path, resources: &[Value]) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let version = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
    let response = json!({ "version_info": version, "resources": resources });
    let new = file.with_extension("new");
    std::fs::write(&new, response.to_string()).unwrap();
    std::fs::rename(&new, file).unwrap();
}

/// Sets these fields of an object.
fn set(object: &mut Value, fields: &Value) {
    for (field, value) in fields.as_object().into_iter().flatten() {
        object[field] = value.clone();
    }
}
