//! Finding keys of a set by what a token says, without a look at each of them.

use super::{Algorithm, Key, Material};
use crate::hash::{FastMap, FastSet};

/// Where keys stand in their set.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    by_kid: FastMap<String, Vec<usize>>,
    by_algorithm: FastMap<Algorithm, Fitting>,
    /// Sorted, so that keys of one material stand together.
    by_material: Vec<(Material, usize)>,
}

/// The keys that allow an algorithm, each material once.
#[derive(Clone, Debug, Default)]
struct Fitting {
    every: Vec<usize>,
    unnamed: Vec<usize>,
}

impl Index {
    pub(super) fn of(keys: &[Key]) -> Self {
        let mut index = Self::default();
        let (mut every, mut unnamed) = (FastSet::default(), FastSet::default());
        for (at, key) in keys.iter().enumerate() {
            if let Some(kid) = &key.kid {
                index.by_kid.entry(kid.clone()).or_default().push(at);
            }
            for algorithm in &key.algorithms {
                let fitting = index.by_algorithm.entry(*algorithm).or_default();
                if every.insert((key.material, *algorithm)) {
                    fitting.every.push(at);
                }
                if key.kid.is_none() && unnamed.insert((key.material, *algorithm)) {
                    fitting.unnamed.push(at);
                }
            }
            index.by_material.push((key.material, at));
        }
        index.by_material.sort_unstable();
        index
    }

    /// The keys of this `kid`.
    pub(super) fn named(&self, kid: &str) -> &[usize] {
        self.by_kid.get(kid).map(Vec::as_slice).unwrap_or_default()
    }

    /// The keys without `kid` that allow the algorithm.
    pub(super) fn unnamed(&self, algorithm: Algorithm) -> &[usize] {
        self.by_algorithm.get(&algorithm).map(|f| f.unnamed.as_slice()).unwrap_or_default()
    }

    /// Every key that allows the algorithm.
    pub(super) fn fitting(&self, algorithm: Algorithm) -> &[usize] {
        self.by_algorithm.get(&algorithm).map(|f| f.every.as_slice()).unwrap_or_default()
    }

    /// The keys of this material.
    pub(super) fn of_material(&self, material: &Material) -> impl Iterator<Item = usize> {
        let begin = self.by_material.partition_point(|(known, _)| known < material);
        let same =
            self.by_material.iter().skip(begin).take_while(move |(known, _)| known == material);
        same.map(|(_, at)| *at)
    }
}
