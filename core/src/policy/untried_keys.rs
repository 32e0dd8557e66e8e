//! Where more keys fit one token than are tried for it (`limits.signatureChecks`): worth a warning, since a token
//! signed with the last of them may be refused.

use std::rc::Rc;

use super::{Issuers, JwtRule, Keys};
use crate::crypto::Algorithm;
use crate::hash::FastSet;
use crate::jwks::{Fit, KeySet, Turn};

/// An algorithm with more keys than are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UntriedKeys {
    /// The first rule for their issuer.
    pub rule: usize,
    /// The algorithm of the keys.
    pub algorithm: Algorithm,
    /// The number of keys that fit a token without `kid`.
    pub keys: usize,
    /// The largest number of keys that fit a token with a `kid`: keys with that `kid` and keys without one.
    pub of_a_kid: usize,
}

impl UntriedKeys {
    /// The warning for the operator.
    pub fn problem(&self, budget: usize) -> String {
        let Self { algorithm, keys, of_a_kid, .. } = self;
        let which = if *of_a_kid > budget { "with or without `kid`" } else { "without `kid`" };
        format!(
            "{keys} keys for {algorithm} fit one token {which}, and only {budget} are tried for it \
             (`limits.signatureChecks`): a token of another one is refused as `key_unknown`"
        )
    }
}

/// The keys of a rule, as far as they are known.
pub type Known<'k> = &'k dyn Fn(&Keys) -> Option<Rc<KeySet>>;

/// The worst algorithm of each issuer, as far as its keys are known.
pub fn untried(
    rules: &[JwtRule],
    issuers: &Issuers,
    budget: usize,
    known: Known<'_>,
) -> Vec<UntriedKeys> {
    let all = rules.iter().filter_map(|rule| known(&rule.keys));
    if all.map(|set| set.keys().len()).sum::<usize>() <= budget {
        return Vec::new();
    }
    let any = Group::of(rules, &issuers.any, None, known);
    let mut untried = Vec::new();
    // In file order: each issuer's with its first rule.
    for (index, rule) in rules.iter().enumerate() {
        let indices = match &rule.issuer {
            Some(issuer) => issuers.named.get(issuer),
            None => Some(&issuers.any),
        };
        let Some(indices) = indices.filter(|indices| indices.first() == Some(&index)) else {
            continue;
        };
        let own = rule.issuer.as_ref().map(|_| Group::of(rules, indices, Some(&any), known));
        untried.extend(own.as_ref().unwrap_or(&any).worst(index, budget));
    }
    untried
}

/// The keys of rules for the same tokens.
#[derive(Default)]
struct Group {
    fits: FastSet<Fit>,
    counts: Vec<Count>,
    most_of_a_kid: usize,
}

#[derive(Clone, Copy)]
struct Count {
    algorithm: Algorithm,
    every: usize,
    unnamed: usize,
}

impl Group {
    /// The keys of these rules, and of those for any issuer.
    fn of(rules: &[JwtRule], indices: &[usize], any: Option<&Self>, known: Known<'_>) -> Self {
        let mut group = Self {
            counts: any.map(|any| any.counts.clone()).unwrap_or_default(),
            most_of_a_kid: any.map_or(0, |any| any.most_of_a_kid),
            ..Self::default()
        };
        for rule in indices.iter().filter_map(|index| rules.get(*index)) {
            let Some(set) = known(&rule.keys) else { continue };
            // In the worst case the sets share that `kid`.
            group.most_of_a_kid = group.most_of_a_kid.saturating_add(set.most_of_a_kid());
            for key in set.keys() {
                for algorithm in key.algorithms.iter().filter(|a| offers(rule, **a)) {
                    let turns = [Some(Turn::Every), key.kid.is_none().then_some(Turn::Unnamed)];
                    for turn in turns.into_iter().flatten() {
                        group.add((key.material, *algorithm, turn), any);
                    }
                }
            }
        }
        group
    }

    fn add(&mut self, fit: Fit, any: Option<&Self>) {
        if any.is_some_and(|any| any.fits.contains(&fit)) || !self.fits.insert(fit) {
            return;
        }
        let (_, algorithm, turn) = fit;
        if !self.counts.iter().any(|count| count.algorithm == algorithm) {
            self.counts.push(Count { algorithm, every: 0, unnamed: 0 });
        }
        if let Some(count) = self.counts.iter_mut().find(|count| count.algorithm == algorithm) {
            let count = match turn {
                Turn::Unnamed => &mut count.unnamed,
                Turn::Named | Turn::Every => &mut count.every,
            };
            *count = count.saturating_add(1);
        }
    }

    fn worst(&self, rule: usize, budget: usize) -> Option<UntriedKeys> {
        let worst = self.counts.iter().max_by_key(|count| count.every)?;
        let Count { algorithm, every: keys, unnamed } = *worst;
        let of_a_kid = self.most_of_a_kid.saturating_add(unnamed);
        (keys > budget).then_some(UntriedKeys { rule, algorithm, keys, of_a_kid })
    }
}

fn offers(rule: &JwtRule, algorithm: Algorithm) -> bool {
    rule.algorithms.as_ref().is_none_or(|listed| listed.contains(&algorithm))
}
