//! Keys and tokens, good and bad. Signed by ring, and ES512 by p521: other implementations than the one that verifies.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jwt_simple::prelude::{RS256KeyPair, RS256PublicKey};
use p521::ecdsa::signature::Signer as _;
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::rsa;
use ring::signature::{self as sig, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use crate::secrets;

/// A private key, and what it is for.
pub struct Key {
    /// Its `kid`.
    pub kid: String,
    /// The one algorithm it signs with.
    pub alg: String,
    jwk: Value,
    pkcs8: Vec<u8>,
    signer: Signer,
}

enum Signer {
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
    P521(Box<p521::ecdsa::SigningKey>),
    Rsa(Box<rsa::KeyPair>, &'static dyn sig::RsaEncoding),
}

impl Key {
    /// A fresh key for `alg`: RS, PS, ES (256, 384, 512 of each) or EdDSA.
    ///
    /// # Panics
    /// For any other algorithm.
    pub fn new(alg: &str, kid: &str) -> Self {
        let (mut jwk, pkcs8, signer) = match alg {
            "ES256" => ec("P-256", &sig::ECDSA_P256_SHA256_FIXED_SIGNING),
            "ES384" => ec("P-384", &sig::ECDSA_P384_SHA384_FIXED_SIGNING),
            "ES512" => p521(),
            "EdDSA" => ed(),
            "RS256" => rsa(&sig::RSA_PKCS1_SHA256),
            "RS384" => rsa(&sig::RSA_PKCS1_SHA384),
            "RS512" => rsa(&sig::RSA_PKCS1_SHA512),
            "PS256" => rsa(&sig::RSA_PSS_SHA256),
            "PS384" => rsa(&sig::RSA_PSS_SHA384),
            "PS512" => rsa(&sig::RSA_PSS_SHA512),
            other => panic!("no signer for {other}"),
        };
        jwk["kid"] = json!(kid);
        jwk["alg"] = json!(alg);
        Self { kid: kid.to_owned(), alg: alg.to_owned(), jwk, pkcs8, signer }
    }

    /// The ES256 key of a PKCS #8 document.
    ///
    /// # Panics
    /// When it is not one.
    pub fn from_pkcs8(kid: &str, document: &[u8]) -> Self {
        let algorithm = &sig::ECDSA_P256_SHA256_FIXED_SIGNING;
        let (mut jwk, pkcs8, signer) = ec_from("P-256", algorithm, document, &SystemRandom::new());
        jwk["kid"] = json!(kid);
        jwk["alg"] = json!("ES256");
        Self { kid: kid.to_owned(), alg: "ES256".to_owned(), jwk, pkcs8, signer }
    }

    /// The public key as a JWK with kid and alg.
    pub fn jwk(&self) -> Value {
        self.jwk.clone()
    }

    /// The public key in PEM: a `PUBLIC KEY` block. For keys of ES256, ES384 and EdDSA.
    pub fn public_pem(&self) -> String {
        self.pair().public_key_pem()
    }

    /// A certificate that the key signed for itself, in PEM. For keys of ES256, ES384 and EdDSA.
    pub fn certificate_pem(&self) -> String {
        let params = rcgen::CertificateParams::new(["idp.example".to_owned()]).unwrap();
        params.self_signed(&self.pair()).unwrap().pem()
    }

    fn pair(&self) -> rcgen::KeyPair {
        rcgen::KeyPair::try_from(self.pkcs8.as_slice()).unwrap()
    }

    /// The usual token of these claims: `{"alg", "kid", "typ": "JWT"}`.
    pub fn token(&self, claims: &Value) -> String {
        self.sign(&json!({ "alg": self.alg, "kid": self.kid, "typ": "JWT" }), claims)
    }

    /// A token with any header.
    pub fn sign(&self, header: &Value, claims: &Value) -> String {
        self.sign_text(&header.to_string(), &claims.to_string())
    }

    /// A token whose header and payload are these texts, valid or not.
    pub fn sign_text(&self, header: &str, payload: &str) -> String {
        let text = format!("{}.{}", encode(header), encode(payload));
        let signature = encode(self.signer.sign(text.as_bytes()));
        let token = format!("{text}.{signature}");
        secrets::token(&token);
        token
    }
}

impl Signer {
    fn sign(&self, text: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(key) => key.sign(&random, text).unwrap().as_ref().to_vec(),
            Self::Ed(key) => key.sign(text).as_ref().to_vec(),
            Self::P521(key) => {
                let signature: p521::ecdsa::Signature = key.sign(text);
                signature.to_bytes().to_vec()
            }
            Self::Rsa(key, encoding) => {
                let mut signature = vec![0; key.public().modulus_len()];
                key.sign(*encoding, &random, text, &mut signature).unwrap();
                signature
            }
        }
    }
}

fn ec(crv: &str, algorithm: &'static sig::EcdsaSigningAlgorithm) -> (Value, Vec<u8>, Signer) {
    let random = SystemRandom::new();
    let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
    ec_from(crv, algorithm, document.as_ref(), &random)
}

fn ec_from(
    crv: &str,
    algorithm: &'static sig::EcdsaSigningAlgorithm,
    document: &[u8],
    random: &SystemRandom,
) -> (Value, Vec<u8>, Signer) {
    let key = EcdsaKeyPair::from_pkcs8(algorithm, document, random).unwrap();
    // SEC 1 section 2.3.3: an uncompressed point is 4, x, y.
    let point = &key.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    let jwk = json!({ "kty": "EC", "crv": crv, "x": encode(x), "y": encode(y) });
    (jwk, document.to_vec(), Signer::Ec(Box::new(key)))
}

fn ed() -> (Value, Vec<u8>, Signer) {
    let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
    let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key()) });
    (jwk, document.as_ref().to_vec(), Signer::Ed(Box::new(key)))
}

/// ring has no such keys. The PKCS #8 document is left out.
fn p521() -> (Value, Vec<u8>, Signer) {
    // 520 random bits: below the order of the curve, which has 521.
    let mut scalar = [0; 66];
    SystemRandom::new().fill(&mut scalar[1..]).unwrap();
    let key = p521::ecdsa::SigningKey::from_slice(&scalar).unwrap();
    let point = key.verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(66);
    let jwk = json!({ "kty": "EC", "crv": "P-521", "x": encode(x), "y": encode(y) });
    (jwk, Vec::new(), Signer::P521(Box::new(key)))
}

fn rsa(encoding: &'static dyn sig::RsaEncoding) -> (Value, Vec<u8>, Signer) {
    // ring makes no RSA keys.
    let key = RS256KeyPair::generate(2048).unwrap();
    let public: RS256PublicKey = key.public_key();
    let components = public.to_components();
    let jwk = json!({ "kty": "RSA", "n": encode(&components.n), "e": encode(&components.e) });
    let der = key.to_der().unwrap();
    let key = rsa::KeyPair::from_pkcs8(&der).or_else(|_| rsa::KeyPair::from_der(&der)).unwrap();
    (jwk, der, Signer::Rsa(Box::new(key), encoding))
}

/// The key set of the public halves of `keys`.
pub fn jwks<'k>(keys: impl IntoIterator<Item = &'k Key>) -> Value {
    json!({ "keys": keys.into_iter().map(Key::jwk).collect::<Vec<_>>() })
}

/// A private claim of all tokens: no configuration lists it for the log.
pub const PRIVATE: &str = "078-05-1120, a private claim";

/// Claims of `sub` at `iss`, good for an hour from now.
pub fn claims(iss: &str, sub: &str) -> Value {
    json!({ "iss": iss, "sub": sub, "iat": now(), "exp": now() + 3600, "ssn": PRIVATE })
}

/// `claims` with one claim set to `value`; to null: without that claim.
pub fn with(claims: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims.clone();
    match value.into() {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

/// Unix time in seconds.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap()
}

/// Unpadded base64url.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of unpadded base64url.
///
/// # Panics
/// When `text` is not valid.
pub fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// The payload piece of a token, which is what `outputPayloadToHeader` emits.
pub fn payload(token: &str) -> &str {
    token.split('.').nth(1).expect("a token has three parts")
}
