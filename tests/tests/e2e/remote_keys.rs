//! Keys from a server: fetched once for all workers, never lost to a server that fails, and rotated
//! without a wrong answer.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;

const ISSUER: &str = "http://idp.example";
const UNAVAILABLE: &str = "Jwks remote fetch is failed";
const UNKNOWN: &str = "Jwks doesn't have key to match kid or alg from Jwt";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// A rule whose keys come from the cluster `keys`, with `edit` done to it.
fn rule(edit: impl FnOnce(&mut Value)) -> Value {
    let mut rule = json!({
        "issuer": ISSUER,
        "jwksUri": "http://keys.example/jwks",
        "jwksCluster": "keys",
        "timeout": "20s",
    });
    edit(&mut rule);
    json!({ "jwtRules": [rule] })
}

fn start(server: &KeyServer, workers: usize, configuration: Value) -> Envoy {
    Envoy::with(configuration).cluster("keys", server.address).workers(workers).start()
}

fn token(key: &Key) -> String {
    key.token(&mint::claims(ISSUER, "mmosley"))
}

fn bearer(key: &Key) -> Request {
    Request::get("/").bearer(&token(key))
}

#[track_caller]
fn assert_sound(envoy: &Envoy) {
    let log = envoy.log().text();
    for bad in ["RuntimeError", "panicked", "proxy_on", "wasm trap", "Wasm VM"] {
        assert!(!log.contains(bad), "{bad} in Envoy's log:\n{log}");
    }
}

#[test]
fn many_wait_for_the_first_keys_and_one_asks() {
    let slow = Manner::Late(Duration::from_secs(2), Box::new(Manner::keys(&mint::jwks([&*KEY]))));
    let server = KeyServer::start(slow);
    let envoy = start(&server, 4, rule(|_| {}));
    let listener = envoy.listener("usher");
    let (held, anonymous) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                let [good, none] =
                    [listener.http1(&bearer(&KEY)), listener.http1(&Request::get("/"))];
                assert_eq!(good.passed().header("authorization"), None);
                listener.assert_denied(&none, 401, "Jwt is missing", "token_missing");
                held.fetch_add(1, Ordering::Relaxed);
            });
        }
        // A request without a token does not wait: it is answered before the keys arrive.
        for _ in 0..4 {
            scope.spawn(|| {
                let reply = listener.http1(&Request::get("/"));
                listener.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
                anonymous.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    assert_eq!((held.into_inner(), anonymous.into_inner()), (16, 4));
    assert_eq!(server.paths(), ["/jwks"], "four workers, one request");
    for reply in listener.both(&bearer(&Key::new("ES256", "one"))) {
        listener.assert_denied(&reply, 401, "Jwt verification fails", "signature_invalid");
    }
    assert_sound(&envoy);
}

#[test]
fn without_keys_a_token_is_answered_503_and_no_token_is_not() {
    let server = KeyServer::start(Manner::Silent);
    let envoy = start(&server, 1, rule(|rule| rule["timeout"] = json!("300ms")));
    let listener = envoy.listener("usher");
    for reply in listener.both(&Request::get("/")) {
        listener.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    }
    for request in [bearer(&KEY), bearer(&KEY).body("body")] {
        for reply in listener.both(&request) {
            listener.assert_denied(&reply, 503, UNAVAILABLE, "keys_unavailable");
            let after: u64 = reply.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&after), "{reply}");
        }
    }
    // Another issuer's token has nothing to wait for.
    let other = KEY.token(&mint::claims("http://other.example", "x"));
    for reply in listener.both(&Request::get("/").bearer(&other)) {
        listener.assert_denied(&reply, 401, "Jwt issuer is not configured", "issuer_unknown");
    }
    // A client that disconnects while it waits is forgotten.
    for _ in 0..20 {
        drop(listener.leave(&bearer(&KEY)));
    }
    server.becomes(Manner::keys(&mint::jwks([&*KEY])));
    let arrived = log::wait(|| (listener.http1(&bearer(&KEY)).status == 200).then_some(()));
    assert!(arrived.is_some(), "keys that come late are used");
    assert_sound(&envoy);
}

#[test]
fn a_cluster_that_does_not_exist_is_named() {
    let server = KeyServer::start(Manner::Silent);
    let nowhere = |rule: &mut Value| {
        rule["jwksCluster"] = json!("nowhere");
        rule["timeout"] = json!("300ms");
    };
    let envoy = start(&server, 1, rule(nowhere));
    let listener = envoy.listener("usher");
    envoy.log().line_with(&["[warning]", "http://keys.example/jwks", "the cluster does not exist"]);
    let reply =
        log::wait(|| Some(listener.http1(&bearer(&KEY))).filter(|reply| reply.status == 503));
    listener.assert_denied(&reply.unwrap(), 503, UNAVAILABLE, "keys_unavailable");
    assert_sound(&envoy);
}

#[test]
fn own_keys_serve_until_the_servers_are_there() {
    let (own, fetched) = (&KEY, Key::new("ES256", "fetched"));
    let server = KeyServer::start(Manner::Silent);
    let inline = |rule: &mut Value| {
        rule["jwks"] = mint::jwks([&**own]);
        rule["timeout"] = json!("1s");
    };
    let envoy = start(&server, 1, rule(inline));
    let listener = envoy.listener("usher");
    listener.http1(&bearer(own)).passed();
    server.becomes(Manner::keys(&mint::jwks([&fetched])));
    let arrived = log::wait(|| (listener.http1(&bearer(&fetched)).status == 200).then_some(()));
    assert!(arrived.is_some(), "the server's keys are used");
    listener.assert_denied(&listener.http1(&bearer(own)), 401, UNKNOWN, "key_unknown");
}

#[test]
fn an_issuer_says_where_its_keys_are() {
    let configuration = json!({ "issuer": ISSUER, "jwks_uri": "http://idp.example/certs?v=1" });
    let server = KeyServer::start(Manner::ByPath(vec![
        ("/.well-known/openid-configuration".to_owned(), Manner::keys(&configuration)),
        ("/certs?v=1".to_owned(), Manner::keys(&mint::jwks([&*KEY]))),
    ]));
    let without_uri = |rule: &mut Value| drop(rule.as_object_mut().unwrap().remove("jwksUri"));
    let envoy = start(&server, 2, rule(without_uri));
    envoy.listener("usher").http1(&bearer(&KEY)).passed();
    assert_eq!(server.paths(), ["/.well-known/openid-configuration", "/certs?v=1"]);
}

#[test]
fn keys_that_are_not_pinned_do_not_count() {
    let stranger = Key::new("ES256", "stranger");
    let server = KeyServer::start(Manner::keys(&mint::jwks([&*KEY, &stranger])));
    let set = usher_core::codec::problems::Problems::default();
    let value = mint::jwks([&*KEY]);
    let node = usher_core::codec::problems::Node::root(&value);
    let keys = usher_core::jwks::KeySet::read(
        &node,
        usher_core::jwks::Origin::Inline,
        false,
        usher_core::jwks::Published::Refused,
        &set,
    )
    .unwrap();
    let pin = keys.keys()[0].thumbprint.clone().unwrap();
    let envoy = start(&server, 1, rule(|rule| rule["jwksPins"] = json!([pin])));
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&KEY)).passed();
    listener.assert_denied(&listener.http1(&bearer(&stranger)), 401, UNKNOWN, "key_unknown");
    envoy.log().line_with(&["[warning]", "key `stranger` is skipped: no pin of `jwksPins`"]);
}

#[test]
fn another_configuration_does_not_fetch_again() {
    let server = KeyServer::start(Manner::keys(&mint::jwks([&*KEY])));
    let version = |version: &str| {
        let header = format!("x-version-{version}");
        let edit = |rule: &mut Value| {
            rule["outputClaimToHeaders"] = json!([{ "header": header, "claim": "sub" }]);
        };
        Setup::plugin(rule(edit)).discovered()
    };
    let envoy = Envoy::builder()
        .listener("usher", version("0"))
        .cluster("keys", server.address)
        .workers(2)
        .start();
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&KEY)).passed();
    for number in 1..=10 {
        envoy.reconfigure("usher", version(&number.to_string()));
        let header = format!("x-version-{number}");
        let arrived =
            log::wait(|| listener.http1(&bearer(&KEY)).passed().header(&header).map(drop));
        assert!(arrived.is_some(), "version {number} is in force");
    }
    assert_eq!(server.asked(), 1);
}

/// Every way in which a server can fail.
fn failures() -> Vec<(&'static str, Manner)> {
    let answers = |status, headers: &[(&'static str, &str)], body: &str| {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Manner::Answers(status, headers, body.to_owned())
    };
    // Keys that are refused withdraw none, unlike a set without keys.
    let refused = json!({ "keys": [{ "kty": "new", "kid": "one" }] }).to_string();
    let none = json!({ "keys": [] }).to_string();
    let huge = mint::jwks([&*KEY]).to_string() + &" ".repeat(1 << 20);
    vec![
        ("down", Manner::Down),
        ("slow", Manner::Silent),
        ("HTML", answers(200, &[("content-type", "text/html")], "<html>Sign in</html>")),
        ("500", answers(500, &[], &mint::jwks([&*KEY]).to_string())),
        ("refused keys", answers(200, &[], &refused)),
        ("gone", answers(410, &[], &none)),
        ("huge", answers(200, &[], &huge)),
        ("redirect", answers(302, &[("location", "http://keys.example/jwks")], "")),
    ]
}

/// How long a server fails in each way.
fn outage() -> Duration {
    Duration::from_secs(if soak() { 600 } else { 8 })
}

#[test]
fn a_server_that_fails_takes_no_key_away() {
    // Each in an Envoy of its own and all at once: a soak waits for ten minutes.
    std::thread::scope(|scope| {
        for (name, manner) in failures() {
            scope.spawn(move || fail(name, manner));
        }
    });
}

/// How many of Envoy's workers had more than a few connections.
fn busy_workers(envoy: &Envoy) -> usize {
    let stats = envoy.stats("^listener.127.*worker_.*downstream_cx_total");
    stats.iter().filter(|(_, count)| *count > 5).count()
}

/// Every worker has requests for the new key all the time, and all workers together ask as one.
const WORKERS: usize = 4;

fn fail(name: &str, manner: Manner) {
    let next = Key::new("ES256", "next");
    let server = KeyServer::start(Manner::keys(&mint::jwks([&*KEY])));
    let envoy = start(&server, WORKERS, rule(|rule| rule["timeout"] = json!("1s")));
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&KEY)).passed();
    server.becomes(manner);
    let (before, start) = (server.asked(), Instant::now());
    let passed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while start.elapsed() < outage() {
                    listener.http1(&bearer(&KEY)).passed();
                    passed.fetch_add(1, Ordering::Relaxed);
                    // Unknown keys are what makes the server be asked. A connection each: Envoy deals
                    // them out to all workers.
                    let unknown = listener.http1(&bearer(&next));
                    listener.assert_denied(&unknown, 401, UNKNOWN, "key_unknown");
                    std::thread::sleep(Duration::from_millis(200));
                }
            });
        }
    });
    let passed = passed.into_inner();
    let (asked, outage) = (server.asked() - before, start.elapsed());
    assert_eq!(busy_workers(&envoy), WORKERS, "{name}: every worker had requests");
    // At least half of each step of 1, 2, 4 .. 60 seconds lies between two requests.
    let steps = (0..).map(|n| Duration::from_millis(500 * 2_u64.pow(n).min(60)));
    let mut least = Duration::ZERO;
    let most = 1 + steps
        .take_while(|step| {
            least += *step;
            least <= outage
        })
        .count();
    println!(
        "{name}: {passed} passed and as many refused, {asked} requests to the server in {outage:?}, at most {most}"
    );
    assert!((1..=most).contains(&asked), "{name}: {asked} requests in {outage:?}, at most {most}");

    let failures = envoy.log().text().matches("failed fetch").count();
    assert!(failures > 0, "{name}: the log tells of it");
    envoy.log().line_with(&["[warning]", "nothing is withdrawn by a failed fetch"]);
    server.becomes(Manner::keys(&mint::jwks([&*KEY, &next])));
    let start = Instant::now();
    let patience = Duration::from_secs(if soak() { 75 } else { 20 });
    while listener.http1(&bearer(&next)).status != 200 {
        assert!(start.elapsed() < patience, "{name}: no recovery:\n{}", envoy.log().text());
        std::thread::sleep(Duration::from_millis(50));
    }
    println!("{name}: recovered after {:?}, memory {:?}", start.elapsed(), envoy.memory());
    assert_sound(&envoy);
}

/// An issuer without a key: the set is empty, or holds keys for another use.
fn withdrawals() -> [(&'static str, Value); 2] {
    let mut encryption = mint::jwks([&*KEY]);
    encryption["keys"][0]["use"] = json!("enc");
    [("empty", json!({ "keys": [] })), ("for encryption", encryption)]
}

#[test]
fn the_last_key_can_be_withdrawn() {
    for (name, none) in withdrawals() {
        let server = KeyServer::start(Manner::keys(&mint::jwks([&*KEY])));
        let inline = Key::new("ES256", "inline");
        let edit = |rule: &mut Value| {
            rule["jwks"] = mint::jwks([&inline]);
            rule["timeout"] = json!("2s");
        };
        let envoy = start(&server, 2, rule(edit));
        let listener = envoy.listener("usher");
        let good = log::wait(|| (listener.http1(&bearer(&KEY)).status == 200).then_some(()));
        assert!(good.is_some(), "{name}: the server's key is used");
        server.becomes(Manner::keys(&none));
        // A token of an unknown key asks for the set, and is answered though no key comes.
        let other = Key::new("ES256", "other");
        let withdrawn = log::wait(|| {
            listener.assert_denied(&listener.http1(&bearer(&other)), 401, UNKNOWN, "key_unknown");
            (listener.http1(&bearer(&KEY)).status == 401).then_some(())
        });
        assert!(withdrawn.is_some(), "{name}: the last key is withdrawn:\n{}", envoy.log().text());
        // Every worker knows within a second.
        std::thread::sleep(Duration::from_millis(1_500));
        // The server no longer answers: a request that waited for it would wait for 2 s.
        server.becomes(Manner::Silent);
        let start = Instant::now();
        for _ in 0..8 {
            for key in [&*KEY, &other, &inline] {
                for reply in listener.both(&bearer(key)) {
                    listener.assert_denied(&reply, 401, UNKNOWN, "key_unknown");
                }
            }
        }
        let elapsed = start.elapsed();
        assert!(elapsed < Duration::from_secs(15), "{name}: somebody waited: {elapsed:?}");
        envoy.log().line_with(&["[warning]", "the set holds no key for signatures", "withdrawn"]);
        server.becomes(Manner::keys(&mint::jwks([&*KEY])));
        let back = log::wait(|| (listener.http1(&bearer(&KEY)).status == 200).then_some(()));
        assert!(back.is_some(), "{name}: it came back:\n{}", envoy.log().text());
        assert_sound(&envoy);
    }
}

#[test]
fn own_keys_stay_beside_a_server_that_lists_none_yet() {
    for (name, none) in withdrawals() {
        let server = KeyServer::start(Manner::keys(&none));
        let envoy = start(&server, 1, rule(|rule| rule["jwks"] = mint::jwks([&*KEY])));
        let listener = envoy.listener("usher");
        envoy.log().line_with(&[
            "[warning]",
            "the set holds no key for signatures",
            "none was ever",
        ]);
        listener.http1(&bearer(&KEY)).passed();
        let other = Key::new("ES256", "other");
        listener.assert_denied(&listener.http1(&bearer(&other)), 401, UNKNOWN, "key_unknown");
        assert!(server.asked() > 0, "{name}");
        server.becomes(Manner::keys(&mint::jwks([&other])));
        let heard = log::wait(|| (listener.http1(&bearer(&other)).status == 200).then_some(()));
        assert!(heard.is_some(), "{name}: the server is heard");
        listener.assert_denied(&listener.http1(&bearer(&KEY)), 401, UNKNOWN, "key_unknown");
        // And has the last word: what the configuration holds does not come back.
        server.becomes(Manner::keys(&none));
        let gone = log::wait(|| {
            listener.http1(&bearer(&Key::new("ES256", "unknown")));
            (listener.http1(&bearer(&other)).status == 401).then_some(())
        });
        assert!(gone.is_some(), "{name}: withdrawn");
        listener.assert_denied(&listener.http1(&bearer(&KEY)), 401, UNKNOWN, "key_unknown");
    }
}

#[test]
fn rotation_with_overlap_refuses_nobody() {
    rotate(Overlap::Yes);
}

#[test]
fn rotation_without_overlap_refuses_the_withdrawn_key_only() {
    rotate(Overlap::No);
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overlap {
    No,
    Yes,
}

/// The outcomes of the requests of one kind.
type Tally = BTreeMap<(&'static str, u16, String), usize>;

/// Rotates keys under load. What is sent: tokens of the key in use, of the one before, and forged ones.
fn rotate(overlap: Overlap) {
    let rotations = if soak() { 100 } else { 10 };
    let keys: Vec<Key> = (0..=rotations).map(|n| Key::new("ES256", &format!("key-{n}"))).collect();
    let tokens: Vec<String> = keys.iter().map(token).collect();
    let forged: Vec<String> = keys.iter().map(|key| token(&Key::new("ES256", &key.kid))).collect();
    let listed = |in_use: usize| {
        let first = if overlap == Overlap::Yes { in_use.saturating_sub(1) } else { in_use };
        Manner::keys(&mint::jwks(&keys[first..=in_use]))
    };
    let server = KeyServer::start(listed(0));
    let envoy = start(&server, 4, rule(|_| {}));
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&keys[0])).passed();
    let memory = envoy.memory();
    let start = Instant::now();

    // 500 a second, all clients together, where the machine can do it.
    let (clients, pace) = (8, Duration::from_millis(16));
    let (in_use, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    let tallies: Vec<Tally> = std::thread::scope(|scope| {
        let (in_use, done, tokens, forged) = (&in_use, &done, &tokens, &forged);
        let clients: Vec<_> = (0..clients)
            .map(|client| {
                scope.spawn(move || {
                    let mut tally = Tally::new();
                    let mut line = listener.connect();
                    let mut round = client;
                    while !done.load(Ordering::Relaxed) {
                        let start = Instant::now();
                        let current = in_use.load(Ordering::SeqCst);
                        let (kind, token) = match round % 4 {
                            0 => ("forged", &forged[current]),
                            1 if current > 0 => ("previous", &tokens[current - 1]),
                            _ => ("current", &tokens[current]),
                        };
                        let reply = line.send(&Request::get("/").bearer(token));
                        // While it was under way, a key may have become another's predecessor, or be
                        // withdrawn.
                        let kind = match (kind, in_use.load(Ordering::SeqCst) - current) {
                            ("forged", _) | (_, 0) => kind,
                            ("current", 1) => "changing",
                            _ => "withdrawn",
                        };
                        let text = if reply.status == 200 { String::new() } else { reply.text() };
                        *tally.entry((kind, reply.status, text)).or_default() += 1;
                        round += 1;
                        std::thread::sleep(pace.saturating_sub(start.elapsed()));
                    }
                    tally
                })
            })
            .collect();
        for next in 1..=rotations {
            std::thread::sleep(Duration::from_millis(2500));
            // The issuer lists a key before it uses it.
            server.becomes(listed(next));
            in_use.store(next, Ordering::SeqCst);
        }
        std::thread::sleep(Duration::from_millis(1500));
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let mut sum = Tally::new();
    for (outcome, count) in tallies.into_iter().flatten() {
        *sum.entry(outcome).or_default() += count;
    }
    let (all, elapsed) = (sum.values().sum::<usize>(), start.elapsed());
    let rate = all as f64 / elapsed.as_secs_f64();
    println!(
        "{rotations} rotations, {overlap:?} overlap: {all} requests in {elapsed:?}, {rate:.0} a second, the server \
         was asked {} times: {sum:#?}",
        server.asked()
    );
    println!("memory before and after: {:?} {:?}", memory, envoy.memory());
    for ((kind, status, text), count) in &sum {
        let right = match (*kind, *status, text.as_str()) {
            ("forged", 401, "Jwt verification fails") => true,
            // Before the new key is there: forged with its id, and so waited for and then refused.
            ("current" | "changing", 200, _) => true,
            ("previous" | "withdrawn", 200, _) | ("withdrawn", 401, UNKNOWN) => true,
            ("previous" | "changing", 401, UNKNOWN) => overlap == Overlap::No,
            _ => false,
        };
        assert!(right, "{count} of kind {kind} were answered {status} {text}: {sum:#?}");
    }
    let count = |kind| sum.iter().filter(|((k, ..), _)| *k == kind).map(|(_, n)| n).sum::<usize>();
    assert!(count("current") > 20 * rotations, "too few to prove anything: {sum:#?}");
    assert!(count("forged") > 5 * rotations, "too few to prove anything: {sum:#?}");
    // A rotation costs a request or two, however many tokens of it come.
    assert!(server.asked() <= 3 * rotations + 3, "{} requests", server.asked());
    assert_sound(&envoy);
}

#[test]
fn the_oldest_envoy_fetches_too() {
    let Some(binary) = paths::oldest_envoy() else { return };
    let slow = Manner::Late(Duration::from_secs(1), Box::new(Manner::keys(&mint::jwks([&*KEY]))));
    let server = KeyServer::start(slow);
    let envoy = Envoy::with(rule(|_| {}))
        .cluster("keys", server.address)
        .workers(2)
        .binary(&binary)
        .start();
    let listener: Listener<'_> = envoy.listener("usher");
    for reply in listener.both(&bearer(&KEY).body("body").trailer("x-sum", "1")) {
        reply.passed();
    }
    let next = Key::new("ES256", "next");
    server.becomes(Manner::keys(&mint::jwks([&*KEY, &next])));
    for reply in listener.both(&bearer(&next)) {
        reply.passed();
    }
    assert_eq!(server.asked(), 2);
    assert_sound(&envoy);
}

fn soak() -> bool {
    std::env::var_os("USHER_SOAK").is_some()
}

/// A worker may find the new keys at the very moment when it says that it wants them: another has fetched
/// them since it looked. Tokens come from all sides while the answer of the server does.
#[test]
fn a_key_that_another_worker_fetches_meanwhile_is_used() {
    let (rotations, clients, late) = (20, 160, Duration::from_millis(20));
    let keys: Vec<Key> = (0..=rotations).map(|n| Key::new("ES256", &format!("key-{n}"))).collect();
    let listed = |n: usize| {
        Manner::Late(late, Box::new(Manner::keys(&mint::jwks(&keys[n.saturating_sub(1)..=n]))))
    };
    let server = KeyServer::start(listed(0));
    let envoy = start(&server, 4, rule(|_| {}));
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&keys[0])).passed();
    let mut lines: Vec<_> = (0..clients).map(|_| listener.connect()).collect();
    for (n, key) in keys.iter().enumerate().skip(1) {
        server.becomes(listed(n));
        let (request, pause) = (bearer(key), 2 * late / clients);
        // Between two fetches for unknown keys there is a second.
        std::thread::sleep(Duration::from_secs(1));
        std::thread::scope(|scope| {
            for (turn, line) in (0..).zip(&mut lines) {
                let request = &request;
                scope.spawn(move || {
                    std::thread::sleep(pause * turn);
                    let reply = line.send(request);
                    assert_eq!(reply.status, 200, "rotation {n}: {reply}");
                });
            }
        });
    }
    assert_eq!(server.asked(), rotations + 1);
    assert_sound(&envoy);
}
