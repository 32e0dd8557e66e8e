//! What a client can send, kind by kind.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::cell::OnceCell;
use std::rc::Rc;
use usher_core::crypto::{Algorithm, Key};
use usher_core::crypto::{EngineFailed, SignatureEngine};
use usher_core::decide::{WorkerState, decide};
use usher_core::observe::decision_log::{LineContext, line};
use usher_core::request::{Connection, Peer};
use usher_core::time::UnixSeconds;
use usher_core::{Compiled, Request, load};

use crate::{Case, Input};

pub(crate) const ISSUER: &str = "https://idp.example.com";
/// Envoy's limit for all request headers, less those of a plain request (HttpConnectionManager
/// `max_request_headers_kb`).
const HEADER_BYTES: usize = 59 * 1024;
/// The bound on paths that rules read.
const PATH_BYTES: usize = 8_188;
/// `limits.tokenBytes`, three quarters of which are claims.
const CLAIM_BYTES: usize = 11_000;

/// A different key for each number. Its kind does not matter to the stub.
fn key(number: usize) -> Value {
    let mut bytes = [7_u8; 32];
    bytes[..8].copy_from_slice(&u64::try_from(number).unwrap().to_le_bytes());
    json!({"kty": "oct", "kid": format!("k{number}"), "k": URL_SAFE_NO_PAD.encode(bytes)})
}

fn keys(n: usize) -> Value {
    json!({"keys": (0..n.max(1)).map(key).collect::<Vec<_>>()})
}

/// A rule of the demo, with these additional fields.
pub(crate) fn rule(more: Value) -> Value {
    let mut rule = json!({
        "issuer": ISSUER, "audiences": ["kubernetes"], "outputPayloadToHeader": "User-Info",
        "jwks": keys(1), "algorithms": ["HS256"],
    });
    for (name, value) in more.as_object().unwrap() {
        rule[name] = value.clone();
    }
    rule
}

/// Accepts each signature that says so.
struct Stub;

const GOOD: &[u8] = b"good";

impl SignatureEngine for Stub {
    fn name(&self, _: Algorithm) -> &'static str {
        "stub"
    }

    fn verify(
        &mut self,
        _: Algorithm,
        _: &Key,
        _: &[u8],
        signature: &[u8],
    ) -> Result<bool, EngineFailed> {
        Ok(signature.starts_with(GOOD))
    }
}

pub(crate) fn token(header: Value, claims: &str, signature: &[u8]) -> String {
    let header = URL_SAFE_NO_PAD.encode(header.to_string());
    let signature = [signature, &[b' '; 60]].concat();
    format!("{header}.{}.{}", URL_SAFE_NO_PAD.encode(claims), URL_SAFE_NO_PAD.encode(signature))
}

fn claims(more: &str) -> String {
    format!(r#"{{"iss":"{ISSUER}","aud":"kubernetes","sub":"mmosley","exp":4102444800{more}}}"#)
}

fn good(more: &str) -> String {
    token(json!({"alg": "HS256", "kid": "k0"}), &claims(more), GOOD)
}

/// The demo's GET with a token of 1 KiB.
pub(crate) fn get(path: &str, token: &str) -> Request {
    let mut request = Request::default();
    for (name, value) in [
        (":method", "GET"),
        (":authority", "shop.example.com"),
        (":path", path),
        (":scheme", "https"),
        ("accept", "*/*"),
        ("user-agent", "curl/8.5.0"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "b1f0c1e2-7c1d-4f7e-9c55-0f1c1b7e2d11"),
        ("authorization", &format!("Bearer {token}")),
    ] {
        push(&mut request, name, value);
    }
    request
}

pub(crate) fn plain_token() -> String {
    good(&format!(r#","name":"{}""#, "n".repeat(570)))
}

pub(crate) fn push(request: &mut Request, name: &str, value: &str) {
    request.headers.push((name.into(), value.into()));
}

pub(crate) fn policy(configuration: &Value) -> Rc<Compiled> {
    Rc::new(load::from_value(configuration).map_err(|e| format!("{e:?}")).unwrap().policy)
}

/// The whole cost of a request: the decision, its mutations, its line in the log.
pub(crate) fn decided(policy: Rc<Compiled>, request: Request) -> Input {
    let connection = request.connection.peer.as_ref();
    let names =
        connection.map(|p| p.uri_sans.iter().chain(&p.dns_sans).map(String::len).sum::<usize>());
    let bytes = request.headers.iter().map(|(n, v)| n.len() + v.len()).sum::<usize>()
        + names.unwrap_or_default();
    let work = move || {
        // A new one each time, so that no token is in its cache.
        let mut worker_state = WorkerState::new(Box::new(Stub));
        let decision = decide(&policy, &request, UnixSeconds(1_800_000_000), &mut worker_state);
        let context = LineContext {
            now: UnixSeconds(1),
            generation: 1,
            process_key: b"process",
            connection: None,
            suppressed: 0,
        };
        std::hint::black_box(line(&policy.settings.decision_log, &request, &decision, &context));
        decision.report.signature_checks.len()
    };
    Input { bytes, work: Box::new(work) }
}

/// The demo's configuration.
pub(crate) fn demo() -> Value {
    json!({"jwtRules": [rule(json!({}))]})
}

pub(crate) fn plain() -> Input {
    decided(policy(&demo()), get("/", &plain_token()))
}

fn allow(rules: Value) -> Value {
    json!({"jwtRules": [rule(json!({}))], "authorizationPolicies": [{"name": "p", "rules": rules}]})
}

fn when(keys: &[&str]) -> Value {
    let rules = keys.iter().map(|key| json!({"when": [{"key": key, "values": ["x", "y*", "*z"]}]}));
    allow(rules.collect())
}

/// More than eight rules, so that the index is used.
fn many(rule: impl Fn(usize) -> Value) -> Value {
    allow((0..20).map(rule).collect())
}

/// Fewer than eight rules, so that each is tried.
fn few(rule: impl Fn(usize) -> Value) -> Value {
    allow((0..7).map(rule).collect())
}

fn case(
    name: &str,
    configuration: &Value,
    most: usize,
    make: impl Fn(usize) -> Request + 'static,
) -> Case {
    let (configuration, read) = (configuration.clone(), OnceCell::new());
    let make =
        Box::new(move |n| decided(Rc::clone(read.get_or_init(|| policy(&configuration))), make(n)));
    Case { name: name.to_owned(), most, request: true, make }
}

/// Makes a text of this many bytes.
type Text = fn(usize) -> String;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = paths();
    cases.extend(headers());
    cases.extend(tokens());
    cases.extend(peers());
    cases
}

fn paths() -> Vec<Case> {
    let mut cases = Vec::new();
    let paths = many(
        |i| json!({"to": [{"operation": {"paths": [format!("/a/{i}*"), format!("/{{*}}/x{i}/{{**}}"), "*.jpg"]}}]}),
    );
    for part in [
        "a", "a/", "/", "|", "%", "%7C", "%61", "%2f", "%2F", "%25", "%%25", "../", "a/../", "./",
        "%2e%2e/", "..;/", ";", "..;x/", "\\", "{", ".", "\u{e9}", "eyJ", "eyJ.", "-", "%b%41",
    ] {
        for (mode, what, configuration, most) in [
            ("BASE", "", &demo(), HEADER_BYTES),
            ("DECODE_AND_MERGE_SLASHES", ", rules", &paths, PATH_BYTES),
        ] {
            let mut configuration = configuration.clone();
            configuration["pathNormalization"] = json!(mode);
            let name = format!("path of `{part}`, {mode}{what}");
            cases.push(case(&name, &configuration, most, move |n| {
                get(&format!("/{}", part.repeat(n / part.len())), &plain_token())
            }));
        }
    }
    cases.push(case("path far beyond the bound", &paths, HEADER_BYTES, |n| {
        get(&format!("/{}", "a/".repeat(n / 2)), &plain_token())
    }));
    let templates = allow(json!([{"to": [{"operation": {"paths": [
        "/{a}-{b}-{c}-{d}-{e}x", "/{**}/b", "/{*}/{*}/{*}/{**}/z", "/{x}aaaaaaaaaaaaaaaaaaaaaaaaaaaaab{y}c",
    ]}}]}]));
    for part in ["a-", "a", "/a", "-"] {
        cases.push(case(
            &format!("path of `{part}`, templates"),
            &templates,
            PATH_BYTES,
            move |n| get(&format!("/{}", part.repeat(n / part.len())), &plain_token()),
        ));
    }
    let captures = few(|i| {
        json!({
            "to": [{"operation": {"paths": [format!("/{{a}}/{i}"), "/files/{rest=**}"]}}],
            "when": [{"key": "request.headers[x-file]", "valuesFrom": ["path.rest"]}],
        })
    });
    cases.push(case("captured path segments", &captures, 254, |n| {
        get(&format!("/files/{}", "a/".repeat(n)), &plain_token())
    }));
    let exempt = json!({"jwtRules": [rule(json!({}))], "exempt": [{"paths": ["/a*", "/{**}/b"]}]});
    cases.push(case("path of an exempt request", &exempt, PATH_BYTES, |n| {
        get(&format!("/{}", "a/".repeat(n / 2)), &plain_token())
    }));

    let query = when(&["request.query[a]", "request.query[b]", "request.query[c]"]);
    for (what, part) in [("a=1", "a=1&"), ("a", "a&"), ("%61=%62", "%61=%62&"), ("nothing", "&")] {
        cases.push(case(&format!("query parameters, {what}"), &query, 1_023, move |n| {
            get(&format!("/x?{}", part.repeat(n)), &plain_token())
        }));
    }
    cases.push(case("query parameters of distinct names", &query, 1_023, |n| {
        get(
            &format!("/x?{}", (0..n).map(|i| format!("p{i}=1&")).collect::<String>()),
            &plain_token(),
        )
    }));
    cases.push(case(
        "query parameters that nothing reads",
        &json!({"authorizationPolicies": [{"name": "p", "rules": [{}]}]}),
        HEADER_BYTES / 2,
        |n| get(&format!("/x?{}", "a&".repeat(n)), ""),
    ));
    cases.push(case("query parameters far beyond the bound", &query, HEADER_BYTES / 2, |n| {
        get(&format!("/x?{}", "a&".repeat(n)), &plain_token())
    }));
    for (what, from, path) in
        [("query", "request.query[b]", "a=1&b=2&"), ("query alone", "request.query[b]", "a&")]
    {
        let both = few(|_| json!({"when": [{"key": "request.query[a]", "valuesFrom": [from]}]}));
        cases.push(case(&format!("valuesFrom: query by {what}"), &both, 511, move |n| {
            get(&format!("/x?{}", path.repeat(n)), &plain_token())
        }));
    }
    cases.push(case("query of one long value", &query, HEADER_BYTES, |n| {
        get(&format!("/x?a={}", "b".repeat(n)), &plain_token())
    }));
    cases.push(case("tokens in the query, all the same", &demo(), 58, |n| {
        let token = plain_token();
        get(&format!("/x?{}", format!("access_token={token}&").repeat(n)), &token)
    }));
    cases.push(case("tokens in the query, short ones", &demo(), 1_023, |n| {
        get(&format!("/x?{}", "access_token=e30.e30.AA&".repeat(n)), "e30.e30.AA")
    }));
    cases
}

fn headers() -> Vec<Case> {
    let mut cases = Vec::new();
    let lines = |n: usize, name: fn(usize) -> String, value: &str| {
        let mut request = get("/", &plain_token());
        (0..n).for_each(|i| push(&mut request, &name(i), value));
        request
    };
    let reads = when(&["request.headers[x-a]", "request.headers[x-b]"]);
    cases.push(case("header lines of one name", &reads, 1_015, move |n| {
        lines(n, |_| "x-a".to_owned(), "1")
    }));
    cases.push(case("header lines of distinct names", &reads, 1_015, move |n| {
        lines(n, |i| format!("x-{i}"), "1")
    }));
    let indexed = many(
        |i| json!({"when": [{"key": "request.headers[x-a]", "values": ["x", format!("y{i}")]}]}),
    );
    cases.push(case("header lines of one name, many rules", &indexed, 1_015, move |n| {
        lines(n, |_| "x-a".to_owned(), "x")
    }));
    let alike = json!({"when": [{"key": "request.headers[x-a]", "values": ["x"]}]});
    let alike = allow((0..400).map(|_| alike.clone()).collect());
    cases.push(case("header lines of one name, each for 400 rules", &alike, 1_015, move |n| {
        lines(n, |_| "x-a".to_owned(), "x")
    }));
    cases.push(case("spoofed headers, each spelt another way", &demo(), 1_015, move |n| {
        lines(n, spoofed, "x")
    }));
    cases.push(case(
        "spoofed headers, rejected",
        &json!({"jwtRules": [rule(json!({}))], "identityHeaders": {"onSpoof": "reject"}}),
        1_015,
        move |n| lines(n, spoofed, "x"),
    ));
    let many_outputs: Vec<Value> = (0..30)
        .map(|i| json!({"header": format!("x-jwt-claim-{i}"), "claim": format!("c{i}")}))
        .collect();
    let spoofable = json!({"jwtRules": [rule(json!({"outputClaimToHeaders": many_outputs}))], "authorizationPolicies": [
        {"name": "p", "rules": [{"when": [{"key": "request.headers[x-a]", "notValues": ["b"]}]}]},
    ]});
    cases.push(case(
        "spoofed headers, thirty outputs, headers read",
        &spoofable,
        1_015,
        move |n| {
            lines(
                n,
                |i| {
                    format!(
                        "x{}jwt{}claim{}{}",
                        separator(i),
                        separator(i / 15),
                        separator(i / 225),
                        i % 30
                    )
                },
                "x",
            )
        },
    ));
    for (what, value) in [("a", "a"), ("commas", ",")] {
        cases.push(case(&format!("a header of `{what}`"), &reads, HEADER_BYTES, move |n| {
            let mut request = get("/", &plain_token());
            push(&mut request, "x-a", &value.repeat(n));
            request
        }));
    }
    let hosts = few(
        |i| json!({"to": [{"operation": {"hosts": [format!("a{i}.example.com"), "*.b", "c*"], "notHosts": ["x"]}}]}),
    );
    for (what, part) in [("a", "a"), ("dots", "."), ("colons", ":"), ("A:1", "A:1")] {
        cases.push(case(&format!("a host of `{what}`"), &hosts, HEADER_BYTES, move |n| {
            let mut request = get("/", &plain_token());
            request.headers[1].1 = part.repeat(n / part.len()).into_bytes();
            request
        }));
    }
    let method = few(|i| json!({"to": [{"operation": {"methods": ["GET", format!("M{i}*")]}}]}));
    cases.push(case("a method of `a`", &method, HEADER_BYTES, |n| {
        let mut request = get("/", &plain_token());
        request.headers[0].1 = b"a".repeat(n.max(1));
        request
    }));
    let cookie = json!({"jwtRules": [rule(json!({"fromCookies": ["sess", "auth"]}))]});
    for (what, part) in
        [("of the token's name", "sess=; "), ("of other names", "a=1; "), ("of nothing", ";")]
    {
        cases.push(case(&format!("cookies {what}"), &cookie, 511, move |n| {
            let mut request = get("/", &plain_token());
            push(&mut request, "cookie", &part.repeat(n));
            request
        }));
    }
    cases.push(case("cookies that hold the same token", &cookie, 57, |n| {
        let mut request = get("/", &plain_token());
        push(&mut request, "cookie", &format!("sess={}; ", plain_token()).repeat(n));
        request
    }));
    cases.push(case("cookies far beyond the bound", &cookie, HEADER_BYTES / 5, |n| {
        let mut request = get("/", &plain_token());
        push(&mut request, "cookie", &"a=1; ".repeat(n));
        request
    }));
    cases
}

fn separator(i: usize) -> char {
    char::from(b"-_.!#$%&'*+^`|~"[i % 15])
}

fn spoofed(i: usize) -> String {
    // Longer than the header, since a name keeps its length: `user-info` has only one separator.
    let bytes = [b"user".as_slice(), &[u8::try_from(1 + i % 44).unwrap()], b"info"].concat();
    String::from_utf8(bytes).unwrap()
}

fn tokens() -> Vec<Case> {
    let mut cases = Vec::new();
    let prefixes: Vec<Value> =
        (0..31).map(|i| json!({"name": "Authorization", "prefix": format!("Token{i}=")})).collect();
    let places = json!({"jwtRules": [rule(json!({"fromHeaders": prefixes}))]});
    for part in ["Token", "T", "Token1", "a", "Bearer", "b", "x Token7=", "eyJ.eyJ.x "] {
        for (what, configuration) in [("default places", demo()), ("31 places", places.clone())] {
            cases.push(case(
                &format!("authorization of `{part}`, {what}"),
                &configuration,
                HEADER_BYTES,
                move |n| {
                    let mut request = get("/", "");
                    request.headers[8].1 = format!(" {}", part.repeat(n / part.len())).into_bytes();
                    request
                },
            ));
        }
    }
    let mut dry = places;
    dry["mode"] = json!("dryRun");
    cases.push(case("authorization of `Token`, 31 places, dry run", &dry, HEADER_BYTES, |n| {
        let mut request = get("/", "");
        request.headers[8].1 = format!(" {}", "Token".repeat(n / 5)).into_bytes();
        request
    }));
    cases.push(case("authorization lines", &demo(), 1_015, |n| {
        let mut request = get("/", &plain_token());
        (0..n).for_each(|_| push(&mut request, "authorization", "Bearer x"));
        request
    }));
    let socket =
        json!({"jwtRules": [rule(json!({"fromWebSocketProtocol": {"prefix": "bearer."}}))]});
    cases.push(case("websocket protocols far beyond the bound", &socket, HEADER_BYTES, |n| {
        let mut request = get("/", "");
        push(&mut request, "sec-websocket-protocol", &",".repeat(n));
        request
    }));
    for part in ["bearer.,", ",", "bearer.a.b.c, ", "chat,"] {
        cases.push(case(&format!("websocket protocols, `{part}`"), &socket, 255, move |n| {
            let mut request = get("/", "");
            push(&mut request, "sec-websocket-protocol", &part.repeat(n));
            request
        }));
    }
    // Claims: the largest accepted token has twelve thousand bytes of them.
    let rules = json!({
        "jwtRules": [rule(json!({
            "outputClaimToHeaders": [{"header": "x-groups", "claim": "c", "format": "csv"}],
            "outputPayloadClaims": ["c"], "requiredClaims": [{"claim": "sub", "values": ["a", "mmosley"]}],
        }))],
        "authorizationPolicies": [{"name": "p", "rules": (0..7).map(|i| json!({"when": [
            {"key": "request.auth.claims[c]", "values": [format!("g{i}"), "h*", "*i"]},
            {"key": "request.auth.scopes", "values": [format!("s{i}")]},
        ]})).collect::<Vec<_>>()}],
        "matchScalarClaims": true,
    });
    let kinds: [(&str, Text); 9] = [
        ("a list of strings", |n| format!("[{}]", vec!["\"g\""; n / 4].join(","))),
        ("a list of numbers", |n| format!("[{}]", vec!["1"; n / 2].join(","))),
        ("members", |n| {
            format!(
                "{{{}}}",
                (0..n / 10).map(|i| format!("\"m{i:05}\":1")).collect::<Vec<_>>().join(",")
            )
        }),
        ("digits", |n| "1".repeat(n.max(1))),
        ("exponent digits", |n| format!("1e{}", "9".repeat(n.max(1)))),
        ("escapes", |n| format!("\"{}\"", "\\u00e9".repeat(n / 6))),
        ("dollars", |n| format!("\"{}\"", "$serde_json".repeat(n / 11))),
        ("control characters", |n| format!("\"{}\"", "\u{9b}".repeat(n / 2))),
        ("words", |n| format!("\"{}\"", "a ".repeat(n / 2))),
    ];
    for (what, make) in kinds {
        cases.push(case(&format!("claims: {what}"), &rules, CLAIM_BYTES, move |n| {
            get("/", &good(&format!(r#","c":{}"#, make(n))))
        }));
    }
    cases.push(case("claims: levels", &rules, 28, |n| {
        get("/", &good(&format!(r#","c":{}1{}"#, "[".repeat(n), "]".repeat(n))))
    }));
    cases.push(case("claims: scope", &rules, CLAIM_BYTES, |n| {
        get("/", &good(&format!(r#","scope":"{}""#, "a ".repeat(n / 2))))
    }));
    cases.push(case("claims: audiences", &rules, CLAIM_BYTES, |n| {
        get(
            "/",
            &token(
                json!({"alg": "HS256", "kid": "k0"}),
                &format!(
                    r#"{{"iss":"{ISSUER}","exp":4102444800,"aud":[{}"kubernetes"]}}"#,
                    "\"a\",".repeat(n / 4)
                ),
                GOOD,
            ),
        )
    }));
    cases.push(case("a header of a token: members", &demo(), CLAIM_BYTES, |n| {
        let mut header = json!({"alg": "HS256", "kid": "k0"});
        (0..n / 10).for_each(|i| header[format!("m{i:05}")] = json!(1));
        get("/", &token(header, &claims(""), GOOD))
    }));
    for (what, kid) in
        [("without kid", None), ("with an unknown kid", Some("none")), ("with a kid", Some("k7"))]
    {
        let make = move |n: usize| {
            let header = match kid {
                Some(kid) => json!({"alg": "HS256", "kid": kid}),
                None => json!({"alg": "HS256"}),
            };
            let policy = policy(&json!({"jwtRules": [rule(json!({"jwks": keys(n)}))]}));
            decided(policy, get("/", &token(header, &claims(""), b"bad")))
        };
        let make = Box::new(make);
        cases.push(Case {
            name: format!("keys, and a bad token {what}"),
            most: 2_000,
            request: true,
            make,
        });
    }
    cases
}

fn peers() -> Vec<Case> {
    let mut cases = Vec::new();
    let request = |names: Vec<String>| {
        let mut request = get("/", &plain_token());
        let peer = Peer { uri_sans: names, ..Peer::default() };
        request.connection = Connection { peer: Some(peer), ..Connection::default() };
        request
    };
    let source = |i: usize| {
        json!({"from": [
            {"source": {"serviceAccounts": [format!("n{i}/a"), "n/x"]}},
            {"source": {"namespaces": [format!("m{i}"), "a*a*b*c"]}},
            {"source": {"trustDomains": ["t*", format!("d{i}")]}},
            {"source": {"principals": [format!("*xx{i}"), format!("td/{i}*"), "td/ns/q/sa/q"]}},
        ]})
    };
    let accounts =
        |i: usize| json!({"from": [{"source": {"serviceAccounts": [format!("n{i}/a")]}}]});
    for (rules, configuration) in
        [("7 rules", few(source)), ("20 rules", many(source)), ("20 on accounts", many(accounts))]
    {
        let names: [(&str, Text); 5] = [
            ("ns/a/ then sa/b/", |n| {
                format!("spiffe://td/{}{}", "ns/a/".repeat(n / 10), "sa/b/".repeat(n / 10))
            }),
            ("distinct namespaces and accounts", |n| {
                let part =
                    |word: &str| (0..n / 14).map(|i| format!("{word}/{i:03}/")).collect::<String>();
                format!("spiffe://td/{}{}", part("ns"), part("sa"))
            }),
            ("/ns/a/sa/b", |n| format!("spiffe://td{}", "/ns/a/sa/b".repeat(n / 10))),
            ("letters", |n| format!("spiffe://td/ns/{}", "a".repeat(n))),
            ("slashes", |n| format!("spiffe://td{}", "/".repeat(n))),
        ];
        for (what, make) in names {
            cases.push(case(
                &format!("a certificate's name of {what}, {rules}"),
                &configuration,
                4_080,
                move |n| request(vec![make(n)]),
            ));
        }
        cases.push(case(
            &format!("names of a certificate, {rules}"),
            &configuration,
            128,
            move |n| request((0..n).map(|i| format!("spiffe://td/ns/n{i}/sa/a")).collect()),
        ));
        cases.push(case(
            &format!("a certificate's name far beyond the bound, {rules}"),
            &configuration,
            60_000,
            move |n| {
                request(vec![format!(
                    "spiffe://td/{}{}",
                    "ns/a/".repeat(n / 10),
                    "sa/b/".repeat(n / 10)
                )])
            },
        ));
    }
    cases
}
