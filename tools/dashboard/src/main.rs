//! Draws the panels of the Grafana dashboard from a run that a real Prometheus has recorded:
//! `make dashboard-picture` makes docs/dashboard.png of what this writes.
//!
//! A real Envoy gets some minutes of traffic, good and bad; Prometheus scrapes it; the panels' own
//! expressions are asked for the whole time.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::dashboard::Panel;
use usher_testkit::envoy::Envoy;
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::mint::{self, Key};
use usher_testkit::prometheus::{self, Prometheus, percent};

mod picture;

use picture::Recorded;

const ISSUER: &str = "https://idp.example";

/// How long there is traffic.
const SECONDS: u64 = 200;

/// How often requests are sent, in milliseconds.
const PACE: u64 = 500;

/// Over which time rates are taken.
const INTERVAL: &str = "15s";

fn main() {
    let output = std::env::args().nth(1).expect("usage: usher-dashboard FILE.svg");
    let recorded = record();
    let empty: Vec<_> = recorded.iter().filter(|one| one.lines.is_empty()).collect();
    assert!(empty.is_empty(), "panels with nothing to show: {empty:?}");
    picture::draw(Path::new(&output), &recorded, Duration::from_secs(SECONDS));
    println!("{output}: {} panels", recorded.len());
}

/// The keys of a run, and the server that has those of `corp`.
struct Keys {
    old: Key,
    new: Key,
    stranger: Key,
    partner: Key,
    server: KeyServer,
}

impl Keys {
    fn new() -> Self {
        let [old, new, stranger] =
            ["2025-11", "2026-11", "2027-01"].map(|kid| Key::new("ES256", kid));
        let server = KeyServer::start(Manner::keys(&mint::jwks([&old, &new])));
        Self { old, new, stranger, partner: Key::new("RS256", "rsa-1"), server }
    }
}

fn record() -> Vec<Recorded> {
    let binaries = prometheus::binaries().expect("a Prometheus");
    let keys = Keys::new();
    let configuration = json!({
        "jwtRules": [
            { "issuer": ISSUER, "name": "corp", "jwksUri": "http://idp.example/keys",
              "jwksCluster": "idp", "timeout": "1s", "maxStale": "50s",
              "outputPayloadToHeader": "User-Info" },
            { "issuer": "https://partner.example", "name": "partner",
              "jwks": mint::jwks([&keys.partner]) },
        ],
        "authorizationPolicies": [
            { "name": "no-admin", "namespace": "shop", "action": "DENY", "rules": [
                { "to": [{ "operation": { "paths": ["/admin"] } }] },
                { "to": [{ "operation": { "paths": ["/internal"] } }] },
            ]},
            { "name": "read-only", "namespace": "shop", "action": "DENY", "dryRun": true,
              "rules": [{ "to": [{ "operation": { "methods": ["POST"] } }] }] },
        ],
        "tokenCache": { "entries": 8 },
        "missingToken": "reject",
    });
    let mut dry = configuration.clone();
    dry["mode"] = json!("dryRun");
    let envoy = Envoy::builder()
        .listener("shop.usher", Setup::plugin(configuration))
        .listener("shop.usher-canary", Setup::plugin(dry))
        .cluster("idp", keys.server.address)
        .start();
    let prometheus = Prometheus::start(&binaries.join("prometheus"), &[&envoy], None);
    let from = now();
    traffic(&envoy, &keys);
    let to = from + SECONDS;
    Panel::all(INTERVAL)
        .into_iter()
        .map(|panel| {
            let lines = panel.targets.iter().flat_map(|target| {
                let query = percent(&target.expression);
                let data = prometheus
                    .api(&format!("query_range?query={query}&start={from}&end={to}&step=2"));
                let results = data["result"].as_array().unwrap().clone();
                results
                    .into_iter()
                    .map(|result| (target.name(&result["metric"]), points(&result, from)))
            });
            Recorded { lines: lines.collect(), panel }
        })
        .collect()
}

fn traffic(envoy: &Envoy, keys: &Keys) {
    let claims = mint::claims(ISSUER, "mmosley");
    let of = |key: &Key, n: u64| key.token(&mint::with(&claims, "sub", format!("user-{n}")));
    let expired = keys.old.token(&mint::with(&claims, "exp", mint::now() - 600));
    let [retired, current, unknown] =
        [&keys.old, &keys.new, &keys.stranger].map(|key| key.token(&claims));
    let partner = keys.partner.token(&mint::claims("https://partner.example", "cron"));
    let start = Instant::now();
    let mut round = 0;
    while start.elapsed() < Duration::from_secs(SECONDS) {
        let second = start.elapsed().as_secs();
        let bearer = |token: &str| Request::get("/cart").bearer(token);
        let mut requests = Vec::new();
        for n in 0..20 {
            // The old key fades out. 61 has no divisor of SECONDS.
            let fading = (round * 20 + n) * 61 % SECONDS >= second;
            requests.push(bearer(if fading { &retired } else { &current }));
        }
        requests.push(bearer(&partner));
        requests.push(Request::new("POST", "/cart").bearer(&current));
        if round % 3 == 0 {
            requests.push(Request::get("/"));
            requests.push(Request::get("/admin").bearer(&current));
        }
        if (20..50).contains(&second) {
            requests.extend((0..4).map(|_| bearer(&expired)));
            requests.push(Request::get("/internal").bearer(&current));
        }
        if (60..80).contains(&second) {
            requests.extend((0..3).map(|_| bearer(&unknown)));
        }
        if (90..140).contains(&second) {
            keys.server.becomes(Manner::Down);
        } else {
            keys.server.becomes(Manner::keys(&mint::jwks([&keys.old, &keys.new])));
        }
        if (150..170).contains(&second) {
            let forged = |name: &str| bearer(&current).header(name, "forged");
            requests.extend(["User_Info", "user-info"].map(forged));
            // More callers than the cache has room for.
            requests.extend((0..3).map(|n| bearer(&of(&keys.new, (round + n) % 30))));
        }
        envoy.listener("shop.usher").series(&requests);
        envoy.listener("shop.usher-canary").series(&[bearer(&current), Request::get("/")]);
        round = u64::try_from(start.elapsed().as_millis()).unwrap() / PACE + 1;
        let next = Duration::from_millis(round * PACE);
        std::thread::sleep(next.saturating_sub(start.elapsed()));
    }
}

fn points(result: &Value, from: u64) -> Vec<(f64, f64)> {
    let values = result["values"].as_array().unwrap().iter();
    let start = Duration::from_secs(from).as_secs_f64();
    values
        .filter_map(|pair| {
            let value: f64 = pair[1].as_str()?.parse().ok()?;
            Some((pair[0].as_f64()? - start, value)).filter(|_| value.is_finite())
        })
        .collect()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
