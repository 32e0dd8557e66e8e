//! The place in the file of the rule that decided.

use usher_core::authorize::Verdict;
use usher_core::decide::Decision;

use crate::config::Loaded;

/// `shop.yaml:31:5: authorizationPolicies[0].rules[2]` of the rule that decided, if one did.
pub(super) fn of(decision: &Decision, loaded: &Loaded) -> Option<String> {
    let authorization = decision.report.authorization.as_ref()?;
    if authorization.verdict == Verdict::NoRuleMatched {
        return None;
    }
    let name = authorization.matched.as_deref()?;
    let rule = decision.report.rules.iter().find(|rule| rule.name == name)?;
    Some(path(&rule_path(rule.policy, rule.rule), loaded))
}

/// The path of a rule in its configuration.
pub(super) fn rule_path(policy: usize, rule: usize) -> String {
    format!("authorizationPolicies[{policy}].rules[{rule}]")
}

/// `file:line:column` of a path of the configuration.
pub(super) fn mark(path: &str, loaded: &Loaded) -> String {
    let source = &loaded.source;
    match source.mark(path) {
        Some(mark) => format!("{}:{}:{}", source.file(), mark.line, mark.column),
        None => source.file().to_owned(),
    }
}

/// A path of the configuration, with its place in the file.
pub(super) fn path(path: &str, loaded: &Loaded) -> String {
    format!("{}: {path}", mark(path, loaded))
}
