//! Recorded decisions under two configurations.
//!
//! A line has the caller and the request, but not the token: the token was verified when the line was
//! recorded, and only the policies are evaluated again for that caller. Lines about refused tokens
//! cannot be decided again, and are counted.

use std::collections::BTreeSet;
use std::io::{BufRead as _, Write};
use std::rc::Rc;

use anyhow::Context as _;
use serde_json::json;
use usher_core::Compiled;
use usher_core::authorize::{self, Verdict};
use usher_core::claims::{Claims, Identity};
use usher_core::codec::json::{self, Value};
use usher_core::policy::Exemption;
use usher_core::policy::{CorsPreflight, MissingToken};
use usher_core::request::Request;

use crate::command::Format;
use crate::config::Loaded;
use crate::input::DEPTH;
use crate::request;
use crate::style::{FAINT, one_line};

/// A recorded request and its caller.
struct Recorded {
    request: Request,
    provider: Option<String>,
    claims: Claims,
    shown: String,
    /// A CORS preflight, which has no token.
    preflight: bool,
}

/// The totals of the whole log.
#[derive(Default)]
struct Count {
    judged: usize,
    different: usize,
    unfit: usize,
    claims: BTreeSet<String>,
}

/// Decides each line by both; returns whether all results are the same.
pub(super) fn run(
    name: &str,
    before: &Loaded,
    after: &Loaded,
    format: Format,
    out: &mut dyn Write,
) -> anyhow::Result<bool> {
    let lines: Box<dyn std::io::BufRead> = if name == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let file = std::fs::File::open(name).with_context(|| format!("cannot read `{name}`"))?;
        Box::new(std::io::BufReader::new(file))
    };
    let mut count = Count::default();
    for (number, line) in lines.lines().enumerate() {
        let place = || format!("{name}:{}", number.saturating_add(1));
        let line = line.with_context(place)?;
        let Some(recorded) = recorded(&line).with_context(place)? else {
            count.unfit = count.unfit.saturating_add(usize::from(!line.trim().is_empty()));
            continue;
        };
        count.judged = count.judged.saturating_add(1);
        count.claims.extend(recorded.claims.0.keys().cloned());
        let (was, is) = (judge(&before.policy, &recorded), judge(&after.policy, &recorded));
        if was.0 == is.0 {
            continue;
        }
        count.different = count.different.saturating_add(1);
        match format {
            Format::Json => writeln!(
                out,
                "{}",
                json!({ "line": number.saturating_add(1), "request": recorded.shown,
                        "before": was.0, "after": is.0, "why": is.1 })
            )?,
            Format::Text => {
                writeln!(out, "{}: {}: {} -> {}", place(), one_line(&recorded.shown), was.0, is.0)?;
                writeln!(out, "    {FAINT}{}{FAINT:#}", one_line(&is.1))?;
            }
        }
    }
    summary(&count, before, after, format, out)?;
    Ok(count.different == 0)
}

fn summary(
    count: &Count,
    before: &Loaded,
    after: &Loaded,
    format: Format,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let Count { judged, different, unfit, claims } = count;
    if format == Format::Json {
        return writeln!(
            out,
            "{}",
            json!({ "judged": judged, "different": different, "not_judged": unfit })
        );
    }
    writeln!(out, "{different} of {judged} recorded requests would be decided differently")?;
    if *unfit > 0 {
        writeln!(out, "{unfit} lines are not about policies and were left out")?;
    }
    let mut asked = BTreeSet::new();
    for loaded in [before, after] {
        asked.extend(asked_claims(&loaded.source.config.value));
        let needs = loaded.policy.required_attributes();
        for (needed, what) in [
            (needs.headers, "headers"),
            (needs.query, "queries"),
            (needs.peer, "client certificates"),
            (needs.source_ip || needs.remote_ip, "addresses"),
            (needs.sni, "server names"),
            (!needs.metadata.is_empty(), "dynamic metadata"),
        ] {
            if needed && *judged > 0 {
                asked.insert(what.to_owned());
            }
        }
    }
    let missing: Vec<String> =
        asked.into_iter().filter(|name| !claims.contains(name.trim_matches('`'))).collect();
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

/// The claims that rules use, in backticks.
fn asked_claims(config: &Value) -> BTreeSet<String> {
    let text = config.get("authorizationPolicies").map(ToString::to_string).unwrap_or_default();
    let mut asked = BTreeSet::new();
    for rest in text.split("request.auth.claims[").skip(1) {
        asked.extend(rest.split_once(']').map(|(name, _)| format!("`{name}`")));
    }
    if text.contains("equestPrincipals\"") || text.contains("request.auth.principal") {
        asked.extend(["`iss`", "`sub`"].map(str::to_owned));
    }
    asked
}

/// A line of the decision log, perhaps behind Envoy's own prefix; `None` if no policy was evaluated.
fn recorded(line: &str) -> anyhow::Result<Option<Recorded>> {
    let Some((_, text)) = line.find('{').and_then(|start| line.split_at_checked(start)) else {
        return Ok(None);
    };
    let value = json::parse(text.trim().as_bytes(), DEPTH).context("expected a JSON object")?;
    let word = |name: &str| value.get(name).and_then(Value::as_str);
    let of_policies = ["allowed", "denied_by_rule", "no_rule_matched"];
    let anonymous = word("reason") == Some("token_missing");
    let fit = word("reason").is_none_or(|reason| of_policies.contains(&reason)) || anonymous;
    let (Some(method), Some(path)) = (word("method"), word("path")) else {
        return Ok(None);
    };
    if !fit {
        return Ok(None);
    }
    let request = if value.get("decision").is_some() {
        let host = value.get("host").filter(|host| host.is_string());
        let line = json!({ "method": method, "path": path, "authority": host });
        request::from_line(&line.to_string())?
    } else {
        request::from_line(text.trim())?
    };
    let claims = value.get("claims").and_then(Value::as_object).cloned().unwrap_or_default();
    let provider = word("provider").map(str::to_owned);
    let provider = provider.or_else(|| {
        (value.get("decision").is_none() && !claims.is_empty()).then(|| "any".to_owned())
    });
    let who = claims.get("sub").and_then(Value::as_str).unwrap_or("anonymous");
    let host = word("host").map(|host| format!(" {host}")).unwrap_or_default();
    let shown = format!("{method}{host} {path} by {who}");
    let preflight =
        value.get("preflight") == Some(&Value::Bool(true)) || request.is_cors_preflight();
    Ok(Some(Recorded { request, provider, claims: Claims(claims), shown, preflight }))
}

/// The outcome of a recorded request under a configuration, and its reason.
fn judge(policy: &Compiled, recorded: &Recorded) -> (String, String) {
    if Exemption::first(&policy.settings.exempt, &recorded.request).is_some() {
        return ("allow".to_owned(), "an `exempt` entry covers it".to_owned());
    }
    let identity = recorded.provider.as_ref().map(|provider| {
        let rule = policy.jwt.rules.iter().find(|rule| rule.provider == *provider);
        Identity {
            provider: provider.clone(),
            claims: recorded.claims.clone(),
            space_delimited: rule.map(|rule| Rc::clone(&rule.space_delimited)).unwrap_or_default(),
        }
    });
    match &recorded.provider {
        Some(provider)
            if provider != "any" && !policy.jwt.rules.iter().any(|r| r.provider == *provider) =>
        {
            return (
                "deny issuer_unknown".to_owned(),
                format!("no rule for tokens is called `{provider}`"),
            );
        }
        // A preflight needs no token, and a token in it is ignored.
        _ if recorded.preflight && policy.settings.cors_preflight == CorsPreflight::Authorize => {}
        None if policy.settings.missing_token == MissingToken::Reject => {
            return ("deny token_missing".to_owned(), "`missingToken: reject`".to_owned());
        }
        _ => {}
    }
    let authorization =
        authorize::evaluate(&policy.authorization, &recorded.request, identity.as_ref());
    let outcome = match authorization.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny => "deny denied_by_rule",
        Verdict::NoRuleMatched => "deny no_rule_matched",
    };
    (outcome.to_owned(), authorization.to_string())
}
