//! Foreign text in a log: escaped, bounded, and without what looks like a token.

use std::borrow::Cow;

use super::json::unicode_escape;
use super::percent::{encoded, first_decoded};

/// Shorter than any header with an `alg`.
const SHORTEST: usize = 16;

/// What replaces a token.
const REDACTED: &[u8] = b"[redacted]";

/// Replaces everything that looks like a JWT, including dots and percent codes.
pub fn redact(text: &[u8]) -> Cow<'_, [u8]> {
    let mut clean: Vec<u8> = Vec::new();
    let mut rest = text;
    let mut at = 0_usize;
    let begin = |text: &[u8]| memchr::memchr2(b'e', b'%', text);
    while let Some(skipped) = rest.get(at..).and_then(begin) {
        at = at.saturating_add(skipped);
        let tail = rest.get(at..).unwrap_or_default();
        let length =
            if begins(tail) { tail.iter().take_while(|b| of_token(**b)).count() } else { 0 };
        if length >= SHORTEST {
            clean.extend_from_slice(rest.get(..at).unwrap_or_default());
            clean.extend_from_slice(REDACTED);
            rest = tail.get(length..).unwrap_or_default();
            at = 0;
        } else {
            at = at.saturating_add(1);
        }
    }
    if clean.is_empty() {
        return Cow::Borrowed(text);
    }
    clean.extend_from_slice(rest);
    Cow::Owned(clean)
}

/// Whether a JOSE header begins here, in base64url, percent-decoded: a brace, and behind it a quote with the
/// first letter of a name, in any alphabet, or white space (RFC 8259 section 2). Nothing else is read as one.
fn begins(text: &[u8]) -> bool {
    let mut rest = text;
    let mut next = || {
        let (byte, tail) = first_decoded(rest)?;
        rest = tail;
        Some(byte)
    };
    matches!(
        (next(), next(), next()),
        (Some(b'e'), Some(b'y'), Some(b'A' | b'I'..=b'L'))
            | (Some(b'e'), Some(b'w'), Some(b'o' | b'0' | b'k' | b'A'))
    )
}

fn of_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'%' | b'=' | b'~')
}

/// Appends bytes as the inside of a JSON string of printable ASCII, of at most `most` bytes. Returns whether
/// something was cut off.
pub fn escape(text: &mut String, bytes: &[u8], most: usize) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
    if bytes.len() <= most && bytes.iter().all(plain) {
        text.push_str(str::from_utf8(bytes).unwrap_or_default());
        return false;
    }
    // No byte is escaped to less than one byte: what lies beyond is cut off in any case. A character is not
    // split.
    let within = bytes.get(..most.saturating_add(4)).unwrap_or(bytes);
    let begin = text.len();
    for char in String::from_utf8_lossy(within).chars() {
        let mut units = [0; 2];
        let escaped = match char {
            '"' => "\\\"".to_owned(),
            '\\' => "\\\\".to_owned(),
            ' '..='~' => char.to_string(),
            _ => {
                let units = char.encode_utf16(&mut units).iter();
                units.flat_map(|unit| unicode_escape(*unit)).map(char::from).collect()
            }
        };
        if text.len().saturating_sub(begin).saturating_add(escaped.len()) > most {
            return true;
        }
        text.push_str(&escaped);
    }
    within.len() < bytes.len()
}

/// A line of the proxy's log that repeats foreign text, such as a key's name: without tokens, and without line
/// ends and terminal controls.
pub fn one_line(text: &str) -> Cow<'_, str> {
    let plain = |c: char| {
        !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}')
    };
    let text = match redact(text.as_bytes()) {
        Cow::Borrowed(_) => Cow::Borrowed(text),
        Cow::Owned(clean) => Cow::Owned(String::from_utf8_lossy(&clean).into_owned()),
    };
    if text.chars().all(plain) {
        return text;
    }
    let escaped = |c: char| if plain(c) { c.to_string() } else { c.escape_unicode().to_string() };
    Cow::Owned(text.chars().map(escaped).collect())
}

/// Foreign text for a line of its own: without tokens, escaped, of at most `most` bytes.
pub fn clean(text: &[u8], most: usize) -> String {
    let mut clean = String::new();
    escape(&mut clean, &redact(text), most);
    clean
}

/// A text for filter state, which an access log may print unescaped, with or without quotes: percent codes for
/// all but printable ASCII, for `%`, quotes and backslashes; of at most `most` bytes.
pub fn printable(text: &str, most: usize) -> Cow<'_, str> {
    let plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'%' | b'"' | b'\\');
    if text.len() <= most && text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut written = String::new();
    for c in text.chars() {
        let next = if u8::try_from(c).is_ok_and(plain) {
            c.to_string()
        } else {
            c.encode_utf8(&mut [0; 4]).bytes().flat_map(encoded).map(char::from).collect()
        };
        if written.len().saturating_add(next.len()) > most {
            break;
        }
        written.push_str(&next);
    }
    Cow::Owned(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_struck_out() {
        let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJtbW9zbGV5In0.c2lnbmF0dXJl";
        for (text, expected, why) in [
            (format!("/reset/{token}/x"), "/reset/[redacted]/x", "a segment of a path"),
            (format!("/a;t={token}"), "/a;t=[redacted]", "a matrix parameter"),
            (format!("x{token}"), "x[redacted]", "behind letters"),
            (token.replace('.', "%2E"), "[redacted]", "percent-encoded dots"),
            (format!("{token} {token}"), "[redacted] [redacted]", "twice"),
            ("/eyJ/eyJhbGc".to_owned(), "/eyJ/eyJhbGc", "too short for a token"),
            ("/keys/all.of.them".to_owned(), "/keys/all.of.them", "none"),
            (
                "eyLDqSI6MSwiYWxnIjoiRVMyNTYifQ.e30.c2ln".to_owned(),
                "[redacted]",
                "a name in French",
            ),
            ("eyIiOjEsImFsZyI6IkVTMjU2In0.e30.c2ln".to_owned(), "[redacted]", "an empty name"),
            ("ewogImFsZyI6ICJFUzI1NiIKfQ.e30.c2ln".to_owned(), "[redacted]", "a pretty header"),
            (
                "eyLDqSI6MSwiYWxnIjoiSFMyNTYifQ.e30.c2ln".to_owned(),
                "[redacted]",
                "a member `\u{e9}`",
            ),
            (
                "%65%79JhbGciOiJFUzI1NiJ9.e30.c2ln".to_owned(),
                "[redacted]",
                "percent-encoded letters",
            ),
            ("/%/%e/%%65y/100%25".to_owned(), "/%/%e/%%65y/100%25", "percent signs"),
        ] {
            let redacted = redact(text.as_bytes());
            assert_eq!(str::from_utf8(&redacted).unwrap(), expected, "{why}");
        }
    }

    #[test]
    fn a_line_stays_one_line() {
        for (text, expected) in [
            ("usher: a `b`: c\u{e9}", "usher: a `b`: c\u{e9}"),
            ("a\nb\r\u{1b}[31m\u{85}", "a\\u{a}b\\u{d}\\u{1b}[31m\\u{85}"),
            ("\u{202e}\u{2028}", "\\u{202e}\\u{2028}"),
            ("key `eyJhbGciOiJFUzI1NiJ9.e30.c2ln`\n", "key `[redacted]`\\u{a}"),
        ] {
            assert_eq!(one_line(text), expected, "{text}");
        }
    }

    fn escaped(bytes: &[u8], most: usize) -> (String, bool) {
        let mut text = "before".to_owned();
        let cut = escape(&mut text, bytes, most);
        (text.strip_prefix("before").unwrap().to_owned(), cut)
    }

    #[test]
    fn every_byte_becomes_printable_ascii() {
        for (bytes, expected) in [
            (b"plain /~".as_slice(), "plain /~"),
            (b"a\"b\\c", "a\\\"b\\\\c"),
            (b"\n\r\t\0\x1b\x7f", "\\u000a\\u000d\\u0009\\u0000\\u001b\\u007f"),
            (b"\xff\xc3\xa9", "\\ufffd\\u00e9"),
            ("\u{1f600}\u{202e}".as_bytes(), "\\ud83d\\ude00\\u202e"),
        ] {
            assert_eq!(escaped(bytes, 100), (expected.to_owned(), false), "{bytes:?}");
        }
    }

    #[test]
    fn filter_state_is_printable() {
        for (text, most, expected) in [
            ("mmosley", 256, "mmosley"),
            ("a b", 256, "a b"),
            ("a\n\"b\" \\ 100% é", 256, "a%0A%22b%22 %5C 100%25 %C3%A9"),
            ("abcdef", 3, "abc"),
            ("aé", 4, "a"),
        ] {
            assert_eq!(printable(text, most), expected, "{text}");
        }
    }

    #[test]
    fn what_is_cut_is_cut_between_characters() {
        assert_eq!(escaped(b"abc", 3), ("abc".to_owned(), false));
        assert_eq!(escaped(b"abcd", 3), ("abc".to_owned(), true));
        assert_eq!(escaped(b"ab\n", 7), ("ab".to_owned(), true));
        assert_eq!(escaped("\u{1f600}".as_bytes(), 11), (String::new(), true));
        assert_eq!(escaped(&[b'x'; 70_000], 512).0.len(), 512);
    }
}
