//! What the surroundings of a configuration change: a waypoint, a listener that accepts any
//! certificate, another filter of the same name.

use usher_core::Compiled;
use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;
use usher_core::policy::PeerIdentity;

use super::view::{View, conditions, filled, operands};
use crate::config::below;
use crate::manifest::PluginConfig;

/// Records what one configuration cannot mean in its place.
pub(super) fn check(config: &PluginConfig, policy: &Compiled, problems: &Problems) {
    if config.at_a_waypoint {
        for at in source_addresses(&View::of(&config.value, &config.at)) {
            problems.error(at, NO_ADDRESS);
        }
    }
    let untrusted = config.filter.as_ref().and_then(|filter| filter.accepts_untrusted.as_ref());
    let by_certificate = match policy.settings.peer_identity {
        PeerIdentity::Auto | PeerIdentity::Connection => !policy.settings.require_validated_peer,
        PeerIdentity::FilterState(_) => false,
    };
    if let Some(at) = untrusted.filter(|_| policy.required_attributes().peer && by_certificate) {
        let problem = format!(
            "with ACCEPT_UNTRUSTED a client has any name that its own certificate says, and rules at `{}` \
             believe it; validate certificates, or set `requireValidatedPeer` (docs/configuration.md)",
            config.at
        );
        problems.error(at, problem);
    }
}

const NO_ADDRESS: &str = "at a waypoint the TCP peer's address is not known, and Istio's own rules on \
                          it never match; ask for `remoteIpBlocks`, or for the peer's identity";

/// Records the same for one of Istio's own AuthorizationPolicies, which Istio accepts.
pub(super) fn check_native(view: &View<'_>, problems: &Problems) {
    for at in source_addresses(view) {
        problems.warning("address-at-waypoint", at, NO_ADDRESS);
    }
}

/// Where rules use the TCP peer's address.
fn source_addresses(view: &View<'_>) -> Vec<String> {
    let mut places = Vec::new();
    for (at, rule) in view.policies.iter().flat_map(|policy| &policy.rules) {
        for (at, source) in operands(rule, at, "from", "source") {
            let fields = ["ipBlocks", "notIpBlocks"].into_iter();
            places.extend(fields.filter(|f| filled(source, f)).map(|f| below(&at, f)));
        }
        for (at, condition) in conditions(rule, at) {
            if condition.get("key").and_then(Value::as_str) == Some("source.ip") {
                places.push(below(&at, "key"));
            }
        }
    }
    places
}

/// Records filters with one name and root id in one Envoy, which only `instance` distinguishes.
pub(crate) fn names(configs: &[(&PluginConfig, &Compiled)], problems: &Problems) {
    for (index, (config, policy)) in configs.iter().enumerate() {
        let Some(filter) = &config.filter else { continue };
        let is_same = |other: &&(&PluginConfig, &Compiled)| {
            other.0.filter.as_ref().is_some_and(|other| other.names == filter.names)
        };
        let earlier = || configs.iter().take(index).filter(is_same);
        let (name, root_id) = &filter.names;
        let both = |other: &PluginConfig| {
            format!("name `{name}` and root_id `{root_id}` are those of `{}` too", other.at)
        };
        let has_it = |(_, other): &&(&PluginConfig, &Compiled)| {
            other.settings.instance == policy.settings.instance
        };
        let has_none = |(_, other): &&(&PluginConfig, &Compiled)| other.settings.instance.is_none();
        if policy.settings.instance.is_some()
            && let Some((other, _)) = earlier().find(has_it)
        {
            let problem = format!(
                "{}, and so is `instance`: a wrong configuration of one would be stood in for by the \
                 other's",
                both(other)
            );
            problems.error(below(&config.at, "instance"), problem);
        } else if let Some((other, _)) =
            earlier().find(|other| policy.settings.instance.is_none() || has_none(other))
        {
            let problem = format!(
                "{}: give each an `instance` of its own, or none keeps its last good configuration \
                 while a wrong one is there",
                both(other)
            );
            problems.warning("same-name", &config.at, problem);
        }
    }
}
