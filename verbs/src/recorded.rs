//! A line of the decision log, decided again: it has the caller and the request, but not the token, which was verified when
//! the line was written. Only the policies are evaluated, for that caller.

use std::collections::BTreeSet;
use std::rc::Rc;

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use usher_core::Compiled;
use usher_core::authorize::{self, AuthorizationOutcome, RuleTrace, Verdict};
use usher_core::claims::{Claims, Identity};
use usher_core::codec::json::{self, Value};
use usher_core::codec::problems::did_you_mean;
use usher_core::policy::{CorsPreflight, Exemption, JwtRule, MissingToken};
use usher_core::request::Request;

use crate::config::Loaded;
use crate::input::DEPTH;
use crate::request;

/// The fields of a line (docs/decision-log.schema.json).
const FIELDS: [&str; 33] = [
    "actor",
    "alg",
    "audit",
    "cached",
    "claims",
    "cut",
    "decision",
    "dry_run_allow",
    "dry_run_deny",
    "enforced",
    "failing_condition",
    "generation",
    "host",
    "kid",
    "method",
    "nearest_rule",
    "path",
    "peer",
    "peer_doubtful",
    "policy",
    "preflight",
    "provider",
    "reason",
    "remote_ip",
    "request_id",
    "rule",
    "source_ip",
    "spoofed",
    "status",
    "suppressed",
    "time",
    "traceparent",
    "would_withhold",
];

/// Reasons of policies: they can be evaluated again.
const OF_POLICIES: [&str; 4] = ["allowed", "denied_by_rule", "no_rule_matched", "token_missing"];

/// A recorded request and its caller.
#[derive(Debug)]
pub(crate) struct Recorded {
    request: Request,
    provider: Option<String>,
    pub(crate) claims: Claims,
    /// Method, host, path and caller.
    pub(crate) shown: String,
    /// What the line says was decided: `deny 403 no_rule_matched`; empty for a request without a decision.
    pub(crate) decided: String,
    /// A CORS preflight, which has no token.
    preflight: bool,
}

/// What the policies decide about a recorded request.
#[derive(Debug)]
pub(crate) struct Judged {
    /// `allow`, or `deny` and the reason.
    pub(crate) outcome: String,
    pub(crate) why: String,
    /// Nothing where no policy was evaluated.
    pub(crate) authorization: Option<AuthorizationOutcome>,
}

impl Recorded {
    /// A line of the decision log, perhaps behind Envoy's own prefix; `None` if no policy was evaluated.
    ///
    /// # Errors
    /// A JSON object that is not a line of the decision log.
    pub(crate) fn of(line: &str) -> anyhow::Result<Option<Self>> {
        let Some(value) = object(line)? else { return Ok(None) };
        let word = |name: &str| value.get(name).and_then(Value::as_str);
        let fit = word("reason").is_none_or(|reason| OF_POLICIES.contains(&reason))
            && value.get("cut").is_none();
        if !fit || word("method").is_none() || word("path").is_none() {
            return Ok(None);
        }
        Self::read(&value).map(Some)
    }

    /// A line of the decision log, the whole of it.
    ///
    /// # Errors
    /// It is not one, or is cut off, or has a field that no line has, or no policy was evaluated.
    pub(crate) fn whole(line: &str) -> anyhow::Result<Self> {
        let value = object(line)?.context("expected a line of the decision log, found no `{`")?;
        let members = value.as_object().context("expected a JSON object")?;
        if let Some(name) = members.keys().find(|name| !FIELDS.contains(&name.as_str())) {
            let hint = did_you_mean(name, FIELDS.into_iter());
            bail!("no line of the decision log has a field `{name}`{hint}");
        }
        for name in ["decision", "reason", "method", "path"] {
            let found = value.get(name).and_then(Value::as_str);
            ensure!(found.is_some(), "expected a line of the decision log, found no `{name}`");
        }
        ensure!(
            value.get("cut").is_none(),
            "the line is cut (`cut`), and rules compare whole values"
        );
        let reason = value.get("reason").and_then(Value::as_str).unwrap_or_default();
        ensure!(
            OF_POLICIES.contains(&reason),
            "`{reason}` was decided by the token, which the line does not hold: give the request itself"
        );
        Self::read(&value)
    }

    fn read(value: &Value) -> anyhow::Result<Self> {
        let word = |name: &str| value.get(name).and_then(Value::as_str);
        let is_line = value.get("decision").is_some();
        let request = if is_line {
            let doubtful = value.get("peer_doubtful") == Some(&Value::Bool(true));
            let peer = word("peer").map(|name| peer(name, doubtful));
            let of = |name: &str| value.get(name).filter(|value| value.is_string());
            let (method, path) = (of("method"), of("path"));
            let line = json!({ "method": method, "path": path, "authority": of("host"), "peer": peer,
                "tls": peer.is_some(), "source_ip": of("source_ip"), "remote_ip": of("remote_ip") });
            request::from_value(line)?
        } else {
            let mut line = value.clone();
            for name in ["provider", "reason", "preflight", "host"] {
                line.as_object_mut().map(|members| members.remove(name));
            }
            request::from_value(line)?
        };
        let mut claims =
            value.get("claims").and_then(Value::as_object).cloned().unwrap_or_default();
        if is_line {
            claims.values_mut().for_each(whole_value);
        }
        let provider = word("provider").map(str::to_owned);
        let provider =
            provider.or_else(|| (!is_line && !claims.is_empty()).then(|| "any".to_owned()));
        let who = claims.get("sub").and_then(Value::as_str).unwrap_or("anonymous");
        let host = word("host").map(|host| format!(" {host}")).unwrap_or_default();
        let (method, path) = (word("method").unwrap_or_default(), word("path").unwrap_or_default());
        let shown = format!("{method}{host} {path} by {who}");
        let status = value.get("status").map(|status| format!(" {status}")).unwrap_or_default();
        let reason = word("reason").map(|reason| format!(" {reason}")).unwrap_or_default();
        let decided = format!("{}{status}{reason}", word("decision").unwrap_or_default());
        let preflight =
            value.get("preflight") == Some(&Value::Bool(true)) || request.is_cors_preflight();
        Ok(Self { request, provider, claims: Claims(claims), shown, decided, preflight })
    }

    /// What a configuration's exemptions and policies decide about it.
    pub(crate) fn decide(&self, policy: &Compiled) -> Judged {
        let early = |outcome: &str, why: String| Judged {
            outcome: outcome.to_owned(),
            why,
            authorization: None,
        };
        if Exemption::first(&policy.settings.exempt, &self.request).is_some() {
            return early("allow", "an `exempt` entry covers it".to_owned());
        }
        match &self.provider {
            Some(provider) if provider != "any" && rule_of(policy, provider).is_none() => {
                let why = format!("no rule for tokens is called `{provider}`");
                return early("deny issuer_unknown", why);
            }
            // A preflight needs no token, and a token in it is ignored.
            _ if self.preflight && policy.settings.cors_preflight == CorsPreflight::Authorize => {}
            None if policy.settings.missing_token == MissingToken::Reject => {
                return early("deny token_missing", "`missingToken: reject`".to_owned());
            }
            _ => {}
        }
        let identity = self.identity(policy);
        let authorization =
            authorize::evaluate(&policy.authorization, &self.request, identity.as_ref());
        let outcome = match authorization.verdict {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny denied_by_rule",
            Verdict::NoRuleMatched => "deny no_rule_matched",
        };
        Judged {
            outcome: outcome.to_owned(),
            why: authorization.to_string(),
            authorization: Some(authorization),
        }
    }

    /// Every rule, evaluated for it.
    pub(crate) fn trace(&self, policy: &Compiled) -> Vec<RuleTrace> {
        let identity = self.identity(policy);
        authorize::trace_rules(&policy.authorization, &self.request, identity.as_ref())
    }

    fn identity(&self, policy: &Compiled) -> Option<Identity> {
        let provider = self.provider.as_ref()?;
        let space_delimited =
            rule_of(policy, provider).map(|rule| Rc::clone(&rule.space_delimited));
        Some(Identity {
            provider: provider.clone(),
            claims: self.claims.clone(),
            space_delimited: space_delimited.unwrap_or_default(),
        })
    }
}

/// The rule for tokens of this name.
fn rule_of<'p>(policy: &'p Compiled, name: &str) -> Option<&'p JwtRule> {
    policy.jwt.rules.iter().find(|rule| rule.provider == *name)
}

/// A list or an object, which a line has as JSON text.
fn whole_value(claim: &mut Value) {
    if let Value::String(text) = claim
        && text.starts_with(['[', '{'])
        && let Ok(value) = json::parse(text.as_bytes(), DEPTH)
    {
        *claim = value;
    }
}

/// What rules ask for that lines with these claims do not hold.
pub(crate) fn lacks(loaded: &Loaded, claims: &BTreeSet<String>) -> BTreeSet<String> {
    let config = loaded.source.config.value.get("authorizationPolicies");
    let text = config.map(ToString::to_string).unwrap_or_default();
    let mut asked = BTreeSet::new();
    for rest in text.split("request.auth.claims[").skip(1) {
        asked.extend(rest.split_once(']').map(|(name, _)| format!("`{name}`")));
    }
    if text.contains("equestPrincipals\"") || text.contains("request.auth.principal") {
        asked.extend(["iss", "sub"].map(|name| format!("`{name}`")));
    }
    for (key, claim) in
        [("audiences", "aud"), ("presenter", "azp"), ("scopes", "scope"), ("actor", "act")]
    {
        if text.contains(&format!("request.auth.{key}\"")) {
            asked.insert(format!("`{claim}`"));
        }
    }
    let needs = loaded.policy.required_attributes();
    for (needed, what) in [
        (needs.headers, "headers"),
        (needs.query, "queries"),
        (needs.sni, "server names"),
        (!needs.metadata.is_empty(), "dynamic metadata"),
    ] {
        if needed {
            asked.insert(what.to_owned());
        }
    }
    asked.retain(|name| !claims.contains(name.trim_matches('`')));
    asked
}

/// The object in a line, which may have a prefix.
fn object(line: &str) -> anyhow::Result<Option<Value>> {
    let Some((_, text)) = line.find('{').and_then(|start| line.split_at_checked(start)) else {
        return Ok(None);
    };
    json::parse(text.trim().as_bytes(), DEPTH).context("expected a JSON object").map(Some)
}

/// The peer of this name in a line: its first URI name, else DNS name, else subject.
fn peer(name: &str, doubtful: bool) -> Value {
    let mut peer = if name.contains("://") {
        json!({ "uri_sans": [name] })
    } else if name.contains('=') {
        json!({ "subject": name })
    } else {
        json!({ "dns_sans": [name] })
    };
    if doubtful {
        crate::output::set(&mut peer, "doubtful", Value::Bool(true));
    }
    peer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_schema() {
        let schema = include_str!("../../docs/decision-log.schema.json");
        let schema: Value = serde_json::from_str(schema).unwrap();
        let fields: Vec<&String> = schema["properties"].as_object().unwrap().keys().collect();
        assert_eq!(fields, FIELDS);
    }
}
