//! The one form of a path that is matched and forwarded alike.
//!
//! Istio's mesh option `pathNormalization`, as Envoy does it (measured: docs/semantics.md, "Path normalization"):
//! a rule about `/admin` must match every path that the service reads as `/admin`. In one point Usher is
//! stricter: a path that a second pass would change again is refused, since the service may be that second pass
//! (`/a/%2e%2e;x/b`); so is one that is not UTF-8, which a regex such as `.+` does not match.

use std::borrow::Cow;

use crate::codec::path_bytes::{Kind, kind};
use crate::codec::percent::{code, encoded};
use crate::codec::query::{split_once, without_query};
use crate::policy::Normalization;

impl Normalization {
    /// Whether a run of slashes counts as one.
    fn merges(self) -> bool {
        matches!(self, Self::DecodeAndMergeSlashes | Self::MergeSlashes)
    }
}

/// The path is ambiguous: it contains NUL, is not UTF-8, or has more than one reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathUnsafe;

/// Normalizes a `:path`. The query is unchanged; a fragment, which no client should send, is cut off.
///
/// # Errors
/// A path that is not UTF-8 before its query; NUL in it, in every mode except `None`; a path that a second
/// normalization would change.
pub fn normalize(path: &[u8], mode: Normalization) -> Result<Cow<'_, [u8]>, PathUnsafe> {
    let path = split_once(path, b'#').map_or(path, |(path, _)| path);
    if is_plain(path) {
        return Ok(Cow::Borrowed(path));
    }
    let before = without_query(path);
    let query = path.get(before.len()..).unwrap_or_default();
    if std::str::from_utf8(before).is_err() {
        return Err(PathUnsafe);
    }
    if mode == Normalization::None {
        return Ok(Cow::Borrowed(path));
    }
    if holds_nul(before) {
        return Err(PathUnsafe);
    }
    let Cow::Owned(normal) = pass(before, mode) else {
        return Ok(Cow::Borrowed(path));
    };
    if is_open(&normal, mode) {
        return Err(PathUnsafe);
    }
    Ok(Cow::Owned([normal.as_slice(), query].concat()))
}

/// Most paths need no change: letters, digits and a few marks, no slash or dot behind a slash.
fn is_plain(path: &[u8]) -> bool {
    let mut previous = 0;
    path.first() == Some(&b'/')
        && path.iter().all(|byte| {
            let plain = match kind(*byte) {
                Kind::Unreserved => true,
                Kind::Slash | Kind::Dot => previous != b'/',
                _ => false,
            };
            previous = *byte;
            plain
        })
}

/// NUL, bare or as a percent code.
fn holds_nul(path: &[u8]) -> bool {
    memchr::memchr(0, path).is_some()
        || has_pair(path, b'%', b'0') && path.windows(3).any(|code| code == b"%00")
}

/// One pass. Returns the path borrowed if no step changes it: most paths need no change, and are recognized at
/// little cost.
fn pass(path: &[u8], mode: Normalization) -> Cow<'_, [u8]> {
    let mut path = Cow::Borrowed(path);
    let decodes = mode == Normalization::DecodeAndMergeSlashes;
    let merges = mode.merges();
    let steps: [(bool, Step); 5] = [
        (decodes, decode_slashes),
        (true, drop_dot_parameters),
        (true, unescape),
        (true, resolve_dots),
        (merges, merge),
    ];
    for (_, step) in steps.iter().filter(|(is_on, _)| *is_on) {
        if let Some(changed) = step(&path) {
            path = Cow::Owned(changed);
        }
    }
    path
}

/// Whether a second pass would change the result of the first. It would leave percent codes unchanged: none is
/// decoded twice, nor created by decoding or cutting around it ([`complete`]).
fn is_open(normal: &[u8], mode: Normalization) -> bool {
    drop_dot_parameters(normal).is_some()
        || resolve_dots(normal).is_some()
        || mode.merges() && merge(normal).is_some()
}

/// Whether `first` and `second` are adjacent: a cheap check, mostly negative.
fn has_pair(path: &[u8], first: u8, second: u8) -> bool {
    if memchr::memchr(second, path).is_none() {
        return false;
    }
    let mut last = 0;
    for byte in path {
        if *byte == second && last == first {
            return true;
        }
        last = *byte;
    }
    false
}

/// A step's result; `None` if it changes nothing.
type Step = fn(&[u8]) -> Option<Vec<u8>>;

/// Writes into preallocated room, a few bytes at a time.
struct Writer<'w> {
    room: &'w mut [u8],
}

impl Writer<'_> {
    fn put<const N: usize>(&mut self, bytes: [u8; N]) {
        let room = std::mem::take(&mut self.room);
        if let Some((first, rest)) = room.split_first_chunk_mut() {
            *first = bytes;
            self.room = rest;
        }
    }
}

/// At most `most` bytes, as `write` writes them.
fn written(most: usize, write: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = vec![0; most];
    let mut writer = Writer { room: &mut out };
    write(&mut writer);
    let left = writer.room.len();
    out.truncate(most.saturating_sub(left));
    out
}

/// `%2f` and `%5c`, in any case.
fn decode_slashes(path: &[u8]) -> Option<Vec<u8>> {
    let decoded = |rest: &[u8]| match rest.first_chunk() {
        Some([b'%', b'2', b'f' | b'F']) => Some(b'/'),
        Some([b'%', b'5', b'c' | b'C']) => Some(b'\\'),
        _ => None,
    };
    let may_be = has_pair(path, b'%', b'2') || has_pair(path, b'%', b'5');
    if !may_be || !path.windows(3).any(|code| decoded(code).is_some()) {
        return None;
    }
    Some(written(path.len(), |out| {
        let mut rest = path;
        while let Some((first, tail)) = rest.split_first() {
            match decoded(rest) {
                Some(byte) => {
                    out.put([byte]);
                    rest = rest.get(3..).unwrap_or_default();
                }
                None => {
                    out.put([*first]);
                    rest = tail;
                }
            }
        }
    }))
}

/// `/..;x/` and `/.;x/` are `/../` and `/./`, as servlet containers read them.
fn drop_dot_parameters(path: &[u8]) -> Option<Vec<u8>> {
    let short = |segment: &[u8]| match segment {
        [b'.', b'.', b';', ..] => Some(&b".."[..]),
        [b'.', b';', ..] => Some(&b"."[..]),
        _ => None,
    };
    // A parameter behind a dot is rare.
    if !has_pair(path, b'.', b';') {
        return None;
    }
    let segments: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
    if !segments.iter().any(|segment| short(segment).is_some()) {
        return None;
    }
    let shortened = segments.iter().map(|segment| short(segment).unwrap_or(segment));
    Some(shortened.collect::<Vec<&[u8]>>().join(&b'/'))
}

/// One pass over percent codes: those of unreserved characters (RFC 3986 section 2.3) are decoded, a backslash
/// becomes a slash, and bytes that must not be unencoded in a path are encoded.
fn unescape(path: &[u8]) -> Option<Vec<u8>> {
    let mut raw = 0_usize;
    let mut changes = false;
    for (at, byte) in path.iter().enumerate() {
        match kind(*byte) {
            Kind::Raw => raw = raw.saturating_add(1),
            Kind::Percent if !changes => {
                let code = path.get(at.saturating_add(1)..).and_then(code);
                changes = code.is_some_and(is_unreserved);
            }
            _ => {}
        }
    }
    if raw == 0 && !changes {
        return None;
    }
    let mut stray = Vec::new();
    let most = path.len().saturating_add(raw.saturating_mul(2));
    let out = written(most, |out| {
        let mut rest = path;
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            match kind(*first) {
                Kind::Percent => match (code(tail), tail) {
                    (Some(byte), [high, low, behind @ ..]) => {
                        if is_unreserved(byte) {
                            out.put([byte]);
                        } else {
                            out.put([b'%', *high, *low]);
                        }
                        rest = behind;
                    }
                    _ => {
                        stray.push(most.saturating_sub(out.room.len()));
                        out.put([b'%']);
                    }
                },
                Kind::Raw if *first == b'\\' => out.put([b'/']),
                Kind::Raw => out.put(encoded(*first)),
                _ => out.put([*first]),
            }
        }
    });
    Some(complete(out, &stray))
}

/// A `%` that did not begin a percent code, and does so only because of what was decoded behind it, is escaped.
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

fn is_unreserved(byte: u8) -> bool {
    matches!(kind(byte), Kind::Unreserved | Kind::Dot)
}

/// RFC 3986 section 5.2.4, never above the root.
fn resolve_dots(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(b"/")?;
    let are_dots = |at: usize| {
        let rest = path.get(at..).unwrap_or_default();
        matches!(rest, b"/." | b"/.." | [b'/', b'.', b'/', ..] | [b'/', b'.', b'.', b'/', ..])
    };
    // A dot at the beginning of a segment is rare too.
    if !has_pair(path, b'/', b'.') {
        return None;
    }
    memchr::memchr_iter(b'/', path).find(|at| are_dots(*at))?;
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
    Some([b"/", kept.join(&b'/').as_slice()].concat())
}

fn merge(path: &[u8]) -> Option<Vec<u8>> {
    if !has_pair(path, b'/', b'/') {
        return None;
    }
    if path.iter().all(|b| *b == b'/') {
        return (path != b"//").then(|| b"//".to_vec());
    }
    let mut merged = path.to_vec();
    merged.dedup_by(|a, b| (*a, *b) == (b'/', b'/'));
    Some(merged)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Normalization::{Base, DecodeAndMergeSlashes, MergeSlashes, None};

    /// istio/istio tests/integration/security/normalization_test.go.
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
        for mode in [Base, DecodeAndMergeSlashes, MergeSlashes, None] {
            for (path, expected) in [
                (&b"/x\xff"[..], Err(PathUnsafe)),
                (b"/\xc3?q", Err(PathUnsafe)),
                (b"/\xed\xa0\x80", Err(PathUnsafe)),
                (b"/x\xff#y", Err(PathUnsafe)),
                (b"/\xc3\xa9", Ok(&b"/\xc3\xa9"[..])),
                (b"/x%FF", Ok(b"/x%FF")),
                (b"/x?q=\xff", Ok(b"/x?q=\xff")),
                (b"/x#\xff", Ok(b"/x")),
            ] {
                let found = normalize(path, mode);
                assert_eq!(
                    found.as_deref(),
                    expected.as_ref().map(|p| *p),
                    "{} {mode:?}",
                    path.escape_ascii()
                );
            }
        }
        assert!(normalize(b"/a?x=%00", Base).is_ok());
    }

    /// The steps in their plainest form, without regard to cost.
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::string_slice,
        reason = "of a few ASCII bytes"
    )]
    mod plainly {
        use super::super::{code, is_unreserved};
        use super::*;

        pub(super) fn pass(path: &str, mode: Normalization) -> String {
            let mut path = path.to_owned();
            if mode == DecodeAndMergeSlashes {
                for (code, byte) in [("%2f", "/"), ("%2F", "/"), ("%5c", "\\"), ("%5C", "\\")] {
                    path = path.replace(code, byte);
                }
            }
            let short = |segment: &str| match segment {
                s if s.starts_with("..;") => "..".to_owned(),
                s if s.starts_with(".;") => ".".to_owned(),
                s => s.to_owned(),
            };
            path = path.split('/').map(short).collect::<Vec<_>>().join("/");
            path = dots(&unescape(&path));
            if mode == MergeSlashes || mode == DecodeAndMergeSlashes {
                let only = path.len() > 1 && path.bytes().all(|b| b == b'/');
                while path.contains("//") && !only {
                    path = path.replace("//", "/");
                }
                path = if only { "//".to_owned() } else { path };
            }
            path
        }

        fn unescape(path: &str) -> String {
            let (mut out, mut stray, mut rest) = (String::new(), Vec::new(), path);
            while let Some(first) = rest.chars().next() {
                rest = &rest[1..];
                match (first, code(rest.as_bytes())) {
                    ('%', Some(byte)) => {
                        if is_unreserved(byte) {
                            out.push(char::from(byte));
                        } else {
                            out.push_str(&format!("%{}", &rest[..2]));
                        }
                        rest = &rest[2..];
                    }
                    ('%', Option::None) => {
                        stray.push(out.len());
                        out.push('%');
                    }
                    ('\\', _) => out.push('/'),
                    (char @ ('"' | '<' | '>' | '^' | '`' | '{' | '|' | '}'), _) => {
                        out.push_str(&format!("%{:02X}", u32::from(char)));
                    }
                    (char, _) => out.push(char),
                }
            }
            for at in stray.into_iter().rev() {
                if code(&out.as_bytes()[at + 1..]).is_some() {
                    out.insert_str(at + 1, "25");
                }
            }
            out
        }

        fn dots(path: &str) -> String {
            let Some(rest) = path.strip_prefix('/') else { return path.to_owned() };
            let mut kept: Vec<&str> = Vec::new();
            let last = rest.split('/').count() - 1;
            for (at, segment) in rest.split('/').enumerate() {
                match segment {
                    "." | ".." => {
                        if segment == ".." {
                            kept.pop();
                        }
                        if at == last {
                            kept.push("");
                        }
                    }
                    _ => kept.push(segment),
                }
            }
            format!("/{}", kept.join("/"))
        }
    }

    #[test]
    fn steps_that_see_that_they_have_nothing_to_do_are_right() {
        let pieces =
            ["/", ".", "..", ";", "%", "25", "2e", "2f", "%2F", "%7c", "4", "1", "\\", "|", "a"];
        let mut paths = Vec::new();
        let mut last = vec![String::new()];
        for _ in 0..4 {
            paths.extend(last.iter().map(|path| format!("/{path}")));
            last = last.iter().flat_map(|p| pieces.map(|piece| format!("{p}{piece}"))).collect();
            paths.extend(last.clone());
        }
        for path in &paths {
            for mode in [Base, MergeSlashes, DecodeAndMergeSlashes] {
                let once = plainly::pass(path, mode);
                let expected = if plainly::pass(&once, mode) == once {
                    Ok(once.as_str())
                } else {
                    Err(PathUnsafe)
                };
                let got = normalize(path.as_bytes(), mode);
                let got = got.as_deref().map(|p| std::str::from_utf8(p).unwrap()).map_err(|e| *e);
                let expected = if path.contains("%00") { Err(PathUnsafe) } else { expected };
                assert_eq!(got, expected, "{path} {mode:?}");
            }
        }
    }
}
