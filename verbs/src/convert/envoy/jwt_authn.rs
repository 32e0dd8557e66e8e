//! `jwt_authn`: providers -> `jwtRules`, requirements -> which requests may come without a token.

use std::collections::BTreeSet;

use serde_json::json;
use usher_core::codec::json::{Map, Value};

use super::super::Notes;
use super::super::plugin::key_set;
use crate::output::set;

/// The fields of the filter that are read, or that change no decision.
const FIELDS: [&str; 8] = [
    "@type",
    "bypass_cors_preflight",
    "filter_state_rules",
    "providers",
    "requirement_map",
    "rules",
    "stat_prefix",
    "strip_failure_response",
];

/// Converts the filter.
pub(super) fn convert(
    filter: &Value,
    config: &mut Map<String, Value>,
    policies: &mut Vec<Value>,
    notes: &mut Notes,
) {
    super::unknown(filter, &FIELDS, "jwt_authn", notes);
    let providers = filter.get("providers").and_then(Value::as_object);
    let providers = providers.cloned().unwrap_or_default();
    let rules = providers.iter().map(|(name, provider)| jwt_rule(name, provider, notes)).collect();
    config.insert("jwtRules".to_owned(), Value::Array(rules));
    let names: BTreeSet<String> = providers.keys().cloned().collect();
    requirements(filter, &names, config, policies, notes);
    if filter.get("strip_failure_response") == Some(&Value::Bool(true)) {
        config.insert("responses".to_owned(), json!({ "details": "terse" }));
    }
    if filter.get("bypass_cors_preflight") != Some(&Value::Bool(true)) {
        notes.advice("jwt_authn", "a CORS preflight passes without a token, always");
    }
    if filter.get("filter_state_rules").is_some() {
        notes.lost("jwt_authn.filter_state_rules", "a requirement by filter state");
    }
}

fn jwt_rule(name: &str, provider: &Value, notes: &mut Notes) -> Value {
    let place = format!("jwt_authn.providers.{name}");
    let mut rule = Map::new();
    rule.insert("name".to_owned(), json!(name));
    let mut expires = false;
    for (field, value) in provider.as_object().into_iter().flatten() {
        let mut put = |name: &str, value: Value| drop(rule.insert(name.to_owned(), value));
        match field.as_str() {
            "issuer" | "audiences" => put(field, value.clone()),
            "forward" => put("forwardOriginalToken", value.clone()),
            "forward_payload_header" => put("outputPayloadToHeader", value.clone()),
            "pad_forward_payload_header" if *value == Value::Bool(true) => {
                put("outputPayloadEncoding", json!("base64url-padded"));
            }
            "from_headers" => {
                let names = [("name", "name"), ("value_prefix", "prefix")];
                for header in value.as_array().into_iter().flatten() {
                    super::unknown(header, &names.map(|(name, _)| name), &format!("{place}.{field}"), notes);
                }
                put("fromHeaders", renamed(value, &names));
            }
            "from_params" => put("fromParams", value.clone()),
            "from_cookies" => put("fromCookies", value.clone()),
            "claim_to_headers" => put(
                "outputClaimToHeaders",
                renamed(value, &[("header_name", "header"), ("claim_name", "claim")]),
            ),
            "clock_skew_seconds" => {
                // protobuf's JSON may have a number as a text.
                let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                match text.parse::<u32>() {
                    Ok(seconds) => put("clockSkew", json!(format!("{seconds}s"))),
                    Err(_) => notes.lost(&format!("{place}.{field}"), "expected a number of seconds"),
                }
            }
            "require_expiration" => expires = *value == Value::Bool(true),
            "max_lifetime" => put("maxLifetime", value.clone()),
            "subjects" => match subject(value) {
                Some(subjects) => put("subjects", subjects),
                None => notes.lost(&format!("{place}.subjects"), "only exact, prefix and suffix"),
            },
            "local_jwks" => match inline(value) {
                Some(keys) => put("jwks", keys),
                None => notes.lost(
                    &format!("{place}.local_jwks"),
                    "give the key set itself as `jwks`: a filter reads no files",
                ),
            },
            "remote_jwks" => {
                let uri = value.get("http_uri");
                let of = |name: &str| uri.and_then(|uri| uri.get(name)).cloned();
                for (name, field) in
                    [("jwksUri", "uri"), ("jwksCluster", "cluster"), ("timeout", "timeout")]
                {
                    if let Some(value) = of(field) {
                        put(name, value);
                    }
                }
            }
            // Concerns only rules in both: `claim_to_headers` writes the claim unchanged, and so does a
            // header of Usher's without a `format`.
            "normalize_payload_in_metadata" => {
                let place = format!("{place}.{field}");
                super::unknown(value, &["space_delimited_claims"], &place, notes);
                if let Some(claims) = value.get("space_delimited_claims") {
                    put("spaceDelimitedClaims", claims.clone());
                }
            }
            "payload_in_metadata" | "header_in_metadata" | "failed_status_in_metadata" => notes.advice(
                &format!("{place}.{field}"),
                "a Wasm filter writes no dynamic metadata: filters behind it find the claims in headers",
            ),
            "jwt_cache_config" | "pad_forward_payload_header" | "clear_route_cache" => {}
            field => notes.lost(&format!("{place}.{field}"), "Usher has no such field"),
        }
    }
    if !rule.contains_key("issuer") {
        rule.insert("anyIssuer".to_owned(), json!(true));
    }
    if !expires {
        rule.insert("requireExpiration".to_owned(), json!(false));
    }
    Value::Object(rule)
}

/// The claims that Usher always reads as lists of words, and Envoy only if a provider names them.
pub(super) fn whole_texts(filter: &Value) -> Vec<&'static str> {
    let providers = filter.get("providers").and_then(Value::as_object);
    let is_named = |provider: &Value, claim: &str| {
        let normal = provider.get("normalize_payload_in_metadata");
        let names = normal.and_then(|n| n.get("space_delimited_claims")).and_then(Value::as_array);
        names.into_iter().flatten().any(|name| name == claim)
    };
    let whole = |claim: &&str| {
        providers.into_iter().flatten().any(|(_, provider)| !is_named(provider, claim))
    };
    ["permission", "scope"].into_iter().filter(whole).collect()
}

fn renamed(list: &Value, names: &[(&str, &str)]) -> Value {
    let item = |item: &Value| {
        let fields =
            names.iter().filter_map(|(from, to)| Some(((*to).to_owned(), item.get(from)?.clone())));
        Value::Object(fields.collect())
    };
    list.as_array().into_iter().flatten().map(item).collect()
}

fn subject(matcher: &Value) -> Option<Value> {
    let form =
        ["exact", "prefix", "suffix"].into_iter().find(|form| matcher.get(form).is_some())?;
    Some(json!({ form: matcher.get(form)? }))
}

fn inline(source: &Value) -> Option<Value> {
    let text = source.get("inline_string")?.as_str()?;
    Some(key_set(text).unwrap_or_else(|| json!(text)))
}

/// The providers whose tokens a rule accepts, and whether a missing token is accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    providers: BTreeSet<String>,
    missing: bool,
}

fn wanted(requirement: &Value, place: &str, notes: &mut Notes) -> Wanted {
    let mut wanted = Wanted::default();
    let inner = |list: &Value, notes: &mut Notes| -> Vec<Wanted> {
        let items = list.get("requirements").and_then(Value::as_array).into_iter().flatten();
        items.map(|item| self::wanted(item, place, notes)).collect()
    };
    for (form, value) in requirement.as_object().into_iter().flatten() {
        match form.as_str() {
            "provider_name" => wanted.providers.extend(value.as_str().map(str::to_owned)),
            "provider_and_audiences" => {
                let name = value.get("provider_name").and_then(Value::as_str);
                wanted.providers.extend(name.map(str::to_owned));
                notes.lost(place, "`audiences` of a requirement: give them to the provider");
            }
            "requires_any" => {
                for one in inner(value, notes) {
                    wanted.providers.extend(one.providers);
                    wanted.missing |= one.missing;
                }
            }
            "requires_all" => {
                let all = inner(value, notes);
                wanted.missing |= all.iter().all(|one| one.missing);
                let demanding = all.iter().filter(|one| !one.missing).count();
                if demanding > 1 {
                    notes.lost(place, "`requires_all`: a request speaks with one token");
                }
                // With one that demands, the others add nothing that this could express.
                let is_extra = |one: &&Wanted| one.missing && !one.providers.is_empty();
                if demanding == 1 && all.iter().any(|one| is_extra(&one)) {
                    notes.lost(
                        place,
                        "`requires_all` of a token that is needed and one that may be missing",
                    );
                }
                let of_all = all.into_iter().filter(|one| demanding == 0 || !one.missing);
                wanted.providers.extend(of_all.flat_map(|one| one.providers));
            }
            "allow_missing" => wanted.missing = true,
            "allow_missing_or_failed" => {
                wanted.missing = true;
                notes.lost(place, "`allow_missing_or_failed`: a bad token is always refused");
            }
            form => notes.lost(place, format!("`{form}`: Usher has no such requirement")),
        }
    }
    wanted
}

/// The rules, of which the first that matches a path counts: one for all paths becomes `missingToken`;
/// otherwise a DENY policy has the providers that each path requires.
fn requirements(
    filter: &Value,
    names: &BTreeSet<String>,
    config: &mut Map<String, Value>,
    policies: &mut Vec<Value>,
    notes: &mut Notes,
) {
    let none = Vec::new();
    let rules = filter.get("rules").and_then(Value::as_array).unwrap_or(&none);
    let mut earlier: Vec<String> = Vec::new();
    let mut denials = Vec::new();
    let used = |name: &str| {
        let named =
            |rule: &Value| rule.get("requirement_name").and_then(Value::as_str) == Some(name);
        rules.iter().any(named)
    };
    let map = filter.get("requirement_map").and_then(Value::as_object);
    for name in map.into_iter().flat_map(Map::keys).filter(|name| !used(name)) {
        notes.lost(
            &format!("jwt_authn.requirement_map.{name}"),
            "no rule names it: a route may (`typed_per_filter_config`), and then asks for a token",
        );
    }
    for (index, rule) in rules.iter().enumerate() {
        let place = format!("jwt_authn.rules[{index}]");
        super::unknown(rule, &["match", "requires", "requirement_name"], &place, notes);
        let Some(path) = path(rule.get("match"), &place, notes) else { continue };
        let requirement = match (rule.get("requires"), rule.get("requirement_name")) {
            (Some(requires), _) => Some(wanted(requires, &place, notes)),
            (None, Some(name)) => {
                let map = filter.get("requirement_map");
                let named = name.as_str().and_then(|name| map?.get(name));
                if named.is_none() {
                    notes.lost(&place, "a `requirement_name` that `requirement_map` does not have");
                }
                named.map(|requires| wanted(requires, &place, notes))
            }
            (None, None) => None,
        };
        let everything = path == "/*" && earlier.is_empty();
        if let Some(wanted) = requirement {
            if everything && wanted.providers == *names {
                let word = if wanted.missing { "allow" } else { "reject" };
                config.insert("missingToken".to_owned(), json!(word));
                return;
            }
            denials.extend(denial(&path, &earlier, &wanted, names));
        }
        earlier.push(path);
    }
    config.insert("missingToken".to_owned(), json!("allow"));
    if !denials.is_empty() {
        policies.push(json!({
            "name": "jwt-authn",
            "action": "DENY",
            "denyWhenUnauthenticated": 401,
            "rules": denials,
        }));
        notes.advice(
            "jwt_authn.rules",
            "a bad token is refused on every path, also where no rule asks for one",
        );
    }
}

/// Refuses callers of these paths without a required token.
fn denial(
    path: &str,
    earlier: &[String],
    wanted: &Wanted,
    names: &BTreeSet<String>,
) -> Option<Value> {
    let mut operation = json!({ "paths": [path] });
    if !earlier.is_empty() {
        set(&mut operation, "notPaths", json!(earlier));
    }
    let condition = if wanted.missing {
        let others: Vec<&String> = names.difference(&wanted.providers).collect();
        if others.is_empty() {
            return None;
        }
        json!({ "key": "request.auth.provider", "values": others })
    } else {
        json!({ "key": "request.auth.provider", "notValues": wanted.providers })
    };
    Some(json!({ "to": [{ "operation": operation }], "when": [condition] }))
}

fn path(route: Option<&Value>, place: &str, notes: &mut Notes) -> Option<String> {
    let of = |name: &str| route.and_then(|route| route.get(name)).and_then(Value::as_str);
    let known = ["prefix", "path"];
    let other = route.and_then(Value::as_object).into_iter().flatten();
    let other = other.map(|(name, _)| name).find(|name| !known.contains(&name.as_str()));
    match (of("prefix"), of("path"), other) {
        (Some(text), _, None) | (None, Some(text), None) if text.contains(['{', '}']) => {
            notes.lost(place, format!("the path `{text}`: braces are wildcards here"));
            None
        }
        (Some(prefix), _, None) => Some(format!("{prefix}*")),
        (None, Some(path), None) if path.starts_with('*') || path.ends_with('*') => {
            notes.lost(place, "a path with a `*` at an end, which is a wildcard here");
            None
        }
        (None, Some(path), None) => Some(path.to_owned()),
        (_, _, Some(other)) => {
            notes.lost(place, format!("a match by `{other}`: only prefix and path"));
            None
        }
        (None, None, None) => {
            notes.lost(place, "a match by nothing");
            None
        }
    }
}
