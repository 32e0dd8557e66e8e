//! One `-` too many: an intended "and" became two list items, which mean "or".

use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;

use super::view::{Policy, filled, operands};

/// Records neighbours in a list that look like one entry split in two.
pub(super) fn check(policy: &Policy<'_>, problems: &Problems) {
    for (at, rule) in &policy.rules {
        for (list, inner) in [("from", "source"), ("to", "operation")] {
            let entries = operands(rule, at, list, inner);
            for (one, two) in entries.iter().zip(entries.iter().skip(1)) {
                if let (Some(first), Some(second)) = (only_field(one.1), only_field(two.1))
                    && bare(first) != bare(second)
                {
                    problems.warning(
                        "either-is-enough",
                        &two.0,
                        format!(
                            "`{first}` in one entry and `{second}` in the next: either is enough; \
                             where both must hold, put them into one `{inner}` (one `-` less)"
                        ),
                    );
                }
            }
        }
    }
    for (one, two) in policy.rules.iter().zip(policy.rules.iter().skip(1)) {
        if let (Some(first), Some(second)) = (only_part(one.1), only_part(two.1))
            && first != second
        {
            problems.warning(
                "either-is-enough",
                &two.0,
                format!(
                    "a rule with `{first}` alone and the next with `{second}` alone: either is \
                     enough; where both must hold, put them into one rule (one `-` less)"
                ),
            );
        }
    }
}

/// The one field of an operand.
fn only_field(operand: &Value) -> Option<&str> {
    let mut names = operand.as_object()?.keys().filter(|name| filled(operand, name));
    let first = names.next()?;
    names.next().is_none().then_some(first)
}

/// `notPaths` is about paths.
fn bare(field: &str) -> String {
    field.strip_prefix("not").unwrap_or(field).to_ascii_lowercase()
}

/// The one part of a rule.
fn only_part(rule: &Value) -> Option<&'static str> {
    let mut parts = ["from", "to", "when"].into_iter().filter(|part| filled(rule, part));
    let first = parts.next()?;
    parts.next().is_none().then_some(first)
}
