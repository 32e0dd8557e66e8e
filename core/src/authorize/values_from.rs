//! `valuesFrom`: an attribute that must have a text which the request has elsewhere.
//!
//! If a client writes a value twice, the service may read either one: a side of header lines, query
//! parameters or captures with several distinct texts does not match where a match lets in, and matches
//! where a match refuses. The elements of a verified claim were written by its issuer, and any of them
//! counts. Each side is read once, so that the work grows with the request alone.

use super::attributes::Attributes;
use crate::policy::authorization::polarity::Polarity;
use crate::policy::authorization::values_from::{Quantifier, ValueSource, ValuesFrom};

/// The distinct texts that a client wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Written {
    Many,
    #[default]
    None,
    One(Vec<u8>),
}

impl ValuesFrom {
    /// An absent side does not match. `captured`: what the rule's path templates captured under a name.
    pub(super) fn matches<'f>(
        &self,
        polarity: Polarity,
        captured: &dyn Fn(&str) -> Vec<&'f [u8]>,
        attributes: &Attributes<'f>,
    ) -> bool {
        let of_many = polarity.is_wide();
        let written = match self.written_sources(polarity, captured, attributes) {
            Written::Many => return of_many,
            Written::None => None,
            Written::One(text) => Some(text),
        };
        let is_written = |text: &[u8]| written.as_deref() == Some(text);
        if self.quantifier == Quantifier::Any && self.attribute.is_written_by_client() {
            let mut key = Written::None;
            attributes.any(&self.attribute, polarity, &mut |text| key.add(text));
            return match key {
                Written::Many => of_many,
                Written::None => false,
                Written::One(key) => {
                    is_written(&key)
                        || self.any_verified(polarity, attributes, &mut |text| text == key)
                }
            };
        }
        // Sorted and not hashed: these keys are not from the configuration.
        let mut verified = Vec::new();
        self.any_verified(polarity, attributes, &mut |text| {
            verified.push(text.to_vec());
            false
        });
        verified.sort_unstable();
        let is_source = |text: &[u8]| {
            is_written(text)
                || verified.binary_search_by(|known| known.as_slice().cmp(text)).is_ok()
        };
        let any =
            |test: &mut dyn FnMut(&[u8]) -> bool| attributes.any(&self.attribute, polarity, test);
        match self.quantifier {
            Quantifier::Any => any(&mut |text| is_source(text)),
            Quantifier::All => {
                let mut is_there = false;
                let is_strange = any(&mut |text| {
                    is_there = true;
                    !is_source(text)
                });
                is_there && !is_strange
            }
        }
    }

    /// What the client wrote, in all sources together.
    fn written_sources<'f>(
        &self,
        polarity: Polarity,
        captured: &dyn Fn(&str) -> Vec<&'f [u8]>,
        attributes: &Attributes<'f>,
    ) -> Written {
        let mut written = Written::None;
        for source in &self.sources {
            match source {
                ValueSource::Attribute(other) if other.is_written_by_client() => {
                    attributes.any(other, polarity, &mut |text| written.add(text));
                }
                ValueSource::Attribute(_) => {}
                ValueSource::Path(name) => {
                    captured(name).into_iter().any(|text| written.add(text));
                }
            }
        }
        written
    }

    fn any_verified(
        &self,
        polarity: Polarity,
        attributes: &Attributes<'_>,
        test: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        self.sources.iter().any(|source| match source {
            ValueSource::Attribute(other) if !other.is_written_by_client() => {
                attributes.any(other, polarity, test)
            }
            ValueSource::Attribute(_) | ValueSource::Path(_) => false,
        })
    }
}

impl Written {
    /// Adds a text; whether there are many now.
    fn add(&mut self, text: &[u8]) -> bool {
        match self {
            Self::Many => {}
            Self::None => *self = Self::One(text.to_vec()),
            Self::One(known) if known == text => {}
            Self::One(_) => *self = Self::Many,
        }
        *self == Self::Many
    }
}
