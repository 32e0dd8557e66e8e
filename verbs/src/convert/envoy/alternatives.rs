//! Rules as a sum of products: alternatives, each of which is a source, an operation and conditions.

use std::collections::BTreeMap;

use crate::output::set;
use serde_json::json;
use usher_core::codec::json::Value;

/// Values by field.
type Fields = BTreeMap<String, Vec<String>>;

/// One alternative: all of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Alternative {
    source: Fields,
    operation: Fields,
    /// Values and `not` values by key.
    when: BTreeMap<String, (Vec<String>, Vec<String>)>,
}

/// Any of them must hold; if there are none, nothing matches.
pub(super) type Alternatives = Vec<Alternative>;

/// With more, the result would be unreadable.
const MOST: usize = 64;

/// The part of a rule that a value belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Operation,
    Source,
    When,
}

impl Alternative {
    /// One value of one field or key.
    pub(super) fn one(kind: Kind, name: &str, value: String) -> Self {
        let mut one = Self::default();
        match kind {
            Kind::Operation => drop(one.operation.insert(name.to_owned(), vec![value])),
            Kind::Source => drop(one.source.insert(name.to_owned(), vec![value])),
            Kind::When => drop(one.when.insert(name.to_owned(), (vec![value], Vec::new()))),
        }
        one
    }

    /// The one field that it is about, and its values.
    fn single(&self) -> Option<(Kind, &str, &[String])> {
        let source = self.source.iter().map(|(n, v)| (Kind::Source, n, v));
        let operation = self.operation.iter().map(|(n, v)| (Kind::Operation, n, v));
        let when = self.when.iter().filter(|(_, (_, not))| not.is_empty());
        let when = when.map(|(n, (v, _))| (Kind::When, n, v));
        let count = self.source.len().saturating_add(self.operation.len());
        if count.saturating_add(self.when.len()) != 1 {
            return None;
        }
        let (kind, name, values) = source.chain(operation).chain(when).next()?;
        Some((kind, name.as_str(), values.as_slice()))
    }
}

/// Either: alternatives about the same field become one with the values of both.
pub(super) fn any(all: Vec<Alternatives>) -> Alternatives {
    let mut result: Alternatives = Vec::new();
    for alternative in all.into_iter().flatten() {
        // Two negations of one field cannot be merged into one with both values: that would exclude
        // both.
        let single = alternative.single().filter(|(_, name, _)| !name.starts_with("not"));
        let same = single.and_then(|(kind, name, values)| {
            let at = result
                .iter()
                .position(|known| known.single().is_some_and(|(k, n, _)| k == kind && n == name))?;
            Some((at, kind, name.to_owned(), values.to_vec()))
        });
        let Some((at, kind, name, values)) = same else {
            if !result.contains(&alternative) {
                result.push(alternative);
            }
            continue;
        };
        let Some(known) = result.get_mut(at) else { continue };
        let list = match kind {
            Kind::Operation => known.operation.entry(name).or_default(),
            Kind::Source => known.source.entry(name).or_default(),
            Kind::When => &mut known.when.entry(name).or_default().0,
        };
        for value in values {
            if !list.contains(&value) {
                list.push(value);
            }
        }
    }
    result
}

/// Both.
pub(super) fn all(parts: Vec<Alternatives>) -> Result<Alternatives, String> {
    let mut result = vec![Alternative::default()];
    for part in parts {
        let mut next = Vec::new();
        for left in &result {
            for right in &part {
                next.push(joined(left, right)?);
            }
        }
        if next.len() > MOST {
            return Err(format!("more than {MOST} alternatives"));
        }
        result = next;
    }
    Ok(result)
}

fn joined(left: &Alternative, right: &Alternative) -> Result<Alternative, String> {
    let mut both = left.clone();
    for (to, from) in [(&mut both.source, &right.source), (&mut both.operation, &right.operation)] {
        for (name, values) in from {
            // A field's values are alternatives, so one field cannot meet two requirements.
            if to.get(name).is_some_and(|known| known != values) {
                return Err(format!("two demands on `{name}` at once"));
            }
            to.insert(name.clone(), values.clone());
        }
    }
    for (key, (values, not)) in &right.when {
        let (known, known_not) = both.when.entry(key.clone()).or_default();
        if !known.is_empty() && !values.is_empty() && known != values {
            return Err(format!("two demands on `{key}` at once"));
        }
        if known.is_empty() {
            known.clone_from(values);
        }
        known_not.extend(not.iter().cloned());
    }
    Ok(both)
}

/// Negation: of alternatives about one field each.
pub(super) fn not(alternatives: &Alternatives) -> Result<Alternatives, String> {
    let mut parts = Vec::new();
    for alternative in alternatives {
        let Some((kind, name, values)) = alternative.single() else {
            return Err("`not` of several conditions together".to_owned());
        };
        let mut negated = Alternative::default();
        match kind {
            Kind::When => drop(negated.when.insert(name.to_owned(), (Vec::new(), values.to_vec()))),
            Kind::Operation => drop(negated.operation.insert(opposite(name), values.to_vec())),
            Kind::Source => drop(negated.source.insert(opposite(name), values.to_vec())),
        }
        parts.push(vec![negated]);
    }
    if parts.is_empty() {
        return Err("`not` of nothing".to_owned());
    }
    all(parts)
}

/// `paths` and `notPaths`.
fn opposite(name: &str) -> String {
    let mut letters = name.chars();
    match name.strip_prefix("not") {
        Some(rest) => {
            let mut letters = rest.chars();
            let first = letters.next().map(|letter| letter.to_ascii_lowercase());
            first.into_iter().chain(letters).collect()
        }
        None => {
            let first = letters.next().map(|letter| letter.to_ascii_uppercase());
            "not".chars().chain(first).chain(letters).collect()
        }
    }
}

/// The rules with the same meaning. Alternatives without `when` share one rule if that means the same:
/// all have only a source, or all only an operation.
pub(super) fn rules(alternatives: &Alternatives) -> Vec<Value> {
    let rule = |alternative: &Alternative| {
        let mut rule = json!({});
        if !alternative.source.is_empty() {
            set(&mut rule, "from", json!([{ "source": alternative.source }]));
        }
        if !alternative.operation.is_empty() {
            set(&mut rule, "to", json!([{ "operation": alternative.operation }]));
        }
        let conditions: Vec<Value> = alternative.when.iter().map(condition).collect();
        if !conditions.is_empty() {
            set(&mut rule, "when", json!(conditions));
        }
        rule
    };
    alternatives.iter().map(rule).collect()
}

fn condition((key, (values, not)): (&String, &(Vec<String>, Vec<String>))) -> Value {
    let mut condition = json!({ "key": key });
    if !values.is_empty() {
        set(&mut condition, "values", json!(values));
    }
    if !not.is_empty() {
        set(&mut condition, "notValues", json!(not));
    }
    condition
}
