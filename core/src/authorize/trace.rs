//! The result of each rule for one request: for the trace of `usher explain` and the coverage of
//! policy tests. The filter never uses it.

use super::Policies;
use super::attributes::Attributes;
use crate::claims::Identity;
use crate::policy::authorization::polarity::Polarity;
use crate::policy::authorization::rule::{Condition, Operand, Rule, Test};
use crate::request::{MetadataValue, Request};

/// One rule, evaluated for one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleTrace {
    /// Number of its policy in the list, from 0.
    pub policy: usize,
    /// Its number in the policy, from 0.
    pub rule: usize,
    /// Istio's name of the rule.
    pub name: String,
    /// Why it does not match; `None` if it matches.
    pub miss: Option<Miss>,
}

/// The first condition of a rule that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Miss {
    /// Its path below the rule, such as `from[0].source.principals` or `when[2]`.
    pub at: String,
    /// The attribute that it is about, such as `request.auth.claims[groups]`.
    pub condition: String,
    /// How many conditions of the rule hold before it.
    pub passed: usize,
    /// What the request has there; empty where the attribute is absent.
    pub found: Vec<String>,
}

/// Evaluates every rule, in the order of the list.
pub fn trace_rules(
    policies: &Policies,
    request: &Request,
    identity: Option<&Identity>,
) -> Vec<RuleTrace> {
    let attributes = Attributes::new(request, identity, policies.scalars);
    let mut all = Vec::new();
    for (index, policy) in policies.policies.iter().enumerate() {
        all.extend(policy.rules.iter().enumerate().map(|(number, rule)| RuleTrace {
            policy: index,
            rule: number,
            name: format!("ns[{}]-policy[{}]-rule[{number}]", policy.namespace, policy.name),
            miss: rule.first_failure(&attributes).map(|failure| Miss {
                at: place(rule, failure.condition),
                condition: failure.condition.to_string(),
                passed: failure.held,
                found: found(failure.condition, rule, &attributes),
            }),
        }));
    }
    all
}

/// The path of a condition below its rule.
fn place(rule: &Rule, condition: &Condition) -> String {
    let position = |operand: &Operand| operand.iter().position(|c| std::ptr::eq(c, condition));
    for (list, field, operands) in [("from", "source", &rule.from), ("to", "operation", &rule.to)] {
        if let Some(at) = operands.iter().position(|operand| position(operand).is_some()) {
            return format!("{list}[{at}].{field}.{}", condition.name);
        }
    }
    position(&rule.when).map_or_else(|| "when".to_owned(), |at| format!("when[{at}]"))
}

/// The texts that the request has for a condition's attribute, read as the condition reads them.
fn found(condition: &Condition, rule: &Rule, attributes: &Attributes<'_>) -> Vec<String> {
    let polarity = rule.polarity;
    let values = condition.values.iter().chain(&condition.all).map(|test| (test, polarity));
    let not_values = condition.not_values.iter().map(|test| (test, polarity.negated()));
    let mut texts = Vec::new();
    let attribute = condition.values_from.as_ref().map(|from| &from.attribute);
    if let Some((test, polarity)) = values.chain(not_values).next() {
        of_test(test, polarity, attributes, &mut texts);
    } else if let Some(attribute) = attribute {
        attributes.any(attribute, polarity, &mut |text| note(&mut texts, text));
    }
    texts
}

fn of_test(test: &Test, polarity: Polarity, attributes: &Attributes<'_>, texts: &mut Vec<String>) {
    let connection = &attributes.request.connection;
    match test {
        Test::Address(address, _) => {
            texts.extend(attributes.address(*address).map(|a| a.to_string()))
        }
        Test::Metadata { filter, key, .. } => match attributes.metadata(filter, key) {
            Some(MetadataValue::Text(text)) => texts.push(text.clone()),
            Some(MetadataValue::List(items)) => texts.extend(items.iter().cloned()),
            None => {}
        },
        Test::Host(_) => {
            for spelling in attributes.host(polarity) {
                note(texts, &spelling.text);
            }
        }
        Test::Path(_) => {
            texts.extend(attributes.path().map(|path| String::from_utf8_lossy(path).into_owned()));
        }
        Test::Peer(_) => {
            let names = attributes.peer().iter().map(|name| name.text);
            texts.extend(names.filter(|name| !name.is_empty()).map(str::to_owned));
        }
        Test::Port(_) => texts.extend(connection.destination_port.map(|port| port.to_string())),
        Test::RequestPrincipal(_) => {
            let text = |name| attributes.identity.and_then(|identity| identity.claims.text(name));
            if let (Some(issuer), Some(subject)) = (text("iss"), text("sub")) {
                texts.push(format!("{issuer}/{subject}"));
            }
        }
        Test::Text(attribute, _) => {
            attributes.any(attribute, polarity, &mut |text| note(texts, text));
        }
    }
}

/// Records a text and asks for the next.
fn note(texts: &mut Vec<String>, text: &[u8]) -> bool {
    texts.push(String::from_utf8_lossy(text).into_owned());
    false
}
