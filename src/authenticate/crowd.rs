//! Where more keys fit one token than are tried for it (`limits.signatureChecks`): worth a word, since a token of the
//! last of them may be refused.

use std::collections::{BTreeMap, BTreeSet};

use super::{JwtRule, JwtRules};
use crate::jwks::{Algorithm, Key, Material};
use crate::remote::Ring;

/// More keys of one algorithm than are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crowd {
    /// The first rule for their issuer.
    pub rule: usize,
    /// What they verify.
    pub algorithm: Algorithm,
    /// How many fit a token without `kid`.
    pub keys: usize,
    /// How many fit a token of some `kid`: keys of that `kid` and keys without one.
    pub of_a_kid: usize,
}

impl Crowd {
    /// In words, for whoever configures it.
    pub fn problem(&self, budget: usize) -> String {
        let Self { algorithm, keys, of_a_kid, .. } = self;
        let which = if *of_a_kid > budget { "with or without `kid`" } else { "without `kid`" };
        format!(
            "{keys} keys for {algorithm} fit one token {which}, and only {budget} are tried for it \
             (`limits.signatureChecks`): a token of another one is refused as `key_unknown`"
        )
    }
}

/// The worst of each issuer's algorithms, as far as its keys are known.
pub fn crowds(rules: &JwtRules, ring: &Ring) -> Vec<Crowd> {
    let all = rules.rules.iter().filter_map(|rule| rule.keys.known(ring));
    if all.map(|set| set.keys().len()).sum::<usize>() <= rules.signature_checks {
        return Vec::new();
    }
    let any = Group::of(rules, &rules.any_issuer, ring);
    let none = Group::default();
    let named = rules.by_issuer.values().map(|indices| Group::of(rules, indices, ring));
    let mut crowds: Vec<Crowd> =
        named.filter_map(|group| group.crowd(&any, rules.signature_checks)).collect();
    crowds.extend(any.crowd(&none, rules.signature_checks));
    crowds.sort_unstable_by_key(|crowd| crowd.rule);
    crowds.dedup_by_key(|crowd| crowd.rule);
    crowds
}

/// The keys of rules for the same tokens.
#[derive(Default)]
struct Group {
    first: Option<usize>,
    by_algorithm: BTreeMap<Algorithm, Fitting>,
}

#[derive(Default)]
struct Fitting {
    every: BTreeSet<Material>,
    unnamed: BTreeSet<Material>,
    by_kid: BTreeMap<String, BTreeSet<Material>>,
}

impl Group {
    fn of(rules: &JwtRules, indices: &[usize], ring: &Ring) -> Self {
        let mut group = Self { first: indices.first().copied(), ..Self::default() };
        let mut seen = BTreeSet::new();
        for rule in indices.iter().filter_map(|index| rules.rules.get(*index)) {
            let Some(set) = rule.keys.known(ring) else { continue };
            // Rules that share their keys do not add to them.
            if !seen.insert((set.generation(), rule.algorithms.clone())) {
                continue;
            }
            for key in set.keys() {
                for algorithm in key.algorithms.iter().filter(|a| offers(rule, **a)) {
                    group.by_algorithm.entry(*algorithm).or_default().add(key);
                }
            }
        }
        group
    }

    /// With the keys of the rules for any issuer.
    fn crowd(&self, any: &Self, budget: usize) -> Option<Crowd> {
        let rule = self.first?;
        let none = Fitting::default();
        let crowd = |(algorithm, own): (&Algorithm, &Fitting)| {
            let any = any.by_algorithm.get(algorithm).unwrap_or(&none);
            let new = own.every.iter().filter(|key| !any.every.contains(*key)).count();
            let named = own.most_of_a_kid().max(any.most_of_a_kid());
            let unnamed = own.unnamed.union(&any.unnamed).count();
            let keys = any.every.len().saturating_add(new);
            Crowd { rule, algorithm: *algorithm, keys, of_a_kid: named.saturating_add(unnamed) }
        };
        let crowds = self.by_algorithm.iter().map(crowd);
        crowds.filter(|crowd| crowd.keys > budget).max_by_key(|crowd| crowd.keys)
    }
}

impl Fitting {
    fn add(&mut self, key: &Key) {
        self.every.insert(key.material);
        match &key.kid {
            Some(kid) => self.by_kid.entry(kid.clone()).or_default().insert(key.material),
            None => self.unnamed.insert(key.material),
        };
    }

    fn most_of_a_kid(&self) -> usize {
        self.by_kid.values().map(BTreeSet::len).max().unwrap_or_default()
    }
}

fn offers(rule: &JwtRule, algorithm: Algorithm) -> bool {
    rule.algorithms.as_ref().is_none_or(|listed| listed.contains(&algorithm))
}
