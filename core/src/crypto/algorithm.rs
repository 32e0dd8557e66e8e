//! The algorithms of JWS.

use std::fmt;

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037, RFC 8812; ML-DSA: draft-ietf-cose-dilithium).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is its own name in the registry of RFC 7518, hyphens aside")]
pub enum Algorithm {
    EdDSA,
    ES256,
    ES256K,
    ES384,
    ES512,
    HS256,
    HS384,
    HS512,
    MlDsa44,
    MlDsa65,
    MlDsa87,
    PS256,
    PS384,
    PS512,
    RS256,
    RS384,
    RS512,
}

impl Algorithm {
    const ALL: [(&'static str, Self); 18] = [
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
        ("ML-DSA-44", Self::MlDsa44),
        ("ML-DSA-65", Self::MlDsa65),
        ("ML-DSA-87", Self::MlDsa87),
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

    /// The algorithm of this name, compared exactly; `none` is not an algorithm.
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
