//! Which tokens are accepted, and the reason for each that is not.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::mint::{self, Key};

const CORP: &str = "https://corp.example";
const PARTNER: &str = "https://partner.example";

static CORP_KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "corp"));
static PARTNER_KEY: LazyLock<Key> = LazyLock::new(|| Key::new("EdDSA", "partner"));
/// A key that no rule has, though it calls itself `corp`.
static STRANGER: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "corp"));
/// One key for every algorithm that is not covered above.
static OTHERS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let algorithms = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES384"];
    algorithms.iter().map(|alg| Key::new(alg, &format!("key-{alg}"))).collect()
});

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let corp = json!({
        "issuer": CORP,
        "audiences": ["kubernetes", "console"],
        // As JSON text, which is Istio's form.
        "jwks": mint::jwks([&*CORP_KEY]).to_string(),
        "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
    });
    let partner = json!({
        "issuer": PARTNER,
        "jwks": mint::jwks([&*PARTNER_KEY]),
        "outputClaimToHeaders": [{ "header": "x-partner", "claim": "sub" }],
    });
    let others = json!({ "issuer": CORP, "jwks": mint::jwks(&*OTHERS) });
    Envoy::builder()
        .listener("main", Setup::plugin(json!({ "jwtRules": [corp, partner] })))
        .listener("algorithms", Setup::plugin(json!({ "jwtRules": [others] })))
        .start()
});

fn listener() -> Listener<'static> {
    ENVOY.listener("main")
}

/// Good claims for the rule of CORP.
fn good() -> Value {
    mint::with(&mint::claims(CORP, "mmosley"), "aud", "kubernetes")
}

fn edited(name: &str, value: impl Into<Value>) -> Value {
    mint::with(&good(), name, value)
}

/// Asserts that the token is accepted, as mmosley's.
#[track_caller]
fn assert_opens(what: &str, token: &str) {
    let reply = listener().http1(&Request::get("/").bearer(token));
    assert_eq!(reply.passed().header("x-user"), Some("mmosley"), "{what}: {reply}");
}

/// Asserts that the token is refused, in these words.
#[track_caller]
fn assert_refused(what: &str, token: &str, code: &str, body: &str) {
    let reply = listener().http1(&Request::get("/").bearer(token));
    println!("{what}");
    listener().assert_denied(&reply, 401, body, code);
}

#[test]
fn good_tokens() {
    let now = mint::now();
    for (what, claims) in [
        ("the usual one", good()),
        ("one of several audiences", edited("aud", json!(["else", "console"]))),
        ("expired within the skew", edited("exp", now - 30)),
        ("valid from now within the skew", edited("nbf", now + 30)),
        ("issued in the future within the skew", edited("iat", now + 30)),
        ("without iat", edited("iat", Value::Null)),
        ("fractions of seconds", edited("exp", json!(f64::from(u32::MAX) + 0.5))),
    ] {
        assert_opens(what, &CORP_KEY.token(&claims));
    }
    let header = json!({ "alg": "ES256" });
    assert_opens("without kid and typ", &CORP_KEY.sign(&header, &good()));
}

#[test]
fn times() {
    let now = mint::now();
    let expired = ("token_expired", "Jwt is expired");
    let early = ("token_not_yet_valid", "Jwt not yet valid");
    let range = "Jwt payload [exp] field is not a positive 64 bit integer";
    for (what, claims, (code, body)) in [
        ("expired", edited("exp", now - 90), expired),
        ("exp 0", edited("exp", 0), expired),
        ("nbf to come", edited("nbf", now + 90), early),
        ("iat to come", edited("iat", now + 90), early),
        ("no exp", edited("exp", Value::Null), ("expiration_missing", "Unauthorized")),
        (
            "exp a string",
            edited("exp", "4715782722"),
            ("token_malformed", "Jwt payload [exp] field is not an integer"),
        ),
        ("exp negative", edited("exp", -1), ("token_malformed", range)),
    ] {
        assert_refused(what, &CORP_KEY.token(&claims), code, body);
    }
}

#[test]
fn issuers_and_audiences() {
    let unknown = ("issuer_unknown", "Jwt issuer is not configured");
    let audience = ("audience_mismatch", "Audiences in Jwt are not allowed");
    for (what, claims, (code, body)) in [
        ("unknown issuer", edited("iss", "https://evil.example"), unknown),
        ("issuer with a slash more", edited("iss", format!("{CORP}/")), unknown),
        ("no issuer", edited("iss", Value::Null), unknown),
        ("wrong audience", edited("aud", "billing"), audience),
        ("audience of other case", edited("aud", "Kubernetes"), audience),
        ("no audience", edited("aud", Value::Null), audience),
        ("empty list of audiences", edited("aud", json!([])), audience),
        (
            "audience a number",
            edited("aud", 7),
            ("token_malformed", "Jwt payload [aud] field is not a string or string list"),
        ),
    ] {
        assert_refused(what, &CORP_KEY.token(&claims), code, body);
    }
}

#[test]
fn signatures_and_keys() {
    let invalid = ("signature_invalid", "Jwt verification fails");
    let unknown = ("key_unknown", "Jwks doesn't have key to match kid or alg from Jwt");
    let token = CORP_KEY.token(&good());
    let [header, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let root = mint::encode(edited("sub", "root").to_string());
    let first = if signature.starts_with('A') { "B" } else { "A" };
    let zeros = mint::encode([0; 64]);
    let other_kid = json!({ "alg": "ES256", "kid": "else" });
    for (what, token, (code, body)) in [
        ("tampered payload", format!("{header}.{root}.{signature}"), invalid),
        ("tampered signature", format!("{header}.{payload}.{first}{}", &signature[1..]), invalid),
        ("zero signature", format!("{header}.{payload}.{zeros}"), invalid),
        ("short signature", format!("{header}.{payload}.AAAA"), invalid),
        ("signed by a stranger", STRANGER.token(&good()), invalid),
        ("unknown kid", CORP_KEY.sign(&other_kid, &good()), unknown),
        (
            "the other issuer's key",
            PARTNER_KEY.token(&good()),
            ("algorithm_not_allowed", "Jwt header [alg] is not supported"),
        ),
    ] {
        assert_refused(what, &token, code, body);
    }
}

#[test]
fn algorithms_are_the_keys_to_choose() {
    let unsupported = ("algorithm_not_allowed", "Jwt header [alg] is not supported");
    let malformed = ("token_malformed", "Jwt header [alg] field is required and must be a string");
    let form = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
    let sign = |header: Value| CORP_KEY.sign(&header, &good());
    let none = sign(json!({ "alg": "none" }));
    let unsigned = format!("{}.", none.rsplit_once('.').unwrap().0);
    for (what, token, (code, body)) in [
        ("alg none with a signature", none, unsupported),
        ("alg none without a signature", unsigned, ("token_malformed", form)),
        ("alg NoNe", sign(json!({ "alg": "NoNe", "kid": "corp" })), unsupported),
        ("alg HS256", sign(json!({ "alg": "HS256", "kid": "corp" })), unsupported),
        ("alg RS256", sign(json!({ "alg": "RS256", "kid": "corp" })), unsupported),
        ("alg ES384", sign(json!({ "alg": "ES384", "kid": "corp" })), unsupported),
        ("alg in lower case", sign(json!({ "alg": "es256", "kid": "corp" })), unsupported),
        ("no alg", sign(json!({ "kid": "corp" })), malformed),
        ("alg a list", sign(json!({ "alg": ["ES256"] })), malformed),
    ] {
        assert_refused(what, &token, code, body);
    }
}

#[test]
fn every_algorithm_verifies_and_notices_tampering() {
    let listener = ENVOY.listener("algorithms");
    for key in OTHERS.iter() {
        let token = key.token(&mint::claims(CORP, "mmosley"));
        let reply = listener.http1(&Request::get("/").bearer(&token));
        assert_eq!(reply.status, 200, "{}: {reply}", key.alg);
        let (text, signature) = token.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let tampered = format!("{text}.{first}{}", &signature[1..]);
        let reply = listener.http1(&Request::get("/").bearer(&tampered));
        listener.assert_denied(&reply, 401, "Jwt verification fails", "signature_invalid");
        // Another of the rule's keys, under its own name, with this key's algorithm.
        for other in OTHERS.iter().filter(|other| other.alg != key.alg) {
            let header = json!({ "alg": key.alg, "kid": other.kid });
            let confused = key.sign(&header, &mint::claims(CORP, "mmosley"));
            let reply = listener.http1(&Request::get("/").bearer(&confused));
            let body = "Jwks doesn't have key to match kid or alg from Jwt";
            listener.assert_denied(&reply, 401, body, "key_unknown");
        }
    }
}

#[test]
fn forms() {
    let form = "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
    let encrypted = "Jwt is encrypted (JWE), which is not supported";
    let payload_json = "Jwt payload is an invalid JSON";
    let good = CORP_KEY.token(&good());
    let parts: Vec<&str> = good.split('.').collect();
    let header = json!({ "alg": "ES256", "kid": "corp" }).to_string();
    let twice = format!(
        r#"{{"iss":"{CORP}","sub":"mmosley","aud":"kubernetes","exp":{e},"sub":"root"}}"#,
        e = mint::now() + 600
    );
    for (what, token, body) in [
        ("opaque", "opaque".to_owned(), form),
        ("two parts", format!("{}.{}", parts[0], parts[1]), form),
        ("four parts", format!("{good}.x"), form),
        ("five parts", format!("{good}.x.y"), encrypted),
        ("empty payload", format!("{}..{}", parts[0], parts[2]), form),
        (
            "padded header",
            format!("{}=.{}.{}", parts[0], parts[1], parts[2]),
            "Jwt header is an invalid Base64url encoded",
        ),
        ("padded signature", format!("{good}="), "Jwt signature is an invalid Base64url encoded"),
        ("header no JSON", CORP_KEY.sign_text("{", "{}"), "Jwt header is an invalid JSON"),
        ("payload no object", CORP_KEY.sign_text(&header, "[]"), payload_json),
        ("a member twice", CORP_KEY.sign_text(&header, &twice), payload_json),
        (
            "payload not UTF-8",
            format!("{}.{}.{}", parts[0], mint::encode(b"{\"a\":\"\xff\"}"), parts[2]),
            payload_json,
        ),
        (
            "kid a number",
            CORP_KEY.sign(&json!({ "alg": "ES256", "kid": 1 }), &json!({})),
            "Jwt header [kid] field is not a string",
        ),
    ] {
        assert_refused(what, &token, "token_malformed", body);
    }
    for name in ["crit", "b64"] {
        let mut header = json!({ "alg": "ES256", "kid": "corp" });
        header[name] = json!(["exp"]);
        let token = CORP_KEY.sign(&header, &json!({}));
        assert_refused(name, &token, "header_unsupported", "Unauthorized");
    }
}

#[test]
fn several_issuers_each_with_its_own_keys_and_headers() {
    let partner = mint::claims(PARTNER, "pat");
    for reply in listener().both(&Request::get("/").bearer(&PARTNER_KEY.token(&partner))) {
        assert_eq!(reply.passed().header("x-partner"), Some("pat"));
        assert_eq!(reply.passed().header("x-user"), None);
    }
    // What the other issuer's rule emits can't be forged beside it.
    let request = Request::get("/").bearer(&PARTNER_KEY.token(&partner)).header("x_user", "root");
    for reply in listener().both(&request) {
        assert_eq!(reply.passed().folding_to("x-user"), []);
    }
}

#[test]
fn places() {
    let token = CORP_KEY.token(&good());
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR"] {
        for reply in
            listener().both(&Request::get("/").header("authorization", format!("{scheme} {token}")))
        {
            assert_eq!(reply.passed().header("x-user"), Some("mmosley"), "{scheme}");
        }
    }
    for reply in listener().both(&Request::get(format!("/?access_token={token}"))) {
        assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
    }
    let missing = [
        Request::get("/"),
        Request::get("/").header("authorization", format!("Basic {token}")),
        Request::get("/").header("authorization", format!("BearerX {token}")),
        Request::get("/").header("x-authorization", format!("Bearer {token}")),
        Request::get(format!("/?ACCESS_TOKEN={token}")),
        Request::new("POST", "/").body(format!("access_token={token}")),
        Request::new("POST", "/").body("b").trailer("authorization", format!("Bearer {token}")),
    ];
    for request in missing {
        for reply in listener().both(&request) {
            listener().assert_denied(&reply, 401, "Jwt is missing", "token_missing");
        }
    }
}

#[test]
fn two_tokens_are_ambiguous_unless_they_are_one() {
    let token = CORP_KEY.token(&good());
    let other = CORP_KEY.token(&edited("sub", "jjackson"));
    let forged = STRANGER.token(&good());
    let same = Request::get(format!("/?access_token={token}")).bearer(&token);
    for reply in listener().both(&same) {
        let seen = reply.passed();
        assert_eq!(seen.header("x-user"), Some("mmosley"));
        assert!(!format!("{seen:?}").contains(&token), "{reply}");
    }
    for second in [&other, &forged] {
        let different = [
            Request::get(format!("/?access_token={second}")).bearer(&token),
            Request::get(format!("/?access_token={token}")).bearer(second),
            Request::get(format!("/?access_token={token}&access_token={second}")),
        ];
        for request in different {
            for reply in listener().both(&request) {
                listener().assert_denied(
                    &reply,
                    401,
                    "Found multiple Jwt tokens",
                    "token_ambiguous",
                );
            }
        }
    }
}

#[test]
fn authorization_has_one_token_however_often() {
    // Envoy joins the lines of this header with commas before any filter sees them, and RFC 9110
    // section 11.6.2 has one credential in it.
    let token = CORP_KEY.token(&good());
    let other = CORP_KEY.token(&mint::with(&good(), "jti", "another"));
    let joined = format!("Bearer {token}, Bearer {token}");
    for request in [
        Request::get("/").bearer(&token).bearer(&token),
        Request::get("/").header("authorization", &joined),
        Request::get("/").header("authorization", joined).bearer(&token),
    ] {
        for reply in listener().both(&request) {
            assert_eq!(reply.passed().header("authorization"), None, "each is taken out: {reply}");
        }
    }
    for request in [
        Request::get("/").bearer(&token).bearer(&other),
        Request::get("/").bearer(&token).header("authorization", "Basic dXNlcjpwdw=="),
        Request::get("/").header("authorization", format!("Bearer {token}, {other}")),
    ] {
        for reply in listener().both(&request) {
            assert_eq!((reply.status, &reply.seen), (401, &None), "{reply}");
            let details = listener().entry(&reply).details;
            assert_eq!(details.as_deref(), Some("usher_denied{token_malformed}"), "{reply}");
        }
    }
}
