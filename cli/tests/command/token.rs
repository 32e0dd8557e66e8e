//! What `usher token` mints, a configuration with the printed JWKS accepts, and no other.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at any surprise"
)]

use serde_json::{Value, json};

use crate::common::usher;

const NOW: &str = "1700000000";

/// A pluginConfig for the issuer of these tests, in a file of its own.
fn config(directory: &tempfile::TempDir, jwks: &Value, algorithm: &str) -> String {
    let rule =
        json!({ "issuer": "https://idp.example.com", "jwks": jwks, "algorithms": [algorithm] });
    let file = directory.path().join(format!("{algorithm}.json"));
    std::fs::write(&file, json!({ "jwtRules": [rule] }).to_string()).unwrap();
    file.to_str().unwrap().to_owned()
}

fn mint(arguments: &[&str]) -> (String, Value) {
    let always = ["token", "--issuer", "https://idp.example.com", "--now", NOW, "--format", "json"];
    let run = usher(&[&always, arguments].concat(), "");
    assert_eq!(run.status, Some(0), "{arguments:?}: {}", run.stderr);
    let answer: Value = serde_json::from_str(&run.stdout).unwrap();
    (answer["token"].as_str().unwrap().to_owned(), answer["jwks"].clone())
}

fn explain(config: &str, token: &str, now: &str) -> (Option<i32>, Value) {
    let arguments =
        ["explain", "--config", config, "--now", now, "--token", "-", "--format", "json"];
    let run = usher(&arguments, token);
    assert!(run.stderr.is_empty(), "{}", run.stderr);
    (run.status, serde_json::from_str(&run.stdout).unwrap())
}

#[test]
fn a_minted_token_is_accepted_with_the_printed_keys_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    for algorithm in [
        "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES256K", "EdDSA",
        "HS256", "HS384", "HS512",
    ] {
        let (token, jwks) = mint(&["--algorithm", algorithm, "--subject", "mmosley"]);
        let file = config(&directory, &jwks, algorithm);
        let (status, answer) = explain(&file, &token, NOW);
        assert_eq!((status, answer["decision"].as_str()), (Some(0), Some("allow")), "{algorithm}");
        assert_eq!(answer["provider"], "https://idp.example.com", "{algorithm}");
        let (status, answer) = explain(&file, &token, "1700003661");
        assert_eq!((status, answer["reason"].as_str()), (Some(2), Some("token_expired")));
        if algorithm == "ES256" {
            let known = jwks["keys"][0]["kid"].as_str().unwrap();
            // A thumbprint is random, and begins with `-` once in 64 times.
            for (kid, reason) in [
                (known, "signature_invalid"),
                ("-6hg", "key_unknown"),
                ("--format", "key_unknown"),
                ("-", "key_unknown"),
            ] {
                let (other, own) = mint(&["--algorithm", algorithm, "--kid", kid]);
                assert_eq!(own["keys"][0]["kid"], kid);
                let (status, answer) = explain(&file, &other, NOW);
                assert_eq!((status, answer["reason"].as_str()), (Some(2), Some(reason)), "{kid}");
            }
        }
    }
}

#[test]
fn a_saved_key_signs_again_and_is_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let key = directory.path().join("key.json");
    let key = key.to_str().unwrap();
    let (first, jwks) = mint(&["--algorithm", "PS256", "--save-key", key]);
    let (again, same) = mint(&["--key", key, "--claim", "groups=[\"a\"]", "--claim", "n=1.50"]);
    assert_eq!(jwks, same);
    assert_ne!(first, again);
    let file = config(&directory, &jwks, "PS256");
    assert_eq!(explain(&file, &again, NOW).0, Some(0));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(key).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let refused = usher(&["token", "--save-key", key], "");
    assert_eq!(refused.status, Some(1), "a key that is there is not written over");
    let inspected = usher(&["token", "inspect", "--format", "json", &again], "");
    let inspected: Value = serde_json::from_str(&inspected.stdout).unwrap();
    assert_eq!(inspected["payload"]["n"].to_string(), "1.50", "claims are signed as written");
    assert_eq!(inspected["payload"]["groups"], json!(["a"]));
    assert_eq!(inspected["verdict"], Value::Null);
}

#[test]
fn inspect_judges_only_by_a_configuration() {
    let directory = tempfile::tempdir().unwrap();
    let (token, jwks) = mint(&[]);
    let file = config(&directory, &jwks, "ES256");
    let inspect = |now: &str, more: &[&str]| {
        let run = usher(&[&["token", "inspect", "--now", now, &token], more].concat(), "");
        (run.status, run.stdout.lines().last().unwrap().to_owned())
    };
    for (now, more, status, last) in [
        (NOW, &[][..], 0, "signature: not checked (--config has it judged)"),
        (NOW, &["--config", &file], 0, "verdict: valid, by `https://idp.example.com`"),
        (
            "1800000000",
            &["--config", &file],
            2,
            "verdict: not valid: token_expired (Jwt is expired)",
        ),
    ] {
        assert_eq!(inspect(now, more), (Some(status), last.to_owned()));
    }
}
