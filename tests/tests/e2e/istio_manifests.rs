//! The manifests of `istio/`: they render, Istio's own models accept them, Usher accepts the configuration
//! in them, and a real Envoy with it does what their first comment says.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_core::load;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths::oldest_envoy;
use usher_testkit::{istio, skip};

const OVERLAYS: [&str; 4] = ["gateway", "mesh", "namespace", "workload"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The files of a folder of `istio/`, below the root.
fn yaml_files(folder: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let below = format!("{folder}/{name}");
        if path.is_dir() {
            files.extend(yaml_files(&below));
        } else if name.ends_with(".yaml") {
            files.push(below.into());
        }
    }
    files.sort();
    files
}

/// Every manifest that is shipped, with the file that it is in. Left out is what is not a resource: kustomizations,
/// and the part of the mesh's configuration.
fn shipped() -> Vec<(String, Value)> {
    let files = yaml_files("istio").into_iter();
    let manifests = files.flat_map(|file| {
        let name = file.display().to_string();
        istio::read(&file).into_iter().map(move |manifest| (name.clone(), manifest))
    });
    let resource = |manifest: &Value| {
        let group = manifest["apiVersion"].as_str().unwrap_or_default();
        !group.is_empty() && !group.starts_with("kustomize.config.k8s.io/")
    };
    manifests.filter(|(_, manifest)| resource(manifest)).collect()
}

/// What `kubectl kustomize` makes of a folder, `None` where there is no kubectl.
fn kustomize(folder: &Path) -> Option<Vec<Value>> {
    let kubectl = Command::new("kubectl").arg("kustomize").arg(folder).output();
    match kubectl {
        Ok(output) => {
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {told}", folder.display());
            Some(istio::documents(&String::from_utf8(output.stdout).unwrap()))
        }
        Err(_) => {
            skip("kubectl", "none here to render the overlays of istio/: `make kubectl` gets it");
            None
        }
    }
}

/// What each overlay renders, by its name.
fn rendered() -> Vec<(String, Value)> {
    let overlays = OVERLAYS.iter().flat_map(|name| {
        let manifests = kustomize(&root().join("istio/overlays").join(name)).unwrap_or_default();
        manifests.into_iter().map(move |manifest| (format!("istio/overlays/{name}"), manifest))
    });
    overlays.collect()
}

#[test]
fn every_plugin_is_complete_and_usher_takes_its_configuration() {
    let mut seen = 0;
    let manifests = shipped().into_iter().chain(rendered()).chain(extensions("complete"));
    for (file, manifest) in manifests {
        let Some(at) = istio::plugin_config_at(&manifest) else { continue };
        seen += 1;
        let (spec, module) =
            (&manifest["spec"], manifest.pointer(at.trim_end_matches("/pluginConfig")));
        let module = module.unwrap();
        assert_eq!(spec["phase"], "AUTHN", "{file}");
        assert!(spec["priority"].is_i64(), "{file}: an unset priority comes last");
        assert_eq!(module["failStrategy"], "FAIL_RELOAD", "{file}");
        assert_eq!(module["imagePullPolicy"], "IfNotPresent", "{file}");
        assert_eq!(module["pluginName"], "usher", "{file}: no last good configuration without it");
        assert_eq!(module["sha256"].as_str().map(str::len), Some(64), "{file}");
        let gateway = spec["targetRefs"].is_array()
            || spec["selector"]["matchLabels"]["istio"] == "ingressgateway";
        let mode = if gateway { "CLIENT" } else { "SERVER" };
        assert_eq!(spec["match"], json!([{ "mode": mode }]), "{file}");
        match load::from_value(manifest.pointer(at).unwrap()) {
            Ok(loaded) => assert_eq!(loaded.warnings, [], "{file}"),
            Err(problems) => panic!("{file}: {problems:?}"),
        }
    }
    assert!(seen >= 8, "only {seen} plugins");
}

#[test]
fn every_overlay_renders_for_its_place() {
    let folders = std::fs::read_dir(root().join("istio/overlays")).unwrap();
    let mut names: Vec<_> =
        folders.map(|f| f.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names, OVERLAYS);
    let app = json!({ "selector": { "matchLabels": { "app": "hello-world" } } });
    let gateway = json!({ "targetRefs": [
        { "group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "ingress" },
    ]});
    let all = ["WasmPlugin", "PeerAuthentication", "Telemetry"];
    let cases = [
        ("mesh", "istio-system", json!({}), &all[..]),
        ("namespace", "shop", json!({}), &all),
        ("workload", "shop", app, &all),
        ("gateway", "istio-ingress", gateway, &["WasmPlugin", "Telemetry"]),
    ];
    for (name, namespace, place, kinds) in cases {
        let Some(manifests) = kustomize(&root().join("istio/overlays").join(name)) else { return };
        let found: Vec<&str> = manifests.iter().map(|m| m["kind"].as_str().unwrap()).collect();
        assert_eq!(found, kinds, "{name}");
        for manifest in &manifests {
            assert_eq!(manifest["metadata"]["namespace"], namespace, "{name}: {manifest}");
            for field in ["selector", "targetRefs"] {
                assert_eq!(manifest["spec"].get(field), place.get(field), "{name}: {manifest}");
            }
        }
        let mtls = manifests.iter().find(|m| m["kind"] == "PeerAuthentication");
        assert!(mtls.is_none_or(|m| m["spec"]["mtls"]["mode"] == "STRICT"), "{name}");
    }
}

/// What an overlay renders with the component that makes a TrafficExtension of a WasmPlugin.
fn extended(test: &str, overlay: &str) -> Option<Vec<Value>> {
    let folder = root().join("target/kustomize").join(test).join(overlay);
    std::fs::create_dir_all(&folder).unwrap();
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [format!("../../../../istio/overlays/{overlay}")],
        "components": ["../../../../istio/components/traffic-extension"],
    });
    std::fs::write(folder.join("kustomization.yaml"), kustomization.to_string()).unwrap();
    kustomize(&folder)
}

/// The same of every overlay, by its name.
fn extensions(test: &str) -> Vec<(String, Value)> {
    let overlays = OVERLAYS.iter().flat_map(|overlay| {
        let manifests = extended(test, overlay).unwrap_or_default().into_iter();
        manifests.map(move |manifest| (format!("{overlay} with traffic-extension"), manifest))
    });
    overlays.collect()
}

/// One source for both: the component turns what an overlay renders into a TrafficExtension.
#[test]
fn every_overlay_renders_as_a_traffic_extension_too() {
    for name in OVERLAYS {
        let Some(extended) = extended("rendered", name) else { return };
        let plain = kustomize(&root().join("istio/overlays").join(name)).unwrap();
        assert_eq!(extended.len(), plain.len(), "{name}");
        for (extended, plain) in extended.iter().zip(plain) {
            if plain["kind"] != "WasmPlugin" {
                assert_eq!(*extended, plain, "{name}");
                continue;
            }
            let mut expected = plain.clone();
            expected["kind"] = json!("TrafficExtension");
            let spec = expected["spec"].as_object_mut().unwrap();
            let fields =
                ["url", "sha256", "imagePullPolicy", "pluginName", "failStrategy", "pluginConfig"];
            let module = fields.map(|field| (field.to_owned(), spec.remove(field).unwrap()));
            spec.insert("wasm".to_owned(), Value::Object(module.into_iter().collect()));
            assert_eq!(*extended, expected, "{name}");
        }
    }
}

/// What Istio's models say of manifests: one line for each problem. `None` where they are not here.
fn modelled(manifests: &[(String, Value)]) -> Option<Vec<String>> {
    let models = root().join("target/istio-models");
    if !models.join("cloudcoil").is_dir() {
        skip("istio-models", "no target/istio-models: `make istio-models` makes it");
        return None;
    }
    let mut python = Command::new("python3")
        .arg(root().join("tests/istio_models.py"))
        .env("PYTHONPATH", models)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    python.stdin.take().unwrap().write_all(json!(manifests).to_string().as_bytes()).unwrap();
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "the models could not be asked");
    Some(String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect())
}

#[test]
fn istios_models_accept_every_manifest() {
    let mut manifests = shipped();
    manifests.extend(rendered());
    manifests.extend(extensions("modelled"));
    let Some(problems) = modelled(&manifests) else { return };
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn istios_models_refuse_what_is_wrong() {
    let good = istio::read("istio/examples/hello-world.yaml").remove(0);
    let changed = |pointer: &str, value: Value| {
        let mut manifest = good.clone();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        manifest.pointer_mut(parent).unwrap()[name] = value;
        (pointer.to_owned(), manifest)
    };
    let mut extension = json!({
        "apiVersion": good["apiVersion"],
        "kind": "TrafficExtension",
        "metadata": good["metadata"],
        "spec": { "phase": "AUTHN", "wasm": { "url": "oci://x", "failStrategy": "FAIL_RELOAD" } },
    });
    assert_eq!(modelled(&[("good".to_owned(), extension.clone())]).unwrap_or_default(), [""; 0]);
    extension["spec"]["wasm"]["failStrategy"] = json!("FAIL_SAFE");
    let manifests = [
        ("TrafficExtension".to_owned(), extension),
        changed("/spec/phase", json!("FIRST")),
        changed("/spec/sha256", json!("00")),
        changed("/spec/failStrategy", json!("FAIL_SAFE")),
        changed("/spec/failstrategy", json!("FAIL_OPEN")),
        changed("/spec/match/0/side", json!("SERVER")),
        changed("/kind", json!("WasmPlugins")),
    ];
    let Some(problems) = modelled(&manifests) else { return };
    let mut places: Vec<&str> =
        problems.iter().map(|line| line.split(": ").next().unwrap()).collect();
    // One for each of the alternatives that a schema allows.
    places.dedup();
    let expected: Vec<&str> = manifests.iter().map(|(pointer, _)| pointer.as_str()).collect();
    assert_eq!(places, expected, "{problems:?}");
}

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "example"));

/// The pluginConfig of an example, with a key set that the tests can sign for. Nothing else is changed.
fn example(name: &str) -> Setup {
    let manifests = istio::read(format!("istio/examples/{name}.yaml"));
    let plugin = manifests.iter().find(|manifest| istio::plugin_config_at(manifest).is_some());
    let mut manifest = plugin.expect("a plugin").clone();
    let at = istio::plugin_config_at(&manifest).unwrap();
    for rule in manifest.pointer_mut(at).unwrap()["jwtRules"].as_array_mut().unwrap() {
        rule["jwks"] = mint::jwks([&*KEY]);
    }
    let text = istio::Plugin::of(&manifest).unwrap().configuration().unwrap();
    let routes = manifests.iter().filter(|manifest| manifest["kind"] == "VirtualService");
    Setup::plugin_text(&text).routes(routes.flat_map(istio::routes).collect())
}

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let names = [
        "canary",
        "claim-routing",
        "group-access",
        "health-check",
        "hello-world",
        "several-issuers",
    ];
    names
        .iter()
        .fold(Envoy::builder(), |builder, name| builder.listener(name, example(name)))
        .start()
});

/// A token of the examples' issuer, with more claims.
fn token(more: Value) -> String {
    let mut claims = mint::claims("https://idp.example.com", "mmosley");
    claims["aud"] = json!("kubernetes");
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    KEY.token(&claims)
}

const READERS: &str = "cn=group2,ou=Groups,DC=domain,DC=com";
const ADMINS: &str = "cn=k8s-cluster-admins,ou=Groups,DC=domain,DC=com";

#[test]
fn examples_let_in_and_refuse_as_they_say() {
    let anybody = token(json!({}));
    let reader = token(json!({ "groups": READERS }));
    let readers = token(json!({ "groups": ["others", READERS] }));
    let admin = token(json!({ "groups": [ADMINS] }));
    let elsewhere = token(json!({ "aud": "another" }));
    let of = |iss: &str, aud: &str| {
        let claims = mint::with(&mint::claims(iss, "mmosley"), "aud", aud);
        KEY.token(&claims)
    };
    let own = of("https://auth.example.com", "https://api.example.com");
    let auth0 = of("https://example.eu.auth0.com/", "https://api.example.com");
    let no_slash = of("https://example.eu.auth0.com", "https://api.example.com");
    let get = Request::get;
    let post = |path| Request::new("POST", path);
    let rows = [
        ("hello-world", "a token", get("/").bearer(&anybody), 200, "allowed"),
        ("hello-world", "none", get("/"), 401, "token_missing"),
        ("hello-world", "another's", get("/").bearer(&elsewhere), 401, "audience_mismatch"),
        ("group-access", "one group reads", get("/").bearer(&reader), 200, "allowed"),
        ("group-access", "of several", get("/").bearer(&readers), 200, "allowed"),
        ("group-access", "no group", get("/").bearer(&anybody), 403, "no_rule_matched"),
        ("group-access", "no token", get("/"), 403, "no_rule_matched"),
        ("group-access", "reader writes", post("/").bearer(&reader), 403, "no_rule_matched"),
        ("group-access", "admin writes", post("/").bearer(&admin), 200, "allowed"),
        ("health-check", "exempt", get("/health_check"), 200, "allowed"),
        (
            "health-check",
            "exempt from a bad token",
            get("/health_check").bearer("x"),
            200,
            "allowed",
        ),
        ("health-check", "not by POST", post("/health_check"), 401, "token_missing"),
        ("health-check", "not below", get("/health_check/x"), 401, "token_missing"),
        ("health-check", "not beside", get("/"), 401, "token_missing"),
        ("several-issuers", "the own", get("/").bearer(&own), 200, "allowed"),
        ("several-issuers", "Auth0", get("/").bearer(&auth0), 200, "allowed"),
        ("several-issuers", "nearly Auth0", get("/").bearer(&no_slash), 401, "issuer_unknown"),
        ("several-issuers", "a third", get("/").bearer(&anybody), 401, "issuer_unknown"),
        ("canary", "would be refused", get("/admin").bearer(&reader), 200, "allowed"),
        ("canary", "would pass", get("/admin").bearer(&admin), 200, "allowed"),
        ("canary", "refused by the other", get("/admin"), 403, "no_rule_matched"),
    ];
    for (name, sent, request, status, reason) in rows {
        let listener = ENVOY.listener(name);
        let reply = listener.http1(&request.header("User_Info", "forged"));
        let entry = listener.entry(&reply);
        let found = (reply.status, entry.reason.as_deref());
        assert_eq!(found, (status, Some(reason)), "{name}, {sent}: {reply}");
        if let Some(seen) = &reply.seen {
            let forged = seen.folding_to("user-info").iter().any(|(_, value)| *value == b"forged");
            assert!(!forged, "{name}, {sent}: {reply}");
        }
    }
}

/// The log shows what the dry-run policy would have done.
#[test]
fn a_canary_is_heard_and_refuses_nobody() {
    let listener = ENVOY.listener("canary");
    for (groups, verdict) in [(READERS, "deny"), (ADMINS, "allow")] {
        let request = Request::get("/admin").bearer(&token(json!({ "groups": [groups] })));
        let reply = listener.http1(&request.header("x-request-id", groups));
        assert_eq!(reply.status, 200, "{reply}");
        let id = format!("\"request_id\":\"{groups}\"");
        let verdict = format!("\"dry_run_deny\":\"{verdict}\"");
        ENVOY.log().line_with(&["\"decision\":\"allow\"", &id, &verdict]);
    }
}

#[test]
fn several_issuers_are_told_apart() {
    for issuer in ["https://auth.example.com", "https://example.eu.auth0.com/"] {
        let claims = mint::with(&mint::claims(issuer, "x"), "aud", "https://api.example.com");
        let reply =
            ENVOY.listener("several-issuers").http1(&Request::get("/").bearer(&KEY.token(&claims)));
        assert_eq!(reply.passed().header("x-issuer"), Some(issuer), "{reply}");
    }
}

/// Envoy has chosen a route before the first filter runs; it chooses again when a filter changed headers.
#[test]
fn the_route_is_chosen_anew_by_an_emitted_claim() {
    assert_routed(&ENVOY);
}

#[test]
fn so_it_is_in_the_oldest_envoy() {
    if let Some(binary) = oldest_envoy() {
        let routing = example("claim-routing");
        assert_routed(&Envoy::builder().binary(&binary).listener("claim-routing", routing).start());
    }
}

fn assert_routed(envoy: &Envoy) {
    let listener = envoy.listener("claim-routing");
    let tester = token(json!({ "role": "tester" }));
    let user = token(json!({ "role": "user" }));
    let cases = [
        ("a tester", Request::get("/").bearer(&tester), "v2"),
        ("a user", Request::get("/").bearer(&user), "v1"),
        (
            "a user who says tester",
            Request::get("/").bearer(&user).header("x-role", "tester"),
            "v1",
        ),
        ("in another spelling", Request::get("/").bearer(&user).header("X_Role", "tester"), "v1"),
    ];
    for (sent, request, version) in cases {
        for reply in listener.both(&request) {
            assert_eq!(reply.passed().header("x-routed-to"), Some(version), "{sent}: {reply}");
        }
    }
}
