//! `valuesFrom` and `valuesFromAll`: two values that a client writes are ambiguous, two that a
//! token has are not.

use serde_json::{Value, json};

use super::{identity, policy, request};
use crate::authorize::evaluate;

const TENANT: &str = "request.auth.claims[tenant]";
const HEADER: &str = "request.headers[x-tenant]";

/// Whether a rule with this condition matches, in ALLOW and in DENY.
fn matches(rule: &Value, path: &str, headers: &[(&str, &str)], claims: &Value) -> [bool; 2] {
    ["ALLOW", "DENY"].map(|action| {
        let config =
            json!({"authorizationPolicies": [{"name": "p", "action": action, "rules": [rule]}]});
        let request = request(path, headers);
        evaluate(&policy(&config).authorization, &request, Some(&identity(claims))).rule == Some(0)
    })
}

#[test]
fn what_a_client_writes_twice_lets_nobody_in_and_refuses() {
    let (yes, no, many) = ([true, true], [false, false], [false, true]);
    let from = |key: &str, sources: &[&str]| json!({"when": [{"key": key, "valuesFrom": sources}]});
    let mine = json!({"tenant": "mine", "tenants": ["mine", "other"]});
    for (what, rule, path, headers, expected) in [
        ("one", from(TENANT, &[HEADER]), "/", &[("x-tenant", "mine")][..], yes),
        ("another", from(TENANT, &[HEADER]), "/", &[("x-tenant", "victim")], no),
        ("none", from(TENANT, &[HEADER]), "/", &[], no),
        (
            "two lines",
            from(TENANT, &[HEADER]),
            "/",
            &[("x-tenant", "victim"), ("x-tenant", "mine")],
            many,
        ),
        (
            "two lines, neither the claim's",
            from(TENANT, &[HEADER]),
            "/",
            &[("x-tenant", "a"), ("x-tenant", "b")],
            many,
        ),
        (
            "one line twice",
            from(TENANT, &[HEADER]),
            "/",
            &[("x-tenant", "mine"), ("x-tenant", "mine")],
            yes,
        ),
        (
            "two lines as the key",
            from(HEADER, &[TENANT]),
            "/",
            &[("x-tenant", "victim"), ("x-tenant", "mine")],
            many,
        ),
        ("two parameters", from(TENANT, &["request.query[t]"]), "/?t=mine&t=x", &[], many),
        ("one parameter twice", from(TENANT, &["request.query[t]"]), "/?t=mine&t=mine", &[], yes),
        (
            "two parameters as the key",
            from("request.query[t]", &[TENANT]),
            "/?t=mine&t=x",
            &[],
            many,
        ),
        (
            "two sources of one text",
            from(TENANT, &[HEADER, "request.query[t]"]),
            "/?t=mine",
            &[("x-tenant", "mine")],
            yes,
        ),
        (
            "two sources of two texts",
            from(TENANT, &[HEADER, "request.query[t]"]),
            "/?t=mine",
            &[("x-tenant", "victim")],
            many,
        ),
        (
            "of two sources the one that is there",
            from(TENANT, &[HEADER, "request.query[t]"]),
            "/?t=mine",
            &[],
            yes,
        ),
        (
            "a claim's elements match any",
            from("request.auth.claims[tenants]", &[HEADER]),
            "/",
            &[("x-tenant", "other")],
            yes,
        ),
        (
            "as sources too",
            from(HEADER, &["request.auth.claims[tenants]"]),
            "/",
            &[("x-tenant", "mine")],
            yes,
        ),
        ("claims against claims", from(TENANT, &["request.auth.claims[tenants]"]), "/", &[], yes),
        // A name that CGI reads as the same counts where a match refuses.
        (
            "another spelling of the name",
            from(TENANT, &[HEADER]),
            "/",
            &[("x_tenant", "mine")],
            many,
        ),
        (
            "two spellings of the name",
            from(TENANT, &[HEADER]),
            "/",
            &[("x-tenant", "other"), ("x_tenant", "mine")],
            many,
        ),
    ] {
        assert_eq!(matches(&rule, path, headers, &mine), expected, "{what}: {rule} {path}");
    }
}

#[test]
fn captures_are_those_of_the_operation_that_matched() {
    let (yes, no, many) = ([true, true], [false, false], [false, true]);
    let claims = json!({"tenant": "mine", "groups": ["a", "b"]});
    let rule = |key: &str, operations: &[Value]| {
        let to: Vec<Value> = operations.iter().map(|o| json!({"operation": o})).collect();
        json!({"to": to, "when": [{"key": key, "valuesFrom": ["path.t"]}]})
    };
    let get = |paths: &[&str]| json!({"paths": paths, "methods": ["GET"]});
    let post = |paths: &[&str]| json!({"paths": paths, "methods": ["POST"]});
    for (what, rule, path, expected) in [
        ("its own", rule(TENANT, &[get(&["/{t}/x"])]), "/mine/x", yes),
        (
            "of another operation",
            rule(TENANT, &[get(&["/{t}/{*}"]), post(&["/{*}/{t}"])]),
            "/victim/mine",
            no,
        ),
        (
            "of the one that matched",
            rule(TENANT, &[post(&["/{t}/{*}"]), get(&["/{*}/{t}"])]),
            "/victim/mine",
            yes,
        ),
        (
            "two operations",
            rule(TENANT, &[get(&["/{t}/{*}"]), get(&["/{*}/{t}"])]),
            "/x/mine",
            many,
        ),
        ("two paths", rule(TENANT, &[get(&["/{t}/{*}", "/{*}/{t}"])]), "/mine/x", many),
        ("of one text", rule(TENANT, &[get(&["/{t}/{*}", "/{*}/{t}"])]), "/mine/mine", yes),
        ("one without the name", rule(TENANT, &[get(&["/{t}/x"]), get(&["/*"])]), "/mine/y", no),
        (
            "elements of a claim",
            rule("request.auth.claims[groups]", &[get(&["/{t}/x"])]),
            "/b/x",
            yes,
        ),
    ] {
        assert_eq!(matches(&rule, path, &[], &claims), expected, "{what}: {rule} {path}");
    }
}

#[test]
fn all_asks_that_each_value_of_the_key_is_among_the_sources() {
    let (yes, no, many) = ([true, true], [false, false], [false, true]);
    let all = |key: &str, sources: &[&str]| json!({"when": [{"key": key, "valuesFrom": sources, "valuesFromAll": true}]});
    let within = || all("request.query[t]", &["request.auth.claims[tenants]"]);
    let claims = json!({"tenants": ["a", "b"], "one": "a"});
    for (what, rule, path, headers, expected) in [
        ("one", within(), "/?t=a", &[][..], yes),
        ("each", within(), "/?t=a&t=b", &[], yes),
        ("one too many", within(), "/?t=a&t=c", &[], no),
        ("none", within(), "/", &[], no),
        (
            "of a claim",
            all("request.auth.claims[tenants]", &["request.auth.claims[one]"]),
            "/",
            &[],
            no,
        ),
        (
            "of a claim, each",
            all("request.auth.claims[one]", &["request.auth.claims[tenants]"]),
            "/",
            &[],
            yes,
        ),
        ("no source", all("request.query[t]", &["request.auth.claims[none]"]), "/?t=a", &[], no),
        (
            "many sources",
            all("request.query[t]", &[HEADER]),
            "/?t=a&t=b",
            &[("x-tenant", "a"), ("x-tenant", "b")],
            many,
        ),
        (
            "a claim beside what the client wrote",
            all("request.query[t]", &[HEADER, "request.auth.claims[one]"]),
            "/?t=a&t=c",
            &[("x-tenant", "c")],
            yes,
        ),
    ] {
        assert_eq!(matches(&rule, path, headers, &claims), expected, "{what}: {rule} {path}");
    }
}

#[test]
fn not_values_come_on_top() {
    let rule = json!({"when": [{"key": TENANT, "valuesFrom": [HEADER], "notValues": ["mine"]}]});
    let claims = json!({"tenant": "mine"});
    let found = matches(&rule, "/", &[("x-tenant", "mine"), ("x-tenant", "b")], &claims);
    assert_eq!(found, [false, false]);
}
