//! Key sets -> keys that know their algorithm.
//!
//! A key says what it may verify: by its type, its curve, its `alg`, `use` and `key_ops` (RFC 7517
//! section 4, RFC 8725 section 3.1). A token only names a key; it never chooses how a key is used, and
//! brings none along.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::reader::Problems;
use crate::verify::portable::PublicKey;
pub(crate) use index::Fit;
use index::Index;

pub mod der;
mod index;
mod jwk;
pub(crate) mod pem;
mod published;
mod read;
mod thumbprint;

pub use read::{Origin, Published};

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

/// A key that can verify.
#[derive(Clone, Debug)]
pub struct Key {
    /// `kid`; a key without one is tried for every token.
    pub kid: Option<String>,
    /// What it may verify; never empty.
    pub algorithms: Vec<Algorithm>,
    /// The key, ready for the portable engine.
    pub public: PublicKey,
    /// SubjectPublicKeyInfo in DER (RFC 5280 section 4.1), for the host's engine; empty for `oct` and `AKP`.
    pub spki: Vec<u8>,
    /// What tells it from other keys.
    pub material: Material,
    /// RFC 7638; none for `oct`, whose thumbprint would tell of the secret.
    pub thumbprint: Option<String>,
}

/// What a key is, whatever it is called: the bytes of its RFC 7638 thumbprint. For `oct` they are a hash of the
/// secret, and are told to nobody.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Material([u8; 32]);

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material(..)")
    }
}

/// When a key is tried for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// With the keys of the token's `kid`.
    Named,
    /// With the keys without `kid`, after those of the token's.
    Unnamed,
    /// With every key: the token has no `kid`.
    Every,
}

/// The keys of an issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
    index: Index,
    generation: u64,
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

impl Key {
    /// Its size as one speaks of it: of an RSA modulus, of a curve's field, of a secret.
    pub fn bits(&self) -> usize {
        self.public.bits()
    }
}

impl KeySet {
    /// A set of its own generation.
    fn new(keys: Vec<Key>) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let generation = LAST.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Self { index: Index::of(&keys), keys, generation }
    }

    /// A number that no other set that was read in this process has. What was found out with one set
    /// says nothing under another.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Only the keys of these thumbprints, or all where there are none.
    pub(crate) fn pinned(mut self, pins: &[String], problems: &Problems) -> Self {
        if !pins.is_empty() {
            self.keys.retain(|key| {
                let kept = key.thumbprint.as_ref().is_some_and(|print| pins.contains(print));
                if !kept {
                    let name = key.kid.as_deref().unwrap_or_default();
                    problems.warning("", format!("key `{name}` is skipped: no pin of `jwksPins`"));
                }
                kept
            });
            return Self::new(self.keys);
        }
        self
    }

    /// The keys that may be tried for a token: of its `kid` and then those without one, all of them for a
    /// token without `kid`; always only such as allow the algorithm.
    pub fn candidates<'k>(
        &'k self,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'k Key> + use<'k> {
        let (first, then) = match kid {
            Some(_) => (Turn::Named, Some(Turn::Unnamed)),
            None => (Turn::Every, None),
        };
        let then = then.map(|turn| self.of_turn(turn, kid, algorithm));
        self.of_turn(first, kid, algorithm).chain(then.into_iter().flatten())
    }

    /// Those of them whose turn it is.
    pub fn of_turn<'k>(
        &'k self,
        turn: Turn,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'k Key> + use<'k> {
        let indices = match turn {
            Turn::Named => kid.map_or(&[][..], |kid| self.index.named(kid)),
            Turn::Unnamed => self.index.unnamed(algorithm),
            Turn::Every => self.index.every(algorithm),
        };
        let keys = indices.iter().filter_map(|index| self.keys.get(*index));
        keys.filter(move |key| key.algorithms.contains(&algorithm))
    }

    /// Whether a key of this material may be tried for a token of this `kid`.
    pub(crate) fn offers(
        &self,
        material: &Material,
        kid: Option<&str>,
        algorithm: Algorithm,
    ) -> bool {
        let fits = |turn| self.index.fits(&(*material, algorithm, turn));
        match kid {
            None => fits(Turn::Every),
            Some(_) if fits(Turn::Unnamed) => true,
            Some(_) => self.of_turn(Turn::Named, kid, algorithm).any(|k| k.material == *material),
        }
    }

    /// How many keys have one `kid`, at most.
    pub(crate) fn most_of_a_kid(&self) -> usize {
        self.index.most_of_a_kid()
    }

    /// Whether some key has this `kid`, whatever it may verify.
    pub fn lists(&self, kid: &str) -> bool {
        !self.index.named(kid).is_empty()
    }

    /// Whether some key allows the algorithm.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        !self.index.every(algorithm).is_empty()
    }

    /// All keys, in the set's order.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
