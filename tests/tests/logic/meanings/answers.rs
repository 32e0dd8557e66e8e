//! What a refused client gets, and when a claim matches a rule.

use serde_json::{Value, json};
use usher_testkit::verdict::RequestBuilder as _;
use usher_testkit::verdict::{Core, NOW, claim, claims, get, rule, with};

use super::KEY;

fn core(fields: Value) -> Core {
    let mut configuration = json!({ "jwtRules": [rule(&KEY)] });
    configuration.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Core::new(&configuration)
}

const REALM: &str = r#"Bearer realm="https://svc.example""#;

fn invalid_token(description: &str) -> String {
    format!(r#"{REALM}, error="invalid_token", error_description="{description}""#)
}

#[test]
fn full_details_name_the_cause_and_terse_ones_do_not() {
    let core = |details: &str| core(json!({ "responses": { "details": details } }));
    let (full, terse) = (core("full"), core("terse"));
    let typed = Core::with_rule(with(&rule(&KEY), "types", json!(["at+jwt"])));
    let expired = get("/").bearer(&KEY.token(&claim("exp", NOW - 3600)));
    let good = get("/").bearer(&KEY.token(&claims()));
    for (what, core, request, body, challenge) in [
        ("full", &full, &expired, "Jwt is expired", invalid_token("Jwt is expired")),
        ("terse", &terse, &expired, "Unauthorized", invalid_token("Unauthorized")),
        ("full, no token", &full, &get("/"), "Jwt is missing", REALM.to_owned()),
        ("terse, no token", &terse, &get("/"), "Unauthorized", REALM.to_owned()),
        // Section 3 of the design gives this reason no text of its own.
        ("full, no text", &typed, &good, "Unauthorized", invalid_token("type_not_allowed")),
    ] {
        let verdict = core.decide(request);
        assert_eq!(verdict.body(), body, "{what}");
        assert_eq!(verdict.challenge(), Some(challenge.as_str()), "{what}");
    }
    let unsafe_path = get("/a%00b");
    assert_eq!(full.decide(&unsafe_path).body(), "Bad Request");
    assert_eq!(terse.decide(&unsafe_path).body(), "Bad Request");
}

#[test]
fn problem_json_is_for_all_but_grpc() {
    let core = |details: &str| {
        core(json!({ "responses": { "format": "problem+json", "details": details } }))
    };
    let told = |core: &Core, content_type: &str| {
        let verdict = core.decide(&get("/").header("content-type", content_type));
        let reply = verdict.decision.reply.clone().unwrap();
        let (name, value) = reply.headers.first().cloned().unwrap();
        assert_eq!(name, "content-type");
        (value, reply.body)
    };
    let (problem, text) = ("application/problem+json".to_owned(), "text/plain".to_owned());
    let (full, terse) = (core("full"), core("terse"));
    let (content_type, body) = told(&full, "application/json");
    assert_eq!(content_type, problem);
    let expected = json!({
        "title": "Unauthorized", "status": 401, "detail": "Jwt is missing", "code": "token_missing",
    });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    let (_, body) = told(&terse, "application/json");
    let expected = json!({ "title": "Unauthorized", "status": 401 });
    assert_eq!(serde_json::from_str::<Value>(&body).unwrap(), expected);
    let grpc = (text, "Jwt is missing".to_owned());
    assert_eq!(told(&full, "application/grpc"), grpc, "the message of a gRPC status");
}

#[test]
fn an_anonymous_refusal_can_be_a_challenge() {
    let denied = json!([{ "to": [{ "operation": { "paths": ["/denied"] } }] }]);
    let policies = |policy: Value| {
        let mut deny = json!({ "name": "deny", "action": "DENY", "rules": denied });
        deny.as_object_mut().unwrap().extend(policy.as_object().unwrap().clone());
        let callers = json!([{ "from": [{ "source": { "requestPrincipals": ["*"] } }] }]);
        json!([deny, { "name": "allow", "rules": callers }])
    };
    let plain = core(json!({ "authorizationPolicies": policies(json!({})) }));
    let challenging = core(json!({
        "authorizationPolicies": policies(json!({})), "responses": { "challengeAnonymous": true },
    }));
    let one = core(json!({
        "authorizationPolicies": policies(json!({ "denyWhenUnauthenticated": 401 })),
    }));
    let token = KEY.token(&claims());
    let (missing, by_rule, none) =
        (("token_missing", 401), ("denied_by_rule", 403), ("no_rule_matched", 403));
    for (what, core, anonymous_denied, anonymous, caller_denied) in [
        ("by default", &plain, by_rule, none, by_rule),
        ("challengeAnonymous", &challenging, missing, missing, by_rule),
        ("denyWhenUnauthenticated of one policy", &one, missing, none, by_rule),
    ] {
        let verdict = core.decide(&get("/denied"));
        assert_eq!(verdict.outcome(), anonymous_denied, "{what}");
        let challenge = (anonymous_denied == missing).then_some(REALM);
        assert_eq!(verdict.challenge(), challenge, "{what}");
        assert_eq!(core.decide(&get("/")).outcome(), anonymous, "{what}");
        let caller = core.decide(&get("/denied").bearer(&token));
        assert_eq!((caller.outcome(), caller.challenge()), (caller_denied, None), "{what}");
    }
}

#[test]
fn numbers_and_booleans_match_in_rules_only_where_that_is_wanted() {
    let rules = |condition: Value| {
        json!([{ "name": "p", "rules": [{ "when": [with(
            &condition, "key", "request.auth.claims[level]",
        )] }] }])
    };
    for (text, condition, by_default, as_text) in [
        ("7", json!({ "values": ["7"] }), "no_rule_matched", "allowed"),
        ("7", json!({ "values": ["*"] }), "no_rule_matched", "allowed"),
        ("7.0", json!({ "values": ["7"] }), "no_rule_matched", "no_rule_matched"),
        ("7.0", json!({ "values": ["7.0"] }), "no_rule_matched", "allowed"),
        ("true", json!({ "values": ["true"] }), "no_rule_matched", "allowed"),
        ("true", json!({ "notValues": ["true"] }), "allowed", "no_rule_matched"),
        ("[7]", json!({ "values": ["7"] }), "no_rule_matched", "allowed"),
        ("null", json!({ "values": ["*"] }), "no_rule_matched", "no_rule_matched"),
        ("\"7\"", json!({ "values": ["7"] }), "allowed", "allowed"),
        ("[\"7\"]", json!({ "values": ["7"] }), "allowed", "allowed"),
    ] {
        let payload = claims().to_string().replacen('{', &format!("{{\"level\":{text},"), 1);
        let token = KEY.sign_text(r#"{"alg":"ES256"}"#, &payload);
        for (matching, expected) in [(false, by_default), (true, as_text)] {
            let core = core(json!({
                "authorizationPolicies": rules(condition.clone()), "matchScalarClaims": matching,
            }));
            assert_eq!(core.code(&token), expected, "{text} {condition} {matching}");
        }
    }
}

#[test]
fn ushers_own_rule_language_is_read_in_a_plugin_config() {
    let rule = json!({
        "to": [{ "operation": { "paths": ["/tenants/{tenant}/{**}"] } }],
        "when": [
            { "key": "request.auth.claims[tenant]", "valuesFrom": ["path.tenant"] },
            { "key": "request.auth.scopes", "allValues": ["read", "write"] },
        ],
    });
    let core = core(json!({ "authorizationPolicies": [{ "name": "p", "rules": [rule] }] }));
    let caller =
        |tenant: &str, scope: &str| KEY.token(&with(&claim("tenant", tenant), "scope", scope));
    for (path, tenant, scope, expected) in [
        ("/tenants/a/x", "a", "read write", "allowed"),
        ("/tenants/a/x", "b", "read write", "no_rule_matched"),
        ("/tenants/a/x", "a", "read", "no_rule_matched"),
    ] {
        let verdict = core.decide(&get(path).bearer(&caller(tenant, scope)));
        assert_eq!(verdict.code(), expected, "{path} {tenant} {scope}");
    }
}
