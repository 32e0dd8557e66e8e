//! `usher diff`: how two configurations differ in meaning, not in spelling; and which recorded requests would be decided
//! differently.

mod meaning;
mod replay;

pub use meaning::Change;
pub use replay::{Replay, Replayed};

use crate::config::Loaded;

/// The differences in meaning, by their place.
pub fn changes(before: &Loaded, after: &Loaded) -> Vec<Change> {
    let [was, is] = [before, after]
        .map(|loaded| (&loaded.source.config.value, loaded.policy.settings.missing_token));
    meaning::changes(was, is)
}
