//! What stands ahead of a plugin, in the same input, and sets a header that the plugin takes for forged.
//!
//! A hop ahead (a gateway's plugin), an authorizer of a CUSTOM policy, which Istio runs before phase
//! AUTHN, in the later phases a RequestAuthentication, and in an Envoy configuration the filters ahead in
//! the chain: what they set is removed in every mode, a dry run's too, so that the service or what stands
//! between misses it.

use usher::Policy;
use usher::config::reader::Problems;
use usher::json::Value;

use crate::convert::collect::{self, is_gateway};
use crate::input;
use crate::manifest::{PluginConfig, Resource, is_for_a_gateway};

/// Where Istio keeps what is for the whole mesh, unless told otherwise.
const ROOT: &str = "istio-system";

/// A plugin of Usher in the input.
pub(crate) struct Plugin<'i> {
    pub(crate) config: &'i PluginConfig,
    pub(crate) policy: &'i Policy,
    /// The manifest that holds it; of a bare configuration nothing is known.
    pub(crate) manifest: Option<&'i Value>,
}

/// All that may stand ahead of it.
pub(crate) struct Input<'i> {
    pub(crate) plugins: Vec<Plugin<'i>>,
    pub(crate) resources: Vec<&'i Resource>,
    /// The documents as they are: one may be the mesh's configuration.
    pub(crate) documents: Vec<&'i Value>,
}

/// Notes what sets headers ahead of the plugin of this number.
pub(crate) fn check(input: &Input<'_>, number: usize, problems: &Problems) {
    let Some(plugin) = input.plugins.get(number) else { return };
    let protected = protected(&plugin.config.value);
    if protected.is_empty() {
        return;
    }
    let say = |what: String| {
        problems.warning(
            &plugin.config.at,
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
    for resource in &input.resources {
        if !plugin.manifest.is_none_or(|manifest| concerns(resource, manifest)) {
            continue;
        }
        let who = format!(
            "`{}/{}`",
            text(&resource.metadata, "namespace"),
            text(&resource.metadata, "name")
        );
        match resource.kind {
            "RequestAuthentication" if is_behind_authentication(plugin.manifest) => {
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

/// The headers that rules emit, as they are written.
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

/// Those of the headers that the plugin removes, in words.
fn removed(set: &[String], policy: &Policy) -> Option<String> {
    let gone = set.iter().filter(|name| policy.firewall.protects(name.as_bytes()));
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

/// What an HTTP authorizer may set upstream, where the document is the mesh's configuration and knows the
/// provider (istio/api mesh/v1alpha1 `headersToUpstreamOnAllow`). One that speaks gRPC may set anything.
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

/// Whether `other` comes first: at a gateway where this one is at none, or earlier in the same chain.
fn is_ahead(other: &Plugin<'_>, plugin: &Plugin<'_>) -> bool {
    let (Some(first), Some(second)) = (other.manifest, plugin.manifest) else { return false };
    if is_at_gateway(first) != is_at_gateway(second) {
        return is_at_gateway(first);
    }
    let near = |a: &Value, b: &Value| {
        let (a, b) = (metadata(Some(a), "namespace"), metadata(Some(b), "namespace"));
        a == b || a == ROOT || b == ROOT
    };
    near(first, second) && fit(spec(Some(first), "selector"), spec(Some(second), "selector")) && {
        let place = |manifest| {
            let priority = spec(Some(manifest), "priority").and_then(Value::as_i64);
            // A plugin without priority comes last in its phase.
            (phase(Some(manifest)), std::cmp::Reverse(priority.unwrap_or(i64::MIN)))
        };
        place(first) < place(second)
    }
}

/// A gateway by `targetRefs`, or by labels of a gateway.
fn is_at_gateway(manifest: &Value) -> bool {
    let by_target = manifest.get("spec").is_some_and(is_for_a_gateway);
    let labels = spec(Some(manifest), "selector").and_then(|selector| selector.get("matchLabels"));
    by_target || is_gateway(&collect::labels(labels))
}

/// AUTHN, then RequestAuthentication, AUTHZ, STATS, and whatever names no phase.
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

/// Whether a resource may hold where the plugin is: by namespace, and by labels.
fn concerns(resource: &Resource, manifest: &Value) -> bool {
    let (here, there) =
        (text(&resource.metadata, "namespace"), metadata(Some(manifest), "namespace"));
    (here == there || here == ROOT || there == ROOT)
        && fit(resource.spec.get("selector"), spec(Some(manifest), "selector"))
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
