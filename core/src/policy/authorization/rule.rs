//! A rule: (any `from`) and (any `to`) and (every `when`).

use std::fmt;

use super::address::AddressSet;
use super::attribute::{Address, Attribute};
use super::host::HostSet;
use super::peer::PeerSet;
use super::polarity::Polarity;
use super::principal::RequestPrincipalSet;
use super::template::Template;
use super::text::TextSet;
use super::values_from::ValuesFrom;
use crate::hash::FastSet;

/// One rule of a policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rule {
    /// The polarity of its values.
    pub(crate) polarity: Polarity,
    /// Alternatives; if empty, always true.
    pub(crate) from: Vec<Operand>,
    /// Alternatives; if empty, always true.
    pub(crate) to: Vec<Operand>,
    /// All must hold.
    pub(crate) when: Operand,
}

/// Conditions that must all hold: a source, an operation, or a rule's `when`.
pub(crate) type Operand = Vec<Condition>;

/// A field with its values and its `not` values.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// The field or key, such as `paths` or `request.auth.claims[groups]`.
    pub(crate) name: String,
    /// Must match, if given.
    pub(crate) values: Option<Test>,
    /// Each must match (`allValues`).
    pub(crate) all: Vec<Test>,
    /// Must equal a text elsewhere in the request (`valuesFrom`), if given.
    pub(crate) values_from: Option<ValuesFrom>,
    /// Must not match, if given; true if the attribute is absent.
    pub(crate) not_values: Option<Test>,
}

/// A test that one of a field's values must pass.
#[derive(Clone, Debug)]
pub(crate) enum Test {
    Address(Address, AddressSet),
    Host(HostSet),
    Metadata { filter: String, key: String, text: TextSet, list: TextSet },
    Path(PathSet),
    Peer(PeerSet),
    Port(FastSet<u16>),
    RequestPrincipal(RequestPrincipalSet),
    Text(Attribute, TextSet),
}

/// Values of `paths`.
#[derive(Clone, Debug, Default)]
pub(crate) struct PathSet {
    pub(crate) texts: TextSet,
    pub(crate) templates: Vec<Template>,
}

impl Condition {
    /// A condition with values only.
    pub(crate) fn new(name: &str, values: Test) -> Self {
        let name = name.to_owned();
        Self { name, values: Some(values), all: Vec::new(), values_from: None, not_values: None }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
