//! `valuesFrom`: an attribute that must have a text which the request has elsewhere.

use super::attribute::Attribute;

/// `valuesFrom` and `valuesFromAll`.
#[derive(Clone, Debug)]
pub(crate) struct ValuesFrom {
    pub(crate) attribute: Attribute,
    pub(crate) sources: Vec<ValueSource>,
    pub(crate) quantifier: Quantifier,
}

/// How many of the attribute's texts must be among those of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantifier {
    /// Each, and at least one: `valuesFromAll: true`.
    All,
    /// One.
    Any,
}

/// Where `valuesFrom` looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ValueSource {
    /// An attribute of the request.
    Attribute(Attribute),
    /// A capture of the rule's own path templates.
    Path(String),
}

impl ValuesFrom {
    /// Whether a client can prevent a match by adding a text.
    pub(crate) fn is_dodged_by_one_more(&self) -> bool {
        self.quantifier == Quantifier::All && self.attribute.is_written_by_client()
    }
}
