//! Workers, a server and a clock, all simulated: each write races with the steps of the others.

#![expect(clippy::arithmetic_side_effects, reason = "a test may stop at any surprise")]

use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::policy::{Keys, Selection, Source};
use crate::time::{UnixMillis, UnixSeconds};

const TIMEOUT: Millis = 5_000;
const MAX_STALE: Millis = 86_400_000;

fn location(url: &str) -> Location {
    Location::parse(url).unwrap()
}

fn remote(place: JwksLocation) -> Remote {
    let source = Source { cluster: "idp".to_owned(), place, selection: Selection::default() };
    let terms = Terms {
        timeout: Duration::from_millis(TIMEOUT),
        max_stale: Duration::from_millis(MAX_STALE),
    };
    Remote { source, terms, inline: None }
}

fn by_uri() -> Remote {
    remote(JwksLocation::Keys(location("https://idp.example/keys")))
}

fn set(kids: &[&str]) -> String {
    let key = |kid: &&str| {
        let x = "JuGCgS62BGmiaqq5cq8CqQ5wLIdk5kIfer3rKmK671Q";
        format!(r#"{{"kty":"OKP","crv":"Ed25519","kid":"{kid}","x":"{x}"}}"#)
    };
    format!(r#"{{"keys":[{}]}}"#, kids.iter().map(key).collect::<Vec<_>>().join(","))
}

fn key_set(body: &str) -> crate::jwks::KeySet {
    answer::read(body, &Selection::default()).unwrap().0
}

fn ok(body: &str) -> Result<Answer, FetchError> {
    Ok(Answer { status: 200, body: body.as_bytes().to_vec(), ..Answer::default() })
}

/// Every answer that is not a key set, and the error for it.
fn bad() -> Vec<(Result<Answer, FetchError>, &'static str)> {
    let with = |status, location: Option<&str>, body: &[u8]| {
        let location = location.map(str::to_owned);
        Ok(Answer { status, location, body: body.to_vec(), ..Answer::default() })
    };
    vec![
        (with(200, None, b"<html>"), "expected a JWK set, found no JSON"),
        (with(200, None, b""), "expected a JWK set, found no JSON"),
        (with(200, None, b"\xff"), "expected JSON, found bytes that are not UTF-8"),
        (
            with(200, None, br#"{"keys":[{"kty":"new","use":"sig"},{"kty":"RSA","use":"enc"}]}"#),
            "found none: `keys[0]`: `kty` `new` is not supported; `keys[1]`: `use` is not `sig`",
        ),
        (with(410, None, br#"{"keys":[]}"#), "expected status 200, found 410"),
        (
            with(200, None, br#"{"keys":[{"kty":"OKP","crv":"X25519","x":"AA"}]}"#),
            "expected at least one usable key, found none",
        ),
        (with(200, None, br#"{"error":1}"#), "expected a JWK set: `keys` is missing"),
        (with(200, None, &vec![b' '; MAX_BYTES + 1]), "expected at most 262144 bytes"),
        (with(500, None, set(&["a"]).as_bytes()), "expected status 200, found 500"),
        (with(304, None, b""), "expected status 200, found 304"),
        (with(302, Some("https://evil/"), b""), "found a redirect to `https://evil/`"),
        (Err(FetchError::Unreachable("no answer")), "no answer"),
    ]
}

/// Sets with which an issuer withdraws its last key.
const EMPTY: [&str; 3] = [
    r#"{"keys":[]}"#,
    r#"{"keys":[{"kty":"OKP","crv":"X25519","use":"enc","x":"AA"}]}"#,
    r#"{"keys":[{"kty":"RSA","use":"enc","d":"AQ"},{"kty":"EC","key_ops":["deriveKey"]}]}"#,
];

/// A process: the workers and what they share.
struct Process {
    remote: Remote,
    now: Millis,
    random: u64,
    record: Record,
    version: u64,
    workers: Vec<Worker>,
    /// The calls in progress: whose, since when, where to.
    calls: Vec<(usize, Millis, Location)>,
    /// When calls began.
    begun: Vec<Millis>,
    outcomes: Vec<Result<Vec<String>, FetchError>>,
}

impl Process {
    fn new(workers: u64, remote: Remote) -> Self {
        Self {
            remote,
            now: 1_700_000_000_000,
            random: 1,
            record: Record::default(),
            version: 0,
            workers: (1..=workers).map(Worker::new).collect(),
            calls: Vec::new(),
            begun: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        self.random >> 16
    }

    /// A step of one worker; `race`: others take theirs between its read and its write.
    fn step(&mut self, worker: usize, event: &Event, race: bool) {
        let mut race = race;
        loop {
            let (read, version) = (self.record.clone(), self.version);
            let at = Moment { now: UnixMillis(self.now), random: self.random() };
            let step = self.workers[worker].step(&self.remote, &read, event, at);
            if race {
                race = false;
                for other in (0..self.workers.len()).filter(|other| *other != worker) {
                    self.step(other, &Event::Tick, false);
                }
            }
            if let Some(record) = &step.record {
                if self.version != version {
                    continue;
                }
                let bytes = record.to_bytes();
                self.record = Record::from_bytes(&bytes).expect("what was written can be read");
                self.version += 1;
            }
            self.workers[worker].commit(&step);
            self.outcomes.extend(step.outcome.clone());
            if let Some(call) = step.call {
                assert_eq!(call.timeout, Duration::from_millis(TIMEOUT));
                self.calls.push((worker, self.now, call.location));
                self.begun.push(self.now);
            }
            assert!(self.calls.len() <= 1, "more than one fetch under way: {:?}", self.calls);
            return;
        }
    }

    fn tick(&mut self) {
        for worker in 0..self.workers.len() {
            self.step(worker, &Event::Tick, true);
        }
    }

    fn answer(&mut self, answer: &Result<Answer, FetchError>) {
        if let Some((worker, ..)) = self.calls.pop() {
            self.step(worker, &Event::Answered(answer.clone()), true);
        }
    }

    /// Lets time pass; the host ends a call that is not answered.
    fn pass(&mut self, millis: Millis, pace: Millis) {
        let end = self.now + millis;
        while self.now < end {
            self.now = (self.now + pace).min(end);
            if self.calls.first().is_some_and(|(_, since, _)| self.now >= since + TIMEOUT) {
                self.answer(&Err(FetchError::Unreachable("timeout")));
            }
            self.tick();
        }
    }

    /// As [`Process::pass`], with a server that answers at once.
    fn pass_with(&mut self, millis: Millis, answer: &Result<Answer, FetchError>) {
        let end = self.now + millis;
        while self.now < end {
            self.pass(100, 100);
            self.answer(answer);
        }
    }
}

#[test]
fn four_workers_fetch_once_and_ahead_of_expiry() {
    let mut process = Process::new(4, by_uri());
    process.tick();
    assert_eq!(process.begun.len(), 1, "at once");
    let mut answer = ok(&set(&["a"]));
    process.answer(&answer);
    assert_eq!((process.record.generation, process.record.failures), (1, 0));
    for (cache_control, age, expected) in [
        ("", 0, 300_000),
        ("max-age=600", 0, 600_000),
        ("public, Max-Age=\"600\", must-revalidate", 100, 500_000),
        ("max-age=5", 0, 30_000),
        ("max-age=99999999", 0, 3_600_000),
        ("no-store", 0, 30_000),
        ("max-age=600, no-cache", 0, 30_000),
        ("max-age=nonsense", 0, 300_000),
    ] {
        if let Ok(answer) = &mut answer {
            (answer.cache_control, answer.age) = (cache_control.to_owned(), age);
        }
        let before = process.begun.len();
        while process.begun.len() == before {
            process.pass(1_000, 1_000);
        }
        process.answer(&answer);
        let next = process.record.due_at.0 - process.now;
        let bounds = expected / 10 * 8..=expected / 10 * 9;
        assert!(bounds.contains(&next), "{cache_control}: {next} not in {bounds:?}");
        assert_eq!(process.record.generation, 1, "the same set is not a new one");
    }
}

#[test]
fn a_bad_answer_replaces_nothing() {
    for (answer, said) in bad() {
        let mut process = Process::new(2, by_uri());
        process.tick();
        process.answer(&ok(&set(&["a"])));
        let good = process.record.clone();
        while process.calls.is_empty() {
            process.pass(1_000, 1_000);
        }
        process.answer(&answer);
        let reported = process.outcomes.iter().find_map(|outcome| outcome.as_ref().err()).unwrap();
        assert!(reported.to_string().contains(said), "{reported} does not say {said}");
        assert_eq!(process.record.body, good.body, "{said}");
        assert_eq!(process.record.generation, 1, "{said}");
        assert!(
            process.record.is_usable(good.fetched_at.saturating_add(MAX_STALE - 1), MAX_STALE),
            "{said}"
        );
        assert!(
            !process.record.is_usable(good.fetched_at.saturating_add(MAX_STALE), MAX_STALE),
            "{said}"
        );
        assert_eq!(process.record.keys(&Selection::default()).unwrap().keys().len(), 1, "{said}");
    }
}

#[test]
fn a_server_that_fails_is_asked_once_a_back_off_step() {
    for (answer, said) in bad() {
        let mut process = Process::new(4, by_uri());
        process.pass_with(600_000, &answer);
        // 1, 2, 4, 8, 16, 32, 60, 60 .. seconds, of which at least half passes.
        let begun = process.begun.clone();
        for (failures, pair) in begun.windows(2).enumerate() {
            let step = 1_000 * 2_u64.pow(u32::try_from(failures.min(6)).unwrap()).min(60);
            let gap = pair[1] - pair[0];
            let most = step + 300;
            assert!((step / 2..=most).contains(&gap), "{said}: step {step}: {gap}: {begun:?}");
        }
        assert!((14..=26).contains(&begun.len()), "{said}: {begun:?}");
        process.pass_with(60_300, &ok(&set(&["a"])));
        assert_eq!(process.record.generation, 1, "{said}: recovered within a step");
    }
}

#[test]
fn an_unknown_key_is_asked_for_once() {
    let mut process = Process::new(4, by_uri());
    process.tick();
    process.answer(&ok(&set(&["a"])));
    process.pass(10_000, 100);
    let arrived = process.now;
    for worker in [0, 3, 1, 0] {
        process.step(worker, &Event::Unknown { kid: "b".to_owned() }, true);
    }
    let waits = |process: &Process, now| {
        process.record.is_worth_waiting(Some("b"), UnixMillis(arrived + TIMEOUT), now)
    };
    process.tick();
    assert_eq!(process.begun.len(), 2, "one refetch");
    assert!(waits(&process, UnixMillis(process.now + 1)));
    assert!(!waits(&process, UnixMillis(arrived + TIMEOUT)), "no longer than the timeout");
    process.pass(100, 100);
    process.answer(&ok(&set(&["a", "b"])));
    assert_eq!(process.record.generation, 2);
    assert_eq!(process.record.keys(&Selection::default()).unwrap().keys().len(), 2, "they overlap");
    process.answer(&ok("not asked for"));
    process.pass(5_000, 100);
    assert_eq!(process.begun.len(), 2);
}

#[test]
fn the_keys_of_an_issuer_are_where_its_configuration_says() {
    let issuer = "https://idp.example/a";
    let configuration = location("https://idp.example/a/.well-known/openid-configuration");
    let place = JwksLocation::Discovery { issuer: issuer.to_owned(), configuration };
    let says = |issuer: &str, uri: &str| {
        ok(&format!(r#"{{"issuer":"{issuer}","jwks_uri":"{uri}","other":[{{}}]}}"#))
    };
    let mut process = Process::new(2, remote(place.clone()));
    process.tick();
    assert_eq!(
        process.calls[0].2.to_string(),
        "https://idp.example/a/.well-known/openid-configuration"
    );
    process.answer(&says(issuer, "https://idp.example/keys"));
    assert_eq!(process.calls[0].2.to_string(), "https://idp.example/keys");
    process.answer(&ok(&set(&["a"])));
    assert_eq!(process.record.generation, 1);
    for (answer, said) in [
        (says("https://other.example", "https://idp.example/keys"), "expected issuer"),
        (says(issuer, "https://keys.example/keys"), "on another server than the issuer"),
        (says(issuer, "http://idp.example/keys"), "on another server than the issuer"),
        (says(issuer, "/keys"), "for `jwks_uri`"),
        (ok(&format!(r#"{{"issuer":"{issuer}"}}"#)), "`jwks_uri` is missing"),
        (ok("<html>"), "expected JSON"),
    ] {
        let mut process = Process::new(1, remote(place.clone()));
        process.tick();
        process.answer(&answer);
        let reported = process.outcomes[0].as_ref().unwrap_err().to_string();
        assert!(reported.starts_with("the OpenID configuration: "), "{reported}");
        assert!(reported.contains(said), "{reported} does not say {said}");
        assert_eq!(process.record.generation, 0);
    }
}

#[test]
fn only_pinned_keys_count() {
    let pinned = Selection {
        pins: vec!["VSHzcw6XA3Mbkp8IEk6dTd-iHdmSvQO0trVpM1GM9g4".to_owned()],
        ..Selection::default()
    };
    let answer = ok(&set(&["a"])).unwrap();
    assert_eq!(answer.keys(&pinned).unwrap().kids, ["a"]);
    let other = Selection {
        pins: vec!["RJK-RJ1wttOzczZfpheUK0H3vqa_7x_qOozo3k9pzdQ".to_owned()],
        ..Selection::default()
    };
    let error = answer.keys(&other).unwrap_err();
    assert_eq!(error.to_string(), "expected at least one key of `jwksPins`, found none");
}

#[test]
fn a_rule_has_its_own_keys_until_the_server_was_heard() {
    let inline = Rc::new(key_set(&set(&["inline"])));
    let with_inline = Rc::new(Remote { inline: Some(Rc::clone(&inline)), ..by_uri() });
    let without = Keys::Remote(Rc::new(by_uri()));
    let keys = Keys::Remote(Rc::clone(&with_inline));
    let (jwks_cache, id) = (JwksCache::default(), with_inline.source.id());
    let kid = |keys: &Keys, now| {
        let current = keys.current(&jwks_cache, UnixSeconds(now));
        current.map(|keys| keys.keys()[0].kid.clone().unwrap())
    };
    let hold_as = |keys, retry_at, heard| {
        jwks_cache.hold(&id, CachedJwks { keys, fetched_at: UnixSeconds(1_000), retry_at, heard })
    };
    let hold = |keys, retry_at| hold_as(keys, retry_at, Heard::Once);

    assert_eq!(kid(&keys, 1_000), Ok("inline".to_owned()), "nothing known");
    assert_eq!(kid(&without, 1_000), Err(Unavailable { retry_after: 1 }));
    hold_as(None, UnixSeconds(1_030), Heard::Never);
    assert_eq!(kid(&keys, 1_000), Ok("inline".to_owned()), "not fetched yet");
    assert_eq!(kid(&without, 1_000), Err(Unavailable { retry_after: 30 }));
    hold(Some(Rc::new(key_set(&set(&["fetched"])))), UnixSeconds(9_999_999));
    for keys in [&keys, &without] {
        assert_eq!(kid(keys, 1_000), Ok("fetched".to_owned()));
        let stale = 1_000 + MAX_STALE / 1000;
        assert_eq!(kid(keys, stale - 1), Ok("fetched".to_owned()));
        // A key that the server may have withdrawn is not used again.
        assert_eq!(kid(keys, stale), Err(Unavailable { retry_after: 60 }));
    }
    // A server that has withdrawn its last key, and one that has listed none yet.
    let none = || Some(Rc::new(key_set(EMPTY[0])));
    let count =
        |keys: &Keys| keys.current(&jwks_cache, UnixSeconds(1_000)).map(|set| set.keys().len());
    for (heard, with_own) in [(Heard::Once, 0), (Heard::Never, 1)] {
        hold_as(none(), UnixSeconds(1_030), heard);
        assert_eq!(count(&keys), Ok(with_own), "{heard:?}");
        assert_eq!(count(&without), Ok(0), "{heard:?}");
        assert_eq!(
            keys.known(&jwks_cache).map(|set| set.keys().len()),
            Some(with_own),
            "{heard:?}"
        );
    }
}

#[test]
fn a_set_without_a_key_withdraws_the_last_one() {
    for empty in EMPTY {
        let mut process = Process::new(3, by_uri());
        process.tick();
        process.answer(&ok(&set(&["a"])));
        while process.calls.is_empty() {
            process.pass(1_000, 1_000);
        }
        process.answer(&ok(empty));
        let record = &process.record;
        assert_eq!((record.generation, record.failures, record.empty), (2, 0, 1), "{empty}");
        assert_eq!(record.keys(&Selection::default()).unwrap().keys().len(), 0, "{empty}");
        assert_eq!(process.outcomes.last().map(Result::is_ok), Some(true), "{empty}");

        // Its tokens cause a fetch in the background, and no request waits.
        process.step(0, &Event::Unknown { kid: "a".to_owned() }, true);
        let until = process.now + TIMEOUT;
        assert!(
            !process.record.is_worth_waiting(Some("a"), UnixMillis(until), UnixMillis(process.now)),
            "{empty}"
        );
        let asked = process.begun.len();
        process.pass(1_100, 100);
        assert_eq!(process.begun.len(), asked + 1, "{empty}: what was withdrawn is asked for");
        assert!(
            !process.record.is_worth_waiting(Some("a"), UnixMillis(until), UnixMillis(process.now)),
            "{empty}: asking"
        );
        process.answer(&ok(&set(&["a"])));
        let record = &process.record;
        assert_eq!((record.generation, record.empty, record.filled), (3, 0, 2), "{empty}");
        assert!(record.due_at.0 - process.now >= FRESH / 10 * 8, "{empty}: as ever");

        // The keys in the configuration stay in use while the server has listed none.
        let mut process = Process::new(1, by_uri());
        process.tick();
        process.answer(&ok(empty));
        assert_eq!((process.record.empty, process.record.filled), (1, 0), "{empty}");
    }
}

/// A 200 with something other than a set is a failed fetch: it withdraws nothing.
#[test]
fn what_is_no_set_withdraws_no_key() {
    for other in [r#"{"error":""}"#, r#"{"a":"","b":"no PEM"}"#, r#"{"message":"try again"}"#, "{}"]
    {
        let mut process = Process::new(3, by_uri());
        process.tick();
        process.answer(&ok(&set(&["a"])));
        while process.calls.is_empty() {
            process.pass(1_000, 1_000);
        }
        process.answer(&ok(other));
        let record = &process.record;
        assert_eq!((record.generation, record.failures, record.empty), (1, 1, 0), "{other}");
    }
}

#[test]
fn a_server_without_a_key_is_asked_as_one_that_fails() {
    for before in [Some(set(&["a"])), None] {
        let mut process = Process::new(4, by_uri());
        process.tick();
        if let Some(before) = before {
            process.answer(&ok(&before));
            while process.calls.is_empty() {
                process.pass(1_000, 1_000);
            }
        }
        let mut answer = ok(EMPTY[0]).unwrap();
        answer.cache_control = "max-age=3600".to_owned();
        let first = process.begun.len() - 1;
        process.answer(&Ok(answer.clone()));
        process.pass_with(600_000, &Ok(answer));
        let begun = process.begun[first..].to_vec();
        for (sets, pair) in begun.windows(2).enumerate() {
            let step = 1_000 * 2_u64.pow(u32::try_from(sets.min(6)).unwrap()).min(60);
            let gap = pair[1] - pair[0];
            assert!((step / 2..=step + 300).contains(&gap), "step {step}: {gap}: {begun:?}");
        }
        assert!((14..=26).contains(&begun.len()), "{begun:?}");
        // A server that fails then continues in the same steps, and neither withdraws nor restores
        // a key.
        process.pass_with(120_000, &Ok(Answer { status: 500, ..Answer::default() }));
        assert!(process.record.failures > 0 && process.record.empty > 0);
        assert!(process.begun.len() - first <= begun.len() + 5, "{:?}", process.begun);
        process.pass_with(60_300, &ok(&set(&["a"])));
        assert_eq!((process.record.failures, process.record.empty), (0, 0), "within a step");
    }
}

#[derive(Clone, Debug)]
enum Happening {
    Answered(usize),
    Empty(usize),
    Good(Vec<u8>),
    Lost,
    Passes(Millis),
    Unknown(usize, u8),
}

fn happenings() -> impl Strategy<Value = Vec<Happening>> {
    let one = prop_oneof![
        3 => (0..bad().len()).prop_map(Happening::Answered),
        2 => (0..EMPTY.len()).prop_map(Happening::Empty),
        3 => prop::collection::vec(0..6_u8, 1..4).prop_map(Happening::Good),
        1 => Just(Happening::Lost),
        6 => (1..90_000_u64).prop_map(Happening::Passes),
        3 => (0..3_usize, 0..9_u8).prop_map(|(worker, kid)| Happening::Unknown(worker, kid)),
    ];
    prop::collection::vec(one, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens(happenings in happenings(), seed: u64) {
        let (mut process, bad) = (Process::new(3, by_uri()), bad());
        process.random = seed;
        let mut good: Option<(String, Millis)> = None;
        let mut lost = 0;
        for happening in happenings {
            match happening {
                Happening::Answered(index) => process.answer(&bad[index].0),
                Happening::Empty(index) => {
                    if !process.calls.is_empty() {
                        good = Some((EMPTY[index].to_owned(), process.now));
                    }
                    process.answer(&ok(EMPTY[index]));
                }
                Happening::Good(kids) => {
                    let kids: Vec<String> = kids.iter().map(u8::to_string).collect();
                    let body = set(&kids.iter().map(String::as_str).collect::<Vec<_>>());
                    if !process.calls.is_empty() {
                        good = Some((body.clone(), process.now));
                    }
                    process.answer(&ok(&body));
                }
                Happening::Lost => {
                    lost += process.calls.len();
                    process.answer(&Err(FetchError::Lost));
                }
                Happening::Passes(millis) => process.pass(millis, 700),
                Happening::Unknown(worker, kid) => {
                    process.step(worker, &Event::Unknown { kid: kid.to_string() }, true);
                }
            }
            // The last good set is available, as long as it may be used and no better one was
            // fetched.
            if let Some((body, at)) = &good {
                prop_assert_eq!(&process.record.body, body);
                prop_assert_eq!(process.record.fetched_at.0, *at);
                prop_assert!(process.record.is_usable(UnixMillis(at + MAX_STALE - 1), MAX_STALE));
            } else {
                prop_assert_eq!(process.record.generation, 0);
            }
            // No request waits for a key of an issuer that lists none.
            let empty = process.record.keys(&Selection::default()).is_some_and(|k| k.keys().is_empty());
            prop_assert_eq!(empty, process.record.empty > 0);
            let until = process.now + TIMEOUT;
            let waits = (0..9_u8).any(|kid| {
                process.record.is_worth_waiting(Some(&kid.to_string()), UnixMillis(until), UnixMillis(process.now))
            });
            prop_assert!(!(empty && waits), "a request waits for a withdrawn key");
            // No busy loop: the next check is never due at once, and fetches keep their distance.
            prop_assert!(look_after(&process.record, UnixMillis(process.now)) >= Duration::from_millis(1));
            let close = process.begun.windows(2).filter(|pair| pair[1] - pair[0] < 500).count();
            prop_assert!(close <= lost, "{close} fetches on the heels of another, {lost} were lost");
        }
        // After any history, a good server's set is used within the longest step.
        let until = process.now + FRESH_BOUNDS.1 + BACK_OFF.1;
        while process.record.body != set(&["final"]) && process.now < until {
            process.pass(1_000, 1_000);
            process.answer(&ok(&set(&["final"])));
        }
        prop_assert_eq!(&process.record.body, &set(&["final"]));
    }
}
