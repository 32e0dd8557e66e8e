//! Whether the request's host is in a set, and the spellings of a host that mean the same.
//!
//! Istio compares the whole `:authority`, without case (istio/istio
//! pilot/pkg/security/authz/matcher/header.go, `HostMatcher`). A service reads `a.:80` as the host `a`,
//! and may read the last of several Host lines, which Envoy joins with commas: where a match refuses, each
//! of these counts.

use super::key::Key;
use crate::policy::authorization::host::{HostSet, port_at};
use crate::policy::authorization::polarity::Polarity;
use crate::request::Request;

/// Whether a spelling still has its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Kept,
    Removed,
}

impl HostSet {
    /// Whether one of the [`spellings`] matches.
    pub(crate) fn matches(&self, spellings: &[Spelling]) -> bool {
        spellings.iter().any(|Spelling { text, port }| {
            self.without_port.matches(text) || *port == Port::Kept && self.with_port.matches(text)
        })
    }

    /// The keys of the [`spellings`] one of which a match must have; `None` if a `*` takes any.
    pub(crate) fn keys(&self) -> Option<Vec<Key>> {
        Some([self.with_port.keys()?, self.without_port.keys()?].concat())
    }
}

/// A spelling of the request's host, in lower case.
#[derive(Clone, Debug)]
pub(crate) struct Spelling {
    pub(crate) text: Vec<u8>,
    pub(crate) port: Port,
}

/// The request's host as written; where a match refuses, in every spelling. Empty without an authority.
pub(crate) fn spellings(request: &Request, polarity: Polarity) -> Vec<Spelling> {
    let Some(authority) = request.authority().map(<[u8]>::to_ascii_lowercase) else {
        return Vec::new();
    };
    let mut all = vec![Spelling { text: authority.clone(), port: Port::Kept }];
    if polarity.is_wide() {
        // Over HTTP/1 Envoy joins several Host lines; over HTTP/2 it drops them beside `:authority`.
        let joined = authority.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        let own: Vec<Vec<u8>> = request.lines("host").map(<[u8]>::to_ascii_lowercase).collect();
        for host in joined.chain(own.iter().map(Vec::as_slice)) {
            if *host != *authority {
                all.push(Spelling { text: host.to_vec(), port: Port::Kept });
            }
            add_shorter(host, &mut all);
        }
    }
    all
}

/// Adds the host without its port, and each without the dot behind its name.
fn add_shorter(host: &[u8], all: &mut Vec<Spelling>) {
    let (name, port) = host.split_at_checked(port_at(host)).unwrap_or((host, b""));
    if !port.is_empty() {
        all.push(Spelling { text: name.to_vec(), port: Port::Removed });
    }
    if let Some(name) = name.strip_suffix(b".") {
        all.push(Spelling { text: [name, port].concat(), port: Port::Kept });
        if !port.is_empty() {
            all.push(Spelling { text: name.to_vec(), port: Port::Removed });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Polarity::{LetsIn, Notes, Refuses};

    fn request(lines: &[(&str, &str)]) -> Request {
        let line = |(n, v): &(&str, &str)| (n.as_bytes().to_vec(), v.as_bytes().to_vec());
        Request { headers: lines.iter().map(line).collect(), ..Request::default() }
    }

    #[test]
    fn where_a_match_refuses_a_host_is_meant_however_it_is_written() {
        for (value, authority, to_the_letter, widely) in [
            ("a", "a", true, true),
            ("a", "A", true, true),
            ("A", "a", true, true),
            ("a", "b", false, false),
            ("a", "a.", false, true),
            ("a", "a..", false, false),
            ("a", "a:80", false, true),
            ("a", "a:", false, true),
            ("a", "a:8x", false, false),
            ("a", "a.:80", false, true),
            ("a", "b,a", false, true),
            ("a", "b, a.:80", false, true),
            ("a", "a,b", false, true),
            ("a", "ab,c", false, false),
            ("a.", "a", false, false),
            ("a.", "a.", true, true),
            ("a.", "a.:80", false, true),
            ("a:80", "a:80", true, true),
            ("a:80", "a.:80", false, true),
            ("a:80", "a", false, false),
            ("a:80", "a:81", false, false),
            ("a:80", "a:80,b", false, true),
            ("a:", "a:", true, true),
            ("a:", "a:80", false, false),
            ("a*", "ab:80", true, true),
            ("a*", "b,ab", false, true),
            ("a:8*", "a:80", true, true),
            ("a:8*", "a.:80", false, true),
            ("*.b", "a.b", true, true),
            ("*.b", "a.b:80", false, true),
            ("*.b", "a.b.", false, true),
            ("*.b", "a.b.:80", false, true),
            ("*:80", "a:80", true, true),
            ("*:80", "a", false, false),
            ("*", "", true, true),
            ("[::1]", "[::1]:80", false, true),
            ("[::1]", "[::1]", true, true),
            ("[::1]:80", "[::1]", false, false),
            ("::1", "::1", true, true),
        ] {
            let set = HostSet::new([value]);
            let of = |polarity| {
                set.matches(&spellings(&request(&[(":authority", authority)]), polarity))
            };
            let found = [LetsIn, Notes, Refuses].map(of);
            assert_eq!(found, [to_the_letter, to_the_letter, widely], "{value} on {authority}");
        }
    }

    #[test]
    fn a_host_line_beside_the_authority_counts_where_a_match_refuses() {
        let set = HostSet::new(["a"]);
        let both = request(&[(":authority", "b"), ("host", "A.")]);
        assert_eq!([LetsIn, Refuses].map(|p| set.matches(&spellings(&both, p))), [false, true]);
        assert!(
            ![LetsIn, Refuses].iter().any(|p| set.matches(&spellings(&request(&[]), *p))),
            "no authority"
        );
    }
}
