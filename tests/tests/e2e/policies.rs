//! Policies that users have, as they have them, in a real Envoy: those of the guides, Istio's own
//! integration tests (docs/semantics.md, "AuthorizationPolicy cases") and those of Envoy's RBAC
//! filter (docs/semantics.md, "RBAC filter cases").

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::mint::{Key, jwks};
use usher_testkit::tls::{Authority, Identity, SERVER};

const ISSUER: &str = "https://idp.example.com";
const I1: &str = "test-issuer-1@istio.io";
const I2: &str = "test-issuer-2@istio.io";
const EXP: u64 = 4_102_444_800;
const BODY: &str = "RBAC: access denied";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "k1"));
static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);
static A: LazyLock<Identity> =
    LazyLock::new(|| AUTHORITY.client(&["spiffe://cluster.local/ns/ns-a/sa/a"], &[]));
static B: LazyLock<Identity> =
    LazyLock::new(|| AUTHORITY.client(&["spiffe://cluster.local/ns/ns-b/sa/b"], &[]));
/// The caller's own name stands second.
static SECOND: LazyLock<Identity> = LazyLock::new(|| {
    AUTHORITY.client(&["spiffe://x/ns/x/sa/x", "spiffe://cluster.local/ns/ns-a/sa/a"], &[])
});

/// The pluginConfig of some policies; a policy's number is its name.
fn config(policies: &Value) -> Value {
    let keys = jwks([&*KEY]);
    let rule = |issuer: &str| json!({"issuer": issuer, "jwks": keys, "spaceDelimitedClaims": ["custom_scope", "teams"]});
    let policies: Vec<Value> = policies
        .as_array()
        .unwrap()
        .iter()
        .enumerate()
        .map(|(number, policy)| {
            let mut policy = policy.clone();
            policy["name"] = policy.get("name").cloned().unwrap_or(format!("p{number}").into());
            policy["namespace"] = "shop".into();
            policy
        })
        .collect();
    json!({
        "jwtRules": [rule(ISSUER), rule(I1), rule(I2)],
        // As Istio, which demands no token by itself.
        "missingToken": "allow",
        "authorizationPolicies": policies,
        "sourceAddress": "connection",
    })
}

/// Listeners by what they are for.
fn listeners() -> Vec<(&'static str, Value)> {
    let allow = |rules: Value| json!({"action": "ALLOW", "rules": rules});
    let deny = |rules: Value| json!({"action": "DENY", "rules": rules});
    let when =
        |key: &str, field: &str, value: &str| json!([{"when": [{"key": key, field: [value]}]}]);
    let from = |source: Value| json!([{"from": [{"source": source}]}]);
    let to = |operation: Value| json!([{"to": [{"operation": operation}]}]);
    let path = |path: &str, key: &str, values: Value| {
        json!({
            "to": [{"operation": {"paths": [path], "methods": ["GET"]}}],
            "when": [{"key": key, "values": values}],
        })
    };
    let claim = |name: &str, claims: &str, values: Value| {
        path(name, &format!("request.auth.claims{claims}"), values)
    };
    let jwt = json!([
        path("/token1", "request.auth.principal", json!([format!("{I1}/sub-1")])),
        claim("/token2", "[groups]", json!(["group-2"])),
        path("/tokenAny", "request.auth.principal", json!(["*"])),
        claim("/scope", "[scope]", json!(["append", "write"])),
        claim("/otherscope", "[scope]", json!(["admin"])),
        claim("/permission", "[permission]", json!(["write", "append"])),
        claim("/custom-scope-admin", "[custom_scope]", json!(["admin"])),
        claim("/custom-scope-user", "[custom_scope]", json!(["user"])),
        claim("/nested-key1", "[nested][key1]", json!(["valueB"])),
        claim("/nested-key2", "[nested][key2]", json!(["valueC"])),
        claim("/nested-2-key1", "[nested][nested-2][key1]", json!(["valueA"])),
        claim("/nested-non-exist", "[nested][non-exist]", json!(["valueC"])),
        path("*/presenter", "request.auth.presenter", json!(["bar"])),
        path("*/audiences", "request.auth.audiences", json!(["foo"])),
        {
            "from": [{"source": {"notRequestPrincipals": [format!("{I1}/sub-1")]}}],
            "to": [{"operation": {"paths": ["/token3"]}}],
        },
    ]);
    let z17 = json!([{
        "from": [{"source": {"principals": ["cluster.local/ns/ns-a/sa/a"]}}],
        "to": [{"operation": {"paths": ["/allow"], "methods": ["GET"]}}],
    }]);
    let z19 = json!([{
        "from": [{"source": {"principals": ["cluster.local/ns/ns-b/sa/b"]}}],
        "to": [{"operation": {"paths": ["/deny*"], "notPaths": ["/deny/allow"]}}],
    }]);
    let templates =
        json!({"paths": ["/allow/admin/{**}", "/foo/{*}/bar/{**}", "/store/{**}/cart"]});
    vec![
        ("anyone", json!([allow(from(json!({"requestPrincipals": ["*"]})))])),
        (
            "group",
            json!([allow(when(
                "request.auth.claims[groups]",
                "values",
                "cn=group2,ou=Groups,DC=domain,DC=com"
            ))]),
        ),
        (
            "health",
            json!([allow(json!([
                {
                    "to": [{"operation": {"notPaths": ["/health_check"]}}],
                    "from": [{"source": {"requestPrincipals": ["*"]}}],
                },
                {"to": [{"operation": {"paths": ["/health_check"]}}]},
            ]))]),
        ),
        (
            "deny-and-allow",
            json!([
                allow(from(json!({"requestPrincipals": ["*"]}))),
                deny(to(json!({"methods": ["DELETE"], "paths": ["/orders*"]}))),
            ]),
        ),
        ("nothing", json!([{"action": "ALLOW"}])),
        (
            "one-caller",
            json!([{"action": "ALLOW"}, allow(from(json!({"principals": ["cluster.local/ns/ns-a/sa/a"]})))]),
        ),
        ("jwt", json!([allow(jwt)])),
        ("z11", json!([allow(to(templates))])),
        ("z17", json!([allow(z17)])),
        ("z19", json!([deny(z19)])),
        (
            "z19-ns",
            json!([deny(json!([{
                "from": [{"source": {"namespaces": ["ns-b"]}}],
                "to": [{"operation": {"paths": ["/deny*"], "notPaths": ["/deny/allow"]}}],
            }]))]),
        ),
        ("z21", json!([deny(from(json!({"notNamespaces": ["ns-a"]})))])),
        ("z23", json!([allow(to(json!({"notMethods": ["PUT"]})))])),
        ("z25", json!([allow(to(json!({"notHosts": ["deny.s.com"]})))])),
        (
            "z27",
            json!([deny(json!([
                {"to": [{"operation": {"hosts": ["internal.s.com"]}}]},
                {"to": [{"operation": {"paths": ["/private"]}}]},
            ]))]),
        ),
        ("z29", json!([deny(from(json!({"notRemoteIpBlocks": ["172.23.240.0/22"]})))])),
        ("z31", json!([allow(when("request.headers[x-foo]", "values", "foo"))])),
        ("z33", json!([allow(when("source.namespace", "values", "ns-a"))])),
        (
            "z33-not",
            json!([allow(when("source.principal", "notValues", "cluster.local/ns/ns-b/sa/b"))]),
        ),
        ("z33-ip", json!([allow(when("source.ip", "values", "127.0.0.1"))])),
        ("z35", json!([allow(when("destination.ip", "values", "127.0.0.1"))])),
        ("z35-other", json!([allow(when("destination.ip", "values", "1.2.3.4"))])),
        ("z35-not", json!([allow(when("destination.ip", "notValues", "127.0.0.1"))])),
        ("z37", json!([allow(when("connection.sni", "values", "*.gate.example"))])),
        ("z37-never", json!([allow(when("connection.sni", "values", "never-matched"))])),
        ("z37-not", json!([allow(when("connection.sni", "notValues", "*.gate.example"))])),
        (
            "z41",
            json!([{"action": "ALLOW", "dryRun": true, "rules": [
            {"to": [{"operation": {"paths": ["/never"]}}]}]}]),
        ),
        ("r1", json!([deny(to(json!({"paths": ["/deny"]})))])),
        ("r2", json!([allow(to(json!({"paths": ["/allow"]})))])),
        ("r3", json!([allow(when("request.headers[:path]", "values", "/foo*"))])),
        ("r4", json!([allow(to(json!({"methods": ["GET"]})))])),
        (
            "r7",
            json!([{"action": "AUDIT", "rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}]),
        ),
    ]
}

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let tls = AUTHORITY.downstream(false);
    let builder = listeners().into_iter().fold(Envoy::builder(), |builder, (name, policies)| {
        let setup = Setup::plugin(config(&policies));
        builder
            .listener(&format!("{name}/tls"), setup.clone().tls(tls.clone()))
            .listener(name, setup)
    });
    let mut unnormalised = config(&json!([{"action": "ALLOW", "rules":
        [{"when": [{"key": "request.headers[:path]", "values": ["/foo*"]}]}]}]));
    unnormalised["pathNormalization"] = "NONE".into();
    let mut denied = config(&json!([{"name": "deny policy", "action": "DENY", "rules": [{}]}]));
    denied["decisionLog"] = json!({"emit": "none"});
    builder
        .listener("r3-none", Setup::plugin(unnormalised))
        .listener("r5", Setup::plugin(denied))
        .start()
});

fn token(claims: Value) -> String {
    let mut claims = claims;
    claims["exp"] = EXP.into();
    KEY.token(&claims)
}

fn caller(groups: Value) -> String {
    token(json!({"iss": ISSUER, "sub": "someone", "groups": groups}))
}

#[track_caller]
fn check(listener: Listener<'_>, reply: &Reply, status: u16, what: &str) {
    assert_eq!(reply.status, status, "{what}: {reply}{:?}", listener.entry(reply));
    match status {
        200 => assert!(reply.seen.is_some(), "{what}: {reply}"),
        403 => {
            assert_eq!((reply.text().as_str(), &reply.seen), (BODY, &None), "{what}: {reply}");
            assert_eq!(reply.header("content-type"), Some("text/plain"), "{what}: {reply}");
            // RFC 6750 section 3.1: a challenge only where more scope would help.
            let challenge = reply.header("www-authenticate").unwrap_or("insufficient_scope");
            assert!(challenge.contains("insufficient_scope"), "{what}: {reply}");
        }
        _ => assert_eq!(reply.seen, None, "{what}: {reply}"),
    }
}

#[test]
fn the_guides_policies_work_as_pasted() {
    let (group2, other) =
        ("cn=group2,ou=Groups,DC=domain,DC=com", "cn=k8s-cluster-admins,ou=Groups");
    let (mmosley, as_text) = (caller(json!([other, group2])), caller(json!(group2)));
    let jjackson = caller(json!([other]));
    let get = Request::get;
    for (listener, request, status, what) in [
        ("anyone", get("/").bearer(&mmosley), 200, "requestPrincipals `*`, with a token"),
        ("anyone", get("/"), 403, "requestPrincipals `*`, without"),
        ("group", get("/").bearer(&mmosley), 200, "mmosley, groups as a list"),
        ("group", get("/").bearer(&as_text), 200, "mmosley, groups as a string"),
        ("group", get("/").bearer(&jjackson), 403, "jjackson"),
        ("group", get("/"), 403, "nobody"),
        ("health", get("/health_check"), 200, "health check without a token"),
        ("health", get("/health_check?x=1").bearer(&mmosley), 200, "health check with a token"),
        ("health", get("/orders").bearer(&mmosley), 200, "other paths with a token"),
        ("health", get("/orders"), 403, "other paths without"),
        ("health", get("/x/../health_check"), 200, "the path that the service sees"),
        ("health", get("/health_check/../orders"), 403, "no way round"),
        ("deny-and-allow", get("/orders/1").bearer(&mmosley), 200, "ALLOW alone matches"),
        (
            "deny-and-allow",
            Request::new("DELETE", "/orders/1").bearer(&mmosley),
            403,
            "DENY comes first",
        ),
        (
            "deny-and-allow",
            Request::new("DELETE", "/other").bearer(&mmosley),
            200,
            "DENY of another path",
        ),
        ("deny-and-allow", get("/orders/1"), 403, "no ALLOW rule"),
        ("nothing", get("/").bearer(&mmosley), 403, "ALLOW nothing"),
        ("nothing", get("/"), 403, "ALLOW nothing, nobody"),
        ("one-caller", get("/"), 403, "plain text has no peer"),
    ] {
        for reply in ENVOY.listener(listener).both(&request) {
            check(ENVOY.listener(listener), &reply, status, what);
        }
    }
    let listener = ENVOY.listener("one-caller/tls");
    for (peer, status, what) in [
        (Some(&*A), 200, "the one caller"),
        (Some(&*B), 403, "another caller"),
        (Some(&*SECOND), 200, "the caller's second name"),
        (None, 403, "TLS without a certificate"),
    ] {
        check(listener, &listener.tls(&AUTHORITY, peer, SERVER, &Request::get("/")), status, what);
    }
}

/// istio/istio tests/integration/security/authz_test.go: Z1 to Z9 of docs/semantics.md,
/// "AuthorizationPolicy cases".
#[test]
fn istios_jwt_policies() {
    let t1 = token(json!({"iss": I1, "sub": "sub-1", "groups": ["group-1"]}));
    let t2 = token(json!({"iss": I2, "sub": "sub-2", "groups": ["group-2"]}));
    let of1 = |name: &str, value: Value| token(json!({"iss": I1, "sub": "sub-1", name: value}));
    let of2 = |name: &str, value: Value| token(json!({"iss": I2, "sub": "sub-2", name: value}));
    let lists = json!(["valueA", "valueB"]);
    let n1 = of1("nested", json!({"key1": lists, "nested-2": {"key1": lists}}));
    let n2 = of1("nested", json!({"key2": "valueC", "nested-2": {"key2": "valueC"}}));
    let none = String::new();
    let (permission, scope) =
        (of2("permission", json!("read write")), of2("scope", json!("write read")));
    let custom = of2("custom_scope", json!("admin user"));
    let listener = ENVOY.listener("jwt");
    for (token, path, status) in [
        (&none, "/token1", 403),
        (&none, "/token2", 403),
        (&none, "/tokenAny", 403),
        (&none, "/custom-scope-admin", 403),
        (&none, "/custom-scope-user", 403),
        (&t1, "/token1", 200),
        (&t1, "/token2", 403),
        (&t2, "/token1", 403),
        (&t2, "/token2", 200),
        (&t1, "/tokenAny", 200),
        (&t1, "/permission", 403),
        (&t2, "/permission", 403),
        (&permission, "/permission", 200),
        (&scope, "/scope", 200),
        (&scope, "/otherscope", 403),
        (&custom, "/custom-scope-admin", 200),
        (&custom, "/custom-scope-user", 200),
        (&t1, "/custom-scope-admin", 403),
        (&t1, "/custom-scope-user", 403),
        (&n1, "/nested-key1", 200),
        (&n2, "/nested-key1", 403),
        (&n2, "/nested-key2", 200),
        (&n1, "/nested-2-key1", 200),
        (&n2, "/nested-non-exist", 403),
        (&of1("aud", json!("foo")), "/audiences", 200),
        (&of1("aud", json!(["foo", "buzz"])), "/audiences", 200),
        (&of1("aud", json!("bar")), "/audiences", 403),
        (&of1("azp", json!("bar")), "/x/presenter", 200),
        (&of1("azp", json!(["bar"])), "/x/presenter", 200),
        (&t1, "/token3", 403),
        (&t2, "/token3", 200),
        (&none, "/token3", 200),
    ] {
        let request = Request::get(path);
        let request = if token.is_empty() { request } else { request.bearer(token) };
        check(listener, &listener.http1(&request), status, path);
    }
}

/// The same table, Z11 to Z41, over plain text.
#[test]
fn istios_policies_on_requests() {
    let get = Request::get;
    let from = |address: &str| Request::get("/").header("x-forwarded-for", address);
    for (listener, request, status) in [
        ("z11", get("/allow/admin/"), 200),
        ("z11", get("/allow/admin/temp"), 200),
        ("z11", get("/allow/admin/temp.txt"), 200),
        ("z11", get("/allow/admin/foo/temp.txt"), 200),
        ("z11", get("/allow/admin"), 403),
        ("z11", get("/foo/buzz/bar/bat.txt"), 200),
        ("z11", get("/foo/buzz/bar/bat.temp.txt"), 200),
        ("z11", get("/foo/buzz/bar/bat/fuzz.txt"), 200),
        ("z11", get("/foo/buzz/bar/bat"), 200),
        ("z11", get("/store//cart"), 200),
        ("z11", get("/store/foo/cart"), 200),
        ("z11", get("/store/foo/bar/cart"), 200),
        ("z11", get("/store/cart"), 403),
        ("z23", get("/"), 200),
        ("z23", Request::new("PUT", "/"), 403),
        ("z25", get("/").authority("allow.S.com"), 200),
        ("z25", get("/").authority("deny.S.com"), 403),
        ("z27", get("/").authority("www.S.com"), 200),
        ("z27", get("/public").authority("www.S.com"), 200),
        ("z27", get("/private").authority("www.S.com"), 403),
        ("z27", get("/").authority("internal.S.com"), 403),
        ("z29", from("10.2.3.4"), 403),
        ("z29", from("172.23.242.188"), 200),
        ("z31", get("/").header("x-foo", "foo"), 200),
        ("z31", get("/").header("x-foo", "bar"), 403),
        ("z31", get("/"), 403),
        ("z33-ip", get("/"), 200),
        ("z35", get("/"), 200),
        ("z35-other", get("/"), 403),
        ("z35-not", get("/"), 403),
        ("z41", get("/"), 200),
    ] {
        for reply in ENVOY.listener(listener).both(&request) {
            check(ENVOY.listener(listener), &reply, status, &format!("{listener} {request:?}"));
        }
    }
}

/// The same table, Z17 to Z37, over mutual TLS.
#[test]
fn istios_policies_on_peers() {
    let below = "svc.gate.example";
    for (listener, peer, path, status) in [
        ("z17", &*A, "/allow", 200),
        ("z17", &*A, "/allow?param=value", 200),
        ("z17", &*A, "/deny", 403),
        ("z17", &*A, "/deny?param=value", 403),
        ("z17", &*B, "/allow", 403),
        ("z17", &*B, "/deny", 403),
        ("z17", &*SECOND, "/allow", 200),
        ("z19", &*B, "/deny", 403),
        ("z19", &*B, "/deny?param=value", 403),
        ("z19", &*B, "/deny/allow", 200),
        ("z19", &*B, "/deny/allow?param=value", 200),
        ("z19", &*B, "/allow", 200),
        ("z19", &*A, "/deny", 200),
        ("z19-ns", &*B, "/deny", 403),
        ("z19-ns", &*A, "/deny", 200),
        ("z21", &*A, "/", 200),
        ("z21", &*SECOND, "/", 200),
        ("z21", &*B, "/", 403),
        ("z33", &*A, "/", 200),
        ("z33", &*B, "/", 403),
        ("z33-not", &*A, "/", 200),
        ("z33-not", &*B, "/", 403),
        ("z37", &*A, "/", 200),
        ("z37-never", &*A, "/", 403),
        ("z37-not", &*A, "/", 403),
    ] {
        let listener_tls = ENVOY.listener(&format!("{listener}/tls"));
        let reply = listener_tls.tls(&AUTHORITY, Some(peer), below, &Request::get(path));
        check(listener_tls, &reply, status, &format!("{listener} {path}"));
    }
}

/// envoyproxy/envoy test/extensions/filters/http/rbac: docs/semantics.md, "RBAC filter cases".
#[test]
fn envoys_rbac_cases() {
    let get = Request::get;
    for (listener, request, status) in [
        ("r1", get("/deny?p1=v1&p2=v2"), 403),
        ("r1", get("/other"), 200),
        ("r2", get("/allow"), 200),
        ("r2", get("/allow?p1=v1&p2=v2"), 200),
        // Envoy refuses a fragment before any filter.
        ("r2", get("/allow?p1=v1#seg"), 400),
        ("r3", get("/foo/../bar"), 403),
        ("r3-none", get("/foo/../bar"), 200),
        ("r4", get("/"), 200),
        ("r4", Request::new("POST", "/"), 403),
        ("r7", Request::new("POST", "/"), 200),
        ("r7", get("/"), 200),
    ] {
        let reply = ENVOY.listener(listener).http1(&request);
        check(ENVOY.listener(listener), &reply, status, &format!("{listener} {request:?}"));
    }
    let r5 = ENVOY.listener("r5");
    let reply = r5.http1(&get("/"));
    r5.assert_denied(&reply, 403, BODY, "denied_by_rule");
    let entry = r5.entry(&reply);
    assert_eq!((entry.policy.as_deref(), entry.rule.as_deref()), (Some("deny policy"), Some("0")));

    let head = r5.http1(&Request::new("HEAD", "/"));
    assert_eq!((head.status, head.header("content-length")), (403, Some("19")), "{head}");
    assert!(head.body.is_empty(), "{head}");

    // gRPC clients get 7 (docs/semantics.md, "The response to a denied request").
    let request = Request::new("POST", "/a.B/C").header("content-type", "application/grpc");
    let reply = r5.http2(&request);
    assert_eq!((reply.status, reply.header("grpc-status")), (200, Some("7")), "{reply}");
    assert_eq!(reply.header("grpc-message"), Some(BODY), "{reply}");
}
