//! Taking tokens out of a request: the header edits that leave everything else as it was.

use std::rc::Rc;

use super::Locations;
use crate::codec::query::{is, split_once};
use crate::lookup::Lookup;
use crate::request::Request;

/// What happens to a request's headers. Names are lower-case and stand in one of the lists only.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    /// Headers to be removed with all their lines.
    pub remove: Vec<Vec<u8>>,
    /// Headers to be replaced, all their lines, by these lines (at least one).
    pub set: Lines,
}

/// Headers by lower-case name, each with its lines. Shared, since each request with the same token sets the same.
pub type Lines = Vec<(Rc<[u8]>, Rc<[Vec<u8>]>)>;

impl Edits {
    /// The removal of these headers, of which none stands twice.
    pub fn removing(names: &[impl AsRef<[u8]>]) -> Self {
        let remove = names.iter().map(|name| name.as_ref().to_vec()).collect();
        Self { remove, set: Lines::default() }
    }

    /// Takes every token for which `taken` says so, by the number of its place, out of the request.
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
            // Envoy takes the whole header. What is no token stays here, and what may be one does not,
            // whatever stands before it.
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
            // A hop that rewrites paths hands the original on, query and all.
            for header in [b":path".as_slice(), b"x-envoy-original-path"] {
                self.edit_lines(request, header, &|path| {
                    cut_query(path, &|pair| {
                        locations.param(pair).is_some_and(|(place, t)| taken(place, &t))
                    })
                });
            }
        }
    }

    /// Replaces all lines of a header by one.
    pub fn set(&mut self, name: &[u8], value: Vec<u8>) {
        self.set_lines(name.into(), [value].into());
    }

    /// Replaces all lines of a header; no line at all removes it.
    pub fn set_lines(&mut self, name: Rc<[u8]>, lines: Rc<[Vec<u8>]>) {
        if lines.is_empty() {
            return self.remove(&name);
        }
        self.remove.retain(|n| **n != *name);
        match self.set.iter_mut().find(|(n, _)| *n == name) {
            Some((_, old)) => *old = lines,
            None => self.set.push((name, lines)),
        }
    }

    /// Whether a header is replaced.
    pub fn sets(&self, name: &[u8]) -> bool {
        self.set.iter().any(|(n, _)| **n == *name)
    }

    /// Adds what `other` does; of a header that both edit, what `other` makes of it.
    pub fn add(&mut self, other: Self) {
        for name in other.remove {
            self.remove(&name);
        }
        self.set_all(&other.set);
    }

    /// Replaces all lines of these headers, of which none stands twice.
    pub fn set_all(&mut self, headers: &Lines) {
        let names = Lookup::of(headers.iter().map(|(name, _)| &**name));
        self.remove.retain(|name| !names.has(name));
        self.set.retain(|(name, _)| !names.has(name));
        self.set.extend(headers.iter().cloned());
    }

    /// Removes a header with all its lines.
    pub fn remove(&mut self, name: &[u8]) {
        self.set.retain(|(n, _)| **n != *name);
        if !self.remove.iter().any(|n| n == name) {
            self.remove.push(name.to_vec());
        }
    }

    /// Whether a route may be another one after the edits: they set a pseudo header, or touch one that
    /// `is_emitted` says is ours to emit.
    pub fn may_change_route(&self, is_emitted: impl Fn(&[u8]) -> bool) -> bool {
        let routes = |name: &[u8]| name.starts_with(b":") || is_emitted(name);
        self.set.iter().any(|(name, _)| routes(name)) || self.remove.iter().any(|name| routes(name))
    }

    /// The lines that a header has after the edits so far.
    pub fn lines<'e>(
        &'e self,
        request: &'e Request,
        name: &'e [u8],
    ) -> impl Iterator<Item = &'e [u8]> {
        let removed = self.remove.iter().any(|n| n == name);
        let set = self.set.iter().find(|(n, _)| **n == *name);
        let sent = (!removed && set.is_none()).then(|| {
            let lines = request.headers.iter().filter(move |(n, _)| n == name);
            lines.map(|(_, line)| line.as_slice())
        });
        let set = set.into_iter().flat_map(|(_, lines)| lines.iter().map(Vec::as_slice));
        set.chain(sent.into_iter().flatten())
    }

    /// The request as it is after the edits.
    pub fn applied(&self, request: &Request) -> Request {
        let removed = self.remove.iter().map(Vec::as_slice);
        let names = Lookup::of(removed.chain(self.set.iter().map(|(name, _)| &**name)));
        let kept = request.headers.iter().filter(|(name, _)| !names.has(name));
        let mut edited = Request {
            headers: kept.cloned().collect(),
            connection: request.connection.clone(),
            end_of_stream: request.end_of_stream,
        };
        for (name, lines) in &self.set {
            edited.headers.extend(lines.iter().map(|line| (name.to_vec(), line.clone())));
        }
        edited
    }

    fn edit_lines(&mut self, request: &Request, name: &[u8], edit: &dyn Fn(&[u8]) -> Line) {
        let edited: Vec<(&[u8], Line)> =
            self.lines(request, name).map(|line| (line, edit(line))).collect();
        // Most requests hold a token in one place, and lines of the others are not copied.
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

/// Whether something in the line has the form of a signed token: three parts, of which the first is an
/// object in base64url (`{` and a quote or white space give `ey` or `ew`).
fn may_hold_a_token(line: &[u8]) -> bool {
    let outside = |b: &u8| !(b.is_ascii_alphanumeric() || b"-_.".contains(b));
    line.split(outside).any(|word| {
        (word.starts_with(b"ey") || word.starts_with(b"ew"))
            && word.split(is(b'.')).filter(|part| !part.is_empty()).count() >= 3
    })
}

/// What becomes of a line.
enum Line {
    Cut(Vec<u8>),
    Gone,
    Kept,
}

/// Cuts the chosen items out of a list; the others keep their bytes, the white space at the seam goes.
fn cut(line: &[u8], separator: u8, chosen: &dyn Fn(&[u8]) -> bool) -> Line {
    if !line.split(is(separator)).any(chosen) {
        return Line::Kept;
    }
    let kept: Vec<&[u8]> = line.split(is(separator)).filter(|item| !chosen(item)).collect();
    let rest = kept.join(&separator).trim_ascii().to_vec();
    if rest.is_empty() { Line::Gone } else { Line::Cut(rest) }
}

/// Cuts the chosen pairs out of the query; `/p?only=this` becomes `/p`.
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
    use super::super::{Place, Prefix, default_places};
    use super::*;

    fn edited(places: &[Place], path: &str, headers: &[(&str, &str)], name: &str) -> Vec<String> {
        let request = request(path, headers);
        let mut edits = Edits::default();
        edits.take(&Locations::new(places), &request, &|_, token| token == b"T");
        let lines = edits.applied(&request);
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
        let place = [Place::Cookie("auth".to_owned())];
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
    fn routes_follow_the_path_the_authority_and_emitted_headers() {
        let emitted = |name: &[u8]| name == b"user-info";
        for (name, expected) in [
            (&b":path"[..], true),
            (b":authority", true),
            (b"user-info", true),
            (b"authorization", false),
            (b"cookie", false),
        ] {
            let mut edits = Edits::default();
            assert!(!edits.may_change_route(emitted), "nothing is edited");
            edits.set(name, b"x".to_vec());
            assert_eq!(edits.may_change_route(emitted), expected, "set {}", name.escape_ascii());
            edits.remove(name);
            assert_eq!(edits.may_change_route(emitted), expected, "remove {}", name.escape_ascii());
        }
    }

    #[test]
    fn a_line_with_its_prefix_astray_leaves_where_all_tokens_do() {
        let request = request("/", &[("authorization", "x Bearer T"), ("x", "Bearer T")]);
        let mut edits = Edits::default();
        edits.take(&Locations::new(&default_places()), &request, &|_, _| true);
        assert_eq!(edits.remove, [b"authorization".to_vec()]);
    }

    #[test]
    fn only_the_line_that_held_it_leaves_a_header() {
        let place = [Place::Header { name: "x".to_owned(), prefix: Prefix::new("") }];
        let headers = [("x", "other"), ("x", "T"), ("x", "more")];
        assert_eq!(edited(&place, "/", &headers, "x"), ["other", "more"]);
        let place = [Place::Header { name: "x".to_owned(), prefix: Prefix::new("P ") }];
        let headers = [("x", "P T"), ("x", "eyJ.e30.x"), ("x", "a; ewo.e30.x"), ("x", "eyJ.e30")];
        assert_eq!(edited(&place, "/", &headers, "x"), ["eyJ.e30"], "tokens behind no prefix");
        let headers = [("x", "other"), ("x", "eyJ.e30.x")];
        assert_eq!(edited(&place, "/", &headers, "x"), ["other", "eyJ.e30.x"], "nothing taken");
        let socket = [Place::WebSocketProtocol("bearer.".to_owned())];
        for (line, expected) in
            [("chat, bearer.T, x", vec!["chat, x"]), ("bearer.T", vec![]), ("chat", vec!["chat"])]
        {
            let headers = [("sec-websocket-protocol", line)];
            assert_eq!(edited(&socket, "/", &headers, "sec-websocket-protocol"), expected);
        }
    }
}
