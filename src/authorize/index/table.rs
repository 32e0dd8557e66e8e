//! Rules by a text, by its beginning or end, or by a segment of a path.

use crate::authorize::facts::{Attribute, Facts};
use crate::hash::FastMap;

/// What a text must be like.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    /// This text.
    Exact(Box<[u8]>),
    /// Begins so.
    Prefix(Box<[u8]>),
    /// Is a path with this segment at this place, counted from 0.
    Segment(usize, Box<[u8]>),
    /// Ends so.
    Suffix(Box<[u8]>),
}

/// Rules by keys: as many look-ups as there are lengths or places, whatever the number of rules.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    exact: Filed,
    prefixes: FastMap<usize, Filed>,
    segments: FastMap<usize, Filed>,
    suffixes: FastMap<usize, Filed>,
    /// Places of segments end before this one.
    places: usize,
}

type Filed = FastMap<Box<[u8]>, Vec<usize>>;

impl Table {
    pub(super) fn add(&mut self, number: usize, key: Key) {
        let (filed, text) = match key {
            Key::Exact(text) => (&mut self.exact, text),
            Key::Prefix(text) => (self.prefixes.entry(text.len()).or_default(), text),
            Key::Suffix(text) => (self.suffixes.entry(text.len()).or_default(), text),
            Key::Segment(place, text) => {
                self.places = self.places.max(place.saturating_add(1));
                (self.segments.entry(place).or_default(), text)
            }
        };
        filed.entry(text).or_default().push(number);
    }

    pub(super) fn is_used(&self) -> bool {
        let affixes = [&self.prefixes, &self.segments, &self.suffixes];
        !self.exact.is_empty() || affixes.iter().any(|filed| !filed.is_empty())
    }

    pub(super) fn look_up(&self, text: &[u8], found: &mut Vec<usize>) {
        let mut take = |filed: &Filed, text: Option<&[u8]>| {
            found.extend(text.and_then(|text| filed.get(text)).into_iter().flatten());
        };
        if !self.exact.is_empty() {
            take(&self.exact, Some(text));
        }
        for (length, filed) in &self.prefixes {
            take(filed, text.get(..*length));
        }
        for (length, filed) in &self.suffixes {
            take(filed, text.len().checked_sub(*length).and_then(|from| text.get(from..)));
        }
    }

    pub(super) fn look_up_path(&self, path: &[u8], found: &mut Vec<usize>) {
        self.look_up(path, found);
        let segments = path.split(|b| *b == b'/').skip(1).take(self.places);
        for (place, segment) in segments.enumerate() {
            let filed = self.segments.get(&place).and_then(|filed| filed.get(segment));
            found.extend(filed.into_iter().flatten());
        }
    }

    pub(super) fn look_up_attribute(
        &self,
        attribute: &Attribute,
        facts: &Facts<'_>,
        found: &mut Vec<usize>,
    ) {
        facts.any(attribute, &mut |text| {
            self.look_up(text, found);
            false
        });
    }
}
