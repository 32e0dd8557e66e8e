//! What a proxy does when the module's VM has failed, with a module that traps on demand
//! (`make wasm-fault`). docs/operations.md says what is asserted here.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::json;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::Envoy;
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

fn good() -> Request {
    Request::get("/").bearer(&KEY.token(&mint::claims(ISSUER, "mmosley")))
}

fn trap() -> Request {
    good().header("x-usher-fault", "trap")
}

fn start(binary: &Path, module: &Path, policy: &'static str) -> Envoy {
    let configuration = json!({ "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
    }]});
    let setup = Setup::plugin(configuration).discovered().failure_policy(policy);
    Envoy::builder().binary(binary).module(module).listener("usher", setup).start()
}

fn binaries() -> Vec<std::path::PathBuf> {
    [Some(paths::pinned_envoy()), paths::oldest_envoy()].into_iter().flatten().collect()
}

/// The proxy's own refusal: nothing of it reaches the service.
#[track_caller]
fn assert_failed(envoy: &Envoy, reply: &Reply) {
    assert_eq!((reply.status, &reply.seen), (503, &None), "{reply}");
    let details = envoy.listener("usher").entry(reply).details;
    assert_eq!(details.as_deref(), Some("wasm_fail_stream"), "{reply}");
}

#[test]
fn fail_closed_refuses_all_from_then_on() {
    let Some(module) = paths::faulty_module() else { return };
    for binary in binaries() {
        let envoy = start(&binary, &module, "FAIL_CLOSED");
        let listener = envoy.listener("usher");
        listener.http1(&good()).passed();
        assert_failed(&envoy, &listener.http1(&trap()));
        // Longer than the back-off of a reload.
        std::thread::sleep(std::time::Duration::from_secs(3));
        for request in [good(), Request::get("/")] {
            assert_failed(&envoy, &listener.http1(&request));
        }
    }
}

#[test]
fn fail_reload_is_back_with_a_new_vm() {
    let Some(module) = paths::faulty_module() else { return };
    for binary in binaries() {
        let envoy = start(&binary, &module, "FAIL_RELOAD");
        let listener = envoy.listener("usher");
        listener.http1(&good()).passed();
        for _ in 0..2 {
            assert_failed(&envoy, &listener.http1(&trap()));
            let back = log::wait(|| {
                let reply = listener.http1(&good());
                if reply.status != 200 {
                    assert_failed(&envoy, &reply);
                    return None;
                }
                Some(())
            });
            assert!(back.is_some(), "the module is back:\n{}", envoy.log().text());
            let refused = listener.http1(&Request::get("/"));
            listener.assert_denied(&refused, 401, "Jwt is missing", "token_missing");
        }
    }
}
