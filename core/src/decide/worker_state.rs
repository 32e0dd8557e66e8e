//! What lives longer than a request.

use crate::cache::TokenCache;
use crate::crypto::{SignatureEngine, portable::Portable};
use crate::remote::JwksCache;

/// What lives longer than a request and belongs to one worker.
pub struct WorkerState {
    /// What checks signatures.
    pub engine: Box<dyn SignatureEngine>,
    /// Tokens that were verified.
    pub cache: TokenCache,
    /// The key sets that were fetched.
    pub jwks_cache: JwksCache,
    /// Whether decisions tell their steps in words ([`super::Report::steps`]).
    pub trace: Trace,
}

/// Whether a way is told in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Each step, for people, and what each rule says of the request.
    Rules,
    /// Each step, for people.
    Steps,
    /// Nothing, for speed.
    Off,
}

impl WorkerState {
    /// A session that checks signatures without the host's help.
    pub fn portable() -> Self {
        Self::new(Box::new(Portable))
    }

    /// A session that checks signatures with `engine`.
    pub fn new(engine: Box<dyn SignatureEngine>) -> Self {
        let (cache, jwks_cache) = (TokenCache::default(), JwksCache::default());
        Self { engine, cache, jwks_cache, trace: Trace::Off }
    }
}
