//! What each byte of a path is (RFC 3986 section 3.3).

/// What a byte of a path is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Other bytes that a segment may contain (RFC 3986 section 3.3).
    Delimiter,
    Dot,
    Other,
    Percent,
    /// Must not be unencoded in a path; a backslash neither.
    Raw,
    Slash,
    /// RFC 3986 section 2.3, but for the dot.
    Unreserved,
}

/// A table look-up costs less than a comparison with each of them.
pub(crate) fn kind(byte: u8) -> Kind {
    KINDS.get(usize::from(byte)).copied().unwrap_or(Kind::Other)
}

#[expect(clippy::indexing_slicing, reason = "done by the compiler")]
static KINDS: [Kind; 256] = {
    let mut kinds = [Kind::Other; 256];
    let (mut at, mut byte) = (0, 0);
    while at < kinds.len() {
        kinds[at] = match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'~' => Kind::Unreserved,
            b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => Kind::Raw,
            b'.' => Kind::Dot,
            b'/' => Kind::Slash,
            b'%' => Kind::Percent,
            b'!' | b'$'..=b'.' | b':' | b';' | b'=' | b'@' => Kind::Delimiter,
            _ => Kind::Other,
        };
        at += 1;
        byte = byte.wrapping_add(1);
    }
    kinds
};

/// Bytes that a segment may contain (docs/semantics.md, "Path templates").
pub(crate) fn is_segment_byte(byte: u8) -> bool {
    matches!(kind(byte), Kind::Unreserved | Kind::Dot | Kind::Percent | Kind::Delimiter)
}
