//! `usher explain`: the decision on a request and its reasons, by the code that runs in the filter.
//!
//! One request by flags or as a curl command, explained as text or as JSON; or a file of requests,
//! one decision a line.

mod flags;

use std::io::Write;

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::json;
use usher_core::time::UnixSeconds;
use usher_verbs::answer::Answer;
use usher_verbs::config::Loaded;
use usher_verbs::explain::{Again, Explanation, Missing, Nearest, Session, again, explain};
use usher_verbs::load;
use usher_verbs::request;

use super::{Format, clock, time};
use crate::style::{BAD, FAINT, GOOD, one_line};
use crate::{Exit, read, report, style};
use flags::Flags;

/// Explains the decision on a request
///
/// Exit status 0: allowed, 2: denied; with --requests 0 once all are answered.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The configuration: a pluginConfig, or a manifest that holds one; `-` for standard input
    #[arg(value_name = "F", required_unless_present = "config")]
    file: Option<String>,
    /// The same
    #[arg(long, value_name = "F", conflicts_with = "file")]
    config: Option<String>,
    /// Of several configurations in the file, the one of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The time of the request, in seconds since 1970 or as RFC 3339; default: the clock
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<UnixSeconds>,
    /// Requests as JSON objects, one a line; `-` for standard input
    #[arg(long, value_name = "R.jsonl", conflicts_with_all = ["Flags"])]
    requests: Option<String>,
    /// A line of the decision log: its exemptions and policies are evaluated again; `-` for standard input
    #[arg(long, value_name = "LINE", conflicts_with_all = ["Flags", "requests"])]
    log: Option<String>,
    #[command(flatten)]
    request: Flags,
    /// Also print for every rule whether it matches, and why not
    #[arg(long)]
    rules: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let name = arguments.file.as_ref().or(arguments.config.as_ref());
    let name = name.context("expected a configuration")?;
    let loaded = match load::load(&read::file(name)?, arguments.name.as_deref())? {
        Ok(loaded) => loaded,
        Err(problems) => {
            report::write(&problems, arguments.format, out, &mut style::stderr())?;
            return Ok(Exit::Invalid);
        }
    };
    report::converted(&loaded.source, &mut style::stderr())?;
    let now = arguments.now.unwrap_or_else(clock);
    if let Some(name) = &arguments.requests {
        explain_all(name, &loaded, now, arguments.format, out)?;
        return Ok(Exit::Yes);
    }
    if let Some(line) = &arguments.log {
        return explain_again(line, &loaded, arguments, out);
    }
    let explained = explain(&loaded, &arguments.request.request()?, now);
    let is_allowed = explained.answer.decision == "allow";
    match arguments.format {
        Format::Json => {
            let Explanation { mut answer, place, nearest, missing, .. } = explained;
            answer.steps.extend(place.map(|place| format!("place: {place}")));
            answer.steps.extend(nearest.iter().map(|nearest| format!("nearest: {nearest}")));
            answer.steps.extend(missing.iter().map(|missing| format!("missing: {missing}")));
            let answer = Explained { answer, nearest, missing };
            writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        }
        Format::Text => {
            text(&explained, out)?;
            if arguments.rules {
                for rule in &explained.rules {
                    writeln!(out, "{}", one_line(rule))?;
                }
            }
        }
    }
    Ok(if is_allowed { Exit::Yes } else { Exit::No })
}

/// Decides a line of the decision log again.
fn explain_again(
    line: &str,
    loaded: &Loaded,
    arguments: &Arguments,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    let line = if line == "-" { read::text("-")? } else { line.to_owned() };
    let Again { recorded, outcome, why, nearest, missing, rules } =
        again(loaded, &line).context("--log")?;
    match arguments.format {
        Format::Json => writeln!(
            out,
            "{}",
            json!({ "recorded": recorded, "now": outcome, "why": why, "nearest": nearest, "missing": missing })
        )?,
        Format::Text => {
            let style = if outcome == "allow" { GOOD } else { BAD };
            writeln!(out, "{style}{}{style:#}", one_line(&outcome))?;
            let mut fact = |name: &str, value: Option<&str>| fact(out, name, value);
            fact("recorded", Some(&recorded))?;
            fact("why", Some(&why))?;
            fact("nearest", nearest.map(|nearest| nearest.to_string()).as_deref())?;
            fact("missing", missing.map(|missing| missing.to_string()).as_deref())?;
            for rule in rules.iter().filter(|_| arguments.rules) {
                writeln!(out, "{}", one_line(rule))?;
            }
        }
    }
    Ok(if outcome == "allow" { Exit::Yes } else { Exit::No })
}

/// An answer with what explains a denial.
#[derive(Serialize)]
struct Explained {
    #[serde(flatten)]
    answer: Answer,
    #[serde(skip_serializing_if = "Option::is_none")]
    nearest: Option<Nearest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    missing: Option<Missing>,
}

fn explain_all(
    name: &str,
    loaded: &Loaded,
    now: UnixSeconds,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut session = Session::new(loaded);
    for (number, line) in read::lines(name)?.enumerate() {
        let place = || format!("{name}:{}", number.saturating_add(1));
        let line = line.with_context(place)?;
        if line.trim().is_empty() {
            continue;
        }
        let answer = session.decide(&request::from_line(&line).with_context(place)?, now);
        match format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(&answer)?)?,
            Format::Text => {
                let path = answer.path.as_deref().unwrap_or_default();
                writeln!(out, "{} {}", answer.headline(), one_line(path))?;
            }
        }
    }
    Ok(())
}

/// `name: value` in a line, if there is a value.
fn fact(out: &mut dyn Write, name: &str, value: Option<&str>) -> std::io::Result<()> {
    match value {
        Some(value) => writeln!(out, "{FAINT}{}:{FAINT:#} {}", one_line(name), one_line(value)),
        None => Ok(()),
    }
}

/// The whole answer as text: the decision, its steps, and what it does to the request.
fn text(explained: &Explanation, out: &mut dyn Write) -> std::io::Result<()> {
    let Explanation { answer, place, nearest, missing, .. } = explained;
    let style = if answer.decision == "allow" { GOOD } else { BAD };
    writeln!(out, "{style}{}{style:#}", answer.headline())?;
    let mut fact = |name: &str, value: Option<&str>| fact(out, name, value);
    for step in &answer.steps {
        fact("step", Some(step))?;
    }
    fact("nearest", nearest.as_ref().map(ToString::to_string).as_deref())?;
    fact("missing", missing.as_ref().map(ToString::to_string).as_deref())?;
    fact("place", place.as_deref())?;
    fact("provider", answer.provider.as_deref())?;
    fact("policy", answer.policy.as_deref())?;
    fact("rule", answer.rule.map(|rule| rule.to_string()).as_deref())?;
    fact("matched", answer.matched.as_deref())?;
    fact("audit", answer.audit.map(|audit| audit.to_string()).as_deref())?;
    fact("path", answer.path.as_deref())?;
    for (name, value) in &answer.set {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        fact("set", Some(&format!("{name}: {value}")))?;
    }
    for name in &answer.remove {
        fact("remove", Some(name))?;
    }
    fact("body", answer.body.as_deref())?;
    fact("challenge", answer.challenge.as_deref())
}
