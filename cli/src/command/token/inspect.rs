//! `usher token inspect`: the content of a token, with readable times. Whether it is valid depends on
//! a configuration.

use std::io::Write;

use clap::Args;
use serde_json::{Value, json};
use usher_core::time::UnixSeconds;
use usher_verbs::load;
use usher_verbs::token::{self, decode, in_words, judge, times};

use crate::command::{Format, clock, time};
use crate::{Exit, read, report, style};

/// Decodes a token and shows its times; verifies it only with --config
#[derive(Args)]
pub(super) struct Arguments {
    /// The token, a header line with it, or a token response (RFC 6749); `-` or none reads standard input
    #[arg(allow_hyphen_values = true)]
    token: Option<String>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<String>,
    /// Verify it with this configuration: its rules for tokens, not its policies
    #[arg(long, value_name = "F")]
    config: Option<String>,
    /// The time to compare with, in seconds since 1970 or as RFC 3339; default: the clock
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<UnixSeconds>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let text = match (&arguments.token, &arguments.token_file) {
        (Some(token), _) if token != "-" => token.clone(),
        (_, Some(name)) => read::text(name)?,
        _ => read::text("-")?,
    };
    let token = token::extract(&text)?;
    let token = token.as_str();
    let now = arguments.now.unwrap_or_else(clock);
    let file = arguments.config.as_deref().map(read::file).transpose()?;
    let policy = match file.as_ref().map(|file| load::load(file, None)).transpose()? {
        Some(Ok(loaded)) => Some(loaded.policy),
        Some(Err(problems)) => {
            report::write(&problems, arguments.format, out, &mut style::stderr())?;
            return Ok(Exit::Invalid);
        }
        None => None,
    };
    let decoded = decode(token)?;
    let note = token::note(&decoded);
    let verdict = policy.as_ref().map(|policy| judge(policy, token, now));
    match arguments.format {
        Format::Json => {
            let times: serde_json::Map<String, Value> = times(&decoded.payload)
                .into_iter()
                .filter_map(|(name, at)| Some((name.to_owned(), json!(at?.to_string()))))
                .collect();
            let mut answer = json!({
                "header": decoded.header,
                "payload": decoded.payload,
                "times": times,
                "verdict": verdict.as_ref().map(|verdict| match verdict {
                    Ok(provider) => json!({ "valid": true, "provider": provider }),
                    Err(denial) => json!({ "valid": false, "reason": denial.code() }),
                }),
            });
            if let (Some(note), Value::Object(members)) = (note, &mut answer) {
                members.insert("note".to_owned(), json!(note));
            }
            writeln!(out, "{answer}")?;
        }
        Format::Text => {
            writeln!(out, "header: {:#}", decoded.header)?;
            writeln!(out, "payload: {:#}", decoded.payload)?;
            if let Some(note) = &note {
                writeln!(out, "note: {note}")?;
            }
            let times = times(&decoded.payload);
            for (name, at) in &times {
                writeln!(out, "{name}: {}", in_words(*at, now))?;
            }
            match &verdict {
                None => writeln!(out, "signature: not checked (--config has it judged)")?,
                Some(Ok(provider)) => writeln!(out, "verdict: valid, by `{provider}`")?,
                Some(Err(denial)) => {
                    let cause = denial.text().map(|text| format!(" ({text})"));
                    let cause = cause.unwrap_or_default();
                    writeln!(out, "verdict: not valid: {}{cause}", denial.code())?;
                }
            }
        }
    }
    Ok(if matches!(verdict, Some(Err(_))) { Exit::No } else { Exit::Yes })
}
