//! Filters ahead of a plugin, in the same input, that set a header which the plugin treats as spoofed.
//!
//! A hop ahead (a gateway's plugin), an authorizer of a CUSTOM policy, which Istio runs before phase
//! AUTHN, in the later phases a RequestAuthentication, and in an Envoy configuration the filters ahead in
//! the chain: the headers that they set are removed in every mode, also in a dry run, so that the service
//! or the filters between lack them.

use usher_core::Compiled;
use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;

use crate::convert::collect;
use crate::input;
use crate::manifest::labels::match_labels;
use crate::manifest::{PluginConfig, Resource, is_at_a_gateway};

/// The namespace of Istio's mesh-wide resources, by default.
const ROOT: &str = "istio-system";

/// A plugin of Usher in the input.
pub(crate) struct Plugin<'i> {
    pub(crate) config: &'i PluginConfig,
    pub(crate) policy: &'i Compiled,
    /// The manifest that contains it; a bare configuration has none.
    pub(crate) manifest: Option<&'i Value>,
}

/// Everything that may be ahead of it.
pub(crate) struct Input<'i> {
    pub(crate) plugins: Vec<Plugin<'i>>,
    pub(crate) resources: Vec<&'i Resource>,
    /// The documents as written: one may be the mesh's configuration.
    pub(crate) documents: Vec<&'i Value>,
}

/// Records what sets headers ahead of the plugin with this number.
pub(crate) fn check(input: &Input<'_>, number: usize, problems: &Problems) {
    let Some(plugin) = input.plugins.get(number) else { return };
    let protected = protected(&plugin.config.value);
    if protected.is_empty() {
        return;
    }
    let say = |what: String| {
        problems.warning(
            "header-removed", &plugin.config.at,
            format!(
                "{what}, which this plugin removes as forged, in a dry run too: behind it there is only \
                 what this plugin itself emits"
            ),
        );
    };
    for (index, other) in input.plugins.iter().enumerate() {
        if index != number && is_ahead(other, plugin) {
            let set = headers(&other.config.value);
            if let Some(names) = removed(&set, plugin.policy) {
                let who = name(other.manifest);
                say(format!("the plugin `{who}` stands ahead and sets {names}"));
            }
        }
    }
    for ahead in plugin.config.filter.iter().flat_map(|filter| &filter.ahead) {
        match &ahead.sets {
            Some(set) => {
                if let Some(names) = removed(set, plugin.policy) {
                    say(format!("the filter at `{}` stands ahead and sets {names}", ahead.at));
                }
            }
            None => {
                let names = listed(&protected);
                say(format!("the filter at `{}` stands ahead and may set {names}", ahead.at));
            }
        }
    }
    let gateways = gateway_namespaces(&input.documents);
    for resource in &input.resources {
        let ahead = is_on_a_hop_ahead(resource, plugin, &gateways);
        let here = !is_on_a_hop_behind(resource, plugin)
            && plugin.manifest.is_none_or(|manifest| concerns(resource, manifest));
        if !ahead && !here {
            continue;
        }
        let who = format!(
            "`{}/{}`",
            text(&resource.metadata, "namespace"),
            text(&resource.metadata, "name")
        );
        match resource.kind {
            "RequestAuthentication" if ahead || is_behind_authentication(plugin.manifest) => {
                if let Some(names) = removed(&headers(&resource.spec), plugin.policy) {
                    say(format!("the RequestAuthentication {who} stands ahead and sets {names}"));
                }
            }
            "AuthorizationPolicy" if resource.spec.get("action").is_some_and(|a| a == "CUSTOM") => {
                let provider = resource.spec.get("provider").map(|p| text(p, "name"));
                let provider = provider.unwrap_or_default();
                let set = input.documents.iter().find_map(|mesh| allowed_upstream(mesh, provider));
                let who = format!("the authorizer `{provider}` of the CUSTOM policy {who}");
                match set {
                    Some(set) => {
                        if let Some(names) = matched(&set, &protected) {
                            say(format!("{who} stands ahead and sets {names}"));
                        }
                    }
                    None => {
                        let names = listed(&protected);
                        say(format!("{who} stands ahead and may set {names}"));
                    }
                }
            }
            _ => {}
        }
    }
}

/// The headers that rules emit, as written.
pub(crate) fn headers(config: &Value) -> Vec<String> {
    let rules = config.get("jwtRules").and_then(Value::as_array).into_iter().flatten();
    let mut names = Vec::new();
    for rule in rules {
        let payload = rule.get("outputPayloadToHeader").and_then(Value::as_str);
        let claims =
            rule.get("outputClaimToHeaders").and_then(Value::as_array).into_iter().flatten();
        let claims = claims.filter_map(|claim| claim.get("header")?.as_str());
        for name in payload.into_iter().chain(claims).filter(|name| !name.is_empty()) {
            if !names.iter().any(|known: &String| known.eq_ignore_ascii_case(name)) {
                names.push(name.to_owned());
            }
        }
    }
    names
}

/// The headers that a plugin removes from requests.
fn protected(config: &Value) -> Vec<String> {
    let mut names = headers(config);
    let strip = config.get("identityHeaders").and_then(|headers| headers.get("strip"));
    let strip = strip.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    names.extend(strip.map(str::to_owned));
    names
}

/// Those of the headers that the plugin removes, as text.
fn removed(set: &[String], policy: &Compiled) -> Option<String> {
    let gone = set.iter().filter(|name| policy.protected_headers.protects(name.as_bytes()));
    let gone: Vec<String> = gone.cloned().collect();
    (!gone.is_empty()).then(|| listed(&gone))
}

fn listed(names: &[String]) -> String {
    format!("`{}`", names.join("`, `"))
}

/// The protected headers that one of these patterns of a mesh's configuration names: exact, `x-*`, `*-x`.
fn matched(patterns: &[String], protected: &[String]) -> Option<String> {
    let fits = |name: &String| {
        let name = name.to_ascii_lowercase();
        patterns.iter().map(|pattern| pattern.to_ascii_lowercase()).any(|pattern| {
            match (pattern.strip_suffix('*'), pattern.strip_prefix('*')) {
                (Some(prefix), _) => name.starts_with(prefix),
                (None, Some(suffix)) => name.ends_with(suffix),
                (None, None) => name == pattern,
            }
        })
    };
    let hit: Vec<String> = protected.iter().filter(|name| fits(name)).cloned().collect();
    (!hit.is_empty()).then(|| listed(&hit))
}

/// What an HTTP authorizer may set upstream, if the document is the mesh's configuration and has the
/// provider (istio/api mesh/v1alpha1 `headersToUpstreamOnAllow`). One with gRPC may set any header.
fn allowed_upstream(document: &Value, provider: &str) -> Option<Vec<String>> {
    let mesh = document.get("data").and_then(|data| data.get("mesh")).and_then(Value::as_str);
    let parsed = mesh.and_then(|text| input::documents(text).ok());
    let parsed = parsed.as_ref().and_then(|documents| documents.first());
    let inner = document.get("spec").and_then(|spec| spec.get("meshConfig"));
    let mesh = parsed.map(|document| &document.value).or(inner);
    let mesh = mesh.or(document.get("meshConfig")).unwrap_or(document);
    let providers = mesh.get("extensionProviders").and_then(Value::as_array)?;
    let known = providers.iter().find(|known| text(known, "name") == provider)?;
    let http = known.get("envoyExtAuthzHttp")?;
    let set = http.get("headersToUpstreamOnAllow").and_then(Value::as_array);
    let set = set.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned);
    Some(set.collect())
}

fn text<'v>(object: &'v Value, field: &str) -> &'v str {
    let fallback = if field == "namespace" { "default" } else { "" };
    object.get(field).and_then(Value::as_str).unwrap_or(fallback)
}

fn metadata<'v>(manifest: Option<&'v Value>, field: &str) -> &'v str {
    manifest.and_then(|m| m.get("metadata")).map_or("", |metadata| text(metadata, field))
}

fn name(manifest: Option<&Value>) -> String {
    format!("{}/{}", metadata(manifest, "namespace"), metadata(manifest, "name"))
}

fn spec<'v>(manifest: Option<&'v Value>, field: &str) -> Option<&'v Value> {
    manifest?.get("spec")?.get(field)
}

/// Whether `other` comes first: it is at a gateway and this one is not, or it is earlier in the same
/// chain.
fn is_ahead(other: &Plugin<'_>, plugin: &Plugin<'_>) -> bool {
    let (Some(first), Some(second)) = (other.manifest, plugin.manifest) else { return false };
    let here = near(metadata(Some(first), "namespace"), metadata(Some(second), "namespace"));
    let hops = (other.hop(), plugin.hop());
    if hops.0 != hops.1 {
        return is_ahead_of(hops.0, hops.1, here);
    }
    let (selector, targets) = (
        (spec(Some(first), "selector"), spec(Some(second), "selector")),
        (spec(Some(first), "targetRefs"), spec(Some(second), "targetRefs")),
    );
    here && fit(selector.0, selector.1) && share_a_target(targets.0, targets.1) && {
        let place = |manifest| {
            let priority = spec(Some(manifest), "priority").and_then(Value::as_i64);
            // A plugin without priority comes last in its phase.
            (phase(Some(manifest)), std::cmp::Reverse(priority.unwrap_or(i64::MIN)))
        };
        place(first) < place(second)
    }
}

/// The proxies that a request passes, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Hop {
    Gateway,
    Waypoint,
    Sidecar,
}

impl Plugin<'_> {
    fn hop(&self) -> Hop {
        let spec = self.manifest.and_then(|manifest| manifest.get("spec"));
        spec.map_or(Hop::Sidecar, |spec| hop(spec, self.config.at_a_waypoint))
    }
}

/// Where a spec applies: by `targetRefs`, or by labels of a gateway.
fn hop(spec: &Value, at_a_waypoint: bool) -> Hop {
    if at_a_waypoint {
        Hop::Waypoint
    } else if is_at_a_gateway(spec) {
        Hop::Gateway
    } else {
        Hop::Sidecar
    }
}

/// A gateway leads to every namespace, a waypoint to the workloads of its own.
fn is_ahead_of(one: Hop, other: Hop, near: bool) -> bool {
    one < other && (one == Hop::Gateway || near)
}

fn near(one: &str, other: &str) -> bool {
    one == other || one == ROOT || other == ROOT
}

/// Whether two plugins at the same kind of proxy may be at the same one: without `targetRefs` that is
/// unknown.
fn share_a_target(one: Option<&Value>, other: Option<&Value>) -> bool {
    let list =
        |targets: Option<&Value>| targets.and_then(Value::as_array).cloned().unwrap_or_default();
    let (one, other) = (list(one), list(other));
    let same =
        |a: &Value, b: &Value| a.get("kind") == b.get("kind") && a.get("name") == b.get("name");
    one.is_empty() || other.is_empty() || one.iter().any(|a| other.iter().any(|b| same(a, b)))
}

/// The namespaces in which the input has gateways.
fn gateway_namespaces(documents: &[&Value]) -> Vec<String> {
    let mut collected = collect::Collected::default();
    documents.iter().for_each(|document| collect::workloads(document, &mut collected));
    let gateways = collected.workloads.into_iter().filter(|workload| workload.gateway);
    gateways.map(|workload| workload.namespace).collect()
}

/// Whether a spec selects no workload: it applies to gateways and sidecars alike.
fn is_for_everyone(spec: &Value) -> bool {
    let given = |name| spec.get(name).is_some_and(|value| *value != Value::Null);
    match_labels(spec).is_empty() && !given("targetRefs") && !given("targetRef")
}

/// Whether a resource applies to a gateway or waypoint that requests pass before the plugin.
fn is_on_a_hop_ahead(resource: &Resource, plugin: &Plugin<'_>, gateways: &[String]) -> bool {
    let Some(manifest) = plugin.manifest else { return false };
    let there = text(&resource.metadata, "namespace");
    if is_for_everyone(&resource.spec) {
        let at_one = gateways.iter().any(|gateway| gateway == there || there == ROOT);
        return at_one && plugin.hop() != Hop::Gateway;
    }
    let hop = hop(&resource.spec, resource.at_a_waypoint);
    is_ahead_of(hop, plugin.hop(), near(there, metadata(Some(manifest), "namespace")))
}

fn is_on_a_hop_behind(resource: &Resource, plugin: &Plugin<'_>) -> bool {
    !is_for_everyone(&resource.spec) && plugin.hop() < hop(&resource.spec, resource.at_a_waypoint)
}

/// AUTHN, then RequestAuthentication, AUTHZ, STATS, and plugins without a phase.
fn phase(manifest: Option<&Value>) -> u8 {
    let phase = spec(manifest, "phase").and_then(Value::as_str).unwrap_or_default();
    match phase.strip_prefix("EXECUTION_PHASE_").unwrap_or(phase) {
        "AUTHN" => 0,
        "AUTHZ" => 1,
        "STATS" => 2,
        _ => 3,
    }
}

fn is_behind_authentication(manifest: Option<&Value>) -> bool {
    manifest.is_some() && phase(manifest) > 0
}

/// Whether a resource may apply where the plugin is: by namespace, and by labels.
fn concerns(resource: &Resource, manifest: &Value) -> bool {
    let (here, there) =
        (text(&resource.metadata, "namespace"), metadata(Some(manifest), "namespace"));
    near(here, there) && fit(resource.spec.get("selector"), spec(Some(manifest), "selector"))
}

/// Whether a workload could have both selectors' labels.
fn fit(one: Option<&Value>, other: Option<&Value>) -> bool {
    let labels = |selector: Option<&Value>| {
        let labels = selector.and_then(|s| s.get("matchLabels")).and_then(Value::as_object);
        labels.cloned().unwrap_or_default()
    };
    let (one, other) = (labels(one), labels(other));
    one.iter().all(|(name, value)| other.get(name).is_none_or(|theirs| theirs == value))
}
