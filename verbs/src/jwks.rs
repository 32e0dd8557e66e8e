//! `usher jwks`: the keys of a set, one by one: usable, or why not.

use anyhow::{Context as _, bail, ensure};
use serde_json::json;
use usher_core::codec::json::{Map, Value};
use usher_core::codec::problems::{Node, Problems};
use usher_core::crypto::Key;
use usher_core::jwks::{self, KeySet, Origin, Published};

use crate::input;

/// Members that a verifier needs; the others concern only the server.
const PUBLIC: [&str; 10] = ["kty", "kid", "use", "key_ops", "alg", "crv", "x", "y", "n", "e"];

/// A key in a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its id.
    pub kid: Option<String>,
    /// The public members, if it was given as a JWK.
    pub jwk: Option<Map<String, Value>>,
    /// The key, or why it cannot be used.
    pub key: Result<Key, String>,
}

impl Listed {
    /// Its name in messages.
    pub fn name(&self) -> String {
        match &self.kid {
            Some(kid) => format!("key `{}`", kid.escape_debug()),
            None => "a key without kid".to_owned(),
        }
    }

    /// Its RFC 7638 thumbprint, if it can be used.
    pub fn thumbprint(&self) -> Option<&str> {
        self.key.as_ref().ok()?.thumbprint.as_deref()
    }
}

/// Reads the keys of a key set (a JWK set, the map of key id to certificate, or PEM), as JSON, YAML or text, or of a
/// configuration or manifest: those in each of its rules.
///
/// # Errors
/// There are none.
pub fn read(text: &str) -> anyhow::Result<Vec<Listed>> {
    if let Ok(value) = jwks::parse(text) {
        return of_document(&value);
    }
    // YAML, but not a text that YAML would take for one string.
    if let Ok(documents) = input::documents(text)
        && documents.iter().all(|document| document.value.is_object())
    {
        let keys = documents.iter().map(|document| of_document(&document.value));
        return Ok(keys.collect::<anyhow::Result<Vec<_>>>()?.concat());
    }
    of_set(&Value::String(text.to_owned()))
}

/// The keys of a document: a key set, or what holds some.
fn of_document(document: &Value) -> anyhow::Result<Vec<Listed>> {
    ensure!(
        document.is_object(),
        "expected a JWK set, found {}",
        usher_core::codec::problems::describe(document)
    );
    let mut sets = Vec::new();
    inline(document, &mut sets);
    if sets.is_empty() {
        return of_set(document);
    }
    Ok(sets.into_iter().map(of_set).collect::<anyhow::Result<Vec<_>>>()?.concat())
}

/// The inline key sets of rules, wherever these are.
fn inline<'v>(value: &'v Value, sets: &mut Vec<&'v Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::Array(rules) if name == "jwtRules" => {
                        sets.extend(rules.iter().filter_map(|rule| rule.get("jwks")));
                    }
                    member => inline(member, sets),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| inline(item, sets)),
        _ => {}
    }
}

fn of_set(set: &Value) -> anyhow::Result<Vec<Listed>> {
    if let Value::String(text) = set
        && let Ok(set) = jwks::parse(text)
        && !set.is_string()
    {
        return of_set(&set);
    }
    if let Some(keys) = set.get("keys") {
        let keys = keys.as_array().context("expected `keys` to be a list")?;
        return Ok(keys.iter().map(jwk).collect());
    }
    let problems = Problems::default();
    let keys =
        KeySet::read(&Node::root(set), Origin::Fetched, false, Published::Refused, &problems);
    let (errors, _) = problems.into_parts();
    match keys {
        Some(keys) => Ok(keys.keys().iter().map(whole).collect()),
        None => bail!("{}", errors.first().map(ToString::to_string).unwrap_or_default()),
    }
}

fn whole(key: &Key) -> Listed {
    Listed { kid: key.kid.clone(), jwk: None, key: Ok(key.clone()) }
}

fn jwk(value: &Value) -> Listed {
    let kid = value.get("kid").and_then(Value::as_str).map(str::to_owned);
    let public = value.as_object().map(|members| {
        let kept = members.iter().filter(|(name, _)| PUBLIC.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    });
    let problems = Problems::default();
    let alone = json!({ "keys": [value] });
    let read =
        KeySet::read(&Node::root(&alone), Origin::Fetched, false, Published::Refused, &problems);
    let key = match read.as_ref().and_then(|keys| keys.keys().first()) {
        Some(key) => Ok(key.clone()),
        None => {
            let (_, warnings) = problems.into_parts();
            let told = warnings.first().map(|warning| warning.problem.clone()).unwrap_or_default();
            let (_, why) = told.split_once(" is skipped: ").unwrap_or(("", &told));
            Err(why.escape_debug().to_string())
        }
    };
    Listed { kid, jwk: public, key }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"kty": "OKP", "crv": "Ed25519", "kid": "KID", "x": "-PEFcvyAHD4v5tTN5x0O9jR2OEFHUoWPNoTu4EAcsLQ"}"#;

    #[test]
    fn keys_are_read_wherever_check_reads_them() {
        let key = |kid: &str| KEY.replace("KID", kid);
        let (a, b) = (key("a"), key("b"));
        let set = |key: &str| format!(r#"{{"keys": [{key}]}}"#);
        let quoted = set(&b).replace('"', "\\\"");
        for (text, kids) in [
            (set(&a), &["a"][..]),
            (format!("keys:\n- {a}\n- {b}\n"), &["a", "b"]),
            (format!("jwtRules:\n- issuer: i\n  jwks: {}\n- issuer: j\n", set(&a)), &["a"]),
            (
                format!(
                    "kind: WasmPlugin\nspec: {{pluginConfig: {{jwtRules: [{{jwks: {}}}]}}}}\n---\n\
                     kind: RequestAuthentication\nspec: {{jwtRules: [{{jwks: \"{quoted}\"}}]}}\n",
                    set(&a)
                ),
                &["a", "b"],
            ),
        ] {
            let found = read(&text).unwrap();
            let found: Vec<&str> = found.iter().filter_map(|key| key.kid.as_deref()).collect();
            assert_eq!(found, kids, "{text}");
        }
        for text in ["", "[]", "keys: 3", "https://a.example/keys", "jwtRules: []"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
