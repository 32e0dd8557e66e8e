//! `rbac`: permissions and principals -> the rules of a policy.

use std::collections::BTreeSet;

use serde_json::json;
use usher_core::codec::json::Value;

use super::super::Notes;
use super::alternatives::{self, Alternative, Alternatives, Kind};
use super::matcher;
use crate::output::set;

/// The fields of the filter that are read, or that change no decision.
const FIELDS: [&str; 8] = [
    "@type",
    "matcher",
    "rules",
    "rules_stat_prefix",
    "shadow_matcher",
    "shadow_rules",
    "shadow_rules_stat_prefix",
    "track_per_rule_stats",
];

/// Converts a filter: its rules, and its shadow rules as a dry run. `before`: the number of policies so far,
/// so that names differ.
pub(super) fn convert(filter: &Value, before: usize, notes: &mut Notes) -> Vec<Value> {
    let mut policies = Vec::new();
    super::unknown(filter, &FIELDS, "rbac", notes);
    for (field, dry_run) in [("rules", false), ("shadow_rules", true)] {
        if let Some(rules) = filter.get(field) {
            let number = before.saturating_add(policies.len());
            policies.extend(policy(rules, number, dry_run, notes));
        }
    }
    for field in ["matcher", "shadow_matcher"] {
        if filter.get(field).is_some() {
            notes.lost(&format!("rbac.{field}"), "a match tree: only `rules`");
        }
    }
    policies
}

fn policy(rules: &Value, number: usize, dry_run: bool, notes: &mut Notes) -> Option<Value> {
    super::unknown(rules, &["action", "audit_logging_options", "policies"], "rbac.rules", notes);
    let action = match rules.get("action").map(Value::as_str) {
        Some(Some("LOG")) => "AUDIT",
        Some(Some("DENY")) => "DENY",
        None | Some(Some("ALLOW")) => "ALLOW",
        Some(_) => {
            notes.lost("rbac.rules.action", "expected `ALLOW`, `DENY` or `LOG`");
            return None;
        }
    };
    let entries = rules.get("policies").and_then(Value::as_object);
    let mut converted = Vec::new();
    for (name, entry) in entries.into_iter().flatten() {
        let place = format!("rbac.rules.policies.{name}");
        let known = ["permissions", "principals", "condition", "checked_condition"];
        super::unknown(entry, &known, &place, notes);
        for field in ["condition", "checked_condition"] {
            if entry.get(field).is_some() {
                notes.lost(&place, format!("`{field}`: an expression in CEL"));
            }
        }
        for claim in compared_one_way(entry) {
            notes.lost(
                &place,
                format!(
                    "`{claim}` is compared either as a text or as a list, and Usher compares both: let the filter \
                     do so too, by `string_match` or `list_match` with the same values"
                ),
            );
        }
        match both(entry) {
            Ok(alternatives) => converted.extend(alternatives::rules(&alternatives)),
            Err(problem) => notes.lost(&place, problem),
        }
    }
    if converted.is_empty() && action != "ALLOW" {
        return None;
    }
    let mut policy =
        json!({ "name": format!("rbac-{number}"), "action": action, "rules": converted });
    if dry_run && action != "AUDIT" {
        set(&mut policy, "dryRun", json!(true));
    }
    Some(policy)
}

fn both(entry: &Value) -> Result<Alternatives, String> {
    let list = |name: &str| -> Result<Alternatives, String> {
        let items = entry.get(name).and_then(Value::as_array).into_iter().flatten();
        let read: Result<Vec<Alternatives>, String> = items.map(condition).collect();
        Ok(alternatives::any(read?))
    };
    alternatives::all(vec![list("permissions")?, list("principals")?])
}

/// A permission or a principal.
fn condition(value: &Value) -> Result<Alternatives, String> {
    let members = value.as_object().ok_or("a condition that is not an object")?;
    let (form, inner) = members.iter().next().ok_or("an empty condition")?;
    let inner_list = |name: &str| -> Result<Vec<Alternatives>, String> {
        let items = inner.get(name).and_then(Value::as_array).into_iter().flatten();
        items.map(condition).collect()
    };
    let one = |kind, name: &str, value| Ok(vec![Alternative::one(kind, name, value)]);
    match form.as_str() {
        "any" => Ok(vec![Alternative::default()]),
        "and_rules" => alternatives::all(inner_list("rules")?),
        "and_ids" => alternatives::all(inner_list("ids")?),
        "or_rules" => Ok(alternatives::any(inner_list("rules")?)),
        "or_ids" => Ok(alternatives::any(inner_list("ids")?)),
        "not_rule" | "not_id" => alternatives::not(&condition(inner)?),
        "url_path" => {
            let path = inner.get("path").ok_or("`url_path` without a path")?;
            let text = matcher::text(path)?;
            if text.contains(['{', '}']) {
                return Err(format!("the path `{text}`: braces are wildcards here"));
            }
            one(Kind::Operation, "paths", text)
        }
        "uri_template" => {
            let template = inner.get("typed_config").and_then(|config| config.get("path_template"));
            let text = template.and_then(Value::as_str).ok_or("a template without its text")?;
            one(Kind::Operation, "paths", template_of(text))
        }
        "header" => header(inner),
        "destination_port" => {
            one(Kind::Operation, "ports", inner.to_string().trim_matches('"').to_owned())
        }
        "destination_ip" => one(Kind::When, "destination.ip", matcher::addresses(inner)?),
        "requested_server_name" => one(Kind::When, "connection.sni", matcher::text(inner)?),
        "authenticated" => match inner.get("principal_name") {
            Some(name) => one(Kind::Source, "principals", principal(&matcher::text(name)?)?),
            None => one(Kind::Source, "principals", "*".to_owned()),
        },
        "direct_remote_ip" | "source_ip" => {
            one(Kind::Source, "ipBlocks", matcher::addresses(inner)?)
        }
        "remote_ip" => one(Kind::Source, "remoteIpBlocks", matcher::addresses(inner)?),
        "metadata" | "sourced_metadata" => metadata(inner),
        form => Err(format!("`{form}`: rules have no such condition")),
    }
}

fn header(inner: &Value) -> Result<Alternatives, String> {
    let header = matcher::header(inner)?;
    let (kind, name) = match header.name.as_str() {
        ":method" => (Kind::Operation, "methods".to_owned()),
        ":authority" | "host" => (Kind::Operation, "hosts".to_owned()),
        name => (Kind::When, format!("request.headers[{name}]")),
    };
    // Envoy source/common/http/header_utility.cc: a missing header matches nothing, inverted or not; a `not`
    // value holds if it is missing.
    if header.inverted && kind == Kind::When && header.value != "*" {
        return Err(format!(
            "`invert_match` of `{}`: Envoy matches nothing where the header is missing",
            header.name
        ));
    }
    let one = vec![Alternative::one(kind, &name, header.value)];
    if header.inverted { alternatives::not(&one) } else { Ok(one) }
}

/// `spiffe://td/ns/..` without its scheme.
fn principal(form: &str) -> Result<String, String> {
    match form.strip_prefix("spiffe://") {
        Some(rest) => Ok(rest.to_owned()),
        None if form.starts_with('*') && !form.contains("://") => Ok(form.to_owned()),
        None => Err(format!("the principal `{form}` is not a SPIFFE ID")),
    }
}

/// `/a/*/b/**` with operators in Istio's spelling.
fn template_of(text: &str) -> String {
    let pieces = text.split('/').map(|piece| match piece {
        "*" => "{*}",
        "**" => "{**}",
        piece => piece,
    });
    pieces.collect::<Vec<_>>().join("/")
}

/// Metadata that `jwt_authn` writes about a token, or that another filter writes.
fn metadata(inner: &Value) -> Result<Alternatives, String> {
    if inner.get("metadata_source").is_some_and(|source| source != "DYNAMIC") {
        return Err("`metadata_source`: metadata of the route".to_owned());
    }
    let inner = inner.get("metadata_matcher").unwrap_or(inner);
    let filter = inner.get("filter").and_then(Value::as_str).unwrap_or_default();
    let path = inner.get("path").and_then(Value::as_array).into_iter().flatten();
    let keys: Vec<&str> =
        path.filter_map(|segment| segment.get("key").and_then(Value::as_str)).collect();
    let value = inner.get("value").ok_or("metadata without a value")?;
    let (text, is_list) = value_of(value)?;
    let one = match (filter, keys.as_slice()) {
        ("envoy.filters.http.jwt_authn", [_payload, claims @ ..]) if !claims.is_empty() => {
            let claims: String = claims.iter().map(|claim| format!("[{claim}]")).collect();
            Alternative::one(Kind::When, &format!("request.auth.claims{claims}"), text)
        }
        (filter, [key]) if filter.starts_with("envoy.filters.") => {
            let text = if is_list { format!("[{text}]") } else { text };
            Alternative::one(Kind::When, &format!("experimental.{filter}[{key}]"), text)
        }
        _ => return Err(format!("metadata of `{filter}`")),
    };
    let one = vec![one];
    if inner.get("invert") == Some(&Value::Bool(true)) {
        return alternatives::not(&one);
    }
    Ok(one)
}

/// The keys of the metadata of `jwt_authn` in which rules look for claims.
pub(super) fn payloads(filters: &[&Value]) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    filters.iter().for_each(|filter| payloads_of(filter, &mut keys));
    keys
}

fn payloads_of(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if members.get("filter").and_then(Value::as_str) == Some("envoy.filters.http.jwt_authn")
            {
                let path = members.get("path").and_then(Value::as_array).into_iter().flatten();
                let mut path = path.filter_map(|segment| segment.get("key")?.as_str());
                keys.extend(path.next().map(str::to_owned));
            }
            members.values().for_each(|inner| payloads_of(inner, keys));
        }
        Value::Array(items) => items.iter().for_each(|inner| payloads_of(inner, keys)),
        _ => {}
    }
}

/// The claims that an entry compares with a text in one form only; `iss` and `sub` are never lists.
fn compared_one_way(entry: &Value) -> BTreeSet<String> {
    let mut forms = BTreeSet::new();
    claim_forms(entry, &mut forms);
    let one_way = |(claim, text, is_list): &&(String, String, bool)| {
        !forms.contains(&(claim.clone(), text.clone(), !is_list))
    };
    let claims = forms.iter().filter(one_way).map(|(claim, ..)| claim.clone());
    claims.filter(|claim| !["iss", "sub"].contains(&claim.as_str())).collect()
}

/// Each claim with the text that it is compared with, and whether as an element of a list.
fn claim_forms(value: &Value, forms: &mut BTreeSet<(String, String, bool)>) {
    match value {
        Value::Object(members) => {
            if members.get("filter").and_then(Value::as_str) == Some("envoy.filters.http.jwt_authn")
                && let Some(Ok((text, is_list))) = members.get("value").map(value_of)
            {
                let path = members.get("path").and_then(Value::as_array).into_iter().flatten();
                let keys = path.filter_map(|segment| segment.get("key")?.as_str());
                let claim = keys.skip(1).collect::<Vec<_>>().join(".");
                forms.insert((claim, text, is_list));
            }
            members.values().for_each(|inner| claim_forms(inner, forms));
        }
        Value::Array(items) => items.iter().for_each(|inner| claim_forms(inner, forms)),
        _ => {}
    }
}

/// The text that metadata is compared with, and whether as an element of a list.
fn value_of(value: &Value) -> Result<(String, bool), String> {
    if let Some(matcher) = value.get("string_match") {
        return Ok((matcher::text(matcher)?, false));
    }
    match value.get("list_match").and_then(|list| list.get("one_of")) {
        Some(one) => Ok((value_of(one)?.0, true)),
        None => Err("metadata that is matched by something else than a text".to_owned()),
    }
}
