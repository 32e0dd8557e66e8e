//! `usher token inspect`: the content of a token, with readable times. Whether it is valid depends on
//! a configuration.

use std::io::Write;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use usher_core::codec::json::{self, Value};
use usher_core::denial::Denial;
use usher_core::time::UnixSeconds;
use usher_core::{Compiled, WorkerState, authenticate, compact};

use crate::command::{Format, clock};
use crate::{Exit, config, input, report, style};

/// Decodes a token and shows its times; verifies it only with --config
#[derive(Args)]
pub(super) struct Arguments {
    /// The token, with or without `Bearer `; `-` or none reads standard input
    #[arg(allow_hyphen_values = true)]
    token: Option<String>,
    /// Read the token from this file
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    token_file: Option<String>,
    /// Verify it with this configuration: its rules for tokens, not its policies
    #[arg(long, value_name = "F")]
    config: Option<String>,
    /// The time to compare with, in seconds since 1970; default: the clock
    #[arg(long, value_name = "UNIX")]
    now: Option<u64>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let text = match (&arguments.token, &arguments.token_file) {
        (Some(token), _) if token != "-" => token.clone(),
        (_, Some(name)) => input::text(name)?,
        _ => input::text("-")?,
    };
    let text = text.trim();
    let token = text.strip_prefix("Bearer ").map_or(text, str::trim);
    let now = arguments.now.map_or_else(clock, UnixSeconds);
    let policy = match arguments.config.as_deref().map(config::load).transpose()? {
        Some(Ok(loaded)) => Some(loaded.policy),
        Some(Err(problems)) => {
            report::write(&problems, arguments.format, out, &mut style::stderr())?;
            return Ok(Exit::Invalid);
        }
        None => None,
    };
    let decoded = decode(token)?;
    let verdict = policy.as_ref().map(|policy| judge(policy, token, now));
    match arguments.format {
        Format::Json => {
            let times: serde_json::Map<String, Value> = times(&decoded.payload)
                .into_iter()
                .filter_map(|(name, at)| Some((name.to_owned(), json!(at?.to_string()))))
                .collect();
            let answer = json!({
                "header": decoded.header,
                "payload": decoded.payload,
                "times": times,
                "verdict": verdict.as_ref().map(|verdict| match verdict {
                    Ok(provider) => json!({ "valid": true, "provider": provider }),
                    Err(denial) => json!({ "valid": false, "reason": denial.code() }),
                }),
            });
            writeln!(out, "{answer}")?;
        }
        Format::Text => {
            writeln!(out, "header: {:#}", decoded.header)?;
            writeln!(out, "payload: {:#}", decoded.payload)?;
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

/// The rules' verdict on a token, for any place in a request; the rule that accepts it.
fn judge(policy: &Compiled, token: &str, now: UnixSeconds) -> Result<String, Denial> {
    let compact = compact::parse(token.as_bytes(), &policy.settings.limits.token)?;
    let places: Vec<usize> = (0..policy.jwt.places.len()).collect();
    let mut worker_state = WorkerState::portable();
    let WorkerState { engine, jwks_cache, .. } = &mut worker_state;
    let verified =
        authenticate::authenticate(&policy.jwt, compact, &places, now, jwks_cache, &mut **engine)
            .map_err(|refused| refused.denial)?;
    Ok(verified.identity().provider.clone())
}

struct Decoded {
    header: Value,
    payload: Value,
}

fn decode(token: &str) -> anyhow::Result<Decoded> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, _signature] = parts.as_slice() else {
        anyhow::bail!("expected three parts with dots between, found {}", parts.len());
    };
    Ok(Decoded {
        header: part(header).context("the header")?,
        payload: part(payload).context("the payload")?,
    })
}

fn part(text: &str) -> anyhow::Result<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text).context("no base64url")?;
    Ok(json::parse(&bytes, input::DEPTH)?)
}

/// The claims that are times (RFC 7519 section 4.1, OpenID Connect `auth_time`), and when that is;
/// `None` if it is outside the calendar.
fn times(payload: &Value) -> Vec<(&'static str, Option<Timestamp>)> {
    let when = |claim: &Value| {
        let seconds: f64 = claim.as_number()?.as_str().parse().ok()?;
        let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
        Timestamp::from_duration(since).ok()
    };
    ["auth_time", "iat", "nbf", "exp"]
        .into_iter()
        .filter_map(|name| payload.get(name).map(|claim| (name, when(claim))))
        .collect()
}

fn in_words(at: Option<Timestamp>, now: UnixSeconds) -> String {
    let (Some(at), Ok(now)) = (at, i64::try_from(now.0)) else {
        return "not a time".to_owned();
    };
    let seconds = at.as_second().saturating_sub(now);
    let away = span(seconds.unsigned_abs());
    match seconds {
        0 => format!("{at} (now)"),
        1.. => format!("{at} (in {away})"),
        _ => format!("{at} ({away} ago)"),
    }
}

/// The two largest units: `1d 2h`, `5m 3s`.
fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, size) in units {
        let count = rest.checked_div(size).unwrap_or_default();
        rest = rest.checked_rem(size).unwrap_or_default();
        if count > 0 {
            words.push(format!("{count}{unit}"));
        } else if !words.is_empty() {
            break;
        }
    }
    words.truncate(2);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_for_people() {
        let at = |seconds| Timestamp::from_second(seconds).ok();
        for (seconds, words) in [
            (1_700_000_000, "2023-11-14T22:13:20Z (now)"),
            (1_700_000_063, "2023-11-14T22:14:23Z (in 1m 3s)"),
            (1_699_990_000, "2023-11-14T19:26:40Z (2h 46m ago)"),
            (1_700_086_405, "2023-11-15T22:13:25Z (in 1d)"),
        ] {
            assert_eq!(in_words(at(seconds), usher_core::time::UnixSeconds(1_700_000_000)), words);
        }
        assert_eq!(
            in_words(times(&json!({"exp": 1e300}))[0].1, usher_core::time::UnixSeconds(0)),
            "not a time"
        );
        assert_eq!(
            in_words(times(&json!({"exp": "soon"}))[0].1, usher_core::time::UnixSeconds(0)),
            "not a time"
        );
    }
}
