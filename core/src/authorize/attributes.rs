//! The attributes of a request that rules can use, and how each is read.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};
use std::net::IpAddr;

use super::host::{self, Spelling};
use super::peer::{self, PeerName};
use crate::claims::{ClaimPath, Identity, Segment};
use crate::codec::json::Value;
use crate::codec::query::without_query;
use crate::lookup::Lookup;
use crate::policy::authorization::attribute::{Address, Attribute};
use crate::policy::authorization::polarity::Polarity;
use crate::request::{MetadataValue, Request};
use crate::token::{self, Param};

/// A request under evaluation. What is expensive to read is read once, when the first rule needs it.
#[derive(Debug)]
pub(crate) struct Attributes<'r> {
    pub(crate) request: &'r Request,
    pub(crate) identity: Option<&'r Identity>,
    /// `matchScalarClaims`.
    pub(crate) scalars: Scalars,
    /// The host as written.
    host: OnceCell<Vec<Spelling>>,
    /// The host in every spelling that a service may read it in.
    host_spellings: OnceCell<Vec<Spelling>>,
    /// The position of each line in a request with many, by name.
    lines: OnceCell<Vec<usize>>,
    /// How many conditions have looked up header lines.
    asked: Cell<usize>,
    /// The position of each metadatum, by key.
    metadata: OnceCell<Lookup<'r>>,
    peer: OnceCell<Vec<PeerName<'r>>>,
    query: OnceCell<Vec<Param<'r>>>,
}

/// With at most this many header lines, each condition that needs one searches them all.
const FEW_LINES: usize = 64;
/// This many conditions search all header lines, however many there are; for later conditions the lines
/// are sorted.
const FEW_ASK: usize = 8;

/// Whether a number or boolean claim can match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Scalars {
    /// By its JSON text.
    AsText,
    /// Never, as in Istio.
    #[default]
    Never,
}

/// A byte of a header's name as a service reads it that takes `_` for `-`, as CGI and its successors do.
fn dash(byte: &u8) -> u8 {
    if *byte == b'_' { b'-' } else { *byte }
}

fn is_same_name(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().map(dash).eq(b.iter().map(dash))
}

/// The one spelling for all names that such a service takes for the same.
pub(crate) fn with_dashes(name: &[u8]) -> Cow<'_, [u8]> {
    if name.contains(&b'_') { name.iter().map(dash).collect() } else { Cow::Borrowed(name) }
}

impl<'r> Attributes<'r> {
    pub(crate) fn new(
        request: &'r Request,
        identity: Option<&'r Identity>,
        scalars: Scalars,
    ) -> Self {
        Self {
            request,
            identity,
            scalars,
            host: OnceCell::new(),
            host_spellings: OnceCell::new(),
            lines: OnceCell::new(),
            asked: Cell::new(0),
            metadata: OnceCell::new(),
            peer: OnceCell::new(),
            query: OnceCell::new(),
        }
    }

    /// The names of the peer; empty without a certificate.
    pub(crate) fn peer(&self) -> &[PeerName<'r>] {
        self.peer.get_or_init(|| {
            self.request
                .connection
                .peer
                .as_ref()
                .map(|p| peer::names(p).collect())
                .unwrap_or_default()
        })
    }

    /// The host, in the [`host::spellings`] that `polarity` reaches.
    pub(crate) fn host(&self, polarity: Polarity) -> &[Spelling] {
        let cell = if polarity.is_wide() { &self.host_spellings } else { &self.host };
        cell.get_or_init(|| host::spellings(self.request, polarity))
    }

    /// `:path` without its query.
    pub(crate) fn path(&self) -> Option<&'r [u8]> {
        self.request.path().map(without_query)
    }

    pub(crate) fn address(&self, address: Address) -> Option<IpAddr> {
        let connection = &self.request.connection;
        match address {
            Address::Destination => connection.destination_ip,
            Address::Remote => connection.remote_ip,
            Address::Source => connection.source_ip,
        }
    }

    /// Whether one of the attribute's texts satisfies `test`; `polarity` says how widely they are read.
    pub(crate) fn any(
        &self,
        attribute: &Attribute,
        polarity: Polarity,
        test: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        match attribute {
            Attribute::Method => self.request.method().is_some_and(test),
            Attribute::Sni => test(self.request.connection.sni.as_bytes()),
            Attribute::Header(name) => self.any_line(name, polarity, test),
            Attribute::Query(name) => self.query(name).iter().any(|(_, text)| test(text)),
            Attribute::Claim(path) => self.identity.is_some_and(|i| self.claim(i, path, test)),
            Attribute::Scope => {
                self.identity.is_some_and(|i| i.scopes().iter().any(|s| test(s.as_bytes())))
            }
            Attribute::Provider => self.identity.is_some_and(|i| test(i.provider.as_bytes())),
            Attribute::Actor => {
                let actor = self.identity.and_then(|i| i.claims.get("act")?.get("sub")?.as_str());
                actor.is_some_and(|sub| test(sub.as_bytes()))
            }
        }
    }

    /// How a claim matches (istio/istio pilot/pkg/security/authz/matcher/metadata.go): a string, or a
    /// list with one string that matches; for rules, a top-level string may be a list of words.
    fn claim(
        &self,
        identity: &Identity,
        path: &ClaimPath,
        test: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        if let [Segment::Name(name)] = path.segments()
            && let Some(words) = identity.words(name)
        {
            return words.iter().any(|word| test(word.as_bytes()));
        }
        let mut text = |value: &Value| match value {
            Value::String(text) => test(text.as_bytes()),
            Value::Number(number) if self.scalars == Scalars::AsText => {
                test(number.as_str().as_bytes())
            }
            Value::Bool(flag) if self.scalars == Scalars::AsText => {
                test(if *flag { b"true" } else { b"false" })
            }
            _ => false,
        };
        identity.claims.any(path, &mut |value| match value {
            Value::Array(items) => items.iter().any(&mut text),
            _ => text(value),
        })
    }

    fn any_line(
        &self,
        name: &str,
        polarity: Polarity,
        test: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        let (headers, name) = (&self.request.headers, name.as_bytes());
        let mut matches = |(found, line): &(Vec<u8>, Vec<u8>)| {
            (polarity.is_wide() && is_same_name(found, name) || found == name) && test(line)
        };
        let asked = self.asked.get();
        self.asked.set(asked.saturating_add(1));
        if headers.len() <= FEW_LINES || asked < FEW_ASK {
            return headers.iter().any(matches);
        }
        // Sorts names that differ only in `_` for `-` next to each other.
        let order = |at: usize, name: &[u8]| {
            let found = headers.get(at).map_or(&[][..], |(name, _)| name);
            found.iter().map(dash).cmp(name.iter().map(dash))
        };
        let lines = self.lines.get_or_init(|| {
            let mut lines: Vec<usize> = (0..headers.len()).collect();
            lines.sort_by(|a, b| order(*a, headers.get(*b).map_or(&[][..], |(name, _)| name)));
            lines
        });
        let from = lines.partition_point(|at| order(*at, name).is_lt());
        let mut same = lines.iter().skip(from).take_while(|at| order(**at, name).is_eq());
        same.any(|at| headers.get(*at).is_some_and(&mut matches))
    }

    /// The parameters of this name, in their order.
    fn query(&self, name: &str) -> &[Param<'r>] {
        let all = self.query.get_or_init(|| {
            let mut all = token::params(self.request);
            all.sort_by(|(a, _), (b, _)| a.cmp(b));
            all
        });
        let name = name.as_bytes();
        let from = all.partition_point(|(found, _)| **found < *name);
        let to = all.partition_point(|(found, _)| **found <= *name);
        all.get(from..to).unwrap_or_default()
    }

    /// Dynamic metadata that another filter set.
    pub(crate) fn metadata(&self, filter: &str, key: &str) -> Option<&'r MetadataValue> {
        let all = &self.request.connection.metadata;
        let keys = self.metadata.get_or_init(|| Lookup::of(all.iter().map(|m| m.key.as_bytes())));
        let mut found = keys.all(key.as_bytes()).iter().filter_map(|(_, at)| all.get(*at));
        found.find(|metadatum| metadatum.filter == filter).map(|metadatum| &metadatum.value)
    }
}
