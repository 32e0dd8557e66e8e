//! Istio's forms of a text value, compiled: exact, `prefix*`, `*suffix`, `*`.
//!
//! Source: istio/istio pilot/pkg/security/authz/matcher/string.go; docs/semantics.md, "How a value
//! matches". A set answers in the time of the text it is asked about, however many values it holds;
//! nothing is compiled to a regex.

use super::key::Key;
use crate::hash::{FastSet, length_bit};
use crate::prefix_tree::{Direction, PrefixTree};

/// What a lone `*` accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Star {
    /// Whatever is there, the empty text too (headers, hosts, methods: Envoy `present_match`).
    Present,
    /// The regex `.+`: at least one character, no line feed, valid UTF-8.
    Filled,
}

/// One form of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form<'v> {
    Any,
    Exact(&'v str),
    Prefix(&'v str),
    Suffix(&'v str),
}

/// The form of a value, checked in Istio's order; a further `*` is itself.
pub(crate) fn form(value: &str) -> Form<'_> {
    if value == "*" {
        Form::Any
    } else if let Some(suffix) = value.strip_prefix('*') {
        Form::Suffix(suffix)
    } else if let Some(prefix) = value.strip_suffix('*') {
        Form::Prefix(prefix)
    } else {
        Form::Exact(value)
    }
}

/// Values, any of which may match.
#[derive(Clone, Debug)]
pub(crate) struct TextSet {
    any: Option<Star>,
    exact: FastSet<Box<[u8]>>,
    /// Which lengths the exact ones have, a bit each.
    lengths: u64,
    prefixes: Affixes,
    suffixes: Affixes,
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
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v str>, star: Star) -> Self {
        let mut set = Self::default();
        for value in values {
            match form(value) {
                Form::Any => set.any = Some(star),
                Form::Exact(text) => set.add_exact(text.as_bytes()),
                Form::Prefix(text) => set.add_prefix(text.as_bytes()),
                Form::Suffix(text) => set.suffixes.add(text.as_bytes()),
            }
        }
        set
    }

    pub(crate) fn add_any(&mut self, star: Star) {
        self.any = Some(star);
    }

    pub(crate) fn add_exact(&mut self, text: &[u8]) {
        self.lengths |= length_bit(text);
        self.exact.insert(text.into());
    }

    pub(crate) fn add_prefix(&mut self, text: &[u8]) {
        self.prefixes.add(text);
    }

    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.lengths & length_bit(text) != 0 && self.exact.contains(text)
            || self.any.is_some_and(|star| star.accepts(text))
            || self.prefixes.any(text)
            || self.suffixes.any(text)
    }

    /// What a match must be like, one of these; `None` where a `*` takes whatever is there.
    pub(crate) fn keys(&self) -> Option<Vec<Key>> {
        if self.any.is_some() {
            return None;
        }
        let exact = self.exact.iter().cloned().map(Key::Exact);
        let prefixes = self.prefixes.texts.iter().cloned().map(Key::Prefix);
        Some(
            exact
                .chain(prefixes)
                .chain(self.suffixes.texts.iter().cloned().map(Key::Suffix))
                .collect(),
        )
    }

    pub(crate) fn exact_texts(&self) -> impl Iterator<Item = &[u8]> {
        self.exact.iter().map(AsRef::as_ref)
    }
}

impl Star {
    pub(crate) fn accepts(self, text: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Filled => is_dots(text) && !text.is_empty(),
        }
    }
}

/// Whether the regex `.*` takes the text as RE2 reads it: UTF-8 without a line feed.
pub(crate) fn is_dots(text: &[u8]) -> bool {
    !text.contains(&b'\n') && std::str::from_utf8(text).is_ok()
}

/// Prefixes or suffixes: one walk along a text, however many there are.
#[derive(Clone, Debug)]
struct Affixes {
    tree: PrefixTree,
    texts: FastSet<Box<[u8]>>,
}

impl Affixes {
    fn new(direction: Direction) -> Self {
        Self { tree: PrefixTree::new(direction), texts: FastSet::default() }
    }

    fn add(&mut self, text: &[u8]) {
        self.tree.add(text, 0);
        self.texts.insert(text.into());
    }

    fn any(&self, text: &[u8]) -> bool {
        !self.texts.is_empty() && self.tree.walk(text, &mut |_, _| true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_four_forms() {
        for (value, text, expected) in [
            ("a", "a", true),
            ("a", "A", false),
            ("a", "ab", false),
            ("a*", "a", true),
            ("a*", "ab", true),
            ("a*", "b", false),
            ("*a", "a", true),
            ("*a", "ba", true),
            ("*a", "ab", false),
            ("*/p*", "x/p*", true),
            ("*/p*", "x/pq", false),
            ("a*b", "a*b", true),
            ("a*b", "axb", false),
            ("*", "x", true),
            ("*", "", false),
            ("*", "a\nb", false),
            (".", "x", false),
        ] {
            let set = TextSet::new([value], Star::Filled);
            assert_eq!(set.matches(text.as_bytes()), expected, "{value:?} on {text:?}");
        }
        assert!(TextSet::new(["*"], Star::Present).matches(b""));
        assert!(!TextSet::new(["*"], Star::Filled).matches(b"\xff"));
    }

    #[test]
    fn one_of_many_is_enough() {
        let values: Vec<String> = (0..1000).map(|i| format!("value-{i}")).collect();
        let set =
            TextSet::new(values.iter().map(String::as_str).chain(["pre*", "*post"]), Star::Filled);
        for (text, expected) in
            [("value-999", true), ("value-1000", false), ("prefix", true), ("x-post", true)]
        {
            assert_eq!(set.matches(text.as_bytes()), expected, "{text}");
        }
    }
}
