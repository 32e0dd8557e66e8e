//! Configurations that follow each other: a wrong one changes nothing, and many of them leak nothing.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// A configuration that shows its `version` in what it emits.
fn configuration(version: usize) -> Value {
    json!({ "instance": "main", "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
        "outputClaimToHeaders": [{ "header": format!("x-version-{version}"), "claim": "sub" }],
    }]})
}

/// Several things wrong, and its problems.
fn wrong() -> (Value, [&'static str; 3]) {
    let wrong =
        json!({ "instance": "main", "jwtRule": [], "mode": "enforced", "missingToken": "allow" });
    let problems = [
        "nothing to check: give `jwtRules` or `authorizationPolicies`",
        "jwtRule: unknown field `jwtRule`; did you mean `jwtRules`?",
        "mode: expected one of `enforce`, `dryRun`, found `enforced`; did you mean `enforce`?",
    ];
    (wrong, problems)
}

fn with(mut configuration: Value, field: &str, value: &str) -> Value {
    configuration[field] = json!(value);
    configuration
}

fn request() -> Request {
    Request::get("/").bearer(&KEY.token(&mint::claims(ISSUER, "mmosley")))
}

/// Waits until requests at `listener` are judged by the configuration `version`.
#[track_caller]
fn await_version(listener: Listener<'_>, version: usize) {
    let name = format!("x-version-{version}");
    let arrived = log::wait(|| {
        let reply = listener.http1(&request());
        (reply.seen?.header(&name) == Some("mmosley")).then_some(())
    });
    assert!(arrived.is_some(), "version {version} is not in force");
}

/// Asserts that decisions are those of `version`.
#[track_caller]
fn assert_version(listener: Listener<'_>, version: usize) {
    let name = format!("x-version-{version}");
    for _ in 0..20 {
        assert_eq!(listener.http1(&request()).passed().header(&name), Some("mmosley"));
        listener.assert_denied(
            &listener.http1(&Request::get("/")),
            401,
            "Jwt is missing",
            "token_missing",
        );
    }
}

fn listener(configuration: Value) -> Setup {
    Setup::plugin(configuration).discovered()
}

#[test]
fn a_wrong_configuration_changes_no_decision() {
    keep_last(&paths::pinned_envoy());
}

#[test]
fn in_the_oldest_envoy_neither() {
    if let Some(binary) = paths::oldest_envoy() {
        keep_last(&binary);
    }
}

fn keep_last(binary: &std::path::Path) {
    let (wrong, problems) = wrong();
    let envoy = Envoy::builder()
        .binary(binary)
        .workers(2)
        .listener("keeping", listener(configuration(1)))
        .listener("denying", listener(with(configuration(1), "onInvalidConfig", "deny")))
        .listener("told", listener(configuration(1)))
        .listener("fresh", listener(wrong.clone()))
        .start();
    let keeping = envoy.listener("keeping");
    await_version(keeping, 1);
    envoy.reconfigure("keeping", listener(wrong.clone()));
    for problem in problems {
        envoy.log().line_with(&["[warning]", "wasm log keeping", problem]);
    }
    let kept = "3 problems: the last good configuration stays";
    envoy.log().line_with(&["[warning]", "wasm log keeping", kept]);
    assert_version(keeping, 1);
    // Another wrong one over the wrong one.
    envoy.reconfigure("keeping", listener(json!({ "instance": "main", "jwtRules": "none" })));
    envoy.log().line_with(&["[warning]", "wasm log keeping", "expected a list"]);
    assert_version(keeping, 1);
    envoy.reconfigure("keeping", listener(configuration(2)));
    await_version(keeping, 2);
    assert_version(keeping, 2);

    // Without a last good one, or where the operator does not want it.
    let refuses = |name| {
        let listener = envoy.listener(name);
        let refused =
            log::wait(|| Some(listener.http1(&request())).filter(|reply| reply.status == 503));
        let reply = refused.expect("the wrong configuration is in force");
        listener.assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
    };
    refuses("fresh");
    await_version(envoy.listener("denying"), 1);
    envoy.reconfigure("denying", listener(wrong.clone()));
    refuses("denying");
    await_version(envoy.listener("told"), 1);
    envoy.reconfigure("told", listener(with(wrong, "onInvalidConfig", "deny")));
    refuses("told");
    for name in ["fresh", "denying", "told"] {
        envoy.reconfigure(name, listener(configuration(3)));
        await_version(envoy.listener(name), 3);
    }
}

#[test]
fn many_reloads_fail_no_request_and_leak_nothing() {
    let server = KeyServer::start(Manner::keys(&mint::jwks([&*KEY])));
    let remote = |version| {
        let mut configuration = configuration(version);
        let rule = &mut configuration["jwtRules"][0];
        rule.as_object_mut().unwrap().remove("jwks");
        rule["jwksUri"] = json!("http://keys.example/jwks");
        rule["jwksCluster"] = json!("keys");
        listener(configuration)
    };
    let envoy = Envoy::builder()
        .listener("usher", remote(0))
        .cluster("keys", server.address)
        .workers(2)
        .start();
    let listener = envoy.listener("usher");
    await_version(listener, 0);
    let reloads = if soak() { 1000 } else { 50 };
    let (done, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..2 {
            let (done, sent) = (&done, &sent);
            scope.spawn(move || {
                let mut line = listener.connect();
                while !done.load(Ordering::Relaxed) {
                    if client == 0 {
                        line.send(&request()).passed();
                    } else {
                        let reply = line.send(&Request::get("/"));
                        assert_eq!((reply.status, reply.seen), (401, None));
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            });
        }
        // A failed assertion in here must end the clients too.
        let reload = |version| {
            envoy.reconfigure("usher", remote(version));
            await_version(listener, version);
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in 1..=reloads {
                reload(version);
                if version % (reloads / 10).min(10) == 0 {
                    memory.push((version, envoy.memory()));
                }
            }
        }));
        done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
    println!("{} requests during {reloads} reloads", sent.load(Ordering::Relaxed));
    for (version, memory) in &memory {
        println!("after {version} reloads: {memory:?}");
    }
    assert!(sent.into_inner() > reloads, "too few to prove anything");
    assert_eq!(server.asked(), 1, "keys that did not change are not fetched again");
    // Each reload that leaked its root context, its policy or a timer would show: a policy alone is
    // tens of KiB. What is allowed is noise of the allocators.
    let after_ten = memory.iter().find(|(version, _)| *version >= 10).unwrap().1.resident;
    let last = memory.last().unwrap().1.resident;
    let most = after_ten + 8 * 1024;
    assert!(last <= most, "from {after_ten} KiB after ten reloads to {last} KiB: {memory:?}");
    let log = envoy.log().text();
    for bad in ["RuntimeError", "panicked", "proxy_on", "wasm trap", "Wasm VM"] {
        assert!(!log.contains(bad), "{bad} in Envoy's log");
    }
}

fn soak() -> bool {
    std::env::var_os("USHER_SOAK").is_some()
}
