//! What a refused client is told, and what the operator reads of it.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Ask;
use usher_testkit::gate::{Door, Gate};
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

fn configuration() -> Value {
    json!({ "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
        "outputPayloadToHeader": "User-Info",
    }]})
}

static GATE: LazyLock<Gate> = LazyLock::new(|| {
    let changed = |name: &str, value: Value| {
        let mut configuration = configuration();
        configuration[name] = value;
        Setup::plugin(configuration)
    };
    Gate::plan()
        .door("gate", Setup::plugin(configuration()))
        .door("spoof", changed("identityHeaders", json!({ "onSpoof": "reject" })))
        .door("terse", changed("responses", json!({ "details": "terse" })))
        .door("problem", changed("responses", json!({ "format": "problem+json" })))
        .start()
});

fn gate() -> Door<'static> {
    GATE.door("gate")
}

fn token(exp: i64) -> String {
    KEY.token(&mint::with(&mint::claims(ISSUER, "mmosley"), "exp", mint::now() + exp))
}

#[test]
fn without_a_token_the_challenge_names_no_error() {
    for reply in gate().both(&Ask::get("/secret?q=1")) {
        gate().assert_denied(&reply, 401, "Jwt is missing", "token_missing");
        let challenge = r#"Bearer realm="http://service.example""#;
        assert_eq!(reply.header("www-authenticate"), Some(challenge));
        assert_eq!(reply.header("content-type"), Some("text/plain"));
        assert_eq!(reply.header("content-length"), Some("14"));
    }
}

#[test]
fn with_a_bad_token_the_challenge_names_the_cause() {
    let tampered = format!("{}AAAA", token(600));
    for (token, body, code) in [
        (token(-600), "Jwt is expired", "token_expired"),
        (tampered, "Jwt verification fails", "signature_invalid"),
        (
            "opaque".to_owned(),
            "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections",
            "token_malformed",
        ),
    ] {
        for reply in gate().both(&Ask::get("/").authority("api.example:8443").bearer(&token)) {
            gate().assert_denied(&reply, 401, body, code);
            let challenge = format!(
                r#"Bearer realm="http://api.example:8443", error="invalid_token", error_description="{body}""#
            );
            assert_eq!(reply.header("www-authenticate"), Some(challenge.as_str()));
        }
    }
}

#[test]
fn nothing_repeats_the_query_or_the_token() {
    let token = token(-600);
    for ask in [
        Ask::get(format!("/secret?access_token={token}&q=query-secret")),
        Ask::get("/secret?q=query-secret").bearer(&token),
    ] {
        for reply in gate().both(&ask) {
            gate().assert_denied(&reply, 401, "Jwt is expired", "token_expired");
            let told = reply.to_string();
            for secret in [token.as_str(), mint::payload(&token), "query-secret", "/secret"] {
                assert!(!told.contains(secret), "{secret} in {told}");
            }
        }
    }
    let log = GATE.log().text();
    for secret in [token.as_str(), mint::payload(&token), "query-secret"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    for (ask, length, code) in [
        (Ask::new("HEAD", "/"), "14", "token_missing"),
        (Ask::new("HEAD", "/").bearer(&token(-600)), "14", "token_expired"),
    ] {
        for reply in gate().both(&ask) {
            gate().assert_denied(&reply, 401, "", code);
            assert_eq!(reply.header("content-length"), Some(length), "{reply}");
            assert!(reply.header("www-authenticate").is_some(), "{reply}");
        }
    }
}

#[test]
fn grpc_clients_get_a_grpc_status() {
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let ask = Ask::new("POST", "/shop.Cart/Add").header("content-type", content_type);
        let reply = gate().http2(&ask);
        gate().assert_denied(&reply, 200, "", "token_missing");
        assert_eq!(reply.header("grpc-status"), Some("16"), "{reply}");
        assert_eq!(reply.header("grpc-message"), Some("Jwt is missing"), "{reply}");
        assert_eq!(reply.header("content-type"), Some("application/grpc"), "{reply}");

        let spoof = GATE.door("spoof");
        let reply = spoof.http2(&ask.bearer(&token(600)).header("user_info", "forged"));
        spoof.assert_denied(&reply, 200, "", "identity_spoofed");
        assert_eq!(reply.header("grpc-status"), Some("7"), "{reply}");

        let unsafe_path = Ask::new("POST", "/shop.Cart/%00").header("content-type", content_type);
        let reply = gate().http2(&unsafe_path.bearer(&token(600)));
        gate().assert_denied(&reply, 200, "", "path_unsafe");
        assert_eq!(reply.header("grpc-status"), Some("13"), "{reply}");
    }
    // Neither gRPC-Web nor a name that merely begins so is gRPC.
    for content_type in ["application/grpc-web", "application/grpcx", "application/json"] {
        let reply = gate().http2(&Ask::new("POST", "/").header("content-type", content_type));
        gate().assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    }
}

#[test]
fn a_spoofed_identity_can_be_refused() {
    let spoof = GATE.door("spoof");
    for name in ["User-Info", "user_info", "user.info"] {
        for reply in spoof.both(&Ask::get("/").bearer(&token(600)).header(name, "forged")) {
            spoof.assert_denied(&reply, 403, "Forbidden", "identity_spoofed");
            assert_eq!(reply.header("www-authenticate"), None);
        }
    }
    for reply in spoof.both(&Ask::get("/").bearer(&token(600)).header("userinfo", "mine")) {
        assert_eq!(reply.passed().header("userinfo"), Some("mine"));
    }
}

#[test]
fn terse_answers_name_no_cause() {
    let terse = GATE.door("terse");
    for reply in terse.both(&Ask::get("/").bearer(&token(-600))) {
        terse.assert_denied(&reply, 401, "Unauthorized", "token_expired");
        let challenge = concat!(
            r#"Bearer realm="http://service.example", error="invalid_token", "#,
            r#"error_description="Unauthorized""#,
        );
        assert_eq!(reply.header("www-authenticate"), Some(challenge));
    }
}

#[test]
fn problem_json_tells_status_and_code() {
    let problem = GATE.door("problem");
    for reply in problem.both(&Ask::get("/").bearer(&token(-600))) {
        assert_eq!(reply.status, 401);
        assert_eq!(reply.header("content-type"), Some("application/problem+json"));
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            body,
            json!({
                "title": "Unauthorized",
                "status": 401,
                "detail": "Jwt is expired",
                "code": "token_expired",
            })
        );
    }
}

#[test]
fn the_decision_is_in_filter_state() {
    let (iss, sub) = (Some(ISSUER), Some("mmosley"));
    for (ask, decision, reason, iss, sub) in [
        (Ask::get("/").bearer(&token(600)), "allow", "allowed", iss, sub),
        // What a token says that was not accepted is nobody's identity.
        (Ask::get("/").bearer(&token(-600)), "deny", "token_expired", None, None),
        (Ask::get("/"), "deny", "token_missing", None, None),
    ] {
        for reply in gate().both(&ask) {
            let entry = gate().entry(&reply);
            assert_eq!(entry.decision.as_deref(), Some(decision), "{reply}");
            assert_eq!(entry.reason.as_deref(), Some(reason), "{reply}");
            assert_eq!(entry.provider.as_deref(), iss, "{reply}");
            assert_eq!(entry.iss.as_deref(), iss, "{reply}");
            assert_eq!(entry.sub.as_deref(), sub, "{reply}");
        }
    }
}
