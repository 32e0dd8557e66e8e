//! The index never leaves out a rule that matches, and offers few of those that do not.

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::authorize::attributes::{Attributes, Scalars};
use crate::authorize::evaluate;
use crate::claims::{Claims, Identity};
use crate::request::{Connection, Peer, Request};
use crate::{Compiled, load};

/// One ALLOW policy with these rules.
fn policy(rules: &[Value]) -> Compiled {
    let policy = json!({"name": "p", "namespace": "home", "rules": rules});
    let config = json!({"authorizationPolicies": [policy], "sourceAddress": "connection"});
    load::from_value(&config).map(|loaded| loaded.policy).unwrap()
}

fn request(path: &str, headers: &[(&str, &str)], peer: &str) -> Request {
    let pseudo = [(":path", path), (":method", "GET"), (":authority", "7.example.com")];
    let lines = pseudo.iter().chain(headers);
    Request {
        headers: lines.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect(),
        connection: Connection {
            peer: Some(Peer { uri_sans: vec![peer.to_owned()], ..Peer::default() }),
            sni: "7.example".to_owned(),
            source_ip: Some([10, 0, 0, 7].into()),
            remote_ip: Some([10, 7, 0, 1].into()),
            destination_ip: Some([10, 0, 7, 1].into()),
            destination_port: Some(1007),
            metadata: Vec::new(),
        },
        end_of_stream: true,
    }
}

fn identity(claims: Value) -> Identity {
    let claims = Claims(claims.as_object().unwrap().clone());
    Identity { claims, ..Identity::default() }
}

/// The number of rules that a request is compared with.
fn candidates(policy: &Compiled, request: &Request, identity: &Identity) -> usize {
    let attributes = Attributes::new(request, Some(identity), Scalars::Never);
    policy.authorization.allow.index.candidates(&attributes).len()
}

#[test]
fn whatever_tells_rules_apart_keeps_them_apart() {
    let when = |key: &str, values: Value| json!({"when": [{"key": key, "values": values}]});
    let source = |field: &str, value: String| json!({"from": [{"source": {field: [value]}}]});
    let operation = |field: &str, value: String| json!({"to": [{"operation": {field: [value]}}]});
    let kinds: [(&str, &dyn Fn(u16) -> Value); 27] = [
        ("exact path", &|i| operation("paths", format!("/t/{i}"))),
        ("path prefix", &|i| operation("paths", format!("/t/{i}*"))),
        ("path suffix", &|i| operation("paths", format!("*/{i}"))),
        ("template, by its beginning", &|i| operation("paths", format!("/t/{i}/{{**}}"))),
        ("template, by its end", &|i| operation("paths", format!("/{{**}}/t/{i}"))),
        ("template, by a segment", &|i| operation("paths", format!("/t/{i}/{{*}}"))),
        ("template, by a segment between", &|i| operation("paths", format!("/{{*}}/{i}/{{**}}"))),
        ("host", &|i| operation("hosts", format!("{i}.example.com"))),
        ("host suffix", &|i| operation("hosts", format!("*{i}.example.com"))),
        ("port", &|i| operation("ports", format!("{}", i + 1000))),
        ("principal", &|i| source("principals", format!("td/ns/n{i}/sa/a"))),
        ("principal prefix", &|i| source("principals", format!("td/ns/n{i}/*"))),
        ("namespace", &|i| source("namespaces", format!("n{i}"))),
        ("service account", &|i| source("serviceAccounts", format!("n{i}/a"))),
        ("trust domain", &|i| source("trustDomains", format!("td{i}"))),
        ("request principal", &|i| source("requestPrincipals", format!("iss/sub-{i}"))),
        ("issuer alone", &|i| source("requestPrincipals", format!("iss-{i}/*"))),
        ("subject alone", &|i| source("requestPrincipals", format!("*/sub-{i}"))),
        ("source address", &|i| source("ipBlocks", format!("10.0.0.{}", i % 256))),
        ("remote block", &|i| source("remoteIpBlocks", format!("10.{}.0.0/16", i % 256))),
        ("claim", &|i| when("request.auth.claims[groups]", json!([format!("g{i}")]))),
        ("names of claims", &|i| when(&format!("request.auth.claims[c{i}]"), json!(["x"]))),
        ("names of nested claims", &|i| {
            when(&format!("request.auth.claims[a][c{i}]"), json!(["x"]))
        }),
        ("header", &|i| when("request.headers[x-team]", json!([format!("t{i}")]))),
        ("names of headers", &|i| when(&format!("request.headers[x-{i}]"), json!(["x"]))),
        ("scope", &|i| when("request.auth.scopes", json!([format!("s{i}")]))),
        ("one alternative of each kind", &|i| {
            json!({"from": [
                {"source": {"principals": [format!("td/ns/n{i}/sa/a")]}},
                {"source": {"requestPrincipals": [format!("iss/sub-{i}")]}},
            ]})
        }),
    ];
    let alike = json!({"to": [{"operation": {"methods": ["GET"]}}]});
    for (what, rule) in kinds {
        let rules: Vec<Value> = (0..200)
            .map(|i| {
                let mut rule = rule(i);
                // The rules must not be indexed under what all of them share.
                if rule.get("to").is_none() {
                    rule["to"] = alike["to"].clone();
                }
                rule
            })
            .collect();
        let policy = policy(&rules);
        let headers = [("x-team", "t7"), ("x-7", "x")];
        let claims = json!({"iss": "iss", "sub": "sub-7", "groups": ["g7"], "c7": "x",
            "a": {"c7": "x"}, "scope": "s7 other"});
        let paths = ["/t/7", "/x/7/y", "/t/7/x", "/x/t/7"];
        let peers = ["spiffe://td/ns/n7/sa/a", "spiffe://td7/ns/x/sa/y"];
        let claims = [claims.clone(), json!({"iss": "iss-7", "sub": "x"})];
        let mut matched = 0;
        for path in paths {
            for peer in peers {
                for claims in &claims {
                    let (request, identity) =
                        (request(path, &headers, peer), identity(claims.clone()));
                    let tried = candidates(&policy, &request, &identity);
                    assert!(tried < 5, "{what}: {tried} rules tried on {path} {peer} {claims}");
                    let authorization = evaluate(&policy.authorization, &request, Some(&identity));
                    matched += u32::from(authorization.rule == Some(7));
                }
            }
        }
        assert!(matched > 0, "{what}: rule 7 never matches");
    }
}

#[test]
fn a_rule_matches_however_many_stand_beside_it() {
    let when = |key: &str| json!({"when": [{"key": key, "values": ["x"]}]});
    let never = |i: usize| json!({"to": [{"operation": {"paths": [format!("/never/{i}")]}}]});
    let account = json!({"from": [{"source": {"serviceAccounts": ["x"]}}]});
    for (namespace, rule) in [
        // At the top `[*]` is a claim of that name.
        ("home", when("request.auth.claims[*]")),
        ("home", when("request.auth.claims[*][g]")),
        ("home", when("request.auth.claims[l][*]")),
        ("home", when("request.auth.claims[l][*][g]")),
        ("home", when("request.auth.claims[o][*]")),
        ("a/b", account),
    ] {
        for count in [0, 6, 7, 30] {
            let rules: Vec<Value> = (0..count).map(never).chain([rule.clone()]).collect();
            let policy =
                json!({"name": "p", "namespace": namespace, "action": "DENY", "rules": rules});
            let loaded = load::from_value(&json!({"authorizationPolicies": [policy]})).unwrap();
            let claims = json!({"*": ["x"], "l": ["x", {"g": "x"}], "o": {"*": "x"}});
            let nested = json!({"*": {"g": "x"}, "l": [{"g": ["x"]}], "o": {"*": "x"}});
            let request = request("/", &[], "spiffe://td/ns/a/b/sa/x");
            let denied = [claims, nested].iter().any(|claims| {
                let identity = identity(claims.clone());
                let authorization =
                    evaluate(&loaded.policy.authorization, &request, Some(&identity));
                authorization.rule == Some(count)
            });
            assert!(denied, "{rule} beside {count} others");
        }
    }
}

/// Values that overlap, so that some generated requests match.
fn any_rule() -> impl Strategy<Value = Value> {
    let path = prop::sample::select(vec![
        "/a",
        "/a*",
        "*b",
        "/a/{*}",
        "/{**}",
        "/a/{**}/b",
        "/{*}/b",
        "*",
        "/a/{*}.b",
        "/{x}/{y}",
    ]);
    let principal = prop::sample::select(vec!["td/ns/a/sa/b", "td/*", "*/sa/b", "*", "td/ns/a/*"]);
    let subject = prop::sample::select(vec!["i/s", "i/*", "*/s", "*", "i*", "*s", "i/t*", "j/s"]);
    let claim = prop::sample::select(vec!["g", "h", "g*", "*h", "*"]);
    let source = prop_oneof![
        principal.prop_map(|v| json!({"principals": [v]})),
        prop::sample::select(vec!["a", "b", "*"]).prop_map(|v| json!({"namespaces": [v]})),
        prop::sample::select(vec!["a/b", "b"]).prop_map(|v| json!({"serviceAccounts": [v]})),
        subject.clone().prop_map(|v| json!({"requestPrincipals": [v]})),
        subject.prop_map(|v| json!({"notRequestPrincipals": [v]})),
        prop::sample::select(vec!["10.0.0.0/8", "10.0.0.7", "::/0"])
            .prop_map(|v| json!({"ipBlocks": [v]})),
    ];
    let operation = prop_oneof![
        prop::collection::vec(path.clone(), 1..3).prop_map(|v| json!({"paths": v})),
        path.prop_map(|v| json!({"notPaths": [v]})),
        prop::sample::select(vec!["7.example.com", "*.com", "x"])
            .prop_map(|v| json!({"hosts": [v]})),
        prop::sample::select(vec!["1007", "80"]).prop_map(|v| json!({"ports": [v]})),
    ];
    let when = prop_oneof![
        claim.clone().prop_map(|v| json!({"key": "request.auth.claims[g]", "values": [v]})),
        claim.clone().prop_map(|v| json!({"key": "request.auth.claims[n][g]", "notValues": [v]})),
        claim.clone().prop_map(|v| json!({"key": "request.auth.claims[n][g]", "values": [v]})),
        claim.clone().prop_map(|v| json!({"key": "request.headers[x-g]", "values": [v]})),
        claim.prop_map(|v| json!({"key": "request.auth.claims[l][*][g]", "allValues": [v]})),
    ];
    let list = |s: BoxedStrategy<Value>| prop::collection::vec(s, 0..3);
    (list(source.boxed()), list(operation.boxed()), list(when.boxed())).prop_map(
        |(sources, operations, when)| {
            let mut rule = json!({});
            let wrap = |name: &str, items: Vec<Value>| -> Vec<Value> {
                items.into_iter().map(|item| json!({name: item})).collect()
            };
            if !sources.is_empty() {
                rule["from"] = wrap("source", sources).into();
            }
            if !operations.is_empty() {
                rule["to"] = wrap("operation", operations).into();
            }
            if !when.is_empty() {
                rule["when"] = when.into();
            }
            rule
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_rule_that_matches_is_left_out(
        rules in prop::collection::vec(any_rule(), 8..30),
        path in prop::sample::select(vec!["/a", "/a/b", "/a/x/b", "/b", "/", "/a/x.b", "/a/", "//b"]),
        peer in prop::sample::select(vec!["spiffe://td/ns/a/sa/b", "spiffe://x/ns/b/sa/b", "", "x/ns/a/y"]),
        subject in prop::sample::select(vec![("i", "s"), ("i", "t1"), ("j", "s"), ("", "")]),
        group in prop::sample::select(vec![json!("g"), json!(["x", "h"]), json!(7), json!(null)]),
    ) {
        let policy = policy(&rules);
        let request = request(path, &[("x-g", "g")], peer);
        let claims = json!({"iss": subject.0, "sub": subject.1, "g": group, "n": {"g": group},
            "l": [{"g": group}]});
        let identity = identity(claims);
        let attributes = Attributes::new(&request, Some(&identity), Scalars::Never);
        let set = &policy.authorization.allow;
        let all: Vec<usize> = (0..set.rules.len())
            .filter(|number| set.rules[*number].rule.matches(&attributes))
            .collect();
        let offered = set.index.candidates(&attributes);
        for number in all {
            prop_assert!(offered.contains(&number), "rule {number}: {}", rules[set.rules[number].number]);
        }
    }
}
