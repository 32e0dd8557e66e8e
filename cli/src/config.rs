//! A pluginConfig, bare or out of a manifest, judged by the very code that runs in the filter.

use anyhow::bail;
use usher::Policy;
use usher::config::reader::{InvalidConfig, Problems};

use crate::manifest::PluginConfig;
use crate::report::{Problem, Severity};
use crate::{input, manifest};

/// The one configuration of a file, or what is wrong with it.
///
/// # Errors
/// The file cannot be read, or holds no configuration, or several.
pub(crate) fn load(file: &str) -> anyhow::Result<Result<Policy, Vec<Problem>>> {
    let text = input::text(file)?;
    let documents = match input::documents(&text) {
        Ok(documents) => documents,
        Err(unreadable) => return Ok(Err(vec![Problem::unreadable(file, unreadable)])),
    };
    let mut policies = Vec::new();
    let mut invalid = Vec::new();
    for (number, document) in documents.iter().enumerate() {
        let problems = Problems::default();
        for config in configs(document, &problems).configs {
            policies.extend(read(&config, &problems));
        }
        if !problems.is_valid() {
            let mut found = Problem::all(file, number, document, problems);
            found.retain(|problem| problem.severity == Severity::Error);
            invalid.extend(found);
        }
    }
    if !invalid.is_empty() {
        return Ok(Err(invalid));
    }
    match policies.pop() {
        Some(policy) if policies.is_empty() => Ok(Ok(policy)),
        Some(_) => bail!("`{file}` holds {} configurations, expected one", policies.len() + 1),
        None => bail!("`{file}` holds no configuration of Usher"),
    }
}

/// The configurations of a document: itself, or those in the manifest that it is.
pub(crate) fn configs(document: &input::Document, problems: &Problems) -> manifest::Checked {
    if manifest::is_manifest(&document.value) {
        return manifest::check(&document.value, problems);
    }
    let bare = PluginConfig { at: String::new(), value: document.value.clone() };
    manifest::Checked { count: 1, configs: vec![bare] }
}

/// Reads a configuration; what is wrong is noted with its path in the document.
pub(crate) fn read(config: &PluginConfig, problems: &Problems) -> Option<Policy> {
    let path = |InvalidConfig { at, problem }: InvalidConfig| {
        let path = match (config.at.as_str(), at.as_str()) {
            ("", _) => at,
            (prefix, "") => prefix.to_owned(),
            (prefix, at) if at.starts_with('[') => format!("{prefix}{at}"),
            (prefix, at) => format!("{prefix}.{at}"),
        };
        (path, problem)
    };
    match Policy::from_value(&config.value) {
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
