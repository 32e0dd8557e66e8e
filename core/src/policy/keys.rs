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
    /// How it is used. A different `timeout` does not make a different key set.
    pub terms: Terms,
    /// `jwks` beside it: used until the first set is fetched.
    pub inline: Option<Rc<KeySet>>,
}

/// What is fetched. Rules with equal sources share the fetched set, and so do successive
/// configurations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The Envoy cluster of the key server.
    pub cluster: String,
    /// Where the keys are.
    pub place: JwksLocation,
    /// Which of the keys count.
    pub selection: Selection,
}

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksLocation {
    /// OpenID Connect Discovery 1.0: the issuer's configuration has the location.
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
    /// Whether `oct` keys count: the rule lists an HS algorithm.
    pub symmetric: bool,
    /// `jwksPins`: RFC 7638 thumbprints; if empty, all keys count.
    pub pins: Vec<String>,
    /// Whether keys count whose private half is published.
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
    /// The keys in the configuration.
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
    /// One text for equal sources, different for others: the name of their shared data.
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
