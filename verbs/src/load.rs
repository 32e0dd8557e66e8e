//! The one configuration of a file, which a verb decides with.

use anyhow::bail;
use usher_core::codec::problems::{Problems, did_you_mean};

use crate::config::{self, Loaded, Source};
use crate::convert::{self, Manifest, Mesh, Notes, Weight};
use crate::input::{self, Document, File};
use crate::manifest::{self, PluginConfig, Waypoints};
use crate::report::Problem;

/// The configuration of a file, or its problems; `name`: which, if the file has several.
///
/// # Errors
/// The file has no configuration, or several and none of this name.
pub fn load(file: &File, name: Option<&str>) -> anyhow::Result<Result<Loaded, Vec<Problem>>> {
    let source = match find(file, name)? {
        Ok(source) => source,
        Err(problems) => return Ok(Err(problems)),
    };
    Ok(match source.read() {
        Ok(policy) => Ok(Loaded { policy, source }),
        Err(problems) => Err(problems),
    })
}

/// The configuration of a file as written, or the problems of the manifests around it. Istio's own manifests and Envoy's
/// filters are converted first.
///
/// # Errors
/// The file has no configuration, or several and none of this name; or the conversion would lose something.
pub fn find(file: &File, name: Option<&str>) -> anyhow::Result<Result<Source, Vec<Problem>>> {
    let documents = match input::documents(&file.text) {
        Ok(documents) => documents,
        Err(unreadable) => return Ok(Err(vec![Problem::unreadable(&file.name, unreadable)])),
    };
    let waypoints = Waypoints::of(documents.iter().map(|document| &document.value));
    let mut sources = Vec::new();
    let mut invalid = Vec::new();
    let mut is_istios = false;
    for (number, document) in documents.iter().enumerate() {
        let problems = Problems::default();
        let manifest::Checked { configs: found, resources, .. } =
            config::configs(document, &waypoints, &problems);
        is_istios |= !resources.is_empty();
        if !problems.is_valid() {
            // The problems of the configurations belong in the same list.
            for config in &found {
                config::read(config, &problems);
            }
            invalid.extend(config::errors(&file.name, number, document, problems));
        }
        sources.extend(found.into_iter().map(|config| {
            let (file, document) = (file.name.clone(), document.clone());
            Source { file, number, document, config, converted: false }
        }));
    }
    if !invalid.is_empty() {
        return Ok(Err(invalid));
    }
    let is_native =
        || is_istios || documents.iter().any(|document| convert::is_native(&document.value));
    if sources.is_empty() && is_native() {
        match converted(file, documents)? {
            Ok(found) => sources = found,
            Err(problems) => return Ok(Err(problems)),
        }
    }
    chosen(&file.name, sources, name).map(Ok)
}

/// The one of this name, or the only one.
fn chosen(file: &str, mut sources: Vec<Source>, name: Option<&str>) -> anyhow::Result<Source> {
    let names: Vec<String> = sources.iter().map(Source::name).collect();
    let listed = format!("`{}`", names.join("`, `"));
    if let Some(name) = name {
        sources.retain(|source| source.name() == name);
    }
    match (sources.len(), name) {
        (1, _) => Ok(sources.remove(0)),
        (0, Some(name)) if !names.is_empty() => {
            let hint = did_you_mean(name, names.iter().map(String::as_str));
            bail!("`{file}` holds no configuration `{name}`{hint}: there is {listed}")
        }
        (0, _) => bail!("`{file}` holds no configuration of Usher"),
        (_, Some(name)) => bail!("`{file}` holds several configurations `{name}`"),
        (several, None) => bail!(
            "`{file}` holds {several} configurations, expected one: choose by `--name` {listed}"
        ),
    }
}

/// The configurations that mean what these manifests or filters mean.
fn converted(
    file: &File,
    documents: Vec<Document>,
) -> anyhow::Result<Result<Vec<Source>, Vec<Problem>>> {
    let mut notes = Notes::default();
    let files = [(file.name.clone(), documents)];
    let manifests = match convert::to_usher(&files, Mesh::default(), &mut notes) {
        Ok(manifests) => manifests,
        Err(problems) => return Ok(Err(problems)),
    };
    let lost = notes.0.iter().filter(|note| note.weight == Weight::Lost);
    let lost: Vec<String> = lost.map(|note| format!("{}: {}", note.place, note.text)).collect();
    if !lost.is_empty() {
        bail!("`{}` cannot be converted wholly: {}", file.name, lost.join("; "));
    }
    let plugin = |(number, manifest): (usize, Manifest)| {
        let config = match manifest.value.pointer("/spec/pluginConfig") {
            Some(config) => PluginConfig::new("spec.pluginConfig", config.clone()),
            // A policy of Istio's own that stands beside.
            None if manifest::is_manifest(&manifest.value) => return None,
            None => PluginConfig::new("", manifest.value.clone()),
        };
        let document = Document::without_places(manifest.value);
        Some(Source { file: file.name.clone(), number, document, config, converted: true })
    };
    Ok(Ok(manifests.into_iter().enumerate().filter_map(plugin).collect()))
}
