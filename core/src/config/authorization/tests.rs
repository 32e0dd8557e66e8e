//! Every error of docs/semantics.md, "Validation of an AuthorizationPolicy", and what Istio silently
//! drops or widens (docs/authorization.md, "Stricter than Istio"), in a pluginConfig: its place and
//! its text.

use serde_json::{Value, json};

use crate::load;

fn said(config: &Value) -> Vec<String> {
    match load::from_value(config) {
        Ok(loaded) => loaded.warnings.iter().map(|w| format!("warning: {w}")).collect(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

fn policy(fields: Value) -> Value {
    let mut policy = json!({"name": "p", "namespace": "shop"});
    for (name, value) in fields.as_object().unwrap() {
        policy[name] = value.clone();
    }
    json!({"authorizationPolicies": [policy], "sourceAddress": "connection"})
}

fn rule(rule: Value) -> Value {
    policy(json!({"rules": [rule]}))
}

fn source(source: Value) -> Value {
    rule(json!({"from": [{"source": source}]}))
}

fn operation(operation: Value) -> Value {
    rule(json!({"to": [{"operation": operation}]}))
}

fn when(key: &str, values: Value) -> Value {
    rule(json!({"when": [{"key": key, "values": values}]}))
}

const FROM: &str = "authorizationPolicies[0].rules[0].from[0]";
const TO: &str = "authorizationPolicies[0].rules[0].to[0]";
const WHEN: &str = "authorizationPolicies[0].rules[0].when[0]";
const RULE: &str = "authorizationPolicies[0].rules[0]";
const POLICY: &str = "authorizationPolicies[0]";

#[test]
fn each_error_has_its_place_and_its_words() {
    let long = "a".repeat(321);
    let seventeen: Vec<String> = (0..17).map(|i| format!("sa-{i}")).collect();
    let long_template = format!("/{{*}}/{}", "a".repeat(300));
    let ends = "at the start or the end only, found";
    let wildcard = "elsewhere it would be compared as a star";
    let without_source = json!({"authorizationPolicies": [
        {"name": "p", "rules": [{"from": [{"source": {"ipBlocks": ["10.0.0.1"]}}]}]}]});
    let mut wrong = Vec::new();
    for (config, at, problem) in [
        (policy(json!({"action": "CUSTOM", "rules": [{}]})), format!("{POLICY}.action"),
            "expected ALLOW, DENY or AUDIT, found CUSTOM, which asks another service: keep that one as an \
             AuthorizationPolicy, Istio runs it ahead of this filter".to_owned()),
        (policy(json!({"action": "LOG"})), format!("{POLICY}.action"),
            "expected one of `ALLOW`, `DENY`, `AUDIT`, found `LOG`".to_owned()),
        (policy(json!({"provider": {"name": "x"}})), format!("{POLICY}.provider"),
            "unknown field `provider`".to_owned()),
        (policy(json!({"action": "DENY"})), POLICY.to_owned(),
            "a DENY policy without rules denies nothing; `rules: [{}]` is for all".to_owned()),
        (policy(json!({"action": "AUDIT", "dryRun": true, "rules": [{}]})), format!("{POLICY}.dryRun"),
            "AUDIT never denies, so there is nothing to run dry".to_owned()),
        (policy(json!({"dryRun": "true"})), format!("{POLICY}.dryRun"),
            "expected true or false, found `true`".to_owned()),
        (policy(json!({"action": "AUDIT", "denyStatus": 404, "rules": [{}]})),
            format!("{POLICY}.denyStatus"), "AUDIT never denies".to_owned()),
        (policy(json!({"denyStatus": 200})), format!("{POLICY}.denyStatus"),
            "expected a whole number from 400 to 599, found `200`".to_owned()),
        (policy(json!({"denyWhenUnauthenticated": 403})), format!("{POLICY}.denyWhenUnauthenticated"),
            "expected a whole number from 401 to 401, found `403`".to_owned()),
        (rule(json!({"when": [{"key": "request.auth.scopes", "values": ["a"], "allValues": []}]})),
            format!("{WHEN}.allValues"), "expected at least one value, found a list".to_owned()),
        (rule(json!({"when": [{"key": "request.auth.scopes", "allValues": ["a", 1.5]}]})),
            format!("{WHEN}.allValues[1]"), "expected a string, found `1.5`".to_owned()),
        (rule(json!({"when": [{"key": "source.serviceAccount", "allValues": ["a", "b*"]}]})),
            format!("{WHEN}.allValues[1]"), "expected a service account without wildcard, found `b*`".to_owned()),
        (rule(json!({"when": [{"key": "request.auth.scopes", "values": ["a"], "valuesFrom": []}]})),
            format!("{WHEN}.valuesFrom"), "expected at least one value, found a list".to_owned()),
        (json!({"authorizationPolicies": [{"rules": []}]}), POLICY.to_owned(),
            "missing field `name`".to_owned()),
        (json!({"authorizationPolicies": [{"name": "a"}, {"name": "a"}]}),
            "authorizationPolicies[1]".to_owned(), "another policy of the namespace is named `a`".to_owned()),
        (rule(json!(null)), RULE.to_owned(), "expected an object, found null".to_owned()),
        (rule(json!({"from": [null]})), FROM.to_owned(), "expected an object, found null".to_owned()),
        (rule(json!({"from": [{}]})), FROM.to_owned(), "missing field `source`".to_owned()),
        (source(json!({})), format!("{FROM}.source"),
            "expected at least one condition, found none".to_owned()),
        (source(json!({"principal": ["a"], "namespaces": ["b"]})), format!("{FROM}.source.principal"),
            "unknown field `principal`; did you mean `principals`?".to_owned()),
        (rule(json!({"to": [null]})), TO.to_owned(), "expected an object, found null".to_owned()),
        (rule(json!({"to": [{}]})), TO.to_owned(), "missing field `operation`".to_owned()),
        (operation(json!({})), format!("{TO}.operation"),
            "expected at least one condition, found none".to_owned()),
        (source(json!({"serviceAccounts": ["a"], "notPrincipals": ["b"]})), format!("{FROM}.source"),
            "`serviceAccounts` cannot stand beside `principals` or `namespaces`".to_owned()),
        (source(json!({"principals": [""]})), format!("{FROM}.source.principals[0]"),
            "expected a string that is not empty, found an empty string".to_owned()),
        (operation(json!({"notPorts": [""]})), format!("{TO}.operation.notPorts[0]"),
            "expected a string that is not empty, found an empty string".to_owned()),
        (source(json!({"ipBlocks": ["10.0.0"]})), format!("{FROM}.source.ipBlocks[0]"),
            "expected an IP address or a CIDR block, found `10.0.0`".to_owned()),
        (source(json!({"notRemoteIpBlocks": ["10.0.0.0/33"]})),
            format!("{FROM}.source.notRemoteIpBlocks[0]"),
            "expected an IP address or a CIDR block, found `10.0.0.0/33`".to_owned()),
        (without_source, "authorizationPolicies[0].rules[0].from[0].source.ipBlocks".to_owned(),
            "needs `sourceAddress`: the proxy tells a plugin the address that `x-forwarded-for` names, \
             which any client can choose, and not the TCP peer; give `sourceAddress: {filterState: KEY}` \
             (see docs/configuration.md), or use `remoteIpBlocks`".to_owned()),
        (operation(json!({"ports": ["65536"]})), format!("{TO}.operation.ports[0]"),
            "expected a port from 0 to 65535, found `65536`".to_owned()),
        (operation(json!({"ports": [80]})), format!("{TO}.operation.ports[0]"),
            "expected a string, found `80`".to_owned()),
        (source(json!({"serviceAccounts": seventeen})), format!("{FROM}.source.serviceAccounts"),
            "expected at most 16 values, found 17".to_owned()),
        (source(json!({"serviceAccounts": ["a*"]})), format!("{FROM}.source.serviceAccounts[0]"),
            "expected a service account without wildcard, found `a*`".to_owned()),
        (source(json!({"serviceAccounts": ["a/b/c"]})), format!("{FROM}.source.serviceAccounts[0]"),
            "expected `account` or `namespace/account`, found `a/b/c`".to_owned()),
        (source(json!({"serviceAccounts": [long]})), format!("{FROM}.source.serviceAccounts[0]"),
            "expected at most 320 characters".to_owned()),
        (source(json!({"trustDomains": ["*a*"]})), format!("{FROM}.source.trustDomains[0]"),
            "expected at most one `*`, at the start or the end, found `*a*`".to_owned()),
        (source(json!({"trustDomains": ["a*b"]})), format!("{FROM}.source.trustDomains[0]"),
            "expected at most one `*`, at the start or the end, found `a*b`".to_owned()),
        (source(json!({"trustDomains": ["a/b"]})), format!("{FROM}.source.trustDomains[0]"),
            "expected a trust domain, which holds no `/`, found `a/b`".to_owned()),
        (operation(json!({"paths": ["/{**}/{*}"]})), format!("{TO}.operation.paths[0]"),
            "expected a path template, found `/{**}/{*}`: `{**}` must be the last operator".to_owned()),
        (operation(json!({"paths": ["/{"]})), format!("{TO}.operation.paths[0]"),
            "expected a path template, found `/{`: a brace belongs to no operator; operators are `{*}`, \
             `{**}`, `{name}` and `{name=**}`".to_owned()),
        (operation(json!({"paths": ["/{*}/a*"]})), format!("{TO}.operation.paths[0]"),
            "expected a path template, found `/{*}/a*`: a segment beside the operators is empty, or holds \
             what no path segment may".to_owned()),
        (operation(json!({"paths": ["a/{*}"]})), format!("{TO}.operation.paths[0]"),
            "expected a path template, found `a/{*}`: it does not begin with `/`, so it would never \
             match".to_owned()),
        (operation(json!({"paths": [long_template]})), format!("{TO}.operation.paths[0]"),
            format!("expected a path template, found `{long_template}`: it has more than 256 characters, \
             which Envoy refuses")),
        (operation(json!({"paths": ["/a*b"]})), format!("{TO}.operation.paths[0]"),
            format!("expected `*` {ends} `/a*b`: {wildcard}")),
        (operation(json!({"hosts": ["*.a.*"]})), format!("{TO}.operation.hosts[0]"),
            format!("expected `*` {ends} `*.a.*`: {wildcard}")),
        (operation(json!({"methods": ["get"]})), format!("{TO}.operation.methods[0]"),
            "expected a method in upper case, found `get`: methods are compared with their case, so it \
             would never match; did you mean `GET`?".to_owned()),
        (source(json!({"principals": ["td/ns/*/sa/a"]})), format!("{FROM}.source.principals[0]"),
            format!("expected `*` {ends} `td/ns/*/sa/a`: {wildcard}")),
        (when("", json!(["x"])), format!("{WHEN}.key"),
            "expected a string that is not empty, found an empty string".to_owned()),
        (rule(json!({"when": [{"key": "source.ip"}]})), WHEN.to_owned(),
            "expected `values` or `notValues`, found neither".to_owned()),
        (when("destination.port", json!(["x"])), format!("{WHEN}.values[0]"),
            "expected a port from 0 to 65535, found `x`".to_owned()),
        (rule(json!({"when": [{"key": "remote.ip", "notValues": ["x"]}]})), format!("{WHEN}.notValues[0]"),
            "expected an IP address or a CIDR block, found `x`".to_owned()),
        (when("request.auth.claim[groups]", json!(["x"])), format!("{WHEN}.key"),
            "unknown attribute `request.auth.claim[groups]`; did you mean \
             `request.auth.claims[groups]`?".to_owned()),
        (when("source.ipp", json!(["x"])), format!("{WHEN}.key"),
            "unknown attribute `source.ipp`; did you mean `source.ip`?".to_owned()),
        (when("request.headersfoo[x]", json!(["x"])), format!("{WHEN}.key"),
            "expected a key such as `request.headers[name]`, found `request.headersfoo[x]`".to_owned()),
        (when("request.auth.claims[]", json!(["x"])), format!("{WHEN}.key"),
            "expected a key such as `request.auth.claims[name]`, found `request.auth.claims[]`".to_owned()),
        (when("experimental.envoy.filters.a.b", json!(["x"])), format!("{WHEN}.key"),
            "expected a key such as `experimental.envoy.filters.name[key]`, found \
             `experimental.envoy.filters.a.b`".to_owned()),
        (when("destination.namespace", json!(["x"])), format!("{WHEN}.key"),
            "unknown attribute `destination.namespace`: the policy's own namespace says that".to_owned()),
        (when("destination.labels[app]", json!(["x"])), format!("{WHEN}.key"),
            "unknown attribute `destination.labels[app]`: the plugin's selector says that".to_owned()),
        (when("destination.user", json!(["x"])), format!("{WHEN}.key"),
            "unknown attribute `destination.user`: it was in v1alpha1 only".to_owned()),
        (rule(json!({"when": [{"key": "source.ip", "valuesFrom": ["remote.ip"]}]})),
            format!("{WHEN}.valuesFrom"),
            "is for attributes with texts: headers, claims, query parameters, `request.auth.*`".to_owned()),
        (rule(json!({"when": [{"key": "request.auth.claims[t]", "valuesFrom": ["path.t"]}]})),
            format!("{WHEN}.valuesFrom[0]"), "no path of this rule captures `{t}`".to_owned()),
        (rule(json!({"when": [{"key": "request.auth.claims[t]", "valuesFrom": ["source.ip"]}]})),
            format!("{WHEN}.valuesFrom[0]"),
            "expected an attribute with texts or `path.NAME`, found `source.ip`".to_owned()),
    ] {
        let (found, expected) = (said(&config), format!("{at}: {problem}"));
        if found != [expected.as_str()] {
            wrong.push(format!("{config}\n  expected {expected}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn what_is_legal_and_doubtful_is_a_warning() {
    for (config, expected) in [
        (
            policy(json!({"selector": {"matchLabels": {"a": "b"}}})),
            format!(
                "{POLICY}.selector: is ignored: the plugin's own selector decides where it runs"
            ),
        ),
        (
            policy(json!({"targetRefs": [{"kind": "Service", "name": "x"}]})),
            format!(
                "{POLICY}.targetRefs: is ignored: the plugin's own selector decides where it runs"
            ),
        ),
        (
            rule(json!({"from": []})),
            format!(
                "{RULE}.from: an empty list is not a condition: this part of the rule is always true"
            ),
        ),
        (
            source(json!({"requestPrincipals": ["*/*"]})),
            format!(
                "{FROM}.source.requestPrincipals[0]: of `*/*` the second `*` is compared as a star, as in \
                 Istio"
            ),
        ),
    ] {
        assert_eq!(said(&config), [format!("warning: {expected}")], "{config}");
    }
}
