//! Removing tokens from a request: the header mutations that leave everything else unchanged.

use std::rc::Rc;

use super::Locations;
use crate::codec::query::{is, split_once};
use crate::headers::HeaderMutations;
use crate::lookup::Lookup;
use crate::request::Request;

impl HeaderMutations {
    /// Removes every token for which `taken` returns true, given the number of its place.
    pub fn take(
        &mut self,
        locations: &Locations,
        request: &Request,
        taken: &dyn Fn(usize, &[u8]) -> bool,
    ) {
        let names = request.headers.iter().map(|(name, _)| name.as_slice());
        for (name, _) in Lookup::of(names.filter(|name| locations.reads_header(name))).each() {
            let held = |line: &[u8]| {
                let mut held = false;
                locations
                    .each_in_line(name, line, &mut |place, _, t| held = held || taken(place, t));
                held
            };
            // Envoy removes the whole header. Here a line stays unless it has, or may have, a token,
            // after any text.
            if self.lines(request, name).any(held) {
                self.edit_lines(request, name, &|line| {
                    if held(line) || may_hold_a_token(line) { Line::Gone } else { Line::Kept }
                });
            }
        }
        if locations.has_cookies() {
            self.edit_lines(request, b"cookie", &|line| {
                cut(line, b';', &|pair| {
                    locations.cookie(pair).is_some_and(|(place, t)| taken(place, t))
                })
            });
        }
        if locations.has_protocols() {
            self.edit_lines(request, b"sec-websocket-protocol", &|line| {
                cut(line, b',', &|entry| {
                    let mut held = false;
                    locations.each_protocol(entry, &mut |place, t| held = held || taken(place, t));
                    held
                })
            });
        }
        if locations.has_params() {
            // A hop that rewrites paths forwards the original, with its query.
            for header in [b":path".as_slice(), b"x-envoy-original-path"] {
                self.edit_lines(request, header, &|path| {
                    cut_query(path, &|pair| {
                        locations.param(pair).is_some_and(|(place, t)| taken(place, &t))
                    })
                });
            }
        }
    }

    fn edit_lines(&mut self, request: &Request, name: &[u8], edit: &dyn Fn(&[u8]) -> Line) {
        let edited: Vec<(&[u8], Line)> =
            self.lines(request, name).map(|line| (line, edit(line))).collect();
        // Most requests have a token in one place, and lines of the others are not copied.
        if edited.iter().all(|(_, line)| matches!(line, Line::Kept)) {
            return;
        }
        let after = edited.into_iter().filter_map(|(sent, line)| match line {
            Line::Kept => Some(sent.to_vec()),
            Line::Cut(rest) => Some(rest),
            Line::Gone => None,
        });
        let after: Rc<[Vec<u8>]> = after.collect();
        self.set_lines(name.into(), after);
    }
}

/// Whether a part of the line has the form of a signed token: three parts, of which the first is an
/// object in base64url (`{` and a quote or white space give `ey` or `ew`).
fn may_hold_a_token(line: &[u8]) -> bool {
    let outside = |b: &u8| !(b.is_ascii_alphanumeric() || b"-_.".contains(b));
    line.split(outside).any(|word| {
        (word.starts_with(b"ey") || word.starts_with(b"ew"))
            && word.split(is(b'.')).filter(|part| !part.is_empty()).count() >= 3
    })
}

/// What happens to a line.
enum Line {
    Cut(Vec<u8>),
    Gone,
    Kept,
}

/// Removes the chosen items from a list; the others keep their bytes, but not the white space at the
/// ends.
fn cut(line: &[u8], separator: u8, chosen: &dyn Fn(&[u8]) -> bool) -> Line {
    if !line.split(is(separator)).any(chosen) {
        return Line::Kept;
    }
    let kept: Vec<&[u8]> = line.split(is(separator)).filter(|item| !chosen(item)).collect();
    let rest = kept.join(&separator).trim_ascii().to_vec();
    if rest.is_empty() { Line::Gone } else { Line::Cut(rest) }
}

/// Removes the chosen pairs from the query; `/p?only=this` becomes `/p`.
fn cut_query(path: &[u8], chosen: &dyn Fn(&[u8]) -> bool) -> Line {
    let Some((before, query)) = split_once(path, b'?') else {
        return Line::Kept;
    };
    if !query.split(is(b'&')).any(chosen) {
        return Line::Kept;
    }
    let kept: Vec<&[u8]> = query.split(is(b'&')).filter(|pair| !chosen(pair)).collect();
    if kept.is_empty() {
        return Line::Cut(before.to_vec());
    }
    Line::Cut([before, kept.join(&b'&').as_slice()].join(&b'?'))
}

#[cfg(test)]
mod tests {
    use super::super::tests::request;
    use super::*;
    use crate::policy::{Prefix, TokenLocation, default_places};

    fn edited(
        places: &[TokenLocation],
        path: &str,
        headers: &[(&str, &str)],
        name: &str,
    ) -> Vec<String> {
        let request = request(path, headers);
        let mut mutations = HeaderMutations::default();
        mutations.take(&Locations::new(places), &request, &|_, token| token == b"T");
        let lines = mutations.applied(&request);
        lines.lines(name).map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn only_the_tokens_bytes_leave_the_query() {
        for (path, expected) in [
            ("/p?access_token=T", "/p"),
            ("/p?access_token=T&b=x%20y&a=1", "/p?b=x%20y&a=1"),
            ("/p?b=x%20y&access_token=T&a=1&", "/p?b=x%20y&a=1&"),
            ("/p?a&access_token=%54&a=?", "/p?a&a=?"),
            ("/p?access_token=other", "/p?access_token=other"),
        ] {
            assert_eq!(edited(&default_places(), path, &[], ":path"), [expected], "{path}");
        }
    }

    #[test]
    fn only_the_tokens_pair_leaves_the_cookies() {
        let place = [TokenLocation::Cookie("auth".to_owned())];
        for (line, expected) in [
            ("auth=T", vec![]),
            ("a=1; auth=T; b=2", vec!["a=1; b=2"]),
            ("auth=T; b=2", vec!["b=2"]),
            ("a=1; auth=\"T\"", vec!["a=1"]),
            ("a=1;  b=2", vec!["a=1;  b=2"]),
        ] {
            assert_eq!(edited(&place, "/", &[("cookie", line)], "cookie"), expected, "{line}");
        }
    }

    #[test]
    fn a_line_with_its_prefix_astray_leaves_where_all_tokens_do() {
        let request = request("/", &[("authorization", "x Bearer T"), ("x", "Bearer T")]);
        let mut mutations = HeaderMutations::default();
        mutations.take(&Locations::new(&default_places()), &request, &|_, _| true);
        assert_eq!(mutations.remove, [b"authorization".to_vec()]);
    }

    #[test]
    fn only_the_line_that_held_it_leaves_a_header() {
        let place = [TokenLocation::Header { name: "x".to_owned(), prefix: Prefix::new("") }];
        let headers = [("x", "other"), ("x", "T"), ("x", "more")];
        assert_eq!(edited(&place, "/", &headers, "x"), ["other", "more"]);
        let place = [TokenLocation::Header { name: "x".to_owned(), prefix: Prefix::new("P ") }];
        let headers = [("x", "P T"), ("x", "eyJ.e30.x"), ("x", "a; ewo.e30.x"), ("x", "eyJ.e30")];
        assert_eq!(edited(&place, "/", &headers, "x"), ["eyJ.e30"], "tokens behind no prefix");
        let headers = [("x", "other"), ("x", "eyJ.e30.x")];
        assert_eq!(edited(&place, "/", &headers, "x"), ["other", "eyJ.e30.x"], "nothing taken");
        let socket = [TokenLocation::WebSocketProtocol("bearer.".to_owned())];
        for (line, expected) in
            [("chat, bearer.T, x", vec!["chat, x"]), ("bearer.T", vec![]), ("chat", vec!["chat"])]
        {
            let headers = [("sec-websocket-protocol", line)];
            assert_eq!(edited(&socket, "/", &headers, "sec-websocket-protocol"), expected);
        }
    }
}
