//! Every spec that Istio's own validation refuses is refused by `usher check`; where `usher check`
//! refuses more, the reason has a name and stands in [`STRICTER`]. Vectors: tests/vectors/authz.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at any surprise"
)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use usher_testkit::vectors;

use crate::common::usher;

/// Why a spec that Istio accepts is refused all the same: a part of what is said, and the reason.
const STRICTER: [(&str, &str); 7] = [
    ("spec.action: expected one of", "schema: an enum by name, not by number"),
    ("only one of jwks and jwksUri", "schema: the custom resource's own rule"),
    ("spaceDelimitedClaims[0]: expected the name of a claim", "schema: minLength"),
    ("jwksUri: expected an http or https URL", "schema: format"),
    ("spec.priority: expected a whole number", "schema: an integer, no string"),
    ("value: expected at most 2048 bytes", "schema: maxLength"),
    ("pluginConfig.a: unknown field", "usher: the pluginConfig of Usher's own module is judged"),
];

fn manifest(vector: &Value) -> Value {
    let group = match vector["kind"].as_str().unwrap() {
        "WasmPlugin" => "extensions.istio.io/v1alpha1",
        _ => "security.istio.io/v1",
    };
    let mut metadata = json!({ "name": vector["name"], "namespace": vector["namespace"] });
    if let Some(annotations) = vector.get("annotations").filter(|a| !a.is_null()) {
        metadata["annotations"] = annotations.clone();
    }
    json!({
        "apiVersion": group,
        "kind": vector["kind"],
        "metadata": metadata,
        "spec": vector["spec"],
    })
}

fn check(document: &str) -> (Option<i32>, String) {
    let run = usher(&["check", "-"], document);
    assert!(run.stdout.is_empty(), "answers of a check in text are its status");
    (run.status, run.stderr)
}

#[test]
fn what_istio_refuses_is_refused() {
    let mut failures = Vec::new();
    let mut stricter: BTreeMap<&str, usize> = BTreeMap::new();
    let mut counts = BTreeMap::new();
    for line in vectors::text("authz/validation.jsonl").lines() {
        let vector: Value = serde_json::from_str(line).unwrap();
        let kind = vector["kind"].as_str().unwrap();
        let istio = &vector["istio"];
        let refused = istio.get("parse").is_some() || istio.get("errors").is_some();
        let (status, said) = check(&manifest(&vector).to_string());
        *counts.entry((kind.to_owned(), refused, status)).or_insert(0) += 1;
        match (refused, status) {
            (true, Some(3)) => assert!(!said.is_empty(), "{line}: refused in silence"),
            (false, Some(0)) => {
                let warned = istio.get("warnings").is_some();
                if warned && !said.contains("warning: ") {
                    failures.push(format!("not warned: {line}"));
                }
            }
            (false, Some(3)) => {
                let reason = STRICTER.iter().find(|(part, _)| said.contains(part));
                match reason {
                    Some((part, _)) => *stricter.entry(part).or_default() += 1,
                    None => {
                        failures.push(format!("refused without a named reason: {line}\n{said}"))
                    }
                }
            }
            _ => failures.push(format!("status {status:?}: {line}\n{said}")),
        }
    }
    eprintln!("{counts:?}\nstricter: {stricter:?}");
    for (part, reason) in STRICTER {
        if !stricter.contains_key(part) {
            failures.push(format!("no vector needs this reason any more: {part}: {reason}"));
        }
    }
    assert!(failures.is_empty(), "{}\n{} failures", failures.join("\n"), failures.len());
    assert_eq!(counts.values().sum::<usize>(), 522);
}
