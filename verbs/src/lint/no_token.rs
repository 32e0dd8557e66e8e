//! Who is let in without a token, and where that may be unintended.
//!
//! The filter's code decides whether a policy is about callers without a token: each rule is tested in a
//! configuration that has only this rule.

mod open;

use usher_core::codec::json::{self, Value};
use usher_core::codec::problems::Problems;
use usher_core::policy::{CorsPreflight, MissingToken, Mode};
use usher_core::{Compiled, load};

use super::view::{self, View, conditions, filled, operands, texts};
use crate::manifest::PluginConfig;

/// Records DENY rules that leave paths without a token, and those that `missingToken` overrides.
pub(super) fn check(view: &View<'_>, problems: &Problems) {
    let Some(missing_token) = view.missing_token else { return };
    if view.rules.is_empty() {
        return;
    }
    let enforced = view.policies.iter().filter(|policy| !policy.dry_run);
    let denials = enforced.filter(|policy| policy.action == "DENY");
    let denials: Vec<&(String, &Value)> = denials.flat_map(|policy| &policy.rules).collect();
    match missing_token {
        MissingToken::Allow => {
            let is_one = |(_, rule): &&&(String, &Value)| is_idiom(view.config, rule);
            let idioms: Vec<&(String, &Value)> = denials.iter().filter(is_one).copied().collect();
            if let Some(open) = open::find(view, &idioms) {
                for (at, _) in idioms {
                    let problem = format!(
                        "asks for a token only where it matches: elsewhere a request without one passes, {open}; \
                         give `missingToken: reject`, and `exempt` for what needs no token"
                    );
                    problems.warning("missing-token", at, problem);
                }
            }
        }
        MissingToken::Reject if filled(view.config, "missingToken") => {}
        MissingToken::Reject => {
            for (at, _) in denials.into_iter().filter(|(at, rule)| rules_out_tokens(rule, at)) {
                problems.warning(
                    "missing-token", at,
                    "is not asked about requests without a token: they are 401 `token_missing` before; \
                     with `missingToken: allow` this rule would deny them with 403 where it matches, and \
                     elsewhere they would pass unless another rule denies them",
                );
            }
        }
    }
}

/// Whether the rule alone would make `missingToken` default to `allow`.
fn is_idiom(config: &Value, rule: &Value) -> bool {
    let Value::Object(members) = config else { return false };
    let mut alone = members.clone();
    alone.remove("missingToken");
    let policy = serde_json::json!([{ "name": "alone", "action": "DENY", "rules": [rule] }]);
    alone.insert("authorizationPolicies".to_owned(), policy);
    let loaded = load::from_value(&json::Value::Object(alone));
    loaded.is_ok_and(|loaded| loaded.policy.settings.missing_token == MissingToken::Allow)
}

/// Whether the rule is about callers whose token lacks something.
fn rules_out_tokens(rule: &Value, at: &str) -> bool {
    let source = |(_, source): &(String, &Value)| filled(source, "notRequestPrincipals");
    operands(rule, at, "from", "source").iter().any(source)
        || conditions(rule, at).iter().any(|(_, condition)| rules_out(condition))
}

fn rules_out(condition: &Value) -> bool {
    let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
    key.starts_with("request.auth.") && filled(condition, "notValues")
}

/// Who is let in without a token, a line each.
pub(crate) fn summary(config: &PluginConfig, policy: &Compiled) -> Vec<String> {
    let mut view = View::of(&config.value, &config.at);
    view.missing_token = Some(policy.settings.missing_token);
    let given = if filled(&config.value, "missingToken") { "" } else { ", by default" };
    let word = match policy.settings.missing_token {
        MissingToken::Allow => "allow",
        MissingToken::Reject => "reject",
    };
    let mut lines = vec![format!("missingToken: {word}{given}")];
    if policy.settings.mode == Mode::DryRun {
        lines.push("everyone, for now: `mode: dryRun` refuses nothing".to_owned());
    }
    let exempt = config.value.get("exempt").and_then(Value::as_array).into_iter().flatten();
    for (index, entry) in exempt.enumerate() {
        let list = |field: &str, all: &str| match texts(entry, "", field) {
            texts if texts.is_empty() => all.to_owned(),
            texts => texts.iter().map(|(_, text)| *text).collect::<Vec<_>>().join(", "),
        };
        let (methods, paths) = (list("methods", "any method"), list("paths", "any path"));
        lines.push(format!("exempt[{index}]: {methods} {paths}"));
    }
    if policy.settings.cors_preflight == CorsPreflight::Authorize {
        lines.push("CORS preflights, unless a policy refuses them".to_owned());
    }
    if policy.settings.missing_token == MissingToken::Reject {
        lines.push("all others: 401 `token_missing`".to_owned());
        return lines;
    }
    let enforced = |action: &'static str| {
        view.policies.iter().filter(move |p| !p.dry_run && p.action == action)
    };
    let names = |action: &'static str, keep: &dyn Fn(&str, &Value) -> bool| {
        let mut names = Vec::new();
        for policy in enforced(action) {
            let name = policy.value.get("name").and_then(Value::as_str).unwrap_or_default();
            let kept = policy.rules.iter().enumerate().filter(|(_, (at, rule))| keep(at, rule));
            names.extend(kept.map(|(index, _)| format!("`{name}` rule {index}")));
        }
        names.join(", ")
    };
    let denied = match names("DENY", &|_, _| true) {
        denied if denied.is_empty() => String::new(),
        denied => format!(", unless one of these denies it: {denied}"),
    };
    if enforced("ALLOW").next().is_none() {
        lines.push(format!("every request{denied}"));
    } else {
        match names("ALLOW", &|at, rule| !view::asks_for_a_token(rule, at)) {
            open if open.is_empty() => {
                lines.push("no others: each ALLOW rule asks for a token".to_owned());
            }
            open => lines.push(format!("what these allow: {open}{denied}")),
        }
    }
    lines
}
