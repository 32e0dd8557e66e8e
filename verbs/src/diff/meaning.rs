//! A configuration -> facts, so that configurations with the same meaning are equal: defaults are
//! filled in, lists that are sets are sorted, rules are found by their issuer or name.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use usher_core::codec::json::{self, Value};
use usher_core::codec::problems::{Node, Problems};
use usher_core::policy::{MissingToken, normalize_audience};

/// The difference at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The place, by names: `jwtRules[ISSUER].audiences`.
    pub at: String,
    /// What only the old configuration has there.
    pub removed: Vec<String>,
    /// What only the new one has there.
    pub added: Vec<String>,
    /// Its effect on requests, if that is clear.
    pub effect: Option<&'static str>,
}

/// Texts by place; a place without texts is present and empty.
type Facts = BTreeMap<String, BTreeSet<String>>;

/// A configuration as written, and its `missingToken`, given or default.
pub(super) type Configuration<'v> = (&'v Value, MissingToken);

/// The changes from one configuration to the other.
pub(super) fn changes(before: Configuration<'_>, after: Configuration<'_>) -> Vec<Change> {
    let flip = Flip::of(before.0, after.0);
    let (before, after) = (facts(before), facts(after));
    let places: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let none = BTreeSet::new();
    let mut changes = Vec::new();
    for at in places {
        let (old, new) = (before.get(at), after.get(at));
        let (was, is) = (old.unwrap_or(&none), new.unwrap_or(&none));
        let removed: Vec<String> = was.difference(is).cloned().collect();
        let added: Vec<String> = is.difference(was).cloned().collect();
        // An absent list and a list without entries differ.
        if removed.is_empty() && added.is_empty() && old.is_some() == new.is_some() {
            continue;
        }
        let effect = effect(at, was, is, flip);
        changes.push(Change { at: at.clone(), removed, added, effect });
    }
    changes
}

/// What happens to requests that no rule matches: with the first ALLOW policy they are denied, with the last one gone they
/// pass (docs/semantics.md, "Filter order and decision").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flip {
    None,
    ToAllow,
    ToDeny,
}

impl Flip {
    fn of(before: &Value, after: &Value) -> Self {
        match (denies_by_default(before), denies_by_default(after)) {
            (true, false) => Self::ToAllow,
            (false, true) => Self::ToDeny,
            _ => Self::None,
        }
    }
}

/// Whether an ALLOW policy is enforced.
fn denies_by_default(config: &Value) -> bool {
    let policies = config.get("authorizationPolicies").and_then(Value::as_array);
    policies.into_iter().flatten().any(|policy| {
        let action = policy.get("action").and_then(Value::as_str).unwrap_or("ALLOW");
        action == "ALLOW" && policy.get("dryRun") != Some(&Value::Bool(true))
    })
}

/// The effect of a change, by the last part of its place.
fn effect(
    at: &str,
    was: &BTreeSet<String>,
    is: &BTreeSet<String>,
    flip: Flip,
) -> Option<&'static str> {
    let (more, fewer) = (is.is_superset(was), was.is_superset(is));
    let field = at.rsplit('.').next().unwrap_or(at);
    match field {
        "audiences" | "subjects" | "types" if is.is_empty() => Some("accepts every token's"),
        "audiences" | "subjects" | "types" if was.is_empty() => Some("accepts fewer tokens"),
        "audiences" | "subjects" | "types" | "algorithms" | "jwks" if more => {
            Some("accepts more tokens")
        }
        "audiences" | "subjects" | "types" | "algorithms" | "jwks" if fewer => {
            Some("accepts fewer tokens")
        }
        "requiredClaims" if more => Some("accepts fewer tokens"),
        "requiredClaims" if fewer => Some("accepts more tokens"),
        "rules (ALLOW)" if flip == Flip::ToDeny => {
            Some("the first ALLOW policy: denies what it does not match")
        }
        "rules (ALLOW)" if flip == Flip::ToAllow => {
            Some("no ALLOW policy is left: allows what no DENY rule matches")
        }
        "rules (ALLOW)" if more => Some("allows more"),
        "rules (ALLOW)" if fewer => Some("allows less"),
        "rules (DENY)" if more => Some("denies more"),
        "rules (DENY)" if fewer => Some("denies less"),
        "exempt" if more => Some("exempts more"),
        "exempt" if fewer => Some("exempts less"),
        "mode" if is.contains("dryRun") => Some("refuses nothing"),
        "mode" => Some("refuses again"),
        "missingToken" if is.contains("allow") => Some("lets requests without a token on"),
        "missingToken" => Some("asks every request for a token"),
        _ => None,
    }
}

fn facts((config, missing_token): Configuration<'_>) -> Facts {
    let mut facts = Facts::new();
    let list = |name: &str| config.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let rules = list("jwtRules");
    let mut seen = BTreeMap::new();
    for rule in &rules {
        let text = |name: &str| rule.get(name).and_then(Value::as_str);
        let id = text("name").or(text("issuer")).unwrap_or("any issuer");
        let at = numbered("jwtRules", id, &mut seen);
        jwt_rule(rule, &at, &mut facts);
    }
    let policies = list("authorizationPolicies");
    let mut seen = BTreeMap::new();
    for policy in &policies {
        let text = |name: &str| policy.get(name).and_then(Value::as_str);
        let namespace = text("namespace").unwrap_or("default");
        let id = format!("{namespace}/{}", text("name").unwrap_or_default());
        let at = numbered("authorizationPolicies", &id, &mut seen);
        policy_facts(policy, &at, &mut facts);
    }
    for entry in list("exempt") {
        put(&mut facts, "exempt", shown(&sorted(&entry)));
    }
    for (name, default) in [
        ("matchScalarClaims", json!(false)),
        ("missingToken", json!(word(missing_token))),
        ("corsPreflight", json!("authorize")),
        ("mode", json!("enforce")),
        ("pathNormalization", json!("BASE")),
        ("sourceAddress", Value::Null),
        ("trustDomains", json!(["cluster.local"])),
    ] {
        // The first trust domain is the mesh's own, so the order counts.
        put(&mut facts, name, shown(config.get(name).unwrap_or(&default)));
    }
    let known = ["jwtRules", "authorizationPolicies", "exempt"];
    for (name, value) in config.as_object().into_iter().flatten() {
        if !known.contains(&name.as_str()) && !facts.contains_key(name) {
            spread(value, name, &mut facts);
        }
    }
    facts
}

fn word(missing_token: MissingToken) -> &'static str {
    match missing_token {
        MissingToken::Allow => "allow",
        MissingToken::Reject => "reject",
    }
}

/// `jwtRules[corp]`, and `jwtRules[corp #2]` for a second one.
fn numbered(list: &str, id: &str, seen: &mut BTreeMap<String, usize>) -> String {
    let count = seen.entry(id.to_owned()).or_default();
    *count = count.saturating_add(1);
    if *count == 1 { format!("{list}[{id}]") } else { format!("{list}[{id} #{count}]") }
}

fn put(facts: &mut Facts, at: &str, text: String) {
    facts.entry(at.to_owned()).or_default().insert(text);
}

fn jwt_rule(rule: &Value, at: &str, facts: &mut Facts) {
    let present = rule.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    for (name, value) in present {
        let at = format!("{at}.{name}");
        match name.as_str() {
            "jwks" => keys(value, &at, facts),
            "audiences" => {
                for audience in value.as_array().into_iter().flatten().filter_map(Value::as_str) {
                    put(facts, &at, normalize_audience(audience).to_owned());
                }
            }
            "clockSkew" | "issuedAtSkew" | "maxAge" | "maxLifetime" | "timeout" => {
                let node = Node { at: String::new(), value };
                let seconds = node.duration(&Problems::default());
                put(facts, &at, seconds.map_or_else(|| shown(value), |s| format!("{s:?}")));
            }
            // The first that a token has decides: the order counts.
            "audienceClaims" => put(facts, &at, shown(value)),
            // Their order decides which place is searched first; they are a set nevertheless.
            _ => match value {
                Value::Array(items) => {
                    facts.entry(at.clone()).or_default();
                    items.iter().for_each(|item| put(facts, &at, shown(&sorted(item))));
                }
                value => put(facts, &at, shown(&sorted(value))),
            },
        }
    }
    for (name, default) in [
        ("allowPublishedKeys", "false"),
        ("audienceClaims", "[\"aud\"]"),
        ("clockSkew", "60s"),
        ("forwardOriginalToken", "false"),
        ("requireExpiration", "true"),
    ] {
        facts.entry(format!("{at}.{name}")).or_insert_with(|| BTreeSet::from([default.to_owned()]));
    }
    if rule.get("anyIssuer") == Some(&Value::Bool(false)) {
        facts.remove(&format!("{at}.anyIssuer"));
    }
}

/// Each key by itself.
fn keys(value: &Value, at: &str, facts: &mut Facts) {
    let parsed;
    let set = match value {
        Value::String(text) => match json::parse(text.as_bytes(), 8) {
            Ok(set) => {
                parsed = set;
                &parsed
            }
            Err(_) => return put(facts, at, text.trim().to_owned()),
        },
        value => value,
    };
    match set.get("keys").and_then(Value::as_array) {
        Some(keys) => keys.iter().for_each(|key| put(facts, at, shown(key))),
        None => put(facts, at, shown(set)),
    }
}

fn policy_facts(policy: &Value, at: &str, facts: &mut Facts) {
    let action = policy.get("action").and_then(Value::as_str).unwrap_or("ALLOW");
    put(facts, &format!("{at}.action"), action.to_owned());
    // The rules of a dry run decide nothing.
    let dry = if policy.get("dryRun") == Some(&Value::Bool(true)) { ", dry run" } else { "" };
    let rules = format!("{at}.rules ({action}{dry})");
    facts.entry(rules.clone()).or_default();
    for rule in policy.get("rules").and_then(Value::as_array).into_iter().flatten() {
        put(facts, &rules, shown(&sorted(rule)));
    }
    let dry_run = policy.get("dryRun").unwrap_or(&Value::Bool(false));
    put(facts, &format!("{at}.dryRun"), dry_run.to_string());
    for name in ["denyMessage", "denyStatus", "denyWhenUnauthenticated"] {
        if let Some(value) = policy.get(name) {
            put(facts, &format!("{at}.{name}"), shown(value));
        }
    }
}

/// Members by their paths.
fn spread(value: &Value, at: &str, facts: &mut Facts) {
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                spread(value, &format!("{at}.{name}"), facts);
            }
        }
        Value::Array(items) => {
            facts.entry(at.to_owned()).or_default();
            items.iter().for_each(|item| put(facts, at, shown(item)));
        }
        value => put(facts, at, shown(value)),
    }
}

/// Sorts every list: in rules all are sets. Empty lists and nulls count as absent.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(sorted).collect();
            items.sort_by_key(Value::to_string);
            items.dedup();
            Value::Array(items)
        }
        Value::Object(members) => {
            let said = members.iter().filter(|(_, value)| {
                !value.is_null() && !value.as_array().is_some_and(Vec::is_empty)
            });
            Value::Object(said.map(|(name, value)| (name.clone(), sorted(value))).collect())
        }
        value => value.clone(),
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(before: &Value, after: &Value) -> Vec<String> {
        let shown = |c: Change| format!("{} -{:?} +{:?}", c.at, c.removed, c.added);
        let (before, after) = ((before, MissingToken::Allow), (after, MissingToken::Allow));
        changes(before, after).into_iter().map(shown).collect()
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        let before = json!({
            "jwtRules": [
                { "issuer": "a", "audiences": ["https://x/", "y"], "jwks": "{\"keys\":[{\"kid\":\"1\"}]}" },
                { "issuer": "b", "jwks": { "keys": [] }, "clockSkew": "1m" },
            ],
            "authorizationPolicies": [{ "name": "p", "rules": [
                { "to": [{ "operation": { "paths": ["/b", "/a"] } }], "from": null },
                { "when": [] },
            ]}],
        });
        let after = json!({
            "jwtRules": [
                { "issuer": "b", "jwks": { "keys": [] }, "requireExpiration": true },
                { "issuer": "a", "audiences": ["y", "x"], "jwks": { "keys": [{ "kid": "1" }] } },
            ],
            "authorizationPolicies": [{ "name": "p", "namespace": "default", "action": "ALLOW", "rules": [
                {},
                { "to": [{ "operation": { "paths": ["/a", "/b"] } }] },
            ]}],
            "missingToken": "allow",
            "mode": "enforce",
        });
        assert_eq!(at(&before, &after), Vec::<String>::new());
    }

    #[test]
    fn a_first_allow_policy_denies_and_a_last_one_gone_allows() {
        let none = json!({ "jwtRules": [] });
        let policy = |dry: bool, rules: Value| json!({ "authorizationPolicies": [{ "name": "p", "dryRun": dry, "rules": rules }] });
        let get = json!([{ "to": [{ "operation": { "methods": ["GET"] } }] }]);
        let effects = |before: &Value, after: &Value| -> Vec<&'static str> {
            let (before, after) = ((before, MissingToken::Allow), (after, MissingToken::Allow));
            changes(before, after).into_iter().filter_map(|change| change.effect).collect()
        };
        let (enforced, dry) = (policy(false, get.clone()), policy(true, get));
        let first = "the first ALLOW policy: denies what it does not match";
        let last = "no ALLOW policy is left: allows what no DENY rule matches";
        assert_eq!(effects(&none, &enforced), [first]);
        assert_eq!(effects(&enforced, &none), [last]);
        assert_eq!(effects(&none, &dry), [""; 0]);
        assert_eq!(effects(&dry, &enforced), [first]);
        assert_eq!(
            effects(
                &enforced,
                &policy(false, json!([{}, { "to": [{ "operation": { "methods": ["GET"] } }] }]))
            ),
            ["allows more"]
        );
    }

    #[test]
    fn what_means_something_else_is_told() {
        let rule = |aud: Value| json!({ "jwtRules": [{ "issuer": "a", "audiences": aud }] });
        assert_eq!(
            at(&rule(json!(["x"])), &rule(json!(["x", "y"]))),
            ["jwtRules[a].audiences -[] +[\"y\"]"]
        );
        let policy = |action: &str| json!({ "authorizationPolicies": [{ "name": "p", "action": action, "rules": [{}] }] });
        assert_eq!(
            at(&policy("ALLOW"), &policy("DENY")),
            [
                "authorizationPolicies[default/p].action -[\"ALLOW\"] +[\"DENY\"]",
                "authorizationPolicies[default/p].rules (ALLOW) -[\"{}\"] +[]",
                "authorizationPolicies[default/p].rules (DENY) -[] +[\"{}\"]",
            ]
        );
    }
}
