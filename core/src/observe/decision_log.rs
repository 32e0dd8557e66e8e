//! The decision log: which decisions are logged, at which level, and the line: one JSON object, for any
//! bytes in a request.
//!
//! INVARIANT (no secrets): a line contains no token, no signature, no header's value except those it names
//! (`x-request-id`, `traceparent`), no query, and no claim that `decisionLog.claims` does not list. Its
//! length is bounded, since half a line is not JSON. `docs/decision-log.schema.json` is its schema.

use crate::authorize::{AuthorizationOutcome, DryRun};
use crate::cache;
use crate::codec::hex::hex;
use crate::codec::json::Value;
use crate::codec::query::without_query;
use crate::decide::Decision;
use crate::denial::Denial;
use crate::policy::{DecisionLog, Emit, HashKey};
use crate::request::peer::Certainty;
use crate::request::{Connection, Request};
use crate::time::UnixSeconds;

pub mod limit;
mod line;
mod max;
#[cfg(test)]
mod tests;

use limit::Limiter;
use line::Line;

/// The level of a line. A stock sidecar shows warnings and nothing below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Allowed requests.
    Info,
    /// Refusals, would-be refusals (of a dry run of everything, or of a dry-run policy) and AUDIT matches.
    Warn,
}

/// The content of a line that is neither in the request nor in the decision.
#[derive(Clone, Copy, Debug, Default)]
pub struct LineContext<'c> {
    /// Unix time in seconds.
    pub now: UnixSeconds,
    /// The number of configurations that the plugin has put in force, this one included.
    pub generation: u64,
    /// The number of lines left out since the last one.
    pub suppressed: u64,
    /// The key for hashes if the configuration has none.
    pub process_key: &'c [u8],
    /// The connection's attributes that the host supplied for the line alone; `None`: those of the
    /// request.
    pub connection: Option<&'c Connection>,
}

/// Which of the allowed decisions are logged: each n-th, evenly.
#[derive(Clone, Copy, Debug, Default)]
struct Sampler {
    owed: f64,
}

/// Selects the lines of one plugin in one worker.
#[derive(Clone, Debug, Default)]
pub struct Throttle {
    sampler: Sampler,
    limiter: Limiter,
}

/// What happens to the line for a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// It is written, at this level, and reports this number of lines left out before it.
    Write(Level, u64),
    /// It would be written, but there were too many in this second.
    Suppress,
    /// The configuration does not ask for it.
    Skip,
}

/// The longest line, in bytes: the total for all its fields.
pub const LINE_BYTES: usize = 8192;

/// What happens to the line for a decision at Unix time `now`, in seconds.
pub fn choose(
    log: &DecisionLog,
    decision: &Decision,
    now: UnixSeconds,
    throttle: &mut Throttle,
) -> Choice {
    let Throttle { sampler, limiter } = throttle;
    match wanted(log, decision, sampler) {
        None => Choice::Skip,
        // `sample` limits the lines about allowed requests.
        Some(Level::Info) => Choice::Write(Level::Info, limiter.take_suppressed()),
        Some(Level::Warn) if limiter.admits(log.refusals_per_second, decision, now) => {
            Choice::Write(Level::Warn, limiter.take_suppressed())
        }
        Some(Level::Warn) => Choice::Suppress,
    }
}

/// Whether a decision is worth a line, and at which level.
fn wanted(log: &DecisionLog, decision: &Decision, sampler: &mut Sampler) -> Option<Level> {
    let authorization = decision.report.authorization.as_ref();
    let audited = authorization.is_some_and(|authorization| authorization.audit == Some(true));
    // An operator who tries a policy out needs these.
    let would_refuse = |dry_run: &Option<DryRun>| dry_run.as_ref().is_some_and(|run| !run.allowed);
    let tried = authorization.is_some_and(|authorization| {
        would_refuse(&authorization.dry_run_deny) || would_refuse(&authorization.dry_run_allow)
    });
    match log.emit {
        Emit::None => None,
        Emit::Denied | Emit::All if decision.denial.is_some() || audited || tried => {
            Some(Level::Warn)
        }
        Emit::Denied => None,
        Emit::All => sampler.next(log.sample).then_some(Level::Info),
    }
}

impl Sampler {
    fn next(&mut self, sample: f64) -> bool {
        self.owed += sample;
        let due = self.owed >= 1.0;
        if due {
            self.owed -= 1.0;
        }
        due
    }
}

/// The line for a decision.
pub fn line(
    log: &DecisionLog,
    request: &Request,
    decision: &Decision,
    context: &LineContext<'_>,
) -> String {
    let mut line = Line::new();
    line.number("time", context.now.0);
    line.number("generation", context.generation);
    if context.suppressed > 0 {
        line.number("suppressed", context.suppressed);
    }
    outcome(&mut line, decision);
    if let Some(authorization) = &decision.report.authorization {
        policies(&mut line, authorization);
    }
    let hash_key = match &log.hash {
        None => None,
        Some(HashKey::Given(key)) => Some(key.as_slice()),
        Some(HashKey::OfProcess) => Some(context.process_key),
    };
    caller(&mut line, log, decision, hash_key);
    about(&mut line, request, context.connection.unwrap_or(&request.connection));
    if !decision.report.spoofed.is_empty() {
        line.texts("spoofed", &decision.report.spoofed, max::SPOOFED);
    }
    line.finish()
}

/// The decision and its reason.
fn outcome(line: &mut Line, decision: &Decision) {
    let report = &decision.report;
    line.text("decision", if decision.denial.is_some() { "deny" } else { "allow" }, max::NAME);
    line.boolean("enforced", decision.is_enforced());
    line.number("status", u64::from(decision.status()));
    line.text("reason", decision.reason(), max::NAME);
    if let Some(Denial::ClaimMismatch { claim }) = &decision.denial {
        line.text("failing_condition", &format!("requiredClaims[{claim}]"), max::NAME);
    }
    if report.preflight {
        line.boolean("preflight", true);
    }
    if !report.would_withhold.is_empty() {
        let places: Vec<String> = report.would_withhold.iter().map(ToString::to_string).collect();
        line.texts("would_withhold", &places, max::NAME);
    }
    line.optional("provider", report.provider(), max::NAME);
    if let Some(header) = &report.header {
        line.optional("kid", header.kid.as_deref(), max::NAME);
        line.text("alg", &header.alg, max::METHOD);
    }
    if let Some(answer) = report.cache {
        line.boolean("cached", answer == cache::Answer::Hit);
    }
}

/// The outcome of the policies.
fn policies(line: &mut Line, authorization: &AuthorizationOutcome) {
    line.optional("policy", authorization.policy.as_deref(), max::NAME);
    if let Some(rule) = authorization.rule.and_then(|rule| u64::try_from(rule).ok()) {
        line.number("rule", rule);
    }
    if let Some(nearest) = &authorization.nearest {
        line.text("nearest_rule", &nearest.rule, max::NAME);
        line.text("failing_condition", &nearest.condition, max::NAME);
    }
    if let Some(audit) = authorization.audit {
        line.boolean("audit", audit);
    }
    let verdict = |allowed| if allowed { "allow" } else { "deny" };
    if let Some(dry_run) = &authorization.dry_run_deny {
        line.text("dry_run_deny", verdict(dry_run.allowed), max::NAME);
    }
    if let Some(dry_run) = &authorization.dry_run_allow {
        line.text("dry_run_allow", verdict(dry_run.allowed), max::NAME);
    }
}

/// The caller: from a verified token only.
fn caller(line: &mut Line, log: &DecisionLog, decision: &Decision, hash_key: Option<&[u8]>) {
    let Some(identity) = &decision.report.identity else {
        return;
    };
    let shown = |value: &Value| match hash_key {
        Some(key) => hash(key, &text(value)),
        None => text(value),
    };
    let listed = log.claims.iter();
    let claims = listed.filter_map(|name| Some((name.as_str(), shown(identity.claims.get(name)?))));
    line.object("claims", &claims.collect::<Vec<_>>(), max::CLAIM, max::CLAIMS);
    // RFC 8693 section 4.1: the party that acts for the subject.
    let actor = identity.claims.get("act").and_then(|act| act.get("sub"));
    line.optional("actor", actor.map(shown).as_deref(), max::CLAIM);
}

/// A string as such, any other value as JSON.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// HMAC-SHA256 in hexadecimal (RFC 2104): the same as `openssl dgst -sha256 -hmac KEY`.
fn hash(key: &[u8], text: &str) -> String {
    hex(&hmac_sha256::HMAC::mac(text, key))
}

/// The request, and where it came from.
fn about(line: &mut Line, request: &Request, connection: &Connection) {
    line.bytes("method", request.method(), max::METHOD);
    line.bytes("host", request.authority(), max::HOST);
    // A query may hold a token.
    line.bytes("path", request.path().map(without_query), max::PATH);
    if let Some(peer) = &connection.peer {
        let name = peer.uri_sans.first().or(peer.dns_sans.first()).unwrap_or(&peer.subject);
        line.text("peer", name, max::NAME);
        if peer.certainty == Certainty::Doubtful {
            line.boolean("peer_doubtful", true);
        }
    }
    for (name, address) in
        [("source_ip", connection.source_ip), ("remote_ip", connection.remote_ip)]
    {
        line.optional(name, address.map(|ip| ip.to_string()).as_deref(), max::ADDRESS);
    }
    line.bytes("request_id", request.header("x-request-id"), max::ID);
    line.bytes("traceparent", request.header("traceparent"), max::ID);
}
