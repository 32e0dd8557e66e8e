//! Rules by the namespaces and service accounts that stand in a name of the peer.

use super::Key;
use crate::authorize::peer::{self, PeerName};
use crate::hash::FastMap;

/// As many look-ups as a name has namespaces and accounts. Pairs are not tried one by one: a name can have
/// many of both, and then the pairs would be their product.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerParts {
    namespaces: ByText,
    /// By account, then by namespace.
    accounts: FastMap<Box<str>, ByText>,
}

type ByText = FastMap<Box<str>, Vec<usize>>;

impl PeerParts {
    /// Whether the key asks for such a part; then the rule is filed.
    pub(super) fn add(&mut self, number: usize, key: &Key) -> bool {
        let Some((namespace, account)) = peer::part(key) else { return false };
        let by_namespace = match account {
            Some(account) => self.accounts.entry(account.into()).or_default(),
            None => &mut self.namespaces,
        };
        by_namespace.entry(namespace.into()).or_default().push(number);
        true
    }

    pub(super) fn is_used(&self) -> bool {
        !self.namespaces.is_empty() || !self.accounts.is_empty()
    }

    pub(super) fn look_up(&self, name: &PeerName<'_>, found: &mut Vec<usize>) {
        if !self.is_used() {
            return;
        }
        let parts = name.parts();
        let mut take = |by_namespace: &ByText| {
            // Whichever are fewer.
            if by_namespace.len() < parts.namespaces().len() {
                let held = by_namespace.iter().filter(|(namespace, _)| parts.has(namespace));
                found.extend(held.flat_map(|(_, rules)| rules));
            } else {
                let filed = parts.namespaces().filter_map(|namespace| by_namespace.get(namespace));
                found.extend(filed.flatten());
            }
        };
        take(&self.namespaces);
        parts.accounts().filter_map(|account| self.accounts.get(account)).for_each(&mut take);
    }
}
