//! Istio's RequestAuthentication and AuthorizationPolicy, or Envoy's jwt_authn and rbac -> Usher, and
//! back. What cannot be converted is reported, with its place and the reason.

pub(crate) mod collect;
mod envoy;
mod istio;
mod plugin;
mod readers;
mod select;
mod tcp;
mod to_usher;

pub use collect::Workload;
pub use istio::{Home, manifests as to_istio};
pub use tcp::Ports;
pub use to_usher::{Mesh, to_usher};

use usher_core::codec::json::{Map, Value};

use crate::envoy::snake;

/// Whether a document has filters of Envoy's own that are converted.
pub(crate) fn is_native(document: &Value) -> bool {
    envoy::is_envoy_filter(document) || envoy::is_envoy(&snake(document))
}

/// A manifest, and the comment above it.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Lines that name its source.
    pub comment: Vec<String>,
    /// The manifest.
    pub value: Value,
}

/// What an operator should know about a conversion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether the result has the same meaning nevertheless.
    pub weight: Weight,
    /// `file:line`, or the name of a thing.
    pub place: String,
    /// The note.
    pub text: String,
}

/// What a note means for the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The result means the same, and this is worth knowing.
    Advice,
    /// The result does not mean the same: this is missing from it.
    Lost,
}

/// The notes of a conversion.
#[derive(Debug, Default)]
pub struct Notes(pub Vec<Note>);

impl Notes {
    pub(crate) fn advice(&mut self, place: &str, text: impl Into<String>) {
        self.add(Weight::Advice, place, text.into());
    }

    pub(crate) fn lost(&mut self, place: &str, text: impl Into<String>) {
        self.add(Weight::Lost, place, text.into());
    }

    /// Adds a note, each once.
    fn add(&mut self, weight: Weight, place: &str, text: String) {
        let note = Note { weight, place: place.to_owned(), text };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// Whether nothing is lost: the result means the same as the source.
    pub fn is_whole(&self) -> bool {
        self.0.iter().all(|note| note.weight == Weight::Advice)
    }
}

/// An object of the members that are present.
pub(crate) fn object<const N: usize>(members: [(&str, Option<Value>); N]) -> Value {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect::<Map<String, Value>>())
}
