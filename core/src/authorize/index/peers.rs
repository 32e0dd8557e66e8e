//! Rules by the namespaces and service accounts in a name of the peer.

use super::table::{Candidates, Filed};
use crate::authorize::key::Key;
use crate::authorize::peer::{self, PeerName};
use crate::hash::FastMap;

/// The number of look-ups is that of the namespaces and accounts in a name. Pairs are not tried one by
/// one: a name can have many of both, and the number of pairs is their product.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerParts {
    by_namespace: Filed,
    /// The position in `by_home` of each account's rules.
    accounts: FastMap<Box<[u8]>, usize>,
    /// The rules of each account, by namespace.
    by_home: Vec<Filed>,
}

impl PeerParts {
    /// Adds a rule if the key is for such a part; whether it is.
    pub(super) fn add(&mut self, number: usize, key: &Key) -> bool {
        let Some((namespace, account)) = peer::part(key) else { return false };
        let filed = match account {
            Some(account) => {
                let next = self.by_home.len();
                let place = *self.accounts.entry(account.into()).or_insert(next);
                if place == next {
                    self.by_home.push(Filed::default());
                }
                self.by_home.get_mut(place)
            }
            None => Some(&mut self.by_namespace),
        };
        if let Some(filed) = filed {
            filed.entry(namespace.into()).or_default().push(number);
        }
        true
    }

    pub(super) fn is_used(&self) -> bool {
        !self.by_namespace.is_empty() || !self.accounts.is_empty()
    }

    pub(super) fn look_up(&self, name: &PeerName<'_>, found: &mut Candidates) {
        if !self.is_used() {
            return;
        }
        let parts = name.parts();
        let accounts = parts.accounts.each().filter_map(|(account, _)| self.accounts.get(account));
        let by_home = accounts.filter_map(|place| self.by_home.get(*place));
        for filed in by_home.chain([&self.by_namespace]) {
            // Goes through the shorter of the two.
            if filed.len() < parts.namespaces.len() {
                let held = filed.iter().filter(|(namespace, _)| parts.namespaces.has(namespace));
                held.for_each(|(_, list)| found.add(list));
            } else {
                let named = parts.namespaces.each();
                let lists = named.filter_map(|(namespace, _)| filed.get(namespace));
                lists.for_each(|list| found.add(list));
            }
        }
    }
}
