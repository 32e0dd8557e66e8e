//! What a refusal leaves in the request, which is what an access log shows: nothing of a token that no
//! rule forwards, for any reason.

use serde_json::{Value, json};
use usher_core::{Decision, Request};
use usher_testkit::mint::Key;
use usher_testkit::verdict::RequestBuilder as _;
use usher_testkit::verdict::{
    Core, ISSUER, NOW, claim, claims, get, preflight, request, rule, with,
};

use super::KEY;

/// Where a token may stand: in each a token is the only thing.
const PLACES: [&str; 4] = ["header", "query", "cookie", "socket"];

/// A rule that reads all of them.
fn reading(forward: bool) -> Value {
    let mut rule = with(&rule(&KEY), "forwardOriginalToken", forward);
    rule["fromHeaders"] = json!([{ "name": "authorization", "prefix": "Bearer " }]);
    rule["fromParams"] = json!(["t"]);
    rule["fromCookies"] = json!(["auth"]);
    rule["fromWebSocketProtocol"] = json!({ "prefix": "bearer." });
    rule
}

fn configuration(forward: bool) -> Value {
    json!({
        "jwtRules": [reading(forward)],
        "authorizationPolicies": [{ "name": "no-admin", "action": "DENY", "rules": [
            { "to": [{ "operation": { "paths": ["/admin"] } }] },
            { "to": [{ "operation": { "methods": ["OPTIONS"] } }] },
        ]}],
        "identityHeaders": { "onSpoof": "reject" },
        "limits": { "tokenBytes": 2048, "emittedBytes": 64 },
        "exempt": [{ "paths": ["/maybe"], "token": "optional" }],
    })
}

fn place(request: Request, place: &str, token: &str) -> Request {
    match place {
        "header" => request.bearer(token),
        "query" => {
            let mut request = request;
            let path = request.headers.iter_mut().find(|(name, _)| name == b":path").unwrap();
            let before = String::from_utf8(path.1.clone()).unwrap();
            let mark = if before.contains('?') { '&' } else { '?' };
            path.1 = format!("{before}{mark}a=1&t={token}&b=2").into();
            request
        }
        "cookie" => request.header("cookie", format!("a=1; auth={token}; b=2")),
        "socket" => request.header("sec-websocket-protocol", format!("chat, bearer.{token}")),
        other => panic!("{other}"),
    }
}

/// The header lines as an access log would show them.
fn shown(request: &Request) -> String {
    let line = |(name, value): &(Vec<u8>, Vec<u8>)| {
        format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
    };
    request.headers.iter().map(line).collect()
}

#[test]
fn no_refusal_leaves_a_token_whatever_the_reason() {
    let good = KEY.token(&claims());
    let long = KEY.token(&claim("sub", "x".repeat(100)));
    let huge = KEY.token(&claim("sub", "x".repeat(4000)));
    let forged = Key::new("ES256", "one").token(&claims());
    let fields = configuration(false);
    let core = Core::new(&fields);
    for (reason, request, token) in [
        ("denied_by_rule", get("/admin"), good.clone()),
        ("token_expired", get("/"), KEY.token(&claim("exp", NOW - 3600))),
        ("token_malformed", get("/"), "opaque".to_owned()),
        ("token_too_large", get("/"), huge),
        ("signature_invalid", get("/"), forged),
        ("issuer_unknown", get("/"), KEY.token(&claim("iss", "https://other.example"))),
        ("identity_spoofed", get("/").header("x_user", "forged"), good.clone()),
        ("identity_too_large", get("/"), long),
        ("path_unsafe", get("/a%00b"), good.clone()),
        ("token_expired", get("/maybe"), KEY.token(&claim("exp", NOW - 3600))),
        ("denied_by_rule", preflight("/"), good.clone()),
        ("denied_by_rule", request("OPTIONS", "/x/../admin"), good.clone()),
    ] {
        for at in PLACES {
            let request = place(request.clone(), at, &token).header("x-user", "forged");
            // With a forged line beside it the reason would be that one.
            let request = match reason {
                "identity_spoofed" => request,
                _ => Request {
                    headers: request.headers.into_iter().filter(|(n, _)| n != b"x-user").collect(),
                    ..request
                },
            };
            let verdict = core.decide(&request);
            assert_eq!(verdict.code(), reason, "{at}");
            let shown = shown(verdict.edited());
            assert!(!shown.contains(&token), "{reason} {at}: {shown}");
            assert!(!shown.contains("forged"), "{reason} {at}: {shown}");
            // What is not a token stays, for the reader of the log.
            let rest = match at {
                "query" => "?a=1&b=2\n",
                "cookie" => "cookie: a=1; b=2\n",
                "socket" => "sec-websocket-protocol: chat\n",
                _ => ":path: /",
            };
            assert!(shown.contains(rest), "{reason} {at}: {shown}");
        }
    }
    // Two tokens, each in a place of its own.
    let (one, other) = (good, KEY.token(&claim("sub", "other")));
    for first in PLACES {
        for second in PLACES.into_iter().filter(|second| *second != first) {
            let request = place(place(get("/"), first, &one), second, &other);
            let verdict = core.decide(&request);
            assert_eq!(verdict.code(), "token_ambiguous", "{first} {second}");
            let shown = shown(verdict.edited());
            assert!(!shown.contains(&one) && !shown.contains(&other), "{first} {second}: {shown}");
        }
    }
}

#[test]
fn a_forwarded_token_stays_in_a_refused_request_only_if_it_was_verified() {
    let (good, expired) = (KEY.token(&claims()), KEY.token(&claim("exp", NOW - 3600)));
    let core = Core::new(&configuration(true));
    for (reason, request, token, stays) in [
        ("denied_by_rule", get("/admin"), &good, true),
        ("token_expired", get("/admin"), &expired, false),
        ("identity_spoofed", get("/").header("x-user", "forged"), &good, false),
        ("path_unsafe", get("/a%00b"), &good, false),
        ("denied_by_rule", preflight("/"), &good, false),
    ] {
        for at in PLACES {
            let verdict = core.decide(&place(request.clone(), at, token));
            assert_eq!(verdict.code(), reason, "{at}");
            let shown = shown(verdict.edited());
            assert_eq!(shown.contains(token.as_str()), stays, "{reason} {at}: {shown}");
        }
    }
}

/// Of the same token in two places the one goes on that its rule reads and forwards.
#[test]
fn a_place_that_the_accepting_rule_does_not_read_is_emptied() {
    let other = Key::new("ES256", "two");
    let mut forwarding = with(&rule(&KEY), "forwardOriginalToken", true);
    forwarding["fromHeaders"] = json!([{ "name": "x-jwt" }]);
    let mut withholding = with(&rule(&other), "fromParams", json!(["t"]));
    withholding["issuer"] = json!("https://other.example");
    let core = Core::new(&json!({ "jwtRules": [forwarding, withholding] }));
    let token = KEY.token(&claims());
    let verdict = core.decide(&get(&format!("/p?t={token}")).header("x-jwt", &token));
    assert_eq!(verdict.code(), "allowed", "{ISSUER}");
    assert_eq!(verdict.lines("x-jwt"), [token]);
    assert_eq!(verdict.lines(":path"), ["/p"]);
}

/// A hop that rewrote the path passes the old one on, with its query.
#[test]
fn the_path_of_an_earlier_hop_is_emptied_too() {
    let core = Core::with_rule(rule(&KEY));
    let (good, expired) = (KEY.token(&claims()), KEY.token(&claim("exp", NOW - 3600)));
    for token in [good, expired] {
        let path = format!("/p?a=1&access_token={token}");
        let request = get(&path).header("x-envoy-original-path", format!("/old{path}"));
        let verdict = core.decide(&request);
        assert_eq!(verdict.edited().header("x-envoy-original-path"), Some(&b"/old/p?a=1"[..]));
        assert_eq!(verdict.edited().path(), Some(&b"/p?a=1"[..]));
    }
}

#[test]
fn without_a_configuration_the_default_places_are_emptied() {
    let token = KEY.token(&claims());
    let request = get(&format!("/p?access_token={token}&a=1")).bearer(&token);
    for decision in [Decision::config_invalid(&request), Decision::host_failed(None, &request)] {
        let shown = shown(&decision.mutations.applied(&request));
        assert!(!shown.contains(&token) && shown.contains("/p?a=1"), "{shown}");
    }
}

/// While a request waits for keys it holds no token, since none is verified: its client may go meanwhile. What its rule
/// forwards is there again when it goes on.
#[test]
fn a_request_that_waits_holds_no_token() {
    let token = KEY.token(&claims());
    for (forward, mode) in [(false, "enforce"), (true, "enforce"), (false, "dryRun")] {
        let mut fields = configuration(forward);
        fields["mode"] = json!(mode);
        let policy = usher_core::load::from_value(&fields).unwrap().policy;
        for at in PLACES {
            let request = place(get("/"), at, &token).header("x_user", "forged");
            let pending = usher_core::decide::while_pending(&policy, &request).applied(&request);
            let before = shown(&pending);
            assert_eq!(
                before.contains(&token),
                mode == "dryRun",
                "{forward} {mode} {at}: {before}"
            );
            assert!(!before.contains("forged"), "{forward} {mode} {at}: {before}");

            let decided = Core::new(&fields).decide(&request);
            let mutations = usher_core::decide::after_pending(
                &policy,
                &request,
                decided.decision.mutations.clone(),
            );
            let lines = |request: &Request| {
                let mut lines = request.headers.clone();
                lines.sort();
                lines
            };
            assert_eq!(
                lines(&mutations.applied(&pending)),
                lines(decided.edited()),
                "{forward} {mode} {at}"
            );
        }
    }
}

#[test]
fn a_clock_that_fails_is_a_503_where_time_decides() {
    let core = Core::new(&json!({
        "jwtRules": [rule(&KEY)],
        "exempt": [{ "paths": ["/healthz"] }],
    }));
    let good = KEY.token(&claims());
    let forever = Core::with_rule(with(&rule(&KEY), "requireExpiration", false));
    let unlimited = KEY.token(&with(&claims(), "exp", Value::Null));
    for (what, core, request, expected) in [
        ("a good token", &core, get("/").bearer(&good), ("host_failed", 503)),
        ("one that never ends", &forever, get("/").bearer(&unlimited), ("host_failed", 503)),
        ("no token", &core, get("/"), ("token_missing", 401)),
        ("no JWT at all", &core, get("/").bearer("opaque"), ("token_malformed", 401)),
        (
            "another's",
            &core,
            get("/").bearer(&KEY.token(&claim("iss", "https://x.example"))),
            ("issuer_unknown", 401),
        ),
        ("exempt", &core, get("/healthz").bearer(&good), ("allowed", 200)),
    ] {
        assert_eq!(core.ask_at(&request, 0).outcome(), expected, "{what}");
    }
}
