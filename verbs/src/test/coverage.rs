//! Which rules some case matched, and which no case matched.

use std::collections::{BTreeMap, BTreeSet};

use usher_core::codec::json::Value;
use usher_core::decide::Decision;

use crate::config::Loaded;

/// The rules of all configurations under test, by their place.
#[derive(Debug, Default)]
pub struct Coverage(BTreeMap<(String, usize, String), Reached>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reached {
    No,
    Yes,
}

/// The rules of one configuration.
pub(super) struct Rules {
    /// By path: file, line.
    places: BTreeMap<String, (String, usize)>,
    /// The providers of the jwt rules, in their order.
    providers: Vec<String>,
    reached: BTreeSet<String>,
}

impl Coverage {
    /// Adds the rules that the cases of a file reached.
    pub(super) fn add(&mut self, rules: Rules) {
        for (path, (file, line)) in rules.places {
            let hit = rules.reached.contains(&path);
            let entry = self.0.entry((file, line, path)).or_insert(Reached::No);
            if hit {
                *entry = Reached::Yes;
            }
        }
    }

    /// All rules.
    pub fn all(&self) -> usize {
        self.0.len()
    }

    /// Those that no case reached.
    pub fn missed(&self) -> Vec<Missed<'_>> {
        let missed = self.0.iter().filter(|(_, hit)| **hit == Reached::No);
        missed.map(|((file, line, path), _)| Missed { file, line: *line, path }).collect()
    }

    /// The rules that a case reached, in percent, rounded down; 100 where there are none.
    pub fn percent(&self) -> usize {
        let hit = self.all().saturating_sub(self.missed().len());
        hit.saturating_mul(100).checked_div(self.all()).unwrap_or(100)
    }
}

/// A rule that no case reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed<'c> {
    /// The configuration's file.
    pub file: &'c str,
    /// Its line, from 1.
    pub line: usize,
    /// JSON path in the configuration.
    pub path: &'c str,
}

impl Rules {
    /// The rules of a configuration to be tested.
    pub(super) fn of(loaded: &Loaded) -> Self {
        let source = &loaded.source;
        let mut paths = Vec::new();
        let list = |value: &Value, name: &str| value.get(name).and_then(Value::as_array).cloned();
        let config = &source.config.value;
        for (index, _) in list(config, "jwtRules").unwrap_or_default().iter().enumerate() {
            paths.push(format!("jwtRules[{index}]"));
        }
        let policies = list(config, "authorizationPolicies").unwrap_or_default();
        for (index, policy) in policies.iter().enumerate() {
            let rules = list(policy, "rules").unwrap_or_default();
            paths.extend(
                (0..rules.len())
                    .map(|rule| format!("authorizationPolicies[{index}].rules[{rule}]")),
            );
        }
        let place = |path: String| {
            let line = source.mark(&path).map(|mark| mark.line).unwrap_or_default();
            (path, (source.file().to_owned(), line))
        };
        Self {
            places: paths.into_iter().map(place).collect(),
            providers: loaded.policy.jwt.rules.iter().map(|r| r.provider.clone()).collect(),
            reached: BTreeSet::new(),
        }
    }

    /// Records what a decision reached: every rule that matches, and the rule that verified the
    /// token.
    pub(super) fn note(&mut self, decision: &Decision) {
        for rule in decision.report.rules.iter().filter(|rule| rule.miss.is_none()) {
            let (policy, rule) = (rule.policy, rule.rule);
            self.reached.insert(format!("authorizationPolicies[{policy}].rules[{rule}]"));
        }
        if let Some(identity) = &decision.report.identity {
            // Rules of one provider cannot be distinguished.
            let provider = &identity.provider;
            for (index, _) in self.providers.iter().enumerate().filter(|(_, p)| *p == provider) {
                self.reached.insert(format!("jwtRules[{index}]"));
            }
        }
    }
}
