//! A key for ES512, which ring, and so [`crate::mint`], does not have.

use p521::ecdsa::signature::Signer as _;
use p521::ecdsa::{Signature, SigningKey};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::{Value, json};

use crate::mint::encode;

/// A private key.
pub struct Key(SigningKey);

impl Key {
    /// A fresh key.
    pub fn new() -> Self {
        // 520 random bits: below the order of the curve, which has 521.
        let mut scalar = [0; 66];
        SystemRandom::new().fill(&mut scalar[1..]).unwrap();
        Self(SigningKey::from_slice(&scalar).unwrap())
    }

    /// The public key as a JWK.
    pub fn jwk(&self, kid: &str) -> Value {
        let point = self.0.verifying_key().to_sec1_point(false);
        let (x, y) = point.as_bytes()[1..].split_at(66);
        json!({ "kty": "EC", "crv": "P-521", "alg": "ES512", "kid": kid, "x": encode(x), "y": encode(y) })
    }

    /// The usual token of these claims.
    pub fn token(&self, kid: &str, claims: &Value) -> String {
        let header = json!({ "alg": "ES512", "kid": kid, "typ": "JWT" });
        let text = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let signature: Signature = self.0.sign(text.as_bytes());
        format!("{text}.{}", encode(signature.to_bytes()))
    }
}

impl Default for Key {
    fn default() -> Self {
        Self::new()
    }
}
