//! The filter on a fake proxy: what it lets pass, and when, for any behaviour of the host.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::fake_host::{SharedData, Stream};
use usher_testkit::fake_proxy::Proxy;
use usher_testkit::mint::{self, Key};
use usher_testkit::verdict::{ISSUER, NOW};

mod configurations;
mod failures;
mod keys;
mod orders;
mod plugins;
mod requests;
mod signatures;
mod waiting;

/// The time of all requests, in milliseconds.
const NOW_MILLIS: u64 = NOW * 1000;

/// The key of the configuration, or of its key server.
static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("EdDSA", "one"));

/// A key that is not listed yet.
static LATE: LazyLock<Key> = LazyLock::new(|| Key::new("EdDSA", "late"));

fn token(key: &Key) -> String {
    key.token(&json!({ "iss": ISSUER, "sub": "mmosley", "exp": NOW + 3600 }))
}

fn bearer(key: &Key) -> String {
    format!("Bearer {}", token(key))
}

fn key_set(keys: &[&Key]) -> String {
    mint::jwks(keys.iter().copied()).to_string()
}

/// A rule that emits the subject, with further fields.
fn rule(fields: Value) -> Value {
    let mut rule = json!({
        "issuer": ISSUER,
        "outputClaimToHeaders": [{ "header": "User-Info", "claim": "sub" }],
    });
    rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    rule
}

/// A configuration whose keys are inline.
fn inline() -> String {
    json!({ "jwtRules": [rule(json!({ "jwks": key_set(&[&KEY]) }))] }).to_string()
}

/// One whose keys are fetched.
fn remote() -> String {
    let keys =
        json!({ "jwksUri": "http://keys.example/jwks", "jwksCluster": "keys", "timeout": "5s" });
    json!({ "jwtRules": [rule(keys)] }).to_string()
}

fn shared() -> SharedData {
    Rc::new(RefCell::new(HashMap::new()))
}

/// A worker by itself, with this configuration for its one plugin.
fn proxy(configuration: &str) -> (Proxy, u32) {
    let proxy = Proxy::new(NOW_MILLIS, &shared());
    let (root, loaded) = proxy.configure("usher", configuration);
    assert!(loaded, "the host is never told that a configuration is wrong");
    (proxy, root)
}

/// As [`proxy`], after its keys came.
fn fetched(keys: &[&Key]) -> (Proxy, u32) {
    let (proxy, root) = proxy(&remote());
    proxy.tick(root);
    assert!(proxy.respond(Some((200, &key_set(keys)))), "the key server is asked ahead of need");
    (proxy, root)
}

/// INVARIANT: what the service gets was permitted, and holds no identity but that of a token that was sent.
#[track_caller]
fn assert_sound(stream: &Stream, what: &str) {
    if let Some(reply) = &stream.reply {
        // Where its trailers cannot be cleaned, a request is ended that had gone on: without them.
        let ended = reply.status == 503 && stream.service.trailers.is_none();
        assert!(ended || !stream.reached_service(), "{what}: answered and passed on: {stream:?}");
    }
    if let Some(headers) = &stream.service.headers {
        let identity: Vec<_> =
            headers.iter().filter(|(name, _)| name == b"user-info").map(|(_, v)| v).collect();
        let with_token = stream.sent.iter().any(|(name, _)| name == b"authorization");
        let verified: &[&[u8]] = if with_token { &[b"mmosley"] } else { &[] };
        assert_eq!(identity, verified, "{what}: {stream:?}");
    } else {
        assert!(!stream.reached_service(), "{what}: a part without its headers: {stream:?}");
    }
    let trailers = stream.service.trailers.iter().flatten();
    assert!(trailers.into_iter().all(|(name, _)| name != b"user-info"), "{what}: {stream:?}");
}
