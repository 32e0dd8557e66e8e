//! Requests that wait for keys: as many as may, all at once, however their wait ends; and nothing of one goes on before
//! it is decided.
//!
//! The VM that fails stays failed here (`FAIL_CLOSED`), so that no restart hides a fault.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::watch;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::crowd::{Crowd, Outcome, Protocol};
use usher_testkit::client::{Request, http1, http2};
use usher_testkit::envoy::{Builder, Envoy, Listener};
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;
use usher_testkit::upstream::Upstream;

const ISSUER: &str = "http://idp.example";

/// As many as may wait in a worker.
const MAX_PENDING: usize = usher::pending::queue::MAX_PENDING;

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

fn plugin(timeout: &str) -> Setup {
    plugin_of("keys", timeout)
}

fn plugin_of(cluster: &str, timeout: &str) -> Setup {
    let rule = json!({
        "issuer": ISSUER,
        "jwksUri": format!("http://{cluster}.example/jwks"),
        "jwksCluster": cluster,
        "timeout": timeout,
        "outputClaimToHeaders": [{ "header": "User-Info", "claim": "sub" }],
    });
    behind_one_listener(Setup::plugin(json!({ "jwtRules": [rule] })))
}

/// What is the same for every plugin: Envoy replaces a listener that changes, and closes its connections.
fn behind_one_listener(setup: Setup) -> Setup {
    let http2 = json!({ "allow_connect": true, "max_concurrent_streams": 2000 });
    setup
        .failure_policy("FAIL_CLOSED")
        .exact_balance()
        .manager(json!({ "http2_protocol_options": http2 }))
}

fn builder(server: &KeyServer, setup: Setup) -> Builder {
    Envoy::builder().listener("usher", setup).cluster("keys", server.address)
}

fn keys<'k>(keys: impl IntoIterator<Item = &'k Key>) -> Manner {
    Manner::keys(&mint::jwks(keys))
}

fn bearer(key: &Key) -> Request {
    Request::get("/").bearer(&key.token(&mint::claims(ISSUER, "mmosley")))
}

/// How many were answered with which status, or why they were not.
fn tally(outcomes: &[Outcome]) -> BTreeMap<String, usize> {
    let mut tally = BTreeMap::new();
    for outcome in outcomes {
        let what = outcome.as_ref().map_or_else(Clone::clone, |(status, _)| status.to_string());
        *tally.entry(what).or_default() += 1;
    }
    tally
}

#[track_caller]
fn assert_all(outcomes: &[Outcome], status: u16, why: &str) {
    let expected = BTreeMap::from([(status.to_string(), outcomes.len())]);
    assert_eq!(tally(outcomes), expected, "{why}");
}

#[track_caller]
fn assert_sound(envoy: &Envoy) {
    let log = envoy.log().text();
    for bad in [
        "RuntimeError",
        "RangeError",
        "Maximum call stack",
        "panicked",
        "proxy_on",
        "wasm trap",
        "Wasm VM",
    ] {
        assert!(!log.contains(bad), "{bad} in Envoy's log:\n{log}");
    }
}

/// How many requests the listener `usher` has under way.
fn active(envoy: &Envoy) -> usize {
    let stats = envoy.stats("^http.usher.downstream_rq_active$");
    stats.first().map_or(0, |(_, count)| usize::try_from(*count).unwrap())
}

#[track_caller]
fn wait_for_active(envoy: &Envoy, count: usize, why: &str) {
    let start = Instant::now();
    while active(envoy) != count {
        assert!(start.elapsed() < Duration::from_secs(60), "{why}: {} of {count}", active(envoy));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// How many requests found no place to wait in.
fn overflow(envoy: &Envoy) -> f64 {
    let series = envoy.metrics();
    let series =
        series.iter().filter(|series| series.name == "usher_pending_requests_overflow_total");
    series.map(|series| series.value).sum()
}

fn soak() -> bool {
    std::env::var_os("USHER_SOAK").is_some()
}

#[test]
fn a_burst_of_tokens_with_a_made_up_kid_is_answered() {
    let server = KeyServer::start(keys([&*KEY]));
    let envoy = builder(&server, plugin("20s")).start();
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&KEY)).passed();
    server.becomes(Manner::Late(Duration::from_millis(300), Box::new(keys([&*KEY]))));
    let requests = vec![bearer(&Key::new("ES256", "made-up")); 400];
    let outcomes = Crowd::send(listener.address(), Protocol::Http2(100), &requests).outcomes();
    assert_all(&outcomes, 401, "a key that does not exist");
    for reply in listener.both(&bearer(&KEY)) {
        reply.passed();
    }
    assert_sound(&envoy);
}

#[test]
fn good_tokens_at_start_are_answered_while_the_key_server_fails() {
    let server = KeyServer::start(Manner::Answers(500, Vec::new(), String::new()));
    let envoy = builder(&server, plugin("3s")).start();
    let listener = envoy.listener("usher");
    let outcomes =
        Crowd::send(listener.address(), Protocol::Http2(113), &vec![bearer(&KEY); 450]).outcomes();
    assert_all(&outcomes, 503, "no keys");
    server.becomes(keys([&*KEY]));
    let arrived = log::wait(|| (listener.http1(&bearer(&KEY)).status == 200).then_some(()));
    assert!(arrived.is_some(), "the filter lives on:\n{}", envoy.log().text());
    assert_sound(&envoy);
}

/// Two workers, each with as many waiting as may: all are answered in any case.
#[test]
fn as_many_as_may_wait_are_all_answered_at_once() {
    let rounds = if soak() { 50 } else { 4 };
    let mut known = vec![Key::new("ES256", "key-0")];
    let server = KeyServer::start(keys(&known));
    let envoy = builder(&server, plugin("60s")).workers(2).start();
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&known[0])).passed();
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        // Between two fetches for unknown keys there is a second.
        std::thread::sleep(Duration::from_millis(1100));
        let protocol = if round % 2 == 0 { Protocol::Http1 } else { Protocol::Http2(128) };
        let key = Key::new("ES256", &format!("key-{round}"));
        // Now and then, over either protocol, the fetch brings no such key. It spends one of the refetches that come back
        // with time, so that more often would be waiting for these.
        let (status, then) = if matches!(round % 20, 4 | 15) {
            (401, keys(&known))
        } else {
            (200, keys([&known[0], &key]))
        };
        let go = server.holds(then);
        let crowd = Crowd::send(listener.address(), protocol, &vec![bearer(&key); 2 * MAX_PENDING]);
        wait_for_active(&envoy, 2 * MAX_PENDING, &format!("round {round}, {protocol:?}"));
        assert_eq!(
            overflow(&envoy),
            (round - 1) as f64,
            "round {round}: each worker has its share"
        );
        let more = listener.http1(&bearer(&key));
        listener.assert_denied(
            &more,
            401,
            "Jwks doesn't have key to match kid or alg from Jwt",
            "key_unknown",
        );
        assert_eq!(overflow(&envoy), round as f64, "round {round}: it is counted");
        assert_eq!(crowd.ended(), 0, "round {round}: the others wait");
        let released = Instant::now();
        go.send(true).unwrap();
        let outcomes = crowd.outcomes();
        assert_all(&outcomes, status, &format!("round {round}, {protocol:?}"));
        let last =
            outcomes.iter().filter_map(|outcome| outcome.as_ref().ok()).map(|(_, at)| *at).max();
        let took = last.unwrap() - released;
        println!(
            "round {round}: {protocol:?}, {status}: the last of {} after {took:?}",
            outcomes.len()
        );
        slowest = slowest.max(took);
        if status == 200 {
            known[0] = key;
        }
    }
    println!("{rounds} rounds, the slowest took {slowest:?}; memory {:?}", envoy.memory());
    assert_sound(&envoy);
}

#[test]
fn streams_that_are_reset_while_they_wait_leave_nothing_behind() {
    let (rounds, connections, streams) = (10, 50, 20);
    let mut known = vec![Key::new("ES256", "key-0")];
    let server = KeyServer::start(keys(&known));
    let envoy = builder(&server, plugin("60s")).start();
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&known[0])).passed();
    let mut memory = Vec::new();
    for round in 1..=rounds {
        // Between two fetches for unknown keys there is a second.
        std::thread::sleep(Duration::from_millis(1100));
        let key = Key::new("ES256", &format!("key-{round}"));
        let go = server.holds(keys([&known[0], &key]));
        // Each holds some memory that would be missed.
        let requests =
            vec![bearer(&key).header("x-large", "x".repeat(4096)); connections * streams];
        let crowd = Crowd::send(listener.address(), Protocol::Http2(streams), &requests);
        wait_for_active(&envoy, requests.len(), "they wait");
        crowd.reset();
        wait_for_active(&envoy, 0, "they are gone");
        go.send(true).unwrap();
        // Their places are free.
        let reply =
            log::wait(|| Some(listener.http1(&bearer(&key))).filter(|reply| reply.status == 200));
        assert!(reply.is_some(), "round {round}: its key came");
        assert_eq!(overflow(&envoy), 0.0, "round {round}");
        known[0] = key;
        memory.push(envoy.memory());
    }
    println!("{} resets: {memory:?}", rounds * connections * streams);
    // A tenth of what all that was reset has held.
    let grown = memory[rounds - 1].resident.saturating_sub(memory[1].resident);
    assert!(grown < 4 * 1024, "{grown} KiB more after {rounds} rounds: {memory:?}");
    assert_sound(&envoy);
}

/// Forms in which more than headers comes of a request.
fn forms(request: &Request) -> Vec<(&'static str, Request)> {
    let trailers = |request: Request| request.trailer("user-info", "forged").trailer("x-sum", "1");
    vec![
        ("GET", request.clone()),
        ("a body", request.clone().body("body")),
        ("a body and trailers", trailers(request.clone().body("body"))),
        ("trailers alone", trailers(request.clone())),
    ]
}

/// Sends each form over HTTP/1 and HTTP/2 while the keys are on their way, and hands over what came back.
fn while_held(
    envoy: &Envoy,
    go: &watch::Sender<bool>,
    requests: &[(&'static str, Request)],
    mut check: impl FnMut(&str, u16, Option<&usher_testkit::upstream::Seen>),
) {
    let address = envoy.listener("usher").address();
    std::thread::scope(|scope| {
        let mut sent = Vec::new();
        for (form, request) in requests {
            let (one, two) = (Request::case(), Request::case());
            let cases = (one.clone(), two.clone());
            sent.push((
                form,
                "HTTP/1",
                one,
                scope.spawn(move || http1::exchange(http1::connect(address), &cases.0, request)),
            ));
            sent.push((
                form,
                "HTTP/2",
                two,
                scope.spawn(move || http2::exchange(address, &cases.1, request)),
            ));
        }
        wait_for_active(envoy, sent.len(), "all wait: what is missing went on undecided");
        // Long enough for a body to go on by itself, if it did.
        std::thread::sleep(Duration::from_millis(300));
        for (form, protocol, case, _) in &sent {
            let early = Upstream::shared().seen(case);
            assert_eq!(early, None, "{form} over {protocol}: went on undecided");
        }
        go.send(true).unwrap();
        for (form, protocol, case, client) in sent {
            let reply = client.join().unwrap();
            check(
                &format!("{form} over {protocol}"),
                reply.status,
                Upstream::shared().seen(&case).as_ref(),
            );
        }
    });
}

#[test]
fn nothing_of_a_request_goes_on_undecided() {
    let binaries = [Some(paths::pinned_envoy()), paths::oldest_envoy()];
    for binary in binaries.into_iter().flatten() {
        for option in [None, Some(false), Some(true)] {
            let server = KeyServer::start(keys([&*KEY]));
            let setup = plugin("20s");
            let setup = option.map_or(setup.clone(), |allowed| setup.stop_iteration(allowed));
            let envoy = builder(&server, setup).binary(&binary).start();
            envoy.listener("usher").http1(&bearer(&KEY)).passed();
            let late = Key::new("ES256", "late");
            let forged =
                |key: &Key| bearer(key).header("User-Info", "forged").header("user_info", "forged");

            let go = server.holds(keys([&*KEY, &late]));
            while_held(&envoy, &go, &forms(&forged(&late)), |what, status, seen| {
                assert_eq!(status, 200, "{what}, option {option:?}");
                let seen = seen.unwrap_or_else(|| panic!("{what}, option {option:?}: arrives"));
                assert_eq!(
                    seen.folding_to("user-info"),
                    [("user-info", b"mmosley".as_slice())],
                    "{what}"
                );
                assert_eq!(seen.header("authorization"), None, "{what}");
                let (body, sum) = (what.contains("body"), what.contains("trailers"));
                assert_eq!(seen.body == b"body", body, "{what}: its body arrives");
                assert_eq!(
                    seen.trailers.len(),
                    usize::from(sum),
                    "{what}: its own trailer arrives"
                );
            });

            std::thread::sleep(Duration::from_millis(1100));
            let go = server.holds(keys([&*KEY, &late]));
            let stranger = Key::new("ES256", "stranger");
            while_held(&envoy, &go, &forms(&forged(&stranger)), |what, status, seen| {
                assert_eq!((status, seen), (401, None), "{what}, option {option:?}");
            });

            // What is refused at once is held as well.
            for (form, request) in forms(&Request::get("/").header("User-Info", "forged")) {
                for reply in envoy.listener("usher").both(&request) {
                    assert_eq!(
                        (reply.status, &reply.seen),
                        (401, &None),
                        "{form}, option {option:?}"
                    );
                }
            }
            assert_sound(&envoy);
        }
    }
}

#[test]
fn trailers_lose_the_tokens_that_headers_lose() {
    let server = KeyServer::start(keys([&*KEY]));
    let envoy = builder(&server, plugin("20s")).start();
    let request = bearer(&KEY)
        .body("body")
        .trailer("authorization", "Bearer secret")
        .trailer("user_info", "forged")
        .trailer("x-sum", "1");
    for reply in envoy.listener("usher").both(&request) {
        assert_eq!(reply.passed().trailers, [("x-sum".to_owned(), b"1".to_vec())], "{reply}");
    }
}

/// Envoy hands the `connection` header of an upgrade on; the next hop drops what it nominates.
#[test]
fn an_upgrade_does_not_nominate_the_emitted_header() {
    let server = KeyServer::start(keys([&*KEY]));
    let mut setup = plugin("20s");
    setup = setup.manager(json!({ "upgrade_configs": [{ "upgrade_type": "websocket" }] }));
    let envoy = builder(&server, setup).start();
    let listener: Listener<'_> = envoy.listener("usher");
    let token = KEY.token(&mint::claims(ISSUER, "mmosley"));
    for (nominates, expected) in [
        ("Upgrade", "Upgrade"),
        ("Upgrade, User-Info", "Upgrade"),
        ("user_info , X-Other,upgrade", "X-Other, upgrade"),
    ] {
        let reply = listener.raw(
            format!(
                "GET / HTTP/1.1\r\nhost: service.example\r\nx-case: {{case}}\r\nauthorization: Bearer {token}\r\n\
                 connection: {nominates}\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
            )
            .as_bytes(),
        );
        let seen = Upstream::shared().seen(&reply.case).or(reply.seen.clone()).expect("it arrives");
        assert_eq!(seen.header("connection"), Some(expected), "{nominates}: {seen:?}");
        assert_eq!(seen.header("user-info"), Some("mmosley"), "{nominates}: {seen:?}");
    }
}

/// A request waits on when the configuration that it began with is gone.
#[test]
fn a_request_that_waits_outlives_its_configuration() {
    let server = KeyServer::start(keys([&*KEY]));
    let envoy = builder(&server, plugin("20s").discovered()).start();
    let listener = envoy.listener("usher");
    listener.http1(&bearer(&KEY)).passed();
    let late = Key::new("ES256", "late");
    for (round, then, status) in [(0, keys([&*KEY, &late]), 200), (1, keys([&*KEY]), 401)] {
        let go = server.holds(then);
        let wanted = if status == 200 { &late } else { &Key::new("ES256", "none") };
        let crowd =
            Crowd::send(listener.address(), Protocol::Http2(50), &vec![bearer(wanted); 100]);
        wait_for_active(&envoy, 100, "all wait");
        // No key of it comes from a server any more.
        let inline = json!({ "jwtRules": [{ "issuer": "http://other.example", "jwks": mint::jwks([&*KEY]) }] });
        envoy.reconfigure("usher", behind_one_listener(Setup::plugin(inline)).discovered());
        let in_force = log::wait(|| {
            let reply = listener.http1(&bearer(&KEY));
            (reply.text() == "Jwt issuer is not configured").then_some(())
        });
        assert!(in_force.is_some(), "the new configuration is in force");
        go.send(true).unwrap();
        assert_all(&crowd.outcomes(), status, &format!("round {round}"));
        envoy.reconfigure("usher", plugin("20s").discovered());
        let back = log::wait(|| (listener.http1(&bearer(&KEY)).status == 200).then_some(()));
        assert!(back.is_some(), "the former configuration is in force");
        std::thread::sleep(Duration::from_millis(1100));
    }
    assert_sound(&envoy);
}

/// Plugins share a VM and so a queue; each has a timer of its own.
/// While it waits a request holds no token; what its rule forwards is there again when it goes on.
#[test]
fn a_forwarded_token_arrives_after_the_wait() {
    let server = KeyServer::start(keys([&*KEY]));
    let rule = |forward: bool| {
        json!({
            "issuer": ISSUER,
            "jwksUri": "http://keys.example/jwks",
            "jwksCluster": "keys",
            "timeout": "20s",
            "fromHeaders": [{ "name": "authorization", "prefix": "Bearer " }, { "name": "x-token" }],
            "fromParams": ["t"],
            "fromCookies": ["auth"],
            "forwardOriginalToken": forward,
        })
    };
    let plugin = |forward| {
        behind_one_listener(Setup::plugin(json!({
            "jwtRules": [rule(forward)], "pathNormalization": "BASE",
        })))
    };
    let envoy = Envoy::builder()
        .listener("forwards", plugin(true))
        .listener("withholds", plugin(false))
        .cluster("keys", server.address)
        .start();
    let paths = ["/a/../b?x=1&t=", "/b?x=1&t="];
    for (round, listener) in ["forwards", "withholds", "forwards"].into_iter().enumerate() {
        let late = Key::new("ES256", &format!("late-{round}"));
        let token = late.token(&mint::claims(ISSUER, "mmosley"));
        std::thread::sleep(Duration::from_millis(1100));
        let held = server.holds(keys([&*KEY, &late]));
        let request = Request::get(format!("{}{token}", paths[0]))
            .bearer(&token)
            .header("x-token", &token)
            .header("cookie", format!("a=1; auth={token}"));
        let reply = std::thread::scope(|scope| {
            let waiting = scope.spawn(|| envoy.listener(listener).http1(&request));
            std::thread::sleep(Duration::from_millis(300));
            held.send(true).unwrap();
            waiting.join().unwrap()
        });
        let seen = reply.passed();
        let line = |name: &str| seen.header(name).map(str::to_owned);
        let forwards = listener == "forwards";
        let there = |text: String| forwards.then_some(text);
        assert_eq!(line("authorization"), there(format!("Bearer {token}")), "{listener}");
        assert_eq!(line("x-token"), there(token.clone()), "{listener}");
        let cookie = if forwards { format!("a=1; auth={token}") } else { "a=1".to_owned() };
        assert_eq!(line("cookie"), Some(cookie), "{listener}");
        let path = if forwards { format!("{}{token}", paths[1]) } else { "/b?x=1".to_owned() };
        assert_eq!(seen.path, path, "{listener}");
    }
    assert_sound(&envoy);
}

#[test]
fn requests_of_two_plugins_wait_side_by_side() {
    let servers = [(); 2].map(|()| KeyServer::start(keys([&*KEY])));
    let listeners = ["one", "two"];
    let mut builder = Envoy::builder();
    for (name, server) in listeners.iter().zip(&servers) {
        builder = builder.listener(name, plugin_of(name, "20s")).cluster(name, server.address);
    }
    let envoy = builder.start();
    for name in listeners {
        envoy.listener(name).http1(&bearer(&KEY)).passed();
    }
    for round in 0..6 {
        std::thread::sleep(Duration::from_millis(1100));
        let late = Key::new("ES256", &format!("late-{round}"));
        let held: Vec<_> =
            servers.iter().map(|server| server.holds(keys([&*KEY, &late]))).collect();
        let mut crowds: Vec<_> = listeners
            .iter()
            .map(|name| {
                Some(Crowd::send(
                    envoy.listener(name).address(),
                    Protocol::Http2(25),
                    &vec![bearer(&late); 100],
                ))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(200));
        for turn in [round % 2, 1 - round % 2] {
            held[turn].send(true).unwrap();
            let outcomes = crowds[turn].take().unwrap().outcomes();
            assert_all(&outcomes, 200, &format!("round {round}: plugin {}", listeners[turn]));
        }
    }
    assert_sound(&envoy);
}
