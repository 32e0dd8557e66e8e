//! All places that rules read, indexed so that a request is read once, however many there are.

use std::borrow::Cow;

use super::anywhere::Anywhere;
use super::{Found, Placement, once, query};
use crate::codec::percent::{first_decoded, percent_decode};
use crate::codec::query::{cookie_value, is, split_once};
use crate::hash::{FastMap, length_bit};
use crate::policy::{Prefix, TokenLocation};
use crate::prefix_tree::{Direction, PrefixTree};
use crate::request::Request;

/// Places by kind and name; each has the number of its position in the list.
#[derive(Clone, Debug)]
pub struct Locations {
    /// The position in `by_header` of each header's places.
    headers: FastMap<Box<[u8]>, usize>,
    by_header: Vec<HeaderPlaces>,
    /// The lengths of these headers' names, a bit each: they exclude most headers quickly.
    lengths: u64,
    cookies: Names,
    params: Names,
    protocols: PrefixTree,
}

/// Places by name.
#[derive(Clone, Debug, Default)]
struct Names {
    places: FastMap<Box<[u8]>, usize>,
    /// The lengths of the names, a bit each.
    lengths: u64,
}

impl Names {
    fn add(&mut self, name: &str, place: usize) {
        self.lengths |= length_bit(name.as_bytes());
        self.places.insert(name.as_bytes().into(), place);
    }

    fn get(&self, name: &[u8]) -> Option<usize> {
        if self.lengths & length_bit(name) == 0 { None } else { self.places.get(name).copied() }
    }

    /// Whether a name has the length of this one, which is percent-encoded.
    fn may_be(&self, encoded: &[u8]) -> bool {
        let mut length = 0_usize;
        let mut rest = encoded;
        while let Some((_, tail)) = first_decoded(rest) {
            length = length.saturating_add(1);
            rest = tail;
        }
        self.lengths & length_bit(encoded.get(..length).unwrap_or_default()) != 0
    }

    fn is_empty(&self) -> bool {
        self.lengths == 0
    }
}

/// The places of one header.
#[derive(Clone, Debug)]
struct HeaderPlaces {
    /// Prefixes that are compared exactly.
    exact: PrefixTree,
    /// `Bearer` and `BearerOpen`, as far as present.
    bearer: Vec<(Prefix, usize)>,
    /// The exact ones again; `None` if one of them is empty, since that one begins each line.
    misplaced: Option<Anywhere>,
}

impl Locations {
    /// Indexes a list of places without repetitions.
    pub fn new(places: &[TokenLocation]) -> Self {
        let mut all = Self {
            headers: FastMap::default(),
            by_header: Vec::new(),
            lengths: 0,
            cookies: Names::default(),
            params: Names::default(),
            protocols: PrefixTree::new(Direction::Forward),
        };
        // For each header, the prefixes that are compared exactly.
        let mut exact: Vec<Vec<(&[u8], usize)>> = Vec::new();
        for (number, place) in places.iter().enumerate() {
            match place {
                TokenLocation::Cookie(name) => all.cookies.add(name, number),
                TokenLocation::Param(name) => all.params.add(name, number),
                TokenLocation::WebSocketProtocol(prefix) => {
                    all.protocols.add(prefix.as_bytes(), number);
                }
                TokenLocation::Header { name, prefix } => {
                    all.lengths |= length_bit(name.as_bytes());
                    let next = all.by_header.len();
                    let at = *all.headers.entry(name.as_bytes().into()).or_insert(next);
                    if at == next {
                        all.by_header.push(HeaderPlaces::new());
                        exact.push(Vec::new());
                    }
                    let header = all.by_header.get_mut(at).zip(exact.get_mut(at));
                    let Some((header, exact)) = header else { continue };
                    match prefix {
                        Prefix::Exact(text) => {
                            header.exact.add(text.as_bytes(), number);
                            exact.push((text.as_bytes(), number));
                        }
                        Prefix::Bearer | Prefix::BearerOpen => {
                            header.bearer.push((prefix.clone(), number));
                        }
                    }
                }
            }
        }
        for (header, prefixes) in all.by_header.iter_mut().zip(exact) {
            if prefixes.iter().all(|(prefix, _)| !prefix.is_empty()) {
                header.misplaced = Some(Anywhere::new(&prefixes));
            }
        }
        all
    }

    /// Every token at any of the places, header by header, then those in the query.
    pub fn find<'r>(&self, request: &'r Request) -> Vec<Found<'r>> {
        let mut all = Vec::new();
        for (name, line) in &request.headers {
            if let Some(header) = self.header(name) {
                header.each(line, &mut |place, placement, token| {
                    all.push(Found { place, token: Cow::Borrowed(token), placement });
                });
            }
            let mut rightly = |place, token| {
                all.push(Found { place, token: Cow::Borrowed(token), placement: Placement::Right });
            };
            if !self.cookies.is_empty() && name == b"cookie" {
                self.each_cookie(line, &mut rightly);
            }
            if !self.protocols.is_empty() && name == b"sec-websocket-protocol" {
                for entry in line.split(is(b',')) {
                    self.each_protocol(entry, &mut rightly);
                }
            }
        }
        if !self.params.is_empty() {
            for pair in query(request).into_iter().flat_map(|query| query.split(is(b'&'))) {
                if let Some((place, token)) = self.param(pair) {
                    all.push(Found { place, token, placement: Placement::Right });
                }
            }
        }
        all
    }

    /// Whether headers of this name are searched for tokens.
    pub(super) fn reads_header(&self, name: &[u8]) -> bool {
        self.header(name).is_some()
    }

    pub(super) fn has_cookies(&self) -> bool {
        !self.cookies.is_empty()
    }

    pub(super) fn has_params(&self) -> bool {
        !self.params.is_empty()
    }

    pub(super) fn has_protocols(&self) -> bool {
        !self.protocols.is_empty()
    }

    /// The tokens that the places of a header find in one of its lines.
    pub(super) fn each_in_line<'l>(
        &self,
        name: &[u8],
        line: &'l [u8],
        found: &mut dyn FnMut(usize, Placement, &'l [u8]),
    ) {
        if let Some(header) = self.header(name) {
            header.each(line, found);
        }
    }

    fn each_cookie<'l>(&self, line: &'l [u8], found: &mut dyn FnMut(usize, &'l [u8])) {
        for pair in line.split(is(b';')) {
            if let Some((place, token)) = self.cookie(pair) {
                found(place, token);
            }
        }
    }

    /// The place of a cookie, and its value.
    pub(super) fn cookie<'l>(&self, cookie: &'l [u8]) -> Option<(usize, &'l [u8])> {
        let (name, value) = cookie_value(cookie)?;
        self.cookies.get(name).map(|place| (place, value))
    }

    /// The place of a pair of a query, and its value, percent-decoded.
    pub(super) fn param<'q>(&self, text: &'q [u8]) -> Option<(usize, Cow<'q, [u8]>)> {
        let (name, value) = split_once(text, b'=').unwrap_or((text, b""));
        // Most names have a length that no place has.
        if !self.params.may_be(name) {
            return None;
        }
        let place = self.params.get(&percent_decode(name))?;
        Some((place, percent_decode(value)))
    }

    /// The places of an entry of `sec-websocket-protocol`, and the rest behind the prefix.
    pub(super) fn each_protocol<'l>(
        &self,
        entry: &'l [u8],
        found: &mut dyn FnMut(usize, &'l [u8]),
    ) {
        let entry = entry.trim_ascii();
        self.protocols.walk(entry, &mut |length, place| {
            found(place, entry.get(length..).unwrap_or_default());
            false
        });
    }

    fn header(&self, name: &[u8]) -> Option<&HeaderPlaces> {
        if self.lengths & length_bit(name) == 0 {
            return None;
        }
        self.by_header.get(*self.headers.get(name)?)
    }
}

impl Default for Locations {
    fn default() -> Self {
        Self::new(&[])
    }
}

impl HeaderPlaces {
    fn new() -> Self {
        let exact = PrefixTree::new(Direction::Forward);
        Self { exact, bearer: Vec::new(), misplaced: None }
    }

    /// A line is read behind the longest prefix that begins it. If there is none, prefixes elsewhere in it are
    /// misplaced.
    fn each<'l>(&self, line: &'l [u8], found: &mut dyn FnMut(usize, Placement, &'l [u8])) {
        let mut longest: Option<(usize, usize)> = None;
        self.exact.walk(line, &mut |length, place| {
            longest = Some((length, place));
            false
        });
        let bearer = self.bearer.iter().filter_map(|(prefix, place)| {
            prefix.strip(line).map(|token| (prefix.len(), *place, token))
        });
        // An empty prefix begins each line, with any content.
        let mut begins = longest.is_some_and(|(length, _)| length > 0);
        let is_anything = longest.is_some_and(|(length, _)| length == 0);
        for (length, place, token) in bearer {
            begins = true;
            match longest {
                Some((exact, _)) if exact > length => {}
                _ => {
                    longest = None;
                    found(place, Placement::Right, token);
                }
            }
        }
        if let Some((length, place)) = longest {
            let (prefix, rest) = line.split_at_checked(length).unwrap_or_default();
            let token =
                once(rest.trim_ascii(), &|p| p.strip_prefix(prefix).map(<[u8]>::trim_ascii));
            found(place, Placement::Right, token);
        }
        if !begins {
            // No token contains white space, but one may contain these six letters.
            let counts = |prefix: &Prefix| !is_anything || *prefix == Prefix::Bearer;
            let bearer = self.bearer.iter().filter(|(prefix, _)| counts(prefix));
            for (_, place) in bearer.filter(|(prefix, _)| prefix.is_in(line)) {
                found(*place, Placement::Misplaced, line);
            }
            if let Some(misplaced) = &self.misplaced {
                misplaced.each(line, &mut |place| found(place, Placement::Misplaced, line));
            }
        }
    }
}
