//! The JSON Schema and the parser know the same: every field and word of the one is one of the other,
//! the examples are valid in both, and what is wrong by form is wrong in both.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at any surprise"
)]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use usher_core::codec::problems::SchemaField;
use usher_core::{config, load};

use crate::common::usher;

fn schema(arguments: &[&str]) -> Value {
    let run = usher(&[&["schema"], arguments].concat(), "");
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// `OVERWRITE=1` writes it.
#[test]
fn the_published_schema_is_the_commands() {
    for (file, arguments) in [
        ("docs/usher.schema.json", &[][..]),
        ("docs/usher-wasmplugin.schema.json", &["--for", "wasm-plugin"]),
    ] {
        let path = repository().join(file);
        let run = usher(&[&["schema"], arguments].concat(), "");
        if std::env::var_os("OVERWRITE").is_some() {
            std::fs::write(&path, &run.stdout).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), run.stdout, "{file}");
    }
}

/// A configuration that goes into every list and every value that has a reader of its own; all other
/// fields and words are in the tables, whether or not they are given.
fn everything() -> Value {
    json!({
        "jwtRules": [{
            "fromHeaders": [{}],
            "fromWebSocketProtocol": {},
            "outputClaimToHeaders": [{}],
            "subjects": {},
            "requiredClaims": [{}],
            "algorithms": ["?"],
        }],
        "authorizationPolicies": [{
            "action": "?",
            "rules": [{
                "from": [{ "source": {} }],
                "to": [{ "operation": {} }],
                "when": [{}],
            }],
        }],
        "sourceAddress": {},
        "peerIdentity": {},
        "exempt": [{}],
    })
}

/// What the parser knows, as `path.field` and `path=word`.
fn of_parser() -> BTreeSet<String> {
    let known = config::schema_fields(&everything());
    known
        .into_iter()
        .map(|known| match known {
            SchemaField::Field(at, name) if at.is_empty() => name.to_owned(),
            SchemaField::Field(at, name) => format!("{at}.{name}"),
            SchemaField::Word(at, word) => format!("{at}={word}"),
        })
        .collect()
}

/// What the schema knows, in the same form.
fn of_schema(schema: &Value, at: &str, known: &mut BTreeSet<String>) {
    for (name, inner) in schema["properties"].as_object().into_iter().flatten() {
        let at = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        known.insert(at.clone());
        of_schema(inner, &at, known);
    }
    // The attributes that a rule can ask for have a grammar of their own.
    if !at.ends_with(".key") {
        let words = schema["enum"].as_array().into_iter().flatten();
        known.extend(words.map(|word| format!("{at}={}", word.as_str().unwrap())));
    }
    if schema.get("items").is_some() {
        of_schema(&schema["items"], &format!("{at}[]"), known);
    }
    for one in schema["oneOf"].as_array().into_iter().flatten() {
        of_schema(one, at, known);
    }
}

#[test]
fn every_field_and_every_word_is_in_both() {
    let mut schema_knows = BTreeSet::new();
    of_schema(&schema(&[]), "", &mut schema_knows);
    let parser_knows = of_parser();
    let only = |a: &BTreeSet<String>, b: &BTreeSet<String>| -> Vec<String> {
        a.difference(b).cloned().collect()
    };
    let only_parser = only(&parser_knows, &schema_knows);
    let only_schema = only(&schema_knows, &parser_knows);
    assert!(only_parser.is_empty(), "the schema lacks {only_parser:#?}");
    assert!(only_schema.is_empty(), "the parser does not know {only_schema:#?}");
}

/// Whether the parser takes it, and whether the schema does.
fn verdicts(validator: &jsonschema::Validator, value: &Value) -> (bool, bool) {
    (load::from_value(value).is_ok(), validator.is_valid(value))
}

const RULE: &str = r#"{"issuer":"https://idp.example.com","jwks":{"keys":[{"kty":"OKP","crv":"Ed25519",
    "x":"-PEFcvyAHD4v5tTN5x0O9jR2OEFHUoWPNoTu4EAcsLQ"}]}}"#;

/// A rule with further fields, or with one taken out by null.
fn rule(more: &Value) -> Value {
    let mut rule: Value = serde_json::from_str(RULE).unwrap();
    for (name, value) in more.as_object().unwrap() {
        rule[name] = value.clone();
    }
    rule.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    json!({ "jwtRules": [rule] })
}

fn policy(more: &Value) -> Value {
    let mut policy = json!({ "name": "p" });
    policy.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "authorizationPolicies": [policy] })
}

fn with(more: &Value) -> Value {
    let mut config = rule(&json!({}));
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

#[test]
fn good_and_bad_are_so_in_both() {
    let validator = jsonschema::validator_for(&schema(&[])).unwrap();
    let operation =
        |operation: Value| policy(&json!({ "rules": [{ "to": [{ "operation": operation }] }] }));
    let when = |condition: Value| policy(&json!({ "rules": [{ "when": [condition] }] }));
    for (good, value) in [
        (true, rule(&json!({}))),
        (true, rule(&json!({ "issuer": null, "anyIssuer": true }))),
        (true, rule(&json!({ "audiences": ["a"], "clockSkew": "1m30s", "maxAge": "12h" }))),
        (true, rule(&json!({ "subjects": { "prefix": "a" }, "types": ["JWT"] }))),
        (false, rule(&json!({ "types": [] }))),
        (true, rule(&json!({ "subjects": { "exact": ["a", "b"] } }))),
        (
            true,
            rule(&json!({ "outputPayloadToHeader": "User-Info", "outputPayloadEncoding": "json" })),
        ),
        (true, rule(&json!({ "requiredClaims": [{ "claim": "a", "values": ["true"] }] }))),
        (true, rule(&json!({ "fromWebSocketProtocol": { "prefix": "bearer." } }))),
        (true, policy(&json!({}))),
        (true, policy(&json!({ "action": "DENY", "rules": [{}], "denyStatus": 404 }))),
        (true, policy(&json!({ "denyStatus": "404" }))),
        (true, operation(json!({ "paths": ["/a"], "methods": ["GET", "*"], "ports": ["80"] }))),
        (true, when(json!({ "key": "request.auth.claims[a][b]", "values": ["x"] }))),
        (true, when(json!({ "key": "request.headers[x]", "notValues": ["x"] }))),
        (true, when(json!({ "key": "request.auth.scopes", "allValues": ["x"] }))),
        (true, with(&json!({ "limits": { "tokenBytes": 6e1 }, "sourceAddress": "connection" }))),
        (true, with(&json!({ "sourceAddress": { "filterState": "k" }, "mode": "dryRun" }))),
        (true, with(&json!({ "exempt": [{ "paths": ["/healthz"], "token": "optional" }] }))),
        (false, json!({})),
        (false, json!({ "jwtRules": [] })),
        (false, json!([])),
        (false, with(&json!({ "mode": "off" }))),
        (false, with(&json!({ "unknown": 1 }))),
        (false, with(&json!({ "sourceAddress": "xff" }))),
        (true, with(&json!({ "peerIdentity": "auto", "requireValidatedPeer": true }))),
        (true, with(&json!({ "peerIdentity": "connection", "instance": "a" }))),
        (true, with(&json!({ "peerIdentity": { "filterState": "k" } }))),
        (false, with(&json!({ "peerIdentity": "certificate" }))),
        (false, with(&json!({ "peerIdentity": { "filterState": "" } }))),
        (false, with(&json!({ "instance": "" }))),
        (false, with(&json!({ "exempt": [{ "token": "ignore" }] }))),
        (false, with(&json!({ "limits": { "tokenBytes": 0 } }))),
        (false, with(&json!({ "limits": { "tokenBytes": "16KB" } }))),
        (false, with(&json!({ "identityHeaders": { "strip": ["a b"] } }))),
        (false, with(&json!({ "decisionLog": "all" }))),
        (false, rule(&json!({ "issuer": null }))),
        (false, rule(&json!({ "issuer": "" }))),
        (false, rule(&json!({ "audience": ["a"] }))),
        (false, rule(&json!({ "audiences": "a" }))),
        (false, rule(&json!({ "audiences": [""] }))),
        (false, rule(&json!({ "clockSkew": 60 }))),
        (false, rule(&json!({ "clockSkew": "60" }))),
        (false, rule(&json!({ "algorithms": [] }))),
        (false, rule(&json!({ "algorithms": ["none"] }))),
        (false, rule(&json!({ "outputPayloadEncoding": "json" }))),
        (false, rule(&json!({ "fromHeaders": [{ "prefix": "x" }] }))),
        (false, rule(&json!({ "requiredClaims": [{ "claim": "a", "values": [] }] }))),
        (false, rule(&json!({ "subjects": {} }))),
        (false, policy(&json!({ "name": "" }))),
        (false, policy(&json!({ "action": "allow" }))),
        (false, policy(&json!({ "action": "DENY" }))),
        (false, policy(&json!({ "action": "DENY", "rules": [] }))),
        (false, policy(&json!({ "denyStatus": 200 }))),
        (false, policy(&json!({ "rules": [{ "from": [{}] }] }))),
        (false, policy(&json!({ "rules": [{ "from": [{ "source": {} }] }] }))),
        (false, operation(json!({ "methods": ["get"] }))),
        (false, operation(json!({ "ports": ["http"] }))),
        (false, operation(json!({ "ports": [80] }))),
        (false, when(json!({ "values": ["x"] }))),
        (false, when(json!({ "key": "request.auth.claims[a]" }))),
        (false, when(json!({ "key": "request.auth.claims[a]", "values": [] }))),
        (false, when(json!({ "key": "request.auth.claim[a]", "values": ["x"] }))),
        (false, when(json!({ "key": "request.auth.claims[a]", "values": [true] }))),
    ] {
        assert_eq!(verdicts(&validator, &value), (good, good), "parser, schema: {value}");
    }
}
