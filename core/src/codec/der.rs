//! The part of DER (ITU-T X.690) that keys and certificates need.
//!
//! A reader of tag, length and value that never looks behind the slice that it was given. By hand, though the module holds
//! `der` and `spki`: they refuse a certificate for a length or a number that is not in its shortest form.

pub(crate) const BOOLEAN: u8 = 0x01;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const SEQUENCE: u8 = 0x30;
/// `[0]`: the version of a certificate.
pub(crate) const VERSION: u8 = 0xa0;

/// One value: its tag, its content, and what follows it.
pub(crate) fn value(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(*first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b));
            (usize::try_from(length).ok()?, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

/// The content of the first value, which must have this tag, and what follows.
pub(crate) fn expect(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = value(der)?;
    (found == tag).then_some((content, rest))
}

/// An unsigned number: a leading zero only where the sign bit needs one.
pub(crate) fn integer(bytes: &[u8]) -> Vec<u8> {
    let zeros = bytes.iter().take_while(|b| **b == 0).count();
    let bytes = bytes.get(zeros..).unwrap_or_default();
    let positive = if bytes.first().is_none_or(|b| *b >= 0x80) { &[0][..] } else { &[] };
    encode(INTEGER, &[positive, bytes].concat())
}

pub(crate) fn encode(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut der = vec![tag];
    match u8::try_from(content.len()) {
        Ok(length @ 0..=0x7f) => der.push(length),
        Ok(length) => der.extend([0x81, length]),
        Err(_) => {
            // Keys are far below 64 KiB: 8192 bits are 1 KiB.
            let length = u16::try_from(content.len()).unwrap_or(u16::MAX);
            der.push(0x82);
            der.extend(length.to_be_bytes());
        }
    }
    der.extend_from_slice(content);
    der
}
