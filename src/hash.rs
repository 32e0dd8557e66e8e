//! Maps by what a configuration says.
//!
//! Who writes the configuration chooses the keys, and a request only asks: nobody can fill such a map with keys of one
//! hash, so that a fast hash will do where the standard library's guards against that.

use foldhash::fast::FixedState;

/// A map with a fast hash.
pub(crate) type FastMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A set with a fast hash.
pub(crate) type FastSet<K> = std::collections::HashSet<K, FixedState>;
