//! Maps that no client can fill: their keys come from the configuration, or are few, or are hashes with their own
//! seed.
//!
//! A request only looks them up, so that a client cannot prepare many keys of one hash; a fast hash suffices where the
//! standard library's hash protects against that.

use foldhash::fast::FixedState;

/// A map with a fast hash.
pub type FastMap<K, V> = std::collections::HashMap<K, V, FixedState>;

/// A set with a fast hash.
pub type FastSet<K> = std::collections::HashSet<K, FixedState>;

/// The bit of a name's length; all long ones share the last. The lengths of a set's names exclude most other names
/// without a hash.
pub(crate) fn length_bit(name: &[u8]) -> u64 {
    1_u64.wrapping_shl(u32::try_from(name.len()).unwrap_or(u32::MAX).min(63))
}
