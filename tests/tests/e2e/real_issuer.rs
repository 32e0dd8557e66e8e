//! Tokens and keys of an identity provider of others, by its discovery, with its rotation.

use std::path::Path;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::glewlwyd::{Glewlwyd, SCOPE};
use usher_testkit::log::wait;

fn plugin(provider: &Glewlwyd, keys: &[Value]) -> Value {
    json!({
        "jwtRules": [{
            "issuer": provider.discovery()["issuer"],
            "audiences": [SCOPE],
            // RFC 9068: an access token, and no ID token of the same provider.
            "types": ["at+jwt"],
            "outputClaimToHeaders": [{ "header": "x-client", "claim": "client_id" }],
            "jwks": { "keys": keys },
        }],
    })
}

fn keys(provider: &Glewlwyd) -> Vec<Value> {
    provider.jwks()["keys"].as_array().unwrap().clone()
}

fn request(listener: &Listener<'_>, token: &str) -> Reply {
    listener.http1(&Request::get("/").bearer(token))
}

#[test]
fn its_tokens_are_accepted_and_its_rotation_is_followed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/envoys/glewlwyd");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    let Some(provider) = Glewlwyd::start(&directory) else { return };
    assert_eq!(provider.discovery()["issuer"], json!(provider.issuer()));

    let first_keys = keys(&provider);
    let first = provider.token();
    let envoy = Envoy::with(plugin(&provider, &first_keys)).start();
    let listener = envoy.listener("usher");
    let reply = request(&listener, &first);
    assert_eq!(reply.passed().header("x-client"), Some("shop"));
    assert_eq!(reply.passed().header("authorization"), None);

    provider.rotate();
    let second_keys = keys(&provider);
    assert_ne!(first_keys, second_keys, "the rotation brought another key");
    let second = provider.token();
    let refused = request(&listener, &second);
    let body = "Jwks doesn't have key to match kid or alg from Jwt";
    listener.assert_denied(&refused, 401, body, "key_unknown");

    // The operator adds the new key and keeps the old one for as long as tokens live.
    let both: Vec<Value> = first_keys.into_iter().chain(second_keys).collect();
    envoy.reconfigure("usher", Setup::plugin(plugin(&provider, &both)));
    let taken = wait(|| {
        Some(request(&envoy.listener("usher"), &second)).filter(|reply| reply.status == 200)
    });
    assert!(taken.is_some(), "a token of the new key");
    assert_eq!(request(&envoy.listener("usher"), &first).status, 200, "a token of the old key");
}
