//! The fetched key sets, as a decision finds them.
//!
//! Refreshing stores them, [`Keys::current`] reads one. A decision without the key that it needs
//! returns [which one](MissingKey); refreshing decides whether that is worth waiting for.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

use crate::jwks::KeySet;
use crate::policy::{Keys, Remote};
use crate::time::UnixSeconds;

/// The fetched sets of a worker. Clones are the same cache.
#[derive(Clone, Debug, Default)]
pub struct JwksCache {
    held: Rc<RefCell<HashMap<String, CachedJwks>>>,
    epoch: Rc<Cell<u64>>,
}

/// A fetched set.
#[derive(Clone, Debug)]
pub struct CachedJwks {
    /// The keys; `None`: none fetched yet.
    pub keys: Option<Rc<KeySet>>,
    /// When their server last confirmed them.
    pub fetched_at: UnixSeconds,
    /// When the next fetch is due.
    pub retry_at: UnixSeconds,
    /// Whether the server has ever listed a key.
    pub heard: Heard,
}

/// Whether a server has ever listed a key: from then on it alone decides which keys count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Never: the keys in the configuration are used.
    Never,
    /// It has, even if it lists none now.
    Once,
}

/// The key that a decision needed and did not have.
#[derive(Clone, Debug)]
pub struct MissingKey {
    /// The rule's keys.
    pub remote: Rc<Remote>,
    /// The key that is not in the set; `None`: there is no set.
    pub kid: Option<String>,
}

/// There is no set to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable {
    /// Seconds until there may be one.
    pub retry_after: u64,
}

/// `Retry-After` is never longer than this: the last back-off step.
const RETRY_AFTER: u64 = 60;

impl Keys {
    /// The set in force at `now`.
    ///
    /// # Errors
    /// There is no such set.
    pub fn current(
        &self,
        jwks_cache: &JwksCache,
        now: UnixSeconds,
    ) -> Result<Rc<KeySet>, Unavailable> {
        let remote = match self {
            Self::Inline(keys) => return Ok(Rc::clone(keys)),
            Self::Remote(remote) => remote,
        };
        let held = jwks_cache.held(&remote.source.id());
        let Some(held) = held else {
            return remote.inline.clone().ok_or(Unavailable { retry_after: 1 });
        };
        // Once its server has listed a key, the keys in the configuration are out of date: the server
        // may have withdrawn them. A server that has listed none so far has withdrawn nothing.
        if let Some(own) = remote.inline.as_ref().filter(|_| held.heard == Heard::Never) {
            return Ok(Rc::clone(own));
        }
        let max_stale = remote.terms.max_stale.as_secs();
        let usable = now < held.fetched_at.saturating_add(max_stale);
        held.keys.filter(|_| usable).ok_or_else(|| Unavailable::until(held.retry_at, now))
    }

    /// The newest known set, however old.
    pub fn known(&self, jwks_cache: &JwksCache) -> Option<Rc<KeySet>> {
        match self {
            Self::Inline(keys) => Some(Rc::clone(keys)),
            Self::Remote(remote) => {
                let held = jwks_cache.held(&remote.source.id());
                let heard = held.as_ref().map_or(Heard::Never, |held| held.heard);
                let own = remote.inline.clone().filter(|_| heard == Heard::Never);
                own.or_else(|| held.and_then(|held| held.keys))
            }
        }
    }

    /// The remote, if it is one.
    pub fn remote(&self) -> Option<&Rc<Remote>> {
        match self {
            Self::Inline(_) => None,
            Self::Remote(remote) => Some(remote),
        }
    }
}

impl Unavailable {
    fn until(retry_at: UnixSeconds, now: UnixSeconds) -> Self {
        Self { retry_after: retry_at.since(now).clamp(1, RETRY_AFTER) }
    }
}

impl JwksCache {
    /// The cached set of the source with this id.
    pub fn held(&self, id: &str) -> Option<CachedJwks> {
        self.held.try_borrow().ok()?.get(id).cloned()
    }

    /// A number that changes whenever some keys change.
    pub fn epoch(&self) -> u64 {
        self.epoch.get()
    }

    /// Stores the state of a source.
    pub fn hold(&self, id: &str, held: CachedJwks) {
        let generation = |held: &CachedJwks| held.keys.as_ref().map(|keys| keys.generation());
        let new = generation(&held);
        if let Ok(mut all) = self.held.try_borrow_mut() {
            let old = all.insert(id.to_owned(), held);
            self.turn(old.as_ref().map(generation) != Some(new));
        }
    }

    /// Removes a source that is no longer used.
    pub fn forget(&self, id: &str) {
        if let Ok(mut all) = self.held.try_borrow_mut() {
            self.turn(all.remove(id).is_some());
        }
    }

    /// INVARIANT (cache scope): no key changes within an epoch.
    fn turn(&self, changed: bool) {
        if changed {
            self.epoch.set(self.epoch.get().wrapping_add(1));
        }
    }
}
