//! The demo as `make run` and `make story` play it: every example comes out as expected.

use usher_demo::site::Site;
use usher_demo::table::{self, Row};
use usher_demo::{envoy, issuer, player, serve, story};
use usher_testkit::paths::{module, pinned_envoy, root};
use usher_testkit::ports::free_row;
use usher_testkit::secrets;
use usher_testkit::stats::{self, Series};

/// A demo on ports that are free now, in a folder of its own.
fn site(name: &str, ports: u16) -> Site {
    issuer::WITNESS.get_or_init(|| secrets::token);
    let folder = root().join("target/envoys").join(name);
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    Site::local(free_row(ports), &folder.canonicalize().unwrap())
}

fn run<T>(task: impl Future<Output = anyhow::Result<T>>) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(task).unwrap_or_else(|error| panic!("{error:#}"))
}

#[test]
fn every_example_of_the_demo_comes_out_as_expected() {
    let site = site("demo", 9);
    let good = run(async {
        let issuer = serve::serve(&site, &module()).await?;
        let process = envoy::start(&pinned_envoy(), &site.sidecar()).await?;
        let good = player::play(&site, &issuer).await?;
        let metrics = process.get("/stats/prometheus")?;
        assert_as_documented(&metrics, &site.issuer());
        assert_metrics(&stats::series(&metrics), &table::rows(&issuer)?, &site.issuer());
        Ok(good)
    });
    assert!(good, "see what was printed");
}

/// The excerpt in docs/observability.md is what comes out, but for the port.
fn assert_as_documented(metrics: &str, issuer: &str) {
    let guide = std::fs::read_to_string(root().join("docs/observability.md")).unwrap();
    let excerpt = guide.split("$ curl -s 127.0.0.1:10003/stats/prometheus").nth(1).unwrap();
    let lines = excerpt.split("```").next().unwrap().lines().skip(1);
    let lines: Vec<String> =
        lines.map(|line| line.replace("http://127.0.0.1:10001", issuer)).collect();
    assert!(lines.len() > 5, "{lines:?}");
    let told: Vec<&str> = metrics.lines().filter(|line| line.starts_with("usher_")).collect();
    for line in &lines {
        assert!(told.contains(&line.as_str()), "not so: {line}, but {told:#?}");
    }
}

/// What the table's requests have moved, with the labels that `envoy/envoy.yaml` takes out of the names.
fn assert_metrics(series: &[Series], rows: &[Row], issuer: &str) {
    let count = |name: &str, labels: &[(&str, &str)]| stats::sum(series, name, labels);
    let decisions = |labels: &[(&str, &str)]| count("usher_decisions_total", labels);
    let usher = ("plugin", "usher");
    for row in rows {
        let alike = rows.iter().filter(|other| other.reason == row.reason).count() as f64;
        assert_eq!(
            decisions(&[usher, ("reason", row.reason)]),
            alike,
            "{}: {series:#?}",
            row.reason
        );
    }
    let denied = [
        ("decision", "deny"),
        ("enforced", "true"),
        ("reason", "denied_by_rule"),
        ("provider", issuer),
        ("policy", "shop/not-the-headers"),
        ("rule", "0"),
    ];
    assert_eq!(decisions(&denied), 1.0, "{series:#?}");
    let forged = [usher, ("header", "user-info")];
    assert!(count("usher_identity_headers_stripped_total", &forged) >= 3.0, "{series:#?}");
    assert!(count("usher_key_requests_total", &[usher, ("provider", issuer)]) > 9.0, "{series:#?}");
    assert_eq!(count("usher_config_valid", &[usher]), 1.0);
    assert_eq!(count("usher_build_info", &[("version", env!("CARGO_PKG_VERSION"))]), 1.0);
}

#[test]
fn every_step_of_the_story_comes_out_as_expected() {
    let site = site("story", 44);
    let good = run(story::play(&site, &module(), &pinned_envoy()));
    assert!(good, "see what was printed");
}
