//! The subject of fuzzing: all functions of the core that the targets call.

use serde_json::Value;

use usher_core::authorize;

pub(crate) use usher_core::Compiled as Config;
pub(crate) use usher_core::authorize::{AuthorizationOutcome, DryRun, Verdict};
pub(crate) use usher_core::claims::{Claims, Identity};
pub(crate) use usher_core::codec::json::parse as strict_json;
pub(crate) use usher_core::codec::problems::{InvalidConfig, Node, Problems};
pub(crate) use usher_core::codec::redaction;
pub(crate) use usher_core::compact::{Compact, parse as parse_compact};
pub(crate) use usher_core::crypto::portable::Portable;
pub(crate) use usher_core::crypto::spki;
pub(crate) use usher_core::crypto::{Algorithm, Key, SignatureEngine};
pub(crate) use usher_core::decide::{Decision, Trace, WorkerState};
pub(crate) use usher_core::jwks::{KeySet, Origin, Published};
pub(crate) use usher_core::path::normalize;
pub(crate) use usher_core::policy::{
    Emit, JwksLocation, Location, Normalization, PeerIdentity, Prefix, Remote, Selection, Source,
    Terms, TokenLimits, TokenLocation,
};
pub(crate) use usher_core::remote::{
    Answer, Event, FetchError, MAX_BYTES, Moment, Record, Step, Worker, look_after,
};
pub(crate) use usher_core::request::{
    Connection, MetadataValue, Metadatum, Peer, Request, certificate, metadata, peer,
};
pub(crate) use usher_core::time::{UnixMillis, UnixSeconds};
pub(crate) use usher_core::token::Locations;

/// A configuration, and its warnings.
pub(crate) type Read = (Config, Vec<InvalidConfig>);

pub(crate) fn config_of_text(text: &[u8]) -> Result<Read, Vec<InvalidConfig>> {
    usher_core::load::from_json(text).map(|loaded| (loaded.policy, loaded.warnings))
}

pub(crate) fn config_of_value(value: &Value) -> Result<Read, Vec<InvalidConfig>> {
    usher_core::load::from_value(value).map(|loaded| (loaded.policy, loaded.warnings))
}

pub(crate) fn decide(
    config: &Config,
    request: &Request,
    now: u64,
    worker_state: &mut WorkerState,
) -> Decision {
    usher_core::decide(config, request, UnixSeconds(now), worker_state)
}

/// The outcome of the policies for a request, as in a decision.
pub(crate) fn evaluate(
    config: &Config,
    request: &Request,
    identity: Option<&Identity>,
) -> AuthorizationOutcome {
    authorize::evaluate(&config.authorization, request, identity)
}

/// The names of the matching rules, by trying each.
pub(crate) fn matching(
    config: &Config,
    request: &Request,
    identity: Option<&Identity>,
) -> Vec<String> {
    let rules = authorize::trace_rules(&config.authorization, request, identity);
    rules.into_iter().filter(|rule| rule.miss.is_none()).map(|rule| rule.name).collect()
}

/// The line of the decision log, if each decision has one.
pub(crate) fn log_line(
    config: &Config,
    request: &Request,
    decision: &Decision,
    now: u64,
) -> String {
    use usher_core::observe::decision_log::{LineContext, line};
    let mut log = config.settings.decision_log.clone();
    log.emit = Emit::All;
    let context = LineContext {
        now: UnixSeconds(now),
        generation: 1,
        process_key: b"0123456789abcdef",
        ..LineContext::default()
    };
    line(&log, request, decision, &context)
}

pub(crate) use usher_core::observe::decision_log::LINE_BYTES;

/// The trailers that are forwarded.
pub(crate) fn trailers(
    config: &Config,
    trailers: &[(Vec<u8>, Vec<u8>)],
) -> Vec<(Vec<u8>, Vec<u8>)> {
    let request = Request { headers: trailers.to_vec(), ..Request::default() };
    usher_core::trailers::mutations(config, trailers.to_vec()).applied(&request).headers
}
