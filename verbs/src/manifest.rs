//! Istio's manifests: this refuses everything that Istio's own validation refuses, with its path.
//!
//! In Istio's order: the form (protobuf JSON: unknown fields, wrong types, unknown enum words, null
//! items), then the schema of the custom resource where it is stricter, then the checks of istio/istio
//! pkg/config/validation/validation.go (docs/semantics.md, "Validation").

mod attribute;
mod authorization_policy;
mod jwks;
pub(crate) mod labels;
mod plugin;
mod proto;
mod request_authentication;
mod selector;
mod url;

pub(crate) use authorization_policy::CLOSING_PATH;
pub(crate) use plugin::speaks_usher;
pub(crate) use selector::{Waypoints, is_at_a_gateway, is_for_a_waypoint};

use usher_core::codec::json::Value;
use usher_core::codec::problems::{Node, Problems, did_you_mean};

use crate::envoy::Filter;

/// The kinds that are checked, each with the API group that it belongs to.
const KINDS: [(&str, &str); 4] = [
    ("AuthorizationPolicy", "security.istio.io"),
    ("RequestAuthentication", "security.istio.io"),
    ("TrafficExtension", "extensions.istio.io"),
    ("WasmPlugin", "extensions.istio.io"),
];

/// `istio.io/dry-run`, for AuthorizationPolicy only (docs/semantics.md, "Dry run").
const DRY_RUN: &str = "istio.io/dry-run";

/// Whether a document is a manifest, and not a bare pluginConfig, which has no such fields.
pub(crate) fn is_manifest(document: &Value) -> bool {
    document.get("kind").is_some() || document.get("apiVersion").is_some()
}

/// A pluginConfig, and its place in its document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PluginConfig {
    /// JSON path in the document, empty for a bare one.
    pub(crate) at: String,
    /// The configuration.
    pub(crate) value: Value,
    /// Whether it is for one of Istio's waypoints.
    pub(crate) at_a_waypoint: bool,
    /// Its filter, in an Envoy configuration.
    pub(crate) filter: Option<Filter>,
}

impl PluginConfig {
    /// A configuration with only a place.
    pub(crate) fn new(at: &str, value: Value) -> Self {
        Self { at: at.to_owned(), value, at_a_waypoint: false, filter: None }
    }
}

/// The content of a manifest.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// Manifests of a kind that is checked here.
    pub(crate) count: usize,
    /// Usher's configurations in them.
    pub(crate) configs: Vec<PluginConfig>,
    /// Istio's own resources, as written.
    pub(crate) resources: Vec<Resource>,
}

/// A RequestAuthentication or an AuthorizationPolicy.
#[derive(Clone, Debug)]
pub(crate) struct Resource {
    /// Its kind.
    pub(crate) kind: &'static str,
    /// JSON path in the document, empty for the whole.
    pub(crate) at: String,
    /// `metadata`, null without.
    pub(crate) metadata: Value,
    /// `spec`, an empty object without.
    pub(crate) spec: Value,
    /// Whether it is for one of Istio's waypoints.
    pub(crate) at_a_waypoint: bool,
}

/// Checks a manifest, or each of a `List`, with these waypoints.
pub(crate) fn check(document: &Value, waypoints: &Waypoints, problems: &Problems) -> Checked {
    let mut checked = Checked::default();
    check_node(&Node::root(document), waypoints, problems, &mut checked);
    checked
}

fn check_node(node: &Node<'_>, waypoints: &Waypoints, problems: &Problems, checked: &mut Checked) {
    let Some(manifest) = node.object(problems) else { return };
    let Some(kind) = manifest.required("kind", problems).and_then(|kind| kind.text(problems))
    else {
        return;
    };
    if kind == "List" || kind.ends_with("List") && node.value.get("items").is_some() {
        // `kubectl get -o yaml`
        let items = manifest.field("items").and_then(|items| items.list(problems));
        for item in items.unwrap_or_default() {
            check_node(&item, waypoints, problems, checked);
        }
        return;
    }
    let Some((known, group)) = KINDS.iter().find(|(name, _)| *name == kind) else {
        let bare = |name: &str| name.to_ascii_lowercase().trim_end_matches('s').to_owned();
        match KINDS.iter().find(|(name, _)| bare(name) == bare(kind)) {
            Some((name, _)) => {
                let problem = format!("no kind `{kind}`; did you mean `{name}`?");
                problems.error(manifest.path("kind"), problem);
            }
            None => problems.warning(
                "not-checked",
                manifest.path("kind"),
                format!("`{kind}` is not checked"),
            ),
        }
        return;
    };
    let version = node.value.get("apiVersion").and_then(Value::as_str).unwrap_or_default();
    let theirs = version.split_once('/').map_or("", |(group, _)| group);
    let is_near =
        theirs.ends_with("istio.io") || !did_you_mean(theirs, [*group].into_iter()).is_empty();
    if theirs.contains('.') && !is_near {
        let problem = format!("`{kind}` of `{theirs}` is not checked");
        problems.warning("not-checked", manifest.path("kind"), problem);
        return;
    }
    checked.count = checked.count.saturating_add(1);
    match manifest.field("apiVersion").map(|version| (version.text(problems), version)) {
        Some((Some(text), version)) if text.split('/').next() != Some(*group) => {
            let expected = format!("`{group}/..`, the API group of {kind}");
            version.expected::<()>(&expected, problems);
        }
        Some(_) => {}
        None => problems.warning("no-api-version", &manifest.at, "missing field `apiVersion`"),
    }
    let metadata = manifest.field("metadata");
    let metadata = metadata.filter(|m| m.object(problems).is_some());
    if kind != "AuthorizationPolicy" {
        refuse_dry_run(metadata.as_ref(), problems);
    }
    // The API server writes it, and this command ignores it.
    manifest.field("status");
    let empty = Value::Object(usher_core::codec::json::Map::new());
    let spec = manifest.field("spec");
    let spec = spec.unwrap_or(Node { at: manifest.path("spec"), value: &empty });
    let named = metadata.as_ref().map_or(&Value::Null, |metadata| metadata.value);
    let at_a_waypoint = is_for_a_waypoint(spec.value, named, waypoints);
    if group.starts_with("security.") {
        checked.resources.push(Resource {
            kind: known,
            at: manifest.at.clone(),
            metadata: named.clone(),
            spec: spec.value.clone(),
            at_a_waypoint,
        });
    }
    match kind {
        "RequestAuthentication" => request_authentication::check(&spec, problems),
        "TrafficExtension" => {
            let config = plugin::check_traffic_extension(&spec, at_a_waypoint, problems);
            checked.configs.extend(config);
        }
        "WasmPlugin" => {
            let config = plugin::check_wasm_plugin(&spec, at_a_waypoint, problems);
            checked.configs.extend(config);
        }
        _ => authorization_policy::check(&spec, metadata.as_ref(), problems),
    }
    manifest.finish(problems);
}

/// Istio: "has unsupported annotation istio.io/dry-run, please remove the annotation".
fn refuse_dry_run(metadata: Option<&Node<'_>>, problems: &Problems) {
    let annotations = metadata.and_then(|m| m.value.get("annotations"));
    if let (Some(metadata), Some(_)) = (metadata, annotations.and_then(|a| a.get(DRY_RUN))) {
        problems.error(
            format!("{}.annotations.{DRY_RUN}", metadata.at),
            "only an AuthorizationPolicy can run dry; remove the annotation",
        );
    }
}
