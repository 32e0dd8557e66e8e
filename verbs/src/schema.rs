//! The JSON Schema of a pluginConfig, for editors and for CI systems without Usher.
//!
//! A test keeps the description below equal to the parser: every field that the parser reads, every
//! word that it accepts, and nothing else. Only `usher check` reports what a schema cannot express
//! (that a key is usable, that two fields exclude each other across rules).
//!
//! By hand: schemars reads Rust types, and the parser has tables of fields instead, which have neither descriptions nor
//! what the schema asks of several fields at once.

mod policies;
mod rules;

use crate::output::set;
use serde_json::{Map, Value, json};

/// The schema of a pluginConfig.
pub fn plugin_config() -> Value {
    let mut schema = object(
        "pluginConfig of Usher",
        &[],
        vec![
            ("jwtRules", list("Who issues tokens, and how they are verified", rules::rule())),
            (
                "authorizationPolicies",
                list(
                    "Which requests may pass: AuthorizationPolicy.spec, named",
                    policies::policy(),
                ),
            ),
            (
                "matchScalarClaims",
                flag(
                    "Whether a number or boolean claim matches by its text; in Istio it never does",
                ),
            ),
            (
                "trustDomains",
                texts("The mesh's trust domain, then its aliases; default: cluster.local"),
            ),
            (
                "pathNormalization",
                words(
                    "How a path is normalised before it is matched and forwarded",
                    &["NONE", "BASE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"],
                ),
            ),
            ("sourceAddress", source_address()),
            ("peerIdentity", peer_identity()),
            (
                "requireValidatedPeer",
                flag(
                    "Whether a certificate lets in only where this handshake has validated it; \
                     default: false",
                ),
            ),
            ("exempt", list("Requests that need no token and meet no policy", exemption())),
            (
                "missingToken",
                words(
                    "What becomes of a request without a token; default: reject where there are \
                     jwtRules, unless an enforced policy speaks about callers without a token",
                    &["reject", "allow"],
                ),
            ),
            (
                "corsPreflight",
                words(
                    "What is asked of a CORS preflight; default: authorize, the policies alone",
                    &["authorize", "requireToken"],
                ),
            ),
            (
                "identityHeaders",
                object(
                    "The headers that only Usher may set",
                    &[],
                    vec![
                        ("strip", described(list("", header()), "Further headers to take out")),
                        (
                            "onSpoof",
                            words("What becomes of a request that holds one", &["strip", "reject"]),
                        ),
                    ],
                ),
            ),
            (
                "responses",
                object(
                    "The reply to a refused request",
                    &[],
                    vec![
                        ("format", words("The form of the body", &["text", "problem+json"])),
                        ("details", words("Whether the cause is named", &["full", "terse"])),
                        (
                            "challengeAnonymous",
                            flag("Whether policies refuse anonymous requests with 401"),
                        ),
                    ],
                ),
            ),
            (
                "decisionLog",
                object(
                    "Which decisions are logged, and with which claims",
                    &[],
                    vec![
                        ("emit", words("Which decisions", &["none", "denied", "all"])),
                        ("claims", texts("Claims that a line names; default: sub")),
                        (
                            "sample",
                            described(
                                json!({ "type": "number", "minimum": 0, "maximum": 1 }),
                                "The share of allowed requests that have a line; default: 1",
                            ),
                        ),
                        ("refusalsPerSecond", refusals_per_second()),
                        ("hash", flag("Whether claims are logged as keyed SHA-256")),
                        (
                            "hashKey",
                            described(
                                json!({ "type": "string", "minLength": 16 }),
                                "The key for that; default: a random one",
                            ),
                        ),
                    ],
                ),
            ),
            (
                "limits",
                object(
                    "Sizes",
                    &[],
                    vec![
                        ("tokenBytes", integer("A token, at most", 1, 8_388_608)),
                        ("emittedBytes", integer("All emitted headers, at most", 1, 8_388_608)),
                        (
                            "signatureChecks",
                            integer(
                                "Signature checks of a token over all rules, at most",
                                1,
                                10_000,
                            ),
                        ),
                        ("jsonDepth", integer("Levels of a token's JSON, at most", 1, 127)),
                    ],
                ),
            ),
            ("mode", words("Whether refusals refuse", &["enforce", "dryRun"])),
            (
                "onInvalidConfig",
                words(
                    "What holds while a configuration is wrong: the last good one, or nothing",
                    &["keepLast", "deny"],
                ),
            ),
            ("instance", text("What tells this plugin from others of its name and root id")),
            ("filterState", flag("Whether access logs can show what was decided; default: true")),
            (
                "signatureEngine",
                words(
                    "Who checks signatures; default: auto, the host where it can",
                    &["auto", "portable"],
                ),
            ),
            (
                "tokenCache",
                object(
                    "Verified tokens that are kept, in each worker",
                    &[],
                    vec![
                        ("entries", integer("Tokens, at most; 0: none", 0, 1_048_576)),
                        ("bytes", integer("All of them, at most", 0, 1 << 30)),
                    ],
                ),
            ),
        ],
    );
    set(&mut schema, "$schema", json!("https://json-schema.org/draft/2020-12/schema"));
    set(
        &mut schema,
        "anyOf",
        json!([
            { "required": ["jwtRules"], "properties": { "jwtRules": { "minItems": 1 } } },
            {
                "required": ["authorizationPolicies"],
                "properties": { "authorizationPolicies": { "minItems": 1 } },
            },
        ]),
    );
    schema
}

/// The schema of a WasmPlugin with a pluginConfig: Istio defines everything else in it.
pub fn wasm_plugin() -> Value {
    let mut config = plugin_config();
    if let Some(members) = config.as_object_mut() {
        members.remove("$schema");
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "description": "WasmPlugin of Usher",
        "type": "object",
        "required": ["apiVersion", "kind", "spec"],
        "properties": {
            "apiVersion": { "const": "extensions.istio.io/v1alpha1" },
            "kind": { "const": "WasmPlugin" },
            "spec": { "type": "object", "properties": { "pluginConfig": config } },
        },
    })
}

fn source_address() -> Value {
    json!({
        "description": "Where the TCP peer is known from; without it rules cannot ask for it",
        "oneOf": [
            { "const": "connection" },
            object("", &["filterState"], vec![("filterState", text("The filter state key"))]),
        ],
    })
}

fn peer_identity() -> Value {
    let filter_state = vec![("filterState", text("The filter state key"))];
    json!({
        "description": "Where the peer is known from; default: auto, its certificate, and without \
                        TLS the filter state in which Istio hands it on",
        "oneOf": [
            { "const": "auto" },
            { "const": "connection" },
            object("", &["filterState"], filter_state),
        ],
    })
}

fn refusals_per_second() -> Value {
    json!({
        "description": "Lines about refusals that a worker writes in a second, at most; default: 50",
        "oneOf": [{ "const": "unlimited" }, integer("", 0, 1_000_000)],
    })
}

fn exemption() -> Value {
    let mut entry = object(
        "",
        &[],
        vec![
            ("paths", policies::paths("Paths, as in rules")),
            ("methods", policies::methods("Methods, as in rules")),
            (
                "token",
                words(
                    "What becomes of a token that is there all the same",
                    &["ignore", "optional"],
                ),
            ),
        ],
    );
    set(&mut entry, "anyOf", json!([{ "required": ["paths"] }, { "required": ["methods"] }]));
    entry
}

/// An object of these fields and no others.
fn object(description: &str, required: &[&str], fields: Vec<(&str, Value)>) -> Value {
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
    let mut schema =
        json!({ "type": "object", "properties": fields, "additionalProperties": false });
    if !required.is_empty() {
        set(&mut schema, "required", json!(required));
    }
    described(schema, description)
}

fn described(mut schema: Value, description: &str) -> Value {
    if !description.is_empty() {
        set(&mut schema, "description", json!(description));
    }
    schema
}

fn list(description: &str, items: Value) -> Value {
    described(json!({ "type": "array", "items": items }), description)
}

fn text(description: &str) -> Value {
    described(json!({ "type": "string", "minLength": 1 }), description)
}

fn texts(description: &str) -> Value {
    list(description, text(""))
}

fn flag(description: &str) -> Value {
    described(json!({ "type": "boolean" }), description)
}

fn words(description: &str, words: &[&str]) -> Value {
    described(json!({ "enum": words }), description)
}

/// A number, or the digits of one.
fn integer(description: &str, least: u64, most: u64) -> Value {
    let number = json!({ "type": "integer", "minimum": least, "maximum": most });
    described(
        json!({ "anyOf": [number, { "type": "string", "pattern": "^[0-9]+$" }] }),
        description,
    )
}

/// `5s`, `1h30m`.
fn duration(description: &str) -> Value {
    let pattern = "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(h|m|s|ms|us|µs|ns)(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(h|m|s|ms|us|µs|ns))*$";
    described(json!({ "type": "string", "pattern": pattern }), description)
}

/// A header's name (RFC 9110 section 5.6.2).
fn header() -> Value {
    json!({ "type": "string", "pattern": "^[!#$%&'*+\\-.^_`|~0-9A-Za-z]+$" })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::input;

    /// Every manifest of a plugin in the repository.
    #[test]
    fn the_shipped_manifests_are_good() {
        let validator = jsonschema::validator_for(&wasm_plugin()).unwrap();
        let repository = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        for file in ["istio/base/wasmplugin.yaml", "cli/tests/cmd/files/shop.yaml"] {
            let text = std::fs::read_to_string(repository.join(file)).unwrap();
            let documents = input::documents(&text).unwrap();
            assert!(!documents.is_empty(), "{file}");
            for document in documents {
                let errors: Vec<String> =
                    validator.iter_errors(&document.value).map(|e| e.to_string()).collect();
                assert!(errors.is_empty(), "{file}: {errors:#?}");
            }
        }
    }
}
