//! Every error of docs/semantics.md, "Validation of an AuthorizationPolicy": where `usher check` sees it
//! and what it says.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at any surprise"
)]

use serde_json::{Value, json};

use crate::common::usher;

/// What is said of a manifest: `path: problem`, warnings marked.
fn said(spec: &Value, annotations: &Value) -> Vec<String> {
    let manifest = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": {"name": "p", "namespace": "shop", "annotations": annotations},
        "spec": spec,
    });
    let run = usher(&["check", "--format", "json", "-"], &manifest.to_string());
    let line = |line: &str| {
        let problem: Value = serde_json::from_str(line).unwrap();
        let warning = if problem["severity"] == "warning" { "warning: " } else { "" };
        let text = |field: &str| problem[field].as_str().unwrap().to_owned();
        format!("{warning}{}: {}", text("path"), text("problem"))
    };
    let said: Vec<String> = run.stdout.lines().map(line).collect();
    let invalid = said.iter().any(|line| !line.starts_with("warning: "));
    let status = Some(if invalid { 3 } else { 0 });
    assert_eq!((run.status, run.stderr.as_str()), (status, ""), "{spec}: {said:?}");
    said
}

fn rule(rule: Value) -> Value {
    json!({"rules": [rule]})
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

fn custom(rules: Value) -> Value {
    json!({"action": "CUSTOM", "provider": {"name": "x"}, "rules": rules})
}

#[test]
fn each_error_has_its_place_and_its_words() {
    let long = "a".repeat(321);
    let seventeen: Vec<String> = (0..17).map(|i| format!("sa-{i}")).collect();
    let many: Vec<Value> = vec![json!({}); 513];
    let mut wrong = Vec::new();
    for (spec, expected) in [
        // Selectors and targets
        (
            json!({"selector": {"matchLabels": {"a": "b"}}, "targetRef": {"kind": "Service", "name": "x"}}),
            "spec: only one of selector and targetRefs, found `selector` and `targetRef`",
        ),
        (
            json!({"selector": {"matchLabels": {"": "v"}}}),
            "spec.selector.matchLabels.: expected a label name, found an empty string",
        ),
        (
            json!({"selector": {"matchLabels": {"k": "v*"}}}),
            "spec.selector.matchLabels.k: no wildcard in a selector, found `k=v*`",
        ),
        (
            json!({"targetRefs": [{"kind": "Service"}]}),
            "spec.targetRefs[0]: a targetRef needs a `name`",
        ),
        (
            json!({"targetRefs": [{"kind": "Service", "name": "x", "namespace": "y"}]}),
            "spec.targetRefs[0].namespace: a targetRef stays in its own namespace; remove the field",
        ),
        (
            json!({"targetRefs": [{"kind": "Pod", "name": "x"}]}),
            "spec.targetRefs[0]: expected a targetRef to Service, ServiceEntry (networking.istio.io), \
             Gateway or GatewayClass (gateway.networking.k8s.io), found `/Pod`",
        ),
        // The policy, in the order of the table
        (
            json!({"action": "CUSTOM", "provider": {"name": "x"}}),
            "spec.rules: CUSTOM without rules does nothing; an empty rule `{}` is for every request",
        ),
        (
            json!({"action": "CUSTOM", "provider": {"name": ""}, "rules": [{}]}),
            "spec.provider.name: expected a string that is not empty, found an empty string",
        ),
        (json!({"action": "CUSTOM", "rules": [{}]}), "spec: CUSTOM needs a `provider` with a name"),
        (
            custom(json!([{"from": [{"source": {"notNamespaces": ["a"]}}]}])),
            "spec.rules[0].from[0].source.notNamespaces: `notNamespaces` is not supported with CUSTOM",
        ),
        (
            custom(json!([{"when": [{"key": "request.auth.claims[a]", "values": ["b"]}]}])),
            "spec.rules[0].when[0].key: `request.auth.claims[a]` is not supported with CUSTOM",
        ),
        (
            json!({"provider": {"name": "x"}}),
            "spec.provider: a provider is for CUSTOM only, found ALLOW",
        ),
        (
            json!({"action": "DENY"}),
            "spec.rules: DENY without rules does nothing; an empty rule `{}` is for every request",
        ),
        (rule(json!(null)), "spec.rules[0]: expected an object, found null"),
        (rule(json!({"from": [null]})), "spec.rules[0].from[0]: expected an object, found null"),
        (rule(json!({"from": [{}]})), "spec.rules[0].from[0]: missing field `source`"),
        (
            source(json!({})),
            "spec.rules[0].from[0].source: a source must have a condition, found none",
        ),
        (rule(json!({"to": [{}]})), "spec.rules[0].to[0]: missing field `operation`"),
        (
            operation(json!({})),
            "spec.rules[0].to[0].operation: an operation must have a condition, found none",
        ),
        (
            source(json!({"serviceAccounts": ["a"], "notNamespaces": ["b"]})),
            "spec.rules[0].from[0].source: serviceAccounts go with neither namespaces nor principals",
        ),
        (
            source(json!({"principals": [""]})),
            "spec.rules[0].from[0].source.principals[0]: expected a value, found an empty string",
        ),
        (
            operation(json!({"notPorts": [""]})),
            "spec.rules[0].to[0].operation.notPorts[0]: expected a value, found an empty string",
        ),
        (
            source(json!({"ipBlocks": ["1.2.3"]})),
            "spec.rules[0].from[0].source.ipBlocks[0]: expected an IP address, found `1.2.3`",
        ),
        (
            source(json!({"notRemoteIpBlocks": ["1.2.3.4/33"]})),
            "spec.rules[0].from[0].source.notRemoteIpBlocks[0]: expected a CIDR range such as \
             `10.0.0.0/8`, found `1.2.3.4/33`",
        ),
        (
            operation(json!({"ports": ["65536"]})),
            "spec.rules[0].to[0].operation.ports[0]: expected a port from 0 to 65535, found `65536`",
        ),
        (
            source(json!({"serviceAccounts": seventeen})),
            "spec.rules[0].from[0].source.serviceAccounts: expected at most 16 items, found 17",
        ),
        (
            source(json!({"serviceAccounts": ["a*"]})),
            "spec.rules[0].from[0].source.serviceAccounts[0]: expected a service account without \
             wildcard, found `a*`",
        ),
        (
            source(json!({"serviceAccounts": ["a/b/c"]})),
            "spec.rules[0].from[0].source.serviceAccounts[0]: expected `serviceAccount` or \
             `namespace/serviceAccount`, found `a/b/c`",
        ),
        (
            source(json!({"serviceAccounts": [long]})),
            "spec.rules[0].from[0].source.serviceAccounts[0]: expected at most 320 characters, found 321",
        ),
        (
            source(json!({"trustDomains": ["*a*"]})),
            "spec.rules[0].from[0].source.trustDomains[0]: expected at most one `*`, at the start or the \
             end, found `*a*`",
        ),
        (
            source(json!({"trustDomains": ["a/b"]})),
            "spec.rules[0].from[0].source.trustDomains[0]: expected a trust domain, which has no slash, \
             found `a/b`",
        ),
        (
            operation(json!({"paths": ["/{**}/{*}"]})),
            "spec.rules[0].to[0].operation.paths[0]: expected `{**}` as the last operator, found \
             `/{**}/{*}`",
        ),
        (
            operation(json!({"paths": ["/{id}"]})),
            "spec.rules[0].to[0].operation.paths[0]: expected braces as `{*}` or `{**}` only, found \
             `/{id}`",
        ),
        (
            operation(json!({"notPaths": ["/{*}/a*"]})),
            "spec.rules[0].to[0].operation.notPaths[0]: expected a template's segments to be plain text, \
             found `/{*}/a*`",
        ),
        (
            when("", json!(["x"])),
            "spec.rules[0].when[0].key: expected a string that is not empty, found an empty string",
        ),
        (
            rule(json!({"when": [{"key": "source.ip"}]})),
            "spec.rules[0].when[0]: at least one of values and notValues, found neither",
        ),
        (
            when("destination.port", json!(["x"])),
            "spec.rules[0].when[0].values[0]: expected a port from 0 to 65535, found `x`",
        ),
        (
            rule(json!({"when": [{"key": "source.ip", "notValues": ["x"]}]})),
            "spec.rules[0].when[0].notValues[0]: expected an IP address, found `x`",
        ),
        (
            when("request.auth.audience", json!(["x"])),
            "spec.rules[0].when[0].key: unknown attribute `request.auth.audience`; did you mean \
             `request.auth.audiences`?",
        ),
        (
            when("request.auth.claims", json!(["x"])),
            "spec.rules[0].when[0].key: expected a name in brackets (`a[b]`), found `request.auth.claims`",
        ),
        (
            when("destination.namespace", json!(["x"])),
            "spec.rules[0].when[0].key: unknown attribute `destination.namespace`; a policy is for its \
             own namespace",
        ),
        (
            when("destination.labels[app]", json!(["x"])),
            "spec.rules[0].when[0].key: unknown attribute `destination.labels[app]`; that is what \
             selector is for",
        ),
        (
            when("destination.user", json!(["x"])),
            "spec.rules[0].when[0].key: unknown attribute `destination.user`; it ended with v1alpha1",
        ),
        (json!({"rules": many}), "spec.rules: expected at most 512 items, found 513"),
        (
            json!({"action": "LOG"}),
            "spec.action: expected one of `ALLOW`, `AUDIT`, `CUSTOM`, `DENY`, found `LOG`",
        ),
        // What only a pluginConfig knows (DESIGN 2): an Istio manifest is judged as Istio judges it.
        (json!({"dryRun": true}), "spec.dryRun: unknown field `dryRun`"),
        (json!({"denyStatus": 404}), "spec.denyStatus: unknown field `denyStatus`"),
        (json!({"denyMessage": "no"}), "spec.denyMessage: unknown field `denyMessage`"),
        (
            json!({"denyWhenUnauthenticated": 401}),
            "spec.denyWhenUnauthenticated: unknown field `denyWhenUnauthenticated`",
        ),
        (
            rule(json!({"when": [{"key": "source.ip", "allValues": ["::1"], "values": ["::1"]}]})),
            "spec.rules[0].when[0].allValues: unknown field `allValues`; did you mean `notValues`?",
        ),
        (
            rule(
                json!({"when": [{"key": "source.ip", "valuesFrom": ["path.a"], "values": ["::1"]}]}),
            ),
            "spec.rules[0].when[0].valuesFrom: unknown field `valuesFrom`",
        ),
        (
            when("request.auth.scopes", json!(["x"])),
            "spec.rules[0].when[0].key: unknown attribute `request.auth.scopes`; did you mean \
             `request.auth.claims`?",
        ),
        (
            when("request.auth.provider", json!(["x"])),
            "spec.rules[0].when[0].key: unknown attribute `request.auth.provider`; did you mean \
             `request.auth.presenter`?",
        ),
        (
            when("request.auth.actor", json!(["x"])),
            "spec.rules[0].when[0].key: unknown attribute `request.auth.actor`",
        ),
        (
            when("request.query[a]", json!(["x"])),
            "spec.rules[0].when[0].key: unknown attribute `request.query[a]`",
        ),
        (
            operation(json!({"paths": ["/files/{*}.json"]})),
            "spec.rules[0].to[0].operation.paths[0]: expected braces as `{*}` or `{**}` only, found \
             `/files/{*}.json`",
        ),
        (
            operation(json!({"paths": ["/t/{rest=**}"]})),
            "spec.rules[0].to[0].operation.paths[0]: expected braces as `{*}` or `{**}` only, found \
             `/t/{rest=**}`",
        ),
    ] {
        let found = said(&spec, &json!({}));
        if found != [expected] {
            wrong.push(format!("{spec}\n  expected {expected:?}\n  found    {found:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn dry_run_is_for_allow_and_deny() {
    let dry = |value: &str| json!({"istio.io/dry-run": value});
    let place = "metadata.annotations.istio.io/dry-run";
    for (spec, value, expected) in [
        (json!({}), "true", None),
        (json!({}), "maybe", Some("expected `true` or `false`, found `maybe`")),
        (
            json!({"action": "AUDIT", "rules": [{}]}),
            "true",
            Some("only ALLOW and DENY can run dry, found AUDIT"),
        ),
        (custom(json!([{}])), "true", Some("only ALLOW and DENY can run dry, found CUSTOM")),
    ] {
        let expected: Vec<String> = expected.map(|e| format!("{place}: {e}")).into_iter().collect();
        assert_eq!(said(&spec, &dry(value)), expected, "{spec} {value}");
    }
}

#[test]
fn what_is_legal_and_doubtful_is_a_warning() {
    let tcp = "on TCP ports, which have no HTTP attributes, this DENY rule denies everything; name the \
               ports";
    for (spec, expected) in [
        (
            json!({"selector": {}}),
            "spec.selector: a selector without labels selects every workload".into(),
        ),
        (rule(json!({"from": []})), "spec.rules[0].from: an empty list is not a condition".into()),
        (
            json!({"action": "DENY", "rules": [
                {"from": [{"source": {"notRequestPrincipals": ["*"]}}]},
            ]}),
            format!("spec.rules[0]: {tcp}"),
        ),
        (
            json!({"action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/a*"]}}]}]}),
            format!("spec.rules[0]: {tcp}"),
        ),
        (
            json!({"action": "DENY", "rules": [
                {"to": [{"operation": {"paths": ["/usher-closes-what-is-no-http", "/a*"]}}]},
            ]}),
            format!("spec.rules[0]: {tcp}"),
        ),
        (
            json!({"action": "DENY", "rules": [{"to": [
                {"operation": {"paths": ["/usher-closes-what-is-no-http"]}},
                {"operation": {"paths": ["/a*"]}},
            ]}]}),
            format!("spec.rules[0]: {tcp}"),
        ),
    ] {
        assert_eq!(said(&spec, &json!({})), [format!("warning: {expected}")], "{spec}");
    }
}

#[test]
fn the_documents_examples_are_good() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/authorization.md");
    let text = std::fs::read_to_string(file).unwrap();
    let examples: Vec<&str> =
        text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(examples.len(), 2, "examples in {file}");
    for example in examples {
        let run = usher(&["check", "-"], example);
        // The example's key is a standard's, and its rule has no audiences: warnings, not errors.
        let errors: Vec<&str> =
            run.stderr.lines().filter(|line| !line.contains(": warning: ")).collect();
        assert_eq!((run.status, errors), (Some(0), Vec::new()), "{example}");
    }
}
