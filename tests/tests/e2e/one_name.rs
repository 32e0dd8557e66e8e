//! Two filters of one name and root id in one Envoy: neither is ever served the other's configuration,
//! in either order of their starts, and also while one of them is wrong.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Request, http1};
use usher_testkit::envoy::{Builder, Envoy, Listener};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;
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

fn request() -> Request {
    Request::get("/").bearer(&KEY.token(&mint::claims(ISSUER, "mmosley")))
}

fn is_judged_by(listener: Listener<'_>, version: &str) -> bool {
    let seen = listener.http1(&request()).seen;
    let name = format!("x-version-{version}");
    seen.is_some_and(|seen| seen.header(&name) == Some("mmosley"))
}

#[track_caller]
fn await_version(listener: Listener<'_>, version: &str) {
    let arrived = log::wait(|| is_judged_by(listener, version).then_some(()));
    assert!(arrived.is_some(), "version {version} is not in force");
}

/// Asserts that decisions are and stay those of `version`.
#[track_caller]
fn assert_version(listener: Listener<'_>, version: &str) {
    for _ in 0..20 {
        assert!(is_judged_by(listener, version), "version {version} is not in force");
    }
}

#[track_caller]
fn await_refused(listener: Listener<'_>) {
    let refused =
        log::wait(|| Some(listener.http1(&request())).filter(|reply| reply.status == 503));
    let reply = refused.expect("the wrong configuration is in force");
    listener.assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
}

fn binaries() -> Vec<std::path::PathBuf> {
    [Some(paths::pinned_envoy()), paths::oldest_envoy()].into_iter().flatten().collect()
}

fn builder(binary: &Path) -> Builder {
    Envoy::builder().binary(binary).workers(2)
}

#[test]
fn a_filter_that_is_wrong_from_its_first_start_refuses() {
    let pairs = [(None, None), (Some("a"), None), (None, Some("b")), (Some("a"), Some("b"))];
    let of = |listener: &str, number: usize| {
        let (a, b) = pairs[number];
        let configuration = if listener == "good" { good("a", a) } else { wrong(b) };
        setup(configuration).called(&format!("usher-{number}"))
    };
    for binary in binaries() {
        // Envoy starts them in this order.
        for order in [["good", "wrong"], ["wrong", "good"]] {
            let mut builder = builder(&binary);
            for number in 0..pairs.len() {
                for listener in order {
                    builder =
                        builder.listener(&format!("{listener}-{number}"), of(listener, number));
                }
            }
            let envoy = builder.start();
            for (number, pair) in pairs.iter().enumerate() {
                let listener = |listener: &str| envoy.listener(&format!("{listener}-{number}"));
                println!("{order:?} {pair:?}");
                await_version(listener("good"), "a");
                await_refused(listener("wrong"));
                // A later start finds more in the process than the first did.
                let unreadable = Setup::plugin_text("no JSON").discovered();
                let name = format!("usher-{number}");
                envoy.reconfigure(&format!("wrong-{number}"), unreadable.called(&name));
                let log = format!("wasm log {name} ");
                envoy.log().line_with(&["[warning]", &log, "expected JSON"]);
                await_refused(listener("wrong"));
                assert_version(listener("good"), "a");
            }
        }
    }
}

#[test]
fn a_filter_that_is_wrong_later_keeps_its_own_or_nothing() {
    for binary in binaries() {
        let envoy = builder(&binary)
            .listener("one", setup(good("one", Some("one"))))
            .listener("two", setup(good("two", Some("two"))))
            .listener("bare", setup(good("bare", None)))
            .start();
        let listeners = ["one", "two", "bare"].map(|name| envoy.listener(name));
        for (listener, version) in listeners.into_iter().zip(["one", "two", "bare"]) {
            await_version(listener, version);
        }
        envoy.reconfigure("one", setup(wrong(Some("one"))));
        envoy.log().line_with(&["[warning]", "2 problems: the last good configuration stays"]);
        assert_version(listeners[0], "one");
        envoy.reconfigure("bare", setup(wrong(None)));
        let line = "2 problems: every request is refused: without `instance` no last good";
        envoy.log().line_with(&["[warning]", line]);
        await_refused(listeners[2]);
        // What cannot be read has no owner either.
        envoy.reconfigure("two", Setup::plugin_text("no JSON").called("usher").discovered());
        await_refused(listeners[1]);
        envoy.reconfigure("two", setup(wrong(Some("two"))));
        await_version(listeners[1], "two");
        assert_version(listeners[0], "one");
        envoy.reconfigure("bare", setup(good("again", None)));
        await_version(listeners[2], "again");
    }
}

#[test]
fn an_ordinary_update_goes_on() {
    update(good_of_instance, |builder| builder);
}

#[test]
fn in_istio_the_name_suffices() {
    let istio = json!({ "ISTIO_VERSION": "1.31.0" });
    update(|version| (good(version, None), wrong(None)), |builder| builder.metadata(istio.clone()));
    for binary in binaries() {
        let envoy = builder(&binary)
            .metadata(istio.clone())
            .listener("usher", setup(good("one", None)))
            .start();
        let listener = envoy.listener("usher");
        await_version(listener, "one");
        envoy.reconfigure("usher", Setup::plugin_text("no JSON").called("usher").discovered());
        envoy.log().line_with(&["[warning]", "1 problems: the last good configuration stays"]);
        assert_version(listener, "one");
    }
}

fn good_of_instance(version: &str) -> (Value, Value) {
    (good(version, Some("main")), wrong(Some("main")))
}

/// Three good configurations and a wrong one, while a request of the first is under way.
fn update(texts: impl Fn(&str) -> (Value, Value), with: impl Fn(Builder) -> Builder) {
    for binary in binaries() {
        let envoy = with(builder(&binary)).listener("usher", setup(texts("one").0)).start();
        let listener = envoy.listener("usher");
        await_version(listener, "one");
        let mut held = Held::begin(listener);
        for version in ["two", "three"] {
            envoy.reconfigure("usher", setup(texts(version).0));
            await_version(listener, version);
        }
        envoy.reconfigure("usher", setup(texts("three").1));
        envoy.log().line_with(&["[warning]", "2 problems: the last good configuration stays"]);
        assert_version(listener, "three");
        assert_eq!(held.end().header("x-version-one"), Some("mmosley"));
    }
}

/// A request whose body is not there yet.
struct Held {
    case: String,
    stream: std::net::TcpStream,
}

impl Held {
    fn begin(listener: Listener<'_>) -> Self {
        let (case, token) = (Request::case(), KEY.token(&mint::claims(ISSUER, "mmosley")));
        let mut stream = http1::connect(listener.address());
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
