//! Istio's manifests, or Envoy's filters, to WasmPlugins.

use std::collections::BTreeSet;

use usher_core::codec::json::Value;

use super::collect::{self, Collected, Workload};
use super::plugin::{self, Settings};
use super::tcp::{self, Ports};
use super::{Manifest, Notes, envoy, readers, select};
use crate::envoy::snake;
use crate::input::Document;
use crate::manifest::Waypoints;
use crate::report::Problem;

/// A placeholder for the URL that only the operator knows.
const PLACEHOLDER: &str = "oci://registry.example.com/usher/usher:0.1.0";

/// Settings that are not in the manifests.
#[derive(Clone, Debug)]
pub struct Mesh {
    /// The namespace whose policies apply to the whole mesh.
    pub root_namespace: String,
    /// The mesh's trust domain, then its aliases; if empty, cluster.local.
    pub trust_domains: Vec<String>,
    /// The mesh's `pathNormalization`; default: BASE.
    pub path_normalization: Option<String>,
    /// Workloads that no file has, each with the option that named it.
    pub workloads: Vec<(String, Workload)>,
    /// The ports of the workloads.
    pub ports: Ports,
    /// `spec.url` of the plugins; default: a placeholder.
    pub url: Option<String>,
}

impl Default for Mesh {
    /// A mesh as Istio installs it, and nothing beside the files.
    fn default() -> Self {
        Self {
            root_namespace: "istio-system".to_owned(),
            trust_domains: Vec::new(),
            path_normalization: None,
            workloads: Vec::new(),
            ports: Ports::Any,
            url: None,
        }
    }
}

/// The plugins with the same meaning as these files, by their names; if the [notes](Notes::is_whole) report a loss,
/// something is missing.
///
/// # Errors
/// The problems of the manifests.
pub fn to_usher(
    files: &[(String, Vec<Document>)],
    mesh: Mesh,
    notes: &mut Notes,
) -> Result<Vec<Manifest>, Vec<Problem>> {
    let (mut manifests, mut problems) = (Vec::new(), Vec::new());
    let all = files.iter().flat_map(|(_, documents)| documents);
    let waypoints = Waypoints::of(all.map(|document| &document.value));
    let mut collected = Collected { waypoints, ..Collected::default() };
    let has_url = mesh.url.is_some();
    let settings = Settings {
        url: mesh.url.unwrap_or_else(|| PLACEHOLDER.to_owned()),
        trust_domains: mesh.trust_domains,
        path_normalization: mesh.path_normalization,
    };
    for (file, documents) in files {
        for (number, document) in documents.iter().enumerate() {
            if envoy::is_envoy_filter(&document.value) {
                manifests.extend(envoy::envoy_filter(&document.value, file, &settings, notes));
                continue;
            }
            // Comments alone.
            if document.value.as_object().is_some_and(|members| members.is_empty()) {
                continue;
            }
            let spelled = snake(&document.value);
            if envoy::is_envoy(&spelled) {
                manifests.extend(envoy::manifest(&spelled, file, notes));
                continue;
            }
            envoy::unread(&document.value, file, notes);
            problems.extend(collect::document(file, number, document, &mut collected));
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    for (option, named) in mesh.workloads {
        if !select::is_selected(&named, &collected, &mesh.root_namespace) {
            notes.advice(&option, "no policy selects it, so it gets no plugin");
        }
        collected.workloads.push(named);
    }
    let groups = select::groups(&collected, &mesh.root_namespace, notes);
    for group in &groups {
        manifests.extend(plugin::manifest(group, &collected, &settings, notes));
    }
    let closing = tcp::guards(&groups, &collected, mesh.ports, notes);
    let closes = !closing.is_empty();
    manifests.extend(closing);
    readers::check(&groups, &collected, notes);
    distinguish(&mut manifests);
    if notes.is_whole() && !manifests.is_empty() && !collected.items.is_empty() {
        advise_what_is_next(has_url, closes, notes);
    }
    Ok(manifests)
}

/// Gives each manifest a name of its own: applied under one name, the later would replace the earlier.
fn distinguish(manifests: &mut [Manifest]) {
    let mut taken = BTreeSet::new();
    for manifest in manifests {
        let text =
            |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).map(str::to_owned);
        let Some(name) = text(&manifest.value, "/metadata/name") else { continue };
        let kind = text(&manifest.value, "/kind");
        let namespace = text(&manifest.value, "/metadata/namespace");
        let names = (1_usize..).map(|number| match number {
            1 => name.clone(),
            number => format!("{name}-{number}"),
        });
        let mut free = names
            .skip_while(|name| taken.contains(&(kind.clone(), namespace.clone(), name.clone())));
        let Some(own) = free.next() else { continue };
        for at in ["/metadata/name", "/spec/pluginName"] {
            if let Some(place) = manifest.value.pointer_mut(at) {
                *place = Value::String(own.clone());
            }
        }
        taken.insert((kind, namespace, own));
    }
}

/// The remaining steps after printing.
fn advise_what_is_next(has_url: bool, closes: bool, notes: &mut Notes) {
    if !has_url {
        notes.advice("url", format!("`{PLACEHOLDER}` is a placeholder: give your own by `--url`"));
    }
    notes.advice(
        "to set",
        "`sha256`, which pins what is fetched; `priority`, where other plugins have the same phase; and in the \
         pluginConfig what docs/security-model.md lists (What to set), such as `identityHeaders.strip` for each \
         header that your services believe",
    );
    let apply = if closes {
        "apply all that is printed, the policies `..-http-only` too, and keep these; "
    } else {
        ""
    };
    notes.advice(
        "then",
        format!(
            "{apply}delete the manifests that were converted once the plugins run, but keep those that the \
             notes above say to keep: behind a plugin a RequestAuthentication finds no token, and its policies no \
             identity"
        ),
    );
}
