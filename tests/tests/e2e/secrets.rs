//! No answer, challenge or log line repeats a request's query or a token, for any outcome.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";
/// In every query, beside the token.
const SECRET: &str = "hush-hush-hush";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));
static STRANGER: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// Listeners by name, each with a way of its own to talk.
fn listeners() -> Vec<(&'static str, Value)> {
    let rule = json!({
        "issuer": ISSUER,
        "jwks": mint::jwks([&*KEY]),
        "audiences": ["shop"],
        "fromHeaders": [{ "name": "authorization", "prefix": "Bearer " }, { "name": "x-jwt" }],
        "fromParams": ["access_token"],
        "fromCookies": ["sid"],
        "outputPayloadToHeader": "User-Info",
        "maxAge": "24h",
        "requiredClaims": [{ "claim": "email" }],
    });
    let with = |more: Value| {
        let mut config = json!({ "jwtRules": [rule], "decisionLog": { "emit": "all" } });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    let deny = json!([{ "name": "p", "namespace": "n", "action": "DENY", "rules": [{
        "to": [{ "operation": { "paths": ["/denied"] } }],
    }] }]);
    vec![
        ("text", with(json!({ "authorizationPolicies": deny }))),
        (
            "problem",
            with(json!({
                "authorizationPolicies": deny,
                "missingToken": "reject",
                "responses": { "format": "problem+json" },
                "identityHeaders": { "onSpoof": "reject" },
            })),
        ),
        (
            "dry-run",
            with(json!({
                "authorizationPolicies": deny, "missingToken": "reject", "mode": "dryRun",
            })),
        ),
        ("small", with(json!({ "limits": { "tokenBytes": 64 } }))),
        ("tiny-identity", with(json!({ "limits": { "emittedBytes": 16 } }))),
        ("exempt", with(json!({ "exempt": [{ "paths": ["/*"], "token": "optional" }] }))),
        ("invalid", json!({ "jwtRules": [{ "issuer": ISSUER, "jwks": "{}" }] })),
    ]
}

/// Tokens that end in as many ways as there are.
fn tokens() -> Vec<String> {
    let now = mint::now();
    let claims = mint::with(&mint::claims(ISSUER, "mmosley"), "aud", "shop");
    let good = mint::with(&claims, "email", "m@example.org");
    let edited = |name: &str, value: Value| KEY.token(&mint::with(&good, name, value));
    let sign = |header: Value| KEY.sign(&header, &good);
    let token = KEY.token(&good);
    let (head, rest) = token.split_once('.').unwrap();
    vec![
        token.clone(),
        STRANGER.token(&good),
        edited("exp", json!(now - 3600)),
        edited("exp", Value::Null),
        edited("exp", json!("soon")),
        edited("nbf", json!(now + 3600)),
        edited("iat", json!(now - 100_000)),
        edited("iss", json!("https://elsewhere.example")),
        edited("aud", json!("billing")),
        edited("email", Value::Null),
        sign(json!({ "alg": "none" })),
        sign(json!({ "alg": "ES256", "kid": "unknown" })),
        sign(json!({ "alg": "ES256", "kid": "one", "crit": ["x"] })),
        KEY.sign_text("{", "opaque-secret"),
        format!("{head}.{rest}.{rest}"),
        format!("{head}{}", rest.replace('.', "")),
    ]
}

/// A token in every place, and in places that no rule reads.
fn requests(token: &str) -> Vec<Request> {
    let query = |more: &str| format!("/p?secret={SECRET}{more}");
    let grpc = "application/grpc";
    let preflight = |request: Request| {
        request.header("origin", "https://a.example").header("access-control-request-method", "GET")
    };
    vec![
        Request::get(query("")).bearer(token),
        Request::get(query(&format!("&access_token={token}"))),
        Request::get(query(&format!("&unread={token}"))),
        Request::get(query("")).header("x-jwt", token).header("user_info", token),
        Request::get(query("")).header("cookie", format!("a=1; sid={token}")),
        Request::get(query("")).header("authorization", format!("x Bearer {token}")),
        Request::get(query(&format!("&access_token={token}"))).header("x-jwt", "other"),
        Request::new("POST", query("")).bearer(token).header("content-type", grpc).body("b"),
        Request::get(format!("/denied?secret={SECRET}&access_token={token}")),
        Request::get(format!("/%2e%2e;/x?secret={SECRET}&access_token={token}")),
        preflight(Request::new("OPTIONS", query(&format!("&access_token={token}")))),
        Request::new("HEAD", query("")).bearer(token),
    ]
}

/// What must stand nowhere: the secret of the query, and each part of the token that is long enough to
/// be one.
fn hidden(token: &str) -> Vec<&str> {
    token.split('.').filter(|part| part.len() >= 16).chain([SECRET, token]).collect()
}

#[track_caller]
fn assert_silent(text: &str, hidden: &[&str], what: &str) {
    for word in hidden {
        assert!(!text.contains(word), "{what} repeats `{word}`:\n{text}");
    }
}

fn told(reply: &Reply) -> String {
    let headers = reply.headers.iter();
    let lines = headers.map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
    lines.chain([reply.text()]).collect::<Vec<_>>().join("\n")
}

#[test]
fn no_answer_and_no_log_line_repeats_a_query_or_a_token() {
    let builder = listeners().into_iter().fold(Envoy::builder(), |builder, (name, config)| {
        builder.listener(name, Setup::plugin(config))
    });
    let envoy = builder.start();
    let tokens = tokens();
    let mut last = None;
    let (mut answers, mut refusals) = (0, std::collections::BTreeSet::new());
    for token in &tokens {
        let requests = requests(token);
        for (name, _) in listeners() {
            let listener = envoy.listener(name);
            // A connection for each: Envoy hangs up after some refusals.
            for request in &requests {
                let reply = listener.http1(request);
                let what = format!("the answer of {name} to {request:?}");
                assert_silent(&told(&reply), &hidden(token), &what);
                answers += 1;
                last = Some((name, reply));
            }
        }
    }
    // HTTP/2 speaks through the same code; one of each is enough.
    for (name, _) in listeners() {
        let request = Request::get(format!("/p?secret={SECRET}&access_token={}", tokens[1]));
        let reply = envoy.listener(name).http2(&request);
        assert_silent(&told(&reply), &hidden(&tokens[1]), name);
        last = Some((name, reply));
    }
    let (name, reply) = last.unwrap();
    // Once the last request is written down, all are.
    envoy.listener(name).entry(&reply);
    for entry in envoy.access_log().entries() {
        refusals.extend(entry.reason);
    }
    let (log, access) = (envoy.log().text(), envoy.access_log().text());
    for token in &tokens {
        assert_silent(&log, &hidden(token), "Envoy's log");
        assert_silent(&access, &hidden(token), "the access log");
    }
    // Or else the silence means little.
    assert!(log.contains("\"path\":\"/p\""), "the decision log is on");
    let expected = [
        "algorithm_not_allowed",
        "allowed",
        "audience_mismatch",
        "claim_mismatch",
        "config_invalid",
        "denied_by_rule",
        "expiration_missing",
        "header_unsupported",
        "identity_spoofed",
        "identity_too_large",
        "issuer_unknown",
        "key_unknown",
        "path_unsafe",
        "signature_invalid",
        "token_ambiguous",
        "token_expired",
        "token_malformed",
        "token_missing",
        "token_not_yet_valid",
        "token_too_large",
        "token_too_old",
    ];
    let missed: Vec<_> = expected.iter().filter(|code| !refusals.contains(**code)).collect();
    assert!(missed.is_empty(), "{answers} answers, and none of them {missed:?}");
}
