//! Signature engines behind one trait: the [host]'s where it proved itself, the [portable] one elsewhere.

use crate::jwks::{Algorithm, Key};

pub mod host;
pub mod portable;

/// What can check signatures. A key only ever meets algorithms that it allows: [`crate::jwks`] sees to
/// it.
pub trait SignatureEngine {
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

/// The engine gave no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineFailed;
