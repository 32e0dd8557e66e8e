//! The configuration changes while requests flow: none fails, and each is judged by the old one or the
//! new one.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));
static NEXT: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "two"));

/// A configuration that trusts `keys` and shows its `version` in what it emits.
fn configuration(keys: &[&Key], version: &str) -> Value {
    json!({ "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks(keys.iter().copied()),
        "outputClaimToHeaders": [
            { "header": "x-user", "claim": "sub" },
            { "header": format!("x-version-{version}"), "claim": "sub" },
        ],
    }]})
}

fn first() -> Setup {
    Setup::plugin(configuration(&[&KEY], "first"))
}

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    Envoy::builder()
        .listener("flowing", first().discovered())
        .listener("listening", first())
        .listener("rotating", first().discovered())
        .start()
});

/// Waits until requests at `listener` are judged by the configuration `version`.
#[track_caller]
fn await_version(listener: Listener<'_>, token: &str, version: &str) {
    let name = format!("x-version-{version}");
    let arrived = log::wait(|| {
        let reply = listener.http1(&Request::get("/").bearer(token));
        (reply.seen?.header(&name) == Some("mmosley")).then_some(())
    });
    assert!(arrived.is_some(), "version {version} is not in force");
}

#[test]
fn no_request_fails_while_the_plugin_changes() {
    change_under_load("flowing", Setup::discovered);
}

#[test]
fn no_request_fails_while_the_listener_changes() {
    change_under_load("listening", |setup| setup);
}

fn change_under_load(name: &str, form: fn(Setup) -> Setup) {
    let listener = ENVOY.listener(name);
    let token = KEY.token(&mint::claims(ISSUER, "mmosley"));
    await_version(listener, &token, "first");
    let (done, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for client in 0..2 {
            let (token, done, sent) = (&token, &done, &sent);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let good = Request::get("/").bearer(token).header("x_user", "forged");
                    let [reply, refused] = match client {
                        0 => [listener.http1(&good), listener.http1(&Request::get("/"))],
                        _ => [listener.http2(&good), listener.http2(&Request::get("/"))],
                    };
                    let ours = ("x-user", b"mmosley".as_slice());
                    assert_eq!(reply.passed().folding_to("x-user"), [ours], "{reply}");
                    assert_eq!((refused.status, refused.seen.is_none()), (401, true), "{refused}");
                    sent.fetch_add(2, Ordering::Relaxed);
                }
            });
        }
        for round in 0..10 {
            let version = format!("round-{round}");
            ENVOY.reconfigure(name, form(Setup::plugin(configuration(&[&KEY, &NEXT], &version))));
            await_version(listener, &token, &version);
            std::thread::sleep(Duration::from_millis(20));
        }
        done.store(true, Ordering::Relaxed);
    });
    let sent = sent.into_inner();
    println!("{sent} requests during 10 changes");
    assert!(sent > 40, "too few to prove anything: {sent}");
}

#[test]
fn a_key_that_is_taken_away_opens_nothing_any_more() {
    let listener = ENVOY.listener("rotating");
    let old = KEY.token(&mint::claims(ISSUER, "mmosley"));
    let new = NEXT.token(&mint::claims(ISSUER, "mmosley"));
    let unknown = "Jwks doesn't have key to match kid or alg from Jwt";
    await_version(listener, &old, "first");
    listener.assert_denied(
        &listener.http1(&Request::get("/").bearer(&new)),
        401,
        unknown,
        "key_unknown",
    );
    ENVOY.reconfigure("rotating", Setup::plugin(configuration(&[&NEXT], "second")).discovered());
    await_version(listener, &new, "second");
    listener.assert_denied(
        &listener.http1(&Request::get("/").bearer(&old)),
        401,
        unknown,
        "key_unknown",
    );
}
