//! Tokens that were verified: a request with one of them costs a look-up and no signature check.
//!
//! INVARIANT (cache scope): an entry is valid only for what it was verified for. That is the whole token,
//! compared byte by byte; the places where it was found, since a rule only reads its own; and one generation of
//! configuration and keys, since another one may refuse it. A cache that omits one of these lets callers in
//! (CVE-2021-32701: Ory Oathkeeper answered for a scope from a cached check of another one). Time claims and
//! policies are checked at each request, cached or not. A refused token is never kept, so that spoofed tokens,
//! however many, evict no entry.

use std::cell::Cell;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use foldhash::fast::FixedState;

use crate::authenticate::{JwtRules, Verified};
use crate::hash::FastMap;
use crate::heap;
use crate::policy::TokenCacheBounds;
use crate::time::UnixSeconds;
use crate::token::same;

mod queue;

use queue::Queue;

/// A generation of configuration and keys: no two are ever the same.
#[derive(Debug)]
pub struct Generation(Cell<u64>);

/// The cache of one worker.
#[derive(Debug, Default)]
pub struct TokenCache {
    bounds: TokenCacheBounds,
    /// The generations of configuration and of fetched keys that all entries belong to.
    generation: Option<(u64, u64)>,
    /// The position of a token's entry, by its hash. Two tokens with one hash displace each other: an entry is
    /// lost, but a wrong one is never found.
    index: FastMap<u64, usize>,
    seed: Seed,
    entries: Queue<Entry>,
    bytes: usize,
    counts: Counts,
}

/// Counters of the cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Look-ups that found the token.
    pub hits: u64,
    /// Look-ups that did not find it, or found it expired.
    pub misses: u64,
    /// Tokens that were evicted to make room.
    pub evictions: u64,
}

/// The result of a look-up of a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was verified before.
    Hit,
    /// It had to be verified.
    Miss,
}

/// Seeded by the host's random source. Only signed tokens are kept, so that a client cannot prepare many with one
/// hash, and two with one hash would only displace each other: a fast hash suffices.
#[derive(Debug)]
struct Seed(FixedState);

impl Default for Seed {
    fn default() -> Self {
        Self(FixedState::with_seed(RandomState::new().hash_one(0)))
    }
}

#[derive(Debug)]
struct Entry {
    hash: u64,
    token: Box<[u8]>,
    places: Box<[usize]>,
    verified: Verified,
    bytes: usize,
}

impl Generation {
    /// A generation that never existed before.
    pub fn new() -> Self {
        Self(Cell::new(Self::next()))
    }

    /// Begins another generation: for a caller that changes a key.
    pub fn renew(&self) {
        self.0.set(Self::next());
    }

    fn next() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }
}

impl Default for Generation {
    fn default() -> Self {
        Self::new()
    }
}

impl TokenCache {
    /// Sets the cache to `generation` and to the fetched keys' `epoch` (see [`crate::remote::JwksCache::epoch`]):
    /// entries of others are dropped, and `bounds` apply from now on.
    pub fn enter(&mut self, generation: &Generation, epoch: u64, bounds: TokenCacheBounds) {
        let number = (generation.0.get(), epoch);
        if self.generation != Some(number) {
            let counts = self.counts;
            *self = Self { bounds, counts, generation: Some(number), ..Self::default() };
        }
    }

    /// Whether the cache is enabled.
    pub fn is_on(&self) -> bool {
        self.bounds.entries > 0
    }

    /// The token found at `places`, if it was verified before and is still valid at `now`.
    pub fn find(
        &mut self,
        token: &[u8],
        places: &[usize],
        rules: &JwtRules,
        now: UnixSeconds,
    ) -> Option<Verified> {
        let found = self.look_up(token, places, rules, now);
        let count = if found.is_some() { &mut self.counts.hits } else { &mut self.counts.misses };
        *count = count.saturating_add(1);
        found
    }

    fn look_up(
        &mut self,
        token: &[u8],
        places: &[usize],
        rules: &JwtRules,
        now: UnixSeconds,
    ) -> Option<Verified> {
        let at = *self.index.get(&self.hash(token, places))?;
        let entry = self.entries.get(at)?;
        if !same(&entry.token, token) || *entry.places != *places {
            return None;
        }
        if entry.verified.still_valid(rules, now).is_err() {
            // A token does not become valid again. Another rule may still accept it: it is verified again.
            self.remove(at);
            return None;
        }
        let verified = entry.verified.clone();
        self.entries.visit(at);
        Some(verified)
    }

    /// Keeps a token that was just verified at `places`.
    pub fn insert(&mut self, token: &[u8], places: &[usize], verified: &Verified) {
        let bytes = PLACE
            .saturating_add(heap::block(token.len()))
            .saturating_add(heap::block(size_of_val(places)))
            .saturating_add(verified.footprint());
        if !self.is_on() || bytes > self.bounds.bytes {
            return;
        }
        let hash = self.hash(token, places);
        if let Some(at) = self.index.get(&hash).copied() {
            self.remove(at);
        }
        while self.entries.len() >= self.bounds.entries
            || self.bytes.saturating_add(bytes) > self.bounds.bytes
        {
            let Some(at) = self.entries.victim() else { return };
            self.remove(at);
            self.counts.evictions = self.counts.evictions.saturating_add(1);
        }
        let entry = Entry {
            hash,
            token: token.into(),
            places: places.into(),
            verified: verified.clone(),
            bytes,
        };
        self.bytes = self.bytes.saturating_add(bytes);
        let at = self.entries.push(entry);
        self.index.insert(hash, at);
    }

    /// The number of tokens kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no token is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The counters so far, over all generations.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn remove(&mut self, at: usize) {
        if let Some(entry) = self.entries.remove(at) {
            self.index.remove(&entry.hash);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// Hashes the token's end only, which is its signature and therefore random for the tokens that are kept:
    /// hashing the whole token would cost more than everything else here.
    fn hash(&self, token: &[u8], places: &[usize]) -> u64 {
        let end = token.last_chunk::<TAIL>().map_or(token, |tail| tail.as_slice());
        self.seed.0.hash_one((end, token.len(), places))
    }
}

/// An entry's place in the queue and in the index, both of which may have grown to twice what they need.
const PLACE: usize = 2 * (Queue::<Entry>::SLOT + size_of::<(u64, usize)>() + 1);

/// The end of the shortest signature, which has 86 characters (ES256, EdDSA): 192 bits.
const TAIL: usize = 32;

#[cfg(test)]
mod tests;
