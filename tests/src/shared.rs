//! The vectors beside the project: test data of others, never a part of it.

use std::path::PathBuf;

use serde_json::{Value, json};

/// The folder of shared test data: `$USHER_SHARED`, else `../shared` beside the project.
fn folder() -> PathBuf {
    match std::env::var_os("USHER_SHARED") {
        Some(folder) => folder.into(),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
    }
}

/// The text of a file of the shared test data. `None`, said loudly, where it is not there.
pub fn text(path: &str) -> Option<String> {
    let file = folder().join(path);
    let text = std::fs::read_to_string(&file).ok();
    if text.is_none() {
        eprintln!("SKIPPED: {} is absent; set USHER_SHARED", file.display());
    }
    text
}

/// The files with this extension in a folder of the vectors, sorted. `None`, said loudly, where there
/// are no vectors on this machine.
pub fn vectors(under: &str, extension: &str) -> Option<Vec<PathBuf>> {
    let folder = folder().join("vectors").join(under);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no vectors at {}; set USHER_SHARED", folder.display());
        return None;
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .{extension} files in {}", folder.display());
    Some(files)
}

/// The issuers of the tokens in the vectors of authorization.
const ISSUERS: [&str; 4] = [
    "https://idp.example.com",
    "https://idp.example.com/realms/x",
    "issuer-a@example.com",
    "plain",
];

/// The pluginConfig that a scenario of the vectors of authorization stands for.
pub fn plugin_config(scenario: &Value, jwks: &Value) -> Value {
    let rules: Vec<Value> =
        ISSUERS.iter().map(|issuer| json!({ "issuer": issuer, "jwks": jwks })).collect();
    let policies = scenario["policies"].as_array().unwrap().iter().map(|policy| {
        let mut entry = policy["spec"].clone();
        entry["name"] = policy["name"].clone();
        entry["namespace"] = policy["namespace"].clone();
        let dry_run = policy["annotations"]["istio.io/dry-run"].as_str();
        // Go's ParseBool; what it cannot parse is no dry run (docs/semantics.md, "Dry run").
        let dry_run = dry_run.is_some_and(|v| ["1", "t", "T", "TRUE", "true", "True"].contains(&v));
        entry["dryRun"] = dry_run.into();
        entry
    });
    let mut trust_domains = vec![scenario["trustDomain"].clone()];
    trust_domains.extend(scenario["aliases"].as_array().cloned().unwrap_or_default());
    json!({
        "jwtRules": rules,
        // Istio demands no token by itself.
        "missingToken": "allow",
        "authorizationPolicies": policies.collect::<Vec<_>>(),
        "trustDomains": trust_domains,
        "pathNormalization": scenario["pathNormalization"],
        "sourceAddress": { "filterState": "usher.source_ip" },
    })
}
