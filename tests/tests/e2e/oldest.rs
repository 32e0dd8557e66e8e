//! A smoke run on the oldest and the newest Envoy that Usher supports.

use std::path::Path;

use serde_json::json;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;

const ISSUER: &str = "https://idp.example";

#[test]
fn the_oldest_envoy() {
    if let Some(binary) = paths::oldest_envoy() {
        smoke(&binary, "/1.36.");
    }
}

#[test]
fn the_pinned_envoy() {
    smoke(&paths::pinned_envoy(), "");
}

fn smoke(binary: &Path, version: &str) {
    // One key that the host's own cryptography can check, and one that it can't.
    let keys = ["RS256", "PS256", "ES256", "EdDSA"].map(|alg| Key::new(alg, alg));
    let configuration = json!({ "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks(&keys),
        "outputPayloadToHeader": "User-Info",
    }]});
    let envoy = Envoy::builder()
        .binary(binary)
        .listener("main", Setup::plugin(configuration))
        .listener("wrong", Setup::plugin(json!({ "jwtRule": [] })))
        .start();
    let info = envoy.admin("/server_info");
    assert!(info.contains(version), "{info}");

    let listener = envoy.listener("main");
    for key in &keys {
        let token = key.token(&mint::claims(ISSUER, "mmosley"));
        let request = Request::new("POST", "/")
            .bearer(&token)
            .header("User_Info", "forged")
            .header("x-odd", b"\xff")
            .body("body")
            .trailer("user.info", "forged")
            .trailer("x-sum", "1");
        for reply in listener.both(&request) {
            let seen = reply.passed();
            let ours = ("user-info", mint::payload(&token).as_bytes());
            assert_eq!(seen.folding_to("user-info"), [ours], "{}: {reply}", key.alg);
            assert_eq!(seen.values("x-odd"), [b"\xff"]);
            assert_eq!(seen.trailers.len(), 1, "{reply}");
            assert_eq!(envoy.listener("main").entry(&reply).reason.as_deref(), Some("allowed"));
        }
        let expired = key.token(&mint::with(&mint::claims(ISSUER, "x"), "exp", mint::now() - 600));
        for reply in listener.both(&Request::get("/").bearer(&expired)) {
            listener.assert_denied(&reply, 401, "Jwt is expired", "token_expired");
        }
        let tampered = format!("{token}AAAA");
        for reply in listener.both(&Request::get("/").bearer(&tampered)) {
            listener.assert_denied(&reply, 401, "Jwt verification fails", "signature_invalid");
        }
    }
    for reply in listener.both(&Request::get("/")) {
        listener.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    }
    let grpc = Request::new("POST", "/").header("content-type", "application/grpc");
    assert_eq!(listener.http2(&grpc).header("grpc-status"), Some("16"));
    for reply in envoy.listener("wrong").both(&Request::get("/")) {
        envoy.listener("wrong").assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
    }
    let hint = "jwtRule: unknown field `jwtRule`; did you mean `jwtRules`?";
    envoy.log().line_with(&["wasm log wrong", hint]);
}
