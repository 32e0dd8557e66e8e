//! `usher check`: every problem of every file at once, with its place.

use std::io::Write;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use usher_core::Compiled;
use usher_core::codec::problems::Problems;

use super::{Format, clock};
use crate::input::Document;
use crate::lint::earlier::{self, Input, Plugin};
use crate::lint::no_token;
use crate::manifest::{PluginConfig, Waypoints};
use crate::report::{self, Problem, Severity};
use crate::{Exit, config, input, lint, manifest, style};

/// Validates configurations and manifests; silent when they are good
///
/// A file holds one or more YAML documents, or JSON: a pluginConfig, or manifests (WasmPlugin,
/// TrafficExtension, RequestAuthentication, AuthorizationPolicy), or an Envoy configuration with filters
/// of Usher in it. In a manifest it refuses all that Istio's own validation refuses. Warnings are about
/// valid but dangerous settings.
#[derive(Args)]
pub(crate) struct Arguments {
    /// YAML or JSON files, `-` for standard input
    #[arg(required = true, value_name = "F")]
    files: Vec<String>,
    /// Fail on warnings, with exit status 2
    #[arg(long)]
    strict: bool,
    /// Also print which requests pass without a token
    #[arg(long)]
    summary: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut problems = Vec::new();
    let mut checked = 0_usize;
    let mut unread = None;
    let mut read = Vec::new();
    for file in &arguments.files {
        match input::text(file) {
            Ok(text) => match input::documents(&text) {
                Ok(documents) => {
                    let numbered = documents.into_iter().enumerate();
                    read.extend(numbered.map(|(number, document)| (file, number, document)));
                }
                Err(unreadable) => {
                    problems.push(Problem::unreadable(file, unreadable));
                    checked = checked.saturating_add(1);
                }
            },
            // The other files are still worth checking.
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    let waypoints = Waypoints::of(read.iter().map(|(_, _, document)| &document.value));
    let judged = read.into_iter().map(|(file, number, document): (&String, usize, Document)| {
        Checked::of(file, number, document, &waypoints)
    });
    let all: Vec<Checked<'_>> = judged.collect();
    check_together(&all);
    if arguments.summary {
        write_summary(&all, arguments.format, out)?;
    }
    for document in all {
        checked = checked.saturating_add(document.judged.count);
        problems.extend(document.problems());
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

/// A document, checked by itself.
struct Checked<'f> {
    file: &'f str,
    number: usize,
    document: Document,
    problems: Problems,
    judged: manifest::Checked,
    /// The valid configurations in it, ready to decide.
    policies: Vec<Option<Compiled>>,
}

impl<'f> Checked<'f> {
    fn of(file: &'f str, number: usize, document: Document, waypoints: &Waypoints) -> Self {
        let (now, problems) = (clock(), Problems::default());
        let judged = config::configs(&document, waypoints, &problems);
        let policies: Vec<Option<Compiled>> =
            judged.configs.iter().map(|config| config::read(config, &problems)).collect();
        let pairs = judged.configs.iter().zip(&policies);
        let loaded: Vec<_> =
            pairs.filter_map(|(config, policy)| Some((config, policy.as_ref()?))).collect();
        for (plugin_config, policy) in &loaded {
            lint::plugin_config(plugin_config, policy, now, &problems);
        }
        lint::names(&loaded, &problems);
        if problems.is_valid() {
            for resource in &judged.resources {
                let at = config::below(&resource.at, "spec");
                if resource.kind == "AuthorizationPolicy" {
                    lint::authorization_policy(resource, &at, &problems);
                } else {
                    lint::request_authentication(&resource.spec, &at, now, &problems);
                }
            }
        }
        Self { file, number, document, problems, judged, policies }
    }

    /// The valid configurations, each with its compiled form.
    fn configs(&self) -> impl Iterator<Item = (&PluginConfig, &Compiled)> {
        let policies = self.judged.configs.iter().zip(&self.policies);
        policies.filter_map(|(config, policy)| Some((config, policy.as_ref()?)))
    }

    fn problems(self) -> Vec<Problem> {
        Problem::all(self.file, self.number, &self.document, self.problems)
    }
}

/// Records problems that only all documents together show.
fn check_together(all: &[Checked<'_>]) {
    let mut input = Input { plugins: Vec::new(), resources: Vec::new(), documents: Vec::new() };
    let mut owners = Vec::new();
    for checked in all {
        for (config, policy) in checked.configs() {
            let value = &checked.document.value;
            let manifest = manifest::is_manifest(value).then(|| config::manifest_of(config, value));
            input.plugins.push(Plugin { config, policy, manifest });
            owners.push(&checked.problems);
        }
        input.resources.extend(&checked.judged.resources);
        input.documents.push(&checked.document.value);
    }
    for (number, problems) in owners.into_iter().enumerate() {
        earlier::check(&input, number, problems);
    }
}

/// Writes who is let in without a token, for each valid configuration.
fn write_summary(all: &[Checked<'_>], format: Format, out: &mut dyn Write) -> std::io::Result<()> {
    for checked in all {
        for (config, policy) in checked.configs() {
            let lines = no_token::summary(config, policy);
            if format == Format::Json {
                let (file, path) = (checked.file, &config.at);
                let line = json!({ "file": file, "path": path, "without_token": lines });
                writeln!(out, "{line}")?;
                continue;
            }
            let place =
                [checked.file, &config.at].join(if config.at.is_empty() { "" } else { ": " });
            writeln!(out, "{place}: who gets in without a token")?;
            for line in lines {
                writeln!(out, "  {line}")?;
            }
        }
    }
    Ok(())
}
