//! Two filters of one name and root id in one Envoy: neither is ever served the other's configuration,
//! whichever starts first, and whenever one of them is wrong.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Ask, http1};
use usher_testkit::gate::{self, Door, Gate, Plan};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::upstream::{CASE, Seen, Upstream};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// A configuration that shows its `version` in what it emits, for the plugin of this instance.
fn good(version: &str, instance: Option<&str>) -> Value {
    json!({
        "jwtRules": [{
            "issuer": ISSUER,
            "jwks": mint::jwks([&*KEY]),
            "outputClaimToHeaders": [{ "header": format!("x-version-{version}"), "claim": "sub" }],
        }],
        "instance": instance,
    })
}

fn wrong(instance: Option<&str>) -> Value {
    json!({ "jwtRule": [], "instance": instance })
}

fn setup(configuration: Value) -> Setup {
    Setup::plugin(configuration).called("usher").discovered()
}

fn ask() -> Ask {
    Ask::get("/").bearer(&KEY.token(&mint::claims(ISSUER, "mmosley")))
}

fn is_judged_by(door: Door<'_>, version: &str) -> bool {
    let seen = door.http1(&ask()).seen;
    let name = format!("x-version-{version}");
    seen.is_some_and(|seen| seen.header(&name) == Some("mmosley"))
}

#[track_caller]
fn await_version(door: Door<'_>, version: &str) {
    let arrived = log::wait(|| is_judged_by(door, version).then_some(()));
    assert!(arrived.is_some(), "version {version} is not in force");
}

/// Asserts that decisions are and stay those of `version`.
#[track_caller]
fn assert_version(door: Door<'_>, version: &str) {
    for _ in 0..20 {
        assert!(is_judged_by(door, version), "version {version} is not in force");
    }
}

#[track_caller]
fn await_refused(door: Door<'_>) {
    let refused = log::wait(|| Some(door.http1(&ask())).filter(|reply| reply.status == 503));
    let reply = refused.expect("the wrong configuration is in force");
    door.assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
}

fn envoys() -> Vec<std::path::PathBuf> {
    [Some(gate::pinned_envoy()), gate::oldest_envoy()].into_iter().flatten().collect()
}

fn plan(envoy: &Path) -> Plan {
    Gate::plan().envoy(envoy).workers(2)
}

#[test]
fn a_filter_that_is_wrong_from_its_first_start_refuses() {
    let pairs = [(None, None), (Some("a"), None), (None, Some("b")), (Some("a"), Some("b"))];
    let of = |door: &str, number: usize| {
        let (a, b) = pairs[number];
        let configuration = if door == "good" { good("a", a) } else { wrong(b) };
        setup(configuration).called(&format!("usher-{number}"))
    };
    for envoy in envoys() {
        // Envoy starts them in this order.
        for order in [["good", "wrong"], ["wrong", "good"]] {
            let mut plan = plan(&envoy);
            for number in 0..pairs.len() {
                for door in order {
                    plan = plan.door(&format!("{door}-{number}"), of(door, number));
                }
            }
            let gate = plan.start();
            for (number, pair) in pairs.iter().enumerate() {
                let door = |door: &str| gate.door(&format!("{door}-{number}"));
                println!("{order:?} {pair:?}");
                await_version(door("good"), "a");
                await_refused(door("wrong"));
                // A later start finds more in the process than the first did.
                let unreadable = Setup::plugin_text("no JSON").discovered();
                let name = format!("usher-{number}");
                gate.reconfigure(&format!("wrong-{number}"), unreadable.called(&name));
                let log = format!("wasm log {name} ");
                gate.log().line_with(&["[warning]", &log, "expected JSON"]);
                await_refused(door("wrong"));
                assert_version(door("good"), "a");
            }
        }
    }
}

#[test]
fn a_filter_that_is_wrong_later_keeps_its_own_or_nothing() {
    for envoy in envoys() {
        let gate = plan(&envoy)
            .door("one", setup(good("one", Some("one"))))
            .door("two", setup(good("two", Some("two"))))
            .door("bare", setup(good("bare", None)))
            .start();
        let doors = ["one", "two", "bare"].map(|name| gate.door(name));
        for (door, version) in doors.into_iter().zip(["one", "two", "bare"]) {
            await_version(door, version);
        }
        gate.reconfigure("one", setup(wrong(Some("one"))));
        gate.log().line_with(&["[warning]", "2 problems: the last good configuration stays"]);
        assert_version(doors[0], "one");
        gate.reconfigure("bare", setup(wrong(None)));
        let line = "2 problems: every request is refused: without `instance` no last good";
        gate.log().line_with(&["[warning]", line]);
        await_refused(doors[2]);
        // Neither is what cannot be read anybody's.
        gate.reconfigure("two", Setup::plugin_text("no JSON").called("usher").discovered());
        await_refused(doors[1]);
        gate.reconfigure("two", setup(wrong(Some("two"))));
        await_version(doors[1], "two");
        assert_version(doors[0], "one");
        gate.reconfigure("bare", setup(good("again", None)));
        await_version(doors[2], "again");
    }
}

#[test]
fn an_ordinary_update_goes_on() {
    update(good_of_instance, |plan| plan);
}

#[test]
fn in_istio_the_name_suffices() {
    let istio = json!({ "ISTIO_VERSION": "1.31.0" });
    update(|version| (good(version, None), wrong(None)), |plan| plan.metadata(istio.clone()));
    for envoy in envoys() {
        let gate =
            plan(&envoy).metadata(istio.clone()).door("usher", setup(good("one", None))).start();
        let door = gate.door("usher");
        await_version(door, "one");
        gate.reconfigure("usher", Setup::plugin_text("no JSON").called("usher").discovered());
        gate.log().line_with(&["[warning]", "1 problems: the last good configuration stays"]);
        assert_version(door, "one");
    }
}

fn good_of_instance(version: &str) -> (Value, Value) {
    (good(version, Some("gate")), wrong(Some("gate")))
}

/// Three good configurations and a wrong one, while a request of the first is under way.
fn update(texts: impl Fn(&str) -> (Value, Value), with: impl Fn(Plan) -> Plan) {
    for envoy in envoys() {
        let gate = with(plan(&envoy)).door("usher", setup(texts("one").0)).start();
        let door = gate.door("usher");
        await_version(door, "one");
        let mut held = Held::begin(door);
        for version in ["two", "three"] {
            gate.reconfigure("usher", setup(texts(version).0));
            await_version(door, version);
        }
        gate.reconfigure("usher", setup(texts("three").1));
        gate.log().line_with(&["[warning]", "2 problems: the last good configuration stays"]);
        assert_version(door, "three");
        assert_eq!(held.end().header("x-version-one"), Some("mmosley"));
    }
}

/// A request whose body is not there yet.
struct Held {
    case: String,
    stream: std::net::TcpStream,
}

impl Held {
    fn begin(door: Door<'_>) -> Self {
        let (case, token) = (Ask::case(), KEY.token(&mint::claims(ISSUER, "mmosley")));
        let mut stream = http1::connect(door.address());
        let head = format!(
            "POST / HTTP/1.1\r\nhost: service.example\r\nauthorization: Bearer {token}\r\n\
             {CASE}: {case}\r\nconnection: close\r\ncontent-length: 4\r\n\r\nbo"
        );
        stream.write_all(head.as_bytes()).unwrap();
        Self { case, stream }
    }

    fn end(&mut self) -> Seen {
        self.stream.write_all(b"dy").unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        Upstream::shared().seen(&self.case).expect("the service has seen it")
    }
}
