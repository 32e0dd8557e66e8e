//! What a configuration must not leave open in silence.

use serde_json::{Value, json};
use usher_testkit::verdict::{
    Core, RequestBuilder as _, claims, get, problems, request, rule, with,
};

use super::KEY;

// CVE-2022-21679 (Istio): an older proxy did not know a field and ignored it, and the policy allowed more.
#[test]
fn a_field_that_this_version_does_not_know_is_refused_wherever_it_stands() {
    let whole = json!({
        "jwtRules": [with(&with(&with(&rule(&KEY),
            "fromHeaders", json!([{ "name": "x-jwt" }])),
            "requiredClaims", json!([{ "claim": "a" }])),
            "subjects", json!({ "exact": "a" }))],
        "authorizationPolicies": [{ "name": "p", "rules": [{
            "from": [{ "source": { "requestPrincipals": ["*"] } }],
            "to": [{ "operation": { "paths": ["/"] } }],
            "when": [{ "key": "request.auth.claims[a]", "values": ["a"] }],
        }] }],
        "exempt": [{ "paths": ["/healthz"] }],
        "identityHeaders": {}, "responses": {}, "decisionLog": {}, "limits": {},
        "sourceAddress": { "filterState": "k" },
    });
    assert_eq!(problems(&whole), [""; 0]);
    for place in [
        "",
        "/jwtRules/0",
        "/jwtRules/0/fromHeaders/0",
        "/jwtRules/0/outputClaimToHeaders/0",
        "/jwtRules/0/requiredClaims/0",
        "/jwtRules/0/subjects",
        "/authorizationPolicies/0",
        "/authorizationPolicies/0/rules/0",
        "/authorizationPolicies/0/rules/0/from/0",
        "/authorizationPolicies/0/rules/0/from/0/source",
        "/authorizationPolicies/0/rules/0/to/0",
        "/authorizationPolicies/0/rules/0/to/0/operation",
        "/authorizationPolicies/0/rules/0/when/0",
        "/exempt/0",
        "/identityHeaders",
        "/responses",
        "/decisionLog",
        "/limits",
        "/sourceAddress",
    ] {
        let mut newer = whole.clone();
        newer.pointer_mut(place).unwrap()["zzzzNewField"] = json!(true);
        let told = problems(&newer);
        assert_eq!(told.len(), 1, "{place}: {told:?}");
        assert!(
            told[0].ends_with("zzzzNewField: unknown field `zzzzNewField`"),
            "{place}: {told:?}"
        );
    }
}

/// Everything is denied but what is exempt.
fn exempting(entry: Value) -> Core {
    Core::new(&json!({ "jwtRules": [rule(&KEY)], "exempt": [entry] }))
}

// GHSA-7rh7: a pattern for exempt paths met the query.
#[test]
fn an_exemption_is_about_the_path_and_not_the_query() {
    let core = exempting(json!({ "paths": ["*/healthz", "/public*"] }));
    for (path, expected) in [
        ("/healthz", "allowed"),
        ("/a/healthz?x", "allowed"),
        ("/admin?/healthz", "token_missing"),
        ("/admin?x=/healthz", "token_missing"),
        ("/admin?a=1&b=/healthz", "token_missing"),
        ("/admin?x#/healthz", "token_missing"),
        ("/?/public", "token_missing"),
    ] {
        assert_eq!(core.decide(&get(path)).code(), expected, "{path}");
    }
}

// GHSA-5hvv, GHSA-pxq7: a health check's User-Agent, or a fragment, bypassed authorization.
#[test]
fn no_header_and_no_fragment_makes_a_request_exempt() {
    let by_agent =
        json!({ "jwtRules": [rule(&KEY)], "exempt": [{ "userAgents": ["kube-probe/*"] }] });
    assert_eq!(
        problems(&by_agent),
        [
            "exempt[0]: expected `paths` or `methods`: an entry without would exempt all",
            "exempt[0].userAgents: unknown field `userAgents`",
        ]
    );
    let core = exempting(json!({ "paths": ["*/healthz"] }));
    for path in ["/admin#/healthz", "/admin#/../healthz", "/admin;/healthz#"] {
        let expected = if path.ends_with('#') { "allowed" } else { "token_missing" };
        let verdict = core.decide(&get(path).header("user-agent", "kube-probe/1.29"));
        assert_eq!(verdict.code(), expected, "{path}");
    }
}

// GHSA-p224, GHSA-vhr5: the exemption matched the path before it was resolved.
#[test]
fn a_path_is_exempt_as_the_service_reads_it() {
    let core = exempting(json!({ "paths": ["/public/*"] }));
    for (path, expected) in [
        ("/public/a", "allowed"),
        ("/public/../admin", "token_missing"),
        ("/public/%2e%2e/admin", "token_missing"),
        ("/public/.%2E/admin", "token_missing"),
        ("/public/..\\admin", "token_missing"),
        ("/public/..;x/admin", "token_missing"),
        ("/public/%2e%2e;x/admin", "path_unsafe"),
        ("/admin/../public/a", "allowed"),
    ] {
        let verdict = core.decide(&get(path));
        assert_eq!(verdict.code(), expected, "{path}");
        if expected == "allowed" {
            assert_eq!(verdict.lines(":path"), ["/public/a"], "{path}: forwarded as it was judged");
        }
    }
}

// CVE-2020-8595 (Istio), CVE-2021-39156: a query or a fragment made another path of a guarded one.
#[test]
fn no_query_and_no_fragment_makes_another_path() {
    let core = Core::new(&json!({
        "jwtRules": [rule(&KEY)],
        "authorizationPolicies": [{ "name": "p", "action": "DENY", "rules": [
            { "to": [{ "operation": { "paths": ["/admin"] } }] },
        ] }],
        "missingToken": "allow",
    }));
    for path in
        ["/admin", "/admin?", "/admin?x", "/admin?x=/a", "/admin#", "/admin#x", "/admin?x#y"]
    {
        assert_eq!(core.decide(&get(path)).code(), "denied_by_rule", "{path}");
    }
    let fragment = core.decide(&get("/open#/admin"));
    assert_eq!((fragment.code(), fragment.lines(":path")), ("allowed", vec!["/open".to_owned()]));
}

// CVE-2023-27487 (Envoy), CVE-2026-40575 (oauth2-proxy), CVE-2024-45806: a header of the client's said
// what the request's path, method or host was.
#[test]
fn no_header_says_what_path_method_or_host_a_request_has() {
    let core = Core::new(&json!({
        "jwtRules": [rule(&KEY)],
        "missingToken": "reject",
        "exempt": [{ "paths": ["/healthz"] }, { "methods": ["HEAD"] }],
        "authorizationPolicies": [{ "name": "p", "action": "DENY", "rules": [
            { "to": [{ "operation": { "paths": ["/admin"] } }] },
            { "to": [{ "operation": { "methods": ["DELETE"] } }] },
            { "to": [{ "operation": { "hosts": ["internal.example"] } }] },
        ] }],
    }));
    let good = KEY.token(&claims());
    let headers = [
        ("x-envoy-original-path", vec!["/healthz", "/admin"]),
        ("x-envoy-original-host", vec!["internal.example"]),
        ("x-original-url", vec!["/healthz", "/admin"]),
        ("x-original-uri", vec!["/healthz"]),
        ("x-rewrite-url", vec!["/healthz", "/admin"]),
        ("x-forwarded-uri", vec!["/healthz"]),
        ("x-forwarded-path", vec!["/healthz"]),
        ("x-forwarded-prefix", vec!["/healthz"]),
        ("x-forwarded-method", vec!["HEAD", "DELETE"]),
        ("x-http-method-override", vec!["HEAD", "DELETE", "OPTIONS"]),
        ("x-http-method", vec!["HEAD", "DELETE"]),
        ("x-method-override", vec!["HEAD", "DELETE"]),
        ("x-forwarded-host", vec!["internal.example", "svc.example"]),
        ("x-forwarded-for", vec!["127.0.0.1"]),
        ("x-forwarded-proto", vec!["https"]),
        ("forwarded", vec!["host=internal.example"]),
        ("x-host", vec!["internal.example"]),
        ("host", vec!["svc.example"]),
        ("path", vec!["/healthz"]),
        ("method", vec!["HEAD"]),
    ];
    let mut internal = get("/").bearer(&good);
    for (name, value) in &mut internal.headers {
        if name == b":authority" {
            *value = b"internal.example".to_vec();
        }
    }
    for (what, request, expected) in [
        ("no token", get("/"), "token_missing"),
        ("a caller", get("/").bearer(&good), "allowed"),
        ("a denied path", get("/admin").bearer(&good), "denied_by_rule"),
        ("a denied method", request("DELETE", "/").bearer(&good), "denied_by_rule"),
        ("a denied host", internal, "denied_by_rule"),
        ("exempt", get("/healthz"), "allowed"),
    ] {
        assert_eq!(core.decide(&request).code(), expected, "{what}");
        // It refuses all the same: the service may read either.
        let two_hosts = request.clone().header("host", "internal.example");
        let denied =
            if expected == "allowed" && what != "exempt" { "denied_by_rule" } else { expected };
        assert_eq!(core.decide(&two_hosts).code(), denied, "{what}, two hosts");
        for (name, values) in &headers {
            for value in values {
                let claimed = request.clone().header(name, value);
                assert_eq!(core.decide(&claimed).code(), expected, "{what}, {name}: {value}");
            }
        }
    }
}
