//! A flood of refusals in a real Envoy: the decision log stays short, has a line for each kind, and counts the rest.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::stats;

const ISSUER: &str = "https://idp.example";

/// The decision log's lines of a plugin so far.
fn lines(envoy: &Envoy, plugin: &str) -> Vec<Value> {
    let text = envoy.log().text();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let of_plugin = format!(" wasm log {plugin} ");
    let objects = complete.lines().filter(|line| line.contains(&of_plugin));
    let objects = objects.filter_map(|line| Some(format!("{{{}", line.split_once(": {")?.1)));
    objects.map(|object| serde_json::from_str(&object).unwrap()).collect()
}

/// Each flood: where, what is sent, and how many lines of it a second may have.
#[test]
fn a_flood_is_told_and_counted_but_does_not_fill_the_log() {
    const FLOOD: usize = 600;
    let key = Key::new("ES256", "one");
    let configuration = |rate: Value| {
        json!({
            "jwtRules": [{ "issuer": ISSUER, "jwks": mint::jwks([&key]) }],
            "missingToken": "reject",
            "authorizationPolicies": [
                { "name": "no-admin", "action": "DENY",
                  "rules": [{ "to": [{ "operation": { "paths": ["/admin"] } }] }] },
                { "name": "no-debug", "action": "DENY",
                  "rules": [{ "to": [{ "operation": { "paths": ["/debug"] } }] }] },
                { "name": "watch", "action": "AUDIT",
                  "rules": [{ "to": [{ "operation": { "paths": ["/watched"] } }] }] },
                { "name": "planned", "action": "DENY", "dryRun": true,
                  "rules": [{ "to": [{ "operation": { "paths": ["/planned"] } }] }] },
            ],
            "decisionLog": { "emit": "all", "refusalsPerSecond": rate },
        })
    };
    let five = || Setup::plugin(configuration(json!(5)));
    let envoy = Envoy::builder()
        .listener("missing", five())
        .listener("denied", five())
        .listener("watched", five())
        .listener("planned", five())
        .listener("default", Setup::plugin(configuration(Value::Null)))
        .listener("none", Setup::plugin(configuration(json!(0))))
        .listener("unlimited", Setup::plugin(configuration(json!("unlimited"))))
        .start();
    let token = key.token(&mint::claims(ISSUER, "mmosley"));
    let good = |path: &str| Request::get(path).bearer(&token);
    for (plugin, request, each_second, status) in [
        ("missing", Request::get("/"), 6, 401),
        ("denied", good("/admin"), 6, 403),
        ("watched", good("/watched"), 5, 200),
        ("planned", good("/planned"), 5, 200),
        ("default", Request::get("/"), 51, 401),
        ("none", Request::get("/"), 1, 401),
        ("unlimited", Request::get("/"), FLOOD, 401),
    ] {
        let listener = envoy.listener(plugin);
        let flood = vec![request; FLOOD];
        let statuses: Vec<u16> = listener.series(&flood).iter().map(|reply| reply.status).collect();
        assert_eq!(statuses, vec![status; FLOOD], "{plugin}");
        // Other kinds have their line in the middle of it, and the next line says how many were left out.
        listener.series([&good("/debug"), &good("/").header("x-request-id", "last")]);
        log::wait(|| lines(&envoy, plugin).into_iter().find(|line| line["request_id"] == "last"));
        let lines = lines(&envoy, plugin);
        let debug = lines.iter().filter(|line| line["policy"] == "no-debug").count();
        assert_eq!(debug, 1, "{plugin}: the first of another policy");
        let of_flood: Vec<&Value> = lines
            .iter()
            .filter(|line| line["policy"] != "no-debug" && line["request_id"] != "last")
            .collect();
        let mut seconds: BTreeMap<u64, usize> = BTreeMap::new();
        for line in &of_flood {
            *seconds.entry(line["time"].as_u64().unwrap()).or_default() += 1;
        }
        assert!(seconds.values().all(|n| *n <= each_second), "{plugin}: {seconds:?}");
        let left_out = FLOOD - of_flood.len();
        let told: u64 = lines.iter().filter_map(|line| line["suppressed"].as_u64()).sum();
        let series = envoy.metrics();
        let counted =
            stats::sum(&series, "usher_decision_log_suppressed_total", &[("plugin", plugin)]);
        assert_eq!((told, counted), (left_out as u64, left_out as f64), "{plugin}: {seconds:?}");
        if plugin == "unlimited" {
            assert_eq!(left_out, 0, "{seconds:?}");
        }
        let decisions = stats::sum(&series, "usher_decisions_total", &[("plugin", plugin)]);
        assert_eq!(decisions, (FLOOD + 2) as f64, "{plugin}: every decision is counted");
    }
}
