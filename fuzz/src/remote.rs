//! Refreshing a remote key set: workers on one record, a server that answers anything, a host that gives up in time,
//! and a clock, with events in any order.
//!
//! A written case is a [`Plan`] in JSON.

use std::time::Duration;

use arbitrary::{Arbitrary as _, Unstructured};
use serde::{Deserialize, Serialize};

use crate::draw::Draw;
use crate::subject::{
    Answer, Event, FetchError, JwksLocation, Location, MAX_BYTES, Moment, Record, Remote,
    Selection, Source, Step, Terms, UnixMillis, Worker, look_after,
};
/// Times in milliseconds, as in docs/remote-keys.md.
const SECOND: u64 = 1_000;
const CREDIT: usize = 5;
const CREDIT_EVERY: u64 = 30_000;
const LAST_BACK_OFF: u64 = 60_000;

const MAX_HAPPENINGS: usize = 300;

const ISSUER: &str = "https://i.example";

/// Sets with keys.
const SETS: [&str; 3] = [
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"JuGCgS62BGmiaqq5cq8CqQ5wLIdk5kIfer3rKmK671Q"}]}"#,
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"b","x":"JuGCgS62BGmiaqq5cq8CqQ5wLIdk5kIfer3rKmK671Q"},{"kty":"RSA","kid":"bad"}]}"#,
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k1","x":"JuGCgS62BGmiaqq5cq8CqQ5wLIdk5kIfer3rKmK671Q"}]}"#,
];

/// Sets that withdraw the last key.
const EMPTY: [&str; 2] =
    [r#"{"keys":[]}"#, r#"{"keys":[{"kty":"OKP","crv":"X25519","use":"enc","x":"AA"}]}"#];

const CACHE_CONTROLS: [&str; 7] = [
    "max-age=60",
    "no-store",
    "max-age=99999999999999999999",
    "max-age=18446744073709551615",
    "max-age=0, public",
    "max-age=\"10\"",
    "MAX-AGE=5,max-age=7",
];

const CONFIGURATIONS: [&str; 4] = [
    r#"{"issuer":"https://i.example","jwks_uri":"https://i.example/k"}"#,
    r#"{"issuer":"https://other","jwks_uri":"https://i.example/k"}"#,
    r#"{"issuer":"https://i.example","jwks_uri":"https://o.example/k"}"#,
    "{}",
];

/// What happens, and to how many workers. Numbers that choose are taken modulo the number of choices.
#[derive(arbitrary::Arbitrary, Clone, Debug, Deserialize, Serialize)]
struct Plan {
    discovery: bool,
    timeout: u8,
    max_stale: u8,
    workers: u8,
    happens: Vec<Happening>,
}

#[derive(arbitrary::Arbitrary, Clone, Debug, Deserialize, Serialize)]
enum Happening {
    /// The answer to the worker's call, if one is in progress.
    Answer {
        worker: u8,
        with: Answered,
        race: bool,
    },
    /// The clock is set back.
    Back {
        seconds: u16,
    },
    /// A worker ends, its call with it, and another begins.
    End {
        worker: u8,
    },
    Pass {
        millis: u16,
    },
    PassSeconds {
        seconds: u16,
    },
    Tick {
        worker: u8,
        random: u64,
        race: bool,
    },
    Unknown {
        worker: u8,
        kid: u8,
        race: bool,
    },
}

#[derive(arbitrary::Arbitrary, Clone, Debug, Deserialize, Serialize)]
enum Answered {
    Bytes(Vec<u8>),
    Configuration(u8),
    Empty(u8),
    Lost,
    Redirect,
    Set { set: u8 },
    SetFor { set: u8, cache_control: u8, age: u64 },
    Status(u16),
    TooLarge,
    Unreachable,
}

pub(crate) fn run(data: &[u8]) {
    let plan = match Draw::of(data) {
        Some(mut draw) => {
            let source: &mut Unstructured<'_> = draw.source();
            Plan::arbitrary(source).ok()
        }
        None => serde_json::from_slice(data).ok(),
    };
    if let Some(plan) = plan {
        Process::new(&plan).play(&plan);
    }
}

fn choose<T: Copy>(of: &[T], number: u8) -> T {
    of[usize::from(number) % of.len()]
}

/// A call in progress.
#[derive(Clone, Copy)]
struct Call {
    worker: usize,
    until: u64,
}

struct Process {
    remote: Remote,
    timeout: u64,
    now: u64,
    record: Record,
    workers: Vec<Worker>,
    last_worker: u64,
    calls: Vec<Call>,
    /// Whether the clock was ever set back: then no bound in time holds.
    set_back: bool,
    failures: u32,
    failed_at: u64,
    /// When fetches began that were not due, and when sets changed.
    refetches: Vec<u64>,
    changes: Vec<u64>,
    log: Vec<String>,
    plan: String,
}

impl Process {
    fn new(plan: &Plan) -> Self {
        let location = |path: &str| Location::parse(&format!("{ISSUER}{path}")).unwrap();
        let place = match plan.discovery {
            true => JwksLocation::Discovery {
                issuer: ISSUER.to_owned(),
                configuration: location("/.well-known/openid-configuration"),
            },
            false => JwksLocation::Keys(location("/k")),
        };
        let timeout = choose(&[100, SECOND, 5 * SECOND, 60 * SECOND], plan.timeout);
        let stale = [2 * SECOND, 10 * SECOND, 3_600 * SECOND, 86_400 * SECOND, u64::MAX / 2];
        let terms = Terms {
            timeout: Duration::from_millis(timeout),
            max_stale: Duration::from_millis(choose(&stale, plan.max_stale)),
        };
        let source = Source { cluster: "c".to_owned(), place, selection: Selection::default() };
        let last_worker = 1 + u64::from(plan.workers % 4);
        Self {
            remote: Remote { source, terms, inline: None },
            timeout,
            now: 1_700_000_000_000,
            record: Record::default(),
            workers: (1..=last_worker).map(Worker::new).collect(),
            last_worker,
            calls: Vec::new(),
            set_back: false,
            failures: 0,
            failed_at: 0,
            refetches: Vec::new(),
            changes: Vec::new(),
            log: Vec::new(),
            plan: serde_json::to_string(plan).unwrap(),
        }
    }

    fn shown(&self) -> String {
        format!("{}\n{}", self.log.join("\n"), self.plan)
    }

    fn play(mut self, plan: &Plan) {
        for happening in plan.happens.iter().take(MAX_HAPPENINGS) {
            self.happen(happening);
            self.record_is_sound();
        }
        self.ends_with_a_fetch();
    }

    fn happen(&mut self, happening: &Happening) {
        let count = self.workers.len();
        let index = |worker: &u8| usize::from(*worker) % count;
        match happening {
            Happening::Pass { millis } => self.pass(u64::from(*millis)),
            Happening::PassSeconds { seconds } => self.pass(u64::from(*seconds) * SECOND),
            Happening::Back { seconds } => {
                self.set_back |= *seconds > 0;
                self.now -= u64::from(*seconds) * SECOND;
            }
            Happening::End { worker } => {
                let worker = index(worker);
                self.calls.retain(|call| call.worker != worker);
                self.last_worker += 1;
                self.workers[worker] = Worker::new(self.last_worker);
            }
            Happening::Tick { worker, random, race } => {
                self.step(index(worker), &Event::Tick, *random, *race);
            }
            Happening::Unknown { worker, kid, race } => {
                let kids = ["a", "b", "k1", "new"];
                let known = kids.get(usize::from(*kid)).map(|kid| (*kid).to_owned());
                let kid = known.unwrap_or_else(|| format!("m{kid}"));
                self.step(index(worker), &Event::Unknown { kid }, 7, *race);
            }
            Happening::Answer { worker, with, race } => {
                let worker = index(worker);
                if let Some(at) = self.calls.iter().position(|call| call.worker == worker) {
                    self.calls.remove(at);
                    self.step(worker, &Event::Answered(answer(with)), 7, *race);
                }
            }
        }
    }

    /// The host ends a call that is not answered in time, before the next event.
    fn pass(&mut self, millis: u64) {
        let end = self.now + millis;
        loop {
            let due =
                self.calls.iter().filter(|call| call.until <= end).min_by_key(|call| call.until);
            let Some(Call { worker, until }) = due.copied() else { break };
            self.calls.retain(|call| call.worker != worker);
            self.now = until.max(self.now);
            self.step(worker, &Event::Answered(Err(FetchError::Unreachable("timeout"))), 7, false);
        }
        self.now = end;
    }

    /// A step of one worker. With a `race` all others take theirs between its read and its write.
    fn step(&mut self, worker: usize, event: &Event, random: u64, race: bool) {
        let mut race = race;
        loop {
            let read = self.record.clone();
            let at = Moment { now: UnixMillis(self.now), random };
            let step = self.workers[worker].step(&self.remote, &read, event, at);
            if std::mem::take(&mut race) {
                for other in (0..self.workers.len()).filter(|other| *other != worker) {
                    self.step(other, &Event::Tick, !random, false);
                }
            }
            // A worker that is too late reads again.
            if step.record.is_some() && self.record != read {
                continue;
            }
            self.took(worker, event, &read, &step);
            return;
        }
    }

    fn took(&mut self, worker: usize, event: &Event, before: &Record, step: &Step) {
        self.log.push(format!("{} {worker} {event:?}\n  {step:?}", self.now));
        if let Some(record) = &step.record {
            self.record = record.clone();
        }
        self.workers[worker].commit(step);
        match &step.outcome {
            Some(Ok(_)) => {
                self.failures = 0;
                if self.record.body != before.body {
                    self.changes.push(self.now);
                }
            }
            Some(Err(error)) if *error != FetchError::Lost && step.record.is_some() => {
                self.failures += 1;
                self.failed_at = self.now;
            }
            Some(Err(_)) | None => {}
        }
        if let Some(call) = &step.call {
            assert_eq!(call.timeout, self.remote.terms.timeout, "{}", self.shown());
            if !matches!(event, Event::Answered(_)) {
                self.may_fetch(before);
            }
            self.calls.push(Call { worker, until: self.now + self.timeout });
            // INVARIANT (one fetch).
            assert!(self.calls.len() == 1 || self.set_back, "two at once: {}", self.shown());
        }
        self.kept(before);
    }

    /// A fetch that begins now: not before the back-off allows it, and if it is not due, only within the credit.
    fn may_fetch(&mut self, before: &Record) {
        if self.set_back {
            return;
        }
        if let Some(doublings) = self.failures.checked_sub(1) {
            let step = SECOND.saturating_mul(2_u64.saturating_pow(doublings)).min(LAST_BACK_OFF);
            let least = self.failed_at + step / 2;
            assert!(self.now >= least, "before {least}: {}", self.shown());
        } else if self.now < before.due_at.0 {
            self.refetches.push(self.now);
            for (at, since) in self.refetches.iter().enumerate() {
                let back = usize::try_from((self.now - since) / CREDIT_EVERY).unwrap();
                let changes = self.changes.iter().filter(|change| *change >= since).count();
                let made = self.refetches.len() - at;
                assert!(made <= CREDIT + back + changes + 1, "{made} refetches: {}", self.shown());
            }
        }
    }

    /// No answer makes the set worse.
    fn kept(&self, before: &Record) {
        let (old, new) = (before, &self.record);
        let readable = new.generation == 0 || new.keys(&Selection::default()).is_some();
        assert!(readable, "a set that cannot be read: {}", self.shown());
        let changed = (old.body != new.body, old.generation != new.generation);
        assert_eq!(changed.0, changed.1, "generation: {}", self.shown());
        assert!(new.generation >= old.generation, "generation: {}", self.shown());
        assert!(new.fetched_at >= old.fetched_at || self.set_back, "confirmed: {}", self.shown());
    }

    fn record_is_sound(&self) {
        let bytes = self.record.to_bytes();
        assert_eq!(Record::from_bytes(&bytes).as_ref(), Some(&self.record), "{}", self.shown());
        assert!(bytes.len() < 8192 + 2 * self.record.body.len(), "{}", self.shown());
        let look = look_after(&self.record, UnixMillis(self.now));
        let within = !look.is_zero() && look <= Duration::from_secs(1);
        assert!(within, "{look:?}: {}", self.shown());
    }

    /// After any history keys are fetched again within the longest `max-age` of a server, and a lease.
    fn ends_with_a_fetch(mut self) {
        self.calls.clear();
        for _ in 0..4_500 {
            self.now += SECOND;
            for worker in 0..self.workers.len() {
                let at = Moment { now: UnixMillis(self.now), random: self.now };
                let step = self.workers[worker].step(&self.remote, &self.record, &Event::Tick, at);
                if step.call.is_some() {
                    return;
                }
                if let Some(record) = &step.record {
                    self.record = record.clone();
                }
                self.workers[worker].commit(&step);
            }
        }
        panic!("no fetch for 75 minutes: {:?} {}", self.record, self.shown());
    }
}

fn answer(with: &Answered) -> Result<Answer, FetchError> {
    let ok = |body: &[u8]| Answer { status: 200, body: body.to_vec(), ..Answer::default() };
    Ok(match with {
        Answered::Lost => return Err(FetchError::Lost),
        Answered::Unreachable => return Err(FetchError::Unreachable("no cluster")),
        Answered::Bytes(bytes) => ok(bytes),
        Answered::Configuration(number) => ok(choose(&CONFIGURATIONS, *number).as_bytes()),
        Answered::Empty(number) => ok(choose(&EMPTY, *number).as_bytes()),
        Answered::Set { set } => ok(choose(&SETS, *set).as_bytes()),
        Answered::SetFor { set, cache_control, age } => Answer {
            cache_control: choose(&CACHE_CONTROLS, *cache_control).to_owned(),
            age: *age,
            ..ok(choose(&SETS, *set).as_bytes())
        },
        Answered::Redirect => Answer {
            status: 302,
            location: Some("https://e.example/".to_owned()),
            ..Answer::default()
        },
        Answered::Status(status) => Answer { status: *status, ..ok(SETS[0].as_bytes()) },
        Answered::TooLarge => ok(&vec![b' '; MAX_BYTES + 1]),
    })
}
