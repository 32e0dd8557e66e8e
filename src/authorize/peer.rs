//! Who is on the other end of the connection: principals, namespaces, service accounts, trust domains.
//!
//! Istio compiles these to regexes over every name in the client's certificate (spec B6); here each is
//! matched by hand, piece by piece, with the same answers, the known false matches included.

use super::index::Key;
use super::text::{Form, Star, TextSet, form, is_dots};
use crate::request::Peer;

/// Scheme of a SPIFFE ID.
const SPIFFE: &str = "spiffe://";

/// Values about the peer, any of which may match any of its names.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerSet {
    texts: TextSet,
    patterns: Vec<MatchName>,
}

/// What no set of texts can say.
#[derive(Clone, Debug, PartialEq, Eq)]
enum MatchName {
    /// Regex `.*/ns/<v>/.*`, where each `*` of the value is `.*`: the texts between the stars.
    Namespace(Vec<String>),
    /// Regex `spiffe://.+/ns/<ns>/(.+/|)sa/<sa>(/.+)?`: `/ns/<ns>/` and `/sa/<sa>`.
    ServiceAccount { namespace: String, account: String },
    /// Regex `spiffe://.*<suffix>`.
    SpiffeSuffix(String),
    /// Regex `spiffe://<before>[^/]*<behind>/.*`.
    TrustDomain { before: String, behind: String },
}

impl PeerSet {
    /// `principals`, `source.principal`: `spiffe://` and the value.
    pub(crate) fn principals<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut set = Self::default();
        for value in values {
            match form(value) {
                Form::Any => set.texts.add_any(Star::Filled),
                Form::Exact(text) => set.texts.add_exact(&spiffe(text)),
                Form::Prefix(text) => set.texts.add_prefix(&spiffe(text)),
                Form::Suffix(text) => set.patterns.push(MatchName::SpiffeSuffix(text.to_owned())),
            }
        }
        set
    }

    /// `namespaces`, `source.namespace`.
    pub(crate) fn namespaces<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let pattern = |value: &str| {
            let text = format!("/ns/{value}/");
            MatchName::Namespace(text.split('*').map(str::to_owned).collect())
        };
        Self::of(values.into_iter().map(pattern))
    }

    /// `serviceAccounts`, `source.serviceAccount`: `namespace/account`, or an account of `home`.
    pub(crate) fn service_accounts<'v>(
        values: impl IntoIterator<Item = &'v str>,
        home: &str,
    ) -> Self {
        let pattern = |value: &str| {
            let (namespace, account) = value.split_once('/').unwrap_or((home, value));
            MatchName::ServiceAccount {
                namespace: format!("/ns/{namespace}/"),
                account: format!("/sa/{account}"),
            }
        };
        Self::of(values.into_iter().map(pattern))
    }

    /// `trustDomains`, `source.trustDomain`: at most one star, at the start or the end.
    pub(crate) fn trust_domains<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut set = Self::default();
        for value in values {
            match value.split_once('*') {
                Some(("", "")) => set.texts.add_prefix(SPIFFE.as_bytes()),
                None => set.texts.add_prefix(&spiffe(&format!("{value}/"))),
                Some((before, behind)) => set.patterns.push(MatchName::TrustDomain {
                    before: before.to_owned(),
                    behind: format!("{behind}/"),
                }),
            }
        }
        set
    }

    fn of(patterns: impl Iterator<Item = MatchName>) -> Self {
        Self { texts: TextSet::default(), patterns: patterns.collect() }
    }

    /// Whether any value matches any name: URI SANs, DNS SANs, subject. No certificate, no match.
    pub(crate) fn matches(&self, peer: Option<&Peer>) -> bool {
        peer.is_some_and(|peer| names(peer).any(|name| self.matches_name(name)))
    }

    fn matches_name(&self, name: &str) -> bool {
        self.texts.matches(name.as_bytes()) || self.patterns.iter().any(|p| p.matches(name))
    }

    /// Of a peer's names and their [`parts`] those one of which a match must have; `None` where it need
    /// have none of them.
    pub(crate) fn keys(&self) -> Option<Vec<Key>> {
        let mut keys = self.texts.keys()?;
        for pattern in &self.patterns {
            keys.push(pattern.key()?);
        }
        Some(keys)
    }
}

/// The names of a peer in the order in which Envoy compares them.
pub(crate) fn names(peer: &Peer) -> impl Iterator<Item = &str> {
    let sans = peer.uri_sans.iter().chain(&peer.dns_sans).map(String::as_str);
    sans.chain([peer.subject.as_str()])
}

/// What of a name can be looked up: each namespace in it, as `/ns/<ns>/`, and each such with a service
/// account behind it, as `/ns/<ns>//sa/<sa>`.
pub(crate) fn parts(name: &str) -> Vec<Vec<u8>> {
    let mut namespaces: Vec<&str> = Vec::new();
    let mut parts = Vec::new();
    let mut segments = name.split('/').peekable();
    while let Some(segment) = segments.next() {
        match (segment, segments.peek()) {
            ("ns", Some(namespace)) => {
                parts.push(part(namespace));
                namespaces.push(namespace);
            }
            ("sa", Some(account)) => {
                let both = |namespace: &&str| account_part(namespace, account);
                parts.extend(namespaces.iter().map(both));
            }
            _ => {}
        }
    }
    parts
}

/// Whether a key is one of [`parts`].
pub(crate) fn is_part(key: &Key) -> bool {
    matches!(key, Key::Exact(text) if text.starts_with(b"/ns/"))
}

fn part(namespace: &str) -> Vec<u8> {
    ["/ns/", namespace, "/"].concat().into_bytes()
}

fn account_part(namespace: &str, account: &str) -> Vec<u8> {
    ["/ns/", namespace, "//sa/", account].concat().into_bytes()
}

fn spiffe(text: &str) -> Vec<u8> {
    [SPIFFE, text].concat().into_bytes()
}

impl MatchName {
    fn key(&self) -> Option<Key> {
        match self {
            Self::Namespace(pieces) => match pieces.as_slice() {
                // `/ns/<ns>/`: one segment, as `parts` finds it.
                [piece] if piece.matches('/').count() == 3 => Some(exact(piece.as_bytes())),
                _ => None,
            },
            Self::ServiceAccount { namespace, account } => {
                Some(exact([namespace.as_str(), account].concat().as_bytes()))
            }
            Self::SpiffeSuffix(suffix) => Some(Key::Suffix(suffix.as_bytes().into())),
            Self::TrustDomain { before, .. } => Some(Key::Prefix(spiffe(before).into())),
        }
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            // `.` takes no line feed, and no name has a reason to hold one.
            _ if !is_dots(name.as_bytes()) => false,
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

fn exact(text: &[u8]) -> Key {
    Key::Exact(text.into())
}

/// Whether the pieces stand in the text one behind the other. The leftmost place of each leaves the
/// most room for the next.
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
    rest.match_indices(text).any(|(at, _)| at <= segment)
}

/// `.+<namespace>(.+/|)sa/<account>(/.+)?` on what follows the scheme; `account` is `/sa/..`, whose
/// slash is the last byte of `namespace` or of `.+/`.
fn is_account(rest: &str, namespace: &str, account: &str) -> bool {
    // At least one character of trust domain stands before. The leftmost place leaves the most room.
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
    use super::*;

    fn peer(name: &str) -> Peer {
        Peer { uri_sans: vec![name.to_owned()], ..Peer::default() }
    }

    /// istio/istio pilot/pkg/security/authz/model/generator_test.go (spec E-M).
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
            assert_eq!(set.matches(Some(&peer(name))), expected, "{name}");
        }
        let dots = PeerSet::service_accounts(["my.ns/my.sa"], "home");
        assert!(!dots.matches(Some(&peer("spiffe://td/ns/myXns/sa/my.sa"))));
        let bare = PeerSet::service_accounts(["sa"], "home");
        assert!(bare.matches(Some(&peer("spiffe://td/ns/home/sa/sa"))));
        assert!(!bare.matches(None));
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
            assert_eq!(set.matches(Some(&peer(name))), expected, "{value} on {name}");
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
            assert_eq!(set.matches(Some(&peer(name))), expected, "{value} on {name}");
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
            assert_eq!(set.matches(Some(&peer(name))), expected, "{value} on {name}");
        }
    }
}
