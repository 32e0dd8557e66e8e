//! Manifests and configurations in the shapes in which people have them: each is converted or checked as its row says, and
//! none is opened silently.

#![expect(clippy::unwrap_used, reason = "a test may stop at any surprise")]

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::Value;

use crate::common::usher;

/// For `JWKS` in an input.
const JWKS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"1","x":"-PEFcvyAHD4v5tTN5x0O9jR2OEFHUoWPNoTu4EAcsLQ"}]}"#;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    shape: String,
    members: Vec<Member>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    name: String,
    input: String,
    convert: Convert,
    #[serde(default)]
    says: Vec<String>,
    #[serde(default)]
    never: Vec<String>,
    /// The codes of all warnings, `error` for errors; absent where there is nothing to check.
    check: Option<BTreeSet<String>>,
}

/// What `usher convert` does.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Convert {
    /// Prints the whole.
    Whole,
    /// Prints no manifest, since something would be lost.
    Refused,
    /// The input is invalid.
    Invalid,
    /// There is nothing to convert.
    Nothing,
}

fn problems(member: &Member, input: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let run = usher(&["convert", "-"], input);
    let expected = match member.convert {
        Convert::Whole => (Some(0), true),
        Convert::Refused => (Some(2), false),
        Convert::Invalid => (Some(3), false),
        Convert::Nothing => (Some(1), false),
    };
    if (run.status, !run.stdout.is_empty()) != expected {
        problems.push(format!("convert: {:?}, not {:?}", run.status, member.convert));
    }
    let told = format!("{}{}", run.stdout, run.stderr);
    problems.extend(
        member.says.iter().filter(|text| !told.contains(*text)).map(|t| format!("lacks {t:?}")),
    );
    problems.extend(
        member.never.iter().filter(|text| told.contains(*text)).map(|t| format!("has {t:?}")),
    );
    if !problems.is_empty() {
        problems.push(told);
    }
    if let Some(expected) = &member.check {
        let run = usher(&["check", "--format", "json", "-"], input);
        let lines = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let code =
            |line: Value| line.get("code").and_then(Value::as_str).unwrap_or("error").to_owned();
        let found: BTreeSet<String> = lines.map(code).collect();
        if found != *expected {
            problems.push(format!("check: {found:?}, not {expected:?}: {}", run.stdout));
        }
    }
    problems
}

fn play(text: &str, rows: usize) {
    let shapes: Vec<Shape> = serde_yaml_ng::from_str(text).unwrap();
    assert!(shapes.len() >= rows, "{} shapes", shapes.len());
    let mut failures = Vec::new();
    for Shape { shape, members } in shapes {
        assert!(members.len() >= 3, "{shape}: {} members", members.len());
        for member in members {
            let text = serde_json::to_string(JWKS).unwrap();
            let input = member.input.replace("JSONJWKS", &text).replace("JWKS", JWKS);
            let problems = problems(&member, &input);
            if !problems.is_empty() {
                failures.push(format!("{shape}: {}: {}", member.name, problems.join("\n  ")));
            }
        }
    }
    assert!(failures.is_empty(), "{} failures\n{}", failures.len(), failures.join("\n\n"));
}

#[test]
fn manifests_of_istio() {
    play(include_str!("../shapes/istio.yaml"), 24);
}

#[test]
fn configurations_of_envoy() {
    play(include_str!("../shapes/envoy.yaml"), 8);
}
