//! Which DENY rules are about callers without a token: Istio's idiom "deny without a token".
//!
//! If a policy decides about such callers, `missingToken` leaves the decision to that policy by default. So the idiom
//! is recognized narrowly: a rule that only resembles it must not let callers in.

use super::attribute::Attribute;
use super::rule::{Condition, Operand, Rule, Test};
use super::values_from::{ValueSource, ValuesFrom};
use super::{Action, AuthorizationPolicy};

/// Whether an enforced policy decides about callers without a token: an ALLOW policy, or a DENY rule that is about them
/// only.
pub(crate) fn is_spoken_about(policies: &[AuthorizationPolicy]) -> bool {
    policies.iter().filter(|policy| !policy.dry_run).any(|policy| match policy.action {
        Action::Allow => true,
        Action::Deny => policy.rules.iter().any(is_about_it_alone),
        Action::Audit => false,
    })
}

/// Whether the rule is about callers without a token only: every `from` has `notRequestPrincipals: ["*"]`, or a `when`
/// has the same for `request.auth.principal`. A rule that also requires something in a token matches no request, and is
/// about no caller.
fn is_about_it_alone(rule: &Rule) -> bool {
    let rules_out = |operand: &Operand| operand.iter().any(rules_out_every_token);
    let asks = |operand: &Operand| operand.iter().any(asks_for_a_token);
    let every_source = !rule.from.is_empty() && rule.from.iter().all(rules_out);
    (every_source || rules_out(&rule.when)) && !asks(&rule.when) && !rule.from.iter().any(asks)
}

fn rules_out_every_token(condition: &Condition) -> bool {
    matches!(&condition.not_values, Some(Test::RequestPrincipal(set)) if set.is_anyone())
}

fn asks_for_a_token(condition: &Condition) -> bool {
    let tests = condition.values.iter().chain(&condition.all);
    tests.into_iter().any(is_of_token)
        || condition.values_from.as_ref().is_some_and(is_with_a_token)
}

/// If the key, or every source, is in a token, nothing matches without one.
fn is_with_a_token(from: &ValuesFrom) -> bool {
    let in_token = |source: &ValueSource| match source {
        ValueSource::Attribute(attribute) => is_in_token(attribute),
        ValueSource::Path(_) => false,
    };
    is_in_token(&from.attribute) || from.sources.iter().all(in_token)
}

fn is_of_token(test: &Test) -> bool {
    match test {
        Test::RequestPrincipal(_) => true,
        Test::Text(attribute, _) => is_in_token(attribute),
        Test::Address(..)
        | Test::Host(_)
        | Test::Metadata { .. }
        | Test::Path(_)
        | Test::Peer(_)
        | Test::Port(_) => false,
    }
}

fn is_in_token(attribute: &Attribute) -> bool {
    match attribute {
        Attribute::Actor | Attribute::Claim(_) | Attribute::Provider | Attribute::Scope => true,
        Attribute::Header(_) | Attribute::Method | Attribute::Query(_) | Attribute::Sni => false,
    }
}
