//! `usher diff`: how two configurations differ in meaning, not in spelling; and which recorded requests
//! would be decided differently.

mod meaning;
mod replay;

use std::io::Write;

use clap::Args;
use serde_json::json;

use super::Format;
use crate::style::{BAD, GOOD, one_line};
use crate::{Exit, config, report, style};

/// Compares two configurations by meaning
///
/// Exit status 0: they mean the same, 2: they do not. With --requests it also prints which recorded
/// requests would be decided differently.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The old configuration
    #[arg(value_name = "A")]
    before: String,
    /// The new configuration
    #[arg(value_name = "B")]
    after: String,
    /// Recorded decisions, lines of the decision log (also with Envoy's prefix); `-` for standard input
    #[arg(long, value_name = "LOG")]
    requests: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut loaded = Vec::new();
    for file in [&arguments.before, &arguments.after] {
        match config::load(file)? {
            Ok(config) => loaded.push(config),
            Err(problems) => {
                report::write(&problems, arguments.format, out, &mut style::stderr())?;
                return Ok(Exit::Invalid);
            }
        }
    }
    let [before, after] = loaded.as_slice() else {
        anyhow::bail!("expected two configurations");
    };
    let [was, is] =
        [before, after].map(|it| (&it.source.config.value, it.policy.settings.missing_token));
    let changes = meaning::changes(was, is);
    for change in &changes {
        match arguments.format {
            Format::Json => {
                let (at, removed, added) = (&change.at, &change.removed, &change.added);
                let line = json!({ "at": at, "removed": removed, "added": added, "effect": change.effect });
                writeln!(out, "{line}")?;
            }
            Format::Text => {
                let effect = change.effect.map(|effect| format!(" ({effect})"));
                writeln!(out, "{}:{}", one_line(&change.at), effect.unwrap_or_default())?;
                for text in &change.removed {
                    writeln!(out, "  {BAD}- {}{BAD:#}", one_line(text))?;
                }
                for text in &change.added {
                    writeln!(out, "  {GOOD}+ {}{GOOD:#}", one_line(text))?;
                }
            }
        }
    }
    let mut same = changes.is_empty();
    if let Some(log) = &arguments.requests {
        same &= replay::run(log, before, after, arguments.format, out)?;
    }
    Ok(if same { Exit::Yes } else { Exit::No })
}
