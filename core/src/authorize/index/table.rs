//! Rules by a text, by its beginning or end, or by a segment of a path.

use crate::authorize::attributes::Attributes;
use crate::authorize::key::Key;
use crate::hash::{FastMap, FastSet};
use crate::policy::authorization::attribute::Attribute;
use crate::policy::authorization::polarity::Polarity;
use crate::prefix_tree::{Direction, PrefixTree};

/// Rules by keys: a look-up costs by the length of the text, for any number of rules.
#[derive(Clone, Debug)]
pub(super) struct Table {
    exact: Filed,
    prefixes: PrefixTree,
    segments: FastMap<usize, Filed>,
    suffixes: PrefixTree,
    /// The rules of each prefix and suffix, by its number in the trees.
    affixed: Vec<Vec<usize>>,
    /// All segments are at places before this one.
    places: usize,
}

/// The rules found so far.
#[derive(Debug, Default)]
pub(super) struct Candidates {
    pub(super) rules: Vec<usize>,
    /// The addresses of the lists of rules that were added. A request may repeat a text a thousand times, and a
    /// thousand rules may be about it.
    lists: FastSet<*const usize>,
}

impl Candidates {
    /// Adds a list of the index.
    pub(super) fn add(&mut self, list: &[usize]) {
        if self.lists.insert(list.as_ptr()) {
            self.rules.extend(list);
        }
    }
}

pub(super) type Filed = FastMap<Box<[u8]>, Vec<usize>>;

impl Default for Table {
    fn default() -> Self {
        Self {
            exact: Filed::default(),
            prefixes: PrefixTree::new(Direction::Forward),
            segments: FastMap::default(),
            suffixes: PrefixTree::new(Direction::Backward),
            affixed: Vec::new(),
            places: 0,
        }
    }
}

impl Table {
    pub(super) fn add(&mut self, number: usize, key: Key) {
        let (filed, text) = match key {
            Key::Exact(text) => (&mut self.exact, text),
            Key::Prefix(text) => {
                let place = self.prefixes.add(&text, self.affixed.len());
                return self.affix(place, number);
            }
            Key::Suffix(text) => {
                let place = self.suffixes.add(&text, self.affixed.len());
                return self.affix(place, number);
            }
            Key::Segment(place, text) => {
                self.places = self.places.max(place.saturating_add(1));
                (self.segments.entry(place).or_default(), text)
            }
        };
        filed.entry(text).or_default().push(number);
    }

    fn affix(&mut self, place: usize, number: usize) {
        match self.affixed.get_mut(place) {
            Some(rules) => rules.push(number),
            None => self.affixed.push(vec![number]),
        }
    }

    pub(super) fn is_used(&self) -> bool {
        !self.exact.is_empty()
            || !self.prefixes.is_empty()
            || !self.segments.is_empty()
            || !self.suffixes.is_empty()
    }

    pub(super) fn look_up(&self, text: &[u8], found: &mut Candidates) {
        if !self.exact.is_empty() {
            self.exact.get(text).into_iter().for_each(|list| found.add(list));
        }
        for tree in [&self.prefixes, &self.suffixes] {
            if !tree.is_empty() {
                tree.walk(text, &mut |_, place| {
                    self.affixed.get(place).into_iter().for_each(|list| found.add(list));
                    false
                });
            }
        }
    }

    pub(super) fn look_up_path(&self, path: &[u8], found: &mut Candidates) {
        self.look_up(path, found);
        let segments = path.split(|b| *b == b'/').skip(1).take(self.places);
        for (place, segment) in segments.enumerate() {
            let filed = self.segments.get(&place).and_then(|filed| filed.get(segment));
            filed.into_iter().for_each(|list| found.add(list));
        }
    }

    pub(super) fn look_up_attribute(
        &self,
        attribute: &Attribute,
        attributes: &Attributes<'_>,
        polarity: Polarity,
        found: &mut Candidates,
    ) {
        attributes.any(attribute, polarity, &mut |text| {
            self.look_up(text, found);
            false
        });
    }
}
