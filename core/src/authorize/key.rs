//! What a text must be like for a rule to match: what the index files rules under.

/// What a text must be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// This text.
    Exact(Box<[u8]>),
    /// Begins so.
    Prefix(Box<[u8]>),
    /// Is a path with this segment at this place, counted from 0.
    Segment(usize, Box<[u8]>),
    /// Ends so.
    Suffix(Box<[u8]>),
}
