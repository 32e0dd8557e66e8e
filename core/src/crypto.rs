//! Algorithms, public keys, and the engines that check signatures with them: the [host]'s if it passed the
//! known-answer test, else the [portable] one.

mod algorithm;
mod engine;
pub mod host;
mod key;
pub mod portable;
mod published;
pub mod spki;
mod thumbprint;

pub use algorithm::Algorithm;
pub use engine::{Counting, EngineFailed, SignatureEngine};
pub use key::{InvalidKey, Key, Material, PublicKey, SharedKey};
