//! How much of each attribute a request may have: a request that exceeds a bound is refused.
//!
//! A bound applies only if the configuration reads the attribute: in a rule, a token place, or the scrubbing of
//! identity headers. Bounds are checked before any rule is evaluated, so that no rule sees a truncated request,
//! and counting costs one pass over the bytes. docs/configuration.md documents the numbers.

use std::fmt;

use super::{Peer, Request};
use crate::codec::query::split_once;

/// Attributes with a bound, and whether the configuration reads them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// What path templates capture (`valuesFrom: [path.NAME]`).
    pub captures: bool,
    /// Cookies.
    pub cookies: bool,
    /// Header lines other than pseudo headers.
    pub headers: bool,
    /// Hosts.
    pub hosts: bool,
    /// Names in the client's certificate.
    pub peer: bool,
    /// The path without its query: rules on paths, `exempt`.
    pub path: bool,
    /// Entries of `sec-websocket-protocol`.
    pub protocols: bool,
    /// Query parameters.
    pub query: bool,
}

/// A bound that a request can exceed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    /// Cookies, in all `cookie` lines together.
    Cookies,
    /// Header lines, pseudo headers among them.
    HeaderLines,
    /// Values of Host lines, which Envoy joins with commas.
    Hosts,
    /// Bytes of the path without its query.
    PathBytes,
    /// Segments of the path.
    PathSegments,
    /// Bytes of one name in the client's certificate. SPIFFE-ID section 2.3 allows its URIs half of it.
    PeerNameBytes,
    /// Names in the client's certificate: URI SANs and DNS SANs.
    PeerNames,
    /// Entries of `sec-websocket-protocol` lines (RFC 6455 section 11.3.4).
    Protocols,
    /// Query parameters.
    QueryParameters,
}

impl Bound {
    /// The largest number that is accepted.
    pub fn most(self) -> usize {
        match self {
            Self::Cookies => 512,
            Self::HeaderLines | Self::QueryParameters => 1_024,
            // Each rule about hosts looks up each of them, in each of its spellings.
            Self::Hosts => 16,
            // RFC 9110 section 4.1: all parties should support URIs of 8,000 octets.
            Self::PathBytes => 8_192,
            Self::PathSegments => 256,
            Self::PeerNameBytes => 4_096,
            Self::PeerNames => 128,
            Self::Protocols => 256,
        }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cookies => "cookies",
            Self::HeaderLines => "header lines",
            Self::Hosts => "hosts",
            Self::PathBytes => "bytes of path",
            Self::PathSegments => "path segments",
            Self::PeerNameBytes => "bytes in a name of the client's certificate",
            Self::PeerNames => "names in the client's certificate",
            Self::Protocols => "WebSocket protocols",
            Self::QueryParameters => "query parameters",
        })
    }
}

/// Checks the bounds of the attributes that are read.
///
/// # Errors
/// The first bound that the request exceeds.
pub fn check(reads: Reads, request: &Request) -> Result<(), Bound> {
    if reads.headers {
        within(Bound::HeaderLines, request.headers.len())?;
    }
    if reads.hosts {
        let hosts = request.lines(":authority").chain(request.lines("host"));
        within(Bound::Hosts, hosts.map(|line| items(line, b',')).fold(0, usize::saturating_add))?;
    }
    if reads.cookies {
        let lines = request.lines("cookie");
        within(Bound::Cookies, lines.map(|line| items(line, b';')).fold(0, usize::saturating_add))?;
    }
    if reads.protocols {
        let lines = request.lines("sec-websocket-protocol");
        let entries = lines.map(|line| items(line, b','));
        within(Bound::Protocols, entries.fold(0, usize::saturating_add))?;
    }
    check_path(reads, request.path().unwrap_or_default())?;
    match &request.connection.peer {
        Some(peer) if reads.peer => check_peer(peer),
        _ => Ok(()),
    }
}

/// Checks the bounds of a path with its query: of the path as it was sent, and again of the normalised one.
///
/// # Errors
/// The first bound that the path exceeds.
pub fn check_path(reads: Reads, path: &[u8]) -> Result<(), Bound> {
    if !(reads.query || reads.captures || reads.path) {
        return Ok(());
    }
    let (path, query) = split_once(path, b'?').unwrap_or((path, b""));
    if reads.query && !query.is_empty() {
        within(Bound::QueryParameters, items(query, b'&'))?;
    }
    if reads.path {
        within(Bound::PathBytes, path.len())?;
    }
    if reads.captures {
        within(Bound::PathSegments, count(path, b'/'))?;
    }
    Ok(())
}

fn within(bound: Bound, number: usize) -> Result<(), Bound> {
    if number > bound.most() { Err(bound) } else { Ok(()) }
}

fn check_peer(peer: &Peer) -> Result<(), Bound> {
    let sans = peer.uri_sans.iter().chain(&peer.dns_sans);
    within(Bound::PeerNames, sans.clone().count())?;
    let longest = sans.chain([&peer.subject]).map(String::len).max();
    within(Bound::PeerNameBytes, longest.unwrap_or_default())
}

/// The number of items in a list, with empty ones.
fn items(list: &[u8], separator: u8) -> usize {
    count(list, separator).saturating_add(1)
}

fn count(text: &[u8], byte: u8) -> usize {
    memchr::memchr_iter(byte, text).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(path: String, lines: usize, line: (&str, String)) -> Request {
        let line = (line.0.as_bytes().to_vec(), line.1.into_bytes());
        let mut headers = vec![(b":path".to_vec(), path.into_bytes())];
        headers.extend(std::iter::repeat_n(line, lines));
        Request { headers, ..Request::default() }
    }

    /// A request with `n` of what the bound counts.
    #[expect(clippy::arithmetic_side_effects, reason = "of a few thousands")]
    fn with(bound: Bound, n: usize) -> Request {
        let plain = || "/".to_owned();
        let peer = |uri_sans: Vec<String>, dns_sans: Vec<String>, subject: String| {
            let mut request = request(plain(), 0, ("", plain()));
            request.connection.peer = Some(Peer { uri_sans, dns_sans, subject, ..Peer::default() });
            request
        };
        match bound {
            Bound::Cookies => {
                let (first, second) = (n / 2, n - n / 2);
                let mut cookies = request(plain(), 1, ("cookie", "a=1;".repeat(first - 1) + "a"));
                let rest = request(plain(), 1, ("cookie", "a=1;".repeat(second - 1) + "a"));
                cookies.headers.extend(rest.headers);
                cookies
            }
            Bound::HeaderLines => request(plain(), n - 1, ("x", plain())),
            Bound::Hosts => {
                let mut hosts = request(plain(), 1, (":authority", ",".repeat(n / 2 - 1)));
                let rest = request(plain(), n - n / 2, ("host", "a".to_owned()));
                hosts.headers.extend(rest.headers);
                hosts
            }
            Bound::PathBytes => request("/".repeat(n) + "?/", 0, ("", plain())),
            Bound::PathSegments => request("/a".repeat(n) + "?/", 0, ("", plain())),
            Bound::PeerNameBytes => peer(vec![plain(), "a".repeat(n)], vec![], plain()),
            Bound::PeerNames => peer(vec![plain(); n / 2], vec![plain(); n - n / 2], plain()),
            Bound::Protocols => request(plain(), 1, ("sec-websocket-protocol", ",".repeat(n - 1))),
            Bound::QueryParameters => {
                request("/&?".to_owned() + &"&".repeat(n - 1), 0, ("", plain()))
            }
        }
    }

    #[test]
    fn a_bound_is_the_most_that_is_taken_where_it_is_read() {
        let none = Reads::default();
        for (bound, least, reads) in [
            (Bound::Cookies, 500, Reads { cookies: true, ..none }),
            (Bound::HeaderLines, 1_000, Reads { headers: true, ..none }),
            (Bound::Hosts, 16, Reads { hosts: true, ..none }),
            (Bound::PathBytes, 8_000, Reads { path: true, ..none }),
            (Bound::PathSegments, 64, Reads { captures: true, ..none }),
            (Bound::PeerNameBytes, 2_048, Reads { peer: true, ..none }),
            (Bound::PeerNames, 100, Reads { peer: true, ..none }),
            (Bound::Protocols, 100, Reads { protocols: true, ..none }),
            (Bound::QueryParameters, 1_000, Reads { query: true, ..none }),
        ] {
            let most = bound.most();
            assert!(most >= least, "{bound}: {most}");
            assert_eq!(check(reads, &with(bound, most)), Ok(()), "{bound}: {most}");
            assert_eq!(check(reads, &with(bound, most + 1)), Err(bound), "{bound}: one more");
            assert_eq!(check(none, &with(bound, 2 * most)), Ok(()), "{bound}: not read");
        }
    }
}
