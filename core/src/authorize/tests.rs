//! Usher's own part of the rule language, by literals; the test of the vectors covers Istio's part.

use serde_json::{Value, json};

use super::{Verdict, evaluate};
use crate::claims::{Claims, Identity};
use crate::decide::{Decision, WorkerState, decide};
use crate::request::Request;
use crate::time::UnixSeconds;
use crate::{Compiled, load};

fn policy(config: &Value) -> Compiled {
    let loaded = load::from_value(config).map_err(|problems| format!("{config}: {problems:?}"));
    loaded.unwrap().policy
}

fn request(path: &str, headers: &[(&str, &str)]) -> Request {
    let pseudo = [(":path", path), (":method", "GET"), (":authority", "h")];
    let lines = pseudo.iter().chain(headers);
    let headers = lines.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
    Request { headers, ..Request::default() }
}

fn identity(claims: &Value) -> Identity {
    let claims = Claims(claims.as_object().unwrap().clone());
    Identity { provider: "corp".to_owned(), claims, ..Identity::default() }
}

/// Whether one ALLOW rule with this condition, perhaps with paths, matches.
fn holds(condition: &Value, paths: &[&str], request: &Request, claims: &Value) -> bool {
    let mut rule = json!({"when": [condition]});
    if !paths.is_empty() {
        rule["to"] = json!([{"operation": {"paths": paths}}]);
    }
    let config = json!({"authorizationPolicies": [{"name": "p", "rules": [rule]}]});
    let policy = policy(&config);
    evaluate(&policy.authorization, request, Some(&identity(claims))).verdict == Verdict::Allow
}

#[test]
fn all_values_must_each_be_there() {
    let key = "request.auth.claims[groups]";
    for (condition, groups, expected) in [
        (json!({"key": key, "allValues": ["a", "b"]}), json!(["b", "x", "a"]), true),
        (json!({"key": key, "allValues": ["a", "b"]}), json!(["a"]), false),
        (json!({"key": key, "allValues": ["a", "b"]}), json!("a"), false),
        (json!({"key": key, "allValues": ["a"]}), json!("a"), true),
        (json!({"key": key, "allValues": ["a*", "*z"]}), json!(["abc", "xyz"]), true),
        (json!({"key": key, "allValues": ["a"]}), json!(null), false),
        (json!({"key": key, "allValues": ["a"], "values": ["b", "c"]}), json!(["a", "c"]), true),
        (json!({"key": key, "allValues": ["a"], "values": ["b", "c"]}), json!(["a"]), false),
        (json!({"key": key, "allValues": ["a"], "notValues": ["b"]}), json!(["a", "b"]), false),
    ] {
        let claims = json!({"groups": groups});
        assert_eq!(
            holds(&condition, &[], &request("/", &[]), &claims),
            expected,
            "{condition} {claims}"
        );
    }
}

#[test]
fn values_come_from_the_request_or_the_path() {
    let from = |source: &str| json!({"key": "request.auth.claims[tenant]", "valuesFrom": [source]});
    let paths = ["/t/{tenant}/{rest=**}", "/u/{tenant}"];
    for (condition, path, headers, claims, expected) in [
        (from("path.tenant"), "/t/acme/x/y", &[][..], json!({"tenant": "acme"}), true),
        (from("path.tenant"), "/u/acme", &[], json!({"tenant": ["x", "acme"]}), true),
        (from("path.tenant"), "/t/other/x", &[], json!({"tenant": "acme"}), false),
        (from("path.tenant"), "/t/acme/x", &[], json!({}), false),
        (from("path.rest"), "/t/acme/x/y", &[], json!({"tenant": "x/y"}), true),
        (from("path.tenant"), "/t/acme/x?tenant=other", &[], json!({"tenant": "acme"}), true),
        (
            from("request.headers[x-tenant]"),
            "/u/a",
            &[("x-tenant", "acme")],
            json!({"tenant": "acme"}),
            true,
        ),
        (
            from("request.headers[x-tenant]"),
            "/u/a",
            &[("x-tenant", "ACME")],
            json!({"tenant": "acme"}),
            false,
        ),
        (from("request.headers[x-tenant]"), "/u/a", &[], json!({"tenant": "acme"}), false),
        // A value from a request is compared literally: a star in it is a star.
        (
            from("request.headers[x-tenant]"),
            "/u/a",
            &[("x-tenant", "*")],
            json!({"tenant": "acme"}),
            false,
        ),
        (from("request.query[t]"), "/u/a?t=acme", &[], json!({"tenant": "acme"}), true),
    ] {
        let request = request(path, headers);
        assert_eq!(
            holds(&condition, &paths, &request, &claims),
            expected,
            "{condition} {path} {claims}"
        );
    }
}

#[test]
fn ushers_own_attributes() {
    let is = |key: &str, value: &str| json!({"key": key, "values": [value]});
    for (condition, path, claims, expected) in [
        (is("request.auth.scopes", "read"), "/", json!({"scope": "write read"}), true),
        (is("request.auth.scopes", "read"), "/", json!({"scp": ["read"]}), true),
        (is("request.auth.scopes", "read"), "/", json!({"scopes": "x read"}), true),
        (is("request.auth.scopes", "rea"), "/", json!({"scope": "read"}), false),
        (is("request.auth.provider", "corp"), "/", json!({}), true),
        (is("request.auth.provider", "other"), "/", json!({}), false),
        (is("request.auth.actor", "svc"), "/", json!({"act": {"sub": "svc"}}), true),
        // RFC 8693 section 4.1: only the outermost actor counts.
        (
            is("request.auth.actor", "old"),
            "/",
            json!({"act": {"sub": "svc", "act": {"sub": "old"}}}),
            false,
        ),
        (is("request.auth.actor", "*"), "/", json!({}), false),
        (is("request.query[v]", "1"), "/?v=1", json!({}), true),
        (is("request.query[v]", "a b"), "/?x=&v=a%20b", json!({}), true),
        (is("request.query[v]", "2"), "/?v=1&v=2", json!({}), true),
        (is("request.query[v]", "*"), "/", json!({}), false),
        (is("request.query[v]", "*"), "/?v=1", json!({}), true),
        // Presence is enough.
        (is("request.query[v]", "*"), "/?v", json!({}), true),
        (is("request.query[v]", "*"), "/?v=%0a", json!({}), true),
        (is("request.query[v]", "*"), "/?v=%ff", json!({}), true),
    ] {
        let found = holds(&condition, &[], &request(path, &[]), &claims);
        assert_eq!(found, expected, "{condition} {path} {claims}");
    }
}

#[test]
fn scalars_match_only_where_wanted() {
    for (claim, value, expected) in [
        (json!(7), "7", true),
        (json!(7), "*", true),
        (json!(7), "8", false),
        (json!(true), "true", true),
        (json!([1, false]), "false", true),
        (json!(null), "null", false),
        (json!({"a": 1}), "*", false),
        (json!("7"), "7", true),
    ] {
        for (scalars, expected) in [(true, expected), (false, expected && claim.is_string())] {
            let config = json!({
                "matchScalarClaims": scalars,
                "authorizationPolicies": [{"name": "p", "rules": [
                    {"when": [{"key": "request.auth.claims[c]", "values": [value]}]}]}],
            });
            let authorization = evaluate(
                &policy(&config).authorization,
                &request("/", &[]),
                Some(&identity(&json!({"c": claim}))),
            );
            let found = authorization.verdict == Verdict::Allow;
            assert_eq!(found, expected, "matchScalarClaims {scalars}: {claim} {value}");
        }
    }
}

fn decided(config: &Value) -> Decision {
    decide(
        &policy(config),
        &request("/", &[]),
        UnixSeconds(1_790_000_000),
        &mut WorkerState::portable(),
    )
}

#[test]
fn a_policy_may_say_how_it_denies() {
    let allow = |fields: Value| {
        let mut policy =
            json!({"name": "p", "rules": [{"to": [{"operation": {"paths": ["/x"]}}]}]});
        for (name, value) in fields.as_object().unwrap() {
            policy[name] = value.clone();
        }
        json!({"authorizationPolicies": [policy]})
    };
    let deny = |fields: Value| {
        let mut config = allow(fields);
        config["authorizationPolicies"][0]["action"] = "DENY".into();
        config["authorizationPolicies"][0]["rules"] = json!([{}]);
        config
    };
    let standard = "RBAC: access denied";
    for (config, status, body, reason) in [
        (allow(json!({})), 403, standard, "no_rule_matched"),
        (deny(json!({})), 403, standard, "denied_by_rule"),
        (deny(json!({"denyStatus": 404})), 404, standard, "denied_by_rule"),
        (deny(json!({"denyMessage": "closed"})), 403, "closed", "denied_by_rule"),
        (
            deny(json!({"denyStatus": 404, "denyMessage": "not here"})),
            404,
            "not here",
            "denied_by_rule",
        ),
        (allow(json!({"denyStatus": 404})), 404, standard, "no_rule_matched"),
        (allow(json!({"denyWhenUnauthenticated": 401})), 401, "Jwt is missing", "token_missing"),
        // A caller without a token is asked for one, also if the policy has another reply.
        (
            deny(json!({"denyWhenUnauthenticated": 401, "denyStatus": 404, "denyMessage": "x"})),
            401,
            "Jwt is missing",
            "token_missing",
        ),
    ] {
        let decision = decided(&config);
        let reply = decision.reply.as_ref().unwrap();
        let found = (reply.status, reply.body.as_str(), decision.reason());
        assert_eq!(found, (status, body, reason), "{config}");
        assert_eq!(reply.challenge().is_some(), status == 401, "{config}");
    }
}

#[test]
fn a_dry_run_is_told_and_refuses_nothing() {
    let config = json!({"authorizationPolicies": [
        {"name": "a", "dryRun": true, "rules": [{"to": [{"operation": {"paths": ["/x"]}}]}]},
        {"name": "d", "dryRun": true, "action": "DENY", "rules": [{}]},
    ]});
    let decision = decided(&config);
    assert_eq!((decision.status(), decision.reason()), (200, "allowed"));
    let authorization = decision.report.authorization.as_ref().unwrap();
    let runs = [&authorization.dry_run_allow, &authorization.dry_run_deny].map(|run| {
        let run = run.as_ref().unwrap();
        (run.allowed, run.matched.as_deref())
    });
    assert_eq!(runs, [(false, None), (false, Some("ns[default]-policy[d]-rule[0]"))]);
    let mut attributes = Vec::new();
    decision.filter_state(|name, value| attributes.push((name, value.to_owned())));
    for fact in [("usher.dry_run_allow", "deny".into()), ("usher.dry_run_deny", "deny".into())] {
        assert!(attributes.contains(&fact), "{fact:?} in {attributes:?}");
    }
}

#[test]
fn an_audit_match_is_noted_whatever_comes_of_the_request() {
    let audit = json!({"name": "a", "action": "AUDIT", "rules": [{"to": [{"operation": {"paths": ["/"]}}]}]});
    let deny = json!({"name": "d", "action": "DENY", "rules": [{}]});
    for (policies, path, audit) in [
        (json!([audit]), "/", Some(true)),
        (json!([audit]), "/x", Some(false)),
        (json!([audit, deny]), "/", Some(true)),
        (json!([deny]), "/", None),
    ] {
        let policy = policy(&json!({"authorizationPolicies": policies}));
        let authorization = evaluate(&policy.authorization, &request(path, &[]), None);
        assert_eq!(authorization.audit, audit, "{policies} {path}");
    }
}

#[test]
fn the_nearest_rule_explains_a_refusal() {
    let rule = |path: &str, group: &str| {
        json!({
            "from": [{"source": {"requestPrincipals": ["*"]}}],
            "to": [{"operation": {"paths": [path]}}],
            "when": [{"key": "request.auth.claims[groups]", "values": [group]}],
        })
    };
    let mut rules: Vec<Value> =
        (0..3000).map(|i| rule(&format!("/r/{i}"), &format!("g{i}"))).collect();
    rules.push(rule("/admin", "admin"));
    let config =
        json!({"authorizationPolicies": [{"name": "p", "namespace": "shop", "rules": rules}]});
    let policy = policy(&config);
    let caller = identity(&json!({"iss": "i", "sub": "s", "groups": ["dev"]}));
    for (path, caller, rule, condition) in [
        ("/admin", Some(&caller), 3000, "request.auth.claims[groups]"),
        ("/r/2999", Some(&caller), 2999, "request.auth.claims[groups]"),
        ("/admin", None, 3000, "requestPrincipals"),
        ("/nowhere", Some(&caller), 0, "paths"),
    ] {
        let authorization = evaluate(&policy.authorization, &request(path, &[]), caller);
        assert_eq!(authorization.verdict, Verdict::NoRuleMatched);
        let nearest = authorization.nearest.unwrap();
        let expected = (format!("ns[shop]-policy[p]-rule[{rule}]"), condition.to_owned());
        assert_eq!((nearest.rule.to_string(), nearest.condition), expected, "{path} {caller:?}");
    }
}

mod polarity;
mod values_from;
