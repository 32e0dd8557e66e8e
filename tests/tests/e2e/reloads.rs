//! Configurations that follow each other: a wrong one changes nothing, and many of them leak nothing.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Ask;
use usher_testkit::gate::{self, Door, Gate};
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// A configuration that shows its `version` in what it emits.
fn configuration(version: usize) -> Value {
    json!({ "instance": "gate", "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
        "outputClaimToHeaders": [{ "header": format!("x-version-{version}"), "claim": "sub" }],
    }]})
}

/// Several things wrong, and its problems.
fn wrong() -> (Value, [&'static str; 3]) {
    let wrong =
        json!({ "instance": "gate", "jwtRule": [], "mode": "enforced", "missingToken": "allow" });
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

fn ask() -> Ask {
    Ask::get("/").bearer(&KEY.token(&mint::claims(ISSUER, "mmosley")))
}

/// Waits until requests at `door` are judged by the configuration `version`.
#[track_caller]
fn await_version(door: Door<'_>, version: usize) {
    let name = format!("x-version-{version}");
    let arrived = log::wait(|| {
        let reply = door.http1(&ask());
        (reply.seen?.header(&name) == Some("mmosley")).then_some(())
    });
    assert!(arrived.is_some(), "version {version} is not in force");
}

/// Asserts that decisions are those of `version`.
#[track_caller]
fn assert_version(door: Door<'_>, version: usize) {
    let name = format!("x-version-{version}");
    for _ in 0..20 {
        assert_eq!(door.http1(&ask()).passed().header(&name), Some("mmosley"));
        door.assert_denied(&door.http1(&Ask::get("/")), 401, "Jwt is missing", "token_missing");
    }
}

fn door(configuration: Value) -> Setup {
    Setup::plugin(configuration).discovered()
}

#[test]
fn a_wrong_configuration_changes_no_decision() {
    keep_last(&gate::pinned_envoy());
}

#[test]
fn in_the_oldest_envoy_neither() {
    if let Some(envoy) = gate::oldest_envoy() {
        keep_last(&envoy);
    }
}

fn keep_last(envoy: &std::path::Path) {
    let (wrong, problems) = wrong();
    let gate = Gate::plan()
        .envoy(envoy)
        .workers(2)
        .door("keeping", door(configuration(1)))
        .door("denying", door(with(configuration(1), "onInvalidConfig", "deny")))
        .door("told", door(configuration(1)))
        .door("fresh", door(wrong.clone()))
        .start();
    let keeping = gate.door("keeping");
    await_version(keeping, 1);
    gate.reconfigure("keeping", door(wrong.clone()));
    for problem in problems {
        gate.log().line_with(&["[warning]", "wasm log keeping", problem]);
    }
    let kept = "3 problems: the last good configuration stays";
    gate.log().line_with(&["[warning]", "wasm log keeping", kept]);
    assert_version(keeping, 1);
    // Another wrong one over the wrong one.
    gate.reconfigure("keeping", door(json!({ "instance": "gate", "jwtRules": "none" })));
    gate.log().line_with(&["[warning]", "wasm log keeping", "expected a list"]);
    assert_version(keeping, 1);
    gate.reconfigure("keeping", door(configuration(2)));
    await_version(keeping, 2);
    assert_version(keeping, 2);

    // Without a last good one, or where the operator does not want it.
    let refuses = |name| {
        let door = gate.door(name);
        let refused = log::wait(|| Some(door.http1(&ask())).filter(|reply| reply.status == 503));
        let reply = refused.expect("the wrong configuration is in force");
        door.assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
    };
    refuses("fresh");
    await_version(gate.door("denying"), 1);
    gate.reconfigure("denying", door(wrong.clone()));
    refuses("denying");
    await_version(gate.door("told"), 1);
    gate.reconfigure("told", door(with(wrong, "onInvalidConfig", "deny")));
    refuses("told");
    for name in ["fresh", "denying", "told"] {
        gate.reconfigure(name, door(configuration(3)));
        await_version(gate.door(name), 3);
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
        door(configuration)
    };
    let gate =
        Gate::plan().door("usher", remote(0)).cluster("keys", server.address).workers(2).start();
    let door = gate.door("usher");
    await_version(door, 0);
    let reloads = if soak() { 1000 } else { 50 };
    let (done, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let mut memory = Vec::new();
    std::thread::scope(|scope| {
        for client in 0..2 {
            let (done, sent) = (&done, &sent);
            scope.spawn(move || {
                let mut line = door.line();
                while !done.load(Ordering::Relaxed) {
                    if client == 0 {
                        line.send(&ask()).passed();
                    } else {
                        let reply = line.send(&Ask::get("/"));
                        assert_eq!((reply.status, reply.seen), (401, None));
                    }
                    sent.fetch_add(1, Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_millis(2));
                }
            });
        }
        // A failed assertion in here must end the clients too.
        let reload = |version| {
            gate.reconfigure("usher", remote(version));
            await_version(door, version);
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for version in 1..=reloads {
                reload(version);
                if version % (reloads / 10).min(10) == 0 {
                    memory.push((version, gate.memory()));
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
    let log = gate.log().text();
    for bad in ["RuntimeError", "panicked", "proxy_on", "wasm trap", "Wasm VM"] {
        assert!(!log.contains(bad), "{bad} in Envoy's log");
    }
}

fn soak() -> bool {
    std::env::var_os("USHER_SOAK").is_some()
}
