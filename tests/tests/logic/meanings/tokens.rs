//! Time, type and lifetime of a token; what is emitted of it; how large it may be.

use serde_json::{Value, json};

use usher_testkit::verdict::RequestBuilder as _;
use usher_testkit::verdict::{Core, NOW, claim, claims, get, rule, with};

use super::KEY;

/// A rule with one field more.
fn core(field: &str, value: impl Into<Value>) -> Core {
    Core::with_rule(with(&rule(&KEY), field, value))
}

fn code(core: &Core, claims: &Value) -> &'static str {
    core.code(&KEY.token(claims))
}

#[test]
fn without_exp_a_token_is_refused_unless_the_rule_says_otherwise() {
    let (default, optional) =
        (core("requireExpiration", Value::Null), core("requireExpiration", false));
    for (what, claims, by_default, where_optional) in [
        ("no exp", claim("exp", Value::Null), "expiration_missing", "allowed"),
        ("exp 0 is a time long past", claim("exp", 0), "token_expired", "token_expired"),
        ("at the end of the skew", claim("exp", NOW - 60), "allowed", "allowed"),
        ("behind the skew", claim("exp", NOW - 61), "token_expired", "token_expired"),
    ] {
        assert_eq!(code(&default, &claims), by_default, "{what}");
        assert_eq!(code(&optional, &claims), where_optional, "{what}");
    }
    let null = KEY.sign_text(
        r#"{"alg":"ES256"}"#,
        &json!({ "iss": claims()["iss"], "exp": null }).to_string(),
    );
    assert_eq!(default.code(&null), "token_malformed", "null is no time, and not absent");
    assert_eq!(optional.code(&null), "token_malformed", "null is no time, and not absent");
}

#[test]
fn a_lifetime_is_from_iat_to_exp() {
    let core = core("maxLifetime", "1h");
    let optional =
        Core::with_rule(with(&with(&rule(&KEY), "maxLifetime", "1h"), "requireExpiration", false));
    let no_exp = claim("exp", Value::Null);
    for (what, core, claims, expected) in [
        ("as long as allowed", &core, claims(), "allowed"),
        ("a second more", &core, claim("exp", NOW + 3601), "lifetime_too_long"),
        ("no iat", &core, claim("iat", Value::Null), "lifetime_too_long"),
        ("no exp, which is required", &core, no_exp.clone(), "expiration_missing"),
        ("no exp, which is not required", &optional, no_exp, "lifetime_too_long"),
        ("iat behind exp", &core, with(&claim("exp", NOW - 10), "iat", NOW), "allowed"),
    ] {
        assert_eq!(code(core, &claims), expected, "{what}");
    }
}

#[test]
fn an_age_is_from_iat_to_now() {
    let core = core("maxAge", "10m");
    for (what, claims, expected) in [
        ("as old as allowed", claim("iat", NOW - 600), "allowed"),
        ("a second older", claim("iat", NOW - 601), "token_too_old"),
        ("no iat", claim("iat", Value::Null), "token_too_old"),
        ("issued in the future, within the skew", claim("iat", NOW + 60), "allowed"),
    ] {
        assert_eq!(code(&core, &claims), expected, "{what}");
    }
}

#[test]
fn what_begins_in_the_future_is_not_yet_valid() {
    let (default, exact) = (core("clockSkew", Value::Null), core("clockSkew", "0s"));
    for (what, claims, by_default, where_exact) in [
        ("iat within a minute", claim("iat", NOW + 60), "allowed", "token_not_yet_valid"),
        ("iat behind it", claim("iat", NOW + 61), "token_not_yet_valid", "token_not_yet_valid"),
        ("nbf within a minute", claim("nbf", NOW + 60), "allowed", "token_not_yet_valid"),
        ("nbf behind it", claim("nbf", NOW + 61), "token_not_yet_valid", "token_not_yet_valid"),
        ("now", claim("nbf", NOW), "allowed", "allowed"),
        ("exp now", claim("exp", NOW), "allowed", "allowed"),
        ("exp a second ago", claim("exp", NOW - 1), "allowed", "token_expired"),
    ] {
        assert_eq!(code(&default, &claims), by_default, "{what}");
        assert_eq!(code(&exact, &claims), where_exact, "{what}");
    }
}

#[test]
fn an_issuers_clock_may_be_ahead_by_more_than_a_tokens_end_is_put_off() {
    let skews = with(&with(&rule(&KEY), "issuedAtSkew", "5m"), "clockSkew", "0s");
    let (core, only) = (Core::with_rule(skews), core("issuedAtSkew", "0s"));
    for (what, claims, expected, of_only) in [
        ("iat within five minutes", claim("iat", NOW + 300), "allowed", "token_not_yet_valid"),
        ("iat behind them", claim("iat", NOW + 301), "token_not_yet_valid", "token_not_yet_valid"),
        ("nbf is another matter", claim("nbf", NOW + 1), "token_not_yet_valid", "allowed"),
        ("exp too", claim("exp", NOW - 1), "token_expired", "allowed"),
    ] {
        assert_eq!(code(&core, &claims), expected, "{what}");
        assert_eq!(code(&only, &claims), of_only, "{what}");
    }
}

#[test]
fn the_first_audience_claim_that_a_token_has_decides_alone() {
    let audiences = with(&rule(&KEY), "audiences", json!(["https://shop/"]));
    let core = Core::with_rule(with(&audiences, "audienceClaims", json!(["aud", "client_id"])));
    for (aud, client_id, expected) in [
        (json!("shop"), Value::Null, "allowed"),
        (json!(["x", "http://shop"]), json!("x"), "allowed"),
        (json!("x"), json!("shop"), "audience_mismatch"),
        (json!([]), json!("shop"), "audience_mismatch"),
        (Value::Null, json!("shop"), "allowed"),
        (Value::Null, json!(["x", "shop"]), "allowed"),
        (Value::Null, json!("x"), "audience_mismatch"),
        (Value::Null, json!(7), "audience_mismatch"),
        (Value::Null, json!({ "shop": "shop" }), "audience_mismatch"),
        (Value::Null, Value::Null, "audience_mismatch"),
    ] {
        let claims = with(&with(&claims(), "aud", aud.clone()), "client_id", client_id.clone());
        assert_eq!(code(&core, &claims), expected, "{aud} {client_id}");
    }
}

#[test]
fn types_are_compared_as_media_types() {
    let (any, listed) = (core("types", Value::Null), core("types", json!(["JWT", "at+jwt"])));
    for (typ, of_any, of_listed) in [
        (Value::Null, "allowed", "type_not_allowed"),
        (json!("JWT"), "allowed", "allowed"),
        (json!("jwt"), "allowed", "allowed"),
        (json!("application/jwt"), "allowed", "allowed"),
        (json!("AT+JWT"), "allowed", "allowed"),
        (json!("Application/At+Jwt"), "allowed", "allowed"),
        (json!("id+jwt"), "allowed", "type_not_allowed"),
        (json!("logout+jwt"), "allowed", "type_not_allowed"),
        (json!(""), "allowed", "type_not_allowed"),
        (json!("application/application/jwt"), "allowed", "type_not_allowed"),
        (json!("JWT "), "allowed", "type_not_allowed"),
        (json!(1), "token_malformed", "token_malformed"),
        (json!(["JWT"]), "token_malformed", "token_malformed"),
    ] {
        let header = with(&json!({ "alg": "ES256", "kid": "one" }), "typ", typ.clone());
        let token = KEY.sign(&header, &claims());
        assert_eq!(any.code(&token), of_any, "{typ}");
        assert_eq!(listed.code(&token), of_listed, "{typ}");
    }
}

#[test]
fn required_claims_match_by_json_text() {
    let required = |values: Value| {
        let claim = with(&json!({ "claim": "level" }), "values", values);
        core("requiredClaims", json!([claim]))
    };
    let (any, seven) = (required(Value::Null), required(json!(["7", "true", "admin"])));
    for (text, of_any, of_seven) in [
        ("7", "allowed", "allowed"),
        ("7.0", "allowed", "claim_mismatch"),
        ("\"7\"", "allowed", "allowed"),
        ("true", "allowed", "allowed"),
        ("false", "allowed", "claim_mismatch"),
        ("null", "claim_mismatch", "claim_mismatch"),
        ("[\"guest\",\"admin\"]", "allowed", "allowed"),
        ("[6,7]", "allowed", "allowed"),
        ("[]", "allowed", "claim_mismatch"),
        ("{\"7\":1}", "allowed", "claim_mismatch"),
        ("\"Admin\"", "allowed", "claim_mismatch"),
    ] {
        let payload = claims().to_string().replacen('{', &format!("{{\"level\":{text},"), 1);
        let token = KEY.sign_text(r#"{"alg":"ES256"}"#, &payload);
        assert_eq!(any.code(&token), of_any, "{text}");
        assert_eq!(seven.code(&token), of_seven, "{text}");
    }
    assert_eq!(code(&any, &claims()), "claim_mismatch", "absent");
}

/// The lines of `x-claim` for a claim of this JSON text.
fn emitted(header: Value, claim: &str) -> Vec<String> {
    let header = with(&with(&header, "header", "X-Claim"), "claim", "c");
    let core = core("outputClaimToHeaders", json!([header]));
    let payload = claims().to_string().replacen('{', &format!("{{\"c\":{claim},"), 1);
    let token = KEY.sign_text(r#"{"alg":"ES256"}"#, &payload);
    core.decide(&get("/").header("x_claim", "forged").bearer(&token)).lines("x-claim")
}

#[test]
fn claims_are_percent_encoded_by_default() {
    let printable: String = (' '..='~').filter(|c| !"%\"\\".contains(*c)).collect();
    let text = format!("\"{printable}\"");
    // Leading and trailing spaces are the proxy's to trim, so the text has none of its own.
    let text = text.replacen("\" ", "\"", 1);
    assert_eq!(emitted(json!({}), &text), [text.trim_matches('"')], "plain ASCII is as in Istio");
    for (claim, expected) in [
        (r#""100%""#, vec!["100%25"]),
        (r#""\u0000\u0009\r\n\u007f""#, vec!["%00%09%0D%0A%7F"]),
        (r#""Ż€😀""#, vec!["%C5%BB%E2%82%AC%F0%9F%98%80"]),
        (r#""a,b""#, vec!["a,b"]),
        (r#"["a,b","c"]"#, vec!["a%2Cb,c"]),
        (r#"["a%b"," "]"#, vec!["a%25b,%20"]),
        ("9007199254740993", vec!["9007199254740993"]),
        ("-0.10e-5", vec!["-0.10e-5"]),
        // As written, but for one liberty: an exponent without a sign gets its `+`.
        ("-0.10E5", vec!["-0.10e+5"]),
        ("false", vec!["false"]),
        ("null", vec![]),
        (r#""""#, vec![]),
        ("[]", vec![]),
    ] {
        assert_eq!(emitted(json!({}), claim), expected, "{claim}");
        assert_eq!(emitted(json!({ "encoding": "percent" }), claim), expected, "{claim}");
    }
    let core = core("outputClaimToHeaders", json!([{ "header": "x-claim", "claim": "c" }]));
    let forged = get("/").header("x-claim", "forged").bearer(&KEY.token(&claims()));
    assert_eq!(core.decide(&forged).lines("x-claim"), [""; 0], "absent");
}

#[test]
fn the_payload_as_json_is_one_line_of_ascii() {
    let rule = with(&rule(&KEY), "outputPayloadToHeader", "User-Info");
    let core = Core::with_rule(with(&rule, "outputPayloadEncoding", "json"));
    let payload = concat!(
        "{ \"iss\": \"https://idp.example\",\n \"exp\": 1800003600, \"name\": \"Ż😀\\n\\u007f\",",
        " \"big\": 9007199254740993, \"tiny\": 1.50e-7, \"list\": [ 1, { \"a\": null } ] }"
    );
    let token = KEY.sign_text(r#"{"alg":"ES256"}"#, payload);
    let expected = concat!(
        r#"{"big":9007199254740993,"exp":1800003600,"iss":"https://idp.example","#,
        r#""list":[1,{"a":null}],"name":"\u017b\ud83d\ude00\n\u007f","tiny":1.50e-7}"#
    );
    assert_eq!(core.bearer(&token).lines("user-info"), [expected]);
}

/// A token of exactly this many bytes.
fn token_of(bytes: usize) -> String {
    // Four lengths of base64url in a row cannot all be missed by three paddings of the header.
    for kid in ["", "1", "12", "123"] {
        let header = json!({ "alg": "ES256", "x": kid });
        let empty = KEY.sign(&header, &claim("pad", "")).len();
        let pad = (bytes - empty) * 3 / 4;
        for pad in pad.saturating_sub(2)..=pad + 2 {
            let token = KEY.sign(&header, &claim("pad", "a".repeat(pad)));
            if token.len() == bytes {
                return token;
            }
        }
    }
    panic!("no token of {bytes} bytes");
}

#[test]
fn a_token_has_at_most_16_kib() {
    let by_default = Core::with_rule(rule(&KEY));
    let limits = |bytes: u64| {
        Core::new(&json!({ "jwtRules": [rule(&KEY)], "limits": { "tokenBytes": bytes } }))
    };
    for (what, core, bytes, expected) in [
        ("the default", &by_default, 16_384, "allowed"),
        ("the default and one", &by_default, 16_385, "token_too_large"),
        ("1000", &limits(1000), 1000, "allowed"),
        ("1000 and one", &limits(1000), 1001, "token_too_large"),
        ("more than the default", &limits(20_000), 20_000, "allowed"),
    ] {
        let verdict = core.bearer(&token_of(bytes));
        assert_eq!(verdict.code(), expected, "{what}");
        assert_eq!(verdict.body(), if expected == "allowed" { "" } else { "Jwt is too large" });
    }
}

#[test]
fn an_identity_has_at_most_32_kib_and_is_never_cut() {
    let configuration = |emitted: Value| {
        let limits = with(&json!({ "tokenBytes": 100_000 }), "emittedBytes", emitted);
        Core::new(&json!({ "jwtRules": [rule(&KEY)], "limits": limits }))
    };
    // The name counts too: `x-user` has 6 bytes.
    for (what, emitted, subject, expected) in [
        ("the default", Value::Null, 32_762, ("allowed", 200)),
        ("the default and one", Value::Null, 32_763, ("identity_too_large", 431)),
        ("13", json!(13), 7, ("allowed", 200)),
        ("13 and one", json!(13), 8, ("identity_too_large", 431)),
    ] {
        let verdict = configuration(emitted).bearer(&KEY.token(&claim("sub", "a".repeat(subject))));
        assert_eq!(verdict.outcome(), expected, "{what}");
        if expected.1 == 200 {
            assert_eq!(verdict.lines("x-user"), ["a".repeat(subject)], "{what}");
        }
    }
    let escaped = configuration(json!(13)).bearer(&KEY.token(&claim("sub", "%%%")));
    assert_eq!(escaped.code(), "identity_too_large", "what counts is what is sent: `%25%25%25`");
}
