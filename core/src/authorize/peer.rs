//! Whether a name of the peer is in a set: compared piece by piece, with the results of Istio's regexes,
//! including their known false matches.

use std::cell::OnceCell;

use super::key::Key;
use super::text::matches_wildcard;
use crate::codec::query::split_once;
use crate::lookup::Lookup;
use crate::policy::authorization::peer::{MatchName, PeerSet, SPIFFE, spiffe};
use crate::policy::authorization::polarity::Polarity;
use crate::request::peer::{Certainty, Peer};

/// Whether a match of the peer's names counts: doubtful names let no caller in.
pub(crate) fn counts(peer: &Peer, polarity: Polarity) -> bool {
    match peer.certainty {
        Certainty::Certain => true,
        Certainty::Doubtful => polarity != Polarity::LetsIn,
    }
}

impl PeerSet {
    /// Whether any value matches any of the names. Without a certificate there are no names, and nothing
    /// matches.
    pub(crate) fn matches(&self, names: &[PeerName<'_>]) -> bool {
        names.iter().any(|name| self.matches_name(name))
    }

    fn matches_name(&self, name: &PeerName<'_>) -> bool {
        self.texts.matches(name.text.as_bytes())
            // `.` does not match a line feed, which no real name contains.
            || name.matches_wildcard
                && (self.matches_parts(name) || self.patterns.iter().any(|p| p.matches(name.text)))
    }

    fn matches_parts(&self, name: &PeerName<'_>) -> bool {
        if self.namespaces.is_empty() && self.accounts.is_empty() {
            return false;
        }
        let parts = name.parts();
        parts.namespaces.each().any(|(namespace, _)| self.namespaces.contains(namespace))
            || parts.accounts.each().any(|(account, place)| {
                let homes = self.accounts.get(account).and_then(|at| self.homes.get(*at));
                // Accounts are stored in reverse, see [`Parts::accounts`].
                let place = usize::MAX.saturating_sub(place);
                homes.into_iter().flatten().any(|namespace| parts.holds(namespace, place))
            })
    }

    /// The keys of a peer's names and their [`Parts`] one of which a match must have; `None` if a match needs
    /// none of them.
    pub(crate) fn keys(&self) -> Option<Vec<Key>> {
        let mut keys = self.texts.keys()?;
        keys.extend(self.namespaces.iter().map(|namespace| exact(&[NAMESPACE, namespace])));
        for (account, at) in &self.accounts {
            let homes = self.homes.get(*at).into_iter().flatten();
            keys.extend(homes.map(|home| exact(&[NAMESPACE, home, ACCOUNT, account])));
        }
        for pattern in &self.patterns {
            keys.push(pattern.key()?);
        }
        Some(keys)
    }
}

/// What the keys of [`Parts`] begin with, and what separates namespace and account.
const NAMESPACE: &[u8] = b"/ns/";
const ACCOUNT: &[u8] = b"/sa/";

/// A name of the peer. What several values need of it is read once.
#[derive(Debug)]
pub(crate) struct PeerName<'p> {
    pub(crate) text: &'p str,
    /// Whether the regex `.*` matches it.
    matches_wildcard: bool,
    parts: OnceCell<Parts<'p>>,
}

/// Namespaces and service accounts in a name.
#[derive(Debug, Default)]
pub(crate) struct Parts<'p> {
    /// Each namespace, with the position of the slash behind it if an account may follow, else with
    /// [`NOWHERE`]. The leftmost is the first, and leaves the most room.
    pub(crate) namespaces: Lookup<'p>,
    /// Each account, with the position of the slash before it subtracted from the largest number: the rightmost
    /// is the first, and has the most text before it.
    pub(crate) accounts: Lookup<'p>,
}

/// No slash.
const NOWHERE: usize = usize::MAX;

/// The names of a peer in the order in which Envoy compares them: URI SANs, DNS SANs, subject.
pub(crate) fn names(peer: &Peer) -> impl Iterator<Item = PeerName<'_>> {
    let sans = peer.uri_sans.iter().chain(&peer.dns_sans).map(String::as_str);
    sans.chain([peer.subject.as_str()]).map(PeerName::new)
}

impl<'p> PeerName<'p> {
    pub(crate) fn new(text: &'p str) -> Self {
        Self { text, matches_wildcard: matches_wildcard(text.as_bytes()), parts: OnceCell::new() }
    }

    pub(crate) fn parts(&self) -> &Parts<'p> {
        self.parts.get_or_init(|| Parts::of(self.text))
    }
}

impl<'p> Parts<'p> {
    fn of(name: &'p str) -> Self {
        let (mut namespaces, mut accounts) = (Vec::new(), Vec::new());
        // At least one character of the trust domain precedes what an account belongs to.
        let earliest = name.strip_prefix(SPIFFE).and_then(|rest| rest.chars().next());
        let earliest = earliest.map(|first| SPIFFE.len().saturating_add(first.len_utf8()));
        // Each slash, and the segment behind it.
        let name = name.as_bytes();
        let mut slashes = memchr::memchr_iter(b'/', name);
        let mut current = slashes.next();
        let mut next = slashes.next();
        while let (Some(slash), Some(behind)) = (current, next) {
            let after = slashes.next();
            let end = after.unwrap_or(name.len());
            let value = name.get(behind.saturating_add(1)..end).unwrap_or_default();
            match name.get(slash.saturating_add(1)..behind) {
                Some(b"ns") if after.is_some() => {
                    let owns = earliest.is_some_and(|earliest| slash >= earliest);
                    namespaces.push((value, if owns { end } else { NOWHERE }));
                }
                // The name ends here, or continues with at least one character.
                Some(b"sa") if end.saturating_add(1) != name.len() => {
                    accounts.push((value, usize::MAX.saturating_sub(slash)));
                }
                _ => {}
            }
            (current, next) = (next, after);
        }
        Self { namespaces: Lookup::new(namespaces), accounts: Lookup::new(accounts) }
    }

    /// `.+/ns/<namespace>/(.+/|)` before the account whose slash is at `place`, that is directly behind the
    /// namespace, whose slash it shares, or with at least one character between the slashes.
    fn holds(&self, namespace: &[u8], place: usize) -> bool {
        let slash = self.namespaces.first(namespace).filter(|slash| *slash != NOWHERE);
        slash.is_some_and(|slash| place == slash || place > slash.saturating_add(1))
    }
}

/// What a key of [`PeerSet::keys`] is for, if it is not a whole name.
pub(crate) fn part(key: &Key) -> Option<(&[u8], Option<&[u8]>)> {
    let Key::Exact(text) = key else { return None };
    let rest = text.strip_prefix(NAMESPACE)?;
    Some(match split_once(rest, b'/') {
        Some((namespace, rest)) => (namespace, rest.strip_prefix(ACCOUNT.get(1..)?)),
        None => (rest, None),
    })
}

impl MatchName {
    fn key(&self) -> Option<Key> {
        match self {
            Self::Namespace(_) | Self::ServiceAccount { .. } => None,
            Self::SpiffeSuffix(suffix) => Some(Key::Suffix(suffix.as_bytes().into())),
            Self::TrustDomain { before, .. } => Some(Key::Prefix(spiffe(before).into())),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Namespace(pieces) => in_order(pieces, name),
            Self::SpiffeSuffix(suffix) => {
                name.strip_prefix(SPIFFE).is_some_and(|rest| rest.ends_with(suffix.as_str()))
            }
            Self::TrustDomain { before, behind } => name
                .strip_prefix(SPIFFE)
                .and_then(|rest| rest.strip_prefix(before.as_str()))
                .is_some_and(|rest| begins_in_segment(rest, behind)),
            Self::ServiceAccount { namespace, account } => {
                name.strip_prefix(SPIFFE).is_some_and(|rest| is_account(rest, namespace, account))
            }
        }
    }
}

fn exact(pieces: &[&[u8]]) -> Key {
    Key::Exact(pieces.concat().into())
}

/// Whether the pieces are in the text, one behind the other. The leftmost position of each leaves the most room
/// for the next.
fn in_order(pieces: &[String], text: &str) -> bool {
    let mut rest = text;
    pieces.iter().all(|piece| match rest.split_once(piece.as_str()) {
        Some((_, tail)) => {
            rest = tail;
            true
        }
        None => false,
    })
}

/// Whether `text` begins somewhere before or at the first slash.
fn begins_in_segment(rest: &str, text: &str) -> bool {
    let segment = rest.find('/').unwrap_or(rest.len());
    let end = segment.saturating_add(text.len()).min(rest.len());
    rest.as_bytes()
        .get(..end)
        .is_some_and(|rest| rest.windows(text.len().max(1)).any(|window| window == text.as_bytes()))
}

/// `.+<namespace>(.+/|)sa/<account>(/.+)?` on what follows the scheme; `account` is `/sa/..`, whose
/// slash is the last byte of `namespace` or of `.+/`.
fn is_account(rest: &str, namespace: &str, account: &str) -> bool {
    // At least one character of the trust domain precedes. The leftmost position leaves the most room.
    let skipped = rest.chars().next().map_or(0, char::len_utf8);
    let Some(at) = rest.get(skipped..).and_then(|rest| rest.find(namespace)) else {
        return false;
    };
    let at = at.saturating_add(skipped);
    let slash = at.saturating_add(namespace.len()).saturating_sub(1);
    let Some(tail) = rest.get(slash..) else {
        return false;
    };
    let ends = |behind: &str| behind.is_empty() || (behind.starts_with('/') && behind.len() > 1);
    // Every slash, since two accounts may overlap (`/sa/sa/sa`).
    tail.match_indices('/').any(|(at, _)| {
        let behind = tail.get(at..).and_then(|tail| tail.strip_prefix(account));
        // Directly behind the namespace, or with at least one character between the slashes.
        at != 1 && behind.is_some_and(ends)
    })
}

#[cfg(test)]
mod tests {
    use super::Polarity::{LetsIn, Notes, Refuses};
    use super::*;

    /// istio/istio pilot/pkg/security/authz/model/generator_test.go.
    #[test]
    fn service_accounts_are_istios() {
        let set = PeerSet::service_accounts(["my-ns/my-sa"], "home");
        for (name, expected) in [
            ("spiffe://cluster.local/ns/my-ns/sa/my-sa", true),
            ("spiffe://cluster.local/ns/my-ns/sa/my-sa/k/v", true),
            ("spiffe://cluster.local/k/v/ns/my-ns/sa/my-sa", true),
            ("spiffe://cluster.local/ns/my-ns/k/v/sa/my-sa", true),
            ("spiffe://cluster.local/ns/my-ns/sa/my-sa-suffix", false),
            ("spiffe://cluster.local/ns/my-ns-suffix/sa/my-sa", false),
            ("cluster.local/ns/my-ns/sa/my-sa", false),
            ("spiffe://ns/my-ns/sa/my-sa", false),
            ("spiffe://cluster.local/ns/my-ns", false),
            ("spiffe://cluster.local/sa/my-sa", false),
            ("spiffe://cluster.local/k/ns/my-ns/something/bar/sa/my-sa/baz", true),
            ("spiffe://cluster.local/ns/my-ns/sa/my-sa/", false),
            ("spiffe://cluster.local/ns/my-ns//sa/my-sa", false),
        ] {
            assert_eq!(set.matches(&[PeerName::new(name)]), expected, "{name}");
        }
        let dots = PeerSet::service_accounts(["my.ns/my.sa"], "home");
        assert!(!dots.matches(&[PeerName::new("spiffe://td/ns/myXns/sa/my.sa")]));
        let bare = PeerSet::service_accounts(["sa"], "home");
        assert!(bare.matches(&[PeerName::new("spiffe://td/ns/home/sa/sa")]));
        assert!(!bare.matches(&[]));
    }

    /// Names of up to seven meaningful segments, read at once and piece by piece.
    #[test]
    fn the_parts_of_a_name_say_what_its_text_says() {
        let segments = ["", "ns", "sa", "a"];
        let mut names = vec!["spiffe:/".to_owned(), "spiffe://td".to_owned(), "x".to_owned()];
        let mut last = names.clone();
        for _ in 0..6 {
            last = last.iter().flat_map(|n| segments.map(|s| format!("{n}/{s}"))).collect();
            names.extend(last.clone());
        }
        for name in &names {
            let read = PeerName::new(name);
            let rest = name.strip_prefix(SPIFFE);
            for namespace in segments {
                let set = PeerSet::namespaces([namespace]);
                let expected = name.contains(&format!("/ns/{namespace}/"));
                assert_eq!(set.matches_name(&read), expected, "{namespace} in {name}");
                for account in segments {
                    let set = PeerSet::service_accounts([account], namespace);
                    let (ns, sa) = (format!("/ns/{namespace}/"), format!("/sa/{account}"));
                    let expected = rest.is_some_and(|rest| is_account(rest, &ns, &sa));
                    assert_eq!(
                        set.matches_name(&read),
                        expected,
                        "{namespace}/{account} in {name}"
                    );
                }
            }
        }
    }

    #[test]
    fn namespaces_are_istios() {
        for (value, name, expected) in [
            ("ns.prod", "spiffe://td/ns/ns.prod/sa/admin", true),
            ("ns.prod", "spiffe://td/ns/nsXprod/sa/admin", false),
            ("ns.*.prod", "spiffe://td/ns/ns.any.prod/sa/admin", true),
            ("ns.*.prod", "spiffe://td/ns/nsXanyXprod/sa/admin", false),
            ("a", "spiffe://td/ns/a", false),
            ("*", "spiffe://td/ns/a/sa/b", true),
            ("a*a", "spiffe://td/ns/a/sa/b", true),
            ("a*c", "spiffe://td/ns/a/sa/b", false),
        ] {
            let set = PeerSet::namespaces([value]);
            assert_eq!(set.matches(&[PeerName::new(name)]), expected, "{value} on {name}");
        }
    }

    #[test]
    fn principals_and_trust_domains_are_istios() {
        for (value, name, expected) in [
            ("td/ns/a/sa/b", "spiffe://td/ns/a/sa/b", true),
            ("td/ns/a/sa/b", "td/ns/a/sa/b", false),
            ("td/ns/a/*", "spiffe://td/ns/a/sa/b", true),
            ("*/ns/a/sa/b", "spiffe://x/ns/a/sa/b", true),
            ("*/ns/a/sa/b", "https://x/ns/a/sa/b", false),
            ("*", "any text", true),
            ("*", "", false),
        ] {
            let set = PeerSet::principals([value]);
            assert_eq!(set.matches(&[PeerName::new(name)]), expected, "{value} on {name}");
        }
        for (value, name, expected) in [
            ("cluster.*", "spiffe://cluster.anything/ns/a/sa/b", true),
            ("cluster.*", "spiffe://cluster/x.y/ns/a/sa/b", false),
            ("*local", "spiffe://cluster.local/ns", true),
            ("*local", "spiffe://x/local/ns", false),
            ("td", "spiffe://td/ns", true),
            ("td", "spiffe://td2/ns", false),
            ("*", "spiffe://x", true),
        ] {
            let set = PeerSet::trust_domains([value]);
            assert_eq!(set.matches(&[PeerName::new(name)]), expected, "{value} on {name}");
        }
    }

    #[test]
    fn names_in_doubt_refuse_and_do_not_let_in() {
        for (certainty, polarity, expected) in [
            (Certainty::Certain, LetsIn, true),
            (Certainty::Certain, Refuses, true),
            (Certainty::Certain, Notes, true),
            (Certainty::Doubtful, LetsIn, false),
            (Certainty::Doubtful, Refuses, true),
            (Certainty::Doubtful, Notes, true),
        ] {
            let peer = Peer { certainty, ..Peer::default() };
            assert_eq!(counts(&peer, polarity), expected, "{certainty:?} {polarity:?}");
        }
    }
}
