//! ML-DSA (FIPS 204) in Envoy: keys of type `AKP`, whose `alg` says all (draft-ietf-cose-dilithium).

use std::sync::LazyLock;

use jwt_simple::prelude::*;
use serde_json::{Value, json};
use usher_core::load;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint;

const ISSUER: &str = "https://idp.example";

/// A key pair of one parameter set: its public JWK, and a token by it.
struct Signed {
    alg: &'static str,
    jwk: Value,
    token: String,
}

macro_rules! signed {
    ($pair:ident, $alg:literal) => {{
        let pair = $pair::generate().with_key_id($alg);
        let claims = Claims::create(Duration::from_hours(1)).with_issuer(ISSUER).with_subject("s");
        Signed {
            alg: $alg,
            jwk: serde_json::from_str(&pair.public_key().to_jwk()).unwrap(),
            token: pair.sign(claims).unwrap(),
        }
    }};
}

static SIGNED: LazyLock<[Signed; 3]> = LazyLock::new(|| {
    [
        signed!(MLDSA44KeyPair, "ML-DSA-44"),
        signed!(MLDSA65KeyPair, "ML-DSA-65"),
        signed!(MLDSA87KeyPair, "ML-DSA-87"),
    ]
});

fn config(keys: &[Value]) -> Value {
    json!({ "jwtRules": [{ "issuer": ISSUER, "jwks": { "keys": keys } }] })
}

#[test]
fn every_parameter_set_verifies_and_notices_tampering() {
    let keys: Vec<Value> = SIGNED.iter().map(|signed| signed.jwk.clone()).collect();
    let envoy = Envoy::builder().listener("usher", Setup::plugin(config(&keys))).start();
    let listener = envoy.listener("usher");
    for signed in SIGNED.iter() {
        assert_eq!(signed.jwk["kty"], "AKP");
        let reply = listener.http1(&Request::get("/").bearer(&signed.token));
        assert_eq!(reply.status, 200, "{}: {reply}", signed.alg);
        let (text, signature) = signed.token.rsplit_once('.').unwrap();
        let mut bytes = mint::decode(signature);
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        let forged = format!("{text}.{}", mint::encode(&bytes));
        let short = format!("{text}.{}", mint::encode(&bytes[1..]));
        for token in [forged, short] {
            let reply = listener.http1(&Request::get("/").bearer(&token));
            listener.assert_denied(&reply, 401, "Jwt verification fails", "signature_invalid");
        }
    }
}

#[test]
fn a_key_is_bound_to_its_alg_and_its_size() {
    let [small, large, _] = &*SIGNED;
    for (jwk, why) in [
        (mint::with(&small.jwk, "alg", Value::Null), "`alg` is missing"),
        (mint::with(&small.jwk, "alg", "ES256"), "`alg` `ES256` is not supported for `AKP`"),
        (mint::with(&small.jwk, "alg", large.alg), "`pub` has not the size of its `alg`"),
        (mint::with(&small.jwk, "pub", Value::Null), "`pub` is missing"),
        (mint::with(&small.jwk, "use", "enc"), "`use` is not `sig`"),
    ] {
        let loaded = load::from_value(&config(&[jwk, large.jwk.clone()])).unwrap();
        let texts: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        assert!(texts.iter().any(|text| text.contains(why)), "{why}: {texts:?}");
    }
    let leaked = mint::with(&small.jwk, "priv", "AAAA");
    let problems = load::from_value(&config(&[leaked])).unwrap_err();
    assert!(problems[0].to_string().contains("private part `priv`"), "{problems:?}");
}
