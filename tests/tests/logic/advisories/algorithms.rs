//! Who chooses key and algorithm: the operator, never the token.

use ring::hmac;
use serde_json::{Value, json};
use usher_testkit::mint::{self, Key};
use usher_testkit::verdict::{Core, ISSUER, claims, rule, with};

use super::{ATTACKER, KEY};

// CVE-2018-0114 (node-jose): the key in the token's own header verified the token.
#[test]
fn a_key_that_the_token_brings_along_is_never_used() {
    let core = Core::with_rule(rule(&KEY));
    let certificate = ATTACKER.certificate_pem();
    let x5c: String = certificate.lines().filter(|line| !line.starts_with("-----")).collect();
    for (name, value) in [
        ("jwk", ATTACKER.jwk()),
        ("x5c", json!([x5c])),
        ("jku", json!("https://attacker.example/keys")),
        ("x5u", json!("https://attacker.example/certificate")),
        ("x5t", json!("AAAA")),
    ] {
        for (kid, expected) in
            [("one", "signature_invalid"), ("attacker", "key_unknown"), ("", "key_unknown")]
        {
            let header = with(&json!({ "alg": "ES256", "kid": kid }), name, value.clone());
            assert_eq!(
                core.code(&ATTACKER.sign(&header, &claims())),
                expected,
                "{name}, kid {kid:?}"
            );
        }
        let nameless = with(&json!({ "alg": "ES256" }), name, value.clone());
        assert_eq!(core.code(&ATTACKER.sign(&nameless, &claims())), "signature_invalid", "{name}");
        // It does not hurt either: some issuers always send one.
        let header = with(&json!({ "alg": "ES256", "kid": "one" }), name, value);
        assert_eq!(core.code(&KEY.sign(&header, &claims())), "allowed", "{name}");
    }
}

// The oldest of all (jwx v1.2.0 and many before): `alg` of the token chooses, and the public key is the
// secret of an HMAC.
#[test]
fn a_public_key_is_no_hmac_secret() {
    let rsa = Key::new("RS256", "rsa");
    let spki = |key: &Key| {
        let set = mint::jwks([key]);
        let node = usher_core::codec::problems::Node::root(&set);
        let problems = usher_core::codec::problems::Problems::default();
        let origin = usher_core::jwks::Origin::Inline;
        let keys = usher_core::jwks::KeySet::read(
            &node,
            origin,
            false,
            usher_core::jwks::Published::Refused,
            &problems,
        )
        .unwrap();
        keys.keys()[0].spki.clone()
    };
    let text = |jwk: Value, member: &str| jwk[member].as_str().unwrap().as_bytes().to_vec();
    let secrets = [
        ("RSA SPKI", spki(&rsa)),
        ("RSA JWK", rsa.jwk().to_string().into_bytes()),
        ("RSA n, as text", text(rsa.jwk(), "n")),
        ("EC SPKI", spki(&KEY)),
        ("EC PEM", KEY.public_pem().into_bytes()),
        ("EC PEM without its end of line", KEY.public_pem().trim_end().as_bytes().to_vec()),
        ("EC certificate", KEY.certificate_pem().into_bytes()),
        ("EC x, as text", text(KEY.jwk(), "x")),
        ("nothing", Vec::new()),
    ];
    let loose = json!({ "issuer": ISSUER, "jwks": mint::jwks([&rsa, &*KEY]) });
    let listed = with(&loose, "algorithms", json!(["RS256", "ES256", "HS256"]));
    // Where HS256 is listed there is still no `oct` key that it could be checked with.
    for (rule, expected) in [(loose, "algorithm_not_allowed"), (listed, "key_unknown")] {
        let core = Core::with_rule(rule);
        for (what, secret) in &secrets {
            for kid in [json!("rsa"), json!("one"), Value::Null] {
                let header = with(&json!({ "alg": "HS256" }), "kid", kid);
                let header = mint::encode(header.to_string());
                let signed = format!("{header}.{}", mint::encode(claims().to_string()));
                let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
                let tag = hmac::sign(&key, signed.as_bytes());
                let token = format!("{signed}.{}", mint::encode(tag));
                assert_eq!(core.code(&token), expected, "{what}");
            }
        }
    }
}

// CVE-2015-9235 and its kin, CVE-2022-23540: `none` in some spelling needs no signature.
#[test]
fn an_unsigned_token_is_never_good() {
    let core = Core::with_rule(rule(&KEY));
    for alg in ["none", "None", "NONE", "nOnE", "none ", ""] {
        let token = KEY.sign(&json!({ "alg": alg }), &claims());
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert_eq!(core.code(&format!("{signed}.{signature}")), "algorithm_not_allowed", "{alg:?}");
        assert_eq!(core.code(&format!("{signed}.AA")), "algorithm_not_allowed", "{alg:?}");
        assert_eq!(core.code(&format!("{signed}.")), "token_malformed", "{alg:?}");
        assert_eq!(core.code(signed), "token_malformed", "{alg:?}");
    }
}

// CVE-2026-31837 (Istio): where keys could not be fetched a key was installed whose private half could
// be known. Here a rule without keys does not load, and the binary brings none.
#[test]
fn there_is_no_built_in_or_fallback_key() {
    use usher_testkit::verdict::problems;
    for (what, jwks, problem) in [
        ("none given", Value::Null, "jwtRules[0]: missing field `jwks`: the issuer's keys"),
        (
            "an empty set",
            json!({ "keys": [] }),
            "jwtRules[0].jwks: expected at least one usable key, found none",
        ),
        (
            "an empty text",
            json!(""),
            "jwtRules[0].jwks: expected a JWK set, found no JSON: EOF while parsing a value at line 1 column 0",
        ),
    ] {
        let rule = with(&json!({ "issuer": ISSUER }), "jwks", jwks);
        assert_eq!(problems(&json!({ "jwtRules": [rule] })), [problem], "{what}");
    }
    // The tokens of the RFCs, whose private keys are public, open nothing.
    let joe = Core::with_rule(json!({ "issuer": "joe", "jwks": mint::jwks([&*KEY]) }));
    assert_eq!(joe.code(RFC_7515_A_3), "signature_invalid");
}

/// RFC 7515 appendix A.3: ES256, signed with a private key that stands beside it.
const RFC_7515_A_3: &str = concat!(
    "eyJhbGciOiJFUzI1NiJ9.",
    "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.",
    "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
);
