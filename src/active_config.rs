//! Which configuration is in force: the new one, or the last good one, or none.
//!
//! An invalid configuration is not reported to the host as a failure, which would fail the whole VM
//! (see docs/operations.md). The last good one of a plugin is in the host's shared data: there it
//! outlives the root context, the VM and its faults.

use std::rc::Rc;

use usher_core::Compiled;
use usher_core::config::InvalidConfig;
use usher_core::config::last_good::Plugin;
use usher_core::load::{self, Loaded};
use usher_core::policy::Settings;

use crate::host::Host;
use crate::key_sets::Refresh;
use crate::worker::Worker;

/// What decides requests.
pub(crate) enum ActiveConfig {
    /// No configuration: every request is refused.
    None,
    /// A policy, and the refreshes of its keys.
    InForce { policy: Box<Compiled>, refreshes: Vec<Rc<Refresh>> },
}

/// The status of the newest configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConfigStatus {
    /// It is in force.
    Applied,
    /// It is invalid, so every request is refused.
    Rejected,
    /// It is invalid; the last good one is in force.
    RolledBack,
}

/// The result of configuring a plugin.
pub(crate) struct Configured {
    pub(crate) active: ActiveConfig,
    pub(crate) status: ConfigStatus,
    /// The text of the configuration in force; empty if there is none.
    pub(crate) text: Vec<u8>,
    /// The errors in the new one.
    pub(crate) problems: Vec<InvalidConfig>,
    /// The warnings about the one in force.
    pub(crate) warnings: Vec<InvalidConfig>,
    /// What an invalid one lacks to identify its own last good one.
    pub(crate) lacks: Option<&'static str>,
}

/// Reads the configuration that the host has for the root context of the call.
pub(crate) fn configure<H: Host>(worker: &Worker<H>) -> Configured {
    let host = &worker.host;
    let (plugin, text) = (plugin(host), host.plugin_configuration());
    let problems = match load::from_json(&text) {
        Ok(loaded) => {
            remember(host, &plugin, &loaded.policy, &text);
            return applied(worker, loaded, ConfigStatus::Applied, text, Vec::new());
        }
        Err(problems) => problems,
    };
    match last_good(host, &plugin, &text) {
        Some((last, loaded)) => applied(worker, loaded, ConfigStatus::RolledBack, last, problems),
        None => Configured {
            active: ActiveConfig::None,
            status: ConfigStatus::Rejected,
            lacks: plugin.lacks(&text),
            text: Vec::new(),
            problems,
            warnings: Vec::new(),
        },
    }
}

fn applied<H: Host>(
    worker: &Worker<H>,
    Loaded { policy, warnings }: Loaded,
    status: ConfigStatus,
    text: Vec<u8>,
    problems: Vec<InvalidConfig>,
) -> Configured {
    let refreshes = worker.key_sets.adopt(&worker.host, &policy);
    let active = ActiveConfig::InForce { policy: Box::new(policy), refreshes };
    Configured { active, status, text, problems, warnings, lacks: None }
}

fn remember<H: Host>(host: &H, plugin: &Plugin, policy: &Compiled, text: &[u8]) {
    let Some(key) = plugin.key(policy.settings.instance.as_deref()) else { return };
    let same = host.shared_data(&key).is_some_and(|(known, _)| known == text);
    if !same {
        // If two workers write, both write the same text.
        host.set_shared_data(&key, text, 0);
    }
}

/// The configuration that stays in force in place of `text`, which is invalid.
fn last_good<H: Host>(host: &H, plugin: &Plugin, text: &[u8]) -> Option<(Vec<u8>, Loaded)> {
    let (last, _) = host.shared_data(&plugin.key_for_wrong(text)?)?;
    let loaded = load::from_json(&last).ok()?;
    let Settings { on_invalid_config, instance, .. } = &loaded.policy.settings;
    plugin.keeps(*on_invalid_config, instance.as_deref(), text).then_some((last, loaded))
}

/// The plugin that is being configured.
fn plugin<H: Host>(host: &H) -> Plugin {
    let text = |path: &[&str]| String::from_utf8(host.property(path)?).ok();
    Plugin {
        name: text(&["plugin_name"]).unwrap_or_default(),
        root_id: text(&["plugin_root_id"]).unwrap_or_default(),
        // Not `node`: while it configures, Envoy answers only this one of the two (1.36 and 1.40).
        in_istio: text(&["xds", "node", "metadata", "ISTIO_VERSION"])
            .is_some_and(|version| !version.is_empty()),
    }
}
