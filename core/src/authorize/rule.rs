//! Whether a rule matches: (any `from`) and (any `to`) and (every `when`).

use super::attributes::{Attributes, Scalars};
use super::peer;
use crate::claims::ClaimPath;
use crate::policy::Exemption;
use crate::policy::authorization::attribute::Attribute;
use crate::policy::authorization::polarity::Polarity;
use crate::policy::authorization::rule::{Condition, Operand, PathSet, Rule, Test};
use crate::request::{MetadataValue, Request};

impl Rule {
    pub(crate) fn matches(&self, attributes: &Attributes<'_>) -> bool {
        let all =
            |operand: &Operand| operand.iter().all(|condition| condition.holds(self, attributes));
        let any = |operands: &[Operand]| operands.is_empty() || operands.iter().any(all);
        any(&self.from) && any(&self.to) && all(&self.when)
    }

    /// The first condition that does not hold, and the number of those that do.
    pub(crate) fn first_failure(&self, attributes: &Attributes<'_>) -> Option<Failure<'_>> {
        let when = std::slice::from_ref(&self.when);
        let parts = [self.from.as_slice(), &self.to, when];
        let parts = parts.map(|alternatives| self.nearest_of(alternatives, attributes));
        let [_, to, _] = &parts;
        let is_for_it = to.is_none_or(|(failure, _)| failure.is_none());
        let held = parts.iter().flatten().map(|(_, held)| *held).fold(0, usize::saturating_add);
        let condition = parts.into_iter().flatten().find_map(|(failure, _)| failure)?;
        Some(Failure { condition, is_for_it, held })
    }

    /// The alternative with the most conditions that hold: its first condition that does not, and the number of those
    /// that do. One that holds entirely has no failing condition. `None`: there are no alternatives.
    fn nearest_of<'r>(
        &self,
        alternatives: &'r [Operand],
        attributes: &Attributes<'_>,
    ) -> Option<(Option<&'r Condition>, usize)> {
        let tried = alternatives.iter().map(|operand| {
            let mut failing = operand.iter().filter(|condition| !condition.holds(self, attributes));
            let failure = failing.next();
            let failed = usize::from(failure.is_some()).saturating_add(failing.count());
            (failure, operand.len().saturating_sub(failed))
        });
        tried.rev().max_by_key(|(failure, held)| (failure.is_none(), *held))
    }

    /// What the path templates of the matching operations captured under this name.
    pub(super) fn captured<'f>(&self, name: &str, attributes: &Attributes<'f>) -> Vec<&'f [u8]> {
        let Some(path) = attributes.path() else {
            return Vec::new();
        };
        let matches =
            |operand: &&Operand| operand.iter().all(|condition| condition.holds(self, attributes));
        let conditions = self.to.iter().filter(matches).flatten();
        let templates = conditions.flat_map(|condition| match &condition.values {
            Some(Test::Path(set)) => set.templates.as_slice(),
            _ => &[],
        });
        templates
            .filter_map(|template| template.captures(path, self.polarity))
            .flatten()
            .filter(|(captured, _)| *captured == name)
            .map(|(_, text)| text)
            .collect()
    }
}

/// Why a rule did not match.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failure<'r> {
    pub(crate) condition: &'r Condition,
    /// Whether the rule's `to` matches wholly: it is a rule for this operation.
    pub(crate) is_for_it: bool,
    /// How many conditions of the rule hold.
    pub(crate) held: usize,
}

impl Exemption {
    /// The first entry whose paths and methods match.
    pub fn first(entries: &[Self], request: &Request) -> Option<usize> {
        if entries.is_empty() {
            return None;
        }
        let attributes = Attributes::new(request, None, Scalars::Never);
        // An exemption lets a request in.
        let rule = Rule { polarity: Polarity::LetsIn, ..Rule::default() };
        let holds = |entry: &Self| entry.operation.iter().all(|c| c.holds(&rule, &attributes));
        entries.iter().position(holds)
    }
}

impl Condition {
    /// The scopes that the condition requires, if it is about scopes (RFC 6750 section 3.1).
    pub(crate) fn scopes(&self) -> Vec<String> {
        let is_scope = |attribute: &Attribute| match attribute {
            Attribute::Scope => true,
            Attribute::Claim(path) => {
                ["scope", "scp", "scopes"].iter().any(|name| *path == ClaimPath::name(name))
            }
            _ => false,
        };
        let tests = self.values.iter().chain(&self.all);
        let mut scopes: Vec<String> = tests
            .filter_map(|test| match test {
                Test::Text(attribute, set) if is_scope(attribute) => Some(set.exact_texts()),
                _ => None,
            })
            .flatten()
            .map(|text| String::from_utf8_lossy(text).into_owned())
            .collect();
        scopes.sort_unstable();
        scopes
    }

    fn holds(&self, rule: &Rule, attributes: &Attributes<'_>) -> bool {
        let (polarity, negated) = (rule.polarity, rule.polarity.negated());
        self.values.as_ref().is_none_or(|test| test.matches(attributes, polarity))
            && self.all.iter().all(|test| test.matches(attributes, polarity))
            && self.values_from.as_ref().is_none_or(|from| {
                from.matches(rule.polarity, &|name| rule.captured(name, attributes), attributes)
            })
            && !self.not_values.as_ref().is_some_and(|test| test.matches(attributes, negated))
    }
}

impl Test {
    /// Whether one of the values matches, read as `polarity` says.
    pub(crate) fn matches(&self, attributes: &Attributes<'_>, polarity: Polarity) -> bool {
        let connection = &attributes.request.connection;
        match self {
            Self::Address(address, set) => {
                attributes.address(*address).is_some_and(|a| set.contains(a))
            }
            Self::Host(set) => set.matches(attributes.host(polarity)),
            Self::Metadata { filter, key, text, list } => match attributes.metadata(filter, key) {
                Some(MetadataValue::Text(value)) => text.matches(value.as_bytes()),
                Some(MetadataValue::List(items)) => {
                    items.iter().any(|i| list.matches(i.as_bytes()))
                }
                None => false,
            },
            Self::Path(set) => attributes.path().is_some_and(|path| set.matches(path, polarity)),
            Self::Peer(set) => {
                connection.peer.as_ref().is_some_and(|peer| peer::counts(peer, polarity))
                    && set.matches(attributes.peer())
            }
            Self::Port(ports) => connection.destination_port.is_some_and(|p| ports.contains(&p)),
            Self::RequestPrincipal(set) => set.matches(attributes.identity),
            Self::Text(attribute, set) => {
                attributes.any(attribute, polarity, &mut |text| set.matches(text))
            }
        }
    }
}

impl PathSet {
    fn matches(&self, path: &[u8], polarity: Polarity) -> bool {
        let mut templates = self.templates.iter();
        self.texts.matches(path) || templates.any(|template| template.matches(path, polarity))
    }
}
