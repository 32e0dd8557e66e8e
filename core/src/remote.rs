//! Refreshing the key set of a remote issuer, as a pure state machine: events in, actions out.
//!
//! What is known of a key set is one [`Record`], which the workers of a process share. A worker takes
//! a [`step`](Worker::step): it reads the record, and is told the record to write in its place (by
//! compare-and-swap: who comes too late reads again), the request to make, or when to look again. So
//! one worker fetches and all of them know, and no step needs a lock, a clock or a socket.
//!
//! Keys are fetched ahead of their expiry, never because a request came; the one exception is a token
//! of an unknown key, which may ask for a refetch within [`CREDIT`]. A failed fetch changes no key. A set
//! without a key is no failure: its issuer has withdrawn the last one, and nobody gets in until it lists
//! another; it is only asked as often as a server that fails.

use std::time::Duration;

use crate::policy::{JwksLocation, Location, Remote, Terms};
use crate::time::{Millis, UnixMillis};

mod answer;
mod jwks_cache;
mod record;

pub use answer::{Answer, Discovered, FetchError, Fetched, MOST_BYTES};
pub use jwks_cache::{CachedJwks, Heard, JwksCache, MissingKey, Unavailable};
pub use record::Record;

/// How long a set is fresh where its server does not say: half of what Envoy's jwt_authn takes
/// (`cache_duration`, 10 minutes).
const FRESH: Millis = 300_000;
/// Bounds of what a server may say. Below, it would be asked all the time; above, a key that it has
/// withdrawn would be believed for too long.
const FRESH_BOUNDS: (Millis, Millis) = (30_000, 3_600_000);
/// The first back-off step, and the last that doubling comes to.
const BACK_OFF: (Millis, Millis) = (1_000, 60_000);
/// Refetches for unknown keys that may follow each other. One comes back with every change of the set
/// and after each `CREDIT_EVERY`: tokens with made-up key ids cost a server that much, no more.
pub const CREDIT: u32 = 5;
/// See [`CREDIT`].
const CREDIT_EVERY: Millis = 30_000;
/// At least this long between a fetch and a refetch for an unknown key.
const SPACING: Millis = 1_000;
/// For so long a key id that a server did not list is not asked for again: a client that goes on with
/// one then spends no more than comes back ([`CREDIT_EVERY`]).
const ABSENT: Millis = CREDIT_EVERY;
/// So long for a key that the server has withdrawn: its tokens are about for as long as they last.
const WITHDRAWN: Millis = 300_000;
/// How many key ids are remembered as wanted, and as absent.
const REMEMBERED: usize = 64;
/// What a lease outlasts the calls that are made under it.
const GRACE: Millis = 1_000;
/// How long a worker goes without a look at what the others have found.
const LOOK: Millis = 1_000;

/// When a step is taken.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The time.
    pub now: UnixMillis,
    /// A random number, for jitter.
    pub random: u64,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// The call that this worker made was answered, or could not be.
    Answered(Result<Answer, FetchError>),
    /// The timer.
    Tick,
    /// A token names a key that the set does not hold.
    Unknown {
        /// Its `kid`.
        kid: String,
    },
}

/// What is to be done after a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Step {
    /// The record to write in place of the one that was read. If another was written meanwhile, the
    /// step did not happen: read again and repeat it.
    pub record: Option<Record>,
    /// The request to make.
    pub call: Option<Call>,
    /// What came of a fetch, for the log.
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

/// A worker's part in the refreshing of one set.
#[derive(Clone, Debug)]
pub struct Worker {
    /// A number that no other worker has.
    me: u64,
    flight: Option<Flight>,
}

/// A fetch under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Flight {
    began: UnixMillis,
    /// When no answer will come any more: its asker is gone.
    until: UnixMillis,
    stage: Stage,
}

/// What a fetch is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// The OpenID configuration, which says where the keys are.
    Discovery,
    Keys,
}

impl Worker {
    /// A worker; `me` is a number that no other has.
    pub fn new(me: u64) -> Self {
        Self { me, flight: None }
    }

    /// Whether a call of this worker is under way.
    pub fn is_fetching(&self) -> bool {
        self.flight.is_some()
    }

    /// What `event` leads to. Nothing has happened until [`Worker::commit`].
    pub fn step(&self, remote: &Remote, record: &Record, event: &Event, at: Moment) -> Step {
        match event {
            Event::Tick => self.tick(remote, record, at),
            Event::Unknown { kid } => self.unknown(record, kid, at.now),
            Event::Answered(answer) => self.answered(remote, record, answer, at),
        }
    }

    /// The step's record was written, or it had none.
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

    /// Notes that a key is wanted; the next tick sees to it.
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
        // An answer that nobody waits for any more: the lease ran out, and another has it.
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
            // Asked again as one that fails, whatever `max-age` it gives: nobody gets in meanwhile.
            _ if was_due || before == 0 => back_off(record.fruitless(), at.random),
            // A refetch for an unknown key moves nothing.
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
            // The server is not to blame, and what was due still is.
            record.release();
        } else {
            record.refuse(flight.began);
            record.due_at = at.now.saturating_add(back_off(record.fruitless(), at.random));
        }
        Step { record: Some(record), outcome, ..Step::default() }
    }
}

/// When a worker should look again, from now.
pub fn look_after(record: &Record, now: UnixMillis) -> Duration {
    let due = record.next_attempt(now).since(now).clamp(1, LOOK);
    Duration::from_millis(if record.is_leased(now) { LOOK } else { due })
}

/// Ahead of expiry, by a tenth to a fifth, so that workers of many proxies do not come together.
fn refresh_after(max_age: Option<Millis>, terms: &Terms, at: Moment) -> Millis {
    let (least, most) = FRESH_BOUNDS;
    let fresh = max_age.unwrap_or(FRESH).clamp(least, most);
    // More than one try before the set is too old to be used.
    let fresh = fresh.min(millis(terms.max_stale) / 2).max(SPACING);
    let tenth = fresh / 10;
    tenth.saturating_mul(8).saturating_add(share(tenth, at.random))
}

/// 1 s, 2 s, 4 s .. 60 s after so many failures in a row, of which the second half is left to chance.
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
