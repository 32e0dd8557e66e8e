//! Rules that never decide, because another one matches all of their requests.
//!
//! A rule is split into boxes: one source, one operation, all conditions. A box is inside another if
//! each condition of the other is implied by one of its own. Only clear cases are reported. Boxes are
//! indexed by their values, so that thousands of rules are checked fast.

use std::collections::HashMap;

use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;

use super::view::{Policy, View, conditions, operands};

/// A rule with more sources times operations than this is not checked.
const BOXES: usize = 64;

/// What one field or condition requires.
#[derive(Debug)]
struct Ask<'v> {
    key: String,
    values: Vec<Pattern<'v>>,
    not: Vec<Pattern<'v>>,
    /// `allValues`, `valuesFrom`, `valuesFromAll`: compared literally.
    more: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern<'v> {
    Any,
    Exact(&'v str),
    Prefix(&'v str),
    Suffix(&'v str),
    /// Any other form: it only covers itself.
    Other(&'v str),
}

/// One source, one operation, and all conditions of a rule.
struct Bounds<'v> {
    rule: usize,
    asks: Vec<Ask<'v>>,
}

struct Rule {
    at: String,
    boxes: Vec<usize>,
}

/// Records rules that never decide.
pub(super) fn check(view: &View<'_>, problems: &Problems) {
    let enforced = |action: &str| -> Vec<&Policy<'_>> {
        view.policies.iter().filter(|p| p.action == action && !p.dry_run).collect()
    };
    let (deny, allow) = (Set::new(&enforced("DENY")), Set::new(&enforced("ALLOW")));
    for set in [&deny, &allow] {
        for (number, rule) in set.rules.iter().enumerate() {
            let inside = |index: &usize| set.shadows(set.boxes.get(*index)?, Some(number));
            if let Some(other) = all(&rule.boxes, inside) {
                problems.warning(
                    "shadowed",
                    &rule.at,
                    format!(
                        "never decides: all that it matches, {other} matches; remove one of them"
                    ),
                );
            }
        }
    }
    for rule in &allow.rules {
        let inside = |index: &usize| deny.shadows(allow.boxes.get(*index)?, None);
        if let Some(other) = all(&rule.boxes, inside) {
            problems.warning(
                "shadowed",
                &rule.at,
                format!("never allows: all that it matches, {other} denies; narrow that one"),
            );
        }
    }
}

/// The first shadow, if every box has one.
fn all<'s>(boxes: &[usize], shadow: impl Fn(&usize) -> Option<&'s str>) -> Option<&'s str> {
    let shadows: Option<Vec<&str>> = boxes.iter().map(shadow).collect();
    shadows?.first().copied()
}

/// The rules of one action.
#[derive(Default)]
struct Set<'v> {
    rules: Vec<Rule>,
    boxes: Vec<Bounds<'v>>,
    /// Boxes that require no value.
    open: Vec<usize>,
    /// By key, then by the text of a value of the first field that has some.
    exact: HashMap<String, Filed<'v>>,
}

#[derive(Default)]
struct Filed<'v> {
    any: Vec<usize>,
    exact: HashMap<&'v str, Vec<usize>>,
    prefix: HashMap<&'v str, Vec<usize>>,
    suffix: HashMap<&'v str, Vec<usize>>,
}

impl<'v> Set<'v> {
    fn new(policies: &[&Policy<'v>]) -> Self {
        let mut set = Self::default();
        for policy in policies {
            for (at, rule) in &policy.rules {
                let number = set.rules.len();
                let mut boxes = Vec::new();
                for asks in boxes_of(policy, rule, at) {
                    let index = set.boxes.len();
                    boxes.push(index);
                    set.file(index, &asks);
                    set.boxes.push(Bounds { rule: number, asks });
                }
                set.rules.push(Rule { at: at.clone(), boxes });
            }
        }
        set
    }

    fn file(&mut self, index: usize, asks: &[Ask<'v>]) {
        let Some(ask) = asks.iter().find(|ask| !ask.values.is_empty()) else {
            return self.open.push(index);
        };
        let filed = self.exact.entry(ask.key.clone()).or_default();
        for value in &ask.values {
            match *value {
                Pattern::Any => filed.any.push(index),
                Pattern::Exact(text) | Pattern::Other(text) => {
                    filed.exact.entry(text).or_default().push(index);
                }
                Pattern::Prefix(text) => filed.prefix.entry(text).or_default().push(index),
                Pattern::Suffix(text) => filed.suffix.entry(text).or_default().push(index),
            }
        }
    }

    /// The place of a rule with a box that contains this one; `own` is the box's rule in this set.
    fn shadows(&self, inner: &Bounds<'_>, own: Option<usize>) -> Option<&str> {
        let mut candidates: Vec<usize> = self.open.iter().take(BOXES).copied().collect();
        for ask in &inner.asks {
            let (Some(value), Some(filed)) = (ask.values.first(), self.exact.get(&ask.key)) else {
                continue;
            };
            filed.look_up(value, &mut candidates);
        }
        candidates.sort_unstable();
        candidates.dedup();
        let outer =
            candidates.into_iter().filter_map(|index| self.boxes.get(index)).find(|outer| {
                // Of two equal rules the later one is shadowed.
                let before = own.is_none_or(|own| outer.rule < own);
                own != Some(outer.rule)
                    && lies_inside(&inner.asks, &outer.asks)
                    && (before || !lies_inside(&outer.asks, &inner.asks))
            })?;
        self.rules.get(outer.rule).map(|rule| rule.at.as_str())
    }
}

impl Filed<'_> {
    fn look_up(&self, value: &Pattern<'_>, found: &mut Vec<usize>) {
        found.extend(&self.any);
        let (Pattern::Exact(text)
        | Pattern::Prefix(text)
        | Pattern::Suffix(text)
        | Pattern::Other(text)) = *value
        else {
            return;
        };
        found.extend(self.exact.get(text).into_iter().flatten());
        for end in (0..=text.len()).filter(|end| text.is_char_boundary(*end)) {
            let (head, tail) = text.split_at_checked(end).unwrap_or_default();
            if !self.prefix.is_empty() {
                found.extend(self.prefix.get(head).into_iter().flatten());
            }
            if !self.suffix.is_empty() {
                found.extend(self.suffix.get(tail).into_iter().flatten());
            }
        }
    }
}

/// Whether everything that satisfies `inner` satisfies `outer` too.
fn lies_inside(inner: &[Ask<'_>], outer: &[Ask<'_>]) -> bool {
    outer.iter().all(|wide| {
        inner.iter().filter(|narrow| narrow.key == wide.key).any(|narrow| {
            let values = wide.values.is_empty()
                || !narrow.values.is_empty()
                    && narrow.values.iter().all(|n| wide.values.iter().any(|w| w.covers(n)));
            let not = wide.not.iter().all(|w| narrow.not.iter().any(|n| n.covers(w)));
            let more = wide.more.is_none() || wide.more == narrow.more;
            values && not && more
        })
    })
}

impl Pattern<'_> {
    fn covers(&self, other: &Pattern<'_>) -> bool {
        match (self, other) {
            (Self::Any, _) => true,
            (_, Pattern::Any) => false,
            (Self::Exact(a), Pattern::Exact(b)) | (Self::Other(a), Pattern::Other(b)) => a == b,
            (Self::Prefix(a), Pattern::Exact(b) | Pattern::Prefix(b)) => b.starts_with(a),
            (Self::Suffix(a), Pattern::Exact(b) | Pattern::Suffix(b)) => b.ends_with(a),
            _ => false,
        }
    }
}

fn boxes_of<'v>(policy: &Policy<'v>, rule: &'v Value, at: &str) -> Vec<Vec<Ask<'v>>> {
    let namespace = policy.value.get("namespace").and_then(Value::as_str).unwrap_or_default();
    let from = operands(rule, at, "from", "source");
    let to = operands(rule, at, "to", "operation");
    let none: &'v Value = const { &Value::Null };
    let alternatives = |list: &[(String, &'v Value)]| -> Vec<&'v Value> {
        if list.is_empty() { vec![none] } else { list.iter().map(|(_, value)| *value).collect() }
    };
    let (sources, operations) = (alternatives(&from), alternatives(&to));
    if sources.len().saturating_mul(operations.len()) > BOXES {
        return Vec::new();
    }
    let mut boxes = Vec::new();
    for source in &sources {
        for operation in &operations {
            let mut asks = fields(source, namespace);
            asks.extend(fields(operation, namespace));
            asks.extend(
                conditions(rule, at).into_iter().filter_map(|(_, c)| condition(c, namespace)),
            );
            boxes.push(asks);
        }
    }
    boxes
}

/// Fields and the keys with the same meaning.
const SAME: [(&str, &str); 8] = [
    ("ipBlocks", "source.ip"),
    ("namespaces", "source.namespace"),
    ("ports", "destination.port"),
    ("principals", "source.principal"),
    ("remoteIpBlocks", "remote.ip"),
    ("requestPrincipals", "request.auth.principal"),
    ("serviceAccounts", "source.serviceAccount"),
    ("trustDomains", "source.trustDomain"),
];

/// The fields of a source or an operation.
fn fields<'v>(operand: &'v Value, namespace: &str) -> Vec<Ask<'v>> {
    let Value::Object(members) = operand else { return Vec::new() };
    let mut asks: Vec<Ask<'v>> = Vec::new();
    for (name, list) in members {
        let bare = match name.strip_prefix("not") {
            Some(rest) => {
                let mut letters = rest.chars();
                let first = letters.next().map(|letter| letter.to_ascii_lowercase());
                first.into_iter().chain(letters).collect()
            }
            None => name.clone(),
        };
        let key = SAME.iter().find(|(field, _)| *field == bare).map_or(bare.as_str(), |(_, k)| k);
        let patterns = patterns(key, list);
        let key = homed(key, namespace);
        let at = match asks.iter().position(|ask| ask.key == key) {
            Some(at) => at,
            None => {
                asks.push(Ask { key, values: Vec::new(), not: Vec::new(), more: None });
                asks.len().saturating_sub(1)
            }
        };
        let Some(ask) = asks.get_mut(at) else { continue };
        if name.starts_with("not") { ask.not = patterns } else { ask.values = patterns }
    }
    asks
}

fn condition<'v>(condition: &'v Value, namespace: &str) -> Option<Ask<'v>> {
    let key = condition.get("key")?.as_str()?;
    let list = |name: &str| condition.get(name).map(|list| patterns(key, list)).unwrap_or_default();
    let more = ["allValues", "valuesFrom", "valuesFromAll"].map(|name| condition.get(name));
    Some(Ask {
        key: homed(key, namespace),
        values: list("values"),
        not: list("notValues"),
        more: more.iter().any(Option::is_some).then(|| format!("{more:?}")),
    })
}

/// A bare service account is a different one in each namespace.
fn homed(key: &str, namespace: &str) -> String {
    if key == "source.serviceAccount" { format!("{key} of {namespace}") } else { key.to_owned() }
}

/// The values of a list; the values of a key that is not a text only equal themselves.
fn patterns<'v>(key: &str, list: &'v Value) -> Vec<Pattern<'v>> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    let plain = !matches!(
        key,
        "destination.ip"
            | "destination.port"
            | "remote.ip"
            | "request.auth.principal"
            | "source.ip"
            | "source.namespace"
            | "source.serviceAccount"
            | "source.trustDomain"
    ) && !key.starts_with("experimental.");
    texts
        .map(|text| match (text, plain) {
            ("*", _) => Pattern::Any,
            (text, true) if !text.contains('{') => {
                if let Some(rest) = text.strip_prefix('*') {
                    Pattern::Suffix(rest)
                } else if let Some(rest) = text.strip_suffix('*') {
                    Pattern::Prefix(rest)
                } else {
                    Pattern::Exact(text)
                }
            }
            (text, _) => Pattern::Other(text),
        })
        .collect()
}
