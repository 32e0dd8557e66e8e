//! Where a token may stand, and what remains when it was taken out.

use serde_json::{Value, json};
use usher_core::Request;
use usher_testkit::verdict::RequestBuilder as _;
use usher_testkit::verdict::{Core, claims, get, request, rule, with};

use super::KEY;

fn token() -> String {
    KEY.token(&claims())
}

/// A rule that reads these places.
fn reading(field: &str, places: Value) -> Core {
    Core::with_rule(with(&rule(&KEY), field, places))
}

#[test]
fn a_prefix_is_compared_exactly_but_the_scheme_bearer_in_any_case() {
    let token = token();
    let reading =
        |prefix: &str| reading("fromHeaders", json!([{ "name": "X-Jwt", "prefix": prefix }]));
    for (prefix, line, expected) in [
        ("Bearer ", "Bearer $", "allowed"),
        ("Bearer ", "bearer $", "allowed"),
        ("Bearer ", "BEARER  $ ", "allowed"),
        ("bearer", "Bearer\t$", "allowed"),
        ("Bearer ", "Bearer$", "token_missing"),
        ("Bearer ", "Basic $", "token_missing"),
        ("Bearer ", "$", "token_missing"),
        // Envoy would take the token out: it is refused rather than handed on unread.
        ("Bearer ", "x Bearer $", "token_malformed"),
        ("Bearer ", "x bearer $", "token_malformed"),
        ("bearer", "Bearer$", "allowed"),
        ("Token ", "Token $", "allowed"),
        ("Token ", "token $", "token_missing"),
        ("Token ", "x Token $", "token_malformed"),
        ("jwt=", "jwt=$", "allowed"),
        ("jwt=", "JWT=$", "token_missing"),
        ("", "$", "allowed"),
        ("", "", "token_malformed"),
        ("Bearer ", "Bearer", "token_missing"),
        ("bearer", "Bearer", "token_malformed"),
        // Header lines that a proxy has joined.
        ("Bearer ", "Bearer $, Bearer $", "allowed"),
        ("Bearer ", "Bearer $,$", "allowed"),
        ("Bearer ", "Bearer $, Bearer x", "token_malformed"),
        ("Bearer ", "Bearer $,", "token_malformed"),
        ("Token ", "Token $, Token $", "allowed"),
        ("", "$, $", "allowed"),
    ] {
        let verdict = reading(prefix).decide(&get("/").header("x-jwt", line.replace('$', &token)));
        assert_eq!(verdict.code(), expected, "{prefix:?} {line:?}");
    }
}

#[test]
fn a_dry_run_tells_of_no_token_that_goes_on_in_whatever_order_it_is_sent() {
    let token = token();
    let rule = with(&rule(&KEY), "forwardOriginalToken", true);
    let places = json!([{ "name": "x-a" }, { "name": "x-b" }, { "name": "x-c" }]);
    let core =
        Core::new(&json!({ "mode": "dryRun", "jwtRules": [with(&rule, "fromHeaders", places)] }));
    for order in [["x-a", "x-b", "x-c"], ["x-b", "x-c", "x-a"], ["x-c", "x-b", "x-a"]] {
        let request = order.iter().fold(get("/"), |request, name| request.header(name, &token));
        let verdict = core.decide(&request);
        assert_eq!(verdict.outcome(), ("allowed", 200));
        assert_eq!(verdict.decision.report.would_withhold, [], "{order:?}");
    }
}

/// It is not read on an exempt path, so it must be recognized as a token there.
#[test]
fn beside_an_empty_prefix_a_token_gone_astray_is_withheld() {
    let token = token();
    let of = |issuer: &str, prefix: &str, forward: bool| {
        let rule = with(&rule(&KEY), "forwardOriginalToken", forward);
        let rule = with(&rule, "issuer", issuer);
        with(&rule, "fromHeaders", json!([{ "name": "authorization", "prefix": prefix }]))
    };
    let core = Core::new(&json!({
        "jwtRules": [of("https://a.example", "", true), of("https://b.example", "Bearer ", false)],
        "exempt": [{ "paths": ["/open"] }],
    }));
    let lines = |line: &str| {
        core.decide(&get("/open").header("authorization", line)).lines("authorization")
    };
    assert_eq!(lines(&format!("x Bearer {token}")), Vec::<String>::new());
    assert_eq!(lines(&format!("Bearer {token}")), Vec::<String>::new());
    assert_eq!(
        lines(&token),
        std::slice::from_ref(&token),
        "forwarded by the only rule that reads it"
    );
}

#[test]
fn what_one_rule_forwards_another_that_reads_the_same_lines_does_not_take_out() {
    let token = token();
    let of = |issuer: &str, prefix: &str, forward: bool| {
        let rule = with(&rule(&KEY), "forwardOriginalToken", forward);
        let rule =
            with(&rule, "fromHeaders", json!([{ "name": "authorization", "prefix": prefix }]));
        if issuer.is_empty() { rule } else { with(&rule, "issuer", issuer) }
    };
    for (first, second) in [("Bearer ", "Bearer"), ("Bearer", "Bearer "), ("bearer", "BEARER ")] {
        for forward in [true, false] {
            let other = of("https://other.example", second, !forward);
            for rules in [[of("", first, forward), other.clone()], [other, of("", first, forward)]]
            {
                let core = Core::new(&json!({ "jwtRules": rules }));
                let verdict = core.decide(&get("/").bearer(&token));
                assert_eq!(verdict.outcome(), ("allowed", 200));
                let arrives = !verdict.lines("authorization").is_empty();
                assert_eq!(arrives, forward, "{first:?} beside {second:?}");
            }
        }
    }
}

#[test]
fn with_any_place_of_its_own_a_rule_does_not_read_the_default_ones() {
    let token = token();
    for (field, places) in [
        ("fromHeaders", json!([{ "name": "x-jwt" }])),
        ("fromParams", json!(["jwt"])),
        ("fromCookies", json!(["jwt"])),
        ("fromWebSocketProtocol", json!({ "prefix": "bearer." })),
    ] {
        let core = reading(field, places);
        let bearer = core.bearer(&token);
        assert_eq!(bearer.code(), "token_missing", "{field}");
        let param = core.decide(&get(&format!("/?access_token={token}")));
        assert_eq!(param.code(), "token_missing", "{field}");
    }
    for (field, nothing) in
        [("fromHeaders", json!([])), ("fromParams", json!([])), ("fromCookies", Value::Null)]
    {
        let core = reading(field, nothing);
        assert_eq!(core.code(&token), "allowed", "{field}");
        assert_eq!(
            core.decide(&get(&format!("/?access_token={token}"))).code(),
            "allowed",
            "{field}"
        );
    }
}

#[test]
fn a_web_socket_protocol_entry_is_a_prefix_and_the_token() {
    let token = token();
    let core = reading("fromWebSocketProtocol", json!({ "prefix": "bearer." }));
    let name = "sec-websocket-protocol";
    for (line, expected, rest) in [
        ("bearer.T", "allowed", vec![]),
        ("chat, bearer.T", "allowed", vec!["chat"]),
        ("bearer.T, chat", "allowed", vec!["chat"]),
        ("chat, bearer.T , superchat", "allowed", vec!["chat, superchat"]),
        ("Bearer.T", "token_missing", vec![]),
        ("chat", "token_missing", vec![]),
        ("bearer.", "token_malformed", vec![]),
    ] {
        let verdict = core.decide(&get("/").header(name, line.replace('T', &token)));
        assert_eq!(verdict.code(), expected, "{line}");
        if expected == "allowed" {
            assert_eq!(verdict.lines(name), rest, "{line}");
            assert_eq!(verdict.lines("x-user"), ["mmosley"], "{line}");
        }
    }
    let lines = get("/").header(name, "chat").header(name, format!("bearer.{token}"));
    assert_eq!(core.decide(&lines).lines(name), ["chat"], "a line of its own goes");
}

#[test]
fn of_a_query_only_the_tokens_bytes_go() {
    let token = token();
    let core = Core::with_rule(rule(&KEY));
    for (sent, seen) in [
        ("/p?access_token=T", "/p"),
        ("/p?access_token=T&access_token=T", "/p"),
        ("/?access_token=T", "/"),
        ("/p?a=1&access_token=T", "/p?a=1"),
        ("/p?access_token=T&a=1", "/p?a=1"),
        ("/p?b=%41&access_token=T&a=+&&c", "/p?b=%41&a=+&&c"),
        ("/p?access%5Ftoken=T&a", "/p?a"),
    ] {
        let verdict = core.decide(&get(&sent.replace('T', &token)));
        assert_eq!(verdict.lines(":path"), [seen], "{sent}");
    }
}

#[test]
fn a_header_that_held_nothing_else_goes() {
    let token = token();
    let cookies = || reading("fromCookies", json!(["jwt"]));
    let custom = || reading("fromHeaders", json!([{ "name": "x-jwt" }]));
    for (core, name, lines, rest) in [
        (cookies(), "cookie", vec!["jwt=T"], vec![]),
        (cookies(), "cookie", vec!["jwt=\"T\""], vec![]),
        (cookies(), "cookie", vec!["a=1; jwt=T; b=2"], vec!["a=1; b=2"]),
        (cookies(), "cookie", vec!["jwt=T", "a=1"], vec!["a=1"]),
        (cookies(), "cookie", vec!["ajwt=T; jwt=T"], vec!["ajwt=T"]),
        (custom(), "x-jwt", vec!["T"], vec![]),
        (custom(), "x-jwt", vec!["T", "T"], vec![]),
        (Core::with_rule(rule(&KEY)), "authorization", vec!["Bearer T"], vec![]),
        (
            Core::with_rule(rule(&KEY)),
            "authorization",
            vec!["Basic dXNlcg==", "Bearer T"],
            vec!["Basic dXNlcg=="],
        ),
    ] {
        let add = |request: Request, line: &&str| request.header(name, line.replace('T', &token));
        let verdict = core.decide(&lines.iter().fold(get("/"), add));
        let rest: Vec<String> = rest.iter().map(|line| line.replace('T', &token)).collect();
        assert_eq!(verdict.lines(name), rest, "{name}: {lines:?}");
    }
}

#[test]
fn a_token_that_is_forwarded_stays_where_it_stood() {
    let token = token();
    let core = reading("forwardOriginalToken", json!(true));
    let path = format!("/p?a=1&access_token={token}");
    let request = request("POST", &path).bearer(&token);
    let verdict = core.decide(&request);
    assert_eq!(verdict.lines(":path"), [path]);
    assert_eq!(verdict.lines("authorization"), [format!("Bearer {token}")]);
    assert_eq!(verdict.lines("x-user"), ["mmosley"]);
}

#[test]
fn two_different_tokens_are_ambiguous_and_two_equal_ones_are_one() {
    let (one, other) = (token(), KEY.token(&with(&claims(), "sub", "other")));
    let core = Core::with_rule(rule(&KEY));
    for (what, request, expected) in [
        ("two lines, equal", get("/").bearer(&one).bearer(&one), "allowed"),
        ("two lines", get("/").bearer(&one).bearer(&other), "token_ambiguous"),
        (
            "header and query",
            get(&format!("/?access_token={other}")).bearer(&one),
            "token_ambiguous",
        ),
        ("the same in both", get(&format!("/?access_token={one}")).bearer(&one), "allowed"),
        ("a bad one beside it", get("/?access_token=x").bearer(&one), "token_ambiguous"),
        ("an empty one beside it", get("/?access_token=").bearer(&one), "token_ambiguous"),
    ] {
        let verdict = core.decide(&request);
        assert_eq!(verdict.code(), expected, "{what}");
        if expected == "allowed" {
            assert_eq!(verdict.lines("authorization"), [""; 0], "{what}");
            assert_eq!(verdict.lines(":path"), ["/"], "{what}");
        }
    }
}
