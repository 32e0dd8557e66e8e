//! `authorizationPolicies` -> [`AuthorizationPolicy`].
//!
//! The fields are AuthorizationPolicy's. What Istio silently drops or widens is an error here, with its place: a
//! DENY rule without one of its values, or an ALLOW policy without one of its rules, is not the policy that was
//! written (docs/semantics.md, "What the compiler drops", and docs/authorization.md, "Stricter than Istio").

use std::collections::HashSet;

use super::fields::{self, Field};
use crate::codec::problems::{Node, Object, Problems};
use crate::policy::authorization::PolicyReply;
use crate::policy::authorization::polarity::Polarity;
use crate::policy::authorization::rule::{Condition, Operand, Rule, Test};
use crate::policy::authorization::values_from::{Quantifier, ValuesFrom};
use crate::policy::{Action, AuthorizationPolicy};

mod attribute;
mod values;

use attribute::Key;
use values::Reading;

/// Settings that the readers of policies need in addition to the policies.
#[derive(Default)]
pub(super) struct Context {
    /// The mesh's trust domain, then its aliases; empty: `cluster.local`.
    pub(super) trust_domains: Vec<String>,
    /// Whether the TCP peer is known, so that rules may use it.
    pub(super) source_address: bool,
}

/// Reads the list. Problems are recorded with their places.
pub(super) fn read_all(
    node: &Node<'_>,
    context: &Context,
    problems: &Problems,
) -> Vec<AuthorizationPolicy> {
    let mut policies = Vec::new();
    let mut names = HashSet::new();
    for item in node.list(problems).unwrap_or_default() {
        let mut reading = Reading::new(context, problems);
        let Some(policy) = policy(&item, &mut reading) else { continue };
        // The prefix of all rule names must distinguish policies.
        if !names.insert((policy.namespace.clone(), policy.name.clone())) {
            let name = &policy.name;
            let problem = format!("another policy of the namespace is named `{name}`");
            problems.error(&item.at, problem);
        }
        policies.push(policy);
    }
    policies
}

#[inline(never)]
fn policy(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<AuthorizationPolicy> {
    let problems = reading.problems;
    let object = node.object(problems)?;
    let elsewhere = "is ignored: the plugin's own selector decides where it runs";
    let (mut name, mut namespace, mut action) = (None, None, Some(Action::Allow));
    let mut dry_run = false;
    fields::read(
        &object,
        &mut [
            Field::text("name", &mut name).required(),
            Field::text("namespace", &mut namespace),
            Field::ignored("selector", elsewhere),
            Field::ignored("targetRef", elsewhere),
            Field::ignored("targetRefs", elsewhere),
            Field::with("action", &mut |n| action = self::action(n, problems)),
            Field::flag("dryRun", &mut dry_run),
        ],
        problems,
    );
    reading.namespace.clone_from(&namespace);
    if dry_run && action == Some(Action::Audit) {
        problems.error(object.path("dryRun"), "AUDIT never denies, so there is nothing to run dry");
    }
    let rules = object.field("rules");
    // Without an action the policy is not read, and the polarity of its rules does not matter.
    let polarity = action.map_or(Polarity::LetsIn, Polarity::of_values);
    let rules = rules.and_then(|node| rules_of(&node, polarity, reading)).unwrap_or_default();
    let given = object.field("rules").is_some_and(|node| !super::is_empty(node.value));
    if !given && action == Some(Action::Deny) {
        problems.error(
            &object.at,
            "a DENY policy without rules denies nothing; `rules: [{}]` is for all",
        );
    }
    let reply = reply(&object, action, problems);
    object.finish(problems);
    Some(AuthorizationPolicy {
        namespace: namespace.as_deref().unwrap_or("default").into(),
        name: name?.into(),
        action: action?,
        dry_run,
        rules,
        reply,
    })
}

fn action(node: &Node<'_>, problems: &Problems) -> Option<Action> {
    if node.value.as_str() == Some("CUSTOM") {
        problems.error(
            &node.at,
            "expected ALLOW, DENY or AUDIT, found CUSTOM, which asks another service: keep that one as \
             an AuthorizationPolicy, Istio runs it ahead of this filter",
        );
        return None;
    }
    let words = [("ALLOW", Action::Allow), ("DENY", Action::Deny), ("AUDIT", Action::Audit)];
    node.one_of(&words, problems)
}

fn reply(object: &Object<'_>, action: Option<Action>, problems: &Problems) -> PolicyReply {
    let mut reply = PolicyReply::default();
    let mut status = |node: &Node<'_>| {
        let number = node.integer(400..=599, problems);
        reply.status = number.and_then(|number| u16::try_from(number).ok());
    };
    let mut challenge =
        |node: &Node<'_>| reply.challenge = node.integer(401..=401, problems).is_some();
    fields::read(
        object,
        &mut [
            Field::with("denyStatus", &mut status),
            Field::text("denyMessage", &mut reply.message),
            Field::with("denyWhenUnauthenticated", &mut challenge),
        ],
        problems,
    );
    for field in ["denyStatus", "denyMessage", "denyWhenUnauthenticated"] {
        if object.gives(field) && action == Some(Action::Audit) {
            problems.error(object.path(field), "AUDIT never denies");
        }
    }
    reply
}

fn rules_of(node: &Node<'_>, polarity: Polarity, reading: &Reading<'_>) -> Option<Vec<Rule>> {
    let items = node.list(reading.problems)?;
    Some(items.iter().filter_map(|item| rule(item, polarity, reading)).collect())
}

fn rule(node: &Node<'_>, polarity: Polarity, reading: &Reading<'_>) -> Option<Rule> {
    let problems = reading.problems;
    let object = node.object(problems)?;
    let to = operands(&object, "to", "operation", reading, operation);
    let rule = Rule {
        polarity,
        from: operands(&object, "from", "source", reading, source),
        when: conditions(&object, &to, polarity, reading),
        to,
    };
    object.finish(problems);
    Some(rule)
}

fn operands<'r>(
    rule: &Object<'_>,
    list: &'static str,
    field: &'static str,
    reading: &Reading<'r>,
    read: fn(&Object<'_>, &Reading<'r>) -> Operand,
) -> Vec<Operand> {
    let problems = reading.problems;
    let Some(node) = rule.field(list) else {
        return Vec::new();
    };
    let items = node.list(problems).unwrap_or_default();
    if items.is_empty() {
        problems.warning(
            "empty-list",
            &node.at,
            "an empty list is not a condition: this part of the rule is always true",
        );
    }
    let mut operands = Vec::new();
    for item in items {
        let Some(entry) = item.object(problems) else { continue };
        if let Some(inner) = entry.required(field, problems).and_then(|n| n.object(problems)) {
            let operand = read(&inner, reading);
            if operand.is_empty() && problems.is_valid() {
                problems.error(&inner.at, "expected at least one condition, found none");
            }
            inner.finish(problems);
            operands.push(operand);
        }
        entry.finish(problems);
    }
    operands
}

/// A field, its `not` field, and the reader of the values of both.
type Pair<'r> = (&'static str, &'static str, fn(&Reading<'r>, &Node<'_>) -> Option<Test>);

/// `from.source`.
fn source<'r>(object: &Object<'_>, reading: &Reading<'r>) -> Operand {
    let fields: [Pair<'r>; 7] = [
        ("principals", "notPrincipals", Reading::principals),
        ("requestPrincipals", "notRequestPrincipals", Reading::request_principals),
        ("namespaces", "notNamespaces", Reading::namespaces),
        ("serviceAccounts", "notServiceAccounts", Reading::service_accounts),
        ("trustDomains", "notTrustDomains", Reading::trust_domain_field),
        ("ipBlocks", "notIpBlocks", Reading::source_ip),
        ("remoteIpBlocks", "notRemoteIpBlocks", Reading::remote_ip),
    ];
    let conditions = pairs(object, &fields, reading);
    let accounts = ["serviceAccounts", "notServiceAccounts"].iter().any(|f| object.gives(f));
    let names = ["principals", "notPrincipals", "namespaces", "notNamespaces"];
    if accounts && names.iter().any(|f| object.gives(f)) {
        let problem = "`serviceAccounts` cannot stand beside `principals` or `namespaces`";
        reading.problems.error(&object.at, problem);
    }
    conditions
}

/// `to.operation`.
fn operation<'r>(object: &Object<'_>, reading: &Reading<'r>) -> Operand {
    let fields: [Pair<'r>; 4] = [
        ("paths", "notPaths", Reading::paths),
        ("methods", "notMethods", Reading::methods),
        ("hosts", "notHosts", Reading::hosts),
        ("ports", "notPorts", Reading::ports),
    ];
    pairs(object, &fields, reading)
}

/// The conditions of an `exempt` entry.
pub(super) fn exemption(object: &Object<'_>, problems: &Problems) -> Operand {
    let context = Context::default();
    let reading = Reading::new(&context, problems);
    let tests = [
        ("paths", object.field("paths").and_then(|n| reading.paths(&n))),
        ("methods", object.field("methods").and_then(|n| reading.methods(&n))),
    ];
    let conditions = tests.into_iter().filter_map(|(name, test)| Some(Condition::new(name, test?)));
    conditions.collect()
}

/// One condition for each pair, if either field has values.
fn pairs<'r>(object: &Object<'_>, fields: &[Pair<'r>], reading: &Reading<'r>) -> Operand {
    let condition = |(name, not, read): &Pair<'r>| {
        let test = |field| {
            let node = object.field(field).filter(|node| !super::is_empty(node.value))?;
            read(reading, &node)
        };
        let (values, not_values) = (test(name), test(not));
        if values.is_none() && not_values.is_none() {
            return None;
        }
        let name = if values.is_some() { *name } else { *not };
        let name = name.to_owned();
        Some(Condition { name, values, all: Vec::new(), values_from: None, not_values })
    };
    fields.iter().filter_map(condition).collect()
}

/// `when`.
fn conditions(
    rule: &Object<'_>,
    to: &[Operand],
    polarity: Polarity,
    reading: &Reading<'_>,
) -> Operand {
    let items = rule.field("when").and_then(|n| n.list(reading.problems)).unwrap_or_default();
    items.iter().filter_map(|item| condition(item, to, polarity, reading)).collect()
}

fn condition(
    node: &Node<'_>,
    to: &[Operand],
    polarity: Polarity,
    reading: &Reading<'_>,
) -> Option<Condition> {
    let problems = reading.problems;
    let object = node.object(problems)?;
    let name = object.required("key", problems).and_then(|n| n.filled_text(problems));
    let key = name.and_then(|name| match Key::parse(name) {
        Ok(key) => Some(key),
        Err(problem) => {
            problems.error(object.path("key"), problem);
            None
        }
    });
    // Usher's own fields: an empty one would require less than one with an entry.
    for name in ["allValues", "valuesFrom"] {
        if let Some(node) = object.field(name).filter(|node| super::is_empty(node.value)) {
            node.expected::<()>("at least one value", problems);
        }
    }
    let field = |name| object.field(name).filter(|node| !super::is_empty(node.value));
    let (values, not_values) = (field("values"), field("notValues"));
    let (all, from) = (field("allValues"), field("valuesFrom"));
    let quantifier = quantifier(&object, from.is_some(), problems);
    let quantifier_at = object.path("valuesFromAll");
    object.finish(problems);
    if values.is_none() && not_values.is_none() && all.is_none() && from.is_none() {
        problems.error(&node.at, "expected `values` or `notValues`, found neither");
    }
    let (name, key) = (name?, key?);
    let condition = Condition {
        values: values.and_then(|n| key.test(reading, &n)),
        not_values: not_values.and_then(|n| key.test(reading, &n)),
        all: all.map(|n| all_values(&n, &key, reading)).unwrap_or_default(),
        values_from: from.and_then(|n| values_from(&n, &key, to, quantifier, reading)),
        name: name.to_owned(),
    };
    let from = condition.values_from.as_ref();
    if from.is_some_and(|from| polarity.is_wide() && from.is_dodged_by_one_more()) {
        problems.warning(
            "deny-values-from-all",
            quantifier_at,
            "in a DENY policy a client goes round this by adding one more value; without it a key of \
             several values matches",
        );
    }
    Some(condition)
}

/// `valuesFromAll`.
fn quantifier(object: &Object<'_>, has_sources: bool, problems: &Problems) -> Quantifier {
    let all = object.field("valuesFromAll").and_then(|n| n.boolean(problems)).unwrap_or(false);
    if all && !has_sources {
        problems
            .error(object.path("valuesFromAll"), "needs `valuesFrom`, whose values it is about");
    }
    if all { Quantifier::All } else { Quantifier::Any }
}

/// Each value is a separate test, and all must hold.
fn all_values(node: &Node<'_>, key: &Key, reading: &Reading<'_>) -> Vec<Test> {
    let items = node.list(reading.problems).unwrap_or_default();
    let one = |item: &Node<'_>| {
        // Read as a list of one, which the configuration does not have: problems are recorded at the value's own
        // place.
        let list = crate::codec::json::Value::Array(vec![item.value.clone()]);
        let found = Problems::default();
        let test = key.test(&reading.noting(&found), &Node::root(&list));
        let at = |at: &str| item.at.clone() + at.strip_prefix("[0]").unwrap_or(at);
        let (errors, warnings) = found.into_parts();
        for error in errors {
            reading.problems.error(at(&error.at), error.problem);
        }
        for warning in warnings {
            reading.problems.warning(warning.code, at(&warning.at), warning.problem);
        }
        test
    };
    items.iter().filter_map(one).collect()
}

fn values_from(
    node: &Node<'_>,
    key: &Key,
    to: &[Operand],
    quantifier: Quantifier,
    reading: &Reading<'_>,
) -> Option<ValuesFrom> {
    let problems = reading.problems;
    let Some(attribute) = key.clone().attribute() else {
        let problem =
            "is for attributes with texts: headers, claims, query parameters, `request.auth.*`";
        problems.error(&node.at, problem);
        return None;
    };
    let items = node.list(problems)?;
    let sources = items.iter().filter_map(|item| {
        let text = item.filled_text(problems)?;
        match attribute::source(text, to) {
            Ok(source) => Some(source),
            Err(problem) => {
                problems.error(&item.at, problem);
                None
            }
        }
    });
    Some(ValuesFrom { attribute, sources: sources.collect(), quantifier })
}

#[cfg(test)]
mod tests;
