//! Whether a path matches a template, and what was captured.
//!
//! A template is matched from the left, then the part behind `{**}` from the right. No choice is made
//! twice, so the cost is linear in the length of the path.

use super::key::Key;
use crate::codec::path_bytes::is_segment_byte;
use crate::policy::authorization::polarity::Polarity;
use crate::policy::authorization::template::{Piece, Template};

/// What was captured.
pub(crate) type Captures<'t, 'p> = Vec<(&'t str, &'p [u8])>;

impl Template {
    /// What every matching path has: a beginning, perhaps an end, and literal segments whose position
    /// is known. A match has all of these.
    pub(crate) fn keys(&self) -> Vec<Key> {
        let mut keys = Vec::new();
        if let Some(Piece::Literal(text)) = self.front.first() {
            keys.push(Key::Prefix(text.as_slice().into()));
        }
        if let Some(Piece::Literal(text)) = self.back.as_ref().unwrap_or(&self.front).last() {
            keys.push(Key::Suffix(text.as_slice().into()));
        }
        // The segments of the front, with an operator's byte in place of what it takes.
        const OPERATOR: u8 = b'*';
        let mut outline = Vec::new();
        for piece in &self.front {
            match piece {
                Piece::Literal(text) => outline.extend_from_slice(text),
                Piece::Segment(_) => outline.push(OPERATOR),
            }
        }
        let mut segments: Vec<&[u8]> = outline.split(|b| *b == b'/').skip(1).collect();
        if self.back.is_some() {
            // The last segment continues in the rest.
            segments.pop();
        }
        let literal = segments.iter().enumerate().filter(|(_, text)| !text.contains(&OPERATOR));
        keys.extend(literal.map(|(place, text)| Key::Segment(place, (*text).into())));
        keys
    }

    /// Whether the path, without its query, matches the template.
    pub(crate) fn matches(&self, path: &[u8], polarity: Polarity) -> bool {
        self.captures(path, polarity).is_some()
    }

    /// What the template's names capture in a path that matches.
    pub(crate) fn captures<'t, 'p>(
        &'t self,
        path: &'p [u8],
        polarity: Polarity,
    ) -> Option<Captures<'t, 'p>> {
        let takes = |byte: u8| is_segment_byte(byte) || polarity.is_wide() && byte != b'/';
        let mut captures = Vec::new();
        let mut rest = path;
        let mut pieces = self.front.iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Literal(text) => rest = rest.strip_prefix(text.as_slice())?,
                Piece::Segment(name) => {
                    let run = rest.iter().take_while(|b| takes(**b)).count();
                    let run = rest.get(..run)?;
                    let behind = match pieces.peek() {
                        Some(Piece::Literal(text)) => text.as_slice(),
                        Some(Piece::Segment(_)) | None => b"/",
                    };
                    let in_segment = behind.split(|b| *b == b'/').next().unwrap_or_default();
                    let is_last = pieces.len() == 1 && self.back.is_none();
                    let length = if is_last || in_segment.len() < behind.len() {
                        run.strip_suffix(in_segment)?.len()
                    } else {
                        first_place(run, in_segment)?
                    };
                    if length == 0 {
                        return None;
                    }
                    let (segment, tail) = rest.split_at_checked(length)?;
                    captures.extend(name.as_deref().map(|name| (name, segment)));
                    rest = tail;
                }
            }
        }
        match &self.back {
            None => rest.is_empty().then_some(captures),
            Some(back) => {
                for piece in back.iter().rev() {
                    match piece {
                        Piece::Literal(text) => rest = rest.strip_suffix(text.as_slice())?,
                        // INVARIANT: `push` refuses operators behind `{**}`.
                        Piece::Segment(_) => return None,
                    }
                }
                captures.extend(self.rest_name.as_deref().map(|name| (name, rest)));
                rest.iter().all(|b| *b == b'/' || takes(*b)).then_some(captures)
            }
        }
    }
}

/// The position of a literal that does not end its segment: behind at least one byte, and as early as
/// possible, which leaves the most room for what follows.
fn first_place(run: &[u8], literal: &[u8]) -> Option<usize> {
    let mut places = run.get(1..)?.windows(literal.len());
    places.position(|place| place == literal).map(|at| at.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::authorization::template::{Dialect, InvalidTemplate};
    use Polarity::{LetsIn, Notes, Refuses};

    fn template(text: &str, dialect: Dialect) -> Result<Template, InvalidTemplate> {
        Template::parse(text, dialect).unwrap()
    }

    #[test]
    fn istios_templates() {
        for (text, path, expected) in [
            ("/a/{**}", "/a/", true),
            ("/a/{**}", "/a/b/c", true),
            ("/a/{**}", "/a", false),
            ("/a/{*}", "/a/b", true),
            ("/a/{*}", "/a/", false),
            ("/a/{*}", "/a/b/", false),
            ("/a/{*}", "/a/b/c", false),
            ("/a/{*}", "/a/b%2Fc", true),
            ("/a/{*}", "/a/b[c]", false),
            ("/a/{*}", "/a/*", true),
            ("/s/{**}/c", "/s//c", true),
            ("/s/{**}/c", "/s/x/y/c", true),
            ("/s/{**}/c", "/s/c", false),
            ("/foo/{*}/bar/{**}", "/foo/buzz/bar/bat/fuzz.txt", true),
            ("/foo/{*}/bar/{**}", "/foo/bar/bat", false),
            ("/{**}/path/template", "/x/path/template", true),
            ("/{*}/", "/a/", true),
            ("/{*}/", "/a", false),
        ] {
            let template = template(text, Dialect::Istio).unwrap();
            assert_eq!(template.matches(path.as_bytes(), LetsIn), expected, "{text} on {path}");
        }
    }

    #[test]
    fn ushers_own_templates() {
        let of = |text: &str, path: &str| {
            let template = template(text, Dialect::Usher).unwrap();
            template.captures(path.as_bytes(), LetsIn).map(|captures| {
                let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                captures
                    .iter()
                    .map(|(n, v)| format!("{n}={}", text(v)))
                    .collect::<Vec<_>>()
                    .join(" ")
            })
        };
        for (text, path, expected) in [
            ("/files/{*}.json", "/files/a.json", Some("")),
            ("/files/{*}.json", "/files/a.json.json", Some("")),
            ("/files/{*}.json", "/files/.json", None),
            ("/files/{*}.json", "/files/a/b.json", None),
            ("/files/{*}.json", "/files/a.jsonx", None),
            ("/v{*}-x{*}/z", "/v1-x2/z", Some("")),
            ("/f/{a}-{b}.json", "/f/x-y-z.json", Some("a=x b=y-z")),
            ("/f/{a}-{b}.json", "/f/x-y-.json", Some("a=x b=y-")),
            ("/f/{a}-{b}.json", "/f/--x.json", Some("a=- b=x")),
            ("/f/{a}-{b}.json", "/f/-x.json", None),
            ("/f/{a}-{b}.json", "/f/x-.json", None),
            ("/f/{a}a{b}a", "/f/xaaa", Some("a=x b=a")),
            ("/t/{tenant}/x", "/t/acme/x", Some("tenant=acme")),
            ("/t/{tenant}/{rest=**}", "/t/acme/a/b", Some("tenant=acme rest=a/b")),
            ("/t/{tenant}/x", "/t//x", None),
        ] {
            assert_eq!(of(text, path).as_deref(), expected, "{text} on {path}");
        }
    }

    #[test]
    fn where_a_match_refuses_an_operator_takes_any_byte() {
        for (text, path, to_the_letter, widely) in [
            ("/a/{**}", &b"/a/x["[..], false, true),
            ("/a/{**}", b"/a/x]/y", false, true),
            ("/a/{**}", b"/a/x\xff", false, true),
            ("/a/{**}", b"/a/x\n", false, true),
            ("/a/{**}", b"/a[", false, false),
            ("/a/{*}", b"/a/x[", false, true),
            ("/a/{*}", b"/a/[", false, true),
            ("/a/{*}", b"/a/", false, false),
            ("/a/{*}", b"/a/x[/y", false, false),
            ("/a/{*}/b", b"/a/\x80/b", false, true),
            ("/{**}/b", b"/x[/b", false, true),
            ("/{**}/b", b"/x[/b[", false, false),
            ("/f/{a}-{b}.json", b"/f/[-].json", false, true),
            ("/f/{a}-{b}.json", b"/f/-].json", false, false),
            ("/a/{*}", b"/a/x", true, true),
        ] {
            let template = template(text, Dialect::Usher).unwrap();
            for (polarity, expected) in
                [(LetsIn, to_the_letter), (Notes, to_the_letter), (Refuses, widely)]
            {
                let found = template.matches(path, polarity);
                assert_eq!(found, expected, "{text} on {} {polarity:?}", path.escape_ascii());
            }
        }
    }

    #[test]
    fn a_long_path_costs_its_length() {
        let path = [b"/a".repeat(32_768), b"!".to_vec()].concat();
        assert!(template("/{**}/b", Dialect::Istio).is_ok_and(|t| !t.matches(&path, LetsIn)));
        let segment = [b"/", b"a-".repeat(32_768).as_slice(), b"!"].concat();
        let globs = template("/{*}-{*}-{*}-{*}b", Dialect::Usher);
        assert!(globs.is_ok_and(|t| !t.matches(&segment, LetsIn)));
    }
}
