//! The peer of the connection: principals, namespaces, service accounts, trust domains.
//!
//! Istio compiles these to regexes over every name in the client's certificate (istio/istio
//! pilot/pkg/security/authz/model/generator.go; docs/semantics.md, "Peer identity"); here each is stored
//! as its pieces.

use super::text::{Pattern, TextSet, Wildcard, pattern};
use crate::hash::{FastMap, FastSet};

/// Scheme of a SPIFFE ID.
pub(crate) const SPIFFE: &str = "spiffe://";

/// Values for the peer, any of which may match any of its names.
#[derive(Clone, Debug, Default)]
pub(crate) struct PeerSet {
    pub(crate) texts: TextSet,
    /// Regex `.*/ns/<v>/.*` of values that are one segment.
    pub(crate) namespaces: FastSet<Box<[u8]>>,
    /// Regex `spiffe://.+/ns/<ns>/(.+/|)sa/<sa>(/.+)?`: where in `homes` the namespaces of an account are.
    pub(crate) accounts: FastMap<Box<[u8]>, usize>,
    pub(crate) homes: Vec<Vec<Box<[u8]>>>,
    pub(crate) patterns: Vec<MatchName>,
}

/// Values that no set of texts can express.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MatchName {
    /// Regex `.*/ns/<v>/.*`, where each `*` of the value is `.*`: the texts between the stars.
    Namespace(Vec<String>),
    /// As [`PeerSet::accounts`], of a namespace with a slash in it: `/ns/<ns>/` and `/sa/<sa>`.
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
            match pattern(value) {
                Pattern::Any => set.texts.add_any(Wildcard::Filled),
                Pattern::Exact(text) => set.texts.add_exact(&spiffe(text)),
                Pattern::Prefix(text) => set.texts.add_prefix(&spiffe(text)),
                Pattern::Suffix(text) => {
                    set.patterns.push(MatchName::SpiffeSuffix(text.to_owned()))
                }
            }
        }
        set
    }

    /// `namespaces`, `source.namespace`.
    pub(crate) fn namespaces<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut set = Self::default();
        for value in values {
            if value.contains(['*', '/']) {
                let text = format!("/ns/{value}/");
                let pieces = text.split('*').map(str::to_owned).collect();
                set.patterns.push(MatchName::Namespace(pieces));
            } else {
                set.namespaces.insert(value.as_bytes().into());
            }
        }
        set
    }

    /// `serviceAccounts`, `source.serviceAccount`: `namespace/account`, or an account of `home`.
    pub(crate) fn service_accounts<'v>(
        values: impl IntoIterator<Item = &'v str>,
        home: &str,
    ) -> Self {
        let mut set = Self::default();
        for value in values {
            let (namespace, account) = value.split_once('/').unwrap_or((home, value));
            if namespace.contains('/') || account.contains('/') {
                set.patterns.push(MatchName::ServiceAccount {
                    namespace: format!("/ns/{namespace}/"),
                    account: format!("/sa/{account}"),
                });
            } else {
                let next = set.homes.len();
                let place = *set.accounts.entry(account.as_bytes().into()).or_insert(next);
                match set.homes.get_mut(place) {
                    Some(homes) => homes.push(namespace.as_bytes().into()),
                    None => set.homes.push(vec![namespace.as_bytes().into()]),
                }
            }
        }
        set
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
}

pub(crate) fn spiffe(text: &str) -> Vec<u8> {
    [SPIFFE, text].concat().into_bytes()
}
