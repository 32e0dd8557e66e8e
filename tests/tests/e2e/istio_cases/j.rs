//! istio/istio tests/integration/security/jwt_test.go: what a RequestAuthentication does to requests.

use serde_json::{Value, json};
use usher_testkit::client::Request;
use usher_testkit::mint;

use super::{HELLO, I1, I2, RBAC, RSA, assert_answer, listener};

/// The tokens of istio/istio tests/common/jwt/jwt_token.go, signed again.
pub(crate) fn token(name: &str) -> String {
    let (iat, exp) = (1_562_182_722, 4_715_782_722_u64);
    let one = |more: Value| {
        let mut claims = json!({ "iss": I1, "sub": "sub-1" });
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        claims
    };
    let claims = match name {
        "T1" => one(json!({ "groups": ["group-1"], "iat": iat, "exp": exp })),
        "T1aud" => one(json!({ "aud": "foo" })),
        "T1n2" => one(json!({
            "iat": 1_604_008_018,
            "nested": { "key2": "valueC", "nested-2": { "key2": "valueC" } },
        })),
        "T2" => json!({ "iss": I2, "sub": "sub-2", "groups": ["group-2"] }),
        "TX" => one(json!({ "exp": 1_562_182_856 })),
        other => panic!("no token {other}"),
    };
    RSA.token(&claims)
}

/// A rule as Istio has it, where a token without `exp` never ends.
fn rule(issuer: &str, more: Value) -> Value {
    let mut rule = json!({
        "issuer": issuer, "jwks": mint::jwks([&*RSA]), "requireExpiration": false,
    });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

/// `/ALLOW` for principals of issuer 1 that GET.
fn only_sub_1() -> Value {
    let rule = json!({
        "to": [{ "operation": { "methods": ["GET"] } }],
        "from": [{ "source": { "requestPrincipals": [format!("{I1}/sub-1")] } }],
    });
    json!([{ "name": "p", "namespace": "n", "action": "ALLOW", "rules": [rule] }])
}

/// The listeners of the J cases.
pub(crate) fn listeners() -> Vec<(&'static str, Value)> {
    let payload = json!({ "outputPayloadToHeader": "x-test-payload" });
    let k1 = json!({
        "outputPayloadToHeader": "x-test-payload",
        "outputClaimToHeaders": [
            { "header": "x-jwt-iss", "claim": "iss" },
            { "header": "x-jwt-iat", "claim": "iat" },
            { "header": "x-jwt-nested-claim", "claim": "nested.nested-2.key2" },
        ],
    });
    let k6 = json!({
        "fromHeaders": [
            { "name": "x-jwt-token", "prefix": "Value " },
            { "name": "auth-token", "prefix": "Token " },
        ],
        "fromParams": ["token", "secondary_token"],
    });
    let from = |principal: &str| json!([{ "source": { "requestPrincipals": [principal] } }]);
    let host = |host: &str| json!([{ "operation": { "hosts": [host] } }]);
    let k7 = json!([{ "name": "p", "namespace": "n", "action": "ALLOW", "rules": [
        { "to": host("example.S.com"), "from": from(&format!("{I1}/sub-1")) },
        { "to": host("any-request-principal-ok.S.com"), "from": from("*") },
        { "to": [{ "operation": { "paths": ["/healthz"] } }] },
    ] }]);
    let audiences = |list: &[&str]| json!({ "audiences": list });
    let nothing = || json!({});
    vec![
        ("K1", json!({ "jwtRules": [rule(I1, k1), rule(I2, payload)], "missingToken": "allow" })),
        ("K2", json!({ "jwtRules": [rule(I1, nothing())], "authorizationPolicies": only_sub_1() })),
        (
            "K4",
            json!({ "jwtRules": [
                rule(I1, audiences(&["foo"])), rule(I2, audiences(&["bar"])), rule(I2, nothing()),
            ] }),
        ),
        ("K6", json!({ "jwtRules": [rule(I1, k6)], "authorizationPolicies": only_sub_1() })),
        (
            "K7",
            json!({
                "jwtRules": [rule(I1, nothing()), rule(I2, nothing())],
                "authorizationPolicies": k7,
            }),
        ),
    ]
}

#[test]
fn j_cases_end_as_in_istio() {
    let (t1, tx, t2) = (token("T1"), token("TX"), token("T2"));
    let get = || Request::get("/");
    let at = |host: &str| get().authority(host);
    let expired = (401, "Jwt is expired", "token_expired");
    let hello = (200, HELLO, "allowed");
    let refused = (403, RBAC, "no_rule_matched");
    let cases = [
        ("J1", "K1", get().bearer(&t1), hello),
        ("J3", "K1", get().bearer(&tx).header("origin", "https://a.example"), expired),
        ("J5", "K1", get().bearer(&tx), expired),
        ("J9 Basic", "K1", get().header("authorization", "Basic abc"), hello),
        (
            "J9 bearer: scheme-in-any-case",
            "K1",
            get().header("authorization", format!("bearer {t1}")),
            hello,
        ),
        ("J11", "K2", get().bearer(&tx), expired),
        ("J11 good", "K2", get().bearer(&t1), hello),
        ("J11 none", "K2", get(), refused),
        ("J13", "K1", get(), hello),
        ("J17", "K4", get().bearer(&token("T1aud")), hello),
        ("J17 by the third rule", "K4", get().bearer(&t2), hello),
        (
            "J17 without aud",
            "K4",
            get().bearer(&t1),
            (401, "Audiences in Jwt are not allowed", "audience_mismatch"),
        ),
        ("K6 header", "K6", get().header("x-jwt-token", format!("Value {t1}")), hello),
        ("K6 other header", "K6", get().header("auth-token", format!("Token {t1}")), hello),
        ("K6 param", "K6", Request::get(format!("/?token={t1}")), hello),
        ("K6 other param", "K6", Request::get(format!("/?secondary_token={t1}")), hello),
        ("J23", "K6", Request::get(format!("/?token_value={t1}")), refused),
        (
            "J25: two-tokens",
            "K6",
            Request::get(format!("/?token={t1}&secondary_token={tx}")),
            (401, "Found multiple Jwt tokens", "token_ambiguous"),
        ),
        ("J27", "K6", get().header("auth-header-param", format!("Bearer {t1}")), refused),
        ("J29", "K7", Request::get("/healthz").authority("example.S.com"), hello),
        ("J29 elsewhere", "K7", at("example.S.com"), refused),
        ("J29 principal", "K7", at("example.S.com").bearer(&t1), hello),
        ("J29 other principal", "K7", at("example.S.com").bearer(&t2), refused),
        ("J31 none", "K7", at("any-request-principal-ok.S.com"), refused),
        ("J31 T1", "K7", at("any-request-principal-ok.S.com").bearer(&t1), hello),
        ("J31 T2", "K7", at("any-request-principal-ok.S.com").bearer(&t2), hello),
    ];
    for (id, name, request, (status, body, reason)) in cases {
        for reply in listener(name).both(&request) {
            assert_answer(id, listener(name), &reply, status, body, reason);
        }
    }
}

#[test]
fn j_cases_emit_what_istio_emits() {
    let (t1, t1n2) = (token("T1"), token("T1n2"));
    for reply in listener("K1").both(&Request::get("/").bearer(&t1)) {
        let seen = reply.passed();
        assert_eq!(seen.header("authorization"), None, "J1");
        assert_eq!(seen.header("x-test-payload"), Some(mint::payload(&t1)), "J1");
        assert_eq!(seen.header("x-jwt-iss"), Some(I1), "J1");
        assert_eq!(seen.header("x-jwt-iat"), Some("1562182722"), "J1");
    }
    let request =
        Request::get("/").bearer(&t1n2).header("x-jwt-nested-claim", "value_to_be_replaced");
    for reply in listener("K1").both(&request) {
        let seen = reply.passed();
        assert_eq!(seen.header("x-jwt-nested-claim"), Some("valueC"), "J7");
        assert_eq!(seen.header("x-jwt-iat"), Some("1604008018"), "J7");
        assert_eq!(seen.header("x-jwt-iss"), Some(I1), "J7");
    }
    for reply in listener("K1").both(&Request::get("/").header("authorization", "Basic abc")) {
        assert_eq!(reply.passed().header("authorization"), Some("Basic abc"), "J9");
    }
    for reply in listener("K1").both(&Request::get("/").bearer(&token("TX"))) {
        let challenge = reply.header("www-authenticate").unwrap();
        assert!(challenge.contains("error=\"invalid_token\""), "J3: {challenge}");
    }
}
