//! `usher explain --format json` gives exactly the promised fields, for a permitted request and for a
//! refused one.

#![expect(clippy::unwrap_used, reason = "a test may stop at any surprise")]

use serde_json::{Value, json};

use crate::common::usher;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cmd/files/shop.yaml");
const TOKEN: &str = include_str!("../cmd/files/mmosley.jwt");

fn explain(arguments: &[&str], stdin: &str) -> (Option<i32>, Value) {
    let always = ["explain", "--config", CONFIG, "--now", "1700000000", "--format", "json"];
    let run = usher(&[&always, arguments].concat(), stdin);
    assert!(run.stderr.is_empty(), "{}", run.stderr);
    (run.status, serde_json::from_str(&run.stdout).unwrap())
}

#[test]
fn a_refused_request_has_every_field() {
    let (status, mut answer) =
        explain(&["--host", "shop.example", "--path", "/a?b", "-H", "X_User: root"], "");
    assert_eq!(status, Some(2));
    assert!(!answer["steps"].as_array().unwrap().is_empty());
    answer["steps"] = json!([]);
    assert_eq!(
        answer,
        json!({
            "decision": "deny",
            "status": 401,
            "reason": "token_missing",
            "provider": null,
            "policy": null,
            "rule": null,
            "matched": null,
            "audit": null,
            "path": "/a?b",
            "set": {},
            "remove": ["x_user"],
            "body": "Jwt is missing",
            "challenge": "Bearer realm=\"http://shop.example\"",
            "steps": [],
        })
    );
}

#[test]
fn flags_and_lines_say_the_same() {
    let flags = [
        "--method",
        "POST",
        "--path",
        "/a?access_token=x",
        "--host",
        "h",
        "--token",
        "-",
        "--header",
        "x-a: 1",
        "--principal",
        "spiffe://cluster.local/ns/a/sa/b",
        "--source-ip",
        "10.0.0.1",
    ];
    let (status, by_flags) = explain(&flags, TOKEN);
    let line = json!({
        "method": "POST",
        "path": "/a?access_token=x",
        "authority": "h",
        "headers": [["AUTHORIZATION", format!("Bearer {}", TOKEN.trim())], ["X-A", "1"]],
        "tls": true,
        "peer": { "uri_sans": ["spiffe://cluster.local/ns/a/sa/b"] },
        "source_ip": "10.0.0.1",
        "claims": {}, "path_seen": "/", "expect": { "status": 200 },
    });
    let (_, by_line) = explain(&["--requests", "-"], &line.to_string());
    assert_eq!(by_flags, by_line);
    assert_eq!((status, by_flags["reason"].as_str()), (Some(2), Some("token_ambiguous")));
}

#[test]
fn a_file_of_requests_is_answered_whatever_the_answers() {
    let lines = "{\"method\":\"GET\",\"path\":\"/\"}\n".repeat(3);
    let arguments =
        ["explain", "--config", CONFIG, "--requests", "-", "--format", "json", "--now", "1"];
    let run = usher(&arguments, &lines);
    assert_eq!((run.status, run.stdout.lines().count()), (Some(0), 3), "{}", run.stderr);
}
