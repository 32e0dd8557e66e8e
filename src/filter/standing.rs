//! Which configuration is in force: the one that came, or the last good one, or none.
//!
//! A configuration that is wrong is not refused to the host, which would fail the whole VM (see
//! docs/operations.md). The last good one of a plugin is in the host's shared data: there it outlives
//! the root context, the VM and its faults.

use std::rc::Rc;

use super::host;
use super::remote::{self, Refresh};
use crate::config::{InvalidConfig, Loaded, OnInvalidConfig, Policy};

/// What decides about requests.
pub(super) enum Gate {
    /// Nothing: every request is refused.
    Invalid,
    /// A policy, and what refreshes its keys.
    Open { policy: Box<Policy>, refreshes: Vec<Rc<Refresh>> },
}

/// How the configuration that came last stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is in force.
    Good,
    /// It is wrong; the last good one is in force.
    Kept,
    /// It is wrong, and so every request is refused.
    Invalid,
}

/// What came of a configuration.
pub(super) struct Configured {
    pub(super) gate: Gate,
    pub(super) standing: Standing,
    /// The text of the configuration in force; empty where there is none.
    pub(super) text: Vec<u8>,
    /// What is wrong with the one that came.
    pub(super) problems: Vec<InvalidConfig>,
    /// What is worth a second look in the one in force.
    pub(super) warnings: Vec<InvalidConfig>,
}

/// Reads the configuration that the host has for the root context of the call.
pub(super) fn configure() -> Configured {
    let text = host::plugin_configuration();
    let problems = match Policy::from_json(&text) {
        Ok(loaded) => {
            remember(&text);
            return open(loaded, Standing::Good, text, Vec::new());
        }
        Err(problems) => problems,
    };
    match last_good() {
        Some((last, loaded)) if keeps(&loaded.policy, &text) => {
            open(loaded, Standing::Kept, last, problems)
        }
        _ => Configured {
            gate: Gate::Invalid,
            standing: Standing::Invalid,
            text: Vec::new(),
            problems,
            warnings: Vec::new(),
        },
    }
}

fn open(
    Loaded { policy, warnings }: Loaded,
    standing: Standing,
    text: Vec<u8>,
    problems: Vec<InvalidConfig>,
) -> Configured {
    let refreshes = remote::adopt(&policy);
    let gate = Gate::Open { policy: Box::new(policy), refreshes };
    Configured { gate, standing, text, problems, warnings }
}

/// Whether the last good policy stays in force in place of `text`. Either may say `deny`.
fn keeps(last: &Policy, text: &[u8]) -> bool {
    [last.on_invalid_config, OnInvalidConfig::of_invalid(text)]
        .iter()
        .all(|wish| *wish == OnInvalidConfig::KeepLast)
}

fn remember(text: &[u8]) {
    let Some(key) = key() else { return };
    let same = host::shared_data(&key).is_some_and(|(known, _)| known == text);
    if !same {
        // Whichever of two workers comes last: both have the same text to write.
        host::set_shared_data(&key, text, 0);
    }
}

fn last_good() -> Option<(Vec<u8>, Loaded)> {
    let (text, _) = host::shared_data(&key()?)?;
    let loaded = Policy::from_json(&text).ok()?;
    Some((text, loaded))
}

/// What the plugin is called, by its name and its root id. Without both it cannot be told from another,
/// whose configuration must never be taken for its own: two listeners often have a filter of one name.
fn key() -> Option<String> {
    let text = |name| String::from_utf8(host::property(&[name])?).ok();
    let filled = |name| text(name).filter(|text| !text.is_empty());
    let (name, root) = (filled("plugin_name")?, filled("plugin_root_id")?);
    Some(format!("usher.config {name} {root}"))
}
