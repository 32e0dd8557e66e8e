//! Keys that are generated again in each run, from numbers, and tokens signed with them, with any
//! content.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::ecdsa::signature::Signer as _;
use p256::ecdsa::{Signature, SigningKey};
use serde_json::{Value, json};

/// The signer of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    /// A shared secret, `kid` `hs`.
    Shared,
    /// Ed25519, `kid` `k1`.
    Ed,
    /// Ed25519, without `kid`.
    Unnamed,
    /// P-256, `kid` `ec`.
    Ec,
    /// A key that no configuration has.
    Stranger,
}

/// By their names in written cases.
pub(crate) const SIGNERS: &[(&str, Signer)] = &[
    ("hs", Signer::Shared),
    ("k1", Signer::Ed),
    ("unnamed", Signer::Unnamed),
    ("ec", Signer::Ec),
    ("stranger", Signer::Stranger),
];

const SECRET: [u8; 32] = [9; 32];

impl Signer {
    pub(crate) fn named(name: &str) -> Option<Self> {
        SIGNERS.iter().find(|(known, _)| *known == name).map(|(_, signer)| *signer)
    }

    pub(crate) fn is_known(self) -> bool {
        self != Self::Stranger
    }

    pub(crate) fn algorithm(self) -> &'static str {
        match self {
            Self::Shared => "HS256",
            Self::Ec => "ES256",
            Self::Ed | Self::Unnamed | Self::Stranger => "EdDSA",
        }
    }

    fn signature(self, signed: &[u8]) -> Vec<u8> {
        let ed = |seed| ed_key(seed).sk.sign(signed, None).to_vec();
        match self {
            Self::Shared => hmac_sha256::HMAC::mac(signed, SECRET).to_vec(),
            Self::Ed => ed(1),
            Self::Unnamed => ed(2),
            Self::Stranger => ed(99),
            Self::Ec => {
                let signature: Signature = ec_key().sign(signed);
                signature.to_bytes().to_vec()
            }
        }
    }

    /// A token with exactly this header and this payload.
    pub(crate) fn token(self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", base64url(header), base64url(payload));
        let signature = self.signature(signed.as_bytes());
        format!("{signed}.{}", base64url(signature))
    }
}

fn ed_key(seed: u8) -> ed25519_compact::KeyPair {
    ed25519_compact::KeyPair::from_seed(ed25519_compact::Seed::new([seed; 32]))
}

fn ec_key() -> SigningKey {
    SigningKey::from_slice(&[7; 32]).unwrap()
}

/// The public key of [`Signer::Ed`].
pub(crate) fn ed_public() -> Vec<u8> {
    ed_key(1).pk.to_vec()
}

/// The coordinates of [`Signer::Ec`]'s key.
pub(crate) fn ec_public() -> (Vec<u8>, Vec<u8>) {
    let point = ec_key().verifying_key().to_sec1_point(false);
    let (x, y) = point.as_bytes()[1..].split_at(32);
    (x.to_vec(), y.to_vec())
}

/// The key set of all signers except the stranger.
pub(crate) fn jwks() -> Value {
    let ed = |seed| base64url(ed_key(seed).pk.as_ref());
    let (x, y) = ec_public();
    json!({"keys": [
        {"kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": ed(1)},
        {"kty": "OKP", "crv": "Ed25519", "x": ed(2)},
        {"kty": "EC", "crv": "P-256", "kid": "ec", "x": base64url(x), "y": base64url(y)},
        {"kty": "oct", "kid": "hs", "k": base64url(SECRET)},
    ]})
}

/// Puts the key set where the `jwks` of a rule of a written configuration is `"$jwks"`.
pub(crate) fn fill_in_jwks(config: &mut Value) {
    let rules = config.get_mut("jwtRules").and_then(Value::as_array_mut);
    for rule in rules.into_iter().flatten() {
        if rule.get("jwks") == Some(&json!("$jwks")) {
            rule["jwks"] = jwks();
        }
    }
}

/// The key set of these Ed25519 signers, without key ids.
pub(crate) fn ed_jwks(signers: &[Signer]) -> Value {
    let seed = |signer: &Signer| if *signer == Signer::Ed { 1 } else { 2 };
    let key = |signer: &Signer| json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(ed_key(seed(signer)).pk.as_ref())});
    json!({"keys": signers.iter().map(key).collect::<Vec<_>>()})
}

pub(crate) fn base64url(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

pub(crate) fn unbase64url(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
