//! Percent codes (RFC 3986 section 2.1). By hand: half of the callers want one byte and where the text
//! goes on, and `percent-encoding` gives whole texts.

use std::borrow::Cow;

/// Decodes percent codes; a `%` without two hex digits stays, and so does `+`.
pub(crate) fn percent_decode(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, tail)) = first_decoded(rest) {
        decoded.push(byte);
        rest = tail;
    }
    Cow::Owned(decoded)
}

/// The percent code of a byte.
pub(crate) fn encoded(byte: u8) -> [u8; 3] {
    let digit = |four: u8| b"0123456789ABCDEF".get(usize::from(four)).copied().unwrap_or(b'0');
    [b'%', digit(byte >> 4), digit(byte & 15)]
}

/// Appends the percent code of a byte.
pub(crate) fn push_encoded(text: &mut String, byte: u8) {
    text.extend(encoded(byte).map(char::from));
}

/// The first byte of a text, percent-decoded, and what follows.
pub(crate) fn first_decoded(text: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'%', tail @ ..] = text
        && let Some(byte) = code(tail)
    {
        return Some((byte, tail.get(2..).unwrap_or_default()));
    }
    text.split_first().map(|(byte, tail)| (*byte, tail))
}

/// The byte of the first two hex digits.
pub(crate) fn code(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits.first_chunk()?;
    let value = |digit: u8| DIGITS.get(usize::from(digit)).copied().unwrap_or(NO_DIGIT);
    let (high, low) = (value(*high), value(*low));
    ((high | low) < NO_DIGIT).then_some(high << 4 | low)
}

/// The value in [`DIGITS`] of a byte that is not a hex digit.
const NO_DIGIT: u8 = 16;

/// The values of hex digits.
#[expect(clippy::indexing_slicing, reason = "done by the compiler")]
static DIGITS: [u8; 256] = {
    let mut values = [NO_DIGIT; 256];
    let (mut at, mut byte) = (0, 0_u8);
    while at < values.len() {
        values[at] = match byte {
            b'0'..=b'9' => byte & 15,
            b'A'..=b'F' | b'a'..=b'f' => (byte & 15) + 9,
            _ => NO_DIGIT,
        };
        at += 1;
        byte = byte.wrapping_add(1);
    }
    values
};
