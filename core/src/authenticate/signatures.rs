//! Which keys are tried for a token's signature, over all rules of its issuer and within one budget.
//!
//! A check costs more than everything else that a token can cause, so the number of checks for a token is
//! limited (`limits.signatureChecks`). The keys of its `kid` come first, from all rules, so that keys without
//! `kid` do not use up the budget of the named key; then come the keys without `kid`. Keys of all sets are
//! compared by their material, and none is checked twice.

use crate::compact::Compact;
use crate::crypto::SignatureEngine;
use crate::crypto::{Algorithm, Material};
use crate::denial::Denial;
use crate::hash::FastMap;
use crate::jwks::{KeySet, Turn};

/// What is known so far about one token's signature.
pub(super) struct Signatures<'t> {
    token: &'t Compact<'t>,
    budget: usize,
    /// The checks made so far.
    made: Vec<(Material, Result<bool, Denial>)>,
    /// The key that verified the signature.
    good: Option<Material>,
    /// The outcome for a set in this turn, by its generation: rules that share their keys share the work.
    sets: FastMap<u64, usize>,
    outcomes: Vec<Outcome>,
    /// Whether a key was not tried because the budget was spent.
    cut: bool,
}

/// The outcome of trying the keys of one set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A key of the set verifies the signature.
    Verified,
    /// No key does: why, as far as the keys of this turn show.
    Not(Denial),
}

impl<'t> Signatures<'t> {
    pub(super) fn new(token: &'t Compact<'t>, budget: usize) -> Self {
        let (made, sets, outcomes) = (Vec::new(), FastMap::default(), Vec::new());
        Self { token, budget, made, good: None, sets, outcomes, cut: false }
    }

    /// The turns in which keys are tried: any key may have signed a token without `kid`.
    pub(super) fn turns(&self) -> &'static [Turn] {
        match self.token.header.kid {
            Some(_) => &[Turn::Named, Turn::Unnamed],
            None => &[Turn::Every],
        }
    }

    /// Whether a key was left out because of the budget, so that the outcome is not final.
    pub(super) fn is_cut(&self) -> bool {
        self.cut
    }

    /// Tries the keys of a set that have their turn.
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
