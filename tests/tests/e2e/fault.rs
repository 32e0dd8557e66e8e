//! What a proxy does when the module's VM has failed, with a module that traps on demand
//! (`make wasm-fault`). docs/operations.md says what is asserted here.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::json;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Ask, Reply};
use usher_testkit::gate::{self, Gate};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

fn good() -> Ask {
    Ask::get("/").bearer(&KEY.token(&mint::claims(ISSUER, "mmosley")))
}

fn trap() -> Ask {
    good().header("x-usher-fault", "trap")
}

fn start(envoy: &Path, module: &Path, policy: &'static str) -> Gate {
    let configuration = json!({ "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
    }]});
    let setup = Setup::plugin(configuration).discovered().failure_policy(policy);
    Gate::plan().envoy(envoy).module(module).door("usher", setup).start()
}

fn envoys() -> Vec<std::path::PathBuf> {
    [Some(gate::pinned_envoy()), gate::oldest_envoy()].into_iter().flatten().collect()
}

/// The proxy's own refusal: nothing of it reaches the service.
#[track_caller]
fn assert_failed(gate: &Gate, reply: &Reply) {
    assert_eq!((reply.status, &reply.seen), (503, &None), "{reply}");
    let details = gate.door("usher").entry(reply).details;
    assert_eq!(details.as_deref(), Some("wasm_fail_stream"), "{reply}");
}

#[test]
fn fail_closed_refuses_all_from_then_on() {
    let Some(module) = gate::faulty_module() else { return };
    for envoy in envoys() {
        let gate = start(&envoy, &module, "FAIL_CLOSED");
        let door = gate.door("usher");
        door.http1(&good()).passed();
        assert_failed(&gate, &door.http1(&trap()));
        // Longer than the back-off of a reload.
        std::thread::sleep(std::time::Duration::from_secs(3));
        for ask in [good(), Ask::get("/")] {
            assert_failed(&gate, &door.http1(&ask));
        }
    }
}

#[test]
fn fail_reload_is_back_with_a_new_vm() {
    let Some(module) = gate::faulty_module() else { return };
    for envoy in envoys() {
        let gate = start(&envoy, &module, "FAIL_RELOAD");
        let door = gate.door("usher");
        door.http1(&good()).passed();
        for _ in 0..2 {
            assert_failed(&gate, &door.http1(&trap()));
            let back = log::wait(|| {
                let reply = door.http1(&good());
                if reply.status != 200 {
                    assert_failed(&gate, &reply);
                    return None;
                }
                Some(())
            });
            assert!(back.is_some(), "the module is back:\n{}", gate.log().text());
            let refused = door.http1(&Ask::get("/"));
            door.assert_denied(&refused, 401, "Jwt is missing", "token_missing");
        }
    }
}
