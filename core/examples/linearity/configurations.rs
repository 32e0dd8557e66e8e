//! The lists of a configuration, kind by kind: the cost of loading them, and of a plain request with them.

use serde_json::{Value, json};
use usher_core::load;

use crate::requests::{decided, demo, get, plain_token, policy, rule};
use crate::{Case, Input};

/// No list has a bound; this many are more than any operator has.
const MOST: usize = 4_000;

fn texts(n: usize, text: impl Fn(usize) -> String) -> Value {
    (0..n).map(|i| Value::String(text(i))).collect()
}

fn rules(n: usize, rule: impl Fn(usize) -> Value) -> Value {
    let rules: Vec<Value> = (0..n).map(rule).collect();
    json!({"jwtRules": [crate::requests::rule(json!({}))], "authorizationPolicies": [
        {"name": "deny", "action": "DENY", "rules": if rules.is_empty() { vec![json!({"to": [{"operation": {"paths": ["/x"]}}]})] } else { rules }},
    ]})
}

fn operation(n: usize, field: &str, text: impl Fn(usize) -> String) -> Value {
    rules(1, |_| json!({"to": [{"operation": {field: texts(n.max(1), &text)}}]}))
}

fn source(n: usize, field: &str, text: impl Fn(usize) -> String) -> Value {
    rules(1, |_| json!({"from": [{"source": {field: texts(n.max(1), &text)}}]}))
}

fn when(n: usize, key: &str, text: impl Fn(usize) -> String) -> Value {
    rules(1, |_| json!({"when": [{"key": key, "values": texts(n.max(1), &text)}]}))
}

fn jwt_rules(n: usize, more: impl Fn(usize) -> Value) -> Value {
    let others = (0..n).map(|i| {
        let mut rule = rule(more(i));
        rule["issuer"] = json!(format!("https://{i}.example.com"));
        rule
    });
    json!({"jwtRules": others.chain([rule(json!({}))]).collect::<Vec<_>>()})
}

fn field(more: Value) -> Value {
    json!({"jwtRules": [rule(more)]})
}

/// How many texts of 0, 1, 2 and so on bytes have ten bytes for each of n in total.
fn distinct(n: usize) -> usize {
    (20 * n).isqrt()
}

type Make = fn(usize) -> Value;

pub(crate) fn cases() -> Vec<Case> {
    let kinds: Vec<(&str, Make)> = vec![
        ("rules by path", |n| {
            rules(n, |i| json!({"to": [{"operation": {"paths": [format!("/a/{i}")]}}]}))
        }),
        ("rules by template", |n| {
            rules(
                n,
                |i| json!({"to": [{"operation": {"paths": [format!("/a/{{*}}/{i}/{{**}}")]}}]}),
            )
        }),
        ("rules by account", |n| {
            rules(n, |i| json!({"from": [{"source": {"serviceAccounts": [format!("n{i}/a")]}}]}))
        }),
        ("rules by claim", |n| {
            rules(
                n,
                |i| json!({"when": [{"key": "request.auth.claims[groups]", "values": [format!("g{i}")]}]}),
            )
        }),
        ("rules alike", |n| rules(n, |_| json!({"to": [{"operation": {"paths": ["/a*"]}}]}))),
        ("policies", |n| {
            let mut all = rules(0, |_| json!({}));
            let list = all["authorizationPolicies"].as_array_mut().unwrap();
            list.extend((0..n).map(|i| json!({"name": format!("p{i}"), "action": "DENY", "rules": [{"to": [{"operation": {"paths": [format!("/a/{i}")]}}]}]})));
            all
        }),
        ("paths", |n| operation(n, "paths", |i| format!("/a/{i}"))),
        ("path prefixes", |n| operation(n, "paths", |i| format!("/a/{i}*"))),
        ("path prefixes of distinct lengths", |n| {
            operation(distinct(n), "paths", |i| format!("/{}*", "a".repeat(i)))
        }),
        ("path suffixes of distinct lengths", |n| {
            operation(distinct(n), "paths", |i| format!("*{}/", "a".repeat(i)))
        }),
        ("hosts", |n| operation(n, "hosts", |i| format!("a{i}.example.com"))),
        ("methods", |n| operation(n, "methods", |i| format!("M{i}"))),
        ("ports", |n| operation(n, "ports", |i| i.to_string())),
        ("principals", |n| source(n, "principals", |i| format!("cluster.local/ns/a/sa/b{i}"))),
        ("principals by suffix", |n| source(n, "principals", |i| format!("*/ns/a/sa/b{i}"))),
        ("requestPrincipals", |n| {
            source(n, "requestPrincipals", |i| format!("https://idp.example.com/{i}"))
        }),
        ("requestPrincipals by prefix", |n| {
            source(n, "requestPrincipals", |i| format!("https://idp.example.com/{i}*"))
        }),
        ("namespaces", |n| source(n, "namespaces", |i| format!("n{i}"))),
        ("trustDomains of a source", |n| source(n, "trustDomains", |i| format!("td{i}"))),
        ("remoteIpBlocks", |n| {
            source(n, "remoteIpBlocks", |i| format!("10.{}.{}.0/24", i / 256, i % 256))
        }),
        ("values of a claim", |n| when(n, "request.auth.claims[groups]", |i| format!("g{i}"))),
        ("values of a header", |n| when(n, "request.headers[x-a]", |i| format!("g{i}"))),
        ("allValues", |n| {
            rules(
                1,
                |_| json!({"when": [{"key": "request.auth.scopes", "allValues": texts(n.max(1), |i| format!("s{i}"))}]}),
            )
        }),
        ("conditions on distinct metadata keys", |n| {
            rules(
                1,
                |_| json!({"when": (0..n.max(1)).map(|i| json!({"key": format!("experimental.envoy.filters.f[k{i}]"), "values": ["x"]})).collect::<Vec<_>>()}),
            )
        }),
        ("conditions on distinct headers", |n| {
            rules(
                1,
                |_| json!({"when": (0..n.max(1)).map(|i| json!({"key": format!("request.headers[x-{i}]"), "notValues": ["x"]})).collect::<Vec<_>>()}),
            )
        }),
        ("trustDomains", |n| {
            let mut all = source(1, "principals", |_| "td0/ns/a/sa/b".to_owned());
            all["trustDomains"] = texts(n.max(1), |i| format!("td{i}"));
            all
        }),
        ("jwtRules with the same places", |n| jwt_rules(n, |_| json!({}))),
        ("jwtRules with header places of their own", |n| {
            jwt_rules(n, |i| json!({"fromHeaders": [{"name": format!("x-{i}")}]}))
        }),
        ("jwtRules with prefixes of their own", |n| {
            let mut all = jwt_rules(
                n,
                |i| json!({"fromHeaders": [{"name": "authorization", "prefix": format!("Token{i}=")}]}),
            );
            all["jwtRules"][n]["fromHeaders"] =
                json!([{"name": "authorization", "prefix": "Bearer "}]);
            all
        }),
        ("jwtRules with parameters of their own", |n| {
            jwt_rules(n, |i| json!({"fromParams": [format!("p{i}")]}))
        }),
        ("jwtRules with cookies of their own", |n| {
            jwt_rules(n, |i| json!({"fromCookies": [format!("c{i}")]}))
        }),
        ("jwtRules with headers of their own", |n| {
            jwt_rules(n, |i| json!({"outputPayloadToHeader": format!("y-{i}")}))
        }),
        (
            "jwtRules of the same issuer",
            |n| json!({"jwtRules": (0..=n).map(|i| rule(json!({"audiences": [if i == n { "kubernetes".to_owned() } else { format!("a{i}") }]}))).collect::<Vec<_>>()}),
        ),
        ("audiences", |n| {
            field(
                json!({"audiences": texts(n + 1, |i| if i == n { "kubernetes".to_owned() } else { format!("a{i}") })}),
            )
        }),
        ("subjects", |n| {
            field(
                json!({"subjects": {"exact": texts(n + 1, |i| if i == n { "mmosley".to_owned() } else { format!("s{i}") })}}),
            )
        }),
        ("types", |n| {
            field(
                json!({"types": texts(n + 1, |i| if i == n { "JWT".to_owned() } else { format!("t{i}") })}),
            )
        }),
        ("values of a required claim", |n| {
            field(
                json!({"requiredClaims": [{"claim": "sub", "values": texts(n + 1, |i| if i == n { "mmosley".to_owned() } else { format!("s{i}") })}]}),
            )
        }),
        ("outputClaimToHeaders", |n| {
            field(
                json!({"outputClaimToHeaders": (0..n).map(|i| json!({"header": format!("x-{i}"), "claim": format!("c{i}")})).collect::<Vec<_>>()}),
            )
        }),
        ("outputPayloadClaims", |n| {
            field(json!({"outputPayloadClaims": texts(n.max(1), |i| format!("c{i}"))}))
        }),
        ("spaceDelimitedClaims", |n| {
            field(json!({"spaceDelimitedClaims": texts(n, |i| format!("c{i}"))}))
        }),
        ("identityHeaders.strip", |n| {
            let mut all = demo();
            all["identityHeaders"] = json!({"strip": texts(n, |i| format!("x-{i}"))});
            all
        }),
        ("exempt", |n| {
            let mut all = demo();
            all["exempt"] = (0..n).map(|i| json!({"paths": [format!("/{i}")]})).collect();
            all
        }),
        ("decisionLog.claims", |n| {
            let mut all = demo();
            all["decisionLog"] = json!({"claims": texts(n, |i| format!("c{i}"))});
            all
        }),
        ("unknown fields", |n| {
            let mut all = demo();
            (0..n).for_each(|i| all[format!("jwtRule{i}")] = json!(1));
            all
        }),
    ];
    let mut cases = Vec::new();
    for (name, make) in kinds {
        let load = move |n| {
            let text = make(n).to_string();
            let work = move || {
                std::hint::black_box(load::from_json(text.as_bytes()).is_ok());
                0_usize
            };
            Input { bytes: 0, work: Box::new(work) }
        };
        cases.push(Case {
            name: format!("load: {name}"),
            most: MOST,
            request: false,
            make: Box::new(load),
        });
        if name == "unknown fields" {
            continue;
        }
        let ask = move |n| decided(policy(&make(n)), get("/", &plain_token()));
        cases.push(Case {
            name: format!("ask beside: {name}"),
            most: MOST,
            request: true,
            make: Box::new(ask),
        });
    }
    cases
}
