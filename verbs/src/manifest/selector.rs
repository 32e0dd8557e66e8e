//! The workloads that a resource applies to: `selector`, `targetRef`, `targetRefs` (docs/semantics.md,
//! "Selectors and targets").

use std::collections::BTreeSet;

use usher_core::codec::json::Value;
use usher_core::codec::problems::{Node, Object, Problems};

use super::labels::{is_gateway, match_labels};
use super::proto;

/// What a targetRef may name; the group of a Service is empty or `core`.
/// Source: istio/istio pkg/config/validation/validation.go (allowedTargetRefs).
const TARGETS: [(&str, &str); 5] = [
    ("", "Service"),
    ("core", "Service"),
    ("networking.istio.io", "ServiceEntry"),
    ("gateway.networking.k8s.io", "Gateway"),
    ("gateway.networking.k8s.io", "GatewayClass"),
];

/// Whether the resource supports the older, single `targetRef`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TargetRef {
    Allowed,
    Unknown,
}

/// The Gateways in the input that are waypoints, by `gatewayClassName`: namespace and name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Waypoints(BTreeSet<(String, String)>);

impl Waypoints {
    /// The waypoints in these documents.
    pub(crate) fn of<'v>(documents: impl IntoIterator<Item = &'v Value>) -> Self {
        let mut waypoints = Self::default();
        documents.into_iter().for_each(|document| waypoints.add(document));
        waypoints
    }

    fn add(&mut self, manifest: &Value) {
        let text = |name| manifest.get(name).and_then(Value::as_str).unwrap_or_default();
        if text("kind").ends_with("List") {
            let items = manifest.get("items").and_then(Value::as_array);
            items.into_iter().flatten().for_each(|item| self.add(item));
        }
        let class = manifest.get("spec").and_then(|spec| spec.get("gatewayClassName"));
        let is_one = text("apiVersion").starts_with("gateway.networking.k8s.io/")
            && class.and_then(Value::as_str) == Some("istio-waypoint");
        if is_one && text("kind") == "Gateway" {
            let metadata = manifest.get("metadata").unwrap_or(&Value::Null);
            let name = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
            self.0.insert((namespace_of(metadata).to_owned(), name.to_owned()));
        }
    }

    fn has(&self, namespace: &str, name: &str) -> bool {
        self.0.contains(&(namespace.to_owned(), name.to_owned()))
    }
}

/// The namespace in a manifest's metadata.
fn namespace_of(metadata: &Value) -> &str {
    metadata.get("namespace").and_then(Value::as_str).unwrap_or("default")
}

/// Whether the manifest's spec is for a waypoint: a Service and a ServiceEntry only attach to one, a
/// Gateway may be either.
pub(crate) fn is_for_a_waypoint(spec: &Value, metadata: &Value, waypoints: &Waypoints) -> bool {
    targets(spec).any(|target| {
        let text = |name| target.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("kind") {
            "Service" | "ServiceEntry" => true,
            "GatewayClass" => text("name") == "istio-waypoint",
            // A targetRef refers to its own namespace.
            "Gateway" => waypoints.has(namespace_of(metadata), text("name")),
            _ => false,
        }
    })
}

/// Whether a spec names a Gateway, or has the labels of one.
pub(crate) fn is_at_a_gateway(spec: &Value) -> bool {
    let is_one = |target: &Value| target.get("kind").and_then(Value::as_str) == Some("Gateway");
    targets(spec).any(is_one) || is_gateway(&match_labels(spec))
}

fn targets(spec: &Value) -> impl Iterator<Item = &Value> {
    let several = spec.get("targetRefs").and_then(Value::as_array).into_iter().flatten();
    several.chain(spec.get("targetRef"))
}

/// Checks the three fields of a spec.
pub(super) fn check(spec: &Object<'_>, single: TargetRef, problems: &Problems) {
    let mut given = Vec::new();
    if let Some(selector) = spec.field("selector") {
        given.push("selector");
        check_selector(&selector, problems);
    }
    let target = match single {
        TargetRef::Allowed => spec.field("targetRef"),
        TargetRef::Unknown => None,
    };
    if let Some(target) = target.and_then(|target| target.object(problems)) {
        given.push("targetRef");
        check_target(target, problems);
    }
    if let Some(targets) = spec.field("targetRefs") {
        // istio/api PolicyTargetReference: MaxItems=16
        proto::at_most(&targets, 16, problems);
        let targets = proto::objects(&targets, problems);
        if !targets.is_empty() {
            given.push("targetRefs");
        }
        for target in targets {
            check_target(target, problems);
        }
    }
    if given.len() > 1 {
        let given = given.join("` and `");
        problems.error(&spec.at, format!("only one of selector and targetRefs, found `{given}`"));
    }
}

fn check_selector(selector: &Node<'_>, problems: &Problems) {
    let Some(selector) = selector.object(problems) else { return };
    let labels = selector.field("matchLabels");
    let members = match labels.as_ref().map(|labels| (labels, labels.value)) {
        Some((_, Value::Object(members))) => members.iter().collect(),
        Some((labels, _)) => {
            labels.expected::<()>("an object", problems);
            Vec::new()
        }
        None => Vec::new(),
    };
    if members.is_empty() {
        problems.warning(
            "selects-all",
            &selector.at,
            "a selector without labels selects every workload",
        );
    }
    for (key, value) in members {
        let at = format!("{}.matchLabels.{key}", selector.at);
        let value = Node { at: at.clone(), value };
        let Some(text) = value.text(problems) else { continue };
        if key.is_empty() {
            problems.error(&at, "expected a label name, found an empty string");
        }
        if key.contains('*') || text.contains('*') {
            problems.error(&at, format!("no wildcard in a selector, found `{key}={text}`"));
        }
        // istio/api type/v1beta1/selector.proto: the values' MaxLength=63
        proto::no_longer_than(&value, 63, problems);
    }
    selector.finish(problems);
}

fn check_target(target: Object<'_>, problems: &Problems) {
    let text = |name| target.field(name).and_then(|field| field.text(problems)).unwrap_or_default();
    let (group, kind) = (text("group"), text("kind"));
    if text("name").is_empty() {
        problems.error(&target.at, "a targetRef needs a `name`");
    }
    if !text("namespace").is_empty() {
        problems.error(
            target.path("namespace"),
            "a targetRef stays in its own namespace; remove the field",
        );
    }
    if !TARGETS.contains(&(group, kind)) {
        let known = "Service, ServiceEntry (networking.istio.io), Gateway or GatewayClass \
                     (gateway.networking.k8s.io)";
        let problem = format!("expected a targetRef to {known}, found `{group}/{kind}`");
        problems.error(&target.at, problem);
    }
    target.finish(problems);
}
