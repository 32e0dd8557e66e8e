//! A pluginConfig, by itself or in a manifest, checked by the very code that runs in the filter.

use anyhow::bail;
use usher_core::codec::json::Value;
use usher_core::codec::problems::{InvalidConfig, Problems};
use usher_core::{Compiled, load};

use crate::input::{Document, Mark};
use crate::manifest::{PluginConfig, Waypoints};
use crate::report::{Problem, Severity};
use crate::{envoy, input, manifest};

/// The one configuration of a file, and the places of its parts.
pub(crate) struct Source {
    file: String,
    number: usize,
    document: Document,
    /// The configuration as written.
    pub(crate) config: PluginConfig,
}

/// A loaded configuration.
pub(crate) struct Loaded {
    /// The compiled configuration.
    pub(crate) policy: Compiled,
    /// Its source.
    pub(crate) source: Source,
}

/// The one configuration of a file, or its problems.
///
/// # Errors
/// The file cannot be read, or has no configuration, or several.
pub(crate) fn load(file: &str) -> anyhow::Result<Result<Loaded, Vec<Problem>>> {
    let source = match find(file)? {
        Ok(source) => source,
        Err(problems) => return Ok(Err(problems)),
    };
    Ok(match source.read() {
        Ok(policy) => Ok(Loaded { policy, source }),
        Err(problems) => Err(problems),
    })
}

/// The one configuration of a file as written, or the problems of the manifests around it.
///
/// # Errors
/// The file cannot be read, or has no configuration, or several.
pub(crate) fn find(file: &str) -> anyhow::Result<Result<Source, Vec<Problem>>> {
    let text = input::text(file)?;
    let documents = match input::documents(&text) {
        Ok(documents) => documents,
        Err(unreadable) => return Ok(Err(vec![Problem::unreadable(file, unreadable)])),
    };
    let waypoints = Waypoints::of(documents.iter().map(|document| &document.value));
    let mut sources = Vec::new();
    let mut invalid = Vec::new();
    let mut istios = false;
    for (number, document) in documents.into_iter().enumerate() {
        let problems = Problems::default();
        let manifest::Checked { configs: found, resources, .. } =
            configs(&document, &waypoints, &problems);
        istios |= !resources.is_empty();
        if !problems.is_valid() {
            // The problems of the configurations belong in the same list.
            for config in &found {
                read(config, &problems);
            }
            invalid.extend(errors(file, number, &document, problems));
        }
        sources.extend(found.into_iter().map(|config| {
            let (file, document) = (file.to_owned(), document.clone());
            Source { file, number, document, config }
        }));
    }
    if !invalid.is_empty() {
        return Ok(Err(invalid));
    }
    match sources.pop() {
        Some(source) if sources.is_empty() => Ok(Ok(source)),
        Some(_) => bail!("`{file}` holds {} configurations, expected one", sources.len() + 1),
        None if istios => bail!(
            "`{file}` holds no configuration of Usher, but manifests of Istio: `usher convert` makes one of them"
        ),
        None => bail!("`{file}` holds no configuration of Usher"),
    }
}

impl Source {
    /// A configuration in a document of another kind.
    pub(crate) fn inline(file: &str, document: &Document, config: PluginConfig) -> Self {
        Self { file: file.to_owned(), number: 0, document: document.clone(), config }
    }

    /// The policy, or its problems.
    pub(crate) fn read(&self) -> Result<Compiled, Vec<Problem>> {
        let problems = Problems::default();
        match read(&self.config, &problems) {
            Some(policy) => Ok(policy),
            None => Err(errors(&self.file, self.number, &self.document, problems)),
        }
    }

    /// Line and column of a path of the configuration.
    pub(crate) fn mark(&self, path: &str) -> Option<Mark> {
        self.document.locate(&below(&self.config.at, path))
    }

    /// The manifest that contains the configuration; the configuration itself if there is no manifest.
    pub(crate) fn manifest(&self) -> &Value {
        manifest_of(&self.config, &self.document.value)
    }

    /// The file's name as given.
    pub(crate) fn file(&self) -> &str {
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

fn errors(file: &str, number: usize, document: &Document, problems: Problems) -> Vec<Problem> {
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

/// Reads a configuration; its problems are recorded with their paths in the document.
pub(crate) fn read(config: &PluginConfig, problems: &Problems) -> Option<Compiled> {
    let path = |InvalidConfig { at, problem }: InvalidConfig| (below(&config.at, &at), problem);
    match load::from_value(&config.value) {
        Ok(loaded) => {
            for warning in loaded.warnings {
                let (at, problem) = path(warning);
                problems.warning(at, problem);
            }
            Some(loaded.policy)
        }
        Err(errors) => {
            for error in errors {
                let (at, problem) = path(error);
                problems.error(at, problem);
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
