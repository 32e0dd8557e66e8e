//! What is reported to the operator: the decision log, metrics, the steps at log level debug, and a line for
//! each configuration.
//!
//! An observer outlives the configurations of its plugin: Envoy creates a new root context for each.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use usher_core::Compiled;
use usher_core::cache::Answer;
use usher_core::codec::hex;
use usher_core::codec::redaction;
use usher_core::decide::{Decision, Trace, WorkerState};
use usher_core::observe::decision_log::{self as log, Choice, Level, LineContext, Throttle};
use usher_core::observe::metrics::{self, Series, family};
use usher_core::observe::summary;
use usher_core::policy::HashKey;
use usher_core::policy::untried_keys::UntriedKeys;
use usher_core::remote::JwksCache;
use usher_core::request::Request;
use usher_core::time::UnixSeconds;

use crate::active_config::{ActiveConfig, ConfigStatus, Configured};
use crate::attributes;
use crate::host::{Host, LogLevel};
use crate::key_sets::Fetches;
use crate::stats::Stats;
use crate::worker::Worker;

/// One plugin in one worker.
#[derive(Default)]
pub(crate) struct Observer {
    stats: Stats,
    throttle: Throttle,
    process_key: Vec<u8>,
    generation: u64,
    hash: String,
    cache: Cache,
    fetches: HashMap<String, Fetches>,
    turn: Option<u64>,
    untried: Vec<UntriedKeys>,
    level_asked: UnixSeconds,
    traces: bool,
}

/// What was reported of the token cache of the configuration in force.
#[derive(Default)]
struct Cache {
    worker_state: Option<Rc<RefCell<WorkerState>>>,
    evictions: u64,
    entries: usize,
}

/// The observers of a VM, by the names of their plugins.
#[derive(Default)]
pub(crate) struct Observers(RefCell<HashMap<String, Rc<RefCell<Observer>>>>);

/// The longest step in a debug line, in bytes.
const STEP_BYTES: usize = 1024;

impl Observers {
    /// The observer of the plugin that is being configured.
    pub(crate) fn of_plugin<H: Host>(&self, host: &H) -> Rc<RefCell<Observer>> {
        let name = host.property(&["plugin_name"]).unwrap_or_default();
        let name = String::from_utf8_lossy(&name).into_owned();
        let new = || Observer { stats: Stats::new(name.clone()), ..Observer::default() };
        let Ok(mut observers) = self.0.try_borrow_mut() else { return Rc::default() };
        Rc::clone(observers.entry(name.clone()).or_insert_with(|| Rc::new(RefCell::new(new()))))
    }
}

impl Observer {
    /// Reports a configuration that was read.
    pub(crate) fn configured<H: Host>(
        &mut self,
        worker: &Worker<H>,
        configured: &Configured,
        worker_state: &Rc<RefCell<WorkerState>>,
    ) {
        let host = &worker.host;
        self.stats.set(host, &family::BUILD_INFO, [env!("CARGO_PKG_VERSION").into()], 1);
        let valid = configured.status == ConfigStatus::Applied;
        self.stats.set(host, &family::CONFIG_VALID, [], u64::from(valid));
        for problem in &configured.problems {
            warn(host, &format!("usher: invalid configuration: {problem}"));
        }
        let problems = configured.problems.len();
        let outcome = match (configured.status, configured.lacks) {
            (ConfigStatus::Applied, _) => None,
            (ConfigStatus::RolledBack, _) => Some("the last good configuration stays".to_owned()),
            (ConfigStatus::Rejected, None) => Some("every request is refused".to_owned()),
            (ConfigStatus::Rejected, Some(lacks)) => Some(format!(
                "every request is refused: without `{lacks}` no last good configuration is kept"
            )),
        };
        if let Some(outcome) = outcome {
            warn(host, &format!("usher: {problems} problems: {outcome}"));
        }
        if let ActiveConfig::InForce { policy, .. } = &configured.active {
            for warning in &configured.warnings {
                warn(host, &format!("usher: configuration: {warning}"));
            }
            self.in_force(worker, &configured.text, policy, worker_state);
        }
        self.stats.set(host, &family::CONFIG_GENERATION, [], self.generation);
    }

    fn in_force<H: Host>(
        &mut self,
        worker: &Worker<H>,
        text: &[u8],
        policy: &Compiled,
        worker_state: &Rc<RefCell<WorkerState>>,
    ) {
        let host = &worker.host;
        self.count_cache(host, 0, 0);
        self.cache = Cache { worker_state: Some(Rc::clone(worker_state)), ..Cache::default() };
        self.turn = None;
        // Earlier fetches for other plugins are not reported.
        let known = std::mem::take(&mut self.fetches);
        let since = |source: String| {
            let fetches = known.get(&source).copied();
            let fetches = fetches.unwrap_or_else(|| worker.key_sets.fetches(&source));
            (source, fetches)
        };
        self.fetches = sources(policy).into_keys().map(since).collect();
        let hash = summary::config_hash(text);
        let hex = hex::hex(&hash);
        if hex != self.hash {
            self.generation = self.generation.saturating_add(1);
            self.hash = hex;
        }
        self.stats.set(host, &family::CONFIG_HASH, [], summary::leading_bits(&hash));
        self.stats.zero(host, &family::JWKS_KEYS);
        for (provider, keys) in summary::usable_keys(policy, &worker.key_sets.jwks_cache()) {
            self.stats.set(host, &family::JWKS_KEYS, [provider.into()], keys);
        }
        // Inline keys are in the configuration's warnings already.
        self.untried = policy.jwt.untried(&JwksCache::default());
        self.count_untried(host, policy);
        if policy.settings.decision_log.hash == Some(HashKey::OfProcess) {
            self.process_key = host.shared("usher.decisionLog.hashKey", || random(host));
        }
        if let Ok(worker_state) = worker_state.try_borrow() {
            let line =
                summary::line(policy, &self.hash, &worker_state.jwks_cache, &*worker_state.engine);
            warn(host, &line);
        }
    }

    /// Reports the fetches for the rules of `policy` since the last report, and the current keys. Only for
    /// the policy in force: an older one, whose last requests are still in progress, may name its rules
    /// differently.
    pub(crate) fn fetched<H: Host>(
        &mut self,
        worker: &Worker<H>,
        policy: &Compiled,
        worker_state: &Rc<RefCell<WorkerState>>,
    ) {
        let host = &worker.host;
        let in_force =
            self.cache.worker_state.as_ref().is_some_and(|s| Rc::ptr_eq(s, worker_state));
        let turn = Some(worker.key_sets.turn());
        if !in_force || self.turn == turn {
            return;
        }
        self.turn = turn;
        let jwks_cache = worker.key_sets.jwks_cache();
        self.record_untried(host, policy, &jwks_cache);
        let keys = summary::usable_keys(policy, &jwks_cache);
        for (source, providers) in sources(policy) {
            let fetches = worker.key_sets.fetches(&source);
            let before = self.fetches.insert(source.clone(), fetches).unwrap_or_default();
            let fetched_at = jwks_cache.held(&source).map_or(0, |held| held.fetched_at.0);
            for provider in providers {
                for (result, now, before) in [
                    ("success", fetches.good, before.good),
                    ("empty", fetches.empty, before.empty),
                    ("failure", fetches.failed, before.failed),
                ] {
                    // Fewer than before: the refresh had ended, and started again.
                    let new = i64::try_from(now.checked_sub(before).unwrap_or(now));
                    if let Ok(new @ 1..) = new {
                        let labels = [provider.into(), result.into()];
                        self.stats.add(host, &Series::new(&family::JWKS_REFRESHES, labels), new);
                    }
                }
                if fetched_at > 0 {
                    self.stats.set(host, &family::JWKS_LAST_SUCCESS, [provider.into()], fetched_at);
                }
                let count = keys.get(provider).copied().unwrap_or_default();
                self.stats.set(host, &family::JWKS_KEYS, [provider.into()], count);
            }
        }
    }

    /// Reports keys that are not all tried, if that has changed.
    fn record_untried<H: Host>(&mut self, host: &H, policy: &Compiled, jwks_cache: &JwksCache) {
        let untried = policy.jwt.untried(jwks_cache);
        if untried == self.untried {
            return;
        }
        for group in untried.iter().filter(|group| !self.untried.contains(group)) {
            let Some(rule) = policy.jwt.rules.get(group.rule) else { continue };
            let problem = group.problem(policy.jwt.signature_checks);
            let line = format!("usher: keys: `{}`: {problem}", rule.provider);
            host.log(LogLevel::Warn, &redaction::clean(line.as_bytes(), STEP_BYTES));
        }
        self.untried = untried;
        self.count_untried(host, policy);
    }

    fn count_untried<H: Host>(&mut self, host: &H, policy: &Compiled) {
        self.stats.zero(host, &family::JWKS_KEYS_UNTRIED);
        for group in &self.untried {
            let Some(rule) = policy.jwt.rules.get(group.rule) else { continue };
            let untried = group.keys.saturating_sub(policy.jwt.signature_checks);
            let untried = u64::try_from(untried).unwrap_or(u64::MAX);
            self.stats.set(
                host,
                &family::JWKS_KEYS_UNTRIED,
                [rule.provider.as_str().into()],
                untried,
            );
        }
    }

    /// Whether decisions should describe their steps. The host is asked once a second at most.
    pub(crate) fn trace<H: Host>(&mut self, host: &H, now: UnixSeconds) -> Trace {
        if now != self.level_asked {
            self.level_asked = now;
            self.traces = host.logs(LogLevel::Debug);
        }
        if self.traces { Trace::Steps } else { Trace::Off }
    }

    /// Reports how the cache has changed. Each worker adds its part to a gauge for all.
    fn count_cache<H: Host>(&mut self, host: &H, evictions: u64, entries: usize) {
        let signed = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let grown = signed(entries).saturating_sub(signed(self.cache.entries));
        let evicted = evictions.saturating_sub(self.cache.evictions);
        for (family, change) in [
            (&family::TOKEN_CACHE_ENTRIES, grown),
            (&family::TOKEN_CACHE_EVICTIONS, i64::try_from(evicted).unwrap_or(i64::MAX)),
        ] {
            if change != 0 {
                self.stats.add(host, &Series::new(family, []), change);
            }
        }
        (self.cache.evictions, self.cache.entries) = (evictions, entries);
    }

    /// Counts a request that was answered at once, since the maximum number of requests wait for keys.
    pub(crate) fn pending_overflow<H: Host>(&mut self, host: &H) {
        self.stats.add(host, &Series::new(&family::PENDING_OVERFLOW, []), 1);
    }

    /// Reports a decision.
    pub(crate) fn decided<H: Host>(
        &mut self,
        host: &H,
        policy: Option<&Compiled>,
        request: &Request,
        decision: &Decision,
        now: UnixSeconds,
    ) {
        let stats = &mut self.stats;
        metrics::of_decision(decision, |series| stats.add(host, series, 1));
        if decision.report.cache == Some(Answer::Miss) {
            let worker_state = self.cache.worker_state.clone();
            if let Some(Ok(worker_state)) =
                worker_state.as_ref().map(|worker_state| worker_state.try_borrow())
            {
                self.count_cache(
                    host,
                    worker_state.cache.counts().evictions,
                    worker_state.cache.len(),
                );
            }
        }
        for step in &decision.report.steps {
            let id = request.header("x-request-id").unwrap_or(b"-");
            let (id, step) =
                (redaction::clean(id, STEP_BYTES), redaction::clean(step.as_bytes(), STEP_BYTES));
            host.log(LogLevel::Debug, &format!("usher: {id}: {step}"));
        }
        let standard = Default::default();
        let log = policy.map_or(&standard, |policy| &policy.settings.decision_log);
        match log::choose(log, decision, now, &mut self.throttle) {
            Choice::Skip => {}
            Choice::Suppress => {
                self.stats.add(host, &Series::new(&family::DECISION_LOG_SUPPRESSED, []), 1);
            }
            Choice::Write(level, suppressed) => {
                let mut connection = request.connection.clone();
                attributes::for_log(host, policy, &mut connection);
                let (generation, process_key) = (self.generation, self.process_key.as_slice());
                let connection = Some(&connection);
                let context = LineContext { now, generation, suppressed, process_key, connection };
                let level = match level {
                    Level::Info => LogLevel::Info,
                    Level::Warn => LogLevel::Warn,
                };
                host.log(level, &log::line(log, request, decision, &context));
            }
        }
    }
}

/// A line for the operator. It may repeat text from a configuration or a key server.
fn warn<H: Host>(host: &H, line: &str) {
    host.log(LogLevel::Warn, &redaction::one_line(line));
}

/// The sources of a policy's keys by their ids, with the providers that use each.
fn sources(policy: &Compiled) -> BTreeMap<String, BTreeSet<&str>> {
    let mut sources: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for rule in &policy.jwt.rules {
        if let Some(remote) = rule.keys.remote() {
            sources.entry(remote.source.id()).or_default().insert(&rule.provider);
        }
    }
    sources
}

/// A secret key. If the host has no random bytes, it consists of seeds for hash maps.
fn random<H: Host>(host: &H) -> Vec<u8> {
    let mut key = [0; 32];
    if !host.random_bytes(&mut key) {
        return (0..4).flat_map(|_| host.random().to_le_bytes()).collect();
    }
    key.to_vec()
}
