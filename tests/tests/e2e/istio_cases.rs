//! What Istio's and Envoy's own tests send, and what Usher makes of it: the J and V cases of
//! docs/semantics.md, "Test cases of Istio and Envoy".
//!
//! Sources: istio/istio tests/integration/security/jwt_test.go; google/jwt_verify_lib test/*;
//! envoyproxy/envoy test/extensions/filters/http/jwt_authn/*. Where Usher answers otherwise, the row
//! says so and names the row of docs/differences.md. The cases with `jwksUri` (J15, J19, J21) are with the
//! tests of remote key sets.

mod j;
mod v;

use std::sync::LazyLock;

use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Reply;
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::mint::Key;

const I1: &str = "test-issuer-1@istio.io";
const I2: &str = "test-issuer-2@istio.io";

static RSA: LazyLock<Key> = LazyLock::new(|| Key::new("RS256", "rsa"));
static EC: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "ec"));
static ED: LazyLock<Key> = LazyLock::new(|| Key::new("EdDSA", "ed"));

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let listeners = j::listeners().into_iter().chain(v::listeners());
    listeners
        .fold(Envoy::builder(), |builder, (name, config)| {
            builder.listener(name, Setup::plugin(config))
        })
        .start()
});

fn listener(name: &str) -> Listener<'static> {
    ENVOY.listener(name)
}

/// Status, body, and the reason in the access log.
#[track_caller]
fn assert_answer(
    id: &str,
    listener: Listener<'_>,
    reply: &Reply,
    status: u16,
    body: &str,
    reason: &str,
) {
    assert_eq!((reply.status, reply.text().as_str()), (status, body), "{id}: {reply}");
    assert_eq!(reply.seen.is_some(), status == 200, "{id}: {reply}");
    assert_eq!(listener.entry(reply).reason.as_deref(), Some(reason), "{id}: {reply}");
}

const HELLO: &str = "hello";
const RBAC: &str = "RBAC: access denied";
