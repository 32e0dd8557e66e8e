//! Finding keys of a set by a token's header, without a search through all of them.

use super::Turn;
use crate::crypto::{Algorithm, Key, Material};
use crate::hash::{FastMap, FastSet};

/// A key's material, and an algorithm and a turn in which it is tried.
pub(crate) type Fit = (Material, Algorithm, Turn);

/// The positions of keys in their set.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_kid: FastMap<String, Vec<usize>>,
    by_algorithm: Vec<Fitting>,
    fits: FastSet<Fit>,
}

/// The keys that allow an algorithm, each material once.
#[derive(Clone, Debug)]
struct Fitting {
    algorithm: Algorithm,
    every: Vec<usize>,
    unnamed: Vec<usize>,
}

impl Index {
    pub(super) fn of(keys: &[Key]) -> Self {
        let mut index = Self::default();
        for (at, key) in keys.iter().enumerate() {
            if let Some(kid) = &key.kid {
                index.by_kid.entry(kid.clone()).or_default().push(at);
            }
            for algorithm in &key.algorithms {
                index.add(at, key, *algorithm);
            }
        }
        index
    }

    fn add(&mut self, at: usize, key: &Key, algorithm: Algorithm) {
        let every = self.fits.insert((key.material, algorithm, Turn::Every));
        let unnamed =
            key.kid.is_none() && self.fits.insert((key.material, algorithm, Turn::Unnamed));
        if !self.by_algorithm.iter().any(|fitting| fitting.algorithm == algorithm) {
            let (every, unnamed) = (Vec::new(), Vec::new());
            self.by_algorithm.push(Fitting { algorithm, every, unnamed });
        }
        let fitting = self.by_algorithm.iter_mut().find(|f| f.algorithm == algorithm);
        if let Some(fitting) = fitting {
            fitting.every.extend(every.then_some(at));
            fitting.unnamed.extend(unnamed.then_some(at));
        }
    }

    /// The keys with this `kid`.
    pub(super) fn named(&self, kid: &str) -> &[usize] {
        self.by_kid.get(kid).map(Vec::as_slice).unwrap_or_default()
    }

    /// The largest number of keys with the same `kid`.
    pub(super) fn most_of_a_kid(&self) -> usize {
        self.by_kid.values().map(Vec::len).max().unwrap_or_default()
    }

    /// The keys without `kid` that allow the algorithm.
    pub(super) fn unnamed(&self, algorithm: Algorithm) -> &[usize] {
        self.fitting(algorithm).map(|fitting| fitting.unnamed.as_slice()).unwrap_or_default()
    }

    /// Every key that allows the algorithm.
    pub(super) fn every(&self, algorithm: Algorithm) -> &[usize] {
        self.fitting(algorithm).map(|fitting| fitting.every.as_slice()).unwrap_or_default()
    }

    /// Whether a key with this material is tried in this turn.
    pub(super) fn fits(&self, fit: &Fit) -> bool {
        self.fits.contains(fit)
    }

    fn fitting(&self, algorithm: Algorithm) -> Option<&Fitting> {
        self.by_algorithm.iter().find(|fitting| fitting.algorithm == algorithm)
    }
}
