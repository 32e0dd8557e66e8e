//! The keys of a set, one by one: usable, or why not.

use anyhow::{Context as _, bail};
use serde_json::json;
use usher_core::codec::json::{self, Map, Value};
use usher_core::codec::problems::{Node, Problems};
use usher_core::crypto::Key;
use usher_core::jwks::{KeySet, Origin, Published};

use crate::input;

/// Members that a verifier needs; the others concern only the server.
const PUBLIC: [&str; 10] = ["kty", "kid", "use", "key_ops", "alg", "crv", "x", "y", "n", "e"];

/// A key in a list.
pub(super) struct Listed {
    pub(super) kid: Option<String>,
    /// The public members, if it was given as a JWK.
    pub(super) jwk: Option<Map<String, Value>>,
    /// The key, or why it cannot be used.
    pub(super) key: Result<Key, String>,
}

impl Listed {
    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        match &self.kid {
            Some(kid) => format!("key `{}`", kid.escape_debug()),
            None => "a key without kid".to_owned(),
        }
    }

    pub(super) fn thumbprint(&self) -> Option<&str> {
        self.key.as_ref().ok()?.thumbprint.as_deref()
    }
}

/// Reads a key set: a JWK set, the map of key id to certificate, or PEM.
///
/// # Errors
/// It is not one of them.
pub(super) fn read(text: &str) -> anyhow::Result<Vec<Listed>> {
    if let Ok(value) = json::parse(text.as_bytes(), input::DEPTH) {
        let Value::Object(set) = &value else {
            bail!("expected a JWK set, found {}", usher_core::codec::problems::describe(&value));
        };
        if let Some(keys) = set.get("keys") {
            let keys = keys.as_array().context("expected `keys` to be a list")?;
            return Ok(keys.iter().map(jwk).collect());
        }
    }
    let problems = Problems::default();
    let value = Value::String(text.to_owned());
    let keys =
        KeySet::read(&Node::root(&value), Origin::Fetched, false, Published::Refused, &problems);
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
