//! The demo as `make run` and `make story` play it: every example comes out as expected.

use std::io::Write as _;
use std::process::{Command, Stdio};

use usher_demo::client::{self, Ask};
use usher_demo::envoy::Envoy;
use usher_demo::site::Site;
use usher_demo::{issuer, player, serve, story};
use usher_tests::gate::{module, pinned_envoy, root};
use usher_tests::ports::free_row;
use usher_tests::secrets;

/// A demo on ports that are free now, in a folder of its own.
fn site(name: &str, ports: u16) -> Site {
    issuer::WITNESS.get_or_init(|| secrets::token);
    let folder = root().join("target/gates").join(name);
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
        let _envoy = Envoy::start(&pinned_envoy(), &site.gate()).await?;
        let good = player::play(&site, &issuer).await?;
        let stats = Ask::get("/stats/prometheus");
        assert_told(&site, &client::send(site.gate().admin_port(), &stats).await?.body);
        Ok(good)
    });
    assert!(good, "see what was printed");
}

/// What docs/observability.md shows of Envoy's stats after the table, by its own command line.
fn assert_told(site: &Site, stats: &str) {
    let page = std::fs::read_to_string(root().join("docs/observability.md")).unwrap();
    let start = "```console\n$ curl -s http://127.0.0.1:10003/stats/prometheus | ";
    let (filter, shown) = page.split_once(start).unwrap().1.split_once('\n').unwrap();
    let shown = shown.split("```").next().unwrap();
    let mut shell = Command::new("sh")
        .args(["-c", filter])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    shell.stdin.take().unwrap().write_all(stats.as_bytes()).unwrap();
    let output = shell.wait_with_output().unwrap();
    let found = String::from_utf8(output.stdout).unwrap();
    assert_eq!(found.replace(&site.issuer(), "http://127.0.0.1:10001"), shown);
}

#[test]
fn every_step_of_the_story_comes_out_as_expected() {
    let site = site("story", 44);
    let good = run(story::play(&site, &module(), &pinned_envoy()));
    assert!(good, "see what was printed");
}
