//! `usher check` has nothing to say against the manifests that are shipped.

#![expect(clippy::unwrap_used, reason = "a test may stop at any surprise")]

use std::path::Path;
use std::process::Command;

use usher_testkit::skip;

use crate::common;

#[test]
fn every_manifest_of_the_repository_passes_a_strict_check() {
    for folder in ["istio", "demo"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join(folder);
        assert_silent(&common::usher(&["check", "--strict", folder.to_str().unwrap()], ""));
    }
}

/// As `kubectl apply -k` would send them, a WasmPlugin and then a TrafficExtension.
#[test]
fn rendered_overlays_pass() {
    for overlay in ["gateway", "mesh", "namespace", "workload"] {
        for (kind, component) in [("WasmPlugin", ""), ("TrafficExtension", "traffic-extension")] {
            let mut kustomization =
                format!("kind: Kustomization\nresources: [../../../istio/overlays/{overlay}]\n");
            if !component.is_empty() {
                kustomization += &format!("components: [../../../istio/components/{component}]\n");
            }
            let Some(rendered) = render("overlays", &[("kustomization.yaml", &kustomization)])
            else {
                return;
            };
            assert!(rendered.contains(&format!("kind: {kind}\n")), "{overlay}: {rendered}");
            assert_silent(&common::usher(&["check", "-"], &rendered));
        }
    }
}

/// The overlay that docs/istio.md begins with, of the files here in place of a repository's.
#[test]
fn the_overlay_of_the_guide_passes() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/istio.md");
    let page = std::fs::read_to_string(page).unwrap();
    let file = |name: &str| {
        let start = format!("```yaml\n# {name}\n");
        page.split(&start).nth(1).unwrap().split("```").next().unwrap().to_owned()
    };
    let here = file("kustomization.yaml").replace("github.com/example/usher/", "../../../");
    let files = [("kustomization.yaml", here.as_str()), ("usher.yaml", &file("usher.yaml"))];
    let Some(rendered) = render("guide", &files) else { return };
    // The patch is in it, and what it leaves out is the base's.
    for part in ["namespace: shop", "- shop\n", "failStrategy: FAIL_RELOAD", "pluginName: usher"] {
        assert!(rendered.contains(part), "no `{part}` in:\n{rendered}");
    }
    assert_silent(&common::usher(&["check", "-"], &rendered));
}

/// What `kubectl kustomize` makes of a folder with these files. `None` where there is no kubectl.
fn render(name: &str, files: &[(&str, &str)]) -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/kustomize").join(name);
    std::fs::create_dir_all(&folder).unwrap();
    for (file, text) in files {
        std::fs::write(folder.join(file), text).unwrap();
    }
    let Ok(kubectl) = Command::new("kubectl").arg("kustomize").arg(&folder).output() else {
        skip("kubectl", "none here to render the overlays of istio/: `make kubectl` gets it");
        return None;
    };
    assert!(kubectl.status.success(), "{name}: {}", String::from_utf8_lossy(&kubectl.stderr));
    Some(String::from_utf8(kubectl.stdout).unwrap())
}

#[track_caller]
fn assert_silent(run: &common::Run) {
    // Istio's other resources beside a plugin are not the command's to judge, and it says so.
    let known = |line: &&str| line.ends_with("` is not checked");
    let said: Vec<&str> = run.stderr.lines().filter(|line| !known(line)).collect();
    assert_eq!((run.status, run.stdout.as_str(), said), (Some(0), "", Vec::new()));
}
