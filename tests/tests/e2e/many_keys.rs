//! More keys than are tried for one token, in a real Envoy: it is refused, nothing is fetched for it, and the log
//! says so.

use serde_json::{Value, json};
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "http://idp.example";
const UNKNOWN: &str = "Jwks doesn't have key to match kid or alg from Jwt";

/// A set of these keys, none of which has a `kid`.
fn unnamed(keys: &[Key]) -> Value {
    let keys = keys.iter().map(|key| mint::with(&key.jwk(), "kid", Value::Null));
    json!({ "keys": keys.collect::<Vec<_>>() })
}

fn bearer(key: &Key) -> Request {
    Request::get("/").bearer(&key.token(&mint::claims(ISSUER, "mmosley")))
}

#[test]
fn a_token_of_a_key_beyond_the_budget_is_refused_at_once() {
    let keys: Vec<Key> = (0..40).map(|n| Key::new("ES256", &format!("key-{n}"))).collect();
    let server = KeyServer::start(Manner::keys(&unnamed(&keys)));
    let rule = json!({
        "issuer": ISSUER, "name": "corp", "jwksUri": "http://keys.example/jwks", "jwksCluster": "keys",
    });
    let start = |configuration: Value| {
        Envoy::with(configuration).cluster("keys", server.address).workers(1).start()
    };
    let envoy = start(json!({ "jwtRules": [rule] }));
    let listener = envoy.listener("usher");
    let there = log::wait(|| (listener.http1(&bearer(&keys[0])).status == 200).then_some(()));
    assert!(there.is_some(), "the keys are there");
    for reply in listener.both(&bearer(&keys[31])) {
        reply.passed();
    }
    let asked = server.asked();
    // The server no longer answers: a request that waited for it would do so for 5 s, and get 503 or another reason.
    server.becomes(Manner::Silent);
    for key in [&keys[32], &keys[39], &Key::new("ES256", "of nobody")] {
        for reply in listener.both(&bearer(key)) {
            listener.assert_denied(&reply, 401, UNKNOWN, "key_unknown");
        }
    }
    std::thread::sleep(std::time::Duration::from_millis(1_500));
    assert_eq!(server.asked(), asked, "nothing is fetched for it");
    envoy.log().line_with(&["[warning]", "`corp`: 40 keys for ES256 fit one token", "only 32"]);
    let untried = log::wait(|| {
        let metrics = envoy.metrics();
        metrics.iter().find(|series| series.name == "usher_jwks_keys_untried").map(|s| s.value)
    });
    assert_eq!(untried, Some(8.0));

    server.becomes(Manner::keys(&unnamed(&keys)));
    let envoy = start(json!({ "jwtRules": [rule], "limits": { "signatureChecks": 40 } }));
    let listener = envoy.listener("usher");
    let there = log::wait(|| (listener.http1(&bearer(&keys[39])).status == 200).then_some(()));
    assert!(there.is_some(), "with a larger budget it is taken");
    assert!(!envoy.log().text().contains("fit one token"), "nothing to tell");
}

#[test]
fn a_published_key_of_a_server_is_skipped() {
    // RFC 7515 appendix A.3.
    let published = json!({
        "kty": "EC", "crv": "P-256", "kid": "rfc",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let good = Key::new("ES256", "good");
    let server = KeyServer::start(Manner::keys(&json!({ "keys": [published, good.jwk()] })));
    let rule = json!({
        "issuer": ISSUER, "jwksUri": "http://keys.example/jwks", "jwksCluster": "keys",
    });
    let envoy = Envoy::with(json!({ "jwtRules": [rule] })).cluster("keys", server.address).start();
    envoy.listener("usher").http1(&bearer(&good)).passed();
    envoy.log().line_with(&["[warning]", "key `rfc` is skipped: its private half is published"]);
}

#[test]
fn a_header_that_begins_with_white_space_is_no_token() {
    let key = Key::new("ES256", "one");
    let rule = json!({ "issuer": ISSUER, "jwks": mint::jwks([&key]) });
    let envoy =
        Envoy::with(json!({ "jwtRules": [rule], "decisionLog": { "emit": "all" } })).start();
    let listener = envoy.listener("usher");
    let payload = mint::claims(ISSUER, "mmosley").to_string();
    for (space, status) in [("", 200), (" ", 401), ("\n", 401), ("\t", 401), ("\r\n", 401)] {
        let header = format!("{space}{}", json!({ "alg": "ES256", "kid": "one" }));
        let token = key.sign_text(&header, &payload);
        for reply in listener.both(&Request::get("/").bearer(&token)) {
            assert_eq!(reply.status, status, "{space:?}: {reply}");
        }
        assert!(!envoy.log().text().contains(&token), "{space:?}: a token in the log");
    }
}
