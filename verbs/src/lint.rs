//! Valid but dangerous settings: warnings about a configuration that the parser accepts.
//!
//! Each lint reads the configuration as written, not as compiled, so that it can report the place. It
//! warns where a careful reader would stop, and says what actually happens and what to write instead.

mod alternatives;
mod dead;
pub(crate) mod earlier;
mod jwt;
mod keys;
pub(crate) mod no_token;
mod place;
mod settings;
mod shadow;
mod view;

use usher_core::Compiled;
use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;
use usher_core::time::UnixSeconds;

use crate::config::below;
use crate::manifest::{PluginConfig, Resource};
pub(crate) use place::names;
use view::{Policy, View};

/// Records what is doubtful in a pluginConfig.
pub(crate) fn plugin_config(
    config: &PluginConfig,
    loaded: &Compiled,
    now: UnixSeconds,
    problems: &Problems,
) {
    place::check(config, loaded, problems);
    let mut view = View::of(&config.value, &config.at);
    view.missing_token = Some(loaded.settings.missing_token);
    jwt::check(&view, problems);
    keys::check(&view, now, problems);
    settings::check(&view, problems);
    no_token::check(&view, problems);
    policies(&view, problems);
}

/// Records what is doubtful in an AuthorizationPolicy, which has no JWT rules; `at`: the place of its
/// spec.
pub(crate) fn authorization_policy(resource: &Resource, at: &str, problems: &Problems) {
    let spec = &resource.spec;
    let view = View {
        config: spec,
        at: at.to_owned(),
        rules: Vec::new(),
        policies: vec![Policy::of(spec, at)],
        complete: false,
        missing_token: None,
    };
    if resource.at_a_waypoint {
        place::check_native(&view, problems);
    }
    policies(&view, problems);
}

/// Records what is doubtful in the spec of a RequestAuthentication.
pub(crate) fn request_authentication(
    spec: &Value,
    at: &str,
    now: UnixSeconds,
    problems: &Problems,
) {
    let rules = spec.get("jwtRules").and_then(Value::as_array);
    let place = |index| below(at, &format!("jwtRules[{index}]"));
    let rules = rules.into_iter().flatten().enumerate().map(|(i, rule)| (place(i), rule));
    let view = View {
        config: spec,
        at: at.to_owned(),
        rules: rules.collect(),
        policies: Vec::new(),
        complete: false,
        missing_token: None,
    };
    jwt::check_audiences(&view, problems);
    jwt::check_key_servers(&view, problems);
    jwt::check_claim_names(&view, problems);
    keys::check(&view, now, problems);
}

fn policies(view: &View<'_>, problems: &Problems) {
    for policy in &view.policies {
        alternatives::check(policy, problems);
        dead::check(view, policy, problems);
        view::check_negatives(view, policy, problems);
    }
    shadow::check(view, problems);
}
