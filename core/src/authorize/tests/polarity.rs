//! What matches more widely where a match refuses, and only there: each field, in each of the four cases,
//! with few rules and with enough that they are indexed.

use serde_json::{Value, json};

use super::{policy, request};
use crate::authorize::{Verdict, evaluate};
use crate::decide::{WorkerState, decide};
use crate::request::Request;
use crate::time::UnixSeconds;

/// Rules beside the one under test, which never match.
fn others(count: usize) -> impl Iterator<Item = Value> {
    (0..count).map(|i| json!({"to": [{"operation": {"ports": [format!("{i}")]}}]}))
}

fn verdict(action: &str, rule: &Value, count: usize, request: &Request) -> Verdict {
    let rules: Vec<Value> = others(count).chain([rule.clone()]).collect();
    let config =
        json!({"authorizationPolicies": [{"name": "p", "action": action, "rules": rules}]});
    evaluate(&policy(&config).authorization, request, None).verdict
}

fn asking(path: &str, authority: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = request(path, headers);
    request.headers[2].1 = authority.as_bytes().to_vec();
    request
}

#[test]
fn where_a_match_refuses_it_is_wide_and_elsewhere_to_the_letter() {
    let operation = |field: &str, value: &str| json!({"to": [{"operation": {field: [value]}}]});
    let when = |field: &str, key: &str| json!({"when": [{"key": key, field: ["x"]}]});
    // A field, its `not`, a value, and a request that matches it widely but not literally.
    let rows = [
        ("paths", "notPaths", "/a/{*}", asking("/a/x[", "h", &[])),
        ("paths", "notPaths", "/a/{**}", asking("/a/x]/y", "h", &[])),
        ("paths", "notPaths", "/a/{x}.json", asking("/a/[.json", "h", &[])),
        ("paths", "notPaths", "/a/{x=**}", asking("/a/\u{e9}", "h", &[])),
        ("hosts", "notHosts", "a", asking("/", "a.", &[])),
        ("hosts", "notHosts", "a", asking("/", "a:80", &[])),
        ("hosts", "notHosts", "a", asking("/", "A.:80", &[])),
        ("hosts", "notHosts", "a:80", asking("/", "a.:80", &[])),
        ("hosts", "notHosts", "*.a", asking("/", "b.a:80", &[])),
        ("hosts", "notHosts", "a", asking("/", "b,a", &[])),
        ("hosts", "notHosts", "a", asking("/", "b", &[("host", "a")])),
        ("values", "notValues", "request.headers[x-debug]", asking("/", "h", &[("x_debug", "x")])),
        ("values", "notValues", "request.headers[x_debug]", asking("/", "h", &[("x-debug", "x")])),
        ("allValues", "notValues", "request.headers[x-a-b]", asking("/", "h", &[("x_a-b", "x")])),
    ];
    for (field, not, value, request) in &rows {
        let of = |field: &str| match value.starts_with("request.") {
            true => when(field, value),
            false => operation(field, value),
        };
        for count in [0, 30] {
            for (action, field, expected) in [
                // Values in DENY and `not` values in ALLOW refuse: a match takes access away.
                ("DENY", *field, Verdict::Deny),
                ("ALLOW", *not, Verdict::NoRuleMatched),
                // Values in ALLOW and `not` values in DENY let in: no match, so no access.
                ("ALLOW", *field, Verdict::NoRuleMatched),
                ("DENY", *not, Verdict::Deny),
            ] {
                let found = verdict(action, &of(field), count, request);
                assert_eq!(
                    found, expected,
                    "{action} {field} {value}, {count} others: {request:?}"
                );
            }
            let rules: Vec<Value> = others(count).chain([of(field)]).collect();
            let audit = json!({"name": "p", "action": "AUDIT", "rules": rules});
            let config = json!({"authorizationPolicies": [audit]});
            let authorization = evaluate(&policy(&config).authorization, request, None);
            assert_eq!(authorization.audit, Some(false), "AUDIT {field} {value}: {request:?}");
        }
    }
}

#[test]
fn a_dry_run_reads_as_the_policy_that_it_tries() {
    for (action, rule, allowed) in [
        ("DENY", json!({"to": [{"operation": {"hosts": ["a"]}}]}), false),
        ("DENY", json!({"to": [{"operation": {"notHosts": ["a"]}}]}), false),
        ("ALLOW", json!({"to": [{"operation": {"hosts": ["a"]}}]}), false),
        ("ALLOW", json!({"to": [{"operation": {"notHosts": ["a"]}}]}), false),
    ] {
        let dry = json!({"name": "p", "action": action, "dryRun": true, "rules": [rule]});
        let config = json!({"authorizationPolicies": [dry]});
        let authorization = evaluate(&policy(&config).authorization, &asking("/", "a.", &[]), None);
        let run = authorization.dry_run_deny.or(authorization.dry_run_allow);
        assert_eq!(run.map(|run| run.allowed), Some(allowed), "{action} {rule}");
    }
}

#[test]
fn all_else_stays_to_the_letter() {
    let operation = |field: &str, value: &str| json!({"to": [{"operation": {field: [value]}}]});
    let when = |key: &str| json!({"when": [{"key": key, "values": ["x"]}]});
    for (rule, request) in [
        (operation("paths", "/a"), asking("/a/", "h", &[])),
        (operation("paths", "/a"), asking("/A", "h", &[])),
        (operation("paths", "/a/{*}"), asking("/a/x[/y", "h", &[])),
        (operation("paths", "/a/{*}"), asking("/a/", "h", &[])),
        (operation("hosts", "a:80"), asking("/", "a", &[])),
        (operation("hosts", "a:80"), asking("/", "a:81", &[])),
        (operation("hosts", "a"), asking("/", "a..", &[])),
        (operation("hosts", "a."), asking("/", "a", &[])),
        (operation("hosts", "a"), asking("/", "a:x", &[])),
        (when("request.headers[x-debug]"), asking("/", "h", &[("x.debug", "x")])),
        (when("request.headers[x-debug]"), asking("/", "h", &[("x-debug", "X")])),
        (when("request.headers[x-debug]"), asking("/", "h", &[("x-debug", "x,y")])),
        (when("request.headers[host]"), asking("/", "x.", &[])),
        (when("request.query[a-b]"), asking("/?a_b=x", "h", &[])),
        (operation("methods", "POST"), asking("/", "h", &[])),
    ] {
        assert_eq!(verdict("DENY", &rule, 0, &request), Verdict::Allow, "{rule}: {request:?}");
    }
}

#[test]
fn exempt_lets_in_and_is_read_to_the_letter() {
    let config = json!({
        "exempt": [{"paths": ["/open/{**}"]}],
        "authorizationPolicies": [{"name": "p", "rules": []}],
    });
    let policy = policy(&config);
    for (path, reason) in [
        ("/open/x", "allowed"),
        ("/open/x[", "no_rule_matched"),
        ("/open/\u{e9}", "no_rule_matched"),
    ] {
        let decision = decide(
            &policy,
            &request(path, &[]),
            UnixSeconds(1_790_000_000),
            &mut WorkerState::portable(),
        );
        let found = decision.denial.as_ref().map_or("allowed", crate::denial::Denial::code);
        assert_eq!(found, reason, "{path}");
    }
}
