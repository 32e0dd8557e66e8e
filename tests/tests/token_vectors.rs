//! Every token of the public suites, and of the known attacks, through the core.
//!
//! The vectors live beside the project, not in it; without them the test says so and is skipped. Five
//! outcomes: pass, skip, known divergence (`token_vectors_exceptions.json`, each with its reason),
//! unexpected failure, unexpected success (an exception that no longer holds fails too).

use std::collections::BTreeMap;

use serde_json::{Value, json};
use usher::authenticate::authenticate;
use usher::config::Loaded;
use usher::crypto::portable::Portable;
use usher::remote::Ring;
use usher::{Policy, compact};

/// What Usher says of a token: `ok`, a reason code, or `config` where the key set is refused.
fn verdict(case: &Value) -> String {
    let skew = format!("{}s", case["clock_skew"]);
    let mut rule = json!({
        "jwks": case["jwks"],
        "clockSkew": skew,
        "requireExpiration": false,
        "algorithms": usher::crypto::Algorithm::names().map(|(name, _)| name).collect::<Vec<_>>(),
    });
    match &case["issuer"] {
        Value::Null => rule["anyIssuer"] = true.into(),
        issuer => rule["issuer"] = issuer.clone(),
    }
    // Many vectors have keys of standards; one has 200 keys without `kid`, of which the last is the signer's.
    rule["allowPublishedKeys"] = true.into();
    let limits = json!({ "signatureChecks": 200 });
    if !case["audiences"].is_null() {
        rule["audiences"] = case["audiences"].clone();
    }
    let Ok(Loaded { policy, .. }) =
        Policy::from_value(&json!({ "jwtRules": [rule], "limits": limits }))
    else {
        return "config".to_owned();
    };
    let token = case["token"].as_str().unwrap();
    let now = case["now"].as_u64().unwrap();
    let (ring, mut engine) = (Ring::default(), Portable);
    let verified = compact::parse(token.as_bytes(), &policy.limits.token).and_then(|token| {
        let verified = authenticate(&policy.jwt, token, &[0, 1], now, &ring, &mut engine);
        verified.map_err(|refused| refused.denial)
    });
    match verified {
        Ok(_) => "ok".to_owned(),
        Err(denial) => denial.code().to_owned(),
    }
}

#[test]
fn every_public_vector_has_its_outcome() {
    let Some(files) = usher_tests::shared::vectors("", "json") else {
        return;
    };
    let exceptions: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../token_vectors_exceptions.json")).unwrap();
    let (mut passed, mut either, mut diverged) = (0, 0, Vec::new());
    let mut unexpected = Vec::new();
    for file in files {
        let suite: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
        for case in suite["cases"].as_array().unwrap() {
            let id = case["id"].as_str().unwrap();
            let got = verdict(case);
            let agrees = match case["expect"].as_str().unwrap() {
                "valid" => got == "ok",
                "invalid" => got != "ok",
                // An orderly answer is all that is asked.
                _ => {
                    either += 1;
                    continue;
                }
            };
            match (agrees, exceptions.contains_key(id)) {
                (true, false) => passed += 1,
                (false, true) => diverged.push(id.to_owned()),
                (false, false) => unexpected.push(format!(
                    "{id}: expected {}, got {got} ({})",
                    case["expect"], case["comment"]
                )),
                (true, true) => unexpected.push(format!("{id}: the exception no longer holds")),
            }
        }
    }
    println!("{passed} pass, {either} either, {} known divergences", diverged.len());
    assert!(unexpected.is_empty(), "{}:\n{}", unexpected.len(), unexpected.join("\n"));
    assert!(diverged.len() * 50 <= passed, "more than 1 in 50 diverge");
    let stale: Vec<_> = exceptions.keys().filter(|id| !diverged.contains(id)).collect();
    assert!(stale.is_empty(), "exceptions for no case: {stale:?}");
}
