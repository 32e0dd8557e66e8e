//! Every token of the public suites, and of the known attacks, through the core.
//!
//! Four outcomes: pass, known divergence (`token_vectors_exceptions.json`, each with its reason),
//! unexpected failure, unexpected success (an exception that no longer holds fails too).

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};
use usher_core::authenticate::authenticate;
use usher_core::crypto::portable::Portable;
use usher_core::load::Loaded;
use usher_core::remote::JwksCache;
use usher_core::{compact, load};
use usher_testkit::vectors::{self, ELSEWHERE, Folders, OWN};

/// What Usher says of a token: `ok`, a reason code, or `config` where the key set is refused.
fn verdict(case: &Value) -> String {
    let skew = format!("{}s", case["clock_skew"]);
    let mut rule = json!({
        "jwks": case["jwks"],
        "clockSkew": skew,
        "requireExpiration": false,
        "algorithms": usher_core::crypto::Algorithm::names().map(|(name, _)| name).collect::<Vec<_>>(),
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
        load::from_value(&json!({ "jwtRules": [rule], "limits": limits }))
    else {
        return "config".to_owned();
    };
    let token = case["token"].as_str().unwrap();
    let now = case["now"].as_u64().unwrap();
    let (ring, mut engine) = (JwksCache::default(), Portable);
    let verified =
        compact::parse(token.as_bytes(), &policy.settings.limits.token).and_then(|token| {
            let verified = authenticate(
                &policy.jwt,
                token,
                &[0, 1],
                usher_core::time::UnixSeconds(now),
                &ring,
                &mut engine,
            );
            verified.map_err(|refused| refused.denial)
        });
    match verified {
        Ok(_) => "ok".to_owned(),
        Err(denial) => denial.code().to_owned(),
    }
}

#[test]
fn every_public_vector_has_its_outcome() {
    let tokens = vectors::tokens();
    let exceptions: BTreeMap<String, Value> =
        serde_json::from_str(include_str!("../../token_vectors_exceptions.json")).unwrap();
    let (mut passed, mut either, mut diverged) = (0, 0, Vec::new());
    let mut unexpected = Vec::new();
    for case in &tokens.cases {
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
    println!("{passed} pass, {either} either, {} known divergences", diverged.len());
    assert!(unexpected.is_empty(), "{}:\n{}", unexpected.len(), unexpected.join("\n"));
    assert!(diverged.len() * 50 <= passed, "more than 1 in 50 diverge");
    let here = exceptions.keys().filter(|id| !tokens.lacks(id));
    let stale: Vec<_> = here.filter(|id| !diverged.contains(id)).collect();
    assert!(stale.is_empty(), "exceptions for no case: {stale:?}");
}

/// The test above, in a process of its own that finds no vectors but the project's.
fn alone(require_all: &str, skips: &Path) -> Output {
    let nothing = tempfile::tempdir().unwrap();
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "token_vectors::every_public_vector_has_its_outcome"])
        .env("USHER_SHARED", nothing.path())
        .env("USHER_REQUIRE_ALL", require_all)
        .env("USHER_SKIPS", skips)
        .output()
        .unwrap()
}

#[test]
fn what_cannot_be_in_the_project_is_skipped_by_name() {
    let skips = tempfile::NamedTempFile::new().unwrap();
    let run = alone("", skips.path());
    let [stdout, stderr] = [&run.stdout, &run.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(run.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("test result: ok. 1 passed; 0 failed; 0 ignored"), "{stdout}");
    // The runner keeps nothing of it to itself, though the test passes.
    let expected = ELSEWHERE.map(|name| format!("{name}: not in $USHER_SHARED/vectors"));
    let said: Vec<&str> = stderr.lines().filter_map(|l| l.strip_prefix("SKIPPED: ")).collect();
    assert_eq!(said, expected);
    let collected = std::fs::read_to_string(skips.path()).unwrap();
    let test = "token_vectors::every_public_vector_has_its_outcome";
    let expected = expected.map(|reason| format!("{reason}\t{test}"));
    assert_eq!(collected.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn where_all_is_required_an_absent_file_fails() {
    let skips = tempfile::NamedTempFile::new().unwrap();
    let run = alone("1", skips.path());
    let stdout = String::from_utf8_lossy(&run.stdout);
    assert!(!run.status.success(), "{stdout}");
    let expected = format!("would be skipped: {}: not in $USHER_SHARED/vectors", ELSEWHERE[0]);
    assert!(stdout.contains(&expected), "{stdout}");
    assert_eq!(std::fs::read_to_string(skips.path()).unwrap(), "");
}

#[test]
fn an_absent_vector_of_the_projects_own_fails() {
    let folder = tempfile::tempdir().unwrap();
    let folders = Folders { own: folder.path().to_owned(), ..Folders::default() };
    let failure = |read: &dyn Fn()| {
        let failed = catch_unwind(AssertUnwindSafe(read)).expect_err("it is absent");
        failed.downcast_ref::<String>().expect("a message").clone()
    };
    for path in ["authn/requests.jsonl", "authz/policies.jsonl", "authz/paths.jsonl"] {
        let said = failure(&|| drop(folders.text(path)));
        assert!(said.ends_with(&format!("a part of the project: tests/vectors/{path}")), "{said}");
    }
    for name in OWN {
        std::fs::copy(Folders::default().own.join(name), folder.path().join(name)).unwrap();
    }
    for name in OWN {
        let (here, away) = (folder.path().join(name), folder.path().join("away"));
        std::fs::rename(&here, &away).unwrap();
        let said = failure(&|| drop(folders.tokens()));
        assert!(said.ends_with(&format!("a part of the project: tests/vectors/{name}")), "{said}");
        std::fs::rename(&away, &here).unwrap();
    }
}

/// The `.json` files of a folder, sorted. `None` where there is no such folder.
fn files(folder: &Path) -> Option<Vec<String>> {
    let entries = std::fs::read_dir(folder).ok()?;
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".json")).collect();
    names.sort();
    Some(names)
}

#[test]
fn every_file_is_listed_and_counted() {
    let folders = Folders::default();
    assert_eq!(files(&folders.own).unwrap(), OWN);
    if let Some(mut names) = files(&folders.elsewhere) {
        names.retain(|name| !OWN.contains(&name.as_str()) && !ELSEWHERE.contains(&name.as_str()));
        assert!(names.is_empty(), "in no list, so no test runs them: {names:?}");
    }
    let readme = vectors::text("README.md");
    let mut all = 0;
    for name in OWN {
        let cases = vectors::json(name)["cases"].as_array().unwrap().len();
        assert!(readme.contains(&format!("\n| `{name}` | {cases} | ")), "{name} has {cases} cases");
        all += cases;
    }
    assert!(readme.contains(&format!("| {all} tokens: ")), "{all} tokens");
}
