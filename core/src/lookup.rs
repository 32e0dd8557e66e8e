//! Texts of a request in byte order, to be looked up in lists of any length.
//!
//! A text from a client is never the key of a hash map with a known hash: a client could choose texts with one
//! hash. One type and one sort for all of them, since each further one would add its size to the module.

/// Texts, each with a number from the caller, sorted by text and then by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lookup<'t>(Vec<(&'t [u8], usize)>);

impl<'t> Lookup<'t> {
    /// Sorts pairs.
    pub(crate) fn new(mut pairs: Vec<(&'t [u8], usize)>) -> Self {
        if pairs.len() > 1 {
            pairs.sort_unstable();
        }
        Self(pairs)
    }

    /// Texts, numbered from 0.
    pub(crate) fn of(texts: impl Iterator<Item = &'t [u8]>) -> Self {
        Self::new(texts.enumerate().map(|(number, text)| (text, number)).collect())
    }

    /// The number of pairs.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The pairs with this text.
    pub(crate) fn all(&self, text: &[u8]) -> &[(&'t [u8], usize)] {
        let from = self.0.partition_point(|(other, _)| *other < text);
        let rest = self.0.get(from..).unwrap_or_default();
        let length = rest.iter().take_while(|(other, _)| *other == text).count();
        rest.get(..length).unwrap_or_default()
    }

    /// The first number of this text.
    pub(crate) fn first(&self, text: &[u8]) -> Option<usize> {
        self.all(text).first().map(|(_, number)| *number)
    }

    pub(crate) fn has(&self, text: &[u8]) -> bool {
        self.0.binary_search_by(|(other, _)| (*other).cmp(text)).is_ok()
    }

    /// Each text once, with its first number.
    pub(crate) fn each(&self) -> impl Iterator<Item = (&'t [u8], usize)> {
        let mut last = None;
        self.0.iter().copied().filter(move |(text, _)| last.replace(*text) != Some(*text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_found_with_all_their_numbers() {
        let texts = ["b", "a", "", "b", "ab", "b"].map(str::as_bytes);
        let lookup = Lookup::of(texts.into_iter());
        for (text, expected) in
            [("a", vec![1]), ("b", vec![0, 3, 5]), ("", vec![2]), ("ab", vec![4]), ("c", vec![])]
        {
            let found: Vec<usize> = lookup.all(text.as_bytes()).iter().map(|(_, n)| *n).collect();
            assert_eq!(found, expected, "{text}");
            assert_eq!(lookup.has(text.as_bytes()), !expected.is_empty(), "{text}");
            assert_eq!(lookup.first(text.as_bytes()), expected.first().copied(), "{text}");
        }
        let each: Vec<(&[u8], usize)> = lookup.each().collect();
        assert_eq!(each, [(&b""[..], 2), (b"a", 1), (b"ab", 4), (b"b", 0)]);
    }
}
