//! What the service sees of a claim: the value that was signed, or its percent codes, and never another one.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};
use usher_testkit::stats;

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// The headers of the listener `usher`: claim, format, encoding.
const HEADERS: [(&str, &str, Option<&str>, Option<&str>); 10] = [
    ("x-plain", "v", None, None),
    ("x-raw", "v", None, Some("raw")),
    ("x-csv", "v", Some("csv"), None),
    ("x-csv-raw", "v", Some("csv"), Some("raw")),
    ("x-space", "v", Some("space"), None),
    ("x-repeat", "v", Some("repeat"), None),
    ("x-json", "v", Some("json"), None),
    ("x-base64", "v", None, Some("base64url")),
    ("x-words", "scope", Some("csv"), None),
    ("x-scope", "scope", None, None),
];

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let headers: Vec<Value> = HEADERS
        .iter()
        .map(|(header, claim, format, encoding)| {
            json!({ "header": header, "claim": claim, "format": format, "encoding": encoding })
        })
        .collect();
    let rule = |fields: Value| {
        let mut rule = json!({ "issuer": ISSUER, "jwks": mint::jwks([&*KEY]) });
        for (name, value) in fields.as_object().unwrap() {
            rule[name] = value.clone();
        }
        rule
    };
    let named = json!([
        { "header": "x-dotted", "claim": "realm_access.roles" },
        { "header": "x-brackets", "claim": "[realm_access][roles]" },
        { "header": "x-literal", "claim": "[realm_access.roles]" },
        { "header": "x-url", "claim": "[https://example.com/roles]" },
    ]);
    let required = json!([{ "claim": "realm_access.roles", "values": ["admin"] }]);
    let deny = json!([
        { "name": "no-admin", "action": "DENY", "rules": [
            { "when": [{ "key": "request.auth.claims[v]", "values": ["admin"] }] },
            { "when": [{ "key": "request.headers[x-plain]", "values": ["root"] }] },
        ]},
    ]);
    Envoy::builder()
        .listener(
            "usher",
            Setup::plugin(json!({
                "jwtRules": [rule(json!({ "outputClaimToHeaders": headers }))],
                "authorizationPolicies": deny,
            })),
        )
        .listener(
            "names",
            Setup::plugin(json!({ "jwtRules": [rule(json!({ "outputClaimToHeaders": named }))] })),
        )
        .listener(
            "required",
            Setup::plugin(json!({ "jwtRules": [rule(json!({ "requiredClaims": required }))] })),
        )
        .start()
});

fn token(claims: &[(&str, Value)]) -> String {
    let all = mint::claims(ISSUER, "mmosley");
    KEY.token(&claims.iter().fold(all, |all, (name, value)| mint::with(&all, name, value.clone())))
}

#[test]
fn the_service_reads_what_was_signed() {
    let listener = ENVOY.listener("usher");
    for (value, expected) in [
        (
            json!("admin "),
            json!({ "x-plain": ["admin%20"], "x-csv": ["admin%20"], "x-space": ["admin%20"], "x-repeat": ["admin%20"],
                    "x-json": ["\"admin \""], "x-base64": ["YWRtaW4g"] }),
        ),
        (
            json!("\tadmin"),
            json!({ "x-plain": ["%09admin"], "x-csv": ["%09admin"], "x-space": ["%09admin"], "x-repeat": ["%09admin"],
                    "x-json": ["\"\\tadmin\""], "x-base64": ["CWFkbWlu"] }),
        ),
        (
            json!(" "),
            json!({ "x-plain": ["%20"], "x-csv": ["%20"], "x-space": ["%20"], "x-repeat": ["%20"],
                    "x-json": ["\" \""], "x-base64": ["IA"] }),
        ),
        (
            json!("admin\u{a0}"),
            json!({ "x-plain": ["admin%C2%A0"], "x-csv": ["admin%C2%A0"], "x-space": ["admin%C2%A0"],
                    "x-repeat": ["admin%C2%A0"], "x-json": ["\"admin\\u00a0\""], "x-base64": ["YWRtaW7CoA"] }),
        ),
        (
            json!("admin\r\n\u{0}"),
            json!({ "x-plain": ["admin%0D%0A%00"], "x-raw": ["admin%0D%0A%00"], "x-csv": ["admin%0D%0A%00"],
                    "x-csv-raw": ["admin%0D%0A%00"], "x-space": ["admin%0D%0A%00"], "x-repeat": ["admin%0D%0A%00"],
                    "x-json": ["\"admin\\r\\n\\u0000\""], "x-base64": ["YWRtaW4NCgA"] }),
        ),
        (
            json!("Doe, John"),
            json!({ "x-plain": ["Doe, John"], "x-raw": ["Doe, John"], "x-csv": ["Doe%2C John"],
                    "x-csv-raw": ["Doe%2C John"], "x-space": ["Doe,%20John"], "x-repeat": ["Doe%2C John"],
                    "x-json": ["\"Doe, John\""], "x-base64": ["RG9lLCBKb2hu"] }),
        ),
        (
            json!("CN=mmosley,OU=a  b,O=c"),
            json!({ "x-plain": ["CN=mmosley,OU=a  b,O=c"], "x-raw": ["CN=mmosley,OU=a  b,O=c"],
                    "x-csv": ["CN=mmosley%2COU=a  b%2CO=c"], "x-csv-raw": ["CN=mmosley%2COU=a  b%2CO=c"],
                    "x-space": ["CN=mmosley,OU=a%20%20b,O=c"], "x-repeat": ["CN=mmosley%2COU=a  b%2CO=c"],
                    "x-json": ["\"CN=mmosley,OU=a  b,O=c\""], "x-base64": ["Q049bW1vc2xleSxPVT1hICBiLE89Yw"] }),
        ),
        (
            json!(["dev", "x,admin", "", "ops "]),
            json!({ "x-plain": ["dev,x%2Cadmin,ops%20"], "x-csv": ["dev,x%2Cadmin,ops%20"],
                    "x-space": ["dev x,admin ops%20"], "x-repeat": ["dev", "x%2Cadmin", "ops%20"],
                    "x-json": ["[\"dev\",\"x,admin\",\"\",\"ops \"]"],
                    "x-base64": ["ZGV2LHglMkNhZG1pbixvcHMlMjA"] }),
        ),
        (json!(["", ""]), json!({ "x-json": ["[\"\",\"\"]"] })),
        (json!(""), json!({})),
    ] {
        for reply in listener.both(&Request::get("/").bearer(&token(&[("v", value.clone())]))) {
            let seen = reply.passed();
            for (header, claim, ..) in HEADERS.iter().filter(|(_, claim, ..)| *claim == "v") {
                let found: Vec<_> =
                    seen.values(header).into_iter().map(String::from_utf8_lossy).collect();
                let expected: Vec<&str> = expected[*header]
                    .as_array()
                    .map(|lines| lines.iter().map(|line| line.as_str().unwrap()).collect())
                    .unwrap_or_default();
                assert_eq!(found, expected, "{header} of {claim} {value}: {reply}");
            }
        }
    }
}

#[test]
fn a_list_of_words_is_a_list_where_a_list_is_asked_for() {
    for reply in ENVOY
        .listener("usher")
        .both(&Request::get("/").bearer(&token(&[("scope", json!("read wri,te "))])))
    {
        let seen = reply.passed();
        assert_eq!(seen.header("x-words"), Some("read,wri%2Cte"), "{reply}");
        assert_eq!(seen.header("x-scope"), Some("read wri,te%20"), "{reply}");
    }
}

/// The rules see the claim as it was signed, and the header as the service sees it.
#[test]
fn a_rule_and_the_service_see_one_value() {
    let listener = ENVOY.listener("usher");
    for (value, denied, header) in [
        ("admin", true, None),
        ("admin ", false, Some("admin%20")),
        (" admin", false, Some("%20admin")),
        ("root", true, None),
        ("root ", false, Some("root%20")),
    ] {
        for reply in listener.both(&Request::get("/").bearer(&token(&[("v", json!(value))]))) {
            assert_eq!(reply.status, if denied { 403 } else { 200 }, "{value:?}: {reply}");
            let seen = reply.seen.as_ref().and_then(|seen| seen.header("x-plain"));
            assert_eq!(seen, header, "{value:?}: {reply}");
        }
    }
}

#[test]
fn what_raw_cannot_write_is_counted() {
    let envoy = Envoy::with(json!({ "jwtRules": [{
        "issuer": ISSUER, "jwks": mint::jwks([&*KEY]),
        "outputClaimToHeaders": [{ "header": "X-User", "claim": "v", "encoding": "raw" }],
    }]}))
    .start();
    let listener = envoy.listener("usher");
    let name = "usher_identity_headers_withheld_total";
    for (value, header, count) in [
        ("Z\u{fc}rich", Some("Z\u{fc}rich"), 0.0),
        ("admin ", None, 1.0),
        ("admin ", None, 2.0),
        ("\u{2003}admin", None, 3.0),
        ("admin", Some("admin"), 3.0),
    ] {
        let request =
            Request::get("/").bearer(&token(&[("v", json!(value))])).header("x-user", "root");
        let reply = listener.http1(&request);
        assert_eq!(reply.passed().header("x-user"), header, "{value:?}: {reply}");
        assert_eq!(stats::sum(&envoy.metrics(), name, &[("header", "x-user")]), count, "{value:?}");
    }
}

#[test]
fn a_claim_has_one_spelling() {
    let nested = ("realm_access", json!({ "roles": ["user"] }));
    let literal = ("realm_access.roles", json!(["admin"]));
    let url = ("https://example.com/roles", json!(["editor"]));
    for (claims, [dotted, literally, by_url]) in [
        (vec![nested.clone()], [Some("user"), None, None]),
        (vec![literal.clone()], [None, Some("admin"), None]),
        (vec![nested.clone(), literal.clone(), url], [Some("user"), Some("admin"), Some("editor")]),
        (vec![("realm_access", json!("x")), literal.clone()], [None, Some("admin"), None]),
    ] {
        for reply in ENVOY.listener("names").both(&Request::get("/").bearer(&token(&claims))) {
            let seen = reply.passed();
            for (header, expected) in [
                ("x-dotted", dotted),
                ("x-brackets", dotted),
                ("x-literal", literally),
                ("x-url", by_url),
            ] {
                assert_eq!(seen.header(header), expected, "{header} of {claims:?}: {reply}");
            }
        }
    }
    let admin = ("realm_access", json!({ "roles": ["admin"] }));
    for (claims, status) in [
        (vec![admin.clone(), literal.clone()], 200),
        (vec![nested, literal.clone()], 401),
        (vec![literal], 401),
    ] {
        for reply in ENVOY.listener("required").both(&Request::get("/").bearer(&token(&claims))) {
            assert_eq!(reply.status, status, "{claims:?}: {reply}");
        }
    }
}
