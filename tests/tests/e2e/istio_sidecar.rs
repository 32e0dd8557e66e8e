//! The filter where Istio puts it: in a sidecar's chain, discovered by ECDS, beside Istio's own filters.
//!
//! The manifests are those of `istio/`, turned into Envoy's configuration as istiod turns them
//! (`usher_testkit::istio`); istiod itself is not run.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::{Value, json};
use usher_demo::client::{self, Answer, Request};
use usher_demo::issuer::{Issuer, Wish};
use usher_demo::site::Sidecar;
use usher_demo::{access_log, policies, service, table};
use usher_testkit::istio;
use usher_testkit::log;
use usher_testkit::paths::module;
use usher_testkit::sidecar::{Manifests, Sidecars};

const ISSUER: &str = "https://idp.example.com";

static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// The hello-world service of the demo.
static SERVICE: LazyLock<SocketAddr> = LazyLock::new(|| {
    let listener = (Ipv4Addr::LOCALHOST, 0);
    let listener = RUNTIME.block_on(tokio::net::TcpListener::bind(listener)).unwrap();
    let address = listener.local_addr().unwrap();
    RUNTIME.spawn(async move { axum::serve(listener, service::router()).await });
    address
});

static KEYS: LazyLock<Issuer> = LazyLock::new(|| {
    usher_demo::issuer::WITNESS.get_or_init(|| usher_testkit::secrets::token);
    Issuer::new(ISSUER).unwrap()
});

/// What the overlay of a namespace is made of, for `issuer`'s tokens and the module that was built.
fn shipped(issuer: &Issuer) -> Vec<Value> {
    let mut manifests = istio::read("istio/base/wasmplugin.yaml");
    manifests.extend(istio::read("istio/components/strict-mtls/peerauthentication.yaml"));
    manifests.extend(istio::read("istio/components/telemetry/telemetry.yaml"));
    let plugin = &mut manifests[0];
    plugin["metadata"]["namespace"] = json!("shop");
    plugin["spec"]["url"] = json!(format!("file://{}", module().display()));
    let rule = &mut plugin["spec"]["pluginConfig"]["jwtRules"][0];
    rule["issuer"] = json!(issuer.name());
    rule["jwks"] = json!(issuer.jwks().to_string());
    manifests
}

/// The shipped plugin alone, in another phase and with more in its rule.
fn plugin(phase: &str, more: Value) -> Value {
    let mut plugin = shipped(&KEYS).remove(0);
    plugin["spec"]["phase"] = json!(phase);
    let rule = plugin["spec"]["pluginConfig"]["jwtRules"][0].as_object_mut().unwrap();
    rule.extend(more.as_object().unwrap().clone());
    plugin
}

/// Every workload of these tests, in one Envoy.
static MESH: LazyLock<Sidecars> = LazyLock::new(|| {
    let mesh_config = istio::read("istio/mesh-config.yaml").remove(0);
    let mut workloads: BTreeMap<String, Manifests> =
        beside_native().into_iter().map(|case| (case.what.to_owned(), case.manifests)).collect();
    workloads.extend(wrong().map(|(what, manifests, _)| (what.to_owned(), manifests)));
    workloads.insert(workload(0), shipped(&KEYS));
    for listener in policies::LISTENERS {
        let mut manifests = shipped(&KEYS);
        let configuration = &mut manifests[0]["spec"]["pluginConfig"];
        configuration["authorizationPolicies"] = listener.policies().unwrap().into();
        workloads.insert(workload(listener.offset), manifests);
    }
    workloads.insert("one withholds".to_owned(), two(false));
    workloads.insert("one forwards".to_owned(), two(true));
    workloads.insert("dry run in AUTHN".to_owned(), dry_run("AUTHN"));
    workloads.insert("dry run in AUTHZ".to_owned(), dry_run("AUTHZ"));
    workloads.insert("changing".to_owned(), vec![version(0)]);
    Sidecars::start(workloads, &mesh_config, *SERVICE)
});

fn send(workload: &str, request: &Request) -> Answer {
    RUNTIME.block_on(client::send(MESH.port(workload), request)).unwrap()
}

fn token() -> String {
    KEYS.token(&Wish::of("mmosley")).unwrap()
}

/// The token with a signature that is not its issuer's.
fn bad_token() -> String {
    let stranger = Issuer::new(ISSUER).unwrap().token(&Wish::of("mmosley")).unwrap();
    let (signed, _) = token().rsplit_once('.').map(|(s, t)| (s.to_owned(), t.to_owned())).unwrap();
    format!("{signed}.{}", stranger.rsplit_once('.').unwrap().1)
}

/// The workload that a row of the demo's table is sent to: the one with the shipped manifests, or one with
/// the guides' policies beside.
fn workload(listener: u16) -> String {
    if listener == 0 { "shipped".to_owned() } else { format!("policies-{listener}") }
}

#[test]
fn the_table_of_make_run_comes_out_the_same() {
    let mut wrong = Vec::new();
    for (number, row) in table::rows(&KEYS).unwrap().into_iter().enumerate() {
        let name = workload(row.listener);
        let sidecar = Sidecar::local(MESH.port(&name), &MESH.folder(&name));
        let name = number.to_string();
        let sending = access_log::send(&sidecar, &row.request, &name);
        let (answer, reason) = RUNTIME.block_on(sending).unwrap();
        if (answer.status, reason.as_str()) != (row.status, row.reason) {
            wrong.push(format!("{}: {} {reason}", row.sent, answer.status));
        }
        wrong.extend((row.saw)(&answer).err().map(|problem| format!("{}: {problem}", row.sent)));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The label that the Telemetry adds to istio_requests_total.
    let log = std::fs::read_to_string(MESH.folder("shipped").join("access.log")).unwrap();
    let entries = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut reasons = BTreeMap::<String, usize>::new();
    for entry in entries {
        assert_eq!(entry["usher_reason"], entry["reason"], "{entry}");
        *reasons.entry(entry["reason"].to_string()).or_default() += 1;
    }
    assert!(reasons.len() > 5, "{reasons:?}");
}

/// RequestAuthentication for the same tokens.
fn request_authentication(forward: bool) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "RequestAuthentication",
        "metadata": { "name": "native", "namespace": "shop" },
        "spec": { "jwtRules": [{
            "issuer": ISSUER,
            "audiences": ["kubernetes"],
            "jwks": KEYS.jwks().to_string(),
            "forwardOriginalToken": forward,
        }]},
    })
}

fn authorization_policy(rule: Value) -> Value {
    json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": "native", "namespace": "shop" },
        "spec": { "rules": [rule] },
    })
}

/// One workload with Istio's own resources beside the plugin.
struct Beside {
    what: &'static str,
    manifests: Manifests,
    request: Request,
    status: u16,
    /// The body, if it is a refusal.
    told: Option<&'static str>,
}

const ISTIO_REFUSES: (u16, Option<&str>) = (403, Some("RBAC: access denied"));
const MISSING: (u16, Option<&str>) = (401, Some("Jwt is missing"));
const PASSES: (u16, Option<&str>) = (200, None);

fn beside_native() -> Vec<Beside> {
    let with_token =
        || authorization_policy(json!({ "from": [{ "source": { "requestPrincipals": ["*"] } }] }));
    let of_user = |user: &str| {
        let condition = json!({ "key": "request.headers[x-user]", "values": [user] });
        authorization_policy(json!({ "when": [condition] }))
    };
    let emitting = json!({ "outputClaimToHeaders": [{ "header": "X-User", "claim": "sub" }] });
    let forwarding = json!({ "forwardOriginalToken": true });
    let good = Request::get("/who-am-i").bearer(&token());
    let bad = Request::get("/who-am-i").bearer(&bad_token());
    let forged = Request::get("/who-am-i").header("x-user", "mmosley");
    let refused = (401, Some("Jwt verification fails"));
    let plain = json!({});
    let native = request_authentication;
    let mut cases = Vec::new();
    let mut case =
        |what, phase, rule: &Value, natives: Vec<Value>, request: &Request, (status, told)| {
            let manifests = std::iter::once(plugin(phase, rule.clone())).chain(natives).collect();
            cases.push(Beside { what, manifests, request: request.clone(), status, told });
        };
    // An AuthorizationPolicy reads the header that Usher sets, and no other.
    let mmosley = || vec![of_user("mmosley")];
    case("header, AUTHN", "AUTHN", &emitting, mmosley(), &good, PASSES);
    case("another header", "AUTHN", &emitting, vec![of_user("jjackson")], &good, ISTIO_REFUSES);
    case("forged header, AUTHN", "AUTHN", &emitting, mmosley(), &forged, MISSING);
    case("header, AUTHZ", "AUTHZ", &emitting, mmosley(), &good, PASSES);
    case("forged header, AUTHZ", "AUTHZ", &emitting, mmosley(), &forged, MISSING);
    // In AUTHN Usher comes first: what it withholds, RequestAuthentication does not see.
    let natives = |forward| vec![native(forward), with_token()];
    case("withheld from Istio", "AUTHN", &plain, natives(true), &good, ISTIO_REFUSES);
    case("forwarded to Istio", "AUTHN", &forwarding, natives(false), &good, PASSES);
    case("bad token, AUTHN", "AUTHN", &forwarding, vec![native(true)], &bad, refused);
    // In AUTHZ RequestAuthentication comes first.
    case("withheld from Usher", "AUTHZ", &plain, natives(false), &good, MISSING);
    case("forwarded to Usher", "AUTHZ", &plain, natives(true), &good, PASSES);
    case("bad token, AUTHZ", "AUTHZ", &plain, vec![native(true)], &bad, refused);
    cases
}

#[test]
fn native_policies_stand_beside_it() {
    for Beside { what, request, status, told, .. } in beside_native() {
        let answer = send(what, &request);
        assert_eq!(answer.status, status, "{what}: {}", answer.body);
        match told {
            Some(body) => assert_eq!(answer.body, body, "{what}"),
            None => assert_eq!(answer.json()["name"], "mmosley", "{what}: {}", answer.body),
        }
    }
}

/// Two for one workload, as from the mesh and from its namespace.
fn two(forward: bool) -> Manifests {
    let first = plugin("AUTHN", json!({ "forwardOriginalToken": forward }));
    let mut second = plugin("AUTHN", json!({}));
    second["metadata"]["namespace"] = json!("istio-system");
    second["spec"]["priority"] = json!(10);
    vec![second, first]
}

#[test]
fn two_of_them_need_a_forwarded_token() {
    let request = Request::get("/who-am-i").bearer(&token());
    let refused = send("one withholds", &request);
    assert_eq!((refused.status, refused.body.as_str()), (401, "Jwt is missing"));
    let answer = send("one forwards", &request);
    assert_eq!(answer.json()["name"], "mmosley", "{}", answer.body);
}

/// On trial beside a RequestAuthentication.
fn dry_run(phase: &str) -> Manifests {
    let mut plugin = plugin(phase, json!({}));
    plugin["spec"]["pluginConfig"]["mode"] = json!("dryRun");
    vec![plugin, request_authentication(true)]
}

/// A dry run withholds no token, good or bad: what stands behind it decides as without it.
#[test]
fn a_dry_run_changes_nothing_for_request_authentication() {
    let good = Request::get("/who-am-i").bearer(&token());
    let bad = Request::get("/headers").bearer(&bad_token());
    for workload in ["dry run in AUTHN", "dry run in AUTHZ"] {
        let answer = send(workload, &good);
        assert_eq!(answer.json()["name"], "mmosley", "{workload}: {}", answer.body);
    }
    for workload in ["dry run in AUTHN", "dry run in AUTHZ"] {
        let refused = send(workload, &bad);
        assert_eq!((refused.status, refused.body.as_str()), (401, "Jwt verification fails"));
    }
}

/// Configurations that are wrong from the start, and what the log says of each.
fn wrong() -> [(&'static str, Manifests, &'static str); 2] {
    let mut misspelt = shipped(&KEYS);
    let rule = &mut misspelt[0]["spec"]["pluginConfig"]["jwtRules"][0];
    rule["audience"] = rule["audiences"].take();
    let mut empty = shipped(&KEYS);
    empty[0]["spec"]["pluginConfig"] = json!({});
    // In a mesh each of these has a proxy of its own; in this one Envoy they need names of their own.
    misspelt[0]["metadata"]["name"] = json!("misspelt");
    empty[0]["metadata"]["name"] = json!("empty");
    let hint = "jwtRules[0].audience: unknown field `audience`; did you mean `audiences`?";
    [("misspelt", misspelt, hint), ("empty", empty, "nothing to check")]
}

#[test]
fn a_wrong_configuration_refuses_everything_and_says_why() {
    for (what, _, hint) in wrong() {
        for request in [Request::get("/").bearer(&token()), Request::get("/")] {
            assert_eq!(send(what, &request).status, 503, "{what}");
        }
        MESH.log().line_with(&["wasm log", hint]);
    }
}

/// A plugin whose version is in what the service sees.
fn version(number: usize) -> Value {
    let header = format!("x-version-{number}");
    plugin("AUTHN", json!({ "outputClaimToHeaders": [{ "header": header, "claim": "sub" }] }))
}

/// However the changes end, the client ends too.
struct Stop<'s>(&'s AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_changed_manifest_is_taken_up_without_a_failed_request() {
    let request = Request::get("/headers").bearer(&token());
    let in_force = |number: usize| {
        let name = format!("x-version-{number}");
        let seen = || send("changing", &request).json()["headers"].get(&name).map(|_| ());
        log::wait(seen).unwrap_or_else(|| panic!("version {number} is not in force"));
    };
    in_force(0);
    let (done, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _stop = Stop(&done);
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let answer = send("changing", &request);
                assert_eq!(answer.status, 200, "{}", answer.body);
                let refused = send("changing", &Request::get("/headers"));
                assert_eq!(refused.status, 401, "{}", refused.body);
                sent.fetch_add(2, Ordering::Relaxed);
            }
        });
        for number in 1..=5 {
            MESH.apply("changing", vec![version(number)]);
            in_force(number);
        }
    });
    assert!(sent.into_inner() > 10, "too few requests to prove anything");
}
