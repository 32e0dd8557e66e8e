//! Key sets -> keys that know their algorithm.
//!
//! A key says what it may verify: by its type, its curve, its `alg`, `use` and `key_ops` (RFC 7517
//! section 4, RFC 8725 section 3.1). A token only names a key; it never chooses how a key is used, and
//! brings none along.

use std::fmt;

use crate::verify::portable::PublicKey;

pub mod der;
mod jwk;
mod pem;
mod read;

pub use read::Origin;

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037, RFC 8812).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its own name in the registry of RFC 7518")]
pub enum Algorithm {
    EdDSA,
    ES256,
    ES256K,
    ES384,
    ES512,
    HS256,
    HS384,
    HS512,
    PS256,
    PS384,
    PS512,
    RS256,
    RS384,
    RS512,
}

/// A key that can verify.
#[derive(Clone, Debug)]
pub struct Key {
    /// `kid`; a key without one is tried for every token.
    pub kid: Option<String>,
    /// What it may verify; never empty.
    pub algorithms: Vec<Algorithm>,
    /// The key, ready for the portable engine.
    pub public: PublicKey,
    /// SubjectPublicKeyInfo in DER (RFC 5280 section 4.1), for the host's engine; empty for `oct`.
    pub spki: Vec<u8>,
}

/// The keys of an issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

impl Algorithm {
    const ALL: [(&'static str, Self); 15] = [
        ("EdDSA", Self::EdDSA),
        // RFC 9864 section 2.2: the fully specified name.
        ("Ed25519", Self::EdDSA),
        ("ES256", Self::ES256),
        ("ES256K", Self::ES256K),
        ("ES384", Self::ES384),
        ("ES512", Self::ES512),
        ("HS256", Self::HS256),
        ("HS384", Self::HS384),
        ("HS512", Self::HS512),
        ("PS256", Self::PS256),
        ("PS384", Self::PS384),
        ("PS512", Self::PS512),
        ("RS256", Self::RS256),
        ("RS384", Self::RS384),
        ("RS512", Self::RS512),
    ];

    /// Every name and its algorithm.
    pub fn names() -> impl Iterator<Item = (&'static str, Self)> {
        Self::ALL.into_iter()
    }

    /// The algorithm of this name, compared exactly; `none` is none.
    pub fn parse(name: &str) -> Option<Self> {
        Self::names().find(|(known, _)| *known == name).map(|(_, algorithm)| algorithm)
    }

    /// The name.
    pub fn name(self) -> &'static str {
        Self::names().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    /// Whether verifier and signer share the key.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::HS256 | Self::HS384 | Self::HS512)
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl KeySet {
    /// The keys that may be tried for a token: of its `kid` or without one, all of them for a token
    /// without `kid`; always only such as allow the algorithm.
    pub fn candidates<'k>(
        &'k self,
        kid: Option<&'k str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'k Key> {
        self.keys.iter().filter(move |key| {
            let named = kid.is_none() || key.kid.is_none() || key.kid.as_deref() == kid;
            named && key.algorithms.contains(&algorithm)
        })
    }

    /// Whether some key allows the algorithm.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|key| key.algorithms.contains(&algorithm))
    }

    /// All keys, in the set's order.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
