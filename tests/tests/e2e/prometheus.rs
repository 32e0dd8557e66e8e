//! A real Prometheus scrapes a real Envoy: the series arrive, the dashboard's expressions have an answer,
//! and each alert fires when it is provoked.

use std::process::Command;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::dashboard::Panel;
use usher_testkit::envoy::Envoy;
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;
use usher_testkit::prometheus::{self, Prometheus};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// How long an alert may take, on a slow machine.
const PATIENCE: Duration = Duration::from_secs(90);

fn configuration(edit: impl FnOnce(&mut Value)) -> Value {
    let mut configuration = json!({
        "jwtRules": [{
            "issuer": ISSUER, "name": "corp", "jwks": mint::jwks([&*KEY]), "outputPayloadToHeader": "X-User",
        }],
        "authorizationPolicies": [
            { "name": "no-admin", "action": "DENY",
              "rules": [{ "to": [{ "operation": { "paths": ["/admin"] } }] }] },
            { "name": "planned", "action": "DENY", "dryRun": true,
              "rules": [{ "to": [{ "operation": { "paths": ["/planned"] } }] }] },
        ],
    });
    edit(&mut configuration);
    configuration
}

fn promtool(arguments: &[&str]) {
    let Some(binaries) = prometheus::binaries() else { return };
    let output = Command::new(binaries.join("promtool"))
        .args(arguments)
        .current_dir(paths::root())
        .output()
        .unwrap();
    let told =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "promtool {arguments:?}: {}", told.concat());
}

#[test]
fn the_alert_rules_are_rules() {
    promtool(&["check", "rules", "observability/alerts.yaml"]);
}

#[test]
fn the_alert_rules_do_what_they_say() {
    promtool(&["test", "rules", "observability/alerts.test.yaml"]);
}

/// Every metric of the alerts and the dashboard is in the module's list, and every one of the list is used.
#[test]
fn alerts_and_dashboard_ask_for_metrics_that_exist() {
    let alerts = std::fs::read_to_string(paths::root().join("observability/alerts.yaml")).unwrap();
    let panels = Panel::all("1m");
    let asked: String =
        panels.iter().flat_map(|p| &p.targets).map(|t| t.expression.clone() + "\n").collect();
    let families = usher_core::observe::metrics::family::ALL;
    for (text, of) in [(&alerts, "alerts"), (&asked, "dashboard")] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        for word in words.filter(|word| word.starts_with("usher_")) {
            assert!(families.iter().any(|family| family.name == word), "{of}: no metric {word}");
        }
    }
    for family in families {
        assert!(asked.contains(family.name), "the dashboard shows nothing of {}", family.name);
    }
}

/// The shipped rules, with minutes made seconds. An hour is made eighteen: twice what [`keys_from`] waits
/// between two fetches.
fn hasty() -> String {
    let rules = std::fs::read_to_string(paths::root().join("observability/alerts.yaml")).unwrap();
    let mut hasty = rules.clone();
    for (slow, quick) in [
        ("[10m]", "[20s]"),
        ("offset 10m", "offset 20s"),
        ("[5m]", "[20s]"),
        ("offset 5m", "offset 20s"),
        ("for: 5m", "for: 1s"),
        ("for: 1m", "for: 1s"),
        ("for: 15m", "for: 1s"),
        ("> 3600", "> 18"),
    ] {
        assert!(hasty.contains(slow), "the rules have no {slow}");
        hasty = hasty.replace(slow, quick);
    }
    hasty
}

#[test]
fn prometheus_has_the_series_and_the_alerts_fire() {
    let Some(binaries) = prometheus::binaries() else { return };
    let envoy = Envoy::builder()
        .listener("shop.usher", Setup::plugin(configuration(|_| {})))
        .listener("broken", Setup::plugin(json!({ "jwtRule": [] })))
        .start();
    let prometheus = Prometheus::start(&binaries.join("prometheus"), &[&envoy], Some(&hasty()));
    let listener = envoy.listener("shop.usher");
    let good = KEY.token(&mint::claims(ISSUER, "mmosley"));
    let stranger = Key::new("ES256", "rotated").token(&mint::claims(ISSUER, "mmosley"));
    let mut waiting = vec!["UsherUnknownKid", "UsherDenialRate", "UsherConfigInvalid"];
    let start = Instant::now();
    // Before anything is wrong, nothing fires but what is wrong from the start.
    while !waiting.is_empty() {
        assert!(start.elapsed() < PATIENCE, "{waiting:?} do not fire: {}", prometheus.api("rules"));
        let requests = [
            Request::get("/").bearer(&good),
            Request::get("/planned").bearer(&good),
            Request::get("/admin").bearer(&good),
            Request::get("/").bearer(&stranger).header("x_user", "forged"),
        ];
        listener.series(requests.iter().cycle().take(40));
        let firing = prometheus.firing();
        waiting.retain(|name| !firing.iter().any(|alert| alert == name));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(!prometheus.firing().contains(&"UsherConfigDrift".to_owned()), "one proxy only");
    // Scraped as they were counted, with their labels.
    for expression in [
        r#"usher_decisions_total{plugin="shop.usher",reason="denied_by_rule",policy="default/no-admin",rule="0"} > 0"#,
        r#"usher_decisions_total{plugin="shop.usher",reason="key_unknown",provider="corp"} > 0"#,
        r#"usher_key_requests_total{provider="corp",kid="one"} > 0"#,
        r#"usher_config_valid{plugin="broken"} == 0"#,
        r#"usher_build_info == 1"#,
    ] {
        assert!(!prometheus.query(expression).is_empty(), "{expression}");
    }
    // Each panel has an answer, unless it shows what this Envoy has not: fetched keys.
    for panel in Panel::all("20s") {
        let fetched = panel.title.contains("fetched") || panel.title.contains("Refreshes");
        let cache = panel.title.contains("cache");
        let answers: usize =
            panel.targets.iter().map(|target| prometheus.query(&target.expression).len()).sum();
        assert!(answers > 0 || fetched || cache, "{}: {:?}", panel.title, panel.targets);
    }
}

/// A plugin whose keys are fetched every 8 or 9 seconds, and used for 20 ([`usher_core::remote`]).
fn keys_from(server: &str) -> Value {
    configuration(|configuration| {
        let rule = configuration["jwtRules"][0].as_object_mut().unwrap();
        rule.remove("jwks");
        rule.insert("jwksUri".to_owned(), json!(format!("http://{server}.example/jwks")));
        for (name, value) in [("jwksCluster", server), ("timeout", "1s"), ("maxStale", "20s")] {
            rule.insert(name.to_owned(), json!(value));
        }
    })
}

#[test]
fn alerts_of_keys_and_drift_fire_when_the_server_is_down_and_a_proxy_is_left_behind() {
    let Some(binaries) = prometheus::binaries() else { return };
    let server = KeyServer::start(Manner::keys(&mint::jwks([&*KEY])));
    let proxies = [(); 2].map(|()| {
        let plugin = Setup::plugin(keys_from("keys")).discovered();
        Envoy::builder().listener("shop.usher", plugin).cluster("keys", server.address).start()
    });
    let [one, other] = &proxies;
    let prometheus = Prometheus::start(&binaries.join("prometheus"), &[one, other], Some(&hasty()));
    let good = Request::get("/").bearer(&KEY.token(&mint::claims(ISSUER, "mmosley")));

    // As long as the keys are confirmed again and again, nothing fires.
    let age = "time() - usher_jwks_last_success_timestamp_seconds";
    while server.asked() < 2 * 3 || prometheus.query(age).len() < 2 {
        one.listener("shop.usher").http1(&good).passed();
        assert_eq!(prometheus.firing(), [""; 0], "{}", prometheus.api("rules"));
        std::thread::sleep(Duration::from_millis(500));
    }

    server.becomes(Manner::Down);
    let mut newer = keys_from("keys");
    newer["missingToken"] = json!("allow");
    one.reconfigure("shop.usher", Setup::plugin(newer).discovered());
    let expected =
        ["UsherConfigDrift", "UsherKeyFetchFails", "UsherKeysUnavailable", "UsherStaleKeys"];
    let start = Instant::now();
    let mut waiting = expected.to_vec();
    while !waiting.is_empty() {
        assert!(start.elapsed() < PATIENCE, "{waiting:?} do not fire: {}", prometheus.api("rules"));
        one.listener("shop.usher").http1(&good);
        let firing = prometheus.firing();
        waiting.retain(|name| !firing.iter().any(|alert| alert == name));
        std::thread::sleep(Duration::from_millis(500));
    }
    assert!(!prometheus.query(r#"usher_jwks_refreshes_total{result="failure"} > 0"#).is_empty());

    server.becomes(Manner::keys(&json!({ "keys": [] })));
    let start = Instant::now();
    while !prometheus.firing().contains(&"UsherKeysWithdrawn".to_owned()) {
        assert!(start.elapsed() < PATIENCE, "it does not fire: {}", prometheus.api("rules"));
        std::thread::sleep(Duration::from_millis(500));
    }
}
