//! A request that exceeds a bound is refused in either protocol; one that does not is read whole.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::mint::{self, Key};
use usher_testkit::verdict::{
    Core, ISSUER, NOW, RequestBuilder as _, get, preflight, request, rule, with,
};

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

const COMPLEX: (&str, u16) = ("request_too_complex", 400);

/// Reads query parameters (the default places, and a rule), and lets `/healthz` pass without a token.
fn configuration() -> Value {
    json!({
        "jwtRules": [rule(&KEY)],
        "missingToken": "allow",
        "exempt": [{ "paths": ["/healthz"] }],
        "authorizationPolicies": [
            { "name": "deny", "action": "DENY", "rules": [
                { "when": [{ "key": "request.query[debug]", "values": ["*"] }] },
            ]},
        ],
    })
}

/// A path with this many query parameters, the last of them `debug=1`.
fn query(path: &str, parameters: usize) -> String {
    format!("{path}?{}debug=1", "a=1&".repeat(parameters - 1))
}

#[test]
fn the_whole_request_is_refused_whatever_its_way() {
    let core = Core::new(&configuration());
    let token = || KEY.token(&json!({ "iss": ISSUER, "sub": "mmosley", "exp": NOW + 600 }));
    let preflight = |n| preflight(&query("/", n));
    for (what, most, more, otherwise) in [
        (
            "a token",
            get(&query("/", 1_024)).bearer(&token()),
            get(&query("/", 1_025)).bearer(&token()),
            ("denied_by_rule", 403),
        ),
        ("no token", get(&query("/", 1_024)), get(&query("/", 1_025)), ("denied_by_rule", 403)),
        (
            "exempt",
            get(&query("/healthz", 1_024)),
            get(&query("/healthz", 1_025)),
            ("allowed", 200),
        ),
        ("a preflight", preflight(1_024), preflight(1_025), ("denied_by_rule", 403)),
    ] {
        assert_eq!(core.decide(&most).outcome(), otherwise, "{what}: the last one counts");
        assert_eq!(core.decide(&more).outcome(), COMPLEX, "{what}");
        let forged = core.decide(&more.header("x_user", "forged"));
        assert_eq!(forged.outcome(), COMPLEX, "{what}");
        assert_eq!(forged.edited().lines("x_user").count(), 0, "{what}: scrubbed first");
    }
}

#[test]
fn what_nothing_reads_has_no_bound() {
    let policies =
        json!([{ "name": "p", "rules": [{ "to": [{ "operation": { "paths": ["/*"] }}]}]}]);
    let core = Core::new(&json!({ "authorizationPolicies": policies }));
    let cookies = "a=1; ".repeat(5_000);
    let mut lines = get(&query("/", 3_000)).header("cookie", cookies);
    lines.headers.extend(std::iter::repeat_n((b"x".to_vec(), b"1".to_vec()), 5_000));
    assert_eq!(core.decide(&lines).outcome(), ("allowed", 200));

    let header = with(&rule(&KEY), "fromHeaders", json!([{ "name": "x-token" }]));
    let header = with(&header, "forwardOriginalToken", true);
    let core = Core::new(&json!({ "jwtRules": [header], "missingToken": "allow" }));
    assert_eq!(core.decide(&get(&query("/", 3_000))).outcome(), ("allowed", 200), "not the query");
    assert_eq!(core.decide(&lines).outcome(), COMPLEX, "header lines");
}

#[test]
fn each_kind_of_attribute_has_its_bound() {
    let when = |key: &str| {
        json!({ "authorizationPolicies": [{ "name": "p", "rules": [
            { "when": [{ "key": key, "notValues": ["x"] }] },
        ]}]})
    };
    let cookies = with(&rule(&KEY), "fromCookies", json!(["auth"]));
    let cookies = json!({ "jwtRules": [cookies], "missingToken": "allow" });
    let captures = json!({ "authorizationPolicies": [{ "name": "p", "action": "DENY", "rules": [
        { "to": [{ "operation": { "paths": ["/files/{rest=**}"] } }],
          "when": [{ "key": "request.headers[x-file]", "valuesFrom": ["path.rest"] }] },
    ]}]});
    let lines = |n: usize| {
        let mut request = get("/");
        request.headers.extend(std::iter::repeat_n((b"x".to_vec(), b"1".to_vec()), n - 4));
        request
    };
    let peer = |sans: Vec<String>| {
        let mut request = get("/");
        request.connection.peer = Some(usher_core::request::Peer {
            uri_sans: sans,
            ..usher_core::request::Peer::default()
        });
        request
    };
    let names = |n: usize| peer((0..n).map(|i| format!("spiffe://td/ns/a/sa/{i}")).collect());
    let long = |n: usize| peer(vec!["a".repeat(n)]);
    let segments = |n: usize| get(&format!("/files{}", "/a".repeat(n - 1)));
    let parameters = |n: usize| get(&query("/", n));
    let path = |n: usize| get(&format!("/{}?{}", "a".repeat(n - 1), "q".repeat(99)));
    let paths = json!({ "authorizationPolicies": [{ "name": "p", "rules": [
        { "to": [{ "operation": { "notPaths": ["/b"] } }] },
    ]}]});
    let cookie = |n: usize| get("/").header("cookie", "a=1;".repeat(n - 1));
    let protocols = with(&rule(&KEY), "fromWebSocketProtocol", json!({ "prefix": "bearer." }));
    let protocols = json!({ "jwtRules": [protocols], "missingToken": "allow" });
    let protocol = |n: usize| get("/").header("sec-websocket-protocol", "chat,".repeat(n - 1));
    type Make<'m> = &'m dyn Fn(usize) -> usher_core::Request;
    for (what, configuration, make, most) in [
        ("query parameters", when("request.query[a]"), &parameters as Make<'_>, 1_024),
        ("cookies", cookies, &cookie, 512),
        ("header lines", when("request.headers[x-a]"), &lines, 1_024),
        ("bytes of path", paths, &path, 8_192),
        ("WebSocket protocols", protocols, &protocol, 256),
        ("captured segments", captures, &segments, 256),
        ("names of the peer", when("source.principal"), &names, 128),
        ("a name of the peer", when("source.namespace"), &long, 4_096),
    ] {
        let core = Core::new(&configuration);
        assert_eq!(core.decide(&make(most)).outcome(), ("allowed", 200), "{what}: {most}");
        assert_eq!(core.decide(&make(most + 1)).outcome(), COMPLEX, "{what}: {most} and one");
    }
}

/// `bounds` (docs/differences.md). Rules and service see the normalised path, which may be longer than the one that was sent.
#[test]
fn a_path_keeps_to_its_bounds_after_normalisation_too() {
    let policy = |paths: &str| {
        json!({ "pathNormalization": "DECODE_AND_MERGE_SLASHES", "authorizationPolicies": [{
            "name": "p", "action": "DENY", "rules": [
                { "to": [{ "operation": { "paths": [paths] } }],
                  "when": [{ "key": "request.headers[x-file]", "valuesFrom": ["path.rest"] }] },
            ] }] })
    };
    let core = Core::new(&policy("/files/{rest=**}"));
    for (part, most) in [("/a", 255), ("\\a", 255), ("%2fa", 255), ("%5Ca", 255), ("|", 2_700)] {
        let path = |n: usize| format!("/files{}", part.repeat(n));
        let outcome = |n: usize| core.decide(&get(&path(n))).outcome();
        assert_ne!(outcome(most), COMPLEX, "{part}");
        assert_eq!(outcome(if part == "|" { 2_732 } else { most + 1 }), COMPLEX, "{part}");
    }
}

#[test]
fn a_dry_run_tells_of_the_bound_and_judges_all_that_is_there() {
    let dry = Core::new(&with(&configuration(), "mode", "dryRun"));
    let request = request("GET", &query("/", 3_000));
    let verdict = dry.decide(&request);
    assert_eq!(verdict.outcome(), ("request_too_complex", 200));
    let line: Value = serde_json::from_str(&dry.log_line(&request, &verdict)).unwrap();
    assert_eq!(line["reason"], json!("request_too_complex"));
    assert_eq!(line["enforced"], json!(false));
    let judgement =
        verdict.decision.report.authorization.as_ref().expect("the policies were asked");
    assert_eq!(
        judgement.matched.as_deref(),
        Some("ns[default]-policy[deny]-rule[0]"),
        "the 3,000th"
    );
}

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let configuration = |mode: &str| {
        let rule = json!({
            "issuer": ISSUER,
            "jwks": mint::jwks([&*KEY]),
            "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
            "fromParams": ["t"],
            "fromCookies": ["auth"],
        });
        Setup::plugin(json!({ "jwtRules": [rule], "missingToken": "allow", "mode": mode }))
    };
    Envoy::builder()
        .listener("main", configuration("enforce"))
        .listener("dry", configuration("dryRun"))
        .start()
});

fn listener() -> Listener<'static> {
    ENVOY.listener("main")
}

#[test]
fn the_wire_says_so_too() {
    let cookies = |n: usize| Request::get("/").header("cookie", "a=1; ".repeat(n - 1));
    for (most, more) in [
        (Request::get(query("/", 1_024)), Request::get(query("/", 1_025))),
        (cookies(512), cookies(513)),
        (cookies(512), cookies(10_000)),
    ] {
        for reply in listener().both(&most.header("x_user", "forged")) {
            assert_eq!(reply.passed().header("x_user"), None, "{reply}");
        }
        for reply in listener().both(&more) {
            listener().assert_denied(&reply, 400, "Bad Request", "request_too_complex");
        }
        for reply in ENVOY.listener("dry").both(&more) {
            reply.passed();
        }
    }
    let grpc = Request::new("POST", query("/shop.Cart/Add", 1_025))
        .header("content-type", "application/grpc");
    let reply = listener().http2(&grpc);
    listener().assert_denied(&reply, 200, "", "request_too_complex");
    assert_eq!(reply.header("grpc-status"), Some("13"), "{reply}");
}
