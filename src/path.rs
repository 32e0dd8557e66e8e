//! The one form of a path that is matched and forwarded alike.
//!
//! Istio's mesh option `pathNormalization`, as Envoy does it (spec B8, measured): a rule about `/admin`
//! must mean whatever the service reads as `/admin`. In one thing Usher is stricter: a path that a
//! second pass would change again is no path to decide on, since the service may well be that second
//! pass (`/a/%2e%2e;x/b`, spec F37).

use std::borrow::Cow;

/// `pathNormalization` (Istio MeshConfig `pathNormalization.normalization`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalization {
    /// Percent codes of unreserved characters, backslashes and dot segments.
    #[default]
    Base,
    /// As `MergeSlashes`, encoded slashes and backslashes first of all.
    DecodeAndMergeSlashes,
    /// As `Base`, then runs of slashes.
    MergeSlashes,
    /// Nothing.
    None,
}

/// The path cannot be decided on: it holds NUL, or has more than one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathUnsafe;

/// Normalises a `:path`. The query is left alone; a fragment, which no client should send, is cut off.
///
/// # Errors
/// NUL in the path, in every mode but `None`; a path that normalising once more would change.
pub fn normalize(path: &[u8], mode: Normalization) -> Result<Cow<'_, [u8]>, PathUnsafe> {
    let path = path.split(|b| *b == b'#').next().unwrap_or_default();
    if mode == Normalization::None || is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let (before, query) = match path.iter().position(|b| *b == b'?') {
        Some(at) => path.split_at(at),
        None => (path, &[][..]),
    };
    if before.contains(&0) || before.windows(3).any(|code| code == b"%00") {
        return Err(PathUnsafe);
    }
    let normal = pass(before, mode);
    if pass(&normal, mode) != normal {
        return Err(PathUnsafe);
    }
    if normal == before {
        return Ok(Cow::Borrowed(path));
    }
    Ok(Cow::Owned([normal.as_slice(), query].concat()))
}

/// Path without query: what rules on paths compare.
pub fn without_query(path: &[u8]) -> &[u8] {
    path.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or_default()
}

/// Most paths need nothing done: letters, digits and a few marks, no slash or dot behind a slash.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    path.first() == Some(&b'/')
        && path.iter().all(|b| {
            let plain = match *b {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => true,
                b'/' | b'.' => previous != b'/',
                _ => false,
            };
            previous = *b;
            plain
        })
}

fn pass(path: &[u8], mode: Normalization) -> Vec<u8> {
    let decoded = match mode {
        Normalization::DecodeAndMergeSlashes => Cow::Owned(decode_slashes(path)),
        _ => Cow::Borrowed(path),
    };
    let unescaped = unescape(&drop_dot_parameters(&decoded));
    let resolved = resolve_dots(&unescaped);
    match mode {
        Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes => merge(&resolved),
        Normalization::Base | Normalization::None => resolved,
    }
}

/// `%2f` and `%5c`, in any case.
fn decode_slashes(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        let (byte, tail) = match rest.get(..3) {
            Some(code) if code.eq_ignore_ascii_case(b"%2f") => (b'/', rest.get(3..)),
            Some(code) if code.eq_ignore_ascii_case(b"%5c") => (b'\\', rest.get(3..)),
            _ => (*first, Some(tail)),
        };
        decoded.push(byte);
        rest = tail.unwrap_or_default();
    }
    decoded
}

/// `/..;x/` and `/.;x/` are `/../` and `/./`, as servlet containers read them.
fn drop_dot_parameters(path: &[u8]) -> Vec<u8> {
    let segments: Vec<&[u8]> = path
        .split(|b| *b == b'/')
        .map(|segment| match segment {
            [b'.', b'.', b';', ..] => &b".."[..],
            [b'.', b';', ..] => b".",
            _ => segment,
        })
        .collect();
    segments.join(&b'/')
}

/// One pass over percent codes: those of unreserved characters (RFC 3986 section 2.3) are decoded, a
/// backslash becomes a slash, and what no path may hold raw is encoded.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut stray = Vec::new();
    let mut rest = path;
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        match *first {
            b'%' => match code(tail) {
                Some(byte) if is_unreserved(byte) => {
                    out.push(byte);
                    rest = tail.get(2..).unwrap_or_default();
                }
                Some(_) => {
                    out.push(b'%');
                    out.extend(tail.iter().take(2));
                    rest = tail.get(2..).unwrap_or_default();
                }
                None => {
                    stray.push(out.len());
                    out.push(b'%');
                }
            },
            b'\\' => out.push(b'/'),
            b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' => {
                out.extend(format!("%{first:02X}").bytes());
            }
            byte => out.push(byte),
        }
    }
    complete(out, &stray)
}

/// A `%` that was no code and has become one by what was decoded behind it is no code either.
fn complete(text: Vec<u8>, stray: &[usize]) -> Vec<u8> {
    let is_code = |at: usize| text.get(at.saturating_add(1)..).and_then(code).is_some();
    let mut codes = stray.iter().copied().filter(|at| is_code(*at)).peekable();
    if codes.peek().is_none() {
        return text;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut from = 0;
    for at in codes {
        let behind = at.saturating_add(1);
        out.extend_from_slice(text.get(from..behind).unwrap_or_default());
        out.extend_from_slice(b"25");
        from = behind;
    }
    out.extend_from_slice(text.get(from..).unwrap_or_default());
    out
}

/// The byte of the two hex digits that come first.
fn code(digits: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*digits.get(at)?).to_digit(16);
    u8::try_from(digit(0)? << 4 | digit(1)?).ok()
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// RFC 3986 section 5.2.4, never above the root.
fn resolve_dots(path: &[u8]) -> Vec<u8> {
    let Some(rest) = path.strip_prefix(b"/") else {
        return path.to_vec();
    };
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = rest.split(|b| *b == b'/').peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            b"." => {}
            b".." => {
                kept.pop();
            }
            _ => {
                kept.push(segment);
                continue;
            }
        }
        if last {
            kept.push(b"");
        }
    }
    [b"/", kept.join(&b'/').as_slice()].concat()
}

fn merge(path: &[u8]) -> Vec<u8> {
    if path.len() > 1 && path.iter().all(|b| *b == b'/') {
        return b"//".to_vec();
    }
    let mut merged = path.to_vec();
    merged.dedup_by(|a, b| (*a, *b) == (b'/', b'/'));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use Normalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};

    /// Spec E-N (istio/istio tests/integration/security/normalization_test.go).
    #[test]
    fn istios_table() {
        for (input, base, merged, decoded) in [
            ("/app#foo", "/app", "/app", "/app"),
            ("/app/../admin", "/admin", "/admin", "/admin"),
            ("/app//", "/app//", "/app/", "/app/"),
            ("/app/%2f", "/app/%2f", "/app/%2f", "/app/"),
            ("/xyz%30..//abc", "/xyz0..//abc", "/xyz0../abc", "/xyz0../abc"),
            ("/app/%2E./admin", "/admin", "/admin", "/admin"),
            ("/app\\admin", "/app/admin", "/app/admin", "/app/admin"),
            ("/app/\\/\\/\\admin", "/app//////admin", "/app/admin", "/app/admin"),
            (
                "/%2Fapp%5cadmin%5Cabc",
                "/%2Fapp%5cadmin%5Cabc",
                "/%2Fapp%5cadmin%5Cabc",
                "/app/admin/abc",
            ),
            ("/app//../admin", "/app/admin", "/app/admin", "/app/admin"),
            ("/app//../../admin", "/admin", "/admin", "/admin"),
            ("/%252e%252e/admin", "/%252e%252e/admin", "/%252e%252e/admin", "/%252e%252e/admin"),
            ("/.../admin", "/.../admin", "/.../admin", "/.../admin"),
            ("/;/admin", "/;/admin", "/;/admin", "/;/admin"),
            ("/..;/admin", "/admin", "/admin", "/admin"),
            ("/%c0%2e%c0%2e/admin", "/%c0.%c0./admin", "/%c0.%c0./admin", "/%c0.%c0./admin"),
            ("/%c0%2fadmin", "/%c0%2fadmin", "/%c0%2fadmin", "/%c0/admin"),
            ("/a/..", "/", "/", "/"),
            ("/a/.", "/a/", "/a/", "/a/"),
            ("/a/../?x=/../", "/?x=/../", "/?x=/../", "/?x=/../"),
        ] {
            let modes = [(Base, base), (MergeSlashes, merged), (DecodeAndMergeSlashes, decoded)];
            for (mode, expected) in modes {
                let got = normalize(input.as_bytes(), mode).map(|p| p.into_owned());
                assert_eq!(got, Ok(expected.as_bytes().to_vec()), "{input} {mode:?}");
            }
        }
        assert_eq!(normalize(b"/app/../admin#x", None).unwrap(), &b"/app/../admin"[..]);
    }

    #[test]
    fn what_has_two_readings_is_refused() {
        for path in ["/a/%2e%2e;x/b", "/a%00b", "/a\0b"] {
            assert_eq!(normalize(path.as_bytes(), Base), Err(PathUnsafe), "{path:?}");
        }
        assert_eq!(normalize(b"/a%5c..;x%5cb", DecodeAndMergeSlashes), Err(PathUnsafe));
        assert!(normalize(b"/a%00b", None).is_ok());
        assert!(normalize(b"/a?x=%00", Base).is_ok());
    }
}
