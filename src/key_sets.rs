//! Remote key sets: the host's timer, calls and shared data around [`usher_core::remote`], which decides what to do.
//!
//! Fetched keys belong to the whole VM, not to a configuration: a new one finds the keys of the old. The record of
//! each source is in the host's shared data, where the other workers find it. No callback waits; a request that must
//! wait is held (see `pending`).

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Duration;

use usher_core::Compiled;
use usher_core::policy::Remote;
use usher_core::remote::{
    self, Answer, CachedJwks, Call, Event, FetchError, Heard, JwksCache, MAX_BYTES, MissingKey,
    Moment, Record, Step, Worker,
};
use usher_core::time::{Millis, UnixMillis};

use crate::host::{ABSENT, HeaderMap, Host, SharedDataWrite};

/// The key sets of a VM, and their refreshes.
#[derive(Default)]
pub(crate) struct KeySets {
    jwks_cache: JwksCache,
    refreshes: RefCell<HashMap<String, Weak<Refresh>>>,
    turn: Rc<Cell<u64>>,
}

/// How often a step is repeated if another worker was faster. Each time some worker succeeds, so that all of them do
/// after as many tries as there are workers; the next tick tries again.
const TRIES: usize = 8;

/// The refresh of one source in this VM, for as long as a policy in force uses it.
pub(crate) struct Refresh {
    /// The source's id.
    id: String,
    jwks_cache: JwksCache,
    state: RefCell<State>,
}

struct State {
    jwks_cache: JwksCache,
    turn: Rc<Cell<u64>>,
    /// The terms of the latest configuration.
    remote: Rc<Remote>,
    worker: Worker,
    /// The record as last read; without shared data, the record itself.
    record: Record,
    /// Whether the host shares data.
    shared: bool,
    /// The call in progress, and the root context that made it.
    call: Option<(u32, u32)>,
    fetches: Fetches,
}

/// The number of this worker's completed fetches, by result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetches {
    /// With a set that has a key.
    pub(crate) good: u64,
    /// With a set that has none.
    pub(crate) empty: u64,
    /// Without a set.
    pub(crate) failed: u64,
}

impl KeySets {
    /// The sets, as decisions find them.
    pub(crate) fn jwks_cache(&self) -> JwksCache {
        self.jwks_cache.clone()
    }

    /// The refreshes that a policy needs; they stop when the last policy that needs them is gone.
    pub(crate) fn adopt<H: Host>(&self, host: &H, policy: &Compiled) -> Vec<Rc<Refresh>> {
        let remotes = policy.jwt.rules.iter().filter_map(|rule| rule.keys.remote());
        let refreshes: Vec<_> = remotes.map(|remote| self.refresh_of(host, remote)).collect();
        for refresh in &refreshes {
            refresh.look(host);
        }
        refreshes
    }

    /// Does what is due for every refresh, in the root context `root`. Returns when to call again.
    pub(crate) fn tick<H: Host>(&self, host: &H, root: u32) -> Option<Duration> {
        let now = host.unix_millis();
        let all = self.all();
        for refresh in &all {
            refresh.look(host);
            refresh.step(host, &Event::Tick, root);
        }
        all.iter()
            .filter_map(|refresh| {
                Some(remote::look_after(&refresh.state.try_borrow().ok()?.record, now))
            })
            .min()
    }

    /// Handles the response to the call with this number.
    pub(crate) fn answered<H: Host>(&self, host: &H, call: u32, headers: usize, body_size: usize) {
        let of_call = |refresh: &Rc<Refresh>| {
            refresh.state.try_borrow().is_ok_and(|s| s.call.is_some_and(|(c, _)| c == call))
        };
        if let Some(refresh) = self.all().into_iter().find(of_call) {
            let root = refresh.take_call();
            let answer = if headers == 0 {
                Err(FetchError::Unreachable("no answer in time, or no connection"))
            } else {
                answer(host, body_size)
            };
            refresh.step(host, &Event::Answered(answer), root);
        }
    }

    /// The fetches of the source with this id, by any plugin's timer: all plugins share the VM.
    pub(crate) fn fetches(&self, id: &str) -> Fetches {
        let refresh = self.of_id(id);
        refresh
            .and_then(|r| r.state.try_borrow().ok().map(|state| state.fetches))
            .unwrap_or_default()
    }

    /// A number that changes whenever a fetch has ended or a key set was confirmed, by any worker.
    pub(crate) fn turn(&self) -> u64 {
        self.turn.get()
    }

    /// The root context `root` is about to end, and its calls with it.
    pub(crate) fn abandon<H: Host>(&self, host: &H, root: u32) {
        for refresh in self.all() {
            let lost =
                refresh.state.try_borrow().is_ok_and(|s| s.call.is_some_and(|(_, r)| r == root));
            if lost {
                refresh.take_call();
                refresh.step(host, &Event::Answered(Err(FetchError::Lost)), root);
            }
        }
    }

    /// Reads what other workers have fetched of the keys that a decision lacked. Returns whether there is a change:
    /// then it is worth deciding again.
    pub(crate) fn look<H: Host>(&self, host: &H, missing_keys: &[MissingKey]) -> bool {
        let refreshes = missing_keys.iter().filter_map(|missing| self.find(missing));
        refreshes.fold(false, |news, refresh| news | refresh.look(host))
    }

    /// Requests the keys that a request lacked; the next tick of some worker fetches them. Returns whether others have
    /// arrived meanwhile: then it is worth deciding again.
    pub(crate) fn ask<H: Host>(&self, host: &H, missing_keys: &[MissingKey]) -> bool {
        let before = self.epoch();
        for missing in missing_keys {
            if let (Some(kid), Some(refresh)) = (&missing.kid, self.find(missing)) {
                refresh.step(host, &Event::Unknown { kid: kid.clone() }, 0);
            }
        }
        self.epoch() != before
    }

    /// A number that changes whenever the JWKS cache's keys change.
    pub(crate) fn epoch(&self) -> u64 {
        self.jwks_cache.epoch()
    }

    /// The keys that a request lacked, with what it needs while it waits for them.
    pub(crate) fn awaited(&self, missing_keys: &[MissingKey]) -> Vec<Awaited> {
        let awaited = |missing: &MissingKey| {
            let timeout =
                u64::try_from(missing.remote.terms.timeout.as_millis()).unwrap_or_default();
            Some(Awaited { refresh: self.find(missing)?, kid: missing.kid.clone(), timeout })
        };
        missing_keys.iter().filter_map(awaited).collect()
    }

    fn all(&self) -> Vec<Rc<Refresh>> {
        let all = self.refreshes.try_borrow();
        all.map(|all| all.values().filter_map(Weak::upgrade).collect()).unwrap_or_default()
    }

    fn find(&self, missing: &MissingKey) -> Option<Rc<Refresh>> {
        self.of_id(&missing.remote.source.id())
    }

    fn of_id(&self, id: &str) -> Option<Rc<Refresh>> {
        self.refreshes.try_borrow().ok()?.get(id)?.upgrade()
    }

    /// The refresh of this source: the present one, or a new one.
    fn refresh_of<H: Host>(&self, host: &H, remote: &Rc<Remote>) -> Rc<Refresh> {
        let id = remote.source.id();
        if let Some(refresh) = self.of_id(&id) {
            if let Ok(mut state) = refresh.state.try_borrow_mut() {
                state.remote = Rc::clone(remote);
            }
            return refresh;
        }
        let state = State {
            jwks_cache: self.jwks_cache.clone(),
            turn: Rc::clone(&self.turn),
            remote: Rc::clone(remote),
            worker: Worker::new(host.random()),
            record: Record::default(),
            shared: true,
            call: None,
            fetches: Fetches::default(),
        };
        let (jwks_cache, state) = (self.jwks_cache.clone(), RefCell::new(state));
        let refresh = Rc::new(Refresh { id: id.clone(), jwks_cache, state });
        if let Ok(mut all) = self.refreshes.try_borrow_mut() {
            all.retain(|_, refresh| refresh.strong_count() > 0);
            all.insert(id, Rc::downgrade(&refresh));
        }
        refresh
    }
}

/// Keys that a request waits for.
pub(crate) struct Awaited {
    refresh: Rc<Refresh>,
    kid: Option<String>,
    timeout: Millis,
}

impl Awaited {
    /// Whether they may still arrive in time, as far as this worker knows.
    pub(crate) fn are_coming(&self, arrived: UnixMillis, now: UnixMillis) -> bool {
        // A clock that fails (0), or is set far back, must not cause an endless wait.
        let known = now > UnixMillis::NO_CLOCK && now.saturating_add(self.timeout) >= arrived;
        let until = arrived.saturating_add(self.timeout);
        let worth = |s: &State| s.record.is_worth_waiting(self.kid.as_deref(), until, now);
        known && self.refresh.state.try_borrow().is_ok_and(|state| worth(&state))
    }
}

impl Refresh {
    /// Reads the shared record. Returns whether its keys differ from those in the JWKS cache.
    fn look<H: Host>(&self, host: &H) -> bool {
        match self.state.try_borrow_mut() {
            Ok(mut state) => {
                let (record, _) = state.read(host, &self.id);
                state.see(&self.id, record)
            }
            Err(_) => false,
        }
    }

    fn take_call(&self) -> u32 {
        let call = self.state.try_borrow_mut().ok().and_then(|mut state| state.call.take());
        call.map(|(_, root)| root).unwrap_or_default()
    }

    /// Takes a step, and repeats it while other workers are faster.
    fn step<H: Host>(&self, host: &H, event: &Event, root: u32) {
        let Ok(mut state) = self.state.try_borrow_mut() else { return };
        for _ in 0..TRIES {
            let (record, version) = state.read(host, &self.id);
            let at = Moment { now: host.unix_millis(), random: host.random() };
            let step = state.worker.step(&state.remote, &record, event, at);
            if let Some(next) = &step.record
                && !state.write(host, &self.id, next, version)
            {
                continue;
            }
            state.worker.commit(&step);
            let record = step.record.clone().unwrap_or(record);
            state.report(host, &step, &record);
            state.see(&self.id, record);
            let Some(call) = step.call else { return };
            match dispatch(host, &state.remote.source.cluster, &call) {
                Ok(token) => {
                    state.call = Some((token, root));
                    return;
                }
                Err(why) => {
                    drop(state);
                    return self.step(
                        host,
                        &Event::Answered(Err(FetchError::Unreachable(why))),
                        root,
                    );
                }
            }
        }
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        self.jwks_cache.forget(&self.id);
    }
}

impl State {
    /// The record and its version.
    fn read<H: Host>(&self, host: &H, id: &str) -> (Record, u32) {
        if !self.shared {
            return (self.record.clone(), 0);
        }
        match host.shared_data(&key(id)) {
            Some((bytes, version)) => (Record::from_bytes(&bytes).unwrap_or_default(), version),
            None => (Record::default(), ABSENT),
        }
    }

    /// Writes the record if it still has this version.
    fn write<H: Host>(&mut self, host: &H, id: &str, record: &Record, version: u32) -> bool {
        if !self.shared {
            return true;
        }
        match host.set_shared_data(&key(id), &record.to_bytes(), version) {
            SharedDataWrite::Done => true,
            SharedDataWrite::CasMismatch => false,
            SharedDataWrite::Failed => {
                // A host without shared data: each worker fetches for itself.
                self.shared = false;
                true
            }
        }
    }

    /// Stores the record, and its keys in the JWKS cache. Returns whether they have changed.
    fn see(&mut self, id: &str, record: Record) -> bool {
        let held = self.jwks_cache.held(id);
        let other = record.generation != self.record.generation || held.is_none();
        if other || record.fetched_at != self.record.fetched_at {
            self.turn.set(self.turn.get().wrapping_add(1));
        }
        let keys = match held {
            Some(held) if !other => held.keys,
            _ => record.keys(&self.remote.source.selection),
        };
        let heard = if record.filled > 0 { Heard::Once } else { Heard::Never };
        self.jwks_cache.hold(
            id,
            CachedJwks {
                keys,
                fetched_at: record.fetched_at.seconds(),
                retry_at: record.due_at.seconds(),
                heard,
            },
        );
        self.record = record;
        other
    }

    fn report<H: Host>(&mut self, host: &H, step: &Step, record: &Record) {
        let place = &self.remote.source.place;
        match &step.outcome {
            None | Some(Err(FetchError::Lost)) => return,
            Some(Ok(warnings)) if record.empty > 0 => {
                self.fetches.empty = self.fetches.empty.saturating_add(1);
                let tokens = match record.filled {
                    0 => "none was ever listed, so that only keys of `jwks` beside it count",
                    _ => "the last one is withdrawn, and tokens of the issuer are refused",
                };
                log::warn!("usher: keys: {place}: the set holds no key for signatures: {tokens}");
                for warning in warnings {
                    log::warn!("usher: keys: {place}: {warning}");
                }
            }
            Some(Ok(warnings)) => {
                self.fetches.good = self.fetches.good.saturating_add(1);
                let failed = self.record.fruitless() > 0;
                if failed || record.generation != self.record.generation {
                    log::info!("usher: keys: {place}: set {} in force", record.generation);
                    for warning in warnings {
                        log::warn!("usher: keys: {place}: {warning}");
                    }
                }
            }
            Some(Err(error)) => {
                self.fetches.failed = self.fetches.failed.saturating_add(1);
                let failures = record.failures;
                log::warn!("usher: keys: {place}: failed fetch {failures} in a row: {error}");
                let max_stale = self.remote.terms.max_stale;
                let age = host.unix_millis().since(record.fetched_at);
                let left = max_stale.saturating_sub(Duration::from_millis(age)).as_secs();
                if record.filled > 0 && record.empty == 0 {
                    log::warn!(
                        "usher: keys: {place}: nothing is withdrawn by a failed fetch: the keys of the last \
                         good set stay in force for {left} s more"
                    );
                }
            }
        }
        self.turn.set(self.turn.get().wrapping_add(1));
    }
}

fn key(id: &str) -> String {
    format!("usher.keys {id}")
}

fn dispatch<H: Host>(host: &H, cluster: &str, call: &Call) -> Result<u32, &'static str> {
    let to = &call.location;
    let headers = [
        (":method", "GET"),
        (":scheme", to.scheme),
        (":authority", &to.authority),
        (":path", &to.path),
        ("accept", "application/json"),
        ("user-agent", concat!("usher/", env!("CARGO_PKG_VERSION"))),
    ];
    host.http_call(cluster, &headers, call.timeout)
        .ok_or("the cluster does not exist or has no connection to give")
}

/// The response that the host has.
fn answer<H: Host>(host: &H, body_size: usize) -> Result<Answer, FetchError> {
    if body_size > MAX_BYTES {
        return Err(FetchError::TooLarge(body_size));
    }
    let headers = host.header_map(HeaderMap::CallResponseHeaders);
    let body = host.call_body(body_size);
    let (headers, body) = headers
        .zip(body)
        .ok_or(FetchError::Unreachable("the host does not hand the answer over"))?;
    let texts = |name: &str| -> Vec<&str> {
        let values = headers.iter().filter(|(n, _)| n == name.as_bytes());
        values.filter_map(|(_, value)| std::str::from_utf8(value).ok()).collect()
    };
    let first = |name| texts(name).first().map(|text| text.trim().to_owned());
    Ok(Answer {
        status: first(":status").and_then(|text| text.parse().ok()).unwrap_or_default(),
        cache_control: texts("cache-control").join(","),
        age: first("age").and_then(|text| text.parse().ok()).unwrap_or_default(),
        location: first("location"),
        body,
    })
}
