//! An EnvoyFilter (`networking.istio.io`) that inserts `jwt_authn` or `rbac` -> a WasmPlugin in its place.

use usher_core::codec::json::Value;

use super::super::collect::Scope;
use super::super::plugin::{Settings, wasm_plugin};
use super::super::select::Group;
use super::super::{Manifest, Notes};
use super::{config, is_concerned, kind};
use crate::envoy::snake;
use crate::manifest::labels::labels;

/// Operations that put a filter where none was (istio/api envoy_filter.proto, `Patch.Operation`).
const INSERTS: [&str; 4] = ["ADD", "INSERT_AFTER", "INSERT_BEFORE", "INSERT_FIRST"];

/// Whether a manifest is an EnvoyFilter with one of the filters in it.
pub(crate) fn is_envoy_filter(value: &Value) -> bool {
    value.get("kind").and_then(Value::as_str) == Some("EnvoyFilter")
        && patches(value).iter().any(|patch| filter(patch).is_some())
}

fn patches(value: &Value) -> Vec<Value> {
    let spec = value.get("spec").map(snake).unwrap_or_default();
    spec.get("config_patches").and_then(Value::as_array).cloned().unwrap_or_default()
}

/// The `typed_config` of a patch that is about one of the filters.
fn filter(patch: &Value) -> Option<&Value> {
    let config = patch.get("patch")?.get("value")?.get("typed_config")?;
    kind(config).map(|_| config)
}

/// The plugin with the meaning of the filters that the patches insert, all of one kind of listener.
pub(crate) fn manifest(
    value: &Value,
    file: &str,
    settings: &Settings,
    notes: &mut Notes,
) -> Option<Manifest> {
    let text = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let metadata = value.get("metadata").cloned().unwrap_or_default();
    let namespace = text(&metadata, "namespace").unwrap_or_else(|| "default".to_owned());
    let name = text(&metadata, "name").unwrap_or_default();
    let place = format!("{file}: EnvoyFilter {namespace}/{name}");
    let patches = patches(value);
    let (ours, others): (Vec<&Value>, Vec<&Value>) =
        patches.iter().partition(|patch| filter(patch).is_some());
    for patch in others {
        let to = text(patch, "apply_to").unwrap_or_default();
        if is_concerned(patch) {
            notes.lost(
                &place,
                format!("a patch of `{to}` with a jwt_authn or rbac that is not read there"),
            );
            continue;
        }
        notes.advice(
            &place,
            format!("a patch of `{to}` that is about neither jwt_authn nor rbac: it stays"),
        );
    }
    let mut contexts = Vec::new();
    for patch in &ours {
        let inner = patch.get("patch").cloned().unwrap_or_default();
        let operation = text(&inner, "operation").unwrap_or_default();
        if !INSERTS.contains(&operation.as_str()) {
            let problem = match operation.as_str() {
                "" => "a patch without `operation`, which Istio does not apply".to_owned(),
                operation => {
                    format!(
                        "`operation: {operation}` changes a filter that is elsewhere: give that one whole"
                    )
                }
            };
            notes.lost(&place, problem);
        }
        let condition = patch.get("match").cloned().unwrap_or_default();
        let context = text(&condition, "context").unwrap_or_else(|| "ANY".to_owned());
        if !contexts.contains(&context) {
            contexts.push(context);
        }
        let listener = condition.get("listener").and_then(Value::as_object);
        for field in listener.into_iter().flat_map(|members| members.keys()) {
            if field != "filter_chain" {
                notes.lost(
                    &place,
                    format!("a match by `listener.{field}`: a plugin is for all inbound traffic"),
                );
            }
        }
        let chain =
            listener.and_then(|listener| listener.get("filter_chain")).and_then(Value::as_object);
        for field in
            chain.into_iter().flat_map(|members| members.keys()).filter(|name| *name != "filter")
        {
            notes.lost(
                &place,
                format!("a match by `filter_chain.{field}`: a plugin is for all inbound traffic"),
            );
        }
        if condition.get("proxy").is_some() {
            notes.advice(
                &place,
                "`match.proxy` is left out: the plugin is for every version of the proxy",
            );
        }
    }
    let gateway = match contexts.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["GATEWAY"] => Some(true),
        ["SIDECAR_INBOUND"] => Some(false),
        found => {
            let found = found.join("`, `");
            let problem = format!(
                "expected one context, `GATEWAY` or `SIDECAR_INBOUND`, found `{found}`: a plugin that judges outbound \
                 traffic would judge what others send; split the EnvoyFilter"
            );
            notes.lost(&place, problem);
            None
        }
    };
    let filters: Vec<&Value> = ours.iter().filter_map(|patch| filter(patch)).collect();
    let (config, gateway) = (config(&filters, notes)?, gateway?);
    let comment = vec![format!("EnvoyFilter {namespace}/{name} ({file})")];
    let spec = value.get("spec");
    let selected = labels(spec.and_then(|spec| spec.get("workloadSelector")?.get("labels")));
    let scope = match spec.and_then(|spec| spec.get("targetRefs")) {
        Some(targets) => Scope::Targets(targets.clone()),
        None if selected.is_empty() => Scope::Everyone,
        None => Scope::Labels(selected),
    };
    let name = format!("usher-{name}");
    let group = Group { namespace, name, scope, items: Vec::new(), gateway };
    Some(Manifest { comment, value: wasm_plugin(&group, config, settings) })
}
