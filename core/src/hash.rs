//! Maps that nobody else can fill: their keys are the configuration's, or few, or hashes with a seed of their own.
//!
//! A request only asks them, so that nobody can prepare many keys of one hash; a fast hash will do where the standard
//! library's guards against that.

use foldhash::fast::FixedState;

/// A map with a fast hash.
pub type FastMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A set with a fast hash.
pub type FastSet<K> = std::collections::HashSet<K, FixedState>;

/// The bit of a name's length; all long ones share the last. Most names are known to be none of a set's by the lengths
/// that these have, without a hash.
pub(crate) fn length_bit(name: &[u8]) -> u64 {
    1_u64.wrapping_shl(u32::try_from(name.len()).unwrap_or(u32::MAX).min(63))
}
