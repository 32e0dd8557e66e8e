//! google/jwt_verify_lib and Envoy's jwt_authn: tokens and keys, good and bad.

use serde_json::{Value, json};
use usher_core::decide::{WorkerState, decide};
use usher_core::load;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};

use super::{EC, ED, HELLO, I1, RSA, assert_answer, listener};

const FORM: &str =
    "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";

/// Six forms of one audience (V12).
fn audience_forms() -> Vec<String> {
    let schemes = ["", "http://", "https://"].into_iter();
    schemes.flat_map(|s| ["", "/"].map(|slash| format!("{s}example_service{slash}"))).collect()
}

/// The listeners of the V cases.
pub(crate) fn listeners() -> Vec<(&'static str, Value)> {
    let without = |key: &Key, member: &str| {
        let mut jwk = key.jwk();
        jwk.as_object_mut().unwrap().remove(member);
        jwk
    };
    let keys = |keys: Value| json!({ "issuer": I1, "jwks": { "keys": keys } });
    let with_junk = json!([
        { "kty": "unknown", "kid": "a" },
        { "kty": "RSA", "alg": "ES256", "n": "AQAB", "e": "AQAB" },
        { "kty": "EC", "crv": "P-1024", "x": "AA", "y": "AA" },
        EC.jwk(),
        { "kty": "OKP", "crv": "Ed448", "x": "AA" },
    ]);
    let without_alg: Vec<Value> = [&*RSA, &*EC, &*ED].map(|key| without(key, "alg")).into();
    let without_kid: Vec<Value> = [&*RSA, &*EC, &*ED].map(|key| without(key, "kid")).into();
    let audiences = audience_forms().into_iter().enumerate().map(|(index, audience)| {
        json!({
            "issuer": format!("issuer-{index}"),
            "jwks": mint::jwks([&*EC]),
            "audiences": [audience],
        })
    });
    let claims = json!({
        "issuer": I1,
        "jwks": mint::jwks([&*EC]),
        "outputClaimToHeaders": [
            { "header": "x-nested", "claim": "nested.key-1" },
            { "header": "x-bool", "claim": "bool" },
            { "header": "x-int", "claim": "int" },
            { "header": "x-list", "claim": "list" },
            { "header": "x-wrong", "claim": "nested.no.such" },
        ],
    });
    let one = |rule: Value| json!({ "jwtRules": [rule] });
    vec![
        ("strict", one(json!({ "issuer": I1, "jwks": mint::jwks([&*EC, &*RSA, &*ED]) }))),
        ("junk", one(keys(with_junk))),
        ("without-alg", one(keys(without_alg.into()))),
        ("without-kid", one(keys(without_kid.into()))),
        ("audiences", json!({ "jwtRules": audiences.collect::<Vec<_>>() })),
        ("claims", one(claims)),
        (
            "prefix",
            one(json!({
                "issuer": I1,
                "jwks": mint::jwks([&*EC]),
                "fromHeaders": [{ "name": "x-header", "prefix": "CCCDDD" }],
            })),
        ),
        ("jwks-empty-text", one(json!({ "issuer": I1, "jwks": "" }))),
        ("jwks-empty-object", one(json!({ "issuer": I1, "jwks": "{}" }))),
        ("jwks-keys-no-list", one(json!({ "issuer": I1, "jwks": "{\"keys\":\"x\"}" }))),
        ("jwks-no-good-key", one(keys(json!([{ "kty": "unknown" }])))),
    ]
}

fn good() -> Value {
    mint::claims(I1, "sub-1")
}

fn edited(name: &str, value: impl Into<Value>) -> Value {
    mint::with(&good(), name, value)
}

#[test]
fn v_cases_of_malformed_tokens() {
    let header = json!({ "alg": "ES256", "kid": "ec" });
    let sign = |header: Value| EC.sign(&header, &good());
    let token = EC.token(&good());
    let [head, payload, signature] = token.split('.').collect::<Vec<_>>().try_into().unwrap();
    let alg = "Jwt header [alg] field is required and must be a string";
    let text = |claims: &str| EC.sign_text(&header.to_string(), claims);
    let type_of = |name: &str| format!("Jwt payload [{name}] field is not an integer");
    let range = |name: &str| format!("Jwt payload [{name}] field is not a positive 64 bit integer");
    let string = |name: &str| format!("Jwt payload [{name}] field is not a string");
    let aud = "Jwt payload [aud] field is not a string or string list";
    let encrypted = "Jwt is encrypted (JWE), which is not supported";
    let json_of = |part: &str| format!("Jwt {part} is an invalid JSON");
    let base64_of = |part: &str| format!("Jwt {part} is an invalid Base64url encoded");
    let malformed = "token_malformed";
    let mut cases = vec![
        // `Bearer` alone: the prefix is `Bearer ` and does not begin it.
        ("V1 empty", String::new(), "Jwt is missing".to_owned(), "token_missing"),
        ("V1 five parts: JWE", "aaa.bbb.ccc.ddd.eee".to_owned(), encrypted.to_owned(), malformed),
        ("V1 long", "c".repeat(10_240), FORM.to_owned(), malformed),
        ("V2 base64", format!("#.{payload}.{signature}"), base64_of("header"), malformed),
        ("V2 JSON", EC.sign_text("[1", "{}"), json_of("header"), malformed),
        ("V3 absent", sign(json!({ "kid": "ec" })), alg.to_owned(), malformed),
        ("V3 number", sign(json!({ "alg": 256 })), alg.to_owned(), malformed),
        (
            "V3 unknown",
            sign(json!({ "alg": "InvalidAlg" })),
            "Jwt header [alg] is not supported".to_owned(),
            "algorithm_not_allowed",
        ),
        (
            "V4",
            sign(json!({ "alg": "ES256", "kid": 1 })),
            "Jwt header [kid] field is not a string".to_owned(),
            malformed,
        ),
        ("V5 base64", format!("{head}.#.{signature}"), base64_of("payload"), malformed),
        ("V5 JSON", text("{\"iss\":"), json_of("payload"), malformed),
        ("V8 integer", EC.token(&edited("aud", 1)), aud.to_owned(), malformed),
        ("V8 list of integers", EC.token(&edited("aud", json!([1, 2]))), aud.to_owned(), malformed),
        ("V9", format!("{head}.{payload}.#"), base64_of("signature"), malformed),
    ];
    for name in ["iss", "sub", "jti"] {
        cases.push(("V6", EC.token(&edited(name, 1)), string(name), malformed));
    }
    for name in ["iat", "nbf", "exp"] {
        cases.push(("V7 string", EC.token(&edited(name, "1")), type_of(name), malformed));
        cases.push(("V7 negative", EC.token(&edited(name, -12_345)), range(name), malformed));
        let mut claims = good();
        claims.as_object_mut().unwrap().remove(name);
        let huge = claims.to_string().replacen('{', &format!("{{\"{name}\":2.001e+206,"), 1);
        cases.push(("V7 huge", text(&huge), range(name), malformed));
    }
    let requests: Vec<Request> =
        cases.iter().map(|(_, token, ..)| Request::get("/").bearer(token)).collect();
    let replies = listener("strict").series(&requests);
    for ((id, _, body, reason), reply) in cases.iter().zip(&replies) {
        assert_answer(id, listener("strict"), reply, 401, body, reason);
        let details = listener("strict").entry(reply).details;
        assert_eq!(details, Some(format!("usher_denied{{{reason}}}")), "V29: {id}");
    }
    for (id, claims) in [
        ("V7 fraction", edited("iat", json!(1234.5))),
        ("V8 two audiences", edited("aud", json!(["a", "b"]))),
    ] {
        let reply = listener("strict").http1(&Request::get("/").bearer(&EC.token(&claims)));
        assert_answer(id, listener("strict"), &reply, 200, HELLO, "allowed");
    }
}

#[test]
fn v_cases_of_time() {
    let rule = json!({
        "issuer": I1, "jwks": mint::jwks([&*EC]), "requireExpiration": false, "clockSkew": "60s",
    });
    let config = json!({ "jwtRules": [rule] });
    let policy = load::from_value(&config).unwrap().policy;
    let mut worker_state = WorkerState::portable();
    let mut reason = |claims: &Value, now: u64| {
        let line = format!("Bearer {}", EC.token(claims));
        let lines = [(":path", "/"), ("authorization", line.as_str())];
        let headers = lines.map(|(name, value)| (name.into(), value.into())).into();
        let request = usher_core::Request { headers, ..usher_core::Request::default() };
        decide(&policy, &request, usher_core::time::UnixSeconds(now), &mut worker_state).reason()
    };
    let (nbf, exp) = (1_605_050_800, 1_605_052_800);
    let span = json!({ "iss": I1, "nbf": nbf, "exp": exp });
    let bare = json!({ "iss": I1 });
    let never = json!({ "iss": I1, "exp": 0 });
    for (id, claims, now, expected) in [
        ("V10 exp + 50", &span, exp + 50, "allowed"),
        ("V10 exp + 60", &span, exp + 60, "allowed"),
        ("V10 exp + 70", &span, exp + 70, "token_expired"),
        ("V10 nbf - 50", &span, nbf - 50, "allowed"),
        ("V10 nbf - 60", &span, nbf - 60, "allowed"),
        ("V10 nbf - 70", &span, nbf - 70, "token_not_yet_valid"),
        ("V11 no exp", &bare, u64::MAX, "allowed"),
        // 0 is what a clock reads that fails.
        ("V11 no nbf", &bare, 1, "allowed"),
        ("V11 exp 0: zero-is-a-time", &never, u64::MAX, "token_expired"),
        ("V11 exp 0 in 1970: zero-is-a-time", &never, 60, "allowed"),
    ] {
        assert_eq!(reason(claims, now), expected, "{id}");
    }
}

#[test]
fn v_cases_of_audiences() {
    let forms = audience_forms();
    let configured = (0..forms.len()).map(|index| format!("issuer-{index}"));
    let requests: Vec<Request> = configured
        .flat_map(|issuer| {
            forms.iter().map(move |form| {
                EC.token(&mint::with(&mint::claims(&issuer, "s"), "aud", form.as_str()))
            })
        })
        .map(|token| Request::get("/").bearer(&token))
        .collect();
    assert_eq!(requests.len(), 36, "V12");
    for reply in listener("audiences").series(&requests) {
        assert_eq!(reply.status, 200, "V12: {reply}");
    }
    let other = mint::with(&mint::claims("issuer-0", "s"), "aud", "example_service//");
    let reply = listener("audiences").http1(&Request::get("/").bearer(&EC.token(&other)));
    let body = "Audiences in Jwt are not allowed";
    assert_answer("V12 two slashes", listener("audiences"), &reply, 401, body, "audience_mismatch");
}

#[test]
fn v_cases_of_key_sets() {
    for name in ["jwks-empty-text", "jwks-empty-object", "jwks-keys-no-list", "jwks-no-good-key"] {
        let reply = listener(name).http1(&Request::get("/").bearer(&EC.token(&good())));
        listener(name).assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
    }
    // What Envoy says of remote sets only; of inline ones it says nothing until a token comes.
    for (id, jwk, why) in [
        ("V16 kty", json!({ "kty": "unknown" }), "`kty` `unknown` is not supported"),
        ("V16 OKP", json!({ "kty": "OKP", "crv": "Ed448", "x": "AA" }), "`crv` `Ed448`"),
        ("V16 EC", json!({ "kty": "EC", "crv": "P-1024", "x": "AA", "y": "AA" }), "`crv` `P-1024`"),
        ("V16 RSA", mint::with(&RSA.jwk(), "alg", "ES256"), "`alg` `ES256` does not fit the key"),
        ("V16 EC alg", mint::with(&EC.jwk(), "alg", "RS256"), "`alg` `RS256` does not fit the key"),
        ("V16 curve", mint::with(&EC.jwk(), "alg", "ES384"), "`alg` `ES384` does not fit the key"),
        ("V17: a-curve-is-named", mint::with(&EC.jwk(), "crv", Value::Null), "`crv` is missing"),
    ] {
        let rule = json!({ "issuer": I1, "jwks": { "keys": [jwk] } });
        let problems = load::from_value(&json!({ "jwtRules": [rule] })).unwrap_err();
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(
            texts.iter().any(|t| t.contains("expected at least one usable key")),
            "{id}: {texts:?}"
        );
        let beside = json!({ "issuer": I1, "jwks": { "keys": [jwk, ED.jwk()] } });
        let loaded = load::from_value(&json!({ "jwtRules": [beside] })).unwrap();
        let texts: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(texts.iter().any(|text| text.contains(why)), "{id}: {texts:?}");
    }
}

#[test]
fn v_cases_of_keys() {
    let no_kid = |key: &Key| key.sign(&json!({ "alg": key.alg }), &good());
    let unknown = EC.sign(&json!({ "alg": "ES256", "kid": "no-such" }), &good());
    let key_unknown = "Jwks doesn't have key to match kid or alg from Jwt";
    for (id, name, token, (status, body, reason)) in [
        ("V15", "junk", EC.token(&good()), (200, HELLO, "allowed")),
        ("V18 RSA", "strict", no_kid(&RSA), (200, HELLO, "allowed")),
        ("V18 EC", "strict", no_kid(&EC), (200, HELLO, "allowed")),
        ("V18 Ed25519", "strict", no_kid(&ED), (200, HELLO, "allowed")),
        ("V19", "strict", unknown, (401, key_unknown, "key_unknown")),
        ("V20 RSA without alg", "without-alg", RSA.token(&good()), (200, HELLO, "allowed")),
        ("V20 EC without alg", "without-alg", EC.token(&good()), (200, HELLO, "allowed")),
        ("V20 OKP without alg", "without-alg", ED.token(&good()), (200, HELLO, "allowed")),
        ("V20 RSA without kid", "without-kid", RSA.token(&good()), (200, HELLO, "allowed")),
        ("V20 EC without kid", "without-kid", EC.token(&good()), (200, HELLO, "allowed")),
        ("V20 OKP without kid", "without-kid", ED.token(&good()), (200, HELLO, "allowed")),
    ] {
        let reply = listener(name).http1(&Request::get("/").bearer(&token));
        assert_answer(id, listener(name), &reply, status, body, reason);
    }
}

#[test]
fn v_cases_of_changed_signatures() {
    for key in [&*EC, &*ED] {
        let token = key.token(&good());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let bytes = mint::decode(signature);
        let changed = (0..bytes.len()).map(|at| {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            bytes
        });
        let short = bytes[..bytes.len() - 1].to_vec();
        let long = [bytes.as_slice(), &[0]].concat();
        let requests: Vec<Request> = changed
            .chain([short, long])
            .map(|bytes| Request::get("/").bearer(&format!("{signed}.{}", mint::encode(bytes))))
            .collect();
        for (at, reply) in listener("strict").series(&requests).iter().enumerate() {
            let text = "Jwt verification fails";
            assert_eq!((reply.status, reply.text().as_str()), (401, text), "V21: {} {at}", key.alg);
        }
    }
}

#[test]
fn v_cases_of_claims_and_places() {
    let claims = json!({
        "nested": { "key-1": "value1" }, "bool": true, "int": 9999, "list": ["str1", "str2"],
    });
    let mut all = good();
    all.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    for reply in listener("claims").both(&Request::get("/").bearer(&EC.token(&all))) {
        let seen = reply.passed();
        let header = |name| seen.header(name);
        assert_eq!(header("x-nested"), Some("value1"), "V23");
        assert_eq!(header("x-bool"), Some("true"), "V23");
        assert_eq!(header("x-int"), Some("9999"), "V23");
        assert_eq!(header("x-list"), Some("str1,str2"), "V23: lists-and-objects");
        assert_eq!(header("x-wrong"), None, "V23");
    }
    let token = EC.token(&good());
    let malformed = (401, "Jwt is not at the beginning of its header", "token_malformed");
    let missing = (401, "Jwt is missing", "token_missing");
    let hello = (200, HELLO, "allowed");
    let at = |value: String| Request::get("/").header("x-header", value);
    let query = Request::get(format!("/path?access_token={token}"));
    let ambiguous = (401, "Found multiple Jwt tokens", "token_ambiguous");
    let other = EC.token(&edited("sub", "else"));
    for (id, name, request, (status, body, reason)) in [
        ("V24: prefix-astray", "prefix", at(format!("preamble CCCDDD{token}")), malformed),
        ("V24 in front", "prefix", at(format!("CCCDDD{token}")), hello),
        ("V25", "prefix", at(token.clone()), missing),
        ("V26", "strict", query.clone(), hello),
        ("V27", "strict", Request::get("/"), missing),
        ("V30 one token twice", "strict", query.clone().bearer(&token), hello),
        ("V30: two-tokens", "strict", query.clone().bearer(&other), ambiguous),
        ("V30 one bad: two-tokens", "strict", query.bearer("a.b.c"), ambiguous),
    ] {
        for reply in listener(name).both(&request) {
            assert_answer(id, listener(name), &reply, status, body, reason);
        }
    }
    let reply = listener("strict").http1(&Request::get("/").authority("host"));
    assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"http://host\""), "V27");
    let expired = EC.token(&edited("exp", mint::now() - 3600));
    let reply = listener("strict").http1(&Request::get("/").authority("host").bearer(&expired));
    let told = "Bearer realm=\"http://host\", error=\"invalid_token\", \
                error_description=\"Jwt is expired\"";
    assert_eq!(reply.header("www-authenticate"), Some(told), "V28");
    // ANY of two providers, and the one that is not asked emits too.
    let request = Request::get("/").bearer(&super::j::token("T2")).header("x-jwt-iss", "forged");
    for reply in listener("K1").both(&request) {
        assert_eq!(reply.passed().folding_to("x-jwt-iss"), [], "V31");
    }
}

#[test]
fn v_case_of_a_map_of_certificates() {
    let certified = |name: &str| {
        let pair = rcgen::KeyPair::generate().unwrap();
        let parameters = rcgen::CertificateParams::new(vec![format!("{name}.example")]).unwrap();
        let pem = parameters.self_signed(&pair).unwrap().pem();
        (Key::from_pkcs8(name, &pair.serialize_der()), pem)
    };
    let ((one, pem_one), (two, pem_two)) = (certified("one"), certified("two"));
    let rule = |jwks: Value| json!({ "jwtRules": [{ "issuer": I1, "jwks": jwks }] });
    let map = json!({ "one": pem_one, "two": pem_two });
    let envoy = Envoy::builder()
        .listener("map", Setup::plugin(rule(map.clone())))
        .listener("text", Setup::plugin(rule(map.to_string().into())))
        .listener(
            "one-bad",
            Setup::plugin(rule(json!({ "one": pem_one, "bad": "no certificate" }))),
        )
        .listener("bad", Setup::plugin(rule(json!({ "bad": "no certificate" }))))
        .start();
    for name in ["map", "text"] {
        for key in [&one, &two] {
            let reply = envoy.listener(name).http1(&Request::get("/").bearer(&key.token(&good())));
            assert_eq!(reply.status, 200, "V22 {name}: {reply}");
        }
        // Named `two`, signed by `one`.
        let confused = one.sign(&json!({ "alg": "ES256", "kid": "two" }), &good());
        let reply = envoy.listener(name).http1(&Request::get("/").bearer(&confused));
        envoy.listener(name).assert_denied(
            &reply,
            401,
            "Jwt verification fails",
            "signature_invalid",
        );
    }
    let reply = envoy.listener("one-bad").http1(&Request::get("/").bearer(&one.token(&good())));
    assert_eq!(
        reply.status, 200,
        "V22: one bad certificate does not take the good one down: {reply}"
    );
    let reply = envoy.listener("bad").http1(&Request::get("/").bearer(&one.token(&good())));
    envoy.listener("bad").assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
}
