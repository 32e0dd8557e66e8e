//! State that outlives a request.

use crate::cache::TokenCache;
use crate::crypto::{SignatureEngine, portable::Portable};
use crate::remote::JwksCache;

/// State that outlives a request and belongs to one worker.
pub struct WorkerState {
    /// The signature engine.
    pub engine: Box<dyn SignatureEngine>,
    /// Tokens that were verified.
    pub cache: TokenCache,
    /// The fetched key sets.
    pub jwks_cache: JwksCache,
    /// Whether decisions describe their steps ([`super::Report::steps`]).
    pub trace: Trace,
}

/// How much of an evaluation is described.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trace {
    /// Each step, for people, and the result of each rule.
    Rules,
    /// Each step, for people.
    Steps,
    /// Nothing, for speed.
    Off,
}

impl WorkerState {
    /// A worker state that checks signatures without the host's help.
    pub fn portable() -> Self {
        Self::new(Box::new(Portable))
    }

    /// A worker state that checks signatures with `engine`.
    pub fn new(engine: Box<dyn SignatureEngine>) -> Self {
        let (cache, jwks_cache) = (TokenCache::default(), JwksCache::default());
        Self { engine, cache, jwks_cache, trace: Trace::Off }
    }
}
