//! A pluginConfig, by itself or in a manifest, checked by the very code that runs in the filter.

use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;
use usher_core::{Compiled, load};

use crate::input::{Document, Mark};
use crate::manifest::{PluginConfig, Waypoints};
use crate::report::{Problem, Severity};
use crate::{envoy, input, manifest};

/// The one configuration of a file, and the places of its parts.
#[derive(Clone, Debug)]
pub struct Source {
    pub(crate) file: String,
    /// The document's number in the file, from 0.
    pub(crate) number: usize,
    pub(crate) document: Document,
    /// The configuration as written.
    pub(crate) config: PluginConfig,
    pub(crate) converted: bool,
}

/// A loaded configuration.
#[derive(Debug)]
pub struct Loaded {
    /// The compiled configuration.
    pub policy: Compiled,
    /// Its source.
    pub source: Source,
}

impl Source {
    /// A configuration in a document of another kind.
    pub(crate) fn inline(file: &str, document: &Document, config: PluginConfig) -> Self {
        Self {
            file: file.to_owned(),
            number: 0,
            document: document.clone(),
            config,
            converted: false,
        }
    }

    /// The policy, or its problems.
    ///
    /// # Errors
    /// All of them, each with its place.
    pub fn read(&self) -> Result<Compiled, Vec<Problem>> {
        let problems = Problems::default();
        match read(&self.config, &problems) {
            Some(policy) => Ok(policy),
            None => Err(errors(&self.file, self.number, &self.document, problems)),
        }
    }

    /// Whether it was made of Istio's manifests or Envoy's filters.
    pub fn is_converted(&self) -> bool {
        self.converted
    }

    /// `namespace/name` of its manifest, the names of its filter in an Envoy configuration, else its document's number.
    pub fn name(&self) -> String {
        if let Some(filter) = &self.config.filter {
            let (name, root_id) = &filter.names;
            return if name == root_id { name.clone() } else { format!("{name}/{root_id}") };
        }
        let metadata = self.manifest().get("metadata");
        let text = |name: &str| metadata?.get(name)?.as_str();
        match text("name") {
            Some(name) => format!("{}/{name}", text("namespace").unwrap_or("default")),
            None => format!("#{}", self.number.saturating_add(1)),
        }
    }

    /// The configuration as written.
    pub fn value(&self) -> &Value {
        &self.config.value
    }

    /// Line and column of a path of the configuration.
    pub fn mark(&self, path: &str) -> Option<Mark> {
        self.document.locate(&below(&self.config.at, path))
    }

    /// The manifest that contains the configuration; the configuration itself if there is no manifest.
    pub fn manifest(&self) -> &Value {
        manifest_of(&self.config, &self.document.value)
    }

    /// The file's name as given.
    pub fn file(&self) -> &str {
        &self.file
    }
}

/// The manifest in a document that contains a configuration; the document if there is no manifest.
pub(crate) fn manifest_of<'d>(config: &PluginConfig, document: &'d Value) -> &'d Value {
    let at = config.at.strip_suffix("pluginConfig").unwrap_or_default();
    let pieces = at.strip_suffix("spec.").or(at.strip_suffix("spec.wasm.")).unwrap_or_default();
    let pieces = pieces.split(['.', '[', ']']).filter(|piece| !piece.is_empty());
    pieces.into_iter().fold(document, |value, piece| {
        let inner = match piece.parse::<usize>() {
            Ok(index) => value.get(index),
            Err(_) => value.get(piece),
        };
        inner.unwrap_or(value)
    })
}

/// The errors of a document, without its warnings.
pub(crate) fn errors(
    file: &str,
    number: usize,
    document: &Document,
    problems: Problems,
) -> Vec<Problem> {
    let mut found = Problem::all(file, number, document, problems);
    found.retain(|problem| problem.severity == Severity::Error);
    found
}

/// The configurations of a document: itself, or those in the manifest or Envoy configuration that it is.
pub(crate) fn configs(
    document: &input::Document,
    waypoints: &Waypoints,
    problems: &Problems,
) -> manifest::Checked {
    if manifest::is_manifest(&document.value) {
        return manifest::check(&document.value, waypoints, problems);
    }
    if envoy::is_envoy(&document.value) {
        let configs = envoy::configs(&document.value, problems);
        return manifest::Checked { count: configs.len(), configs, resources: Vec::new() };
    }
    let bare = PluginConfig::new("", document.value.clone());
    manifest::Checked { count: 1, configs: vec![bare], resources: Vec::new() }
}

/// Whether a document is a manifest, an Envoy configuration, or has a field of a pluginConfig.
pub(crate) fn is_recognized(document: &input::Document) -> bool {
    let value = &document.value;
    manifest::is_manifest(value)
        || envoy::is_envoy(value)
        || value.as_object().is_some_and(|members| manifest::speaks_usher(members, &[]))
}

/// Reads a configuration; its problems are recorded with their paths in the document.
pub(crate) fn read(config: &PluginConfig, problems: &Problems) -> Option<Compiled> {
    let path = |at: &str| below(&config.at, at);
    match load::from_value(&config.value) {
        Ok(loaded) => {
            for warning in loaded.warnings {
                problems.warning(warning.code, path(&warning.at), warning.problem);
            }
            Some(loaded.policy)
        }
        Err(errors) => {
            for error in errors {
                problems.error(path(&error.at), error.problem);
            }
            None
        }
    }
}

/// A path below another.
pub(crate) fn below(prefix: &str, path: &str) -> String {
    match (prefix, path) {
        ("", path) => path.to_owned(),
        (prefix, "") => prefix.to_owned(),
        (prefix, path) if path.starts_with('[') => format!("{prefix}{path}"),
        (prefix, path) => format!("{prefix}.{path}"),
    }
}
