//! Claims and header members that are not what they seem.

use serde_json::{Value, json};
use usher_testkit::mint;
use usher_testkit::verdict::{
    Core, ISSUER, NOW, RequestBuilder as _, claim, claims, get, rule, with,
};

use super::KEY;

/// A token of the claims with one member of this JSON text.
fn token_with(name: &str, text: &str) -> String {
    let claims = claim(name, Value::Null).to_string();
    let payload = claims.replacen('{', &format!("{{\"{name}\":{text},"), 1);
    KEY.sign_text(r#"{"alg":"ES256"}"#, &payload)
}

// CVE-2026-25537 (jsonwebtoken): `exp` as a string was no number, hence absent, hence no limit.
#[test]
fn a_time_that_is_no_number_is_malformed_and_never_absent() {
    let strict = Core::with_rule(rule(&KEY));
    let lenient = Core::with_rule(with(&rule(&KEY), "requireExpiration", false));
    for claim in ["exp", "nbf", "iat"] {
        for text in [
            "\"1800003600\"",
            "\"\"",
            "\"never\"",
            "true",
            "false",
            "null",
            "[]",
            "[1800003600]",
            "{}",
            "{\"seconds\":1800003600}",
            "-1",
            "-0.5e9",
        ] {
            let token = token_with(claim, text);
            assert_eq!(strict.code(&token), "token_malformed", "{claim}: {text}");
            assert_eq!(lenient.code(&token), "token_malformed", "{claim}: {text}");
        }
    }
}

// libjwt#283: a time that no integer could hold became one that never comes.
#[test]
fn a_time_out_of_range_is_malformed_and_never_forever() {
    let core = Core::with_rule(rule(&KEY));
    let huge = "9".repeat(400);
    for claim in ["exp", "nbf", "iat"] {
        for text in
            ["1e400", "1e20", "18446744073709551616", "1.8446744073709552e19", &huge, "-1e400"]
        {
            assert_eq!(core.code(&token_with(claim, text)), "token_malformed", "{claim}: {text}");
        }
    }
    // The largest that is one is far away, and no arithmetic on it overflows.
    for (claim, expected) in
        [("exp", "allowed"), ("nbf", "token_not_yet_valid"), ("iat", "token_not_yet_valid")]
    {
        for text in ["18446744073709551615", "9223372036854775807", "9223372036854775808", "1.8e19"]
        {
            assert_eq!(core.code(&token_with(claim, text)), expected, "{claim}: {text}");
        }
    }
    let bounded = Core::with_rule(with(&with(&rule(&KEY), "maxLifetime", "24h"), "maxAge", "1h"));
    assert_eq!(bounded.code(&token_with("exp", "18446744073709551615")), "lifetime_too_long");
    assert_eq!(bounded.code(&token_with("iat", "0")), "lifetime_too_long");
}

// CVE-2019-9900 and CVE-2025-66220 (Envoy): a compared text ended at its NUL.
#[test]
fn nothing_is_compared_up_to_a_nul() {
    let claim_of = |values: Value| json!([{ "claim": "role", "values": values }]);
    let full = with(
        &with(&rule(&KEY), "audiences", json!(["shop"])),
        "subjects",
        json!({ "exact": "mmosley" }),
    );
    let core = Core::with_rule(with(&full, "requiredClaims", claim_of(json!(["admin"]))));
    let good = with(&with(&claims(), "aud", "shop"), "role", "admin");
    assert_eq!(core.code(&KEY.token(&good)), "allowed");
    for (claim, value, expected) in [
        ("iss", format!("{ISSUER}\0.evil.example"), "issuer_unknown"),
        ("iss", format!("{ISSUER}\0"), "issuer_unknown"),
        ("aud", "shop\0x".to_owned(), "audience_mismatch"),
        ("sub", "mmosley\0x".to_owned(), "subject_not_allowed"),
        ("role", "admin\0x".to_owned(), "claim_mismatch"),
        ("role", "\0admin".to_owned(), "claim_mismatch"),
    ] {
        let token = KEY.token(&with(&good, claim, value.clone()));
        assert_eq!(core.code(&token), expected, "{claim}: {value:?}");
    }
    let header = |member: &str, value: &str| {
        KEY.sign(&with(&json!({ "alg": "ES256", "kid": "one" }), member, value), &good)
    };
    assert_eq!(core.code(&header("alg", "ES256\0")), "algorithm_not_allowed");
    assert_eq!(core.code(&header("kid", "one\0")), "key_unknown");

    let policies = json!([{ "name": "p", "rules": [
        { "when": [{ "key": "request.auth.claims[role]", "values": ["admin"] }] },
        { "when": [{ "key": "request.headers[x-role]", "values": ["admin"] }] },
        { "from": [{ "source": { "requestPrincipals": [format!("{ISSUER}/root")] } }] },
    ] }]);
    let core = Core::new(&json!({ "jwtRules": [rule(&KEY)], "authorizationPolicies": policies }));
    for (what, request) in [
        ("a claim", get("/").bearer(&KEY.token(&claim("role", "admin\0")))),
        ("a header", get("/").header("x-role", "admin\0x").bearer(&KEY.token(&claims()))),
        ("a principal", get("/").bearer(&KEY.token(&claim("sub", "root\0x")))),
    ] {
        assert_eq!(core.decide(&request).code(), "no_rule_matched", "{what}");
    }
    assert_eq!(core.decide(&get("/a\0b")).outcome(), ("path_unsafe", 400));
    assert_eq!(core.decide(&get("/a%00b")).outcome(), ("path_unsafe", 400));
}

// CVE-2025-59420 (Authlib), CVE-2026-35042 (fast-jwt): `crit` was not understood and ignored.
#[test]
fn a_critical_extension_that_is_not_understood_refuses_the_token() {
    let core = Core::with_rule(rule(&KEY));
    for (header, expected) in [
        (r#"{"alg":"ES256","crit":[]}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":["exp"],"exp":1}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":["alg"]}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":["bork"],"bork":1}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":["bork"]}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":["b64"],"b64":false}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":["b64"],"b64":true}"#, "header_unsupported"),
        (r#"{"alg":"ES256","b64":false}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":null}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":"exp"}"#, "header_unsupported"),
        (r#"{"alg":"ES256","crit":["exp"],"crit":[]}"#, "token_malformed"),
        (r#"{"alg":"ES256","\u0063rit":["bork"]}"#, "header_unsupported"),
        // A member of another name is not an extension.
        (r#"{"alg":"ES256","Crit":["bork"]}"#, "allowed"),
    ] {
        let token = KEY.sign_text(header, &claims().to_string());
        assert_eq!(core.code(&token), expected, "{header}");
    }
}

// ruby-jwt#713, RFC 8725 section 2.4: of a member that is there twice two readers take two values.
#[test]
fn a_member_that_is_there_twice_refuses_the_token() {
    let core = Core::with_rule(rule(&KEY));
    let good = claims().to_string();
    let (open, rest) = good.split_at(1);
    for (what, header, payload) in [
        ("alg", r#"{"alg":"ES256","alg":"none"}"#.to_owned(), good.clone()),
        ("alg, escaped", r#"{"alg":"ES256","\u0061lg":"none"}"#.to_owned(), good.clone()),
        ("kid", r#"{"alg":"ES256","kid":"one","kid":"two"}"#.to_owned(), good.clone()),
        ("sub", r#"{"alg":"ES256"}"#.to_owned(), format!("{open}\"sub\":\"root\",{rest}")),
        (
            "sub, escaped",
            r#"{"alg":"ES256"}"#.to_owned(),
            format!("{open}\"\\u0073ub\":\"root\",{rest}"),
        ),
        (
            "deep below",
            r#"{"alg":"ES256"}"#.to_owned(),
            format!("{open}\"a\":[{{\"b\":1,\"b\":2}}],{rest}"),
        ),
    ] {
        assert_eq!(core.code(&KEY.sign_text(&header, &payload)), "token_malformed", "{what}");
    }
}

// CVE-2021-21378 (Envoy): with `allow_missing` a token of an unknown issuer counted as missing.
#[test]
fn a_token_of_an_unknown_issuer_is_invalid_and_not_missing() {
    let foreign = KEY.token(&claim("iss", "https://else.example"));
    let nameless = KEY.token(&claim("iss", Value::Null));
    let core = Core::new(&json!({
        "jwtRules": [rule(&KEY)],
        "missingToken": "allow",
        "exempt": [{ "paths": ["/maybe"], "token": "optional" }],
    }));
    assert_eq!(core.decide(&get("/")).outcome(), ("allowed", 200));
    assert_eq!(core.decide(&get("/maybe")).outcome(), ("allowed", 200));
    for path in ["/", "/maybe"] {
        for token in [&foreign, &nameless] {
            let verdict = core.decide(&get(path).bearer(token));
            assert_eq!(verdict.outcome(), ("issuer_unknown", 401), "{path}");
        }
    }
}

// CVE-2026-39350, istio#59992: a `.` in a configured name became one of a regular expression.
#[test]
fn configured_texts_are_compared_as_they_are() {
    let allowed = |rule: Value, claims: &Value, headers: &[(&str, &str)]| {
        let policies = json!([{ "name": "p", "rules": [rule] }]);
        let rules = json!([{ "anyIssuer": true, "jwks": mint::jwks([&*KEY]) }]);
        let core = Core::new(&json!({ "jwtRules": rules, "authorizationPolicies": policies }));
        let request =
            headers.iter().fold(get("/"), |request, (name, value)| request.header(name, value));
        core.decide(&request.bearer(&KEY.token(claims))).code() == "allowed"
    };
    let when = |key: &str, value: &str| json!({ "when": [{ "key": key, "values": [value] }] });
    let principal =
        |value: &str| json!({ "from": [{ "source": { "requestPrincipals": [value] } }] });
    for (text, other) in [
        ("a.b", "axb"),
        ("a|b", "a"),
        ("[ab]", "a"),
        ("a+", "aa"),
        ("(a)", "a"),
        ("a?", ""),
        ("^a$", "a"),
        ("\\d", "1"),
        ("a{2}", "aa"),
        (".", "x"),
    ] {
        let named = claim("role", text);
        let not = claim("role", other);
        let role = when("request.auth.claims[role]", text);
        assert!(allowed(role.clone(), &named, &[]) && !allowed(role, &not, &[]), "claim {text}");
        let header = when("request.headers[x-role]", text);
        assert!(allowed(header.clone(), &claims(), &[("x-role", text)]), "header {text}");
        assert!(!allowed(header, &claims(), &[("x-role", other)]), "header {text}");
        let caller = principal(&format!("{ISSUER}/{text}"));
        assert!(allowed(caller.clone(), &claim("sub", text), &[]), "principal {text}");
        assert!(!allowed(caller, &claim("sub", other), &[]), "principal {text}");
        // And so are the names of claims.
        let name = when(&format!("request.auth.claims[{text}]"), "yes");
        if !text.contains(['[', ']']) {
            assert!(allowed(name.clone(), &claim(text, "yes"), &[]), "name {text}");
            assert!(other.is_empty() || !allowed(name, &claim(other, "yes"), &[]), "name {text}");
        }
    }
    let issuer = principal("https://idp.example/mmosley");
    assert!(!allowed(issuer, &claim("iss", "https://idpxexample"), &[]));
}

// CVE-2019-12995 (Istio): a malformed token crashed the proxy. Ten thousand broken in every way; the
// seed is fixed, a panic fails the test, and in the module there is no other code.
#[test]
fn a_malformed_token_is_a_refusal_and_no_crash() {
    use rand::prelude::*;
    let mut random = StdRng::seed_from_u64(12_995);
    let cores = [
        Core::with_rule(rule(&KEY)),
        Core::new(&json!({
            "jwtRules": [with(&rule(&KEY), "fromCookies", json!(["a"]))],
            "exempt": [{ "paths": ["/"], "token": "optional" }],
        })),
        Core::new(&json!({ "jwtRules": [rule(&KEY)], "mode": "dryRun" })),
    ];
    let good = KEY.token(&claims()).into_bytes();
    let pieces = [
        &b"."[..],
        b"..",
        b"=",
        b"%",
        b"\xff",
        b"\0",
        b"{",
        b"eyJ",
        b"e30",
        b"bnVsbA",
        b"W10",
        b" ",
        b"\"",
    ];
    for _ in 0..10_000 {
        let mut token = good.clone();
        for _ in 0..random.random_range(1..6) {
            let at = random.random_range(0..=token.len());
            match random.random_range(0..4) {
                0 => token.truncate(at),
                1 => {
                    drop(token.splice(at..at, pieces.choose(&mut random).unwrap().iter().copied()))
                }
                2 if at < token.len() => token[at] = random.random(),
                _ => token.extend_from_slice(&good[at.min(good.len())..]),
            }
        }
        if token.trim_ascii() == good {
            continue;
        }
        let shown = String::from_utf8_lossy(&token).into_owned();
        let bearer = get("/").header("authorization", [b"Bearer ", token.as_slice()].concat());
        let code = cores[0].decide(&bearer).code();
        assert_ne!(code, "allowed", "{shown}");
        assert_eq!(cores[2].decide(&bearer).outcome(), (code, 200), "{shown}");
        let cookie = get("/").header("cookie", [b"a=", token.as_slice()].concat());
        cores[1].decide(&cookie);
        let path = [b"/?access_token=", token.as_slice()].concat();
        let mut query = get("/");
        query.headers.retain(|(name, _)| name != b":path");
        query.headers.push((b":path".to_vec(), path));
        cores[0].ask_at(&query, NOW);
    }
}
