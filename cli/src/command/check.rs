//! `usher check`: every problem of every file at once, with its place.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use usher::config::reader::Problems;

use super::Format;
use crate::report::{self, Problem, Severity};
use crate::{Exit, config, input};

/// Validates configurations and manifests; silent when they are good
///
/// A file holds one or more YAML documents, or JSON: a pluginConfig, or manifests (WasmPlugin,
/// TrafficExtension, RequestAuthentication, AuthorizationPolicy). In a manifest all is refused that
/// Istio's own validation refuses.
#[derive(Args)]
pub(crate) struct Arguments {
    /// YAML or JSON files, `-` for standard input
    #[arg(required = true, value_name = "F")]
    files: Vec<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut problems = Vec::new();
    let mut checked = 0_usize;
    let mut unread = None;
    for file in &arguments.files {
        match input::text(file) {
            Ok(text) => checked = checked.saturating_add(check_text(file, &text, &mut problems)),
            // The other files are still worth an answer.
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    report::write(&problems, arguments.format, out, &mut std::io::stderr().lock())?;
    if let Some(error) = unread {
        return Err(error);
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Ok(Exit::Invalid);
    }
    if checked == 0 {
        bail!("nothing to check: no configuration and no manifest of a kind that is checked");
    }
    Ok(Exit::Yes)
}

/// Notes every problem of a text; answers how many documents were judged.
fn check_text(file: &str, text: &str, found: &mut Vec<Problem>) -> usize {
    let documents = match input::documents(text) {
        Ok(documents) => documents,
        Err(unreadable) => {
            found.push(Problem::unreadable(file, unreadable));
            return 1;
        }
    };
    let mut checked = 0_usize;
    for (number, document) in documents.iter().enumerate() {
        let problems = Problems::default();
        let judged = config::configs(document, &problems);
        for plugin_config in &judged.configs {
            config::read(plugin_config, &problems);
        }
        checked = checked.saturating_add(judged.count);
        found.extend(Problem::all(file, number, document, problems));
    }
    checked
}
