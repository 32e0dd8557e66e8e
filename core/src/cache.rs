//! Tokens that were verified, so that a request with one of them costs a look-up and no signature.
//!
//! INVARIANT (cache scope): an entry answers for nothing but what it was verified for. That is the whole
//! token, compared byte by byte; the very places it stood at, since a rule only reads its own; and one
//! generation of configuration and keys, since another one may refuse it. A cache that forgets one of
//! these is a hole in the door (CVE-2021-32701: Ory Oathkeeper answered for a scope from a cached check
//! of another one). What time and policies say is judged at each request, cached or not; a refused token
//! is never kept, so that spoofed ones, however many, drive nothing out.

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

/// Which configuration with which keys: no two are ever the same.
#[derive(Debug)]
pub struct Generation(Cell<u64>);

/// The cache of one worker.
#[derive(Debug, Default)]
pub struct TokenCache {
    bounds: TokenCacheBounds,
    /// The generation that all entries are of, of configuration and of fetched keys.
    generation: Option<(u64, u64)>,
    /// Where a token's entry is, by its hash. Two tokens of one hash displace each other; that is an
    /// entry lost, never a wrong one found.
    index: FastMap<u64, usize>,
    seed: Seed,
    entries: Queue<Entry>,
    bytes: usize,
    counts: Counts,
}

/// What the cache did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Tokens that were found.
    pub hits: u64,
    /// Tokens that were not, or whose time was over.
    pub misses: u64,
    /// Tokens that had to go to make room.
    pub evictions: u64,
}

/// What the cache had to say about a request's token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It was verified before.
    Hit,
    /// It had to be verified.
    Miss,
}

/// Seeded by the host's random source. Only tokens that somebody signed are kept, so that nobody can prepare many
/// of one hash, and two of one hash would only displace each other: a fast hash will do.
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
    /// A generation that there never was before.
    pub fn new() -> Self {
        Self(Cell::new(Self::next()))
    }

    /// Begins another generation: for whoever changes a key.
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
    /// Makes the cache one of `generation` and of the fetched keys' `epoch` (see
    /// [`crate::remote::JwksCache::epoch`]): entries of another one go, and `bounds` hold from now on.
    pub fn enter(&mut self, generation: &Generation, epoch: u64, bounds: TokenCacheBounds) {
        let number = (generation.0.get(), epoch);
        if self.generation != Some(number) {
            let counts = self.counts;
            *self = Self { bounds, counts, generation: Some(number), ..Self::default() };
        }
    }

    /// Whether anything is kept at all.
    pub fn is_on(&self) -> bool {
        self.bounds.entries > 0
    }

    /// The token that stands at `places`, if it was verified before and its time is not over at `now`.
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
            // Time does not come back. Another rule may still accept the token: it is verified anew.
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

    /// How many tokens are kept.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that they take.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it did so far, in all generations.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn remove(&mut self, at: usize) {
        if let Some(entry) = self.entries.remove(at) {
            self.index.remove(&entry.hash);
            self.bytes = self.bytes.saturating_sub(entry.bytes);
        }
    }

    /// By the token's end only, which is its signature and so as good as random in what is kept: hashing
    /// all of a token would cost more than everything else here.
    fn hash(&self, token: &[u8], places: &[usize]) -> u64 {
        let end = token.last_chunk::<TAIL>().map_or(token, |tail| tail.as_slice());
        self.seed.0.hash_one((end, token.len(), places))
    }
}

/// An entry's place in the queue and in the index, both of which may have grown to twice what they need.
const PLACE: usize = 2 * (Queue::<Entry>::SLOT + size_of::<(u64, usize)>() + 1);

/// Of the 86 characters of the shortest signature (ES256, EdDSA): 192 bits.
const TAIL: usize = 32;

#[cfg(test)]
mod tests;
