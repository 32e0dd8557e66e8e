//! Sidecars as Istio runs them: the inbound side is made of manifests, with each plugin discovered by ECDS, in
//! front of one service.
//!
//! They are listeners of one real Envoy, so that the module is compiled once. The discovery is served from a
//! file here, and not by istiod.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde_json::{Value, json};
use usher_envoy::Process;

use crate::config::{self, RBAC, WASM, address};
use crate::istio::{self, Plugin};
use crate::log::Log;
use crate::paths::{directory, pinned_envoy};
use crate::process;

/// The manifests that are about a workload.
pub type Manifests = Vec<Value>;

/// Running sidecars, by the workload's name. They end with the test process, however that ends.
pub struct Sidecars {
    process: Process,
    site: Site,
    addresses: HashMap<String, SocketAddr>,
    workloads: Mutex<BTreeMap<String, Manifests>>,
}

struct Site {
    directory: PathBuf,
    mesh_config: Value,
}

impl Sidecars {
    /// Sidecars of these workloads, all before the service at `service`. The mesh's configuration says
    /// how they log.
    ///
    /// # Panics
    /// With Envoy's log, when it does not become ready.
    pub fn start(
        workloads: BTreeMap<String, Manifests>,
        mesh_config: &Value,
        service: SocketAddr,
    ) -> Self {
        let site = Site { directory: directory(), mesh_config: mesh_config.clone() };
        for (workload, manifests) in &workloads {
            std::fs::create_dir_all(site.folder(workload)).unwrap();
            site.publish_plugins(workload, manifests);
        }
        site.publish_listeners(&workloads);
        let bootstrap = json!({
            "node": { "id": "sidecar~127.0.0.1~web-1.shop~shop.svc.cluster.local", "cluster": "web.shop" },
            "admin": { "address": address(0) },
            "dynamic_resources": { "lds_config": config::discovered_in(&site.listeners()) },
            "static_resources": { "clusters": [config::cluster("inbound", service)] },
        });
        let process = process::start(&pinned_envoy(), &bootstrap, &site.directory, 1);
        let addresses = process::listeners(&process);
        Self { process, site, addresses, workloads: Mutex::new(workloads) }
    }

    /// Takes these manifests for a workload instead. Envoy does so on its own, a moment later.
    pub fn apply(&self, workload: &str, manifests: Manifests) {
        let mut workloads = self.workloads.lock().unwrap();
        self.site.publish_plugins(workload, &manifests);
        workloads.insert(workload.to_owned(), manifests);
        self.site.publish_listeners(&workloads);
    }

    /// Where a workload's sidecar listens.
    pub fn port(&self, workload: &str) -> u16 {
        self.addresses.get(workload).unwrap_or_else(|| panic!("no workload {workload}")).port()
    }

    /// The folder of a workload's files: `access.log`, if a Telemetry asks for one.
    pub fn folder(&self, workload: &str) -> PathBuf {
        self.site.folder(workload)
    }

    /// Envoy's own log.
    pub fn log(&self) -> Log {
        Log::new(&self.process.log())
    }
}

impl Site {
    fn listeners(&self) -> PathBuf {
        self.directory.join("listeners.json")
    }

    fn folder(&self, workload: &str) -> PathBuf {
        self.directory.join(workload.replace(|c: char| !c.is_ascii_alphanumeric(), "-"))
    }

    /// Where a plugin is discovered.
    fn extension(&self, workload: &str, plugin: &Plugin) -> PathBuf {
        self.folder(workload).join(format!("{}.json", plugin.resource().replace('/', "_")))
    }

    fn publish_plugins(&self, workload: &str, manifests: &[Value]) {
        for plugin in istio::plugins(manifests) {
            config::publish(&self.extension(workload, &plugin), &[plugin.extension_config()]);
        }
    }

    fn publish_listeners(&self, workloads: &BTreeMap<String, Manifests>) {
        let inbound =
            workloads.iter().map(|(workload, manifests)| self.inbound(workload, manifests));
        config::publish_listeners(&self.listeners(), inbound.collect());
    }

    /// The listener of a workload's inbound side.
    fn inbound(&self, workload: &str, manifests: &[Value]) -> Value {
        let filters = istio::inbound_chain(manifests, |plugin| {
            let file = self.extension(workload, plugin);
            config::discovered_filter(&plugin.resource(), &file, &[WASM, RBAC])
        });
        let fields = json!({
            "server_name": "istio-envoy",
            "use_remote_address": false,
            "forward_client_cert_details": "APPEND_FORWARD",
            "normalize_path": true,
            "path_with_escaped_slashes_action": "KEEP_UNCHANGED",
            "upgrade_configs": [{ "upgrade_type": "websocket" }],
            "access_log": self.access_logs(workload, manifests),
            "route_config": {
                "name": "inbound|8080||",
                "validate_clusters": false,
                "virtual_hosts": [{
                    "name": "inbound|http|8080",
                    "domains": ["*"],
                    "routes": [{
                        "match": { "prefix": "/" },
                        "route": { "cluster": "inbound", "timeout": "0s" },
                    }],
                }],
            },
        });
        let manager =
            config::connection_manager("inbound_0.0.0.0_8080", &filters, &json!([]), &fields);
        let mut listener = config::listener(workload, &address(0), &manager);
        listener["traffic_direction"] = json!("INBOUND");
        listener
    }

    /// The providers that Telemetry resources name for a server's access log, out of the mesh's
    /// configuration. The tags of their metrics are written down there too: Istio's own proxy alone has
    /// the filter that counts, and it computes them by the same language, CEL.
    fn access_logs(&self, workload: &str, manifests: &[Value]) -> Vec<Value> {
        let file = self.folder(workload).join("access.log");
        let specs = manifests.iter().filter(|manifest| manifest["kind"] == "Telemetry");
        let specs: Vec<&Value> = specs.map(|manifest| &manifest["spec"]).collect();
        let tags = specs.iter().flat_map(|spec| of_server(&spec["metrics"][0]["overrides"]));
        let tags = tags.filter_map(|entry| entry["tagOverrides"].as_object()).flatten();
        let tags: Vec<_> = tags.map(|(name, tag)| (name, tag["value"].as_str().unwrap())).collect();
        let logging = specs.iter().flat_map(|spec| of_server(&spec["accessLogging"]));
        let providers = logging.filter_map(|entry| entry["providers"].as_array()).flatten();
        let names: BTreeSet<&str> =
            providers.filter_map(|provider| provider["name"].as_str()).collect();
        names.into_iter().map(|name| access_log(self.provider(name), &tags, &file)).collect()
    }

    fn provider(&self, name: &str) -> &Value {
        let mut providers = self.mesh_config["extensionProviders"].as_array().into_iter().flatten();
        let provider = providers.find(|provider| provider["name"] == name);
        provider.unwrap_or_else(|| panic!("the mesh's configuration has no provider {name}"))
    }
}

/// The entries of a list that are about servers.
fn of_server(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten().filter(|entry| entry["match"]["mode"] == "SERVER")
}

/// `envoyFileAccessLog`, into this file instead of its `path`, and with these CEL expressions in it.
fn access_log(provider: &Value, tags: &[(&String, &str)], file: &Path) -> Value {
    let mut labels = provider["envoyFileAccessLog"]["logFormat"]["labels"].clone();
    for (name, expression) in tags {
        labels[name.as_str()] = json!(format!("%CEL({expression})%"));
    }
    config::access_log(file, &labels)
}
