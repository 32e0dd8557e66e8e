//! What a refused client gets, and what the operator sees of it.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::{Envoy, Listener};
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

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let changed = |name: &str, value: Value| {
        let mut configuration = configuration();
        configuration[name] = value;
        Setup::plugin(configuration)
    };
    Envoy::builder()
        .listener("main", Setup::plugin(configuration()))
        .listener("spoof", changed("identityHeaders", json!({ "onSpoof": "reject" })))
        .listener("terse", changed("responses", json!({ "details": "terse" })))
        .listener("problem", changed("responses", json!({ "format": "problem+json" })))
        .start()
});

fn listener() -> Listener<'static> {
    ENVOY.listener("main")
}

fn token(exp: i64) -> String {
    KEY.token(&mint::with(&mint::claims(ISSUER, "mmosley"), "exp", mint::now() + exp))
}

#[test]
fn without_a_token_the_challenge_names_no_error() {
    for reply in listener().both(&Request::get("/secret?q=1")) {
        listener().assert_denied(&reply, 401, "Jwt is missing", "token_missing");
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
        for reply in
            listener().both(&Request::get("/").authority("api.example:8443").bearer(&token))
        {
            listener().assert_denied(&reply, 401, body, code);
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
    for request in [
        Request::get(format!("/secret?access_token={token}&q=query-secret")),
        Request::get("/secret?q=query-secret").bearer(&token),
    ] {
        for reply in listener().both(&request) {
            listener().assert_denied(&reply, 401, "Jwt is expired", "token_expired");
            let told = reply.to_string();
            for secret in [token.as_str(), mint::payload(&token), "query-secret", "/secret"] {
                assert!(!told.contains(secret), "{secret} in {told}");
            }
        }
    }
    let log = ENVOY.log().text();
    for secret in [token.as_str(), mint::payload(&token), "query-secret"] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

#[test]
fn head_is_answered_like_get_without_the_body() {
    for (request, length, code) in [
        (Request::new("HEAD", "/"), "14", "token_missing"),
        (Request::new("HEAD", "/").bearer(&token(-600)), "14", "token_expired"),
    ] {
        for reply in listener().both(&request) {
            listener().assert_denied(&reply, 401, "", code);
            assert_eq!(reply.header("content-length"), Some(length), "{reply}");
            assert!(reply.header("www-authenticate").is_some(), "{reply}");
        }
    }
}

#[test]
fn grpc_clients_get_a_grpc_status() {
    for content_type in ["application/grpc", "application/grpc+proto"] {
        let request = Request::new("POST", "/shop.Cart/Add").header("content-type", content_type);
        let reply = listener().http2(&request);
        listener().assert_denied(&reply, 200, "", "token_missing");
        assert_eq!(reply.header("grpc-status"), Some("16"), "{reply}");
        assert_eq!(reply.header("grpc-message"), Some("Jwt is missing"), "{reply}");
        assert_eq!(reply.header("content-type"), Some("application/grpc"), "{reply}");

        let spoof = ENVOY.listener("spoof");
        let reply = spoof.http2(&request.bearer(&token(600)).header("user_info", "forged"));
        spoof.assert_denied(&reply, 200, "", "identity_spoofed");
        assert_eq!(reply.header("grpc-status"), Some("7"), "{reply}");

        let unsafe_path =
            Request::new("POST", "/shop.Cart/%00").header("content-type", content_type);
        let reply = listener().http2(&unsafe_path.bearer(&token(600)));
        listener().assert_denied(&reply, 200, "", "path_unsafe");
        assert_eq!(reply.header("grpc-status"), Some("13"), "{reply}");
    }
    // Neither gRPC-Web nor a name that merely begins so is gRPC.
    for content_type in ["application/grpc-web", "application/grpcx", "application/json"] {
        let reply =
            listener().http2(&Request::new("POST", "/").header("content-type", content_type));
        listener().assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    }
}

#[test]
fn a_spoofed_identity_can_be_refused() {
    let spoof = ENVOY.listener("spoof");
    for name in ["User-Info", "user_info", "user.info"] {
        for reply in spoof.both(&Request::get("/").bearer(&token(600)).header(name, "forged")) {
            spoof.assert_denied(&reply, 403, "Forbidden", "identity_spoofed");
            assert_eq!(reply.header("www-authenticate"), None);
        }
    }
    for reply in spoof.both(&Request::get("/").bearer(&token(600)).header("userinfo", "mine")) {
        assert_eq!(reply.passed().header("userinfo"), Some("mine"));
    }
}

#[test]
fn terse_answers_name_no_cause() {
    let terse = ENVOY.listener("terse");
    for reply in terse.both(&Request::get("/").bearer(&token(-600))) {
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
    let problem = ENVOY.listener("problem");
    for reply in problem.both(&Request::get("/").bearer(&token(-600))) {
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
    for (request, decision, reason, iss, sub) in [
        (Request::get("/").bearer(&token(600)), "allow", "allowed", iss, sub),
        // The claims of a token that was not accepted are not an identity.
        (Request::get("/").bearer(&token(-600)), "deny", "token_expired", None, None),
        (Request::get("/"), "deny", "token_missing", None, None),
    ] {
        for reply in listener().both(&request) {
            let entry = listener().entry(&reply);
            assert_eq!(entry.decision.as_deref(), Some(decision), "{reply}");
            assert_eq!(entry.reason.as_deref(), Some(reason), "{reply}");
            assert_eq!(entry.provider.as_deref(), iss, "{reply}");
            assert_eq!(entry.iss.as_deref(), iss, "{reply}");
            assert_eq!(entry.sub.as_deref(), sub, "{reply}");
        }
    }
}
