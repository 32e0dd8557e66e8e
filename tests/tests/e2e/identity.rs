//! The service sees exactly one `User-Info`, Usher's, or none, for any headers of the client.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let rules = json!([{
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
        "outputPayloadToHeader": "User-Info",
        "outputClaimToHeaders": [
            { "header": "X-User", "claim": "sub" },
            { "header": "x-level", "claim": "level" },
            { "header": "x-admin", "claim": "admin" },
            { "header": "x-city", "claim": "address.city" },
        ],
    }]);
    let forwarding = {
        let mut rules = rules.clone();
        rules[0]["forwardOriginalToken"] = json!(true);
        rules
    };
    let exempt = json!([{ "paths": ["/healthz"] }]);
    Envoy::builder()
        .listener("strict", Setup::plugin(json!({ "jwtRules": rules, "exempt": exempt })))
        .listener("lenient", Setup::plugin(json!({ "jwtRules": rules, "missingToken": "allow" })))
        .listener("forwarding", Setup::plugin(json!({ "jwtRules": forwarding })))
        .start()
});

fn strict() -> Listener<'static> {
    ENVOY.listener("strict")
}

fn lenient() -> Listener<'static> {
    ENVOY.listener("lenient")
}

fn mmosley() -> Value {
    let claims = mint::with(&mint::claims(ISSUER, "mmosley"), "level", 7);
    let claims = mint::with(&claims, "admin", true);
    mint::with(&claims, "address", json!({ "city": "Zürich" }))
}

/// Every name of RFC 9110 section 5.6.2 that an application may take for `User-Info`, and a few
/// spellings of case.
fn spellings() -> Vec<String> {
    let separators = "-_.!#$%&'*+^`|~";
    let folded = separators.chars().map(|separator| format!("user{separator}info"));
    let cased = ["User-Info", "USER-INFO", "USER_INFO", "User.Info", "uSeR_iNfO"];
    folded.chain(cased.map(ToOwned::to_owned)).collect()
}

/// Names of the client's own headers.
const LEGITIMATE: [&str; 6] =
    ["userinfo", "user--info", "user-info-", "x-user-info", "user-infos", "user-agent"];

fn with_legitimate(request: Request) -> Request {
    LEGITIMATE.iter().fold(request, |request, name| request.header(name, "kept"))
}

#[track_caller]
fn assert_legitimate_kept(reply: &Reply) {
    for name in LEGITIMATE {
        assert_eq!(reply.passed().header(name), Some("kept"), "{name}: {reply}");
    }
}

#[test]
fn the_service_sees_the_verified_identity_and_no_token() {
    let token = KEY.token(&mmosley());
    for reply in strict().both(&Request::get("/").bearer(&token)) {
        let seen = reply.passed();
        assert_eq!(seen.header("user-info"), Some(mint::payload(&token)));
        assert_eq!(seen.header("x-user"), Some("mmosley"));
        assert_eq!(seen.header("x-level"), Some("7"));
        assert_eq!(seen.header("x-admin"), Some("true"));
        assert_eq!(seen.header("x-city"), Some("Z%C3%BCrich"));
        assert_eq!(seen.header("authorization"), None);
        assert!(!format!("{seen:?}").contains(&token), "{reply}");
    }
}

#[test]
fn each_forged_spelling_gives_way_to_ours() {
    let token = KEY.token(&mmosley());
    for name in spellings() {
        let request = with_legitimate(Request::get("/").bearer(&token).header(&name, "forged"));
        for reply in strict().both(&request) {
            let seen = reply.passed();
            let ours = ("user-info", mint::payload(&token).as_bytes());
            assert_eq!(seen.folding_to("user-info"), [ours], "{name}: {reply}");
            assert_legitimate_kept(&reply);
        }
    }
}

#[test]
fn all_forged_spellings_at_once_and_repeated_give_way_to_ours() {
    let token = KEY.token(&mmosley());
    let mut request = Request::get("/");
    for (index, name) in spellings().iter().cycle().take(60).enumerate() {
        // The token stands amid them, so that no position is special.
        request = if index == 30 { request.bearer(&token) } else { request };
        request = request.header(name, format!("forged-{index}")).header("x_user", "forged");
    }
    for reply in strict().both(&with_legitimate(request)) {
        let seen = reply.passed();
        let ours = ("user-info", mint::payload(&token).as_bytes());
        assert_eq!(seen.folding_to("user-info"), [ours], "{reply}");
        assert_eq!(seen.folding_to("x-user"), [("x-user", b"mmosley".as_slice())]);
        assert_legitimate_kept(&reply);
    }
}

#[test]
fn forged_values_of_any_bytes_are_removed() {
    let token = KEY.token(&mmosley());
    for value in [b"".as_slice(), b"\xff\xfe", b"a, b", b"\xc3\xa9"] {
        let request =
            Request::get("/").bearer(&token).header("User_Info", value).header("User-Info", value);
        for reply in strict().both(&request) {
            let ours = ("user-info", mint::payload(&token).as_bytes());
            assert_eq!(reply.passed().folding_to("user-info"), [ours], "{reply}");
        }
    }
}

#[test]
fn a_claim_that_is_absent_leaves_no_header_for_the_client_to_fill() {
    let claims = mint::with(&mint::claims(ISSUER, "x"), "sub", Value::Null);
    let request = Request::get("/")
        .bearer(&KEY.token(&claims))
        .header("X-User", "root")
        .header("x_level", "9");
    for reply in strict().both(&request) {
        assert_eq!(reply.passed().folding_to("x-user"), [], "{reply}");
        assert_eq!(reply.passed().folding_to("x-level"), [], "{reply}");
    }
}

#[test]
fn without_a_token_the_service_sees_no_identity() {
    for name in spellings() {
        for reply in lenient().both(&with_legitimate(Request::get("/").header(&name, "forged"))) {
            assert_eq!(reply.passed().folding_to("user-info"), [], "{name}: {reply}");
            assert_legitimate_kept(&reply);
        }
    }
}

#[test]
fn a_forged_identity_is_no_reason_to_pass() {
    for reply in strict().both(&Request::get("/").header("User-Info", "forged")) {
        strict().assert_denied(&reply, 401, "Jwt is missing", "token_missing");
    }
    let expired = KEY.token(&mint::with(&mmosley(), "exp", mint::now() - 600));
    for listener in [strict(), lenient()] {
        for reply in
            listener.both(&Request::get("/").header("User-Info", "forged").bearer(&expired))
        {
            listener.assert_denied(&reply, 401, "Jwt is expired", "token_expired");
        }
    }
}

#[test]
fn exempt_requests_are_scrubbed_too() {
    let token = KEY.token(&mmosley());
    for name in spellings() {
        let request =
            with_legitimate(Request::get("/healthz").header(&name, "forged").bearer(&token));
        for reply in strict().both(&request) {
            let seen = reply.passed();
            assert_eq!(seen.folding_to("user-info"), [], "{name}: {reply}");
            assert_eq!(seen.header("authorization"), None, "the unread token is withheld");
            assert_legitimate_kept(&reply);
        }
    }
}

#[test]
fn preflights_are_scrubbed_too() {
    let request = Request::new("OPTIONS", "/")
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
        .header("user_info", "forged")
        .header("User-Info", "forged");
    for reply in strict().both(&request) {
        assert_eq!(reply.passed().folding_to("user-info"), [], "{reply}");
        assert_eq!(reply.passed().header("origin"), Some("https://app.example"));
    }
}

#[test]
fn forged_trailers_are_removed_in_every_spelling() {
    let token = KEY.token(&mmosley());
    let ours = ("user-info", mint::payload(&token).as_bytes());
    let anonymous = Request::new("POST", "/").body("body").trailer("x-sum", "1");
    for name in spellings() {
        let request = anonymous
            .clone()
            .trailer(&name, "forged")
            .trailer(&name, b"\xff")
            .trailer("x-end", "2");
        for (listener, request, expected) in
            [(strict(), request.clone().bearer(&token), vec![ours]), (lenient(), request, vec![])]
        {
            for reply in listener.both(&request) {
                let seen = reply.passed();
                assert_eq!(seen.folding_to("user-info"), expected, "{name}: {reply}");
                let kept =
                    [("x-sum".to_owned(), b"1".to_vec()), ("x-end".to_owned(), b"2".to_vec())];
                assert_eq!(seen.trailers, kept, "{name}: {reply}");
                assert_eq!(seen.body, b"body");
            }
        }
    }
}

#[test]
fn trailers_of_exempt_requests_are_scrubbed_too() {
    let request =
        Request::new("POST", "/healthz").trailer("user_info", "forged").trailer("x-sum", "1");
    for reply in strict().both(&request) {
        assert_eq!(reply.passed().folding_to("user-info"), [], "{reply}");
        assert_eq!(reply.passed().trailers.len(), 1, "{reply}");
    }
}

#[test]
fn the_original_token_is_forwarded_where_the_rule_says_so() {
    let token = KEY.token(&mmosley());
    for reply in ENVOY.listener("forwarding").both(&Request::get("/").bearer(&token)) {
        let bearer = format!("Bearer {token}");
        assert_eq!(reply.passed().header("authorization"), Some(bearer.as_str()));
        assert_eq!(reply.passed().header("user-info"), Some(mint::payload(&token)));
    }
}

#[test]
fn a_token_is_cut_out_of_the_query_and_nothing_else() {
    let token = KEY.token(&mmosley());
    for (sent, seen) in [
        ("/p?access_token=TOKEN", "/p"),
        ("/p?a=1&access_token=TOKEN", "/p?a=1"),
        ("/p?access_token=TOKEN&a=1", "/p?a=1"),
        ("/p?b=%41&access_token=TOKEN&a=+&&c", "/p?b=%41&a=+&&c"),
        ("/p?access_token=TOKEN&access_token=TOKEN", "/p"),
    ] {
        for reply in strict().both(&Request::get(sent.replace("TOKEN", &token))) {
            assert_eq!(reply.passed().path, seen, "{sent}");
            assert_eq!(reply.passed().header("user-info"), Some(mint::payload(&token)));
        }
    }
}

#[test]
fn requests_on_one_connection_do_not_share_an_identity() {
    let mmosley = Request::get("/").bearer(&KEY.token(&mmosley()));
    let jjackson = Request::get("/").bearer(&KEY.token(&mint::claims(ISSUER, "jjackson")));
    let nobody = Request::get("/");
    let expired = KEY.token(&mint::with(&mint::claims(ISSUER, "x"), "exp", 0));
    let refused = Request::get("/").bearer(&expired);
    let turn = [
        (&mmosley, 200, Some("mmosley")),
        (&nobody, 200, None),
        (&jjackson, 200, Some("jjackson")),
        (&refused, 401, None),
        (&nobody, 200, None),
    ];
    let turns: Vec<_> = turn.iter().cycle().take(25).collect();
    let replies = lenient().series(turns.iter().map(|(request, ..)| *request));
    for ((_, status, user), reply) in turns.iter().zip(replies) {
        assert_eq!(reply.status, *status, "{reply}");
        let seen = reply.seen.as_ref();
        assert_eq!(seen.and_then(|seen| seen.header("x-user")), *user, "{reply}");
    }
}
