//! A request with any content gets a decision, and so does the next one.
//!
//! All listeners share one VM: a trap in any test would be seen in every other.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let configuration = json!({ "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
        "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
    }]});
    let cookies = json!({ "jwtRules": [{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
        "fromCookies": ["auth-token"],
        "fromHeaders": [{ "name": "x-token", "prefix": "T " }],
        "fromParams": ["t"],
    }]});
    Envoy::builder()
        .listener("main", Setup::plugin(configuration.clone()))
        .listener("elsewhere", Setup::plugin(cookies))
        .listener("connect", Setup::plugin(configuration).accept_connect())
        .start()
});

fn listener() -> Listener<'static> {
    ENVOY.listener("main")
}

fn claims() -> Value {
    mint::claims(ISSUER, "mmosley")
}

/// Asserts that Envoy is as it was: good tokens pass, others do not, and Envoy complains of nothing.
#[track_caller]
fn assert_up() {
    for name in ["main", "connect"] {
        let listener = ENVOY.listener(name);
        for reply in listener.both(&Request::get("/").bearer(&KEY.token(&claims()))) {
            assert_eq!(reply.passed().header("x-user"), Some("mmosley"), "{reply}");
        }
        for reply in listener.both(&Request::get("/")) {
            listener.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
        }
    }
    let log = ENVOY.log().text();
    for bad in ["RuntimeError", "panicked", "proxy_on", "wasm trap", "Wasm VM"] {
        assert!(!log.contains(bad), "{bad} in Envoy's log:\n{log}");
    }
}

#[track_caller]
fn assert_missing(reply: &Reply) {
    listener().assert_denied(reply, 401, "Jwt is missing", "token_missing");
}

const FORM: &str =
    "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";

#[test]
fn header_values_that_are_not_utf_8() {
    let token = KEY.token(&claims());
    let odd = [b"\xff".as_slice(), b"\xc3", b"\xed\xa0\x80", b"caf\xe9", b"\x80\x81\x82"];
    for value in odd {
        for name in ["x-odd", "cookie", "user-agent", "content-type", "origin", "x-user"] {
            let request = Request::get("/").header(name, value);
            for reply in listener().both(&request) {
                assert_missing(&reply);
            }
            for reply in listener().both(&request.bearer(&token)) {
                assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
            }
        }
        for reply in listener().both(&Request::get("/").header("authorization", value)) {
            assert_missing(&reply);
        }
        let bearer = [b"Bearer ", value].concat();
        for reply in listener().both(&Request::get("/").header("authorization", bearer)) {
            listener().assert_denied(&reply, 401, FORM, "token_malformed");
        }
    }
    assert_up();
}

#[test]
fn two_values_of_one_header() {
    let token = KEY.token(&claims());
    for name in ["x-twice", "cookie", "content-type", "accept", "x-forwarded-for", "x-user"] {
        let request =
            Request::get("/").header(name, "one").header(name, "two").header(name, b"\xff");
        for reply in listener().both(&request) {
            assert_missing(&reply);
        }
        for reply in listener().both(&request.bearer(&token)) {
            assert_eq!(reply.passed().header("x-user"), Some("mmosley"), "{name}: {reply}");
        }
    }
    let twice = Request::get("/").header("x-twice", "one").header("x-twice", "two").bearer(&token);
    for reply in listener().both(&twice) {
        assert_eq!(reply.passed().values("x-twice"), [b"one", b"two"], "{reply}");
    }
    assert_up();
}

#[test]
fn credentials_without_a_token() {
    for value in ["", " ", "B", "Basic", "Basic dXNlcjpwdw==", "Negotiate", "Token abc"] {
        for reply in listener().both(&Request::get("/").header("authorization", value)) {
            assert_missing(&reply);
        }
    }
    for value in ["Bearer ..", "Bearer .", "Bearer a.b.", "bearer x", "Bearer a b c", "Bearer \""] {
        for reply in listener().both(&Request::get("/").header("authorization", value)) {
            listener().assert_denied(&reply, 401, FORM, "token_malformed");
        }
    }
    for query in ["access_token=%ff%fe", "access_token=%", "access_token=%2", "access_token=a%00b"]
    {
        for reply in listener().both(&Request::get(format!("/?{query}"))) {
            listener().assert_denied(&reply, 401, FORM, "token_malformed");
        }
    }
    for path in ["/?", "/?&&&", "/?=", "/?=access_token", "/?%", "/?a?access_token=x&", "/#"] {
        for reply in listener().both(&Request::get(path)).iter().filter(|reply| reply.status != 400)
        {
            assert_missing(reply);
        }
    }
    assert_up();
}

#[test]
fn tokens_of_any_size() {
    // DESIGN: `limits.tokenBytes` is 16384.
    let padded = |bytes: usize| {
        // A claim that makes the token about as long; base64 has 4 characters for 3 bytes.
        let token = |n: usize| KEY.token(&mint::with(&claims(), "padding", "x".repeat(n)));
        let shortest = token(0).len();
        let mut n = (bytes - shortest) * 3 / 4;
        while token(n).len() > bytes {
            n -= 1;
        }
        token(n)
    };
    let fits = padded(16384);
    assert!(fits.len() > 16380, "{}", fits.len());
    for reply in listener().both(&Request::get("/").bearer(&fits)) {
        assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
    }
    for token in [padded(16400), padded(60 << 10), "x".repeat(60 << 10), ".".repeat(60 << 10)] {
        for request in
            [Request::get("/").bearer(&token), Request::get(format!("/?access_token={token}"))]
        {
            for reply in listener().both(&request) {
                listener().assert_denied(&reply, 401, "Jwt is too large", "token_too_large");
            }
        }
    }
    assert_up();
}

#[test]
fn payloads_that_strain_a_parser() {
    let header = json!({ "alg": "ES256", "kid": "one" }).to_string();
    for payload in [
        format!("{}{}", "[".repeat(5000), "]".repeat(5000)),
        format!("{{\"a\":{}1{}}}", "{\"a\":".repeat(1000), "}".repeat(1000)),
        "{\"a\":\"\\ud800\"}".to_owned(),
        "{\"a\":1,}".to_owned(),
        "{".repeat(8000),
        String::new(),
        "null".to_owned(),
        "\u{feff}{}".to_owned(),
        "{} {}".to_owned(),
        "{\"a\":\"\u{0}\"}".to_owned(),
    ] {
        let token = KEY.sign_text(&header, &payload);
        for reply in listener().both(&Request::get("/").bearer(&token)) {
            let body = if payload.is_empty() { FORM } else { "Jwt payload is an invalid JSON" };
            listener().assert_denied(&reply, 401, body, "token_malformed");
        }
    }
    // Numbers that no machine type holds are numbers nevertheless.
    let now = mint::now();
    let huge = format!(
        r#"{{"iss":"{ISSUER}","sub":"mmosley","exp":{},"n":1e999999999,"m":{}}}"#,
        now + 600,
        "9".repeat(2000)
    );
    for reply in listener().both(&Request::get("/").bearer(&KEY.sign_text(&header, &huge))) {
        assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
    }
    assert_up();
}

#[test]
fn headers_of_any_size_and_number() {
    let token = KEY.token(&claims());
    let large = Request::get("/").header("x-large", "x".repeat(60 << 10));
    let many = (0..900).fold(Request::get("/"), |request, n| request.header(format!("x-{n}"), "x"));
    let cookies = Request::get("/").header("cookie", "a=b;".repeat(10_000));
    let query = Request::get(format!("/?{}", "a=b&".repeat(10_000)));
    // The places of tokens are in the query, so that it has a bound.
    for reply in listener().both(&query) {
        listener().assert_denied(&reply, 400, "Bad Request", "request_too_complex");
    }
    for request in [large, many, cookies] {
        for reply in listener().both(&request) {
            assert_missing(&reply);
        }
        for reply in listener().both(&request.bearer(&token)) {
            assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
        }
    }
    assert_up();
}

#[test]
fn odd_paths() {
    let token = KEY.token(&claims());
    for path in ["//?//", "/;", "/.", "/a;b=c", "/%", "/%zz", "/{}|^"] {
        assert_missing(&listener().http1(&Request::get(path)));
    }
    for path in ["/%00", "/a%00b?q"] {
        for reply in listener().both(&Request::get(path).bearer(&token)) {
            listener().assert_denied(&reply, 400, "Bad Request", "path_unsafe");
        }
    }
    let long = format!("/{}", "a/../".repeat(10_000));
    for reply in listener().both(&Request::get(&long).bearer(&token)) {
        assert_eq!(reply.passed().path, "/");
    }
    // Envoy lets these through to filters or refuses them itself; either way there is an answer.
    for path in
        [b"/\xff\xfe".as_slice(), b"/\xc3\xa9", b"http://other.example/p", b"relative", b"/a b"]
    {
        let reply = listener().http1(&Request::get(path));
        assert!([400, 401, 404].contains(&reply.status), "{reply}");
        assert_eq!(reply.seen, None);
    }
    assert_up();
}

#[test]
fn a_request_without_a_path() {
    let listener = ENVOY.listener("connect");
    let head =
        "CONNECT service.example:443 HTTP/1.1\r\nhost: service.example:443\r\nx-case: {case}\r\n";
    let reply = listener.raw(format!("{head}\r\n").as_bytes());
    listener.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    let bearer = format!("authorization: Bearer {}\r\n", KEY.token(&claims()));
    let reply = listener.raw(format!("{head}{bearer}\r\n").as_bytes());
    assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
    assert_up();
}

#[test]
fn tokens_in_odd_places() {
    let listener = ENVOY.listener("elsewhere");
    let token = KEY.token(&claims());
    for cookie in ["", ";", "=", "auth-token", ";;=;auth-tokenx=1", "\"", "AUTH-TOKEN=x"] {
        for reply in listener
            .both(&Request::get("/").header("cookie", cookie).header("cookie", b"\xff=\xfe"))
        {
            listener.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
        }
    }
    for (request, cookies) in [
        (
            Request::get("/").header("cookie", format!("a=1; auth-token={token}; b=2")),
            Some("a=1; b=2"),
        ),
        (Request::get("/").header("cookie", format!("auth-token={token}")), None),
        (Request::get("/").header("x-token", format!("T {token}")), None),
        (Request::get(format!("/?t={token}")), None),
    ] {
        for reply in listener.both(&request) {
            let seen = reply.passed();
            assert_eq!(seen.header("cookie"), cookies, "{reply}");
            assert!(!format!("{seen:?}").contains(&token), "{reply}");
        }
    }
    // Where a rule names its places, the default ones are not read.
    for reply in listener.both(&Request::get(format!("/?access_token={token}")).bearer(&token)) {
        listener.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    }
    assert_up();
}

#[test]
fn bodies_and_trailers_of_refused_requests() {
    for request in [
        Request::new("POST", "/").body("x".repeat(300_000)),
        Request::new("POST", "/").body("x").trailer("x-user", "forged").trailer("x", b"\xff"),
        Request::new("POST", "/").trailer("x-user", "forged"),
    ] {
        for reply in listener().both(&request) {
            assert_missing(&reply);
        }
    }
    assert_up();
}

#[test]
fn many_requests_at_once() {
    let token = KEY.token(&claims());
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let token = &token;
            scope.spawn(move || {
                for _ in 0..25 {
                    let good = listener().http1(&Request::get("/").bearer(token));
                    assert_eq!(good.passed().header("x-user"), Some("mmosley"), "{thread}");
                    assert_eq!(listener().http2(&Request::get("/")).status, 401);
                }
            });
        }
    });
    assert_up();
}
