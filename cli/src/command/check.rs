//! `usher check`: every problem of every file at once, with its place.

use std::io::Write;

use anyhow::bail;
use clap::{Args, ValueEnum};
use serde_json::json;
use usher_verbs::check::{self, Accepted, Checked};
use usher_verbs::input::File;
use usher_verbs::report::Problem;

use super::{Format, clock};
use crate::{Exit, read, report, style};

/// Validates configurations and manifests; silent when they are good
///
/// A file holds one or more YAML documents, or JSON: a pluginConfig, or manifests (WasmPlugin,
/// TrafficExtension, RequestAuthentication, AuthorizationPolicy), or an Envoy configuration with filters
/// of Usher in it. In a manifest it refuses all that Istio's own validation refuses. Warnings are about
/// valid but dangerous settings.
#[derive(Args)]
pub(crate) struct Arguments {
    /// YAML or JSON files, or folders of them; `-` for standard input
    #[arg(required = true, value_name = "F")]
    files: Vec<String>,
    /// Fail on warnings, with exit status 2
    #[arg(long)]
    strict: bool,
    /// Also print which requests pass without a token
    #[arg(long)]
    summary: bool,
    /// Accept the warnings that this file lists: `- {code: no-kid, reason: .., file: F, path: P}`
    #[arg(long, value_name = "FILE")]
    allow: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: CheckFormat,
}

/// How problems are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum CheckFormat {
    /// For people
    #[default]
    Text,
    /// For scripts: one JSON document a line
    Json,
    /// Annotations of GitHub Actions
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let (mut files, mut unread) = (Vec::new(), None);
    for name in read::names(&arguments.files)? {
        match read::file(&name) {
            Ok(file) => files.push(File { named: arguments.files.contains(&name), ..file }),
            // The other files are still worth checking.
            Err(error) => unread = unread.or(Some(error)),
        }
    }
    let accepted = match &arguments.allow {
        Some(name) => Accepted::read(&read::file(name)?),
        None => Ok(Accepted::default()),
    };
    let accepted = match accepted {
        Ok(accepted) => accepted,
        Err(problems) => {
            write(&problems, arguments.format, out)?;
            return Ok(Exit::CouldNotRun);
        }
    };
    let checked = check::check(&files, accepted, clock());
    if arguments.summary {
        write_summary(&checked, arguments.format, out)?;
    }
    write(&checked.problems, arguments.format, out)?;
    if let Some(error) = unread {
        return Err(error);
    }
    if !checked.is_valid() {
        return Ok(Exit::Invalid);
    }
    if arguments.strict && !checked.problems.is_empty() {
        return Ok(Exit::No);
    }
    if checked.count == 0 {
        bail!("nothing to check: no configuration and no manifest of a kind that is checked");
    }
    Ok(Exit::Yes)
}

fn write(problems: &[Problem], format: CheckFormat, out: &mut dyn Write) -> anyhow::Result<()> {
    match format {
        CheckFormat::Text => report::write(problems, Format::Text, out, &mut style::stderr())?,
        CheckFormat::Json => report::write(problems, Format::Json, out, &mut style::stderr())?,
        CheckFormat::Github => report::github(problems, out)?,
        CheckFormat::Sarif => report::sarif(problems, out)?,
    }
    Ok(())
}

/// Writes who is let in without a token, for each valid configuration.
fn write_summary(
    checked: &Checked,
    format: CheckFormat,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    for summary in &checked.summaries {
        let (file, path, lines) = (&summary.file, &summary.path, &summary.lines);
        if format == CheckFormat::Json {
            let line = json!({ "file": file, "path": path, "without_token": lines });
            writeln!(out, "{line}")?;
            continue;
        }
        let place = [file.as_str(), path].join(if path.is_empty() { "" } else { ": " });
        writeln!(out, "{place}: who gets in without a token")?;
        for line in lines {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(())
}
