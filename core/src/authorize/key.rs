//! What a text must be like for a rule to match: the keys of the index.

/// What a text must be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// This text.
    Exact(Box<[u8]>),
    /// Begins with this.
    Prefix(Box<[u8]>),
    /// Is a path with this segment at this place, counted from 0.
    Segment(usize, Box<[u8]>),
    /// Ends with this.
    Suffix(Box<[u8]>),
}
