//! Which rules some case matched, and which no case matched.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde_json::json;
use usher_core::codec::json::Value;
use usher_core::decide::Decision;

use crate::command::Format;
use crate::config::Loaded;
use crate::style::{BAD, GOOD};

/// The rules of all configurations under test, by their place.
#[derive(Default)]
pub(super) struct Coverage(BTreeMap<(String, usize, String), Reached>);

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
    /// The rules of a configuration to be tested.
    pub(super) fn of(&self, loaded: &Loaded) -> Rules {
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
        Rules {
            places: paths.into_iter().map(place).collect(),
            providers: loaded.policy.jwt.rules.iter().map(|r| r.provider.clone()).collect(),
            reached: BTreeSet::new(),
        }
    }

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

    /// Writes which rules were not reached; returns whether enough were.
    pub(super) fn write(
        &self,
        least: Option<u8>,
        format: Format,
        out: &mut dyn Write,
    ) -> io::Result<bool> {
        let missed: Vec<_> = self.0.iter().filter(|(_, hit)| **hit == Reached::No).collect();
        let (all, hit) = (self.0.len(), self.0.len().saturating_sub(missed.len()));
        let percent = hit.saturating_mul(100).checked_div(all).unwrap_or(100);
        let enough = least.is_none_or(|least| percent >= usize::from(least));
        if format == Format::Json {
            let missed: Vec<Value> = missed
                .iter()
                .map(|((file, line, path), _)| json!({ "file": file, "line": line, "path": path }))
                .collect();
            let line =
                json!({ "rules": all, "covered": hit, "percent": percent, "missed": missed });
            writeln!(out, "{line}")?;
            return Ok(enough);
        }
        for ((file, line, path), _) in &missed {
            writeln!(out, "{file}:{line}: no case matches {path}")?;
        }
        let style = if missed.is_empty() { GOOD } else { BAD };
        writeln!(out, "{style}COVERAGE{style:#}: {hit}/{all} rules ({percent} %)")?;
        Ok(enough)
    }
}

impl Rules {
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
