//! Refreshing the key set of a remote issuer, as a pure state machine: events in, actions out.
//!
//! The state of a key set is one [`Record`], which the workers of a process share. A worker takes a
//! [`step`](Worker::step): it reads the record, and the step returns the record to write in its place (by
//! compare-and-swap: a worker that is too late reads again), the request to make, or when to check again.
//! So one worker fetches for all of them, and no step needs a lock, a clock or a socket.
//!
//! Keys are fetched ahead of their expiry, never because of a request; the one exception is a token with
//! an unknown key, which may cause a refetch within [`CREDIT`]. A failed fetch changes no key. A set
//! without a key is not a failure: its issuer has withdrawn the last one, and no token is accepted until
//! it lists another; but it is fetched no more often than from a server that fails.

use std::time::Duration;

use crate::policy::{JwksLocation, Location, Remote, Terms};
use crate::time::{Millis, UnixMillis};

mod answer;
mod jwks_cache;
mod record;

pub use answer::{Answer, Discovered, FetchError, Fetched, MAX_BYTES};
pub use jwks_cache::{CachedJwks, Heard, JwksCache, MissingKey, Unavailable};
pub use record::Record;

/// How long a set is fresh if its server does not say: half the default of Envoy's jwt_authn
/// (`cache_duration`, 10 minutes).
const FRESH: Millis = 300_000;
/// Bounds for the server's `max-age`. Below them the server would be asked all the time; above them a key
/// that it has withdrawn would be accepted for too long.
const FRESH_BOUNDS: (Millis, Millis) = (30_000, 3_600_000);
/// The first back-off step, and the maximum for doubling.
const BACK_OFF: (Millis, Millis) = (1_000, 60_000);
/// Refetches for unknown keys in a row. One is returned with every change of the set and after each
/// `CREDIT_EVERY`: tokens with invented key ids cost a server that much, and no more.
pub const CREDIT: u32 = 5;
/// See [`CREDIT`].
const CREDIT_EVERY: Millis = 30_000;
/// The least time between a fetch and a refetch for an unknown key.
const SPACING: Millis = 1_000;
/// How long a key id that a server did not list is not fetched again: a client that repeats one then
/// spends no more than is returned ([`CREDIT_EVERY`]).
const ABSENT: Millis = CREDIT_EVERY;
/// The same for a key that the server has withdrawn: its tokens remain in use until they expire.
const WITHDRAWN: Millis = 300_000;
/// The number of wanted and of absent key ids that are remembered.
const REMEMBERED: usize = 64;
/// The time by which a lease outlasts its calls.
const GRACE: Millis = 1_000;
/// The longest time until a worker checks what the others have fetched.
const LOOK: Millis = 1_000;

/// The time of a step.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: UnixMillis,
    /// A random number, for jitter.
    pub random: u64,
}

/// An event.
#[derive(Clone, Debug)]
pub enum Event {
    /// The answer to this worker's call, or its failure.
    Answered(Result<Answer, FetchError>),
    /// The timer.
    Tick,
    /// A token names a key that is not in the set.
    Unknown {
        /// Its `kid`.
        kid: String,
    },
}

/// The result of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The record to write in place of the one that was read. If another was written meanwhile, the step
    /// had no effect: read again and repeat it.
    pub record: Option<Record>,
    /// The request to make.
    pub call: Option<Call>,
    /// The result of a fetch, for the log.
    pub outcome: Option<Result<Vec<String>, FetchError>>,
    flight: Option<Flight>,
}

/// A GET through the source's cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// What to get.
    pub location: Location,
    /// When to give up.
    pub timeout: Duration,
}

/// A worker's part in refreshing one set.
#[derive(Clone, Debug)]
pub struct Worker {
    /// A number that no other worker has.
    me: u64,
    flight: Option<Flight>,
}

/// A fetch in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flight {
    began: UnixMillis,
    /// When an answer is no longer expected: its request is gone.
    until: UnixMillis,
    stage: Stage,
}

/// What a fetch is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The OpenID configuration, which has the location of the keys.
    Discovery,
    Keys,
}

impl Worker {
    /// A worker; `me` is a number that no other has.
    pub fn new(me: u64) -> Self {
        Self { me, flight: None }
    }

    /// Whether a call of this worker is in progress.
    pub fn is_fetching(&self) -> bool {
        self.flight.is_some()
    }

    /// The result of `event`. It takes effect only with [`Worker::commit`].
    pub fn step(&self, remote: &Remote, record: &Record, event: &Event, at: Moment) -> Step {
        match event {
            Event::Tick => self.tick(remote, record, at),
            Event::Unknown { kid } => self.unknown(record, kid, at.now),
            Event::Answered(answer) => self.answered(remote, record, answer, at),
        }
    }

    /// Call this when the step's record was written, or if it has none.
    pub fn commit(&mut self, step: &Step) {
        self.flight = step.flight;
    }

    fn tick(&self, remote: &Remote, record: &Record, at: Moment) -> Step {
        if let Some(flight) = self.flight {
            if at.now < flight.until && flight.began <= at.now {
                return Step { flight: self.flight, ..Step::default() };
            }
            return self.failed(record, flight, FetchError::Lost, at);
        }
        if record.is_leased(at.now) || record.next_attempt(at.now) > at.now {
            return Step::default();
        }
        let mut record = record.clone();
        record.spend(at.now);
        let timeout = remote.terms.timeout;
        let (stage, location, calls) = match &remote.source.place {
            JwksLocation::Keys(location) => (Stage::Keys, location, 1),
            JwksLocation::Discovery { configuration, .. } => (Stage::Discovery, configuration, 2),
        };
        let until = at.now.saturating_add(millis(timeout).saturating_mul(calls));
        let flight = Flight { began: at.now, until: until.saturating_add(GRACE / 2), stage };
        record.lease(self.me, at.now, until.saturating_add(GRACE));
        Step {
            record: Some(record),
            call: Some(Call { location: location.clone(), timeout }),
            outcome: None,
            flight: Some(flight),
        }
    }

    /// Records that a key is wanted; the next tick fetches it.
    fn unknown(&self, record: &Record, kid: &str, now: UnixMillis) -> Step {
        let mut record = record.clone();
        let noted = record.note_missing(kid, now);
        Step { record: noted.then_some(record), flight: self.flight, ..Step::default() }
    }

    fn answered(
        &self,
        remote: &Remote,
        record: &Record,
        answer: &Result<Answer, FetchError>,
        at: Moment,
    ) -> Step {
        // An answer that is no longer expected: the lease ran out, and another worker has it.
        let Some(flight) = self.flight.filter(|_| record.holder() == Some(self.me)) else {
            return Step::default();
        };
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.failed(record, flight, error.clone(), at),
        };
        match (flight.stage, &remote.source.place) {
            (Stage::Discovery, JwksLocation::Discovery { issuer, configuration }) => {
                match answer.discover(issuer, configuration) {
                    Ok(Discovered { keys }) => Step {
                        call: Some(Call { location: keys, timeout: remote.terms.timeout }),
                        flight: Some(Flight { stage: Stage::Keys, ..flight }),
                        ..Step::default()
                    },
                    Err(error) => self.failed(record, flight, error, at),
                }
            }
            _ => match answer.keys(&remote.source.selection) {
                Ok(fetched) => self.fetched(remote, record, flight, &fetched, at),
                Err(error) => self.failed(record, flight, error, at),
            },
        }
    }

    fn fetched(
        &self,
        remote: &Remote,
        record: &Record,
        flight: Flight,
        fetched: &Fetched,
        at: Moment,
    ) -> Step {
        let mut record = record.clone();
        let was_due = record.due_at <= flight.began;
        let before = record.empty;
        record.accept(fetched, flight.began, at.now);
        let after = match record.empty {
            0 => refresh_after(fetched.max_age, &remote.terms, at),
            // Fetched as often as from a server that fails, for any `max-age`: no token is accepted
            // meanwhile.
            _ if was_due || before == 0 => back_off(record.fruitless(), at.random),
            // A refetch for an unknown key does not change the next fetch.
            _ => record.due_at.since(at.now),
        };
        record.due_at = at.now.saturating_add(after);
        Step {
            record: Some(record),
            outcome: Some(Ok(fetched.warnings.clone())),
            ..Step::default()
        }
    }

    fn failed(&self, record: &Record, flight: Flight, error: FetchError, at: Moment) -> Step {
        let outcome = Some(Err(error));
        // INVARIANT (one fetch): only its holder ends a lease.
        if record.holder() != Some(self.me) {
            return Step { outcome, ..Step::default() };
        }
        let lost = outcome == Some(Err(FetchError::Lost));
        let mut record = record.clone();
        if lost {
            // The server did not fail, and what was due still is.
            record.release();
        } else {
            record.refuse(flight.began);
            record.due_at = at.now.saturating_add(back_off(record.fruitless(), at.random));
        }
        Step { record: Some(record), outcome, ..Step::default() }
    }
}

/// The time from now until a worker should check again.
pub fn look_after(record: &Record, now: UnixMillis) -> Duration {
    let due = record.next_attempt(now).since(now).clamp(1, LOOK);
    Duration::from_millis(if record.is_leased(now) { LOOK } else { due })
}

/// A tenth to a fifth ahead of expiry, so that workers of many proxies do not fetch at the same time.
fn refresh_after(max_age: Option<Millis>, terms: &Terms, at: Moment) -> Millis {
    let (least, most) = FRESH_BOUNDS;
    let fresh = max_age.unwrap_or(FRESH).clamp(least, most);
    // More than one attempt before the set is too old to be used.
    let fresh = fresh.min(millis(terms.max_stale) / 2).max(SPACING);
    let tenth = fresh / 10;
    tenth.saturating_mul(8).saturating_add(share(tenth, at.random))
}

/// 1 s, 2 s, 4 s .. 60 s after this many failures in a row, the second half of it random.
fn back_off(failures: u32, random: u64) -> Millis {
    let (first, last) = BACK_OFF;
    let doublings = failures.saturating_sub(1).min(16);
    let step = first.saturating_mul(2_u64.saturating_pow(doublings)).min(last);
    (step / 2).saturating_add(share(step / 2, random))
}

/// A random part of a whole.
fn share(whole: Millis, random: u64) -> Millis {
    random.checked_rem(whole.saturating_add(1)).unwrap_or_default()
}

fn millis(duration: Duration) -> Millis {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
