//! `usher convert` on manifests like those of Istio's security guides: in a real Envoy the plugin does
//! to each request what Istio's own filters do, as istiod compiles them from the same manifests.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{Key, claims, jwks, with};
use usher_testkit::paths;
use usher_testkit::tls::{Authority, SERVER};
use usher_testkit::{jwt_authn, rbac};

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
    let mut child = Command::new(paths::command())
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
    // Beside it there may be the policy that closes ports without HTTP.
    let plugin: Value = serde_json::from_str(run.stdout.lines().next().unwrap()).unwrap();
    let labels = &plugin["spec"]["selector"]["matchLabels"];
    assert_eq!(*labels, json!({ "app": "run-service" }), "{}", scenario.name);
    plugin["spec"]["pluginConfig"].clone()
}

/// What istiod makes of the same manifests.
fn native(scenario: &Scenario) -> Setup {
    let policies = scenario.policies.iter().map(|(name, spec)| {
        let mut policy = spec.clone();
        policy["name"] = json!(name);
        policy["namespace"] = json!("shop");
        policy
    });
    let native = Setup::open().ahead(jwt_authn::filter(&scenario.rules));
    let filters = rbac::filters(&Value::Array(policies.collect()), &["cluster.local"]);
    filters.into_iter().fold(native, Setup::ahead)
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
/// the identity. The two may give different reasons for a refused token: Usher asks for the algorithm
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

/// A token for another service is not valid to Usher: 401, where Envoy says 403.
fn expected(native: String) -> String {
    if native.starts_with("403 Audiences in Jwt") { "401  ".to_owned() } else { native }
}

#[test]
fn converted_plugins_do_what_istios_own_filters_do() {
    let authority = Authority::new();
    let scenarios = scenarios();
    let mut builder = Envoy::builder();
    for scenario in &scenarios {
        let native = native(scenario);
        let plugin = Setup::plugin(converted(scenario));
        builder = builder
            .listener(&format!("native-{}", scenario.name), native.tls(authority.downstream(false)))
            .listener(&format!("usher-{}", scenario.name), plugin.tls(authority.downstream(false)));
    }
    let envoy = builder.start();
    let client = |account: &str| {
        authority.client(&[&format!("spiffe://cluster.local/ns/shop/sa/{account}")], &[])
    };
    let peers = [None, Some(client("web")), Some(client("teller"))];
    let mut passed = 0;
    for scenario in &scenarios {
        let listener = |kind: &str| envoy.listener(&format!("{kind}-{}", scenario.name));
        let (native, plugin) = (listener("native"), listener("usher"));
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
                    let mut request =
                        Request::new(method, path).authority(SERVER).header("user-info", "forged");
                    if let Some(token) = &token {
                        request = request.bearer(token);
                    }
                    let send = |listener: &usher_testkit::envoy::Listener<'_>| {
                        outcome(&listener.tls(&authority, peer.as_ref(), SERVER, &request))
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
