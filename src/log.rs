//! The decision log: one JSON object a line, whatever bytes came in, and never a token.

use crate::config::{Emit, Policy};
use crate::decide::Decision;
use crate::json::{Map, Value};
use crate::request::Request;

/// Longest text of a request that a line repeats, in bytes: Envoy cuts a log line at 8 KiB or so, and
/// half a line is no JSON.
const TEXT_BYTES: usize = 512;

/// The line for a decision, if the configuration wants one.
pub fn line(policy: &Policy, request: &Request, decision: &Decision, now: u64) -> Option<String> {
    match (policy.decision_log.emit, &decision.denial) {
        (Emit::None, _) | (Emit::Denied, None) => return None,
        (Emit::Denied | Emit::All, _) => {}
    }
    let report = &decision.report;
    let mut line = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            line.insert(name.to_owned(), value);
        }
    };
    put("time", now.into());
    put("decision", if decision.denial.is_some() { "deny" } else { "allow" }.into());
    put("enforced", (decision.denial.is_some() == decision.reply.is_some()).into());
    put("status", decision.status().into());
    put("reason", decision.reason().into());
    put("provider", report.identity.as_ref().map(|i| i.provider.as_str()).into());
    if let Some(header) = &report.header {
        put("kid", header.kid.as_deref().map(short).into());
        put("alg", header.alg.as_str().into());
    }
    if let Some(judgement) = &report.judgement {
        put("policy", judgement.policy.clone().into());
        put("rule", judgement.rule.into());
        put("audit", judgement.audit.into());
        put("nearest", judgement.nearest.as_ref().map(ToString::to_string).into());
    }
    if let Some(identity) = &report.identity {
        let claims: Map<String, Value> = policy
            .decision_log
            .claims
            .iter()
            .filter_map(|name| Some((name.clone(), bounded(identity.claims.get(name)?))))
            .collect();
        put("claims", Value::Object(claims));
    }
    put("method", header(request, ":method"));
    put("host", header(request, ":authority"));
    put("path", path(request));
    put("request_id", header(request, "x-request-id"));
    if !report.spoofed.is_empty() {
        let names: Vec<Value> = report.spoofed.iter().map(|name| short(name).into()).collect();
        put("spoofed", Value::Array(names));
    }
    Some(Value::Object(line).to_string())
}

fn header(request: &Request, name: &str) -> Value {
    request.header(name).map(|value| short(&String::from_utf8_lossy(value))).into()
}

/// The path without its query, which may hold a token.
fn path(request: &Request) -> Value {
    let path = request.path().map(|path| {
        let end = path.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(path.len());
        String::from_utf8_lossy(path.get(..end).unwrap_or_default()).into_owned()
    });
    path.map(|path| short(&path)).into()
}

fn bounded(value: &Value) -> Value {
    match value {
        Value::String(text) => short(text).into(),
        Value::Array(_) | Value::Object(_) => short(&value.to_string()).into(),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn short(text: &str) -> String {
    let mut end = text.len().min(TEXT_BYTES);
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.get(..end).unwrap_or_default().to_owned()
}
