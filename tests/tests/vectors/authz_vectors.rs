//! Every measured scenario through the core: policies that Istio's compiler made filters of, requests
//! that Envoy answered. Status, deciding rule, audit and dry-run results must be the same.

use serde_json::{Value, json};
use usher_core::authorize::DryRun;
use usher_core::path::normalize;
use usher_core::request::{Connection, MetadataValue, Metadatum, Peer};
use usher_core::{Compiled, Request, WorkerState, decide, load};
use usher_testkit::{spelling, vectors};

/// The clock of the vectors: every token of theirs is good until 2100.
const NOW: u64 = 1_790_000_000;

fn policy(scenario: &Value, jwks: &Value) -> Result<Compiled, String> {
    match load::from_value(&vectors::plugin_config(scenario, jwks)) {
        Ok(loaded) => Ok(loaded.policy),
        Err(problems) => {
            Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
        }
    }
}

fn request(case: &Value) -> Request {
    let text = |field: &str| case[field].as_str().unwrap().to_owned();
    let scheme = if case["tls"] == true { "https" } else { "http" };
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = vec![
        (b":method".to_vec(), text("method").into()),
        (b":authority".to_vec(), text("authority").into()),
        (b":path".to_vec(), text("path").into()),
        (b":scheme".to_vec(), scheme.into()),
    ];
    for line in case["headers"].as_array().unwrap() {
        let name = line[0].as_str().unwrap().to_ascii_lowercase();
        headers.push((name.into(), line[1].as_str().unwrap().into()));
    }
    let list = |value: &Value| -> Vec<String> {
        value.as_array().unwrap().iter().map(|v| v.as_str().unwrap().to_owned()).collect()
    };
    let peer = case["peer"].as_object().map(|peer| Peer {
        uri_sans: list(&peer["uri_sans"]),
        dns_sans: list(&peer["dns_sans"]),
        subject: peer["subject"].as_str().unwrap().to_owned(),
        ..Peer::default()
    });
    let metadata = case["metadata"].as_object().unwrap().iter().flat_map(|(filter, keys)| {
        keys.as_object().unwrap().iter().map(|(key, value)| Metadatum {
            filter: filter.clone(),
            key: key.clone(),
            value: match value {
                Value::String(text) => MetadataValue::Text(text.clone()),
                _ => MetadataValue::List(
                    value
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter_map(|v| Some(v.as_str()?.to_owned()))
                        .collect(),
                ),
            },
        })
    });
    let ip = |field: &str| case[field].as_str().map(|text| text.parse().unwrap());
    Request {
        headers,
        connection: Connection {
            peer,
            sni: case["sni"].as_str().unwrap_or_default().to_owned(),
            source_ip: ip("source_ip"),
            remote_ip: ip("remote_ip"),
            destination_ip: ip("destination_ip"),
            destination_port: case["destination_port"].as_u64().map(|p| u16::try_from(p).unwrap()),
            metadata: metadata.collect(),
        },
        end_of_stream: true,
    }
}

/// Stricter on purpose: what Envoy forwards would become another path if it were normalized again.
fn has_two_readings(policy: &Compiled, case: &Value) -> bool {
    let seen = case["path_seen"].as_str().unwrap().as_bytes();
    normalize(seen, policy.settings.path_normalization).as_deref() != Ok(seen)
}

/// Of classes in docs/differences.md: what refuses is matched in every spelling.
fn is_respelled(scenario: &Value, case: &Value, jwks: &Value) -> bool {
    let policies = &vectors::plugin_config(scenario, jwks)["authorizationPolicies"];
    let text = |field: &str| case[field].as_str().unwrap();
    spelling::class(policies, text("authority"), text("path_seen")).is_some()
}

/// Whether a difference is one that refuses: the request, or in a dry run.
fn refuses_more(expect: &Value, got: &Value) -> bool {
    let denied = |result: &Value, kind: &str| result["shadow"][kind]["result"] == "denied";
    let status = |result: &Value| result["status"].as_u64();
    let no_less = status(got) == Some(403) || status(got) == status(expect);
    no_less && ["allow", "deny"].iter().all(|kind| denied(got, kind) || !denied(expect, kind))
}

fn shadow(dry_run: Option<&DryRun>) -> Option<Value> {
    dry_run.map(|run| {
        let result = if run.allowed { "allowed" } else { "denied" };
        json!({"result": result, "matched": run.matched.as_deref()})
    })
}

#[test]
fn every_scenario_is_decided_as_istio_and_envoy_do() {
    let jwks = vectors::json("authz/jwks.json");
    let (mut decided, mut stricter, mut respelled, mut wrong) = (0, 0, 0, Vec::new());
    for line in vectors::text("authz/policies.jsonl").lines() {
        let scenario: Value = serde_json::from_str(line).unwrap();
        let id = scenario["id"].as_str().unwrap();
        let policy = match policy(&scenario, &jwks) {
            Ok(policy) => policy,
            Err(problems) => {
                wrong.push(format!("{id}: refused: {problems}"));
                continue;
            }
        };
        for (number, case) in scenario["requests"].as_array().unwrap().iter().enumerate() {
            let decision = decide(
                &policy,
                &request(case),
                usher_core::time::UnixSeconds(NOW),
                &mut WorkerState::portable(),
            );
            let expect = &case["expect"];
            let judgement = decision.report.authorization.as_ref();
            let mut got = json!({"status": decision.status()});
            if expect.get("matched").is_some() {
                got["matched"] = judgement.and_then(|j| j.matched.as_deref()).into();
            }
            if let Some(audit) = judgement.and_then(|j| j.audit) {
                got["audit"] = audit.into();
            }
            let allow = shadow(judgement.and_then(|j| j.dry_run_allow.as_ref()));
            let deny = shadow(judgement.and_then(|j| j.dry_run_deny.as_ref()));
            if allow.is_some() || deny.is_some() {
                got["shadow"] = json!({});
                for (name, run) in [("allow", allow), ("deny", deny)] {
                    if let Some(run) = run {
                        got["shadow"][name] = run;
                    }
                }
            }
            if got == *expect {
                decided += 1;
            } else if decision.reason() == "path_unsafe" && has_two_readings(&policy, case) {
                stricter += 1;
            } else if refuses_more(expect, &got) && is_respelled(&scenario, case, &jwks) {
                respelled += 1;
            } else {
                let reason = decision.reason();
                wrong.push(format!("{id}[{number}]: expected {expect}, got {got} ({reason})"));
            }
        }
    }
    println!(
        "{decided} requests decided as Istio and Envoy do, {stricter} paths refused, {respelled} other \
         spellings"
    );
    assert!(
        respelled > 0,
        "no spelling makes a difference any more: docs/differences.md tells of some"
    );
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(decided + stricter + respelled, 4837);
}
