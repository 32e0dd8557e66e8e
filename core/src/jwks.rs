//! Key sets -> keys with their algorithms.
//!
//! The algorithms that a key may verify follow from its type, its curve, its `alg`, `use` and `key_ops`
//! (RFC 7517 section 4, RFC 8725 section 3.1). A token only names a key; it never chooses how a key is
//! used, and never supplies one.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::codec::problems::Problems;
use crate::crypto::{Algorithm, Key, Material};
pub(crate) use index::Fit;
use index::Index;

mod index;
mod jwk;

mod read;

pub use read::{Origin, Published, parse};

/// When a key is tried for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Turn {
    /// With the keys of the token's `kid`.
    Named,
    /// With the keys without `kid`, after those with the token's `kid`.
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

impl KeySet {
    /// A set with its own generation.
    fn new(keys: Vec<Key>) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let generation = LAST.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        Self { index: Index::of(&keys), keys, generation }
    }

    /// A number that no other set read in this process has. Results from one set are not valid for
    /// another.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Only the keys with these thumbprints, or all keys without any.
    pub(crate) fn pinned(mut self, pins: &[String], problems: &Problems) -> Self {
        if !pins.is_empty() {
            self.keys.retain(|key| {
                let kept = key.thumbprint.as_ref().is_some_and(|print| pins.contains(print));
                if !kept {
                    let name = key.kid.as_deref().unwrap_or_default();
                    problems.warning(
                        "key-skipped",
                        "",
                        format!("key `{name}` is skipped: no pin of `jwksPins`"),
                    );
                }
                kept
            });
            return Self::new(self.keys);
        }
        self
    }

    /// The keys that may be tried for a token: those with its `kid` and then those without one, or all
    /// keys for a token without `kid`; always only keys that allow the algorithm.
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

    /// The candidates of this turn.
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

    /// Whether a key with this material may be tried for a token with this `kid`.
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

    /// The largest number of keys with the same `kid`.
    pub(crate) fn most_of_a_kid(&self) -> usize {
        self.index.most_of_a_kid()
    }

    /// Whether a key has this `kid`, for any algorithm.
    pub fn lists(&self, kid: &str) -> bool {
        !self.index.named(kid).is_empty()
    }

    /// Whether a key allows the algorithm.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        !self.index.every(algorithm).is_empty()
    }

    /// All keys, in the set's order.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }
}
