//! Whatever a request holds, it gets a decision, and the next request does too.
//!
//! All doors share one VM: a trap in any test would be seen in every other.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Ask, Reply};
use usher_testkit::gate::{Door, Gate};
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

static GATE: LazyLock<Gate> = LazyLock::new(|| {
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
    Gate::plan()
        .door("gate", Setup::plugin(configuration.clone()))
        .door("elsewhere", Setup::plugin(cookies))
        .door("connect", Setup::plugin(configuration).accept_connect())
        .start()
});

fn gate() -> Door<'static> {
    GATE.door("gate")
}

fn claims() -> Value {
    mint::claims(ISSUER, "mmosley")
}

/// Asserts that the gate is as it was: good tokens pass, others do not, and Envoy complains of nothing.
#[track_caller]
fn assert_up() {
    for name in ["gate", "connect"] {
        let door = GATE.door(name);
        for reply in door.both(&Ask::get("/").bearer(&KEY.token(&claims()))) {
            assert_eq!(reply.passed().header("x-user"), Some("mmosley"), "{reply}");
        }
        for reply in door.both(&Ask::get("/")) {
            door.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
        }
    }
    let log = GATE.log().text();
    for bad in ["RuntimeError", "panicked", "proxy_on", "wasm trap", "Wasm VM"] {
        assert!(!log.contains(bad), "{bad} in Envoy's log:\n{log}");
    }
}

#[track_caller]
fn assert_missing(reply: &Reply) {
    gate().assert_denied(reply, 401, "Jwt is missing", "token_missing");
}

const FORM: &str =
    "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections";

#[test]
fn header_values_that_are_not_utf_8() {
    let token = KEY.token(&claims());
    let odd = [b"\xff".as_slice(), b"\xc3", b"\xed\xa0\x80", b"caf\xe9", b"\x80\x81\x82"];
    for value in odd {
        for name in ["x-odd", "cookie", "user-agent", "content-type", "origin", "x-user"] {
            let ask = Ask::get("/").header(name, value);
            for reply in gate().both(&ask) {
                assert_missing(&reply);
            }
            for reply in gate().both(&ask.bearer(&token)) {
                assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
            }
        }
        for reply in gate().both(&Ask::get("/").header("authorization", value)) {
            assert_missing(&reply);
        }
        let bearer = [b"Bearer ", value].concat();
        for reply in gate().both(&Ask::get("/").header("authorization", bearer)) {
            gate().assert_denied(&reply, 401, FORM, "token_malformed");
        }
    }
    assert_up();
}

#[test]
fn two_values_of_one_header() {
    let token = KEY.token(&claims());
    for name in ["x-twice", "cookie", "content-type", "accept", "x-forwarded-for", "x-user"] {
        let ask = Ask::get("/").header(name, "one").header(name, "two").header(name, b"\xff");
        for reply in gate().both(&ask) {
            assert_missing(&reply);
        }
        for reply in gate().both(&ask.bearer(&token)) {
            assert_eq!(reply.passed().header("x-user"), Some("mmosley"), "{name}: {reply}");
        }
    }
    let twice = Ask::get("/").header("x-twice", "one").header("x-twice", "two").bearer(&token);
    for reply in gate().both(&twice) {
        assert_eq!(reply.passed().values("x-twice"), [b"one", b"two"], "{reply}");
    }
    assert_up();
}

#[test]
fn credentials_without_a_token() {
    for value in ["", " ", "B", "Basic", "Basic dXNlcjpwdw==", "Negotiate", "Token abc"] {
        for reply in gate().both(&Ask::get("/").header("authorization", value)) {
            assert_missing(&reply);
        }
    }
    for value in ["Bearer ..", "Bearer .", "Bearer a.b.", "bearer x", "Bearer a b c", "Bearer \""] {
        for reply in gate().both(&Ask::get("/").header("authorization", value)) {
            gate().assert_denied(&reply, 401, FORM, "token_malformed");
        }
    }
    for query in ["access_token=%ff%fe", "access_token=%", "access_token=%2", "access_token=a%00b"]
    {
        for reply in gate().both(&Ask::get(format!("/?{query}"))) {
            gate().assert_denied(&reply, 401, FORM, "token_malformed");
        }
    }
    for path in ["/?", "/?&&&", "/?=", "/?=access_token", "/?%", "/?a?access_token=x&", "/#"] {
        for reply in gate().both(&Ask::get(path)).iter().filter(|reply| reply.status != 400) {
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
    for reply in gate().both(&Ask::get("/").bearer(&fits)) {
        assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
    }
    for token in [padded(16400), padded(60 << 10), "x".repeat(60 << 10), ".".repeat(60 << 10)] {
        for ask in [Ask::get("/").bearer(&token), Ask::get(format!("/?access_token={token}"))] {
            for reply in gate().both(&ask) {
                gate().assert_denied(&reply, 401, "Jwt is too large", "token_too_large");
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
        for reply in gate().both(&Ask::get("/").bearer(&token)) {
            let body = if payload.is_empty() { FORM } else { "Jwt payload is an invalid JSON" };
            gate().assert_denied(&reply, 401, body, "token_malformed");
        }
    }
    // Numbers that no machine type holds are numbers nevertheless.
    let now = mint::now();
    let huge = format!(
        r#"{{"iss":"{ISSUER}","sub":"mmosley","exp":{},"n":1e999999999,"m":{}}}"#,
        now + 600,
        "9".repeat(2000)
    );
    for reply in gate().both(&Ask::get("/").bearer(&KEY.sign_text(&header, &huge))) {
        assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
    }
    assert_up();
}

#[test]
fn headers_of_any_size_and_number() {
    let token = KEY.token(&claims());
    let large = Ask::get("/").header("x-large", "x".repeat(60 << 10));
    let many = (0..900).fold(Ask::get("/"), |ask, n| ask.header(format!("x-{n}"), "x"));
    let cookies = Ask::get("/").header("cookie", "a=b;".repeat(10_000));
    let query = Ask::get(format!("/?{}", "a=b&".repeat(10_000)));
    // The places of tokens are in the query, so that it has a bound.
    for reply in gate().both(&query) {
        gate().assert_denied(&reply, 400, "Bad Request", "request_too_complex");
    }
    for ask in [large, many, cookies] {
        for reply in gate().both(&ask) {
            assert_missing(&reply);
        }
        for reply in gate().both(&ask.bearer(&token)) {
            assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
        }
    }
    assert_up();
}

#[test]
fn odd_paths() {
    let token = KEY.token(&claims());
    for path in ["//?//", "/;", "/.", "/a;b=c", "/%", "/%zz", "/{}|^"] {
        assert_missing(&gate().http1(&Ask::get(path)));
    }
    for path in ["/%00", "/a%00b?q"] {
        for reply in gate().both(&Ask::get(path).bearer(&token)) {
            gate().assert_denied(&reply, 400, "Bad Request", "path_unsafe");
        }
    }
    let long = format!("/{}", "a/../".repeat(10_000));
    for reply in gate().both(&Ask::get(&long).bearer(&token)) {
        assert_eq!(reply.passed().path, "/");
    }
    // Envoy lets these through to filters or refuses them itself; either way there is an answer.
    for path in
        [b"/\xff\xfe".as_slice(), b"/\xc3\xa9", b"http://other.example/p", b"relative", b"/a b"]
    {
        let reply = gate().http1(&Ask::get(path));
        assert!([400, 401, 404].contains(&reply.status), "{reply}");
        assert_eq!(reply.seen, None);
    }
    assert_up();
}

#[test]
fn a_request_without_a_path() {
    let door = GATE.door("connect");
    let head =
        "CONNECT service.example:443 HTTP/1.1\r\nhost: service.example:443\r\nx-case: {case}\r\n";
    let reply = door.raw(format!("{head}\r\n").as_bytes());
    door.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    let bearer = format!("authorization: Bearer {}\r\n", KEY.token(&claims()));
    let reply = door.raw(format!("{head}{bearer}\r\n").as_bytes());
    assert_eq!(reply.passed().header("x-user"), Some("mmosley"));
    assert_up();
}

#[test]
fn tokens_in_odd_places() {
    let door = GATE.door("elsewhere");
    let token = KEY.token(&claims());
    for cookie in ["", ";", "=", "auth-token", ";;=;auth-tokenx=1", "\"", "AUTH-TOKEN=x"] {
        for reply in
            door.both(&Ask::get("/").header("cookie", cookie).header("cookie", b"\xff=\xfe"))
        {
            door.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
        }
    }
    for (ask, cookies) in [
        (Ask::get("/").header("cookie", format!("a=1; auth-token={token}; b=2")), Some("a=1; b=2")),
        (Ask::get("/").header("cookie", format!("auth-token={token}")), None),
        (Ask::get("/").header("x-token", format!("T {token}")), None),
        (Ask::get(format!("/?t={token}")), None),
    ] {
        for reply in door.both(&ask) {
            let seen = reply.passed();
            assert_eq!(seen.header("cookie"), cookies, "{reply}");
            assert!(!format!("{seen:?}").contains(&token), "{reply}");
        }
    }
    // Where a rule names its places, the default ones are not read.
    for reply in door.both(&Ask::get(format!("/?access_token={token}")).bearer(&token)) {
        door.assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    }
    assert_up();
}

#[test]
fn bodies_and_trailers_of_refused_requests() {
    for ask in [
        Ask::new("POST", "/").body("x".repeat(300_000)),
        Ask::new("POST", "/").body("x").trailer("x-user", "forged").trailer("x", b"\xff"),
        Ask::new("POST", "/").trailer("x-user", "forged"),
    ] {
        for reply in gate().both(&ask) {
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
                    let good = gate().http1(&Ask::get("/").bearer(token));
                    assert_eq!(good.passed().header("x-user"), Some("mmosley"), "{thread}");
                    assert_eq!(gate().http2(&Ask::get("/")).status, 401);
                }
            });
        }
    });
    assert_up();
}
