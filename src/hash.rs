//! Maps that nobody else can fill: their keys are the configuration's, or few, or hashes with a seed of their own.
//!
//! A request only asks them, so that nobody can prepare many keys of one hash; a fast hash will do where the standard
//! library's guards against that.

use foldhash::fast::FixedState;

/// A map with a fast hash.
pub(crate) type FastMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A set with a fast hash.
pub(crate) type FastSet<K> = std::collections::HashSet<K, FixedState>;
