//! What the metrics say of keys from a server: fetches good and bad, when the last good one was, and how
//! many keys there are.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::stats;

const ISSUER: &str = "https://idp.example";

static KEYS: LazyLock<[Key; 3]> =
    LazyLock::new(|| ["one", "two", "three"].map(|kid| Key::new("ES256", kid)));

/// A rule whose keys come from `cluster`.
fn rule(issuer: &str, name: &str, cluster: &str) -> Value {
    json!({
        "issuer": issuer, "name": name, "timeout": "5s",
        "jwksUri": format!("http://{cluster}.example/jwks"), "jwksCluster": cluster,
    })
}

fn keys(first: usize) -> Manner {
    Manner::keys(&mint::jwks(&KEYS[..first]))
}

fn bearer(key: &Key) -> Request {
    Request::get("/").bearer(&key.token(&mint::claims(ISSUER, "mmosley")))
}

/// What the metrics say of a plugin's provider.
#[derive(Debug, PartialEq)]
struct Told {
    good: f64,
    failed: f64,
    keys: f64,
    last: f64,
}

fn told(envoy: &Envoy, plugin: &str, provider: &str) -> Told {
    let series = envoy.metrics();
    let sum = |name: &str, more: &[(&str, &str)]| {
        let labels = [&[("plugin", plugin), ("provider", provider)], more].concat();
        stats::sum(&series, name, &labels)
    };
    Told {
        good: sum("usher_jwks_refreshes_total", &[("result", "success")]),
        failed: sum("usher_jwks_refreshes_total", &[("result", "failure")]),
        keys: sum("usher_jwks_keys", &[]),
        last: sum("usher_jwks_last_success_timestamp_seconds", &[]),
    }
}

/// Waits until the metrics are as expected. Envoy does not read all its stats at one moment.
#[track_caller]
fn expect(envoy: &Envoy, plugin: &str, what: &str, is: impl Fn(&Told) -> bool) -> Told {
    let found = log::wait(|| Some(told(envoy, plugin, "corp")).filter(&is));
    found.unwrap_or_else(|| panic!("{what}: {:?}", told(envoy, plugin, "corp")))
}

#[test]
fn fetches_their_age_and_the_number_of_keys_are_told() {
    let server = KeyServer::start(keys(2));
    let configuration = |version: u64| {
        let mut rule = rule(ISSUER, "corp", "keys");
        rule["outputClaimToHeaders"] =
            json!([{ "header": format!("x-version-{version}"), "claim": "sub" }]);
        Setup::plugin(json!({ "jwtRules": [rule] })).discovered()
    };
    let start = mint::now() as f64;
    let envoy = Envoy::builder()
        .listener("usher", configuration(1))
        .cluster("keys", server.address)
        .workers(4)
        .start();
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&KEYS[0])).passed();
    let first = expect(&envoy, "usher", "a good fetch", |told| {
        told.good == 1.0 && told.keys == 2.0 && told.last > 0.0
    });
    assert_eq!(first.failed, 0.0, "{first:?}");
    assert!((start..=mint::now() as f64).contains(&first.last), "{first:?}, not since {start}");

    // A key more: asked for by a token of it.
    server.becomes(keys(3));
    listener.http1(&bearer(&KEYS[2])).passed();
    let rotated =
        expect(&envoy, "usher", "a rotation", |told| told.good == 2.0 && told.keys == 3.0);
    assert!(rotated.last >= first.last, "{rotated:?} after {first:?}");

    // Keys that cannot be fetched stay, and the metrics say from when they are.
    server.becomes(Manner::Answers(500, Vec::new(), String::new()));
    let unknown = Key::new("ES256", "four");
    listener.assert_denied(
        &listener.http1(&bearer(&unknown)),
        401,
        "Jwks doesn't have key to match kid or alg from Jwt",
        "key_unknown",
    );
    let failing = expect(&envoy, "usher", "a failed fetch", |told| told.failed >= 1.0);
    assert_eq!((failing.good, failing.keys, failing.last), (2.0, 3.0, rotated.last));
    let counted = || told(&envoy, "usher", "corp").failed as usize + 2;
    let all = log::wait(|| (counted() == server.asked()).then_some(()));
    assert!(all.is_some(), "{} of {} fetches are told", counted(), server.asked());

    // Another configuration finds the keys and what is known of them.
    envoy.reconfigure("usher", configuration(2));
    let taken = log::wait(|| {
        let reply = listener.http1(&bearer(&KEYS[0]));
        reply.passed().header("x-version-2").is_some().then_some(())
    });
    assert!(taken.is_some(), "the new configuration is in force");
    let after = told(&envoy, "usher", "corp");
    assert_eq!((after.good, after.keys, after.last), (2.0, 3.0, rotated.last));

    // A withdrawn key leaves the count too.
    server.becomes(Manner::keys(&mint::jwks([&unknown])));
    expect(&envoy, "usher", "keys withdrawn", |told| told.good == 3.0 && told.keys == 1.0);
}

/// All plugins of a worker share a VM, and the one whose timer ticks first fetches for all.
#[test]
fn each_plugin_tells_of_the_fetches_for_its_own_rules() {
    let (shop, bank) = (KeyServer::start(keys(1)), KeyServer::start(keys(2)));
    let plugin = |cluster: &str| {
        Setup::plugin(json!({ "jwtRules": [rule(ISSUER, "corp", cluster)] })).discovered()
    };
    let envoy = Envoy::builder()
        .listener("a", plugin("shop"))
        .listener("b", plugin("bank"))
        .listener("c", plugin("bank"))
        .cluster("shop", shop.address)
        .cluster("bank", bank.address)
        .workers(2)
        .start();
    for (listener, keys) in [("a", 1.0), ("b", 2.0), ("c", 2.0)] {
        envoy.listener(listener).http1(&bearer(&KEYS[0])).passed();
        let now = mint::now() as f64;
        let all = |told: &Told| told.good == 1.0 && told.keys == keys && told.last > now - 600.0;
        assert_eq!(expect(&envoy, listener, listener, all).failed, 0.0, "{listener}");
    }
    assert_eq!((shop.asked(), bank.asked()), (1, 1), "one fetch for two plugins");
    // Who comes later counts from then on.
    envoy.reconfigure("c", plugin("shop"));
    let late = expect(&envoy, "c", "c from the shop", |told| told.keys == 1.0);
    assert_eq!((late.good, shop.asked()), (1.0, 1), "its own fetch from the bank: {late:?}");
}
