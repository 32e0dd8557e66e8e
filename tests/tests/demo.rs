//! The demo as `make run` and `make story` play it: every example comes out as expected.

use std::path::Path;

use usher_demo::envoy::Envoy;
use usher_demo::site::Site;
use usher_demo::{player, serve, story};
use usher_tests::gate::{module, pinned_envoy};
use usher_tests::ports::free_row;

/// A demo on ports that are free now, in a folder of its own.
fn site(name: &str, ports: u16) -> Site {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/gates").join(name);
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
        player::play(&site, &issuer).await
    });
    assert!(good, "see what was printed");
}

#[test]
fn every_step_of_the_story_comes_out_as_expected() {
    let site = site("story", 44);
    let good = run(story::play(&site, &module(), &pinned_envoy()));
    assert!(good, "see what was printed");
}
