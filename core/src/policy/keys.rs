//! The keys of a rule, or where they come from.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use super::url::Location;
use crate::jwks::{KeySet, Published};

/// The keys of a rule.
#[derive(Clone, Debug)]
pub enum Keys {
    /// From the configuration.
    Inline(Rc<KeySet>),
    /// From a server.
    Remote(Rc<Remote>),
}

/// The keys of a rule with `jwksUri` or `jwksCluster`.
#[derive(Clone, Debug)]
pub struct Remote {
    /// What is fetched.
    pub source: Source,
    /// How it is used. Another `timeout` is no other key set.
    pub terms: Terms,
    /// `jwks` beside it: serves until the first set was fetched.
    pub inline: Option<Rc<KeySet>>,
}

/// What is fetched. Rules with equal sources share what was fetched, and so do configurations that
/// follow each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The Envoy cluster that leads there.
    pub cluster: String,
    /// Where the keys are.
    pub place: JwksLocation,
    /// Which of them count.
    pub selection: Selection,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksLocation {
    /// OpenID Connect Discovery 1.0: the issuer's configuration says where.
    Discovery {
        /// The issuer, as its configuration must name it.
        issuer: String,
        /// `<issuer>/.well-known/openid-configuration`.
        configuration: Location,
    },
    /// `jwksUri`.
    Keys(Location),
}

/// Which keys of a fetched set count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selection {
    /// Whether `oct` keys do: the rule lists an HS algorithm.
    pub symmetric: bool,
    /// `jwksPins`: RFC 7638 thumbprints; none: all keys.
    pub pins: Vec<String>,
    /// Whether keys do whose private half is published.
    pub published: Published,
}

/// How a fetched set is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// How long a fetch may take, and how long a request waits for one.
    pub timeout: Duration,
    /// How long a set may be used after its server last confirmed it.
    pub max_stale: Duration,
}

impl Keys {
    /// The configuration's own.
    pub fn inline(&self) -> Option<Rc<KeySet>> {
        match self {
            Self::Inline(keys) => Some(Rc::clone(keys)),
            Self::Remote(remote) => remote.inline.clone(),
        }
    }
}

impl fmt::Display for JwksLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Discovery { configuration, .. } => configuration.fmt(f),
            Self::Keys(location) => location.fmt(f),
        }
    }
}

impl Source {
    /// One text for equal sources, and for no others: the name of what is shared about them.
    pub fn id(&self) -> String {
        let place = match &self.place {
            JwksLocation::Discovery { issuer, .. } => format!("issuer {issuer}"),
            JwksLocation::Keys(location) => format!("keys {location}"),
        };
        let Selection { symmetric, pins, published } = &self.selection;
        let published = match published {
            Published::Allowed => " published",
            Published::Refused => "",
        };
        format!("{} {place} {symmetric} {}{published}", self.cluster, pins.join(","))
    }
}
