//! `usher convert` on manifests like those of Istio's security guides: in a real Envoy the plugin does
//! to each request what Istio's own filters do, as istiod compiles them from the same manifests.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Ask, Reply};
use usher_testkit::gate::{self, Gate};
use usher_testkit::mint::{Key, claims, jwks, with};
use usher_testkit::tls::{Authority, SERVER};

const CORP: &str = "https://idp.example.com/auth";
const OTHER: &str = "https://other.example.com/";

static CORP_KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "corp"));
static OTHER_KEY: LazyLock<Key> = LazyLock::new(|| Key::new("RS256", "other"));

/// What a run of the command ended with.
struct Run {
    status: Option<i32>,
    stdout: String,
    stderr: String,
}

fn usher(arguments: &[&str], stdin: &str) -> Run {
    let mut child = Command::new(gate::command())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    Run {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The rules and policies of one workload; the selectors are all for it.
struct Scenario {
    name: &'static str,
    rules: Value,
    /// Name, and spec without selector.
    policies: Vec<(&'static str, Value)>,
}

fn corp() -> Value {
    let keys = jwks([&*CORP_KEY]).to_string();
    json!({ "issuer": CORP, "audiences": ["kubernetes"], "jwks": keys, "outputPayloadToHeader": "User-Info" })
}

fn scenarios() -> Vec<Scenario> {
    let anyone = json!({ "from": [{ "source": { "requestPrincipals": ["*"] } }] });
    let group = |group: &str| json!({ "key": "request.auth.claims[groups]", "values": [group] });
    let mut forwarding = corp();
    forwarding["audiences"] = json!(["users", "kubernetes", "pullfunds"]);
    forwarding["forwardOriginalToken"] = json!(true);
    let other = json!({
        "issuer": OTHER,
        "jwks": jwks([&*OTHER_KEY]).to_string(),
        "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
    });
    vec![
        Scenario {
            name: "hello",
            rules: json!([corp()]),
            policies: vec![("any-user", json!({ "action": "ALLOW", "rules": [anyone] }))],
        },
        Scenario {
            name: "group",
            rules: json!([corp()]),
            policies: vec![(
                "service-level",
                json!({ "rules": [{ "when": [group("cn=group2,ou=Groups,DC=domain,DC=com")] }] }),
            )],
        },
        Scenario { name: "forwarded", rules: json!([forwarding]), policies: vec![] },
        Scenario {
            name: "gateway",
            rules: json!([other, corp()]),
            policies: vec![(
                "need-token",
                json!({ "action": "DENY", "rules": [{
                    "from": [{ "source": { "notRequestPrincipals": ["*"] } }],
                    "to": [{ "operation": { "notPaths": ["/health_check"] } }],
                }] }),
            )],
        },
        Scenario {
            name: "nothing",
            rules: json!([corp()]),
            policies: vec![("allow-nothing", json!({}))],
        },
        Scenario {
            name: "callers",
            rules: json!([corp()]),
            policies: vec![
                (
                    "web-reads",
                    json!({ "rules": [
                        {
                            "from": [{ "source": { "principals": ["cluster.local/ns/shop/sa/web"] } }],
                            "to": [{ "operation": { "methods": ["GET"], "paths": ["/orders*"] } }],
                        },
                        {
                            "from": [{ "source": { "principals": ["*/sa/teller"] } }],
                            "to": [{ "operation": { "methods": ["POST"] } }],
                            "when": [group("tellers")],
                        },
                    ] }),
                ),
                (
                    "no-admin",
                    json!({ "action": "DENY", "rules": [
                        { "to": [{ "operation": { "paths": ["/orders/admin*"] } }] },
                    ] }),
                ),
            ],
        },
    ]
}

/// The manifests of a scenario, as `kubectl get -o yaml` lists them.
fn manifests(scenario: &Scenario) -> Value {
    let selector = json!({ "matchLabels": { "app": "run-service" } });
    let metadata = |name: &str| json!({ "name": name, "namespace": "shop", "generation": 1 });
    let authentication = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": metadata("authentication"),
        "spec": { "selector": selector, "jwtRules": scenario.rules },
    });
    let policies = scenario.policies.iter().map(|(name, spec)| {
        let mut spec = spec.clone();
        spec["selector"] = selector.clone();
        json!({
            "apiVersion": "security.istio.io/v1",
            "kind": "AuthorizationPolicy",
            "metadata": metadata(name),
            "spec": spec,
        })
    });
    let items: Vec<Value> = [authentication].into_iter().chain(policies).collect();
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// The one pluginConfig that the manifests become.
fn converted(scenario: &Scenario) -> Value {
    let run = usher(&["convert", "--format", "json", "-"], &manifests(scenario).to_string());
    assert_eq!(run.status, Some(0), "{}: {}", scenario.name, run.stderr);
    // Beside it there may be the policy that closes what is no HTTP.
    let plugin: Value = serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
    let labels = &plugin["spec"]["selector"]["matchLabels"];
    assert_eq!(*labels, json!({ "app": "run-service" }), "{}", scenario.name);
    plugin["spec"]["pluginConfig"].clone()
}

/// What istiod makes of the rules (docs/semantics.md, "How several rules combine").
fn jwt_authn(rules: &Value) -> Value {
    let mut rules = rules.as_array().unwrap().clone();
    rules.sort_by_key(|rule| rule["issuer"].as_str().unwrap().to_owned());
    let mut providers = json!({});
    for (index, rule) in rules.iter().enumerate() {
        let mut provider = json!({
            "issuer": rule["issuer"],
            "local_jwks": { "inline_string": rule["jwks"] },
            "forward": rule["forwardOriginalToken"].as_bool().unwrap_or(false),
            "payload_in_metadata": "payload",
        });
        for (from, to) in
            [("audiences", "audiences"), ("outputPayloadToHeader", "forward_payload_header")]
        {
            if !rule[from].is_null() {
                provider[to] = rule[from].clone();
            }
        }
        for output in rule["outputClaimToHeaders"].as_array().into_iter().flatten() {
            provider["claim_to_headers"] =
                json!([{ "header_name": output["header"], "claim_name": output["claim"] }]);
        }
        providers[format!("origins-{index}")] = provider;
    }
    let name = |index| json!({ "provider_name": format!("origins-{index}") });
    let any = |list: Vec<Value>| json!({ "requires_any": { "requirements": list } });
    let or_missing = |index| any(vec![name(index), json!({ "allow_missing": {} })]);
    let requires = match rules.len() {
        1 => or_missing(0),
        count => {
            let mut list: Vec<Value> = (0..count).map(name).collect();
            let all: Vec<Value> = (0..count).map(or_missing).collect();
            list.push(json!({ "requires_all": { "requirements": all } }));
            any(list)
        }
    };
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": providers,
            "rules": [{ "match": { "prefix": "/" }, "requires": requires }],
            "bypass_cors_preflight": true,
        },
    })
}

/// What istiod makes of the policies of one action (docs/semantics.md, "AuthorizationPolicy"), as far as
/// the scenarios go.
fn rbac(policies: &[(&str, Value)], action: &str) -> Option<Value> {
    let mut compiled = json!({});
    let of_action = |spec: &Value| spec["action"].as_str().unwrap_or("ALLOW") == action;
    let chosen: Vec<_> = policies.iter().filter(|(_, spec)| of_action(spec)).collect();
    if chosen.is_empty() {
        return None;
    }
    for (name, spec) in chosen {
        for (index, rule) in spec["rules"].as_array().into_iter().flatten().enumerate() {
            let mut ids = vec![json!({ "any": true })];
            ids.extend(alternatives(&rule["from"], "source", source, "or_ids", "ids"));
            let conditions = rule["when"].as_array().into_iter().flatten();
            ids.extend(conditions.map(|condition| {
                assert_eq!(condition["key"], "request.auth.claims[groups]");
                claim("groups", &condition["values"][0])
            }));
            let mut rules = vec![json!({ "any": true })];
            rules.extend(alternatives(&rule["to"], "operation", operation, "or_rules", "rules"));
            compiled[format!("ns[shop]-policy[{name}]-rule[{index}]")] = json!({
                "permissions": [{ "and_rules": { "rules": rules } }],
                "principals": [{ "and_ids": { "ids": ids } }],
            });
        }
    }
    Some(json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": { "action": action, "policies": compiled },
        },
    }))
}

fn alternatives(
    list: &Value,
    field: &str,
    compile: fn(&str, &Value) -> Value,
    or: &str,
    inner: &str,
) -> Option<Value> {
    let list = list.as_array()?;
    let and = or.replace("or_", "and_");
    let one = |entry: &Value| {
        let fields = entry[field].as_object().unwrap();
        let all: Vec<Value> = fields.iter().map(|(name, values)| compile(name, values)).collect();
        json!({ &and: { inner: all } })
    };
    Some(json!({ or: { inner: list.iter().map(one).collect::<Vec<_>>() } }))
}

fn source(name: &str, values: &Value) -> Value {
    let any = || {
        let part = |name: &str| metadata(name, &json!({ "string_match": regex(".+") }));
        json!({ "and_ids": { "ids": [part("iss"), part("sub")] } })
    };
    match (name, values[0].as_str().unwrap()) {
        ("requestPrincipals", "*") => any(),
        ("notRequestPrincipals", "*") => json!({ "not_id": any() }),
        ("principals", value) => {
            let name = match value.strip_prefix('*') {
                Some(suffix) => regex(&format!("spiffe://.*{suffix}")),
                None => json!({ "exact": format!("spiffe://{value}") }),
            };
            json!({ "authenticated": { "principal_name": name } })
        }
        other => panic!("no such source here: {other:?}"),
    }
}

fn regex(text: &str) -> Value {
    json!({ "safe_regex": { "regex": text } })
}

fn metadata(claim: &str, value: &Value) -> Value {
    json!({ "metadata": {
        "filter": "envoy.filters.http.jwt_authn",
        "path": [{ "key": "payload" }, { "key": claim }],
        "value": value,
    }})
}

/// A string, or a list that holds it.
fn claim(name: &str, value: &Value) -> Value {
    let text = json!({ "string_match": { "exact": value } });
    let list = json!({ "list_match": { "one_of": text } });
    json!({ "or_ids": { "ids": [metadata(name, &text), metadata(name, &list)] } })
}

fn operation(name: &str, values: &Value) -> Value {
    let value = values[0].as_str().unwrap();
    let text = match value.strip_suffix('*') {
        Some(prefix) => json!({ "prefix": prefix }),
        None => json!({ "exact": value }),
    };
    let path = json!({ "url_path": { "path": text } });
    match name {
        "paths" => path,
        "notPaths" => json!({ "not_rule": path }),
        "methods" => json!({ "header": { "name": ":method", "string_match": text } }),
        other => panic!("no such operation here: {other}"),
    }
}

/// Tokens and what they are.
fn tokens() -> Vec<(&'static str, Option<String>)> {
    let corp = |sub: &str| with(&claims(CORP, sub), "aud", "kubernetes");
    let list = json!(["cn=group2,ou=Groups,DC=domain,DC=com", "tellers"]);
    let alice = with(&corp("alice"), "groups", list);
    let token = |claims: &Value| Some(CORP_KEY.token(claims));
    vec![
        ("none", None),
        ("a list of groups", token(&alice)),
        ("a group as a string", token(&with(&corp("bob"), "groups", "tellers"))),
        ("no group", token(&corp("carl"))),
        ("no exp", token(&with(&alice, "exp", Value::Null))),
        ("expired", token(&with(&alice, "exp", 1_000_000_000))),
        ("another service's", token(&with(&alice, "aud", "billing"))),
        ("another issuer's", Some(OTHER_KEY.token(&claims(OTHER, "dora")))),
        ("a stranger's", token(&with(&alice, "iss", "https://evil.example"))),
        ("signed by another issuer", Some(OTHER_KEY.token(&alice))),
        ("no token at all", Some("opaque".to_owned())),
    ]
}

/// The status, of a policy's refusal the body too; of a request that passed, what the service saw of
/// the identity. Why a token is refused the two may tell differently: Usher asks for the algorithm
/// before the key, and for the signature before the claims.
fn outcome(reply: &Reply) -> String {
    let seen = reply.seen.as_ref().map(|seen| {
        let of = |name: &str| seen.header(name).unwrap_or("-").to_owned();
        let headers = ["user-info", "x-user", "authorization"].map(of);
        format!("{} {}", seen.path, headers.join(" "))
    });
    let text = if reply.status == 401 { String::new() } else { reply.text() };
    format!("{} {text} {}", reply.status, seen.unwrap_or_default())
}

/// A token for another service is no valid one to Usher: 401, where Envoy says 403.
fn expected(native: String) -> String {
    if native.starts_with("403 Audiences in Jwt") { "401  ".to_owned() } else { native }
}

#[test]
fn converted_plugins_do_what_istios_own_filters_do() {
    let authority = Authority::new();
    let scenarios = scenarios();
    let mut plan = Gate::plan();
    for scenario in &scenarios {
        let mut native = Setup::open().ahead(jwt_authn(&scenario.rules));
        for action in ["DENY", "ALLOW"] {
            if let Some(filter) = rbac(&scenario.policies, action) {
                native = native.ahead(filter);
            }
        }
        let plugin = Setup::plugin(converted(scenario));
        plan = plan
            .door(&format!("native-{}", scenario.name), native.tls(authority.downstream(false)))
            .door(&format!("usher-{}", scenario.name), plugin.tls(authority.downstream(false)));
    }
    let gate = plan.start();
    let client = |account: &str| {
        authority.client(&[&format!("spiffe://cluster.local/ns/shop/sa/{account}")], &[])
    };
    let peers = [None, Some(client("web")), Some(client("teller"))];
    let mut passed = 0;
    for scenario in &scenarios {
        let door = |kind: &str| gate.door(&format!("{kind}-{}", scenario.name));
        let (native, plugin) = (door("native"), door("usher"));
        for (token_is, token) in tokens() {
            for (method, path) in [
                ("GET", "/orders?a=1"),
                ("GET", "/orders/admin"),
                ("POST", "/pull-funds"),
                ("GET", "/health_check"),
            ] {
                // Only those policies ask who calls.
                let callers = if scenario.name == "callers" { peers.len() } else { 1 };
                for peer in peers.iter().take(callers) {
                    let mut ask =
                        Ask::new(method, path).authority(SERVER).header("user-info", "forged");
                    if let Some(token) = &token {
                        ask = ask.bearer(token);
                    }
                    let send = |door: &usher_testkit::gate::Door<'_>| {
                        outcome(&door.tls(&authority, peer.as_ref(), SERVER, &ask))
                    };
                    let (was, is) = (send(&native), send(&plugin));
                    passed += u32::from(was.starts_with("200"));
                    assert_eq!(
                        is,
                        expected(was),
                        "{}: {method} {path}, token: {token_is}, peer: {}",
                        scenario.name,
                        peer.is_some(),
                    );
                }
            }
        }
    }
    assert!(passed > 50, "{passed} requests passed: the scenarios say little");
}

/// To Usher and back are the same rules and policies.
#[test]
fn manifests_come_back_as_they_were() {
    for scenario in scenarios() {
        let run = usher(&["convert", "-"], &manifests(&scenario).to_string());
        assert_eq!(run.status, Some(0), "{}: {}", scenario.name, run.stderr);
        let run = usher(&["convert", "--to", "istio", "--format", "json", "-"], &run.stdout);
        assert_eq!(run.status, Some(0), "{}: {}", scenario.name, run.stderr);
        let mut back: Vec<Value> =
            run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        // Texts of key sets are compared by what they say, rules in istiod's order.
        let mut there = manifests(&scenario)["items"].as_array().unwrap().clone();
        for document in there.iter_mut().chain(&mut back) {
            let spec = &mut document["spec"];
            if let Some(rules) = spec["jwtRules"].as_array_mut() {
                rules.sort_by_key(|rule| rule["issuer"].as_str().unwrap().to_owned());
                for rule in rules {
                    rule["jwks"] = serde_json::from_str(rule["jwks"].as_str().unwrap()).unwrap();
                }
            } else if spec["action"].is_null() {
                spec["action"] = json!("ALLOW");
            }
        }
        let specs = |documents: &[Value]| -> Vec<(Value, Value)> {
            documents.iter().map(|d| (d["kind"].clone(), d["spec"].clone())).collect()
        };
        assert_eq!(specs(&back), specs(&there), "{}", scenario.name);
    }
}
