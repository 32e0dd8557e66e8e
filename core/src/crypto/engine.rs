//! What checks signatures.

use super::{Algorithm, Key};

/// Checks signatures. A key is only used with algorithms that it allows: [`crate::jwks`] ensures that.
pub trait SignatureEngine {
    /// The name in metrics of the engine that checks an algorithm.
    fn name(&self, algorithm: Algorithm) -> &'static str;

    /// Whether `signature` (as in the token: for ECDSA `r || s`) is the key's over `signed`.
    ///
    /// # Errors
    /// The engine failed, which is not a verdict on the signature.
    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: &Key,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool, EngineFailed>;
}

/// Another engine, with a record of each check.
pub struct Counting<'e> {
    engine: &'e mut dyn SignatureEngine,
    /// The checks so far, see [`crate::decide::Report::signature_checks`].
    pub checks: Vec<(Algorithm, &'static str)>,
}

impl<'e> Counting<'e> {
    /// A record without checks.
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

/// The engine could not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineFailed;
