//! A smoke run on the oldest and the newest Envoy that Usher supports.

use std::path::Path;

use serde_json::json;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Ask;
use usher_testkit::gate::{self, Gate};
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

#[test]
fn the_oldest_envoy() {
    if let Some(envoy) = gate::oldest_envoy() {
        smoke(&envoy, "/1.36.");
    }
}

#[test]
fn the_pinned_envoy() {
    smoke(&gate::pinned_envoy(), "");
}

fn smoke(envoy: &Path, version: &str) {
    // One key that the host's own cryptography can check, and one that it can't.
    let keys = ["RS256", "PS256", "ES256", "EdDSA"].map(|alg| Key::new(alg, alg));
    let configuration = json!({ "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks(&keys),
        "outputPayloadToHeader": "User-Info",
    }]});
    let gate = Gate::plan()
        .envoy(envoy)
        .door("gate", Setup::plugin(configuration))
        .door("wrong", Setup::plugin(json!({ "jwtRule": [] })))
        .start();
    let info = gate.admin("/server_info");
    assert!(info.contains(version), "{info}");

    let door = gate.door("gate");
    for key in &keys {
        let token = key.token(&mint::claims(ISSUER, "mmosley"));
        let ask = Ask::new("POST", "/")
            .bearer(&token)
            .header("User_Info", "forged")
            .header("x-odd", b"\xff")
            .body("body")
            .trailer("user.info", "forged")
            .trailer("x-sum", "1");
        for reply in door.both(&ask) {
            let seen = reply.passed();
            let ours = ("user-info", mint::payload(&token).as_bytes());
            assert_eq!(seen.folding_to("user-info"), [ours], "{}: {reply}", key.alg);
            assert_eq!(seen.values("x-odd"), [b"\xff"]);
            assert_eq!(seen.trailers.len(), 1, "{reply}");
            assert_eq!(gate.door("gate").entry(&reply).reason.as_deref(), Some("allowed"));
        }
        let expired = key.token(&mint::with(&mint::claims(ISSUER, "x"), "exp", mint::now() - 600));
        for reply in door.both(&Ask::get("/").bearer(&expired)) {
            door.assert_denied(&reply, 401, "Jwt is expired", "token_expired");
        }
        let tampered = format!("{token}AAAA");
        for reply in door.both(&Ask::get("/").bearer(&tampered)) {
            door.assert_denied(&reply, 401, "Jwt verification fails", "signature_invalid");
        }
    }
    for reply in door.both(&Ask::get("/")) {
        door.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    }
    let grpc = Ask::new("POST", "/").header("content-type", "application/grpc");
    assert_eq!(door.http2(&grpc).header("grpc-status"), Some("16"));
    for reply in gate.door("wrong").both(&Ask::get("/")) {
        gate.door("wrong").assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
    }
    let hint = "jwtRule: unknown field `jwtRule`; did you mean `jwtRules`?";
    gate.log().line_with(&["wasm log wrong", hint]);
}
