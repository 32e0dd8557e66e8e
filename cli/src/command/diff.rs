//! `usher diff`: how two configurations differ in meaning, and which recorded requests would be decided differently.

use std::io::Write;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use usher_verbs::config::Loaded;
use usher_verbs::diff::{self, Change, Replay};
use usher_verbs::load;

use super::Format;
use crate::style::{BAD, FAINT, GOOD, one_line};
use crate::{Exit, read, report, style};

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
    /// Of several configurations in a file, the one of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Recorded decisions, lines of the decision log (also with Envoy's prefix); `-` for standard input
    #[arg(long, value_name = "LOG")]
    requests: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut loaded = Vec::new();
    for file in [&arguments.before, &arguments.after] {
        match load::load(&read::file(file)?, arguments.name.as_deref())? {
            Ok(config) => {
                report::converted(&config.source, &mut style::stderr())?;
                loaded.push(config);
            }
            Err(problems) => {
                report::write(&problems, arguments.format, out, &mut style::stderr())?;
                return Ok(Exit::Invalid);
            }
        }
    }
    let [before, after] = loaded.as_slice() else {
        anyhow::bail!("expected two configurations");
    };
    let changes = diff::changes(before, after);
    for change in &changes {
        write(change, arguments.format, out)?;
    }
    let mut same = changes.is_empty();
    if let Some(log) = &arguments.requests {
        same &= replay(log, before, after, arguments.format, out)?;
    }
    Ok(if same { Exit::Yes } else { Exit::No })
}

fn write(change: &Change, format: Format, out: &mut dyn Write) -> std::io::Result<()> {
    match format {
        Format::Json => {
            let (at, removed, added) = (&change.at, &change.removed, &change.added);
            let line =
                json!({ "at": at, "removed": removed, "added": added, "effect": change.effect });
            writeln!(out, "{line}")
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
            Ok(())
        }
    }
}

/// Decides each recorded line by both; returns whether all results are the same.
fn replay(
    log: &str,
    before: &Loaded,
    after: &Loaded,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    let mut replay = Replay::new(before, after);
    for (number, line) in read::lines(log)?.enumerate() {
        let number = number.saturating_add(1);
        let place = || format!("{log}:{number}");
        let Some(different) = replay.line(&line.with_context(place)?).with_context(place)? else {
            continue;
        };
        let (was, is, why) = (&different.before, &different.after, &different.why);
        match format {
            Format::Json => {
                let request = &different.request;
                let line = json!({ "line": number, "request": request, "before": was, "after": is, "why": why });
                writeln!(out, "{line}")?;
            }
            Format::Text => {
                writeln!(out, "{}: {}: {was} -> {is}", place(), one_line(&different.request))?;
                writeln!(out, "    {FAINT}{}{FAINT:#}", one_line(why))?;
            }
        }
    }
    summary(&replay, format, out)?;
    Ok(replay.different == 0)
}

fn summary(replay: &Replay<'_>, format: Format, out: &mut dyn Write) -> std::io::Result<()> {
    let Replay { judged, different, unfit, .. } = replay;
    if format == Format::Json {
        let line = json!({ "judged": judged, "different": different, "not_judged": unfit });
        return writeln!(out, "{line}");
    }
    writeln!(out, "{different} of {judged} recorded requests would be decided differently")?;
    if *unfit > 0 {
        writeln!(out, "{unfit} lines are not about policies and were left out")?;
    }
    let missing = replay.missing();
    if !missing.is_empty() {
        writeln!(
            out,
            "rules ask for {}, which the lines do not hold: those answers are a guess (claims can be \
             logged, see `decisionLog.claims`)",
            missing.join(", ")
        )?;
    }
    Ok(())
}
