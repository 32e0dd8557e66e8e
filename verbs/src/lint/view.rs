//! A configuration as lints see it: its JWT rules, its policies, their rules, each with its place.

use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;
use usher_core::policy::MissingToken;

use crate::config::below;

/// The parts that lints read.
pub(super) struct View<'v> {
    pub(super) config: &'v Value,
    pub(super) at: String,
    /// `jwtRules`, each with its path.
    pub(super) rules: Vec<(String, &'v Value)>,
    pub(super) policies: Vec<Policy<'v>>,
    /// Whether the JWT rules are known: a single manifest is not the whole configuration.
    pub(super) complete: bool,
    /// `missingToken`, given or default; `None` if the JWT rules are not known.
    pub(super) missing_token: Option<MissingToken>,
}

/// A policy and its rules, each with its path.
pub(super) struct Policy<'v> {
    pub(super) value: &'v Value,
    pub(super) action: &'v str,
    pub(super) dry_run: bool,
    pub(super) rules: Vec<(String, &'v Value)>,
}

impl<'v> View<'v> {
    pub(super) fn of(config: &'v Value, at: &str) -> Self {
        let list = |name: &str| -> Vec<(String, &'v Value)> {
            let items = config.get(name).and_then(Value::as_array).into_iter().flatten();
            items.enumerate().map(|(i, v)| (below(at, &format!("{name}[{i}]")), v)).collect()
        };
        let policies = list("authorizationPolicies");
        Self {
            config,
            at: at.to_owned(),
            rules: list("jwtRules"),
            policies: policies.into_iter().map(|(at, value)| Policy::of(value, &at)).collect(),
            complete: true,
            missing_token: None,
        }
    }

    /// Whether a request without a token may reach the policies.
    pub(super) fn lets_anonymous_in(&self) -> bool {
        self.missing_token != Some(MissingToken::Reject)
    }
}

impl<'v> Policy<'v> {
    pub(super) fn of(value: &'v Value, at: &str) -> Self {
        let rules = value.get("rules").and_then(Value::as_array).into_iter().flatten();
        let rules = rules.enumerate().map(|(i, rule)| (format!("{at}.rules[{i}]"), rule));
        Self {
            action: value.get("action").and_then(Value::as_str).unwrap_or("ALLOW"),
            dry_run: value.get("dryRun").and_then(Value::as_bool).unwrap_or(false),
            rules: rules.collect(),
            value,
        }
    }
}

/// The sources or operations of a rule, each with its path.
pub(super) fn operands<'v>(
    rule: &'v Value,
    at: &str,
    list: &str,
    inner: &str,
) -> Vec<(String, &'v Value)> {
    let items = rule.get(list).and_then(Value::as_array).into_iter().flatten();
    let inner_of = |(i, item): (usize, &'v Value)| {
        Some((format!("{at}.{list}[{i}].{inner}"), item.get(inner)?))
    };
    items.enumerate().filter_map(inner_of).collect()
}

/// The conditions of a rule's `when`, each with its path.
pub(super) fn conditions<'v>(rule: &'v Value, at: &str) -> Vec<(String, &'v Value)> {
    let items = rule.get("when").and_then(Value::as_array).into_iter().flatten();
    items.enumerate().map(|(i, item)| (format!("{at}.when[{i}]"), item)).collect()
}

/// The strings of a list, each with its path.
pub(super) fn texts<'v>(object: &'v Value, at: &str, field: &str) -> Vec<(String, &'v str)> {
    let items = object.get(field).and_then(Value::as_array).into_iter().flatten();
    let text = |(i, item): (usize, &'v Value)| Some((format!("{at}.{field}[{i}]"), item.as_str()?));
    items.enumerate().filter_map(text).collect()
}

/// Whether a field is present and not empty.
pub(super) fn filled(object: &Value, field: &str) -> bool {
    match object.get(field) {
        None | Some(Value::Null) => false,
        Some(Value::Array(items)) => !items.is_empty(),
        Some(_) => true,
    }
}

/// Whether a condition or operand requires something, and does not only exclude something.
fn is_positive(object: &Value) -> bool {
    let Value::Object(members) = object else { return false };
    members.keys().any(|name| name != "key" && !name.starts_with("not") && filled(object, name))
}

/// Whether it is about the token's identity.
fn is_of_token(object: &Value) -> bool {
    let key = object.get("key").and_then(Value::as_str).unwrap_or_default();
    filled(object, "requestPrincipals") || key.starts_with("request.auth.") && is_positive(object)
}

/// Records ALLOW rules with only `not*`, and DENY rules that anonymous requests evade.
pub(super) fn check_negatives(view: &View<'_>, policy: &Policy<'_>, problems: &Problems) {
    for (at, rule) in &policy.rules {
        let parts: Vec<&Value> = operands(rule, at, "from", "source")
            .into_iter()
            .chain(operands(rule, at, "to", "operation"))
            .chain(conditions(rule, at))
            .map(|(_, part)| part)
            .collect();
        if policy.action == "ALLOW"
            && !parts.is_empty()
            && !parts.iter().any(|part| is_positive(part))
        {
            problems.warning(
                "allow-only-not", at,
                "allows all that its `not*` conditions do not rule out, a request without any token \
                 or certificate too; say who may, such as `requestPrincipals: [\"*\"]`",
            );
        }
        let asks_token = parts.iter().any(|part| is_of_token(part));
        if policy.action == "DENY"
            && asks_token
            && view.lets_anonymous_in()
            && !someone_asks_for_a_token(view)
        {
            problems.warning(
                "deny-needs-token", at,
                "never denies a request without a token, and no other rule asks for one; add a DENY \
                 rule with `notRequestPrincipals: [\"*\"]`, or `missingToken: reject`",
            );
        }
    }
}

/// Whether the rule requires a token.
pub(super) fn asks_for_a_token(rule: &Value, at: &str) -> bool {
    let from = operands(rule, at, "from", "source");
    !from.is_empty() && from.iter().all(|(_, source)| is_of_token(source))
        || conditions(rule, at).iter().any(|(_, condition)| is_of_token(condition))
}

/// Whether some policy refuses callers without a token.
fn someone_asks_for_a_token(view: &View<'_>) -> bool {
    let enforced = || view.policies.iter().filter(|policy| !policy.dry_run);
    let allow: Vec<&Policy<'_>> = enforced().filter(|policy| policy.action == "ALLOW").collect();
    let every_allow =
        allow.iter().flat_map(|policy| &policy.rules).all(|(at, rule)| asks_for_a_token(rule, at));
    let must_have = |(at, rule): &(String, &Value)| {
        let nobody = |(_, source): &(String, &Value)| {
            let not = texts(source, "", "notRequestPrincipals");
            not.iter().any(|(_, text)| *text == "*")
        };
        let from = operands(rule, at, "from", "source");
        !from.is_empty() && from.iter().any(nobody)
            || conditions(rule, at).iter().any(|(_, condition)| {
                let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
                key.starts_with("request.auth.") && filled(condition, "notValues")
            })
    };
    let deny = enforced().filter(|policy| policy.action == "DENY");
    !allow.is_empty() && every_allow || deny.flat_map(|policy| &policy.rules).any(must_have)
}
