//! Which configuration is in force: the one that came, or the last good one, or none.
//!
//! A configuration that is wrong is not refused to the host, which would fail the whole VM (see
//! docs/operations.md). The last good one of a plugin is in the host's shared data: there it outlives
//! the root context, the VM and its faults.

use std::rc::Rc;

use super::host;
use super::remote::{self, Refresh};
use usher_core::config::last_good::Plugin;
use usher_core::config::{InvalidConfig, Loaded, Policy};

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
    /// What a wrong one lacks for a last good one to be known as its own.
    pub(super) lacks: Option<&'static str>,
}

/// Reads the configuration that the host has for the root context of the call.
pub(super) fn configure() -> Configured {
    let (plugin, text) = (plugin(), host::plugin_configuration());
    let problems = match Policy::from_json(&text) {
        Ok(loaded) => {
            remember(&plugin, &loaded.policy, &text);
            return open(loaded, Standing::Good, text, Vec::new());
        }
        Err(problems) => problems,
    };
    match last_good(&plugin, &text) {
        Some((last, loaded)) => open(loaded, Standing::Kept, last, problems),
        None => Configured {
            gate: Gate::Invalid,
            standing: Standing::Invalid,
            lacks: plugin.lacks(&text),
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
    Configured { gate, standing, text, problems, warnings, lacks: None }
}

fn remember(plugin: &Plugin, policy: &Policy, text: &[u8]) {
    let Some(key) = plugin.key(policy.instance.as_deref()) else { return };
    let same = host::shared_data(&key).is_some_and(|(known, _)| known == text);
    if !same {
        // Whichever of two workers comes last: both have the same text to write.
        host::set_shared_data(&key, text, 0);
    }
}

/// The configuration that stays in force in place of `text`, which is wrong.
fn last_good(plugin: &Plugin, text: &[u8]) -> Option<(Vec<u8>, Loaded)> {
    let (last, _) = host::shared_data(&plugin.key_for_wrong(text)?)?;
    let loaded = Policy::from_json(&last).ok()?;
    plugin.keeps(&loaded.policy, text).then_some((last, loaded))
}

/// The plugin that is being configured.
fn plugin() -> Plugin {
    let text = |path: &[&str]| String::from_utf8(host::property(path)?).ok();
    Plugin {
        name: text(&["plugin_name"]).unwrap_or_default(),
        root_id: text(&["plugin_root_id"]).unwrap_or_default(),
        // Not `node`: of the two Envoy answers for this one alone while it configures (1.36 and 1.40).
        in_istio: text(&["xds", "node", "metadata", "ISTIO_VERSION"])
            .is_some_and(|version| !version.is_empty()),
    }
}
