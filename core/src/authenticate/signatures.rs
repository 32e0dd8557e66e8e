//! Which keys are tried for a token's signature, over all rules of its issuer and within one budget.
//!
//! A check costs more than everything else that a token can cause, so a token has a number of them
//! (`limits.signatureChecks`). First come the keys of its `kid`, of all rules, so that no rule's keys without
//! `kid` use up what the named key needs; then those. A key is the same by its material, whatever set it is
//! in, and is never checked twice.

use crate::compact::Compact;
use crate::crypto::SignatureEngine;
use crate::crypto::{Algorithm, Material};
use crate::denial::Denial;
use crate::hash::FastMap;
use crate::jwks::{KeySet, Turn};

/// What is known of one token's signature so far.
pub(super) struct Signatures<'t> {
    token: &'t Compact<'t>,
    budget: usize,
    /// The checks that were made.
    made: Vec<(Material, Result<bool, Denial>)>,
    /// The key whose signature it is.
    good: Option<Material>,
    /// What became of a set in this turn, by its generation: rules that share their keys share the work.
    sets: FastMap<u64, usize>,
    outcomes: Vec<Outcome>,
    /// Whether a key was not tried since the budget was spent.
    cut: bool,
}

/// What came of the keys of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The signature is one of a key of the set.
    Verified,
    /// It is not: why, as far as the keys of this turn can tell.
    Not(Denial),
}

impl<'t> Signatures<'t> {
    pub(super) fn new(token: &'t Compact<'t>, budget: usize) -> Self {
        let (made, sets, outcomes) = (Vec::new(), FastMap::default(), Vec::new());
        Self { token, budget, made, good: None, sets, outcomes, cut: false }
    }

    /// In which turns keys are tried: a token without `kid` may be any key's.
    pub(super) fn turns(&self) -> &'static [Turn] {
        match self.token.header.kid {
            Some(_) => &[Turn::Named, Turn::Unnamed],
            None => &[Turn::Every],
        }
    }

    /// Whether some key was left out for the budget, so that nobody knows all that could be known.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Tries the keys of a set whose turn it is.
    pub(super) fn check(
        &mut self,
        keys: &KeySet,
        turn: Turn,
        algorithm: Algorithm,
        engine: &mut dyn SignatureEngine,
    ) -> Outcome {
        let known = self.sets.get(&keys.generation());
        if let Some(outcome) = known.and_then(|at| self.outcomes.get(*at)) {
            return outcome.clone();
        }
        let outcome = self.try_keys(keys, turn, algorithm, engine);
        self.sets.insert(keys.generation(), self.outcomes.len());
        self.outcomes.push(outcome.clone());
        outcome
    }

    /// The next turn begins.
    pub(super) fn begin(&mut self) {
        self.sets.clear();
        self.outcomes.clear();
    }

    fn try_keys(
        &mut self,
        keys: &KeySet,
        turn: Turn,
        algorithm: Algorithm,
        engine: &mut dyn SignatureEngine,
    ) -> Outcome {
        let kid = self.token.header.kid.as_deref();
        if self.good.as_ref().is_some_and(|good| keys.offers(good, kid, algorithm)) {
            return Outcome::Verified;
        }
        let mut refusal = Denial::KeyUnknown;
        for key in keys.of_turn(turn, kid, algorithm) {
            let known = self.made.iter().find(|(material, _)| *material == key.material);
            let verdict = match known {
                Some((_, verdict)) => verdict.clone(),
                None if self.made.len() >= self.budget => {
                    self.cut = true;
                    return Outcome::Not(Denial::KeyUnknown);
                }
                None => {
                    let (signed, signature) = (self.token.signed, &self.token.signature);
                    let verdict = engine.verify(algorithm, key, signed, signature);
                    let verdict = verdict.map_err(|_| Denial::HostFailed);
                    self.made.push((key.material, verdict.clone()));
                    verdict
                }
            };
            match verdict {
                Ok(true) => {
                    self.good = Some(key.material);
                    return Outcome::Verified;
                }
                Ok(false) => refusal = Denial::SignatureInvalid,
                Err(failed) => return Outcome::Not(failed),
            }
        }
        Outcome::Not(refusal)
    }
}
