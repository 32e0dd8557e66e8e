//! How a request passes: `missingToken`, `exempt`, preflights, `onSpoof`, `mode`.

use serde_json::{Value, json};
use usher_core::Request;
use usher_testkit::verdict::RequestBuilder as _;
use usher_testkit::verdict::{Core, NOW, claim, claims, get, preflight, request, rule, with};

use super::KEY;

fn good() -> String {
    KEY.token(&claims())
}

fn expired() -> String {
    KEY.token(&claim("exp", NOW - 3600))
}

/// One rule, and these fields beside it.
fn core(fields: Value) -> Core {
    let mut configuration = json!({ "jwtRules": [rule(&KEY)] });
    configuration.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    Core::new(&configuration)
}

fn policy(action: &str, rules: Value) -> Value {
    json!([{ "name": "p", "action": action, "rules": rules }])
}

/// `a-policy-does-not-open` (docs/differences.md): no policy takes the demand for a token away but one that
/// speaks about callers without one.
#[test]
fn a_token_is_needed_unless_a_policy_speaks_about_callers_without_one() {
    let nobody = json!({ "source": { "notRequestPrincipals": ["*"] } });
    let admin = json!([{ "operation": { "paths": ["/admin*"] } }]);
    let no_principal = |key: &str, not: &str| json!([{ "key": key, "notValues": [not] }]);
    let deny = |rule: Value| json!([{ "name": "p", "action": "DENY", "rules": [rule] }]);
    let demanded = ("token_missing", 401);
    for (what, policies, anonymous) in [
        ("AUDIT", policy("AUDIT", json!([{}])), demanded),
        ("AUDIT of callers without", policy("AUDIT", json!([{ "from": [nobody] }])), demanded),
        ("an ALLOW on trial", json!([{ "name": "p", "dryRun": true, "rules": [{}] }]), demanded),
        (
            "the idiom on trial",
            json!([{ "name": "p", "action": "DENY", "dryRun": true, "rules": [{ "from": [nobody] }] }]),
            demanded,
        ),
        ("DENY on a path", deny(json!({ "to": admin })), demanded),
        ("an enforced ALLOW", policy("ALLOW", json!([{}])), ("allowed", 200)),
        ("an ALLOW without rules", json!([{ "name": "p" }]), ("no_rule_matched", 403)),
        ("the idiom", deny(json!({ "from": [nobody] })), ("denied_by_rule", 403)),
        ("the idiom elsewhere", deny(json!({ "from": [nobody], "to": admin })), ("allowed", 200)),
        (
            "the idiom as a condition",
            deny(json!({ "when": no_principal("request.auth.principal", "*") })),
            ("denied_by_rule", 403),
        ),
        (
            "the idiom, and a peer beside",
            deny(json!({ "from": [nobody, { "source": { "namespaces": ["x"] } }] })),
            demanded,
        ),
        (
            "the idiom, and a claim to compare with",
            deny(json!({ "from": [nobody], "when": [
                { "key": "request.headers[x-tenant]", "valuesFrom": ["request.auth.claims[tenant]"] }] })),
            demanded,
        ),
        (
            "the idiom in both sources",
            deny(json!({ "from": [nobody, { "source": {
                "notRequestPrincipals": ["*"], "namespaces": ["x"] } }] })),
            ("denied_by_rule", 403),
        ),
        (
            "some principals only",
            deny(json!({ "from": [{ "source": { "notRequestPrincipals": ["i/*"] } }] })),
            demanded,
        ),
        (
            "a pair that is not everyone",
            deny(json!({ "when": no_principal("request.auth.principal", "*/*") })),
            demanded,
        ),
        (
            "another claim",
            deny(json!({ "when": no_principal("request.auth.claims[iss]", "*") })),
            demanded,
        ),
        (
            "a rule that matches nobody",
            deny(json!({ "from": [{ "source": {
                "requestPrincipals": ["*"], "notRequestPrincipals": ["*"] } }] })),
            demanded,
        ),
        (
            "another that matches nobody",
            deny(json!({ "from": [nobody], "when": [
                { "key": "request.auth.claims[sub]", "values": ["*"] }] })),
            demanded,
        ),
    ] {
        let core = core(json!({ "authorizationPolicies": policies }));
        assert_eq!(core.decide(&get("/")).outcome(), anonymous, "{what}");
    }
    // Without rules for tokens none could be shown: the policies alone decide.
    for (policies, anonymous) in [
        (policy("AUDIT", json!([{}])), ("allowed", 200)),
        (deny(json!({ "to": admin })), ("allowed", 200)),
    ] {
        let core = Core::new(&json!({ "authorizationPolicies": policies }));
        assert_eq!(core.decide(&get("/")).outcome(), anonymous, "{policies}");
    }
}

#[test]
fn without_policies_a_token_is_needed_and_with_allow_policies_they_decide() {
    let anyone = policy("ALLOW", json!([{}]));
    let callers =
        policy("ALLOW", json!([{ "from": [{ "source": { "requestPrincipals": ["*"] } }] }]));
    for (what, fields, anonymous) in [
        ("no policies", json!({}), ("token_missing", 401)),
        ("an empty list of them", json!({ "authorizationPolicies": [] }), ("token_missing", 401)),
        ("allow", json!({ "missingToken": "allow" }), ("allowed", 200)),
        ("policies", json!({ "authorizationPolicies": anyone }), ("allowed", 200)),
        (
            "policies for callers",
            json!({ "authorizationPolicies": callers }),
            ("no_rule_matched", 403),
        ),
        (
            "policies and reject",
            json!({ "authorizationPolicies": anyone, "missingToken": "reject" }),
            ("token_missing", 401),
        ),
    ] {
        let core = core(fields);
        assert_eq!(core.decide(&get("/")).outcome(), anonymous, "{what}");
        assert_eq!(core.bearer(&good()).outcome(), ("allowed", 200), "{what}");
        // A bad token is never taken for no token.
        assert_eq!(core.bearer(&expired()).outcome(), ("token_expired", 401), "{what}");
    }
}

#[test]
fn an_exempt_request_needs_no_token_and_meets_no_policy() {
    let core = core(json!({
        "exempt": [
            { "paths": ["/healthz", "/public/*"], "methods": ["GET"] },
            { "paths": ["/maybe"], "token": "optional" },
        ],
        "authorizationPolicies": policy("DENY", json!([{}])),
        "missingToken": "allow",
    }));
    for (method, path, expected) in [
        ("GET", "/healthz", ("allowed", 200)),
        ("GET", "/healthz?probe=1", ("allowed", 200)),
        ("GET", "/public/a/b", ("allowed", 200)),
        ("POST", "/healthz", ("denied_by_rule", 403)),
        ("GET", "/healthz/", ("denied_by_rule", 403)),
        ("GET", "/public", ("denied_by_rule", 403)),
        ("GET", "/x?/healthz", ("denied_by_rule", 403)),
        ("GET", "/public/../x", ("denied_by_rule", 403)),
        ("GET", "/x/../healthz", ("allowed", 200)),
        ("POST", "/maybe", ("allowed", 200)),
    ] {
        assert_eq!(core.decide(&request(method, path)).outcome(), expected, "{method} {path}");
    }
}

#[test]
fn ignore_does_not_look_at_a_token_and_optional_verifies_it() {
    let exempt = json!([{ "paths": ["/ignore"] }, { "paths": ["/optional"], "token": "optional" }]);
    let withheld = core(json!({ "exempt": exempt }));
    let forwarding = Core::new(&json!({
        "jwtRules": [with(&rule(&KEY), "forwardOriginalToken", true)], "exempt": exempt,
    }));
    let (good, expired) = (good(), expired());
    for (path, token, expected, user) in [
        ("/ignore", good.as_str(), ("allowed", 200), [""; 0].as_slice()),
        ("/ignore", &expired, ("allowed", 200), &[]),
        ("/ignore", "opaque", ("allowed", 200), &[]),
        ("/optional", &good, ("allowed", 200), &["mmosley"]),
        ("/optional", &expired, ("token_expired", 401), &[]),
        ("/optional", "opaque", ("token_malformed", 401), &[]),
    ] {
        for (core, authorization) in
            [(&withheld, vec![]), (&forwarding, vec![format!("Bearer {token}")])]
        {
            let request = get(path).header("x-user", "forged").bearer(token);
            let verdict = core.decide(&request);
            assert_eq!(verdict.outcome(), expected, "{path} {token}");
            if expected.1 == 200 {
                assert_eq!(verdict.lines("x-user"), user, "{path} {token}");
                assert_eq!(verdict.lines("authorization"), authorization, "{path} {token}");
            }
        }
    }
}

#[test]
fn a_preflight_passes_without_a_token_and_unverified_with_one() {
    let withheld = core(json!({}));
    let forwarding = Core::with_rule(with(&rule(&KEY), "forwardOriginalToken", true));
    assert_eq!(withheld.decide(&preflight("/")).outcome(), ("allowed", 200));
    for token in [good(), expired(), "opaque".to_owned()] {
        let request = preflight("/").header("x_user", "forged").bearer(&token);
        for (core, authorization) in
            [(&withheld, vec![]), (&forwarding, vec![format!("Bearer {token}")])]
        {
            let verdict = core.decide(&request);
            assert_eq!(verdict.outcome(), ("allowed", 200), "{token}");
            assert_eq!(verdict.lines("authorization"), authorization, "{token}");
            assert_eq!(verdict.lines("x-user"), [""; 0], "no identity: {token}");
            assert_eq!(verdict.lines("x_user"), [""; 0], "scrubbed: {token}");
            assert_eq!(verdict.lines("origin"), ["https://app.example"], "{token}");
        }
    }
}

#[test]
fn only_a_real_preflight_is_one() {
    let core = core(json!({}));
    let requests = [
        ("no origin", request("OPTIONS", "/").header("access-control-request-method", "GET")),
        ("no method asked for", request("OPTIONS", "/").header("origin", "https://app.example")),
        (
            "an empty origin",
            request("OPTIONS", "/")
                .header("origin", "")
                .header("access-control-request-method", "GET"),
        ),
        (
            "another method",
            get("/").header("origin", "https://a").header("access-control-request-method", "GET"),
        ),
        (
            "the method in lower case",
            request("options", "/")
                .header("origin", "https://a")
                .header("access-control-request-method", "GET"),
        ),
    ];
    for (what, request) in requests {
        assert_eq!(core.decide(&request).outcome(), ("token_missing", 401), "{what}");
    }
}

#[test]
fn a_preflight_has_no_body_and_is_told_as_what_it_is() {
    let with_body = |request: Request| Request { end_of_stream: false, ..request };
    let required = core(json!({ "corsPreflight": "requireToken" }));
    let authorized = core(json!({ "corsPreflight": "authorize" }));
    let default = core(json!({}));
    let passes = [("allowed", 200), ("allowed", 200)];
    for (what, core, requests, expected, preflight_is) in [
        ("default", &default, preflight("/"), passes, true),
        ("authorize", &authorized, preflight("/"), passes, true),
        (
            "with a body",
            &default,
            with_body(preflight("/x?action=delete")),
            [("token_missing", 401), ("allowed", 200)],
            false,
        ),
        (
            "requireToken",
            &required,
            preflight("/"),
            [("token_missing", 401), ("allowed", 200)],
            false,
        ),
    ] {
        for (request, expected) in [requests.clone(), requests.bearer(&good())].iter().zip(expected)
        {
            let verdict = core.decide(request);
            assert_eq!(verdict.outcome(), expected, "{what}");
            let line: Value = serde_json::from_str(&core.log_line(request, &verdict)).unwrap();
            let told = if preflight_is { json!(true) } else { Value::Null };
            assert_eq!(line.get("preflight").unwrap_or(&Value::Null), &told, "{what}: {line}");
            let mut fact = None;
            verdict.decision.filter_state(|name, value| {
                if name == "usher.preflight" {
                    fact = Some(value.to_owned());
                }
            });
            assert_eq!(fact.is_some(), preflight_is, "{what}");
            let mut counted = 0;
            usher_core::observe::metrics::of_decision(&verdict.decision, |series| {
                counted += usize::from(series.family.name == "usher_cors_preflights_total");
            });
            assert_eq!(counted, usize::from(preflight_is), "{what}");
        }
    }
}

#[test]
fn policies_apply_to_a_preflight_without_identity() {
    let source = json!([{ "source": { "requestPrincipals": ["*"] } }]);
    let operation = json!([{ "operation": { "methods": ["OPTIONS"] } }]);
    for (action, rules, expected) in [
        ("ALLOW", json!([{ "from": source }]), ("no_rule_matched", 403)),
        ("ALLOW", json!([{ "to": operation }]), ("allowed", 200)),
        ("DENY", json!([{ "to": operation }]), ("denied_by_rule", 403)),
        ("DENY", json!([{ "from": source }]), ("allowed", 200)),
    ] {
        let core = core(json!({ "authorizationPolicies": policy(action, rules.clone()) }));
        let verdict = core.decide(&preflight("/").bearer(&good()));
        assert_eq!(verdict.outcome(), expected, "{action} {rules}");
    }
}

#[test]
fn a_spoofed_identity_is_refused_on_every_way_where_that_is_wanted() {
    let fields = |on_spoof: &str| {
        json!({
            "identityHeaders": { "strip": ["X-Remote-User"], "onSpoof": on_spoof },
            "exempt": [{ "paths": ["/healthz"] }, { "paths": ["/maybe"], "token": "optional" }],
        })
    };
    let (strip, reject) = (core(fields("strip")), core(fields("reject")));
    for (what, request) in [
        ("guarded", get("/").bearer(&good())),
        ("exempt", get("/healthz")),
        ("optional", get("/maybe").bearer(&good())),
        ("a preflight", preflight("/")),
    ] {
        assert_eq!(reject.decide(&request).outcome(), ("allowed", 200), "{what}, nothing forged");
        for name in ["x-user", "x_user", "x-remote-user", "x.remote_user"] {
            let forged = request.clone().header(name, "forged");
            assert_eq!(
                reject.decide(&forged).outcome(),
                ("identity_spoofed", 403),
                "{what} {name}"
            );
            let stripped = strip.decide(&forged);
            assert_eq!(stripped.outcome(), ("allowed", 200), "{what} {name}");
            assert!(!stripped.lines(name).contains(&"forged".to_owned()), "{what} {name}");
        }
    }
}

#[test]
fn a_dry_run_denies_nothing_and_says_what_would_have_been() {
    let mut fields = json!({
        "identityHeaders": { "onSpoof": "reject" },
        "authorizationPolicies": policy(
            "DENY", json!([{ "to": [{ "operation": { "paths": ["/denied"] } }] }]),
        ),
        "missingToken": "reject",
    });
    let enforcing = core(fields.clone());
    fields["mode"] = json!("dryRun");
    let dry = core(fields);
    let user = ["mmosley"].as_slice();
    for (what, request, code, seen) in [
        ("nothing to object to", get("/").bearer(&good()), "allowed", user),
        ("a policy denies", get("/denied").bearer(&good()), "denied_by_rule", user),
        ("a bad token", get("/").bearer(&expired()), "token_expired", &[]),
        ("no JWT at all", get("/").bearer("opaque"), "token_malformed", &[]),
        ("two tokens", get("/").bearer(&good()).bearer(&expired()), "token_ambiguous", &[]),
        ("no token", get("/"), "token_missing", &[]),
        (
            "a spoofed identity",
            get("/").header("x_user", "forged").bearer(&good()),
            "identity_spoofed",
            user,
        ),
        ("spoofed, and no token", get("/").header("x_user", "forged"), "identity_spoofed", &[]),
        (
            "spoofed, and a bad token",
            get("/").header("x_user", "f").bearer(&expired()),
            "identity_spoofed",
            &[],
        ),
        ("a path of two readings", get("/a/%2e%2e;x/b").bearer(&good()), "path_unsafe", user),
    ] {
        let (wet, verdict) = (enforcing.decide(&request), dry.decide(&request));
        assert_eq!(wet.code(), code, "{what}");
        assert_eq!(verdict.outcome(), (code, 200), "{what}");
        assert_eq!(verdict.lines("x-user"), seen, "{what}");
        assert_eq!(verdict.lines("x_user"), [""; 0], "{what}: scrubbed");
        // No token is withheld, good or bad: what stands behind decides as without Usher.
        let sent: Vec<String> = request
            .lines("authorization")
            .map(|line| String::from_utf8_lossy(line).into())
            .collect();
        assert_eq!(verdict.lines("authorization"), sent, "{what}: stays");
        let would: &[&str] = if sent.is_empty() { &[] } else { &["header authorization"] };
        let told: Vec<String> =
            verdict.decision.report.would_withhold.iter().map(ToString::to_string).collect();
        assert_eq!(told, would, "{what}");
        let line: Value = serde_json::from_str(&dry.log_line(&request, &verdict)).unwrap();
        assert_eq!(line.get("would_withhold").is_some(), !would.is_empty(), "{what}: {line}");
        let mut fact = String::new();
        verdict.decision.filter_state(|name, value| {
            if name == "usher.would_withhold" {
                value.clone_into(&mut fact);
            }
        });
        assert_eq!(fact, would.join(", "), "{what}");
        assert!(wet.decision.report.would_withhold.is_empty(), "{what}");
        // Filter state says what enforcement would do, in either mode.
        let facts = |verdict: &usher_testkit::verdict::Verdict| {
            let mut facts = Vec::new();
            verdict.decision.filter_state(|name, value| {
                if ["usher.decision", "usher.reason"].contains(&name) {
                    facts.push(value.to_owned());
                }
            });
            facts
        };
        let decision = if code == "allowed" { "allow" } else { "deny" };
        assert_eq!(facts(&verdict), [decision, code], "{what}");
        assert_eq!(facts(&verdict), facts(&wet), "{what}");
        if code != "allowed" {
            let line: Value = serde_json::from_str(&dry.log_line(&request, &verdict)).unwrap();
            assert_eq!(
                (&line["reason"], &line["enforced"]),
                (&json!(code), &json!(false)),
                "{what}"
            );
        }
    }
}

/// Rules are judged on what the service would see under enforcement, in every mode: a token that is
/// withheld is absent to rules on a header, the query and cookies alike.
#[test]
fn rules_do_not_see_a_withheld_token_in_any_mode() {
    let token = good();
    let bad = expired();
    for (forward, sees) in [(false, false), (true, true)] {
        for mode in ["enforce", "dryRun"] {
            for (place, key) in [
                ("header", "request.headers[x-jwt]"),
                ("query", "request.query[t]"),
                ("query", "request.headers[:path]"),
                ("cookie", "request.headers[cookie]"),
            ] {
                let mut rule = with(&rule(&KEY), "forwardOriginalToken", forward);
                rule["fromHeaders"] = json!([{ "name": "x-jwt" }]);
                rule["fromParams"] = json!(["t"]);
                rule["fromCookies"] = json!(["auth"]);
                let values = match key {
                    "request.headers[:path]" => "/p?t=*",
                    _ => "*",
                };
                let when = json!([{ "key": key, "values": [values] }]);
                let core = Core::new(&json!({
                    "jwtRules": [rule], "mode": mode,
                    "authorizationPolicies": policy("DENY", json!([{ "when": when }])),
                }));
                let request = |token: &str| match place {
                    "header" => get("/p").header("x-jwt", token),
                    "query" => get(&format!("/p?t={token}")),
                    _ => get("/p").header("cookie", format!("auth={token}")),
                };
                let expected = if sees { "denied_by_rule" } else { "allowed" };
                let verdict = core.decide(&request(&token));
                assert_eq!(verdict.code(), expected, "{key} {mode} {forward}");
                if mode == "dryRun" {
                    for token in [&token, &bad] {
                        let edited = core.decide(&request(token)).edited().clone();
                        let stays = edited.headers.iter().any(|(_, value)| {
                            String::from_utf8_lossy(value).contains(token.as_str())
                        });
                        assert!(stays, "{key} {forward}: a dry run withholds nothing");
                    }
                }
            }
        }
    }
}
