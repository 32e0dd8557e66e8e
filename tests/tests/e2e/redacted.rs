//! What an access log shows of a refused request, what stands behind a dry run sees, and what a preflight
//! is: in a real Envoy, where `%REQ(..)%` is read after the filters.

use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};
use usher_testkit::{jwt_authn, log, secrets};

const ISSUER: &str = "https://idp.example";
const CORS: [(&str, &str); 2] =
    [("origin", "https://app.example"), ("access-control-request-method", "POST")];

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// A server for keys that takes connections and never answers.
static SILENT: LazyLock<TcpListener> = LazyLock::new(|| TcpListener::bind("127.0.0.1:0").unwrap());

/// Where the logs go, and are searched for tokens by `logged.rs`.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = secrets::folder().join("redacted-logs");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    folder.canonicalize().unwrap()
});

/// A rule that reads all four kinds of places.
fn rule() -> Value {
    json!({
        "issuer": ISSUER, "jwks": mint::jwks([&*KEY]),
        "fromHeaders": [{ "name": "authorization", "prefix": "Bearer " }],
        "fromParams": ["t"],
        "fromCookies": ["auth"],
        "fromWebSocketProtocol": { "prefix": "bearer." },
        "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
    })
}

fn configuration() -> Value {
    json!({
        "jwtRules": [rule()],
        "authorizationPolicies": [{ "name": "no-admin", "action": "DENY",
            "rules": [{ "to": [{ "operation": { "paths": ["/admin"] } }] }] }],
        "limits": { "tokenBytes": 2048 },
    })
}

/// With an access log of its own, which shows every place of a token.
fn logging(name: &str, setup: Setup) -> Setup {
    let format = json!({
        "path": "%REQ(:PATH)%",
        "original": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "authorization": "%REQ(AUTHORIZATION)%",
        "cookie": "%REQ(COOKIE)%",
        "protocol": "%REQ(SEC-WEBSOCKET-PROTOCOL)%",
        "mark": "%REQ(X-MARK)%",
        "details": "%RESPONSE_CODE_DETAILS%",
    });
    logging_in(name, setup, &format)
}

fn logging_in(name: &str, setup: Setup, format: &Value) -> Setup {
    let log = json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": FOLDER.join(format!("{name}.log")),
            "log_format": { "json_format": format },
        },
    });
    setup.manager(json!({ "access_log": [log] }))
}

/// The line of the request that is marked so.
fn entry(name: &str, mark: &str) -> Value {
    let file = FOLDER.join(format!("{name}.log"));
    let find = || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let mut lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.find(|line| line["mark"] == mark)
    };
    log::wait(find).unwrap_or_else(|| panic!("{name}: no line for {mark}"))
}

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let native = || jwt_authn::filter(&json!([native_rule()]));
    let mut dry = configuration();
    dry["mode"] = json!("dryRun");
    let mut waiting = configuration();
    let remote = waiting["jwtRules"][0].as_object_mut().unwrap();
    remote.remove("jwks");
    remote.insert("jwksUri".to_owned(), json!("http://keys.example/keys"));
    remote.insert("jwksCluster".to_owned(), json!("silent"));
    // One beside that forwards from the same places changes nothing for a token that was not verified.
    let mut beside = waiting["jwtRules"][0].clone();
    beside["issuer"] = json!("https://beside.example");
    beside["forwardOriginalToken"] = json!(true);
    beside["outputClaimToHeaders"] = json!([]);
    waiting["jwtRules"].as_array_mut().unwrap().push(beside);
    // Without the places, where a dry run leaves tokens.
    let told = json!({
        "mark": "%REQ(X-MARK)%",
        "withheld": "%FILTER_STATE(wasm.usher.would_withhold:PLAIN)%",
    });
    let requiring = json!({ "jwtRules": [rule()], "corsPreflight": "requireToken" });
    Envoy::builder()
        .cluster("silent", SILENT.local_addr().unwrap())
        .listener("enforce", logging("enforce", Setup::plugin(configuration())))
        .listener("invalid", logging("invalid", Setup::plugin(json!({ "jwtRule": [] }))))
        .listener("waiting", logging("waiting", Setup::plugin(waiting)))
        .listener("native", Setup::open().behind(native()))
        .listener(
            "dry-native",
            logging_in("dry-native", Setup::plugin(dry).behind(native()), &told),
        )
        .listener("preflight", Setup::plugin(json!({ "jwtRules": [rule()] })))
        .listener("requiring", Setup::plugin(requiring))
        .start()
});

/// As Istio would have it beside: it withholds too, and emits a header of its own.
fn native_rule() -> Value {
    json!({
        "issuer": ISSUER, "jwks": mint::jwks([&*KEY]),
        "fromHeaders": [{ "name": "authorization", "prefix": "Bearer " }],
        "fromParams": ["t"],
        "fromCookies": ["auth"],
        "outputClaimToHeaders": [{ "header": "x-native", "claim": "sub" }],
    })
}

/// A request with a token at one place, and with something else beside it.
fn request(path: &str, place: &str, token: &str) -> Request {
    match place {
        "authorization" => Request::get(path).bearer(token),
        "path" => Request::get(format!("{path}?a=1&t={token}&b=2")),
        "cookie" => Request::get(path).header("cookie", format!("a=1; auth={token}; b=2")),
        "protocol" => {
            Request::get(path).header("sec-websocket-protocol", format!("chat, bearer.{token}"))
        }
        other => panic!("{other}"),
    }
}

/// What is left of such a request, per place.
fn rest(path: &str, place: &str) -> Value {
    match place {
        "authorization" => Value::Null,
        "path" => json!(format!("{path}?a=1&b=2")),
        "cookie" => json!("a=1; b=2"),
        _ => json!("chat"),
    }
}

fn send(listener: &str, version: &str, request: &Request) -> Reply {
    let listener = ENVOY.listener(listener);
    if version == "http1" { listener.http1(request) } else { listener.http2(request) }
}

#[test]
fn the_access_log_of_a_refusal_shows_no_token() {
    let claims = mint::claims(ISSUER, "mmosley");
    let good = KEY.token(&claims);
    let huge = KEY.token(&mint::with(&claims, "sub", "x".repeat(4000)));
    let expired = KEY.token(&mint::with(&claims, "exp", mint::now() - 600));
    let stranger = Key::new("ES256", "two").token(&claims);
    for (reason, status, path, token) in [
        ("denied_by_rule", 403, "/admin", good.as_str()),
        ("token_expired", 401, "/", &expired),
        ("key_unknown", 401, "/", &stranger),
        ("token_malformed", 401, "/", "opaque"),
        ("token_too_large", 401, "/", &huge),
    ] {
        for place in ["authorization", "path", "cookie", "protocol"] {
            for version in ["http1", "http2"] {
                let mark = format!("{reason}-{place}-{version}");
                let request = request(path, place, token).header("x-mark", &mark);
                let reply = send("enforce", version, &request);
                assert_eq!(reply.status, status, "{mark}: {reply}");
                let entry = entry("enforce", &mark);
                assert_eq!(entry["details"], format!("usher_denied{{{reason}}}"), "{mark}");
                assert_eq!(entry[place], rest(path, place), "{mark}: {entry}");
                assert!(!entry.to_string().contains(token), "{mark}: {entry}");
            }
        }
    }
    // Two of them, of which neither counts.
    let two = request("/", "path", &good).bearer(&expired).header("x-mark", "two");
    assert_eq!(send("enforce", "http1", &two).status, 401);
    let entry = entry("enforce", "two");
    assert_eq!(entry["details"], "usher_denied{token_ambiguous}");
    assert_eq!((&entry["path"], &entry["authorization"]), (&json!("/?a=1&b=2"), &Value::Null));
}

#[test]
fn without_a_configuration_the_default_places_are_emptied() {
    let token = KEY.token(&mint::claims(ISSUER, "mmosley"));
    let request = Request::get(format!("/p?access_token={token}&a=1")).bearer(&token);
    assert_eq!(send("invalid", "http1", &request.header("x-mark", "invalid")).status, 503);
    let entry = entry("invalid", "invalid");
    assert_eq!((&entry["path"], &entry["authorization"]), (&json!("/p?a=1"), &Value::Null));
}

/// The client disconnects while its request waits for keys: it is not decided about any more.
#[test]
fn a_request_that_is_left_waiting_shows_no_token() {
    let token = KEY.token(&mint::claims(ISSUER, "mmosley"));
    for place in ["authorization", "path", "cookie", "protocol"] {
        let mark = format!("left-{place}");
        let stream =
            ENVOY.listener("waiting").leave(&request("/w", place, &token).header("x-mark", &mark));
        // Long enough to have been paused, and less than the fetch may take.
        std::thread::sleep(Duration::from_millis(300));
        drop(stream);
        let entry = entry("waiting", &mark);
        assert_eq!(entry[place], rest("/w", place), "{mark}: {entry}");
        assert!(!entry.to_string().contains(&token), "{mark}: {entry}");
    }
}

/// The native filter decides and the service sees as if Usher were not there, but for what Usher emits.
#[test]
fn behind_a_dry_run_the_native_filter_decides_as_without_it() {
    let claims = mint::claims(ISSUER, "mmosley");
    let good = KEY.token(&claims);
    let expired = KEY.token(&mint::with(&claims, "exp", mint::now() - 600));
    let stranger = Key::new("ES256", "two").token(&claims);
    let mut requests = vec![("no token".to_owned(), Request::get("/"), true)];
    for (what, token) in [("good", &good), ("expired", &expired), ("stranger", &stranger)] {
        for place in ["authorization", "path", "cookie", "protocol"] {
            requests.push((format!("{what} {place}"), request("/", place, token), false));
            requests.push((
                format!("{what} {place} denied"),
                request("/admin", place, token),
                false,
            ));
        }
    }
    for (what, request, bare) in requests {
        for version in ["http1", "http2"] {
            let mark = format!("{what} {version}");
            let request = request.clone().header("x-mark", &mark);
            let (native, dry) =
                (send("native", version, &request), send("dry-native", version, &request));
            assert_eq!((dry.status, dry.text()), (native.status, native.text()), "{mark}");
            let seen = |reply: &Reply| {
                let seen = reply.seen.as_ref()?;
                // `x-user` is Usher's; the others are new in each request.
                let own = ["x-user", "x-request-id", "x-case"];
                let lines = seen.headers.iter().filter(|(name, _)| !own.contains(&name.as_str()));
                let mut lines: Vec<String> = lines
                    .map(|(name, value)| format!("{name}: {}", value.escape_ascii()))
                    .collect();
                lines.sort();
                Some((seen.path.clone(), lines))
            };
            assert_eq!(seen(&dry), seen(&native), "{mark}");
            let entry = entry("dry-native", &mark);
            assert_eq!(entry["withheld"].is_null(), bare, "{mark}: {entry}");
        }
    }
}

/// `preflight-without-body` (docs/differences.md).
#[test]
fn a_preflight_has_no_body() {
    let preflight = |path: &str| {
        let request = Request::new("OPTIONS", path);
        CORS.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    let body = || preflight("/x?action=delete").body("delete=all");
    let trailers = || preflight("/x").body("").trailer("x-more", "1");
    for version in ["http1", "http2"] {
        for (what, listener, request, status) in [
            ("a preflight", "preflight", preflight("/x"), 200),
            ("no content", "preflight", preflight("/x").header("content-length", "0"), 200),
            ("a body", "preflight", body(), 401),
            ("trailers", "preflight", trailers(), 401),
            ("a token is asked for", "requiring", preflight("/x"), 401),
        ] {
            let reply = send(listener, version, &request);
            assert_eq!(reply.status, status, "{what} {version}: {reply}");
        }
    }
}
