//! Which rules a request could match at all, so that the cost grows with the request and not with the
//! number of rules.
//!
//! Each rule is indexed under texts one of which must be in the request for it to match: a path, its
//! beginning or a segment of it, a claim's value, a name of the peer, a host, an address. A request
//! looks up the texts that it has. A rule without such a text is always tried. The index only leaves
//! out rules that cannot match; [`Rule::matches`] alone decides whether a rule does match.

use std::borrow::Cow;

use super::address::octets;
use super::attributes::{Attributes, with_dashes};
use super::principal;
use crate::claims::Segment;
use crate::codec::json::{Map, Value};
use crate::hash::FastMap;
use crate::policy::authorization::address::masked;
use crate::policy::authorization::attribute::{Address, Attribute};
use crate::policy::authorization::polarity::Polarity;
use crate::policy::authorization::rule::Rule;

mod peers;
mod plan;
mod table;

use peers::PeerParts;
use plan::{Bucket, Kind};
use table::{Candidates, Table};

/// Fewer rules than this are tried one by one.
const MIN_INDEXED_RULES: usize = 8;

/// Rules of one kind, in the byte order of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    /// How widely the rules' values read a request.
    polarity: Polarity,
    always: Vec<usize>,
    /// Whether any rule is indexed.
    files: bool,
    paths: Table,
    hosts: Table,
    /// By whole names of the peer, and by namespaces and service accounts in them.
    peers: Table,
    peer_parts: PeerParts,
    request_principals: Table,
    ports: Table,
    /// By blocks; with the prefix lengths that occur.
    addresses: FastMap<Address, (Vec<u8>, Table)>,
    /// By names; where a match refuses, with dashes.
    headers: FastMap<Box<[u8]>, Table>,
    claims: Claims,
    /// By any other attribute with texts.
    texts: FastMap<Attribute, Table>,
}

/// Rules by claims, along the paths to them.
#[derive(Clone, Debug, Default)]
struct Claims {
    /// By attributes whose path ends here, or continues through the elements of a list.
    tables: FastMap<Attribute, Table>,
    members: FastMap<String, Self>,
}

impl Index {
    /// Indexes rules by what distinguishes them best.
    pub(crate) fn new<'r>(
        rules: impl ExactSizeIterator<Item = &'r Rule>,
        polarity: Polarity,
    ) -> Self {
        if rules.len() < MIN_INDEXED_RULES {
            return Self { always: (0..rules.len()).collect(), ..Self::default() };
        }
        Self::of(plan::choose(rules.map(plan::of_rule)), polarity)
    }

    /// Indexes rules by their paths alone; a rule without paths is not in the index.
    pub(crate) fn by_path<'r>(rules: impl Iterator<Item = &'r Rule>, polarity: Polarity) -> Self {
        let mut index = Self::of(plan::choose(rules.map(plan::of_paths)), polarity);
        index.always.clear();
        index
    }

    fn of(filed: Vec<Option<Vec<Bucket>>>, polarity: Polarity) -> Self {
        let mut index = Self { polarity, ..Self::default() };
        for (number, buckets) in filed.into_iter().enumerate() {
            match buckets {
                Some(buckets) => buckets.into_iter().for_each(|bucket| index.file(number, bucket)),
                None => index.always.push(number),
            }
        }
        index
    }

    fn file(&mut self, number: usize, Bucket { kind, key }: Bucket) {
        self.files = true;
        if kind == Kind::Peer && self.peer_parts.add(number, &key) {
            return;
        }
        let table = match kind {
            Kind::Path => &mut self.paths,
            Kind::Host => &mut self.hosts,
            Kind::Peer => &mut self.peers,
            Kind::RequestPrincipal => &mut self.request_principals,
            Kind::Port => &mut self.ports,
            Kind::Block(address, length) => {
                let (lengths, table) = self.addresses.entry(address).or_default();
                if !lengths.contains(&length) {
                    lengths.push(length);
                }
                table
            }
            Kind::Text(attribute) => match attribute {
                Attribute::Header(name) => {
                    let name = self.header_name(name.as_bytes()).into_owned().into();
                    self.headers.entry(name).or_default()
                }
                Attribute::Claim(_) => self.claims.table(attribute),
                _ => self.texts.entry(attribute).or_default(),
            },
        };
        table.add(number, key);
    }

    /// The rules that could match, in their order.
    pub(crate) fn candidates(&self, attributes: &Attributes<'_>) -> Cow<'_, [usize]> {
        if !self.files {
            return Cow::Borrowed(&self.always);
        }
        let mut found = Candidates::default();
        found.rules.clone_from(&self.always);
        if let Some(path) = attributes.path() {
            self.paths.look_up_path(path, &mut found);
        }
        if self.hosts.is_used() {
            for spelling in attributes.host(self.polarity) {
                self.hosts.look_up(&spelling.text, &mut found);
            }
        }
        if self.peers.is_used() || self.peer_parts.is_used() {
            for name in attributes.peer() {
                self.peers.look_up(name.text.as_bytes(), &mut found);
                self.peer_parts.look_up(name, &mut found);
            }
        }
        self.look_up_connection(attributes, &mut found);
        if !self.headers.is_empty() {
            for (name, value) in &attributes.request.headers {
                if let Some(table) = self.headers.get(&*self.header_name(name)) {
                    table.look_up(value, &mut found);
                }
            }
        }
        for (attribute, table) in &self.texts {
            table.look_up_attribute(attribute, attributes, self.polarity, &mut found);
        }
        if let Some(identity) = attributes.identity {
            self.claims.look_up(&identity.claims.0, attributes, self.polarity, &mut found);
            if self.request_principals.is_used() {
                for key in principal::names(identity) {
                    self.request_principals.look_up(&key, &mut found);
                }
            }
        }
        let mut rules = found.rules;
        rules.sort_unstable();
        rules.dedup();
        Cow::Owned(rules)
    }

    /// The key of a header's name.
    fn header_name<'n>(&self, name: &'n [u8]) -> Cow<'n, [u8]> {
        if self.polarity.is_wide() { with_dashes(name) } else { Cow::Borrowed(name) }
    }

    fn look_up_connection(&self, attributes: &Attributes<'_>, found: &mut Candidates) {
        if let Some(port) = attributes.request.connection.destination_port {
            self.ports.look_up(&port.to_be_bytes(), found);
        }
        for (address, (lengths, table)) in &self.addresses {
            let Some(address) = attributes.address(*address) else { continue };
            for length in lengths {
                table.look_up(&octets(masked(address, *length)), found);
            }
        }
    }
}

impl Claims {
    /// The table of an attribute that is a claim: at the end of its path, or where the path first
    /// leads through a list.
    fn table(&mut self, attribute: Attribute) -> &mut Table {
        let mut node = self;
        if let Attribute::Claim(path) = &attribute {
            for (place, segment) in path.segments().iter().enumerate() {
                let name = match segment {
                    Segment::Name(name) => name,
                    // The claims are not a list: there `[*]` is a member of that name.
                    Segment::Each if place == 0 => "*",
                    Segment::Each => break,
                };
                node = node.members.entry(name.to_owned()).or_default();
            }
        }
        node.tables.entry(attribute).or_default()
    }

    /// Follows the members that the claims have, or those that the rules have if these are fewer.
    fn look_up(
        &self,
        claims: &Map<String, Value>,
        attributes: &Attributes<'_>,
        polarity: Polarity,
        found: &mut Candidates,
    ) {
        let mut go = |node: &Self, value: &Value| {
            for (attribute, table) in &node.tables {
                table.look_up_attribute(attribute, attributes, polarity, found);
            }
            if let Value::Object(members) = value {
                node.look_up(members, attributes, polarity, found);
            }
        };
        if self.members.len() <= claims.len() {
            let both = |(name, node)| Some((node, claims.get::<String>(name)?));
            self.members.iter().filter_map(both).for_each(|(node, value)| go(node, value));
        } else {
            let both = |(name, value)| Some((self.members.get::<String>(name)?, value));
            claims.iter().filter_map(both).for_each(|(node, value)| go(node, value));
        }
    }
}

#[cfg(test)]
mod tests;
