//! Draws the panels of the Grafana dashboard from a run that a real Prometheus has recorded:
//! `make dashboard-picture` writes docs/dashboard.svg.
//!
//! A gate in a real Envoy gets some minutes of traffic, good and bad; Prometheus scrapes it; the panels' own
//! expressions are asked for the whole time.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use plotters::coord::Shift;
use plotters::prelude::*;
use serde_json::{Value, json};
use usher_tests::bootstrap::Setup;
use usher_tests::client::Ask;
use usher_tests::dashboard::Panel;
use usher_tests::gate::Gate;
use usher_tests::mint::{self, Key};
use usher_tests::prometheus::{self, Prometheus, percent};

const ISSUER: &str = "https://idp.example";

/// How long there is traffic.
const SECONDS: u64 = 180;

/// Over which time rates are taken.
const INTERVAL: &str = "15s";

const COLUMNS: usize = 2;
const PANEL: (u32, u32) = (560, 190);

/// The series of a panel: names, and points of time and value.
struct Recorded {
    panel: Panel,
    lines: Vec<(String, Vec<(f64, f64)>)>,
}

fn main() {
    let output = std::env::args().nth(1).expect("usage: draw_dashboard FILE.svg");
    let recorded = record();
    draw(Path::new(&output), &recorded);
    println!("{output}: {} panels", recorded.len());
}

fn record() -> Vec<Recorded> {
    let binaries = prometheus::binaries().expect("a Prometheus");
    let [old, new, stranger] = ["2025-11", "2026-11", "2027-01"].map(|kid| Key::new("ES256", kid));
    let rsa = Key::new("RS256", "rsa-1");
    let configuration = json!({
        "jwtRules": [
            { "issuer": ISSUER, "name": "corp", "jwks": mint::jwks([&old, &new]),
              "outputPayloadToHeader": "User-Info" },
            { "issuer": "https://partner.example", "name": "partner", "jwks": mint::jwks([&rsa]) },
        ],
        "authorizationPolicies": [
            { "name": "no-admin", "action": "DENY", "rules": [
                { "to": [{ "operation": { "paths": ["/admin"] } }] },
                { "to": [{ "operation": { "paths": ["/internal"] } }] },
            ]},
            { "name": "read-only", "action": "DENY", "dryRun": true,
              "rules": [{ "to": [{ "operation": { "methods": ["POST"] } }] }] },
        ],
        "missingToken": "reject",
    });
    let mut dry = configuration.clone();
    dry["mode"] = json!("dryRun");
    let gate = Gate::plan()
        .door("shop.usher", Setup::plugin(configuration).discovered())
        .door("shop.usher-canary", Setup::plugin(dry))
        .start();
    let prometheus = Prometheus::start(&binaries.join("prometheus"), &[&gate], None);
    let from = now();
    traffic(&gate, [&old, &new, &stranger, &rsa]);
    let to = now();
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

fn traffic(gate: &Gate, [old, new, stranger, rsa]: [&Key; 4]) {
    let claims = mint::claims(ISSUER, "mmosley");
    let expired = old.token(&mint::with(&claims, "exp", mint::now() - 600));
    let [retired, current, unknown] = [old, new, stranger].map(|key| key.token(&claims));
    let partner = rsa.token(&mint::claims("https://partner.example", "cron"));
    let start = Instant::now();
    let mut round = 0_u64;
    while start.elapsed() < Duration::from_secs(SECONDS) {
        let second = start.elapsed().as_secs();
        let mut asks = Vec::new();
        for n in 0..20 {
            // The old key fades out.
            let fading = (round + n) % SECONDS > second;
            asks.push(Ask::get("/cart").bearer(if fading { &retired } else { &current }));
        }
        asks.push(Ask::get("/feed").bearer(&partner));
        asks.push(Ask::new("POST", "/cart").bearer(&current));
        if round.is_multiple_of(3) {
            asks.push(Ask::get("/"));
            asks.push(Ask::get("/admin").bearer(&current));
        }
        if (50..80).contains(&second) {
            asks.extend((0..4).map(|_| Ask::get("/cart").bearer(&expired)));
            asks.push(Ask::get("/internal").bearer(&current));
        }
        if (100..120).contains(&second) {
            asks.extend((0..3).map(|_| Ask::get("/cart").bearer(&unknown)));
        }
        if (130..150).contains(&second) {
            let forged = |name: &str| Ask::get("/cart").bearer(&current).header(name, "forged");
            asks.extend(["User_Info", "user-info"].map(forged));
        }
        gate.door("shop.usher").series(&asks);
        gate.door("shop.usher-canary").series(&[Ask::get("/cart").bearer(&current), Ask::get("/")]);
        round += 1;
        std::thread::sleep(Duration::from_millis(200));
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

fn draw(output: &Path, recorded: &[Recorded]) {
    let shown: Vec<&Recorded> = recorded.iter().filter(|r| !r.lines.is_empty()).collect();
    let rows = shown.len().div_ceil(COLUMNS);
    let (width, height) = PANEL;
    let size = (width * u32::try_from(COLUMNS).unwrap(), height * u32::try_from(rows).unwrap());
    let root = SVGBackend::new(output, size).into_drawing_area();
    root.fill(&WHITE).unwrap();
    for (area, one) in root.split_evenly((rows, COLUMNS)).iter().zip(shown) {
        draw_panel(area, one);
    }
    root.present().unwrap();
}

fn draw_panel(area: &DrawingArea<SVGBackend<'_>, Shift>, one: &Recorded) {
    let all = one.lines.iter().flat_map(|(_, points)| points);
    let most = all.map(|(_, value)| *value).fold(0.0, f64::max);
    let most = if most > 0.0 { most * 1.15 } else { 1.0 };
    let seconds = Duration::from_secs(SECONDS).as_secs_f64();
    let mut chart = ChartBuilder::on(area)
        .caption(&one.panel.title, ("sans-serif", 14))
        .margin(8)
        .margin_right(190)
        .x_label_area_size(22)
        .y_label_area_size(44)
        .build_cartesian_2d(0.0..seconds, 0.0..most)
        .unwrap();
    let unit = one.panel.unit.clone();
    chart
        .configure_mesh()
        .x_labels(5)
        .y_labels(4)
        .light_line_style(TRANSPARENT)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_label_formatter(&|x| format!("{x:.0} s"))
        .y_label_formatter(&move |y| match unit.as_str() {
            "percentunit" => format!("{:.0}%", y * 100.0),
            _ if most < 5.0 => format!("{y:.1}"),
            _ => format!("{y:.0}"),
        })
        .draw()
        .unwrap();
    for (n, (name, points)) in one.lines.iter().enumerate() {
        let color = Palette99::pick(n).to_rgba();
        chart.draw_series(LineSeries::new(points.iter().copied(), color.stroke_width(2))).unwrap();
        let at = (i32::try_from(PANEL.0).unwrap() - 185, 30 + 15 * i32::try_from(n).unwrap());
        area.draw(&Rectangle::new([at, (at.0 + 10, at.1 + 8)], color.filled())).unwrap();
        let name: String = name.chars().take(32).collect();
        area.draw(&Text::new(name, (at.0 + 14, at.1), ("sans-serif", 11))).unwrap();
    }
}
