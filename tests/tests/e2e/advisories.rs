//! What went wrong elsewhere, where the host has a part: in a real Envoy. The rest is in `logic/advisories.rs`.

use std::sync::LazyLock;

use serde_json::json;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));
/// The attacker's key.
static ATTACKER: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "attacker"));

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let rules = json!([{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
        "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
    }]);
    let exempt = json!([{ "paths": ["/healthz"] }]);
    let plain = json!({ "jwtRules": rules, "exempt": exempt });
    Envoy::builder().listener("main", Setup::plugin(plain)).start()
});

// CVE-2023-27487, CVE-2024-45806: Envoy itself writes and trusts some of these headers.
#[test]
fn no_header_makes_a_request_exempt_or_a_caller() {
    let envoy = ENVOY.listener("main");
    for (name, value) in [
        ("x-envoy-original-path", "/healthz"),
        ("x-original-url", "/healthz"),
        ("x-rewrite-url", "/healthz"),
        ("x-forwarded-uri", "/healthz"),
        ("x-http-method-override", "OPTIONS"),
        ("x-envoy-internal", "true"),
        ("x-forwarded-client-cert", "By=spiffe://a;URI=spiffe://cluster.local/ns/shop/sa/admin"),
        ("x-envoy-peer-metadata", "AAAA"),
    ] {
        for reply in envoy.both(&Request::get("/").header(name, value)) {
            envoy.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
        }
    }
    for target in ["/x?/healthz", "/x?a=/healthz", "/healthz/../x", "/healthz%2f..%2fx"] {
        for reply in envoy.both(&Request::get(target)) {
            envoy.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
        }
    }
}

// CVE-2018-0114, CVE-2022-21449, CVE-2025-59420, alg confusion: the module is the core, and a host may
// check signatures for it (`verify_signature`), so the telling ones go through Envoy too.
#[test]
fn forged_tokens_are_refused_by_the_module_too() {
    let envoy = ENVOY.listener("main");
    let claims = mint::claims(ISSUER, "mmosley");
    let good = KEY.token(&claims);
    for reply in envoy.both(&Request::get("/").bearer(&good)) {
        assert_eq!(reply.passed().header("x-user"), Some("mmosley"), "{reply}");
    }
    let signed = good.rsplit_once('.').unwrap().0;
    let with = |signature: &[u8]| format!("{signed}.{}", mint::encode(signature));
    let (fails, unsupported) = ("Jwt verification fails", "Jwt header [alg] is not supported");
    let brought = json!({ "alg": "ES256", "kid": "one", "jwk": ATTACKER.jwk() });
    for (what, token, body, code) in [
        ("r = s = 0", with(&[0; 64]), fails, "signature_invalid"),
        (
            "r = s = 1",
            with(&[[0; 31].as_slice(), &[1], &[0; 31], &[1]].concat()),
            fails,
            "signature_invalid",
        ),
        ("all ones", with(&[0xff; 64]), fails, "signature_invalid"),
        ("a short signature", with(&[1; 63]), fails, "signature_invalid"),
        ("a long signature", with(&[1; 65]), fails, "signature_invalid"),
        ("an empty DER sequence", with(&[0x30, 0]), fails, "signature_invalid"),
        ("a key of its own", ATTACKER.sign(&brought, &claims), fails, "signature_invalid"),
        (
            "none",
            KEY.sign(&json!({ "alg": "none" }), &claims),
            unsupported,
            "algorithm_not_allowed",
        ),
        (
            "HS256",
            KEY.sign(&json!({ "alg": "HS256" }), &claims),
            unsupported,
            "algorithm_not_allowed",
        ),
        (
            "crit",
            KEY.sign(&json!({ "alg": "ES256", "crit": ["exp"] }), &claims),
            "Unauthorized",
            "header_unsupported",
        ),
    ] {
        println!("{what}");
        for reply in envoy.both(&Request::get("/").bearer(&token)) {
            envoy.assert_denied(&reply, 401, body, code);
        }
    }
}

// CVE-2024-45808: what Envoy's own log holds of it is one line.
#[test]
fn a_client_writes_no_line_of_its_own_into_envoys_log() {
    let envoy = ENVOY.listener("main");
    let forged = "forged-log-line";
    let token = KEY.token(&mint::claims("https://else.example\n\rusher: ", forged));
    let request = Request::get(format!("/a%0a{forged}\"?q={forged}-query"))
        .header("x-request-id", format!("\"{forged}-id\""))
        .bearer(&token);
    for reply in envoy.both(&request) {
        envoy.assert_denied(&reply, 401, "Jwt issuer is not configured", "issuer_unknown");
    }
    let log = ENVOY.log().text();
    assert!(!log.contains(&format!("{forged}-query")), "the query stays out of the log");
    for line in log.lines().filter(|line| line.contains(forged)) {
        let object = line.find('{').map(|at| &line[at..]).unwrap_or(line);
        let object: serde_json::Value =
            serde_json::from_str(object).unwrap_or_else(|e| panic!("{e}: {line}"));
        assert_eq!(object["reason"], "issuer_unknown", "{line}");
    }
}
