//! A real Prometheus that scrapes Envoys.

use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use usher_envoy::Guarded;

use crate::client::{Request, http1};
use crate::envoy::Envoy;
use crate::paths;
use crate::skip;

/// How long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running Prometheus.
pub struct Prometheus {
    /// Stops it when this is dropped.
    _guard: Guarded,
    address: SocketAddr,
}

impl Prometheus {
    /// Scrapes `envoys` every second, and evaluates the rules in `rules` as often. Its files are beside those
    /// of the first Envoy.
    ///
    /// # Panics
    /// With its log, when it does not become ready.
    pub fn start(binary: &Path, envoys: &[&Envoy], rules: Option<&str>) -> Self {
        let at = |name: &str| envoys[0].directory().join(name);
        let targets: Vec<String> = envoys.iter().map(|g| g.admin_address().to_string()).collect();
        let mut config = json!({
            "global": { "scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s" },
            "scrape_configs": [{
                "job_name": "envoy",
                "metrics_path": "/stats/prometheus",
                "static_configs": [{ "targets": targets }],
            }],
        });
        if let Some(rules) = rules {
            std::fs::write(at("rules.yaml"), rules).unwrap();
            config["rule_files"] = json!(["rules.yaml"]);
        }
        // JSON is YAML.
        std::fs::write(at("prometheus.yml"), config.to_string()).unwrap();
        let address = free_address();
        let mut command = Guarded::command(binary);
        command
            .arg(format!("--config.file={}", at("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", at("tsdb").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdout(Stdio::null())
            .stderr(File::create(at("prometheus.log")).unwrap());
        let mut guard = Guarded::spawn(&mut command).unwrap();
        let start = Instant::now();
        loop {
            if get(address, "/-/ready").is_some_and(|(status, _)| status == 200) {
                return Self { _guard: guard, address };
            }
            if start.elapsed() > PATIENCE || guard.has_ended().unwrap().is_some() {
                let log = std::fs::read_to_string(at("prometheus.log")).unwrap_or_default();
                panic!("Prometheus does not become ready; its log:\n{log}");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// The answer's `data` to a GET of its HTTP API, such as `query?query=up`.
    ///
    /// # Panics
    /// When it says no.
    pub fn api(&self, path: &str) -> Value {
        let (status, body) = get(self.address, &format!("/api/v1/{path}")).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        let mut answer: Value = serde_json::from_str(&body).unwrap();
        answer["data"].take()
    }

    /// The result of an expression now.
    pub fn query(&self, expression: &str) -> Vec<Value> {
        let data = self.api(&format!("query?query={}", percent(expression)));
        data["result"].as_array().unwrap().clone()
    }

    /// The names of the alerts that fire.
    pub fn firing(&self) -> Vec<String> {
        let data = self.api("alerts");
        let alerts = data["alerts"].as_array().unwrap();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        firing.map(|alert| alert["labels"]["alertname"].as_str().unwrap().to_owned()).collect()
    }
}

/// Percent codes for all but letters and digits.
pub fn percent(text: &str) -> String {
    let code = |byte: u8| match byte {
        b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(code).collect()
}

/// The folder with `prometheus` and `promtool`: `PROMETHEUS`, or what `make prometheus` has put below
/// `target`. Where they are absent, the caller's test is skipped, see [`skip`](crate::skip()).
pub fn binaries() -> Option<PathBuf> {
    let folder = paths::named("PROMETHEUS", "target/prometheus/bin");
    if ["prometheus", "promtool"].iter().all(|name| folder.join(name).is_file()) {
        return Some(folder);
    }
    skip("Prometheus", &format!("none in {}: `make prometheus` gets it", folder.display()));
    None
}

fn free_address() -> SocketAddr {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap()
}

fn get(address: SocketAddr, path: &str) -> Option<(u16, String)> {
    let stream = TcpStream::connect(address).ok()?;
    let reply = http1::exchange(stream, "prometheus", &Request::get(path));
    Some((reply.status, reply.text()))
}
