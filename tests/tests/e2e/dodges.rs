//! Requests that say the same in another spelling, to go round a rule that refuses, and what a client
//! writes twice: in a real Envoy, over the protocols that let such a request through.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::mint::{Key, jwks};
use usher_testkit::upstream::CASE;

use crate::native;

const BODY: &str = "RBAC: access denied";
const EXP: u64 = 4_102_444_800;

fn policy(action: &str, rule: Value) -> Value {
    json!({"authorizationPolicies": [{"name": "p", "action": action, "rules": [rule]}]})
}

fn operation(field: &str, values: &[&str]) -> Value {
    json!({"to": [{"operation": {field: values}}]})
}

/// Denied, by DENY's rule or by ALLOW's `not`.
#[track_caller]
fn assert_refused(listener: &Listener<'_>, reply: &Reply, what: &str) {
    let reason = listener.entry(reply).reason;
    let refused = ["denied_by_rule", "no_rule_matched"];
    assert!(reason.as_deref().is_some_and(|r| refused.contains(&r)), "{what}: {reply}");
    assert_eq!((reply.status, reply.text().as_str()), (403, BODY), "{what}: {reply}");
    assert_eq!(reply.seen, None, "{what}: {reply}");
}

#[test]
fn what_refuses_is_not_dodged_by_a_spelling() {
    let header = |field: &str| json!({"when": [{"key": "request.headers[x-debug]", field: ["*"]}]});
    let listeners = [
        ("deny paths", policy("DENY", operation("paths", &["/admin/{**}"]))),
        ("allow notPaths", policy("ALLOW", operation("notPaths", &["/admin/{**}"]))),
        ("deny hosts", policy("DENY", operation("hosts", &["a.example"]))),
        ("allow notHosts", policy("ALLOW", operation("notHosts", &["a.example"]))),
        ("deny header", policy("DENY", header("values"))),
        ("allow not header", policy("ALLOW", header("notValues"))),
    ];
    let mut builder = Envoy::builder();
    for (name, config) in &listeners {
        builder = builder.listener(name, Setup::plugin(config.clone()));
    }
    // Beside them what istiod makes of the policies, see docs/differences.md.
    for (name, config) in &listeners {
        let mut config = config.clone();
        config["authorizationPolicies"][0]["namespace"] = "shop".into();
        config["trustDomains"] = json!(["cluster.local"]);
        let filters = native::filters(&config, &["i"], r#"{"keys":[]}"#);
        let rbac = filters.into_iter().skip(1).fold(Setup::open(), Setup::ahead);
        builder = builder.listener(&format!("native {name}"), rbac);
    }
    let envoy = builder.start();
    let host = |authority: &str| Request::get("/").authority(authority);
    for (listeners, requests) in [
        (
            ["deny paths", "allow notPaths"],
            [
                Request::get("/admin/x"),
                Request::get("/admin/x["),
                Request::get("/admin/x]"),
                Request::get("/admin/[/y"),
            ],
        ),
        (
            ["deny hosts", "allow notHosts"],
            [host("a.example"), host("A.Example."), host("a.example:80"), host("a.example.:8080")],
        ),
    ] {
        for name in listeners {
            let listener = envoy.listener(name);
            for request in &requests {
                assert_refused(
                    &listener,
                    &listener.http1(request),
                    &format!("{name}: {request:?}"),
                );
            }
            let native = envoy.listener(&format!("native {name}"));
            let statuses: Vec<u16> =
                requests.iter().map(|request| native.http1(request).status).collect();
            assert_eq!(statuses, [403, 200, 200, 200], "native {name}");
        }
    }
    for name in ["native deny header", "native allow not header"] {
        let of = |header| envoy.listener(name).http1(&Request::get("/").header(header, "1")).status;
        assert_eq!(["X-Debug", "X_Debug"].map(of), [403, 200], "{name}");
    }
    for name in ["deny hosts", "allow notHosts"] {
        let listener = envoy.listener(name);
        for authority in ["a.example.", "a.example:80"] {
            assert_refused(
                &listener,
                &listener.http2(&host(authority)),
                &format!("{name}: {authority}"),
            );
        }
        for (first, second) in [("a.example", "b"), ("b", "a.example"), ("b", "a.example.:80")] {
            let reply = listener.http1(&host(first).header("Host", second));
            assert_refused(
                &listener,
                &reply,
                &format!("{name}: two Host lines, {first} and {second}"),
            );
        }
        for other in ["b", "a.example.b", "xa.example"] {
            assert_eq!(listener.http1(&host(other)).status, 200, "{name}: {other}");
        }
    }
    for name in ["deny header", "allow not header"] {
        let listener = envoy.listener(name);
        for spelling in ["X-Debug", "X_Debug", "x_debug"] {
            for reply in listener.both(&Request::get("/").header(spelling.to_lowercase(), "1")) {
                assert_refused(&listener, &reply, &format!("{name}: {spelling}"));
            }
            let reply = listener.http1(&Request::get("/").header(spelling, "1"));
            assert_refused(&listener, &reply, &format!("{name}: {spelling}"));
        }
        assert_eq!(listener.http1(&Request::get("/").header("xdebug", "1")).status, 200, "{name}");
    }
}

#[test]
fn what_lets_in_stays_to_the_letter() {
    let header = |field: &str| json!({"when": [{"key": "request.headers[x-pass]", field: ["1"]}]});
    let listeners = [
        ("allow paths", policy("ALLOW", operation("paths", &["/open/{**}"]))),
        ("deny notPaths", policy("DENY", operation("notPaths", &["/open/{**}"]))),
        ("allow hosts", policy("ALLOW", operation("hosts", &["a.example"]))),
        ("deny notHosts", policy("DENY", operation("notHosts", &["a.example"]))),
        ("allow header", policy("ALLOW", header("values"))),
        ("deny not header", policy("DENY", header("notValues"))),
    ];
    let mut builder = Envoy::builder();
    for (name, config) in &listeners {
        builder = builder.listener(name, Setup::plugin(config.clone()));
    }
    let envoy = builder.start();
    let request = |path: &str| Request::get(path).authority("a.example").header("x-pass", "1");
    let other =
        |authority: &str| Request::get("/open/x").authority(authority).header("x-pass", "1");
    let underscore = Request::get("/open/x").authority("a.example").header("x_pass", "1");
    for (names, refused) in [
        (["allow paths", "deny notPaths"], [request("/open/x["), request("/open/]")]),
        (["allow hosts", "deny notHosts"], [other("a.example."), other("a.example:80")]),
        (["allow header", "deny not header"], [underscore.clone(), underscore]),
    ] {
        for name in names {
            let listener = envoy.listener(name);
            assert_eq!(listener.http1(&request("/open/x")).status, 200, "{name}: the letter");
            for request in &refused {
                assert_refused(
                    &listener,
                    &listener.http1(request),
                    &format!("{name}: {request:?}"),
                );
            }
        }
    }
}

/// A GET over HTTP/2, its path of any bytes, with the fields written out (RFC 7541 section 6.2.2).
fn http2(listener: &Listener<'_>, path: &[u8]) -> Reply {
    let case = Request::case();
    let mut block = Vec::new();
    for (name, value) in [
        (":method", &b"GET"[..]),
        (":scheme", b"http"),
        (":authority", b"service.example"),
        (":path", path),
        (CASE, case.as_bytes()),
    ] {
        block.push(0);
        for text in [name.as_bytes(), value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend_from_slice(text);
        }
    }
    let length = u32::try_from(block.len()).unwrap().to_be_bytes();
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    // HEADERS with END_STREAM and END_HEADERS, on stream 1 (RFC 9113 section 6.2).
    let head = [length[1], length[2], length[3], 1, 5, 0, 0, 0, 1];
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let mut stream = TcpStream::connect(listener.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream.write_all(&[&preface[..], &settings, &head, &block].concat()).unwrap();
    // A frame of the stream that ends it, before the access log is asked.
    let mut got = Vec::new();
    let mut buffer = [0; 4096];
    while !ends_stream(&got) {
        let count = stream.read(&mut buffer).expect("an answer within ten seconds");
        assert!(count > 0, "the connection ended: {}", got.escape_ascii());
        got.extend_from_slice(&buffer[..count]);
    }
    let mut reply = Reply { case, status: 0, headers: Vec::new(), body: Vec::new(), seen: None };
    reply.status = listener.entry(&reply).status;
    reply
}

/// Whether a frame of stream 1 says END_STREAM.
fn ends_stream(mut frames: &[u8]) -> bool {
    while let [a, b, c, kind, flags, _, _, _, stream, rest @ ..] = frames {
        if *stream == 1 && *kind < 2 && flags & 1 == 1 {
            return true;
        }
        let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
        frames = rest.get(length..).unwrap_or_default();
    }
    false
}

#[test]
fn a_path_that_is_not_utf_8_is_refused() {
    let mut builder = Envoy::builder();
    for (name, normalization) in [("base", "BASE"), ("none", "NONE"), ("slashes", "MERGE_SLASHES")]
    {
        let mut config = policy("DENY", operation("paths", &["/admin/{**}"]));
        config["pathNormalization"] = normalization.into();
        builder = builder.listener(name, Setup::plugin(config));
    }
    let envoy = builder.start();
    for name in ["base", "none", "slashes"] {
        let listener = envoy.listener(name);
        for (path, decision, reason) in [
            (&b"/admin/x\xff"[..], "deny", "path_unsafe"),
            (b"/x\xff", "deny", "path_unsafe"),
            (b"/x\xc3", "deny", "path_unsafe"),
            (b"/admin/\xc3\xa9", "deny", "denied_by_rule"),
            (b"/admin/x?q=\xff", "deny", "denied_by_rule"),
            // A query may hold any byte, though this service does not take it.
            (b"/x?q=\xff", "allow", "allowed"),
            (b"/\xc3\xa9", "allow", "allowed"),
        ] {
            let reply = http2(&listener, path);
            let entry = listener.entry(&reply);
            let found = (entry.decision.as_deref(), entry.reason.as_deref());
            let what = format!("{name}: {}", path.escape_ascii());
            assert_eq!(found, (Some(decision), Some(reason)), "{what}");
            let status = match reason {
                "path_unsafe" => 400,
                "denied_by_rule" => 403,
                _ => continue,
            };
            assert_eq!(reply.status, status, "{what}");
        }
    }
}

#[test]
fn a_tenant_that_is_said_twice_lets_nobody_in() {
    const TENANT: &str = "request.auth.claims[tenant]";
    let key = Key::new("ES256", "k1");
    let config = |action: &str, rule: Value| {
        let mut config = policy(action, rule);
        config["jwtRules"] = json!([{"issuer": "i", "jwks": jwks([&key])}]);
        config
    };
    let from = |key: &str, sources: &[&str]| json!({"when": [{"key": key, "valuesFrom": sources}]});
    let within = json!({"when": [{"key": "request.query[t]", "valuesFrom": [TENANT],
        "valuesFromAll": true}]});
    let path = json!({
        "to": [{"operation": {"paths": ["/{t}/{*}"], "methods": ["GET"]}},
            {"operation": {"paths": ["/{*}/{t}"], "methods": ["POST"]}}],
        "when": [{"key": TENANT, "valuesFrom": ["path.t"]}],
    });
    let header = from(TENANT, &["request.headers[x-tenant]"]);
    let listeners = [
        ("allow header", config("ALLOW", header.clone())),
        ("deny header", config("DENY", header)),
        ("allow query", config("ALLOW", from(TENANT, &["request.query[t]"]))),
        ("allow all", config("ALLOW", within)),
        ("allow path", config("ALLOW", path)),
    ];
    let mut builder = Envoy::builder();
    for (name, config) in &listeners {
        builder = builder.listener(name, Setup::plugin(config.clone()));
    }
    let envoy = builder.start();
    let token =
        key.token(&json!({"iss": "i", "sub": "s", "exp": EXP, "tenant": ["mine", "other"]}));
    let request = |path: &str, tenants: &[&str]| {
        let request = Request::get(path).bearer(&token);
        tenants.iter().fold(request, |request, tenant| request.header("X-Tenant", tenant))
    };
    for (name, request, status) in [
        ("allow header", request("/", &["mine"]), 200),
        ("allow header", request("/", &["victim", "mine"]), 403),
        ("allow header", request("/", &["mine", "victim"]), 403),
        ("allow header", request("/", &["mine", "other"]), 403),
        ("allow header", request("/", &["mine", "mine"]), 200),
        ("allow header", request("/", &["mine,victim"]), 403),
        ("allow header", request("/", &[]), 403),
        ("deny header", request("/", &["victim"]), 200),
        ("deny header", request("/", &["mine"]), 403),
        ("deny header", request("/", &["victim", "mine"]), 403),
        ("deny header", request("/", &["victim", "strange"]), 403),
        ("deny header", Request::get("/").bearer(&token).header("X_Tenant", "mine"), 403),
        ("allow query", request("/?t=mine", &[]), 200),
        ("allow query", request("/?t=victim&t=mine", &[]), 403),
        ("allow query", request("/?t=mine&t=mine", &[]), 200),
        ("allow all", request("/?t=mine&t=other", &[]), 200),
        ("allow all", request("/?t=mine&t=victim", &[]), 403),
        ("allow all", request("/", &[]), 403),
        ("allow path", request("/mine/x", &[]), 200),
        // What another operation would have captured.
        ("allow path", request("/victim/mine", &[]), 403),
    ] {
        for reply in envoy.listener(name).both(&request) {
            assert_eq!(reply.status, status, "{name}: {request:?}\n{reply}");
        }
    }
}
