//! Pairs of a query and of a cookie header. By hand: which pair a rule reads is a matter of security, and Envoy's own answer
//! (source/common/http/utility.cc).

use std::borrow::Cow;

use super::percent::percent_decode;

/// A pair's decoded name, and its value as written.
pub(crate) fn pair(pair: &[u8]) -> (Cow<'_, [u8]>, &[u8]) {
    let (key, value) = split_once(pair, b'=').unwrap_or((pair, b""));
    (percent_decode(key), value)
}

/// A cookie's name and value; one pair of double quotes around the value is not part of it
/// (docs/semantics.md, "Cookies").
pub(crate) fn cookie_value(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let (key, value) = split_once(pair.trim_ascii(), b'=')?;
    let quoted = value.strip_prefix(b"\"").and_then(|v| v.strip_suffix(b"\""));
    Some((key, quoted.unwrap_or(value)))
}

/// The text before and after the first such byte.
pub(crate) fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = memchr::memchr(at, text)?;
    let (before, rest) = text.split_at_checked(position)?;
    Some((before, rest.get(1..).unwrap_or_default()))
}

pub(crate) fn is(separator: u8) -> impl Fn(&u8) -> bool {
    move |b| *b == separator
}

/// The path without its query, which rules on paths compare.
pub(crate) fn without_query(path: &[u8]) -> &[u8] {
    let end = memchr::memchr2(b'?', b'#', path).unwrap_or(path.len());
    path.get(..end).unwrap_or_default()
}
