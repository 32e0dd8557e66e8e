//! `usher explain`: the decision on a request and its reasons, by the code that runs in the filter.
//!
//! One request by flags or as a curl command, explained as text or as JSON; or a file of requests,
//! one decision a line.

mod missing;
mod place;

use std::io::{BufRead as _, Write};

use anyhow::Context as _;
use clap::Args;
use usher_core::decide::{Trace, WorkerState, decide};
use usher_core::time::UnixSeconds;

use super::{Format, clock};
use crate::answer::Answer;
use crate::config::Loaded;
use crate::request::Flags;
use crate::style::{BAD, FAINT, GOOD, one_line};
use crate::{Exit, config, report, request, style};

/// Explains the decision on a request
///
/// Exit status 0: allowed, 2: denied; with --requests 0 once all are answered.
#[derive(Args)]
pub(crate) struct Arguments {
    /// The configuration: a pluginConfig, or a manifest that holds one; `-` for standard input
    #[arg(long, value_name = "F")]
    config: String,
    /// The time of the request, in seconds since 1970; default: the clock
    #[arg(long, value_name = "UNIX")]
    now: Option<u64>,
    /// Requests as JSON objects, one a line; `-` for standard input
    #[arg(long, value_name = "R.jsonl", conflicts_with_all = ["Flags"])]
    requests: Option<String>,
    #[command(flatten)]
    request: Flags,
    /// Also print for every rule whether it matches, and why not
    #[arg(long)]
    rules: bool,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let loaded = match config::load(&arguments.config)? {
        Ok(loaded) => loaded,
        Err(problems) => {
            report::write(&problems, arguments.format, out, &mut style::stderr())?;
            return Ok(Exit::Invalid);
        }
    };
    let now = arguments.now.map_or_else(clock, UnixSeconds);
    let mut worker_state = WorkerState::portable();
    if let Some(name) = &arguments.requests {
        worker_state.trace = Trace::Steps;
        explain_all(name, &loaded, now, &mut worker_state, arguments.format, out)?;
        return Ok(Exit::Yes);
    }
    worker_state.trace = Trace::Rules;
    let request = arguments.request.request()?;
    let decision = decide(&loaded.policy, &request, now, &mut worker_state);
    let mut answer = Answer::new(&loaded.policy, &request, &decision);
    let placed = place::of(&decision, &loaded);
    let missing = missing::of(&decision, &request, now, &loaded);
    match arguments.format {
        Format::Json => {
            answer.steps.extend(placed.map(|place| format!("place: {place}")));
            answer.steps.extend(missing);
            writeln!(out, "{}", serde_json::to_string(&answer)?)?;
        }
        Format::Text => {
            text(&answer, placed.as_deref(), &missing, out)?;
            if arguments.rules {
                for rule in &decision.report.rules {
                    writeln!(out, "{}", one_line(&missing::rule(rule, &loaded)))?;
                }
            }
        }
    }
    Ok(if decision.reply.is_none() { Exit::Yes } else { Exit::No })
}

fn explain_all(
    name: &str,
    loaded: &Loaded,
    now: UnixSeconds,
    worker_state: &mut WorkerState,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let lines: Box<dyn std::io::BufRead> = if name == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(name).with_context(|| format!("cannot read `{name}`"))?;
        Box::new(std::io::BufReader::new(file))
    };
    for (number, line) in lines.lines().enumerate() {
        let place = || format!("{name}:{}", number.saturating_add(1));
        let line = line.with_context(place)?;
        if line.trim().is_empty() {
            continue;
        }
        let request = request::from_line(&line).with_context(place)?;
        let decision = decide(&loaded.policy, &request, now, worker_state);
        let answer = Answer::new(&loaded.policy, &request, &decision);
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

/// The whole answer as text: the decision, its steps, and what it does to the request.
fn text(
    answer: &Answer,
    placed: Option<&str>,
    missing: &[String],
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let style = if answer.decision == "allow" { GOOD } else { BAD };
    writeln!(out, "{style}{}{style:#}", answer.headline())?;
    let mut fact = |name: &str, value: Option<&str>| match value {
        Some(value) => {
            let (name, value) = (one_line(name), one_line(value));
            writeln!(out, "{FAINT}{name}:{FAINT:#} {value}")
        }
        None => Ok(()),
    };
    for step in &answer.steps {
        fact("step", Some(step))?;
    }
    for line in missing {
        let (name, value) = line.split_once(": ").unwrap_or(("missing", line));
        fact(name, Some(value))?;
    }
    fact("place", placed)?;
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
