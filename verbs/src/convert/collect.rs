//! Manifests -> the policies and the workloads in them.

use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;

use super::readers;
use crate::input::Document;
use crate::manifest::labels::{Labels, is_gateway, labels};
use crate::manifest::{self, Resource, Waypoints};
use crate::report::{Problem, Severity};

/// A RequestAuthentication or an AuthorizationPolicy, and the workloads that it is for.
#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) kind: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    pub(crate) spec: Value,
    pub(crate) dry_run: bool,
    /// `file:line`.
    pub(crate) place: String,
}

impl Item {
    /// The action of an AuthorizationPolicy.
    pub(crate) fn action(&self) -> &str {
        self.spec.get("action").and_then(Value::as_str).unwrap_or("ALLOW")
    }

    /// Whether the JSON text of its rules contains one of these.
    pub(crate) fn rules_hold(&self, words: &[&str]) -> bool {
        let text = self.spec.get("rules").map(ToString::to_string).unwrap_or_default();
        words.iter().any(|word| text.contains(word))
    }
}

/// The workloads that a resource is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Every workload of its namespace; in the root namespace, of the mesh.
    Everyone,
    /// Workloads with these labels.
    Labels(Labels),
    /// A gateway or a service, by `targetRef` or `targetRefs`.
    Targets(Value),
}

/// A workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The labels of its pods.
    pub labels: Labels,
    /// A gateway: not a sidecar, and its traffic is not inbound traffic of a workload.
    pub gateway: bool,
}

impl Workload {
    /// `namespace/key=value,..`: its namespace and its labels.
    pub fn of(text: &str) -> Option<Self> {
        let (namespace, pairs) = text.split_once('/')?;
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=')?;
            Some((name.to_owned(), value.to_owned()))
        };
        let labels: Labels = pairs.split(',').map(pair).collect::<Option<_>>()?;
        let name = labels.values().next().cloned().unwrap_or_default();
        let gateway = is_gateway(&labels);
        Some(Self { namespace: namespace.to_owned(), name, labels, gateway })
    }
}

/// A Service, as far as it has ports without HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Service {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) selector: Labels,
    /// The description of its first TCP port.
    pub(crate) tcp: String,
}

/// The content of all files.
#[derive(Debug, Default)]
pub(crate) struct Collected {
    pub(crate) items: Vec<Item>,
    pub(crate) workloads: Vec<Workload>,
    /// The selectors of Gateways (`networking.istio.io`): labels of gateways.
    pub(crate) gateways: Vec<Labels>,
    /// The Services with TCP ports.
    pub(crate) services: Vec<Service>,
    /// Routes on claims, each with its place and its claim.
    pub(crate) claim_routes: Vec<(String, String)>,
    /// The places that use the metadata of a RequestAuthentication.
    pub(crate) metadata: Vec<String>,
    pub(crate) waypoints: Waypoints,
}

/// Adds a document; returns its problems.
pub(crate) fn document(
    file: &str,
    number: usize,
    document: &Document,
    collected: &mut Collected,
) -> Vec<Problem> {
    let problems = Problems::default();
    if !manifest::is_manifest(&document.value) {
        problems.error("", "expected a manifest, found no `kind` and no `apiVersion`");
    }
    workloads(&document.value, collected);
    let checked = manifest::check(&document.value, &collected.waypoints, &problems);
    let place = |at: &str| {
        let line = document.locate(at).map(|mark| mark.line);
        line.map_or_else(|| file.to_owned(), |line| format!("{file}:{line}"))
    };
    for resource in checked.resources {
        let place = place(&resource.at);
        collected.items.push(item(resource, place));
    }
    let routes = readers::claim_routes(&document.value).into_iter();
    collected.claim_routes.extend(routes.map(|route| (place(&route.at), route.claim)));
    collected.metadata.extend(readers::metadata(&document.value).iter().map(|at| place(at)));
    let mut found = Problem::all(file, number, document, problems);
    found.retain(|problem| problem.severity == Severity::Error);
    found
}

fn item(resource: Resource, place: String) -> Item {
    let Resource { kind, metadata, spec, .. } = resource;
    let text = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
    let dry_run = metadata
        .get("annotations")
        .and_then(|annotations| annotations.get("istio.io/dry-run"))
        .and_then(Value::as_str)
        // Go's strconv.ParseBool; the manifest's check has refused all else.
        .is_some_and(|text| matches!(text, "1" | "t" | "T" | "TRUE" | "true" | "True"));
    Item {
        kind,
        namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
        name: text("name").unwrap_or_else(|| "unnamed".to_owned()),
        scope: scope(&spec),
        dry_run,
        spec,
        place,
    }
}

fn scope(spec: &Value) -> Scope {
    let targets =
        spec.get("targetRefs").filter(|refs| refs.as_array().is_some_and(|r| !r.is_empty()));
    if let Some(targets) = targets {
        return Scope::Targets(targets.clone());
    }
    if let Some(target) = spec.get("targetRef").filter(|target| target.is_object()) {
        return Scope::Targets(Value::Array(vec![target.clone()]));
    }
    let selector = spec.get("selector").and_then(|selector| selector.get("matchLabels"));
    match labels(selector) {
        labels if labels.is_empty() => Scope::Everyone,
        labels => Scope::Labels(labels),
    }
}

/// Labels that a controller adds, different for each version.
const PASSING: [&str; 3] =
    ["controller-revision-hash", "pod-template-generation", "pod-template-hash"];

/// Whether a pod runs a gateway: only the proxy, by injection (`inject.istio.io/templates: gateway`) or
/// by its arguments (`proxy router`).
fn is_gateway_pod(pod: &Value, labels: &Labels) -> bool {
    let annotation = pod
        .get("metadata")
        .and_then(|metadata| metadata.get("annotations"))
        .and_then(|annotations| annotations.get("inject.istio.io/templates"))
        .and_then(Value::as_str);
    let injected = annotation.is_some_and(|names| names.split(',').any(|n| n.trim() == "gateway"));
    let containers = pod.get("spec").and_then(|spec| spec.get("containers"));
    let mut containers = containers.and_then(Value::as_array).into_iter().flatten();
    let router = containers.any(|container| {
        let arguments = container.get("args").and_then(Value::as_array).into_iter().flatten();
        let words: Vec<&str> = arguments.filter_map(Value::as_str).take(2).collect();
        words == ["proxy", "router"]
    });
    injected || router || is_gateway(labels)
}

/// Adds pods, the resources that create pods, and the labels of gateways.
pub(crate) fn workloads(value: &Value, collected: &mut Collected) {
    let kind = value.get("kind").and_then(Value::as_str).unwrap_or_default();
    if kind.ends_with("List") {
        for item in value.get("items").and_then(Value::as_array).into_iter().flatten() {
            workloads(item, collected);
        }
        return;
    }
    let pod = match kind {
        "Pod" => Some(value),
        "DaemonSet" | "Deployment" | "ReplicaSet" | "StatefulSet" => {
            value.get("spec").and_then(|spec| spec.get("template"))
        }
        _ => None,
    };
    let version = value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    if kind == "Gateway" && version.starts_with("networking.istio.io/") {
        let selector = labels(value.get("spec").and_then(|spec| spec.get("selector")));
        if !selector.is_empty() {
            collected.gateways.push(selector);
        }
    }
    if kind == "Service" {
        collected.services.extend(service(value));
    }
    let found = &mut collected.workloads;
    let metadata = value.get("metadata");
    let text = |name: &str| metadata.and_then(|m| m.get(name)).and_then(Value::as_str);
    if let Some(pod) = pod {
        let mut labels = labels(pod.get("metadata").and_then(|metadata| metadata.get("labels")));
        labels.retain(|name, _| !PASSING.contains(&name.as_str()));
        let gateway = is_gateway_pod(pod, &labels);
        let namespace = text("namespace").unwrap_or("default").to_owned();
        // A Deployment, its ReplicaSet and its pods are one workload.
        if found.iter().any(|known| known.namespace == namespace && known.labels == labels) {
            return;
        }
        found.push(Workload {
            namespace,
            name: text("name").unwrap_or("unnamed").to_owned(),
            labels,
            gateway,
        });
    }
}

/// A Service with a port that is TCP for Istio, by its `appProtocol` or by the first word of its name.
/// For a port without either, Istio detects the protocol from the bytes, so such a port does not count.
/// Source: istio/istio pkg/config/protocol/instance.go (`https` and `tls` are passed on as they are).
fn service(value: &Value) -> Option<Service> {
    let http = ["http", "http2", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws"];
    let spec = value.get("spec")?;
    let ports = spec.get("ports").and_then(Value::as_array)?;
    let tcp = ports.iter().find_map(|port| {
        let text = |name: &str| port.get(name).and_then(Value::as_str).unwrap_or_default();
        let name = text("name").to_ascii_lowercase();
        let known =
            ["grpc-web", "http", "http2", "grpc", "https", "tls", "tcp", "mongo", "mysql", "redis"];
        let by_name = known.into_iter().find(|word| {
            name.strip_prefix(word).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
        });
        let protocol = match text("appProtocol") {
            "" => by_name?.to_owned(),
            word => word.to_ascii_lowercase(),
        };
        let is_tcp = !http.contains(&protocol.as_str()) && text("protocol") != "UDP";
        is_tcp.then(|| format!("{} is {protocol}", port.get("port").unwrap_or(&Value::Null)))
    })?;
    let metadata = value.get("metadata");
    let text = |name: &str| metadata.and_then(|m| m.get(name)).and_then(Value::as_str);
    Some(Service {
        namespace: text("namespace").unwrap_or("default").to_owned(),
        name: text("name").unwrap_or("unnamed").to_owned(),
        selector: labels(spec.get("selector")),
        tcp,
    })
}
