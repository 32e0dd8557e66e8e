//! `usher explain --requests` answers as Istio's compiler and a real Envoy have answered: status,
//! deciding rule, audit, and the path as the service sees it. Vectors: tests/vectors/authz.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may stop at any surprise")]

use serde_json::Value;
use usher_core::path::normalize;
use usher_core::policy::Normalization;
use usher_testkit::{spelling, vectors};

use crate::common::usher;

/// A moment at which every token of the vectors is good.
const NOW: &str = "1790000000";

/// What of a decision differs from what is expected.
fn differences(request: &Value, answer: &Value) -> Vec<String> {
    let expect = &request["expect"];
    let mut pairs = vec![
        ("status", &answer["status"], &expect["status"]),
        ("path", &answer["path"], &request["path_seen"]),
    ];
    if expect.get("matched").is_some() {
        pairs.push(("matched", &answer["matched"], &expect["matched"]));
    }
    pairs.push(("audit", &answer["audit"], expect.get("audit").unwrap_or(&Value::Null)));
    let differing = pairs.into_iter().filter(|(_, found, expected)| found != expected);
    differing.map(|(what, found, expected)| format!("{what} {found}, not {expected}")).collect()
}

/// Stricter on purpose, and here alone: what Envoy forwards would be another path to a service
/// that normalises it again.
fn is_refused_for_two_readings(scenario: &Value, request: &Value, answer: &Value) -> bool {
    let mode = match scenario["pathNormalization"].as_str().unwrap() {
        "NONE" => Normalization::None,
        "BASE" => Normalization::Base,
        "MERGE_SLASHES" => Normalization::MergeSlashes,
        "DECODE_AND_MERGE_SLASHES" => Normalization::DecodeAndMergeSlashes,
        other => panic!("no pathNormalization: {other}"),
    };
    let seen = request["path_seen"].as_str().unwrap().as_bytes();
    let refused = answer["reason"] == "path_unsafe" && answer["status"] == 400;
    refused && normalize(seen, mode).as_deref() != Ok(seen)
}

/// Of classes in docs/differences.md: what refuses is matched in every spelling, so that Usher refuses, or
/// names another rule that does.
fn is_refused_in_another_spelling(policies: &Value, request: &Value, answer: &Value) -> bool {
    let text = |field: &str| request[field].as_str().unwrap();
    answer["status"] == 403
        && spelling::class(policies, text("authority"), text("path_seen")).is_some()
}

#[test]
fn explain_agrees_with_istio_and_envoy() {
    let scenarios = vectors::text("authz/policies.jsonl");
    let jwks = vectors::json("authz/jwks.json");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.json");
    let (mut requests, mut stricter, mut failures) = (0, 0, Vec::new());
    for line in scenarios.lines() {
        let scenario: Value = serde_json::from_str(line).unwrap();
        let id = scenario["id"].as_str().unwrap();
        let config = vectors::plugin_config(&scenario, &jwks);
        std::fs::write(&file, config.to_string()).unwrap();
        let sent = scenario["requests"].as_array().unwrap();
        let lines: Vec<String> = sent.iter().map(Value::to_string).collect();
        let run = usher(
            &[
                "explain",
                "--config",
                file.to_str().unwrap(),
                "--now",
                NOW,
                "--requests",
                "-",
                "--format",
                "json",
            ],
            &lines.join("\n"),
        );
        if run.status != Some(0) {
            failures.push(format!("{id}: status {:?}: {}{}", run.status, run.stdout, run.stderr));
            continue;
        }
        let answers: Vec<Value> =
            run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(answers.len(), sent.len(), "{id}: one decision a line");
        for (number, (request, answer)) in sent.iter().zip(&answers).enumerate() {
            requests += 1;
            if is_refused_for_two_readings(&scenario, request, answer) {
                stricter += 1;
                continue;
            }
            let differences = differences(request, answer);
            let policies = &config["authorizationPolicies"];
            if !differences.is_empty() && !is_refused_in_another_spelling(policies, request, answer)
            {
                failures.push(format!("{id}[{number}]: {}: {request}", differences.join("; ")));
            }
        }
    }
    eprintln!("{requests} requests, {stricter} paths refused, {} failures", failures.len());
    let shown: Vec<&str> =
        failures.iter().take(20).map(|f| f.get(..600).unwrap_or(f.as_str())).collect();
    assert!(failures.is_empty(), "{} failures, such as\n{}", failures.len(), shown.join("\n"));
}
