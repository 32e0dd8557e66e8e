//! The cases: what is sent, and what each Envoy answers to it.

use super::{Case, Rules};
use crate::client::Request;

/// Every case.
pub const CASES: &[Case] = &[
    Case {
        class: "spellings-of-identity-headers",
        title: "a forged `User_Info` beside a good token",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("good")).header("User_Info", "root"),
        native: "200, user-info: <payload of good>, user_info: root",
        usher: "200, user-info: <payload of good>",
    },
    Case {
        class: "spellings-of-identity-headers",
        title: "a forged `User_Info` without a token",
        rules: Rules::Corp,
        request: |_| Request::get("/").header("User_Info", "root"),
        native: "200, user_info: root",
        usher: "200",
    },
    Case {
        class: "spellings-of-identity-headers",
        title: "a forged `User-Info` in the trailers",
        rules: Rules::Corp,
        request: |t| {
            let request = Request::new("POST", "/").bearer(t.named("good")).body("b");
            request.trailer("User-Info", "root")
        },
        native: "200, user-info: <payload of good>, user-info: root",
        usher: "200, user-info: <payload of good>",
    },
    Case {
        class: "two-tokens",
        title: "a forged token of the partner's beside a good one",
        rules: Rules::CorpAndPartner,
        request: |t| {
            Request::get("/").bearer(t.named("good")).header("x-partner-token", t.named("forged"))
        },
        native: "200, x-partner-token: <forged>, user-info: <payload of good>",
        usher: "401 `Found multiple Jwt tokens`",
    },
    Case {
        class: "two-tokens",
        title: "a forged token in the line before a good one",
        rules: Rules::Web,
        request: |t| {
            let line = |name| format!("T={}", t.named(name));
            Request::get("/").header("x-jwt", line("forged")).header("x-jwt", line("good"))
        },
        native: "200",
        usher: "401 `Found multiple Jwt tokens`",
    },
    Case {
        class: "cookie-withheld",
        title: "a token in a cookie",
        rules: Rules::Web,
        request: |t| {
            Request::get("/").header("cookie", format!("a=1; sid={}; b=2", t.named("good")))
        },
        native: "200, cookie: a=1; sid=<good>; b=2, user-info: <payload of good>",
        usher: "200, cookie: a=1; b=2, user-info: <payload of good>",
    },
    Case {
        class: "query-kept",
        title: "a token in a query with an escaped `&`",
        rules: Rules::Corp,
        request: |t| {
            let token = t.named("good");
            Request::get(format!("/pay?to=1%26admin%3Dtrue&access_token={token}&amount=7"))
        },
        native: "200 /pay?amount=7&to=1&admin=true, user-info: <payload of good>",
        usher: "200 /pay?to=1%26admin%3Dtrue&amount=7, user-info: <payload of good>",
    },
    Case {
        class: "challenge-without-query",
        title: "an expired token in the query",
        rules: Rules::Corp,
        request: |t| Request::get(format!("/p?access_token={}", t.named("expired"))),
        native: "401 `Jwt is expired`, challenge repeats the query",
        usher: "401 `Jwt is expired`",
    },
    Case {
        class: "scheme-in-any-case",
        title: "the scheme `bearer` in lower case",
        rules: Rules::Corp,
        request: |t| {
            Request::get("/").header("authorization", format!("bearer {}", t.named("good")))
        },
        native: "200, authorization: bearer <good>",
        usher: "200, user-info: <payload of good>",
    },
    Case {
        class: "one-token-twice",
        title: "two `Authorization` lines with the same token",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("good")).bearer(t.named("good")),
        native: "401 `Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections`",
        usher: "200, user-info: <payload of good>",
    },
    Case {
        class: "prefix-astray",
        title: "a token behind something else",
        rules: Rules::Corp,
        request: |t| {
            let line = format!("Basic dTpw,Bearer {}", t.named("good"));
            Request::get("/").header("authorization", line)
        },
        native: "200, user-info: <payload of good>",
        usher: "401 `Jwt is not at the beginning of its header`",
    },
    Case {
        class: "preflight-withholds",
        title: "a CORS preflight with a token",
        rules: Rules::Corp,
        request: |t| {
            Request::new("OPTIONS", "/")
                .bearer(t.named("forged"))
                .header("origin", "https://app.example")
                .header("access-control-request-method", "GET")
        },
        native: "200, authorization: Bearer <forged>",
        usher: "200",
    },
    Case {
        class: "expiration-required",
        title: "a token that never ends",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("endless")),
        native: "200, user-info: <payload of endless>",
        usher: "401 `Unauthorized`",
    },
    Case {
        class: "issued-in-the-future",
        title: "a token that is issued tomorrow",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("tomorrow")),
        native: "200, user-info: <payload of tomorrow>",
        usher: "401 `Jwt not yet valid`",
    },
    Case {
        class: "signature-first",
        title: "a token that is expired and forged",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("forged and expired")),
        native: "401 `Jwt is expired`",
        usher: "401 `Jwt verification fails`",
    },
    Case {
        class: "one-spelling-of-a-token",
        title: "a good token with a dot more",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(&t.named("good").replacen('.', "..", 1)),
        native: "200, user-info: <payload of good>",
        usher: "401 `Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections`",
    },
    Case {
        class: "one-spelling-of-a-token",
        title: "a good token whose signature has a byte more",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("longer")),
        native: "200, user-info: <payload of good>",
        usher: "401 `Jwt verification fails`",
    },
    Case {
        class: "critical-headers",
        title: "a token whose header has a `crit` that nobody understands",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("critical")),
        native: "200, user-info: <payload of critical>",
        usher: "401 `Unauthorized`",
    },
    Case {
        class: "lists-and-objects",
        title: "a list claim for a header",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("rich")),
        native: "200, user-info: <payload of rich>, x-groups: WyJhZG1pbiIsImRldiJd, \
                 x-level: 9007199254740992",
        usher: "200, user-info: <payload of rich>, x-groups: admin,dev, x-level: 9007199254740993",
    },
    Case {
        class: "white-space-coded",
        title: "a text claim with white space at its end, for a header",
        rules: Rules::Corp,
        request: |t| Request::get("/").bearer(t.named("spaced")),
        native: "200, user-info: <payload of spaced>, x-groups: admin",
        usher: "200, user-info: <payload of spaced>, x-groups: admin%20",
    },
    Case {
        class: "emitted-once",
        title: "one token in two places",
        rules: Rules::Corp,
        request: |t| {
            Request::get(format!("/?access_token={}", t.named("good"))).bearer(t.named("good"))
        },
        native: "200 /, user-info: <payload of good>, user-info: <payload of good>",
        usher: "200 /, user-info: <payload of good>",
    },
    Case {
        class: "other-lines-kept",
        title: "a header with a token in one line and something else in another",
        rules: Rules::Web,
        request: |t| {
            let line = format!("T={}", t.named("good"));
            Request::get("/").header("x-jwt", line).header("x-jwt", "hello")
        },
        native: "200, user-info: <payload of good>",
        usher: "200, x-jwt: hello, user-info: <payload of good>",
    },
    Case {
        class: "audience-is-401",
        title: "a token for another service",
        rules: Rules::Web,
        request: |t| Request::get("/").header("x-jwt", format!("T={}", t.named("elsewhere"))),
        native: "403 `Audiences in Jwt are not allowed`",
        usher: "401 `Audiences in Jwt are not allowed`",
    },
];
