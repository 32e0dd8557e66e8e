//! `usher explain`: what happens to a request and why, by the code that runs in the filter.
//!
//! One request by flags, told for people or as JSON; or a file of requests, one decision a line.

use std::io::{BufRead as _, Write};

use anyhow::Context as _;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value, json};
use usher::decide::{Decision, Session, Trace, decide};
use usher::request::Request;
use usher::{Policy, path};

use super::{Format, clock};
use crate::request::Flags;
use crate::{Exit, config, report, request};

/// Says what happens to a request, and why
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
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let policy = match config::load(&arguments.config)? {
        Ok(policy) => policy,
        Err(problems) => {
            report::write(&problems, arguments.format, out, &mut std::io::stderr().lock())?;
            return Ok(Exit::Invalid);
        }
    };
    let now = arguments.now.unwrap_or_else(clock);
    let mut session = Session::portable();
    session.trace = Trace::Steps;
    if let Some(name) = &arguments.requests {
        explain_all(name, &policy, now, &mut session, arguments.format, out)?;
        return Ok(Exit::Yes);
    }
    let request = arguments.request.request()?;
    let decision = decide(&policy, &request, now, &mut session);
    let answer = Answer::new(&policy, &request, &decision);
    match arguments.format {
        Format::Json => writeln!(out, "{}", serde_json::to_string(&answer)?)?,
        Format::Text => write!(out, "{}", answer.text())?,
    }
    Ok(if decision.reply.is_none() { Exit::Yes } else { Exit::No })
}

fn explain_all(
    name: &str,
    policy: &Policy,
    now: u64,
    session: &mut Session,
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
        let decision = decide(policy, &request, now, session);
        let answer = Answer::new(policy, &request, &decision);
        match format {
            Format::Json => writeln!(out, "{}", serde_json::to_string(&answer)?)?,
            Format::Text => writeln!(out, "{} {}", answer.headline(), answer.path_text())?,
        }
    }
    Ok(())
}

/// The decision as scripts read it; the fields are a promise (see the command's documentation).
#[derive(Debug, Serialize)]
struct Answer {
    decision: &'static str,
    status: u16,
    reason: &'static str,
    provider: Option<String>,
    policy: Option<String>,
    rule: Option<usize>,
    matched: Option<String>,
    audit: Option<bool>,
    path: Option<String>,
    set: Map<String, Value>,
    remove: Vec<String>,
    body: Option<String>,
    challenge: Option<String>,
    steps: Vec<String>,
}

impl Answer {
    fn new(policy: &Policy, request: &Request, decision: &Decision) -> Self {
        let report = &decision.report;
        let judgement = report.judgement.as_ref();
        let reply = decision.reply.as_ref();
        let challenge = reply
            .and_then(|reply| reply.headers.iter().find(|(name, _)| *name == "www-authenticate"));
        let set = decision.edits.set.iter().map(|(name, lines)| {
            let value = match lines.as_slice() {
                [line] => Value::String(text(line)),
                lines => json!(lines.iter().map(|line| text(line)).collect::<Vec<_>>()),
            };
            (text(name), value)
        });
        Self {
            decision: if reply.is_none() { "allow" } else { "deny" },
            status: decision.status(),
            reason: decision.reason(),
            provider: report.identity.as_ref().map(|identity| identity.provider.clone()),
            policy: judgement.and_then(|judgement| judgement.policy.clone()),
            rule: judgement.and_then(|judgement| judgement.rule),
            matched: judgement.and_then(|judgement| judgement.matched.clone()),
            audit: judgement.and_then(|judgement| judgement.audit),
            path: seen_path(policy, request, decision),
            set: set.collect(),
            remove: decision.edits.remove.iter().map(|name| text(name)).collect(),
            body: reply.map(|reply| reply.body.clone()),
            challenge: challenge.map(|(_, value)| value.clone()),
            steps: report.steps.clone(),
        }
    }

    fn headline(&self) -> String {
        format!("{} {} {}", self.decision, self.status, self.reason)
    }

    fn path_text(&self) -> &str {
        self.path.as_deref().unwrap_or_default()
    }

    /// The whole answer for people, a fact a line.
    fn text(&self) -> String {
        let mut lines = vec![self.headline()];
        let mut fact = |name: &str, value: Option<String>| {
            lines.extend(value.map(|value| format!("{name}: {value}")));
        };
        fact("provider", self.provider.clone());
        fact("policy", self.policy.clone());
        fact("rule", self.rule.map(|rule| rule.to_string()));
        fact("matched", self.matched.clone());
        fact("audit", self.audit.map(|audit| audit.to_string()));
        fact("path", self.path.clone());
        for (name, value) in &self.set {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            fact("set", Some(format!("{name}: {value}")));
        }
        for name in &self.remove {
            fact("remove", Some(name.clone()));
        }
        fact("body", self.body.clone());
        fact("challenge", self.challenge.clone());
        for step in &self.steps {
            fact("step", Some(step.clone()));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

/// The path with its query as the service would see it; of a refused request, as it was matched.
fn seen_path(policy: &Policy, request: &Request, decision: &Decision) -> Option<String> {
    let edited = decision.edits.applied(request);
    let path = edited.path()?;
    let normal = path::normalize(path, policy.path_normalization);
    Some(normal.map_or_else(|_| text(path), |normal| text(&normal)))
}

/// Header bytes for a JSON string; what is not UTF-8 is marked as such (U+FFFD).
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
