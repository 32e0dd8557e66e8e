//! `jwks`, `algorithms`, and which key is tried for which token.

use std::sync::LazyLock;

use ring::hmac;
use serde_json::{Value, json};
use usher_core::codec::problems::{Node, Problems};
use usher_core::jwks::{KeySet, Origin, Published};
use usher_testkit::mint::{self, Key};
use usher_testkit::verdict::{Core, ISSUER, claims, problems};

use super::KEY;

static ED: LazyLock<Key> = LazyLock::new(|| Key::new("EdDSA", "three"));
static UNNAMED: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "unnamed"));
static STRANGER: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "stranger"));

fn configuration(jwks: &Value) -> Value {
    json!({ "jwtRules": [{ "issuer": ISSUER, "jwks": jwks }] })
}

fn core(jwks: &Value) -> Core {
    Core::new(&configuration(jwks))
}

/// A key's JWK with one member set, or taken away by null.
fn jwk(key: &Key, member: &str, value: impl Into<Value>) -> Value {
    mint::with(&key.jwk(), member, value)
}

fn set(keys: &[Value]) -> Value {
    json!({ "keys": keys })
}

/// A token whose header names this kid (null: none) and the key's own algorithm.
fn token(key: &Key, kid: Value) -> String {
    let header = mint::with(&json!({ "alg": key.alg }), "kid", kid);
    key.sign(&header, &claims())
}

#[test]
fn keys_come_in_each_form() {
    let object = mint::jwks([&*KEY]);
    let map = json!({ "one": KEY.certificate_pem(), "else": STRANGER.certificate_pem() });
    let several = format!("{}{}{}", STRANGER.public_pem(), ED.certificate_pem(), KEY.public_pem());
    let certificate = KEY.certificate_pem();
    // Of the second kid: whether a key of another name, or of none, is tried for it.
    for (form, jwks, other_kid) in [
        ("an object", object.clone(), "key_unknown"),
        ("JSON text", json!(object.to_string()), "key_unknown"),
        ("a map of kid to certificate", map.clone(), "key_unknown"),
        ("the map as text", json!(map.to_string()), "key_unknown"),
        ("PEM of a public key", json!(KEY.public_pem()), "allowed"),
        ("PEM of a certificate", json!(certificate), "allowed"),
        ("several PEM blocks", json!(several), "allowed"),
    ] {
        let core = core(&jwks);
        assert_eq!(core.warnings, [""; 0], "{form}");
        assert_eq!(core.code(&token(&KEY, json!("one"))), "allowed", "{form}");
        assert_eq!(core.code(&token(&KEY, json!("two"))), other_kid, "{form}");
        let forged = core.code(&token(&UNNAMED, json!("one")));
        assert_eq!(forged, "signature_invalid", "{form}");
    }
}

#[test]
fn an_unusable_key_is_skipped_with_a_warning() {
    let short = mint::encode([0xff; 128]);
    let skipped = |why: &str| format!("jwtRules[0].jwks.keys[0]: key `odd` is skipped: {why}");
    for (odd, why) in [
        (json!({ "kid": "odd" }), "`kty` is missing"),
        (json!({ "kid": "odd", "kty": "DSA" }), "`kty` `DSA` is not supported"),
        (
            json!({ "kid": "odd", "kty": "RSA", "n": short, "e": "AQAB" }),
            "the modulus has not 2048 to 8192 bits",
        ),
        (
            json!({ "kid": "odd", "kty": "RSA", "n": mint::encode([0xff; 256]), "e": "AQ" }),
            "the exponent is less than 3",
        ),
        (
            json!({ "kid": "odd", "kty": "RSA", "n": mint::encode([0xff; 256]), "e": "BA" }),
            "modulus or exponent are out of range",
        ),
        (
            json!({ "kid": "odd", "kty": "OKP", "crv": "Ed448", "x": "AA" }),
            "`crv` `Ed448` is not supported",
        ),
        (mint::with(&jwk(&STRANGER, "x", ""), "kid", "odd"), "`x` is missing"),
        (
            mint::with(&jwk(&STRANGER, "x", mint::encode([1; 32])), "kid", "odd"),
            "the point is not on the curve",
        ),
        (mint::with(&jwk(&STRANGER, "use", "enc"), "kid", "odd"), "`use` is not `sig`"),
        (
            mint::with(&jwk(&STRANGER, "key_ops", json!(["sign"])), "kid", "odd"),
            "`key_ops` does not hold `verify`",
        ),
        (
            mint::with(&jwk(&STRANGER, "alg", "ES384"), "kid", "odd"),
            "`alg` `ES384` does not fit the key",
        ),
        (
            json!({ "kid": "odd", "kty": "oct", "k": mint::encode([7; 32]) }),
            "a symmetric key counts only where `algorithms` lists an HS algorithm",
        ),
    ] {
        let core = core(&set(&[odd.clone(), KEY.jwk()]));
        assert_eq!(core.warnings, [skipped(why)], "{odd}");
        assert_eq!(core.code(&token(&KEY, json!("one"))), "allowed", "{odd}");
        // Alone it leaves no key at all.
        let expected = format!(
            "jwtRules[0].jwks: expected at least one usable key, found none: key `odd`: {why}"
        );
        assert_eq!(problems(&configuration(&set(&[odd]))), [expected]);
    }
    let nameless = core(&set(&[json!({}), KEY.jwk()]));
    let expected = "jwtRules[0].jwks.keys[0]: a key is skipped: `kty` is missing";
    assert_eq!(nameless.warnings, [expected]);
}

#[test]
fn a_private_part_is_an_error() {
    for member in ["d", "p", "q", "dp", "dq", "qi", "oth"] {
        let jwks = set(&[UNNAMED.jwk(), jwk(&KEY, member, "AAAA")]);
        let expected = format!(
            "jwtRules[0].jwks.keys[1]: key `one` holds private part `{member}`: it must not be known \
             here; give public keys only, and replace this one"
        );
        assert_eq!(problems(&configuration(&jwks)), [expected]);
    }
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let block = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        let jwks = json!(format!("{}{block}", KEY.public_pem()));
        let expected = "jwtRules[0].jwks: a key holds private part `PRIVATE KEY`: it must not be known \
                        here; give public keys only, and replace this one";
        assert_eq!(problems(&configuration(&jwks)), [expected], "{label}");
    }
}

#[test]
fn a_fetched_private_part_is_skipped_with_a_warning() {
    let jwks = set(&[jwk(&UNNAMED, "d", "AAAA"), KEY.jwk()]);
    let problems = Problems::default();
    let keys =
        KeySet::read(&Node::root(&jwks), Origin::Fetched, false, Published::Refused, &problems)
            .unwrap();
    let kids: Vec<_> = keys.keys().iter().map(|key| key.kid.as_deref()).collect();
    assert_eq!(kids, [Some("one")]);
    let (errors, warnings) = problems.into_parts();
    let warnings: Vec<String> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(errors, []);
    let expected = ".keys[0]: key `unnamed` is skipped: it holds private part `d`";
    assert_eq!(warnings, [expected]);
}

#[test]
fn symmetric_keys_count_only_where_algorithms_lists_one() {
    let secret = [7; 48];
    let oct = json!({ "kty": "oct", "kid": "shared", "k": mint::encode(secret) });
    let hmac = |alg: &str, algorithm| {
        let header = mint::encode(json!({ "alg": alg, "kid": "shared" }).to_string());
        let signed = format!("{header}.{}", mint::encode(claims().to_string()));
        let tag = hmac::sign(&hmac::Key::new(algorithm, &secret), signed.as_bytes());
        format!("{signed}.{}", mint::encode(tag))
    };
    let hs256 = hmac("HS256", hmac::HMAC_SHA256);
    let hs384 = hmac("HS384", hmac::HMAC_SHA384);
    let hs512 = hmac("HS512", hmac::HMAC_SHA512);
    let with = |algorithms: Value| {
        let rule = json!({ "issuer": ISSUER, "jwks": set(&[KEY.jwk(), oct.clone()]) });
        Core::with_rule(mint::with(&rule, "algorithms", algorithms))
    };
    let not_allowed = "algorithm_not_allowed";
    for (algorithms, expected, warnings) in [
        (Value::Null, [not_allowed, not_allowed, not_allowed, "allowed"], 1),
        (json!(["ES256"]), [not_allowed, not_allowed, not_allowed, "allowed"], 1),
        (json!(["HS256"]), ["allowed", not_allowed, not_allowed, not_allowed], 0),
        // 48 bytes are too few for HS512 (RFC 7518 section 3.2).
        (
            json!(["HS256", "HS384", "HS512", "ES256"]),
            ["allowed", "allowed", "key_unknown", "allowed"],
            0,
        ),
    ] {
        let core = with(algorithms.clone());
        assert_eq!(core.warnings.len(), warnings, "{algorithms}: {:?}", core.warnings);
        let es256 = token(&KEY, json!("one"));
        let got = [&hs256, &hs384, &hs512, &es256].map(|token| core.code(token));
        assert_eq!(got, expected, "HS256, HS384, HS512, ES256 where {algorithms}");
    }
}

#[test]
fn a_token_is_tried_with_the_keys_of_its_kid_and_with_unnamed_ones() {
    let unnamed = jwk(&UNNAMED, "kid", Value::Null);
    let named = core(&set(&[KEY.jwk(), ED.jwk()]));
    let mixed = core(&set(&[KEY.jwk(), unnamed, ED.jwk()]));
    let none = || Value::Null;
    for (what, core, token, expected) in [
        ("its own kid", &named, token(&KEY, json!("one")), "allowed"),
        ("no kid: every key", &named, token(&KEY, none()), "allowed"),
        ("no kid, the other key", &named, token(&ED, none()), "allowed"),
        ("no kid, nobody's key", &named, token(&STRANGER, none()), "signature_invalid"),
        ("an unknown kid", &named, token(&KEY, json!("two")), "key_unknown"),
        ("the kid of a key of another type", &named, token(&KEY, json!("three")), "key_unknown"),
        ("kids are compared with case", &named, token(&KEY, json!("ONE")), "key_unknown"),
        ("an empty kid is a kid", &named, token(&KEY, json!("")), "key_unknown"),
        ("any kid, the unnamed key", &mixed, token(&UNNAMED, json!("two")), "allowed"),
        ("no kid, the unnamed key", &mixed, token(&UNNAMED, none()), "allowed"),
        ("another's kid, the unnamed key", &mixed, token(&UNNAMED, json!("three")), "allowed"),
        ("an unknown kid, a named key", &mixed, token(&KEY, json!("two")), "signature_invalid"),
    ] {
        assert_eq!(core.code(&token), expected, "{what}");
    }
}

#[test]
fn two_keys_of_one_kid_are_both_tried() {
    let other = jwk(&UNNAMED, "kid", "one");
    let core = core(&set(&[other, KEY.jwk()]));
    assert_eq!(core.code(&token(&KEY, json!("one"))), "allowed");
    assert_eq!(core.code(&token(&UNNAMED, json!("one"))), "allowed");
    assert_eq!(core.code(&token(&STRANGER, json!("one"))), "signature_invalid");
}

#[test]
fn an_algorithm_that_is_not_offered_is_refused() {
    let default = core(&mint::jwks([&*KEY]));
    let rule = json!({ "issuer": ISSUER, "jwks": mint::jwks([&*KEY, &*ED]) });
    let listed = Core::with_rule(mint::with(&rule, "algorithms", json!(["ES256", "RS256"])));
    let says = |header: Value| KEY.sign(&header, &claims());
    for (what, core, token, expected) in [
        ("none", &default, says(json!({ "alg": "none" })), "algorithm_not_allowed"),
        ("None", &default, says(json!({ "alg": "None" })), "algorithm_not_allowed"),
        ("NONE", &listed, says(json!({ "alg": "NONE" })), "algorithm_not_allowed"),
        ("an empty alg", &default, says(json!({ "alg": "" })), "algorithm_not_allowed"),
        ("es256", &default, says(json!({ "alg": "es256" })), "algorithm_not_allowed"),
        (
            "an alg that no key has",
            &default,
            says(json!({ "alg": "RS256" })),
            "algorithm_not_allowed",
        ),
        ("an alg that is not listed", &listed, token(&ED, json!("three")), "algorithm_not_allowed"),
        ("a listed alg that no key has", &listed, says(json!({ "alg": "RS256" })), "key_unknown"),
        ("a listed one", &listed, token(&KEY, json!("one")), "allowed"),
        ("no alg at all", &default, says(json!({ "kid": "one" })), "token_malformed"),
        ("alg null", &default, says(json!({ "alg": null })), "token_malformed"),
        ("alg a list", &default, says(json!({ "alg": ["ES256"] })), "token_malformed"),
    ] {
        assert_eq!(core.code(&token), expected, "{what}");
    }
}

#[test]
fn eddsa_has_two_names() {
    let core = core(&mint::jwks([&*ED]));
    for alg in ["EdDSA", "Ed25519"] {
        let token = ED.sign(&json!({ "alg": alg, "kid": "three" }), &claims());
        assert_eq!(core.code(&token), "allowed", "{alg}");
    }
}

#[test]
fn an_empty_part_is_malformed_whatever_alg_says() {
    let core = core(&mint::jwks([&*KEY]));
    for alg in ["ES256", "none", "None", "HS256", ""] {
        let token = KEY.sign(&json!({ "alg": alg }), &claims());
        let parts: Vec<&str> = token.split('.').collect();
        let [header, payload, signature] = parts.try_into().unwrap();
        for text in [
            format!("{header}.{payload}."),
            format!("{header}..{signature}"),
            format!(".{payload}.{signature}"),
            format!("{header}.{payload}"),
            "..".to_owned(),
        ] {
            let verdict = core.bearer(&text);
            assert_eq!(verdict.code(), "token_malformed", "{text}");
            let form =
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";
            assert_eq!(verdict.body(), form, "{text}");
        }
    }
}
