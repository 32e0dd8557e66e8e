//! What checks signatures.

use super::{Algorithm, Key};

/// What can check signatures. A key only ever meets algorithms that it allows: [`crate::jwks`] sees to
/// it.
pub trait SignatureEngine {
    /// What metrics call the engine that answers for an algorithm.
    fn name(&self, algorithm: Algorithm) -> &'static str;

    /// Whether `signature` (as in the token: for ECDSA `r || s`) is the key's over `signed`.
    ///
    /// # Errors
    /// The engine could not answer; that is no verdict on the signature.
    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: &Key,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool, EngineFailed>;
}

/// Another engine, with a note of each check.
pub struct Counting<'e> {
    engine: &'e mut dyn SignatureEngine,
    /// The checks so far, see [`crate::decide::Report::signature_checks`].
    pub checks: Vec<(Algorithm, &'static str)>,
}

impl<'e> Counting<'e> {
    /// Nothing checked yet.
    pub fn new(engine: &'e mut dyn SignatureEngine) -> Self {
        Self { engine, checks: Vec::new() }
    }
}

impl SignatureEngine for Counting<'_> {
    fn name(&self, algorithm: Algorithm) -> &'static str {
        self.engine.name(algorithm)
    }

    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: &Key,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool, EngineFailed> {
        self.checks.push((algorithm, self.engine.name(algorithm)));
        self.engine.verify(algorithm, key, signed, signature)
    }
}

/// The engine gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineFailed;
