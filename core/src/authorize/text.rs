//! Whether a text is in a set: in the time of the text, however many values the set holds.

use super::key::Key;
use crate::hash::length_bit;
use crate::policy::authorization::text::{Affixes, TextSet, Wildcard};

impl TextSet {
    pub(crate) fn matches(&self, text: &[u8]) -> bool {
        self.lengths & length_bit(text) != 0 && self.exact.contains(text)
            || self.any.is_some_and(|wildcard| wildcard.accepts(text))
            || self.prefixes.any(text)
            || self.suffixes.any(text)
    }

    /// The keys one of which a match must have; `None` if a `*` takes any text.
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
}

impl Wildcard {
    pub(crate) fn accepts(self, text: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Filled => matches_wildcard(text) && !text.is_empty(),
        }
    }
}

/// Whether the regex `.*` matches the text as RE2 reads it: UTF-8 without a line feed.
pub(crate) fn matches_wildcard(text: &[u8]) -> bool {
    !text.contains(&b'\n') && std::str::from_utf8(text).is_ok()
}

impl Affixes {
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
            let set = TextSet::new([value], Wildcard::Filled);
            assert_eq!(set.matches(text.as_bytes()), expected, "{value:?} on {text:?}");
        }
        assert!(TextSet::new(["*"], Wildcard::Present).matches(b""));
        assert!(!TextSet::new(["*"], Wildcard::Filled).matches(b"\xff"));
    }

    #[test]
    fn one_of_many_is_enough() {
        let values: Vec<String> = (0..1000).map(|i| format!("value-{i}")).collect();
        let set = TextSet::new(
            values.iter().map(String::as_str).chain(["pre*", "*post"]),
            Wildcard::Filled,
        );
        for (text, expected) in
            [("value-999", true), ("value-1000", false), ("prefix", true), ("x-post", true)]
        {
            assert_eq!(set.matches(text.as_bytes()), expected, "{text}");
        }
    }
}
