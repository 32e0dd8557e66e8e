//! The GitHub Action and the pre-commit hooks name what is there, and the action's script does as it
//! says.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test may stop at any surprise")]

use std::path::{Path, PathBuf};
use std::process::Command;

const GOOD: &str = r#"{"authorizationPolicies":[{"name":"p","rules":[{}]}]}"#;
const BAD: &str = r#"{"authorizationPolicies":[{"nam":"p"}]}"#;
/// One rule that can never match: a warning.
const DOUBTFUL: &str = r#"{"authorizationPolicies":[{"name":"p","rules":[
    {"to":[{"operation":{"paths":["admin"]}}]}]}]}"#;
const TEST: &str = "config: good.json\ncases:\n- {request: GET /, expect: allow}\n";
const FAILING: &str = "config: good.json\ncases:\n- {request: GET /, expect: deny}\n";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn the_scripts_that_are_named_are_there() {
    let read = |name: &str| std::fs::read_to_string(repository().join(name)).unwrap();
    assert!(read("action.yml").contains("\"$GITHUB_ACTION_PATH/tools/usher-action\""));
    assert!(repository().join("tools/usher-action").exists());
    let hooks = read(".pre-commit-hooks.yaml");
    let entries = hooks.lines().filter_map(|line| line.trim().strip_prefix("entry: "));
    let entries: Vec<&str> = entries.collect();
    assert_eq!(entries, ["tools/usher check", "tools/usher test"]);
    assert!(repository().join("tools/usher").exists());
}

#[test]
fn the_script_checks_and_tests() {
    let folder = tempfile::tempdir().unwrap();
    let nested = folder.path().join("a/b");
    std::fs::create_dir_all(&nested).unwrap();
    for (name, text) in [
        ("good.json", GOOD),
        ("bad.json", BAD),
        ("doubtful.json", DOUBTFUL),
        ("good.test.yaml", TEST),
        ("failing.test.yaml", FAILING),
        ("a/b/deep.json", GOOD),
    ] {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let run = |variables: &[(&str, &str)]| {
        let output = Command::new(repository().join("tools/usher-action"))
            .current_dir(folder.path())
            .env("USHER", env!("CARGO_BIN_EXE_usher"))
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for (variables, status, message) in [
        (&[][..], 1, "nothing to do"),
        (&[("CHECK", "good.json")], 0, "a good file"),
        (&[("CHECK", "good.json\n  bad.json")], 3, "a list in lines"),
        (&[("CHECK", "**/deep.json")], 0, "a glob into folders"),
        (&[("CHECK", "no-such-*.json")], 1, "a glob that finds nothing"),
        (&[("CHECK", "doubtful.json")], 0, "a warning"),
        (&[("CHECK", "doubtful.json"), ("STRICT", "true")], 2, "a warning that fails"),
        (&[("TEST", "good.test.yaml"), ("COVERAGE", "100"), ("JUNIT", "r.xml")], 0, "a test"),
        (&[("TEST", "*.test.yaml")], 2, "a test that fails"),
        (&[("CHECK", "bad.json"), ("TEST", "good.test.yaml")], 3, "the check fails, the test runs"),
    ] {
        let (found, out) = run(variables);
        assert_eq!(found, Some(status), "{message}: {out}");
        let tested = variables.iter().any(|(name, _)| *name == "TEST");
        assert_eq!(out.contains("PASS"), tested, "{message}: {out}");
    }
    assert!(std::fs::read_to_string(folder.path().join("r.xml")).unwrap().contains("tests=\"1\""));
}
