//! The normal form of a path, against a slow reading of docs/semantics.md, "Path normalization", and of RFC
//! 3986.
//!
//! A written case is a mode, a space, and the path.

use crate::draw::Draw;
use crate::subject::{Normalization, normalize};

const MODES: &[(&str, Normalization)] = &[
    ("BASE", Normalization::Base),
    ("MERGE_SLASHES", Normalization::MergeSlashes),
    ("DECODE_AND_MERGE_SLASHES", Normalization::DecodeAndMergeSlashes),
    ("NONE", Normalization::None),
];

const PIECES: &[&str] = &[
    "/", "/", "/", "..", ".", "%2e", "%2E", "%2f", "%5C", "\\", ";", "..;", ".;x", "a", "%41", "%",
    "%2", "%25", "2e", "5c", "%%", "?", "#", "%00", "%0", "{", "%7b", "b%b", "//", "%c0%ae", "é",
    " ", "*", "..%2f",
];

pub(crate) fn run(data: &[u8]) {
    if let Some(mut draw) = Draw::of(data) {
        let (_, mode) = draw.pick(MODES);
        let mut path = if draw.one_in(8) { Vec::new() } else { b"/".to_vec() };
        while !draw.is_empty() {
            path.extend(if draw.one_in(30) { draw.bytes(8) } else { draw.pick(PIECES).into() });
        }
        check(&path, mode);
    } else if let Some((mode, path)) = split(data, b' ') {
        let mode = MODES.iter().find(|(name, _)| name.as_bytes() == mode);
        mode.inspect(|(_, mode)| check(path, *mode));
    }
}

fn check(path: &[u8], mode: Normalization) {
    let shown = format!("{mode:?} {}", path.escape_ascii());
    let normal = normalize(path, mode).ok().map(|normal| normal.into_owned());
    let expected = reference(path, mode);
    let text = |path: &Option<Vec<u8>>| path.as_ref().map(|p| p.escape_ascii().to_string());
    assert_eq!(text(&normal), text(&expected), "{shown}");
    let Some(normal) = normal else { return };
    let again = normalize(&normal, mode).ok().map(|again| again.into_owned());
    assert_eq!(text(&again), text(&Some(normal.clone())), "a second time: {shown}");
    if mode == Normalization::None || !normal.starts_with(b"/") {
        return;
    }
    // The path that rules compare has no dot segments, however a service decodes it.
    let compared = normal.split(|b| matches!(b, b'?' | b'#')).next().unwrap_or_default();
    for segment in compared.split(|b| *b == b'/') {
        let plain = segment.escape_ascii().to_string().to_ascii_lowercase().replace("%2e", ".");
        let name = plain.split(';').next().unwrap_or_default();
        assert!(!matches!(name, "." | ".."), "a dot segment is left: {shown}");
    }
    assert!(!compared.contains(&b'\\'), "a backslash is left: {shown}");
    if mode == Normalization::DecodeAndMergeSlashes {
        let lower = compared.to_ascii_lowercase();
        let is_slash = |code: &[u8]| matches!(code, b"%2f" | b"%5c");
        assert!(!lower.windows(3).any(is_slash), "an encoded slash is left: {shown}");
    }
}

/// Bytes before and behind the first `at`.
fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|b| *b == at)?;
    Some((&text[..position], &text[position + 1..]))
}

/// `None`: the path is refused.
fn reference(path: &[u8], mode: Normalization) -> Option<Vec<u8>> {
    let path = split(path, b'#').map_or(path, |(path, _)| path);
    let (before, query) = path.split_at(path.iter().position(|b| *b == b'?').unwrap_or(path.len()));
    str::from_utf8(before).ok()?;
    if mode == Normalization::None {
        return Some(path.to_vec());
    }
    if before.contains(&0) || before.windows(3).any(|code| code == b"%00") {
        return None;
    }
    let once = pass(before, mode);
    // A service may be the second pass.
    (pass(&once, mode) == once).then(|| [once, query.to_vec()].concat())
}

fn pass(path: &[u8], mode: Normalization) -> Vec<u8> {
    let mut path = path.to_vec();
    if mode == Normalization::DecodeAndMergeSlashes {
        path = decoded_slashes(&path);
    }
    let segments = path.split(|b| *b == b'/').map(|segment| match segment {
        [b'.', b'.', b';', ..] => &b".."[..],
        [b'.', b';', ..] => &b"."[..],
        other => other,
    });
    path = unescaped(&segments.collect::<Vec<&[u8]>>().join(&b'/'));
    if path.starts_with(b"/") {
        path = without_dots(&path);
    }
    if matches!(mode, Normalization::MergeSlashes | Normalization::DecodeAndMergeSlashes) {
        match path.iter().all(|b| *b == b'/') {
            // Measured: Envoy leaves two.
            true => path.truncate(2),
            false => path.dedup_by(|a, b| *a == b'/' && *b == b'/'),
        }
    }
    path
}

fn decoded_slashes(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let code = path.get(at..at + 3).map(<[u8]>::to_ascii_lowercase);
        let (byte, length) = match code.as_deref() {
            Some(b"%2f") => (b'/', 3),
            Some(b"%5c") => (b'\\', 3),
            _ => (path[at], 1),
        };
        decoded.push(byte);
        at += length;
    }
    decoded
}

fn code(digits: &[u8]) -> Option<u8> {
    let digits = digits.get(..2).filter(|digits| digits.iter().all(u8::is_ascii_hexdigit))?;
    u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn unescaped(path: &[u8]) -> Vec<u8> {
    // Each byte, and whether it is a `%` that begins no code.
    let mut pieces: Vec<(u8, bool)> = Vec::new();
    let mut at = 0;
    while at < path.len() {
        let length = match path[at] {
            b'%' => match code(&path[at + 1..]) {
                Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                    pieces.push((byte, false));
                    3
                }
                Some(_) => {
                    pieces.extend(path[at..at + 3].iter().map(|byte| (*byte, false)));
                    3
                }
                None => {
                    pieces.push((b'%', true));
                    1
                }
            },
            b'\\' => {
                pieces.push((b'/', false));
                1
            }
            raw if b"\"<>^`{|}".contains(&raw) => {
                pieces.extend(format!("%{raw:02X}").bytes().map(|byte| (byte, false)));
                1
            }
            other => {
                pieces.push((other, false));
                1
            }
        };
        at += length;
    }
    let bytes: Vec<u8> = pieces.iter().map(|(byte, _)| *byte).collect();
    let mut out = Vec::new();
    for (at, (byte, stray)) in pieces.iter().enumerate() {
        out.push(*byte);
        // It has become one because of what was decoded behind it.
        if *stray && code(&bytes[at + 1..]).is_some() {
            out.extend(b"25");
        }
    }
    out
}

/// RFC 3986 section 5.2.4, by its two buffers.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut input = path.to_vec();
    let mut output = Vec::new();
    let up = |output: &mut Vec<u8>| {
        output.truncate(output.iter().rposition(|b| *b == b'/').unwrap_or(0))
    };
    while !input.is_empty() {
        if input.starts_with(b"/./") {
            input.drain(..2);
        } else if input == b"/." {
            input.truncate(1);
        } else if input.starts_with(b"/../") {
            input.drain(..3);
            up(&mut output);
        } else if input == b"/.." {
            input.truncate(1);
            up(&mut output);
        } else {
            let end =
                input.iter().skip(1).position(|b| *b == b'/').map_or(input.len(), |at| at + 1);
            output.extend(input.drain(..end));
        }
    }
    output
}
