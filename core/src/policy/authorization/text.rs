//! Istio's forms of a text value: exact, `prefix*`, `*suffix`, `*`.
//!
//! Source: istio/istio pilot/pkg/security/authz/matcher/string.go; docs/semantics.md, "How a value
//! matches". Nothing is compiled to a regex.

use crate::hash::{FastSet, length_bit};
use crate::prefix_tree::{Direction, PrefixTree};

/// What a lone `*` accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wildcard {
    /// Any text, the empty one too (headers, hosts, methods: Envoy `present_match`).
    Present,
    /// The regex `.+`: at least one character, no line feed, valid UTF-8.
    Filled,
}

/// One form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pattern<'v> {
    Any,
    Exact(&'v str),
    Prefix(&'v str),
    Suffix(&'v str),
}

/// The form of a value, checked in Istio's order; a further `*` is literal.
pub(crate) fn pattern(value: &str) -> Pattern<'_> {
    if value == "*" {
        Pattern::Any
    } else if let Some(suffix) = value.strip_prefix('*') {
        Pattern::Suffix(suffix)
    } else if let Some(prefix) = value.strip_suffix('*') {
        Pattern::Prefix(prefix)
    } else {
        Pattern::Exact(value)
    }
}

/// Values, any of which may match.
#[derive(Clone, Debug)]
pub(crate) struct TextSet {
    pub(crate) any: Option<Wildcard>,
    pub(crate) exact: FastSet<Box<[u8]>>,
    /// The lengths of the exact ones, one bit each.
    pub(crate) lengths: u64,
    pub(crate) prefixes: Affixes,
    pub(crate) suffixes: Affixes,
}

impl Default for TextSet {
    fn default() -> Self {
        let (prefixes, suffixes) =
            (Affixes::new(Direction::Forward), Affixes::new(Direction::Backward));
        Self { any: None, exact: FastSet::default(), lengths: 0, prefixes, suffixes }
    }
}

impl TextSet {
    /// Compiles values.
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v str>, wildcard: Wildcard) -> Self {
        let mut set = Self::default();
        for value in values {
            match pattern(value) {
                Pattern::Any => set.any = Some(wildcard),
                Pattern::Exact(text) => set.add_exact(text.as_bytes()),
                Pattern::Prefix(text) => set.add_prefix(text.as_bytes()),
                Pattern::Suffix(text) => set.suffixes.add(text.as_bytes()),
            }
        }
        set
    }

    pub(crate) fn add_any(&mut self, wildcard: Wildcard) {
        self.any = Some(wildcard);
    }

    pub(crate) fn add_exact(&mut self, text: &[u8]) {
        self.lengths |= length_bit(text);
        self.exact.insert(text.into());
    }

    pub(crate) fn add_prefix(&mut self, text: &[u8]) {
        self.prefixes.add(text);
    }

    pub(crate) fn exact_texts(&self) -> impl Iterator<Item = &[u8]> {
        self.exact.iter().map(AsRef::as_ref)
    }
}

/// Prefixes or suffixes: one pass over a text, however many there are.
#[derive(Clone, Debug)]
pub(crate) struct Affixes {
    pub(crate) tree: PrefixTree,
    pub(crate) texts: FastSet<Box<[u8]>>,
}

impl Affixes {
    fn new(direction: Direction) -> Self {
        Self { tree: PrefixTree::new(direction), texts: FastSet::default() }
    }

    fn add(&mut self, text: &[u8]) {
        self.tree.add(text, 0);
        self.texts.insert(text.into());
    }
}
