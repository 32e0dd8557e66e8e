//! `usher check`: every problem of every file at once, with its place.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use usher::config::reader::Problems;

use super::{Format, clock};
use crate::report::{self, Problem, Severity};
use crate::{Exit, config, input, lint, style};

/// Validates configurations and manifests; silent when they are good
///
/// A file holds one or more YAML documents, or JSON: a pluginConfig, or manifests (WasmPlugin,
/// TrafficExtension, RequestAuthentication, AuthorizationPolicy). In a manifest all is refused that
/// Istio's own validation refuses. Warnings are about what is legal and dangerous.
#[derive(Args)]
pub(crate) struct Arguments {
    /// YAML or JSON files, `-` for standard input
    #[arg(required = true, value_name = "F")]
    files: Vec<String>,
    /// Let warnings fail, with exit status 2
    #[arg(long)]
    strict: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut problems = Vec::new();
    let mut checked = 0_usize;
    let mut unread = None;
    for file in &arguments.files {
        match input::text(file) {
            Ok(text) => {
                checked = checked.saturating_add(check_text(file, &text, clock(), &mut problems))
            }
            // The other files are still worth an answer.
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    report::write(&problems, arguments.format, out, &mut style::stderr())?;
    if let Some(error) = unread {
        return Err(error);
    }
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Ok(Exit::Invalid);
    }
    if arguments.strict && !problems.is_empty() {
        return Ok(Exit::No);
    }
    if checked == 0 {
        bail!("nothing to check: no configuration and no manifest of a kind that is checked");
    }
    Ok(Exit::Yes)
}

/// Notes every problem of a text; answers how many documents were judged.
fn check_text(file: &str, text: &str, now: u64, found: &mut Vec<Problem>) -> usize {
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
            if config::read(plugin_config, &problems).is_some() {
                lint::plugin_config(plugin_config, now, &problems);
            }
        }
        if problems.is_valid() {
            for resource in &judged.resources {
                let at = config::below(&resource.at, "spec");
                if resource.kind == "AuthorizationPolicy" {
                    lint::authorization_policy(&resource.spec, &at, &problems);
                } else {
                    lint::request_authentication(&resource.spec, &at, now, &problems);
                }
            }
        }
        checked = checked.saturating_add(judged.count);
        found.extend(Problem::all(file, number, document, problems));
    }
    checked
}
