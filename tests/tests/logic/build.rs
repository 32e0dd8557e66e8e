//! How the module is built: the release's bytes or none, and nothing in silence. The tools run in a folder of their own,
//! with a compiler that is a script; `make repro` compares the bytes of real ones.

use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// What the tools of the build call; each call goes into `calls`, one a line, with the flags that cargo would take.
const PROGRAMS: [(&str, &str); 6] = [
    (
        "rustc",
        r#"[ "${RUSTUP_AUTO_INSTALL:-}" = 0 ] || echo "may be installed unasked" >>calls
        case "$*" in
            --version) cat rustc-version ;;
            *target-libdir*) echo "$PWD/lib" ;;
            *sysroot*) echo "$PWD/sysroot" ;;
        esac"#,
    ),
    (
        "cargo",
        r#"echo "cargo $* RUSTFLAGS=${RUSTFLAGS:-} LTO=${CARGO_PROFILE_RELEASE_LTO:-}" >>calls
        case $1 in
            --version) grep '^cargo ' tools/rust.lock ;;
            -Zunstable-options) [ ! -e "configured-$5" ] || cat "configured-$5"; [ -e "configured-$5" ] ;;
            rustc)
                mkdir -p "$CARGO_TARGET_DIR/wasm32-wasip1/release"
                printf '\0asm\1\0\0\0' >"$CARGO_TARGET_DIR/wasm32-wasip1/release/usher.wasm"
                ;;
            run)
                [ ! -e arrange-fails ] || { echo "arrange: expected None, found Some(503)" >&2; exit 1; }
                while [ "$1" != --module ]; do shift; done
                cp "$2" "$4"
                ;;
        esac"#,
    ),
    (
        "rustup",
        r#"echo "rustup $*" >>calls
        case "$1 $2" in
            "run 1."*) cat pinned-version ;;
            "toolchain install") cp pinned-by-install rustc-version ;;
            *) exit 1 ;;
        esac"#,
    ),
    // Nothing of this machine is asked for, and nothing is installed on it.
    ("cc", ""),
    ("curl", ""),
    ("apt-get", "exit 1"),
];

/// A folder with the tools of the build.
struct Machine {
    folder: tempfile::TempDir,
}

struct Outcome {
    passed: bool,
    said: String,
}

impl Machine {
    /// One that has what a release is made with.
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        let tools = [
            "wasm",
            "wasm-cargo",
            "binaryen",
            "binaryen.lock",
            "rust.lock",
            "origin",
            "exports",
            "toolchain",
        ];
        machine.write(
            "tools/optimize.py",
            "import shutil, sys\nshutil.copy(sys.argv[2], sys.argv[4])\n",
        );
        for tool in tools {
            std::fs::copy(root().join("tools").join(tool), machine.path("tools").join(tool))
                .unwrap();
        }
        machine.write("rust-toolchain.toml", &read("rust-toolchain.toml"));
        for (name, text) in PROGRAMS {
            machine.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{text}\n"));
            let made = Command::new("chmod").arg("+x").arg(machine.path("bin").join(name)).status();
            assert!(made.unwrap().success(), "{name}");
        }
        machine.write("rustc-version", &locked("rustc"));
        machine.write("lib/libstd-1.rlib", "");
        machine.write("sysroot/lib/rustlib/src/rust/library/Cargo.lock", "");
        machine.write("libbinaryen.so", "\n116 (version_116)\n");
        machine
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn remove(&self, file: &str) {
        std::fs::remove_file(self.path(file)).unwrap();
    }

    fn run(&self, program: &str, arguments: &[&str], environment: &[(&str, &str)]) -> Outcome {
        let path = std::env::var("PATH").unwrap();
        let mut command = Command::new(self.path(program));
        command.args(arguments).current_dir(self.folder.path());
        for name in [
            "WASM_ANY",
            "WASM_KIT",
            "SMALL",
            "LOCKED",
            "USHER_FEATURES",
            "CARGO_TARGET_DIR",
            "RUSTFLAGS",
            "RUSTUP_AUTO_INSTALL",
        ] {
            command.env_remove(name);
        }
        command.env("PATH", format!("{}:{path}", self.path("bin").display()));
        command.env("BINARYEN", self.path("libbinaryen.so"));
        let output = command.envs(environment.iter().copied()).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
        Outcome { passed: output.status.success(), said: said.concat() }
    }

    fn wasm(&self, environment: &[(&str, &str)]) -> Outcome {
        self.run("tools/wasm", &["target/usher.wasm"], environment)
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    /// It stops before anything is built, and says why, and what to run.
    fn assert_refused(&self, why: &str, environment: &[(&str, &str)], needles: &[&str]) {
        let outcome = self.wasm(environment);
        assert!(!outcome.passed, "{why}: {}", outcome.said);
        for needle in needles {
            assert!(outcome.said.contains(needle), "{why}: no `{needle}`: {}", outcome.said);
        }
        assert!(!self.path("target/usher.wasm").exists(), "{why}");
        for call in ["cargo rustc", "rustup"] {
            assert!(!self.calls().contains(call), "{why}: {}", self.calls());
        }
    }
}

/// What a program of the lock says of its version.
fn locked(program: &str) -> String {
    let lock = read("tools/rust.lock");
    let line = lock.lines().find(|line| line.starts_with(&format!("{program} ")));
    line.unwrap_or_else(|| panic!("tools/rust.lock has no {program}")).to_owned()
}

#[test]
fn nothing_but_the_toolchain_has_rustup_install_a_compiler() {
    let machine = Machine::new();
    let outcome = machine.wasm(&[]);
    assert!(outcome.passed, "{}", outcome.said);
    assert!(!machine.calls().contains("may be installed unasked"), "{}", machine.calls());
}

#[test]
fn a_release_is_of_what_is_pinned_alone() {
    let machine = Machine::new();
    let outcome = machine.wasm(&[
        ("RUSTFLAGS", "-Copt-level=0"),
        ("CARGO_PROFILE_RELEASE_LTO", "off"),
        ("CARGO_TARGET_DIR", "built"),
    ]);
    assert!(outcome.passed, "{}", outcome.said);
    assert_eq!(std::fs::read(machine.path("target/usher.wasm")).unwrap(), b"\0asm\x01\0\0\0");
    let calls = machine.calls();
    let call = |start: &str| {
        let call = calls.lines().find(|line| line.starts_with(start));
        call.unwrap_or_else(|| panic!("no `{start}`: {calls}")).to_owned()
    };
    let build = call("cargo rustc");
    assert!(build.ends_with(" RUSTFLAGS= LTO="), "flags of the machine: {build}");
    assert!(build.contains("trim-paths"), "paths of the machine: {build}");
    for locked in [build, call("cargo run")] {
        assert!(locked.contains(" --locked "), "{locked}");
    }
}

/// The release's bytes, or the one command that gets what is missing; nothing is installed meanwhile.
#[test]
fn make_wasm_makes_a_releases_bytes_or_nothing() {
    let toolchain = "run `make toolchain`";
    for (why, version) in [
        ("older", "rustc 1.94.0 (4a4ef493e 2026-03-02)".to_owned()),
        ("a distribution's", format!("{} (built from a source tarball)", locked("rustc"))),
        ("none", String::new()),
    ] {
        let machine = Machine::new();
        machine.write("rustc-version", &version);
        machine.assert_refused(why, &[], &[&locked("rustc"), toolchain]);
    }
    for (file, named) in [
        ("lib/libstd-1.rlib", "wasm32-wasip1"),
        ("sysroot/lib/rustlib/src/rust/library/Cargo.lock", "source of the standard library"),
    ] {
        let machine = Machine::new();
        machine.remove(file);
        machine.assert_refused(file, &[], &[named, toolchain]);
    }
    let machine = Machine::new();
    machine.write("libbinaryen.so", "\n108 (version_108)\n");
    machine.assert_refused("another Binaryen", &[], &["116", toolchain]);
    machine.assert_refused("no Binaryen", &[("BINARYEN", "")], &["icpp-binaryen", toolchain]);
    for name in [("WASM_KIT", "distribution"), ("SMALL", "0")] {
        Machine::new().assert_refused(name.0, &[name], &["make wasm-any"]);
    }
    let machine = Machine::new();
    machine
        .write("configured-profile", "profile.release.lto = \"off\" # /home/me/.cargo/config.toml");
    machine.assert_refused("a profile of one's own", &[], &["/home/me/.cargo/config.toml"]);
}

/// `make toolchain` gets the pinned compiler where it is absent, and touches none that is there.
#[test]
fn the_toolchain_is_installed_once() {
    let install = "rustup toolchain install 1.";
    let machine = Machine::new();
    let toolchain = |machine: &Machine| machine.run("tools/toolchain", &[], &[]);
    let there = toolchain(&machine);
    assert!(there.passed, "{}", there.said);
    assert!(!machine.calls().contains("rustup"), "{}", machine.calls());

    machine.write("rustc-version", "");
    machine.write("pinned-by-install", &locked("rustc"));
    let absent = toolchain(&machine);
    assert!(absent.passed, "{}", absent.said);
    let calls = machine.calls();
    let line = calls.lines().find(|line| line.starts_with(install)).expect(&calls);
    for part in ["rust-src", "wasm32-wasip1", "--no-self-update"] {
        assert!(line.contains(part), "{line}");
    }

    // Something chooses another, though it is there: a reinstallation would pull it from under other builds.
    let machine = Machine::new();
    machine.write("rustc-version", "rustc 1.97.0-nightly (e50aa6fba 2026-05-19)\n");
    machine.write("pinned-version", &locked("rustc"));
    let chosen = toolchain(&machine);
    assert!(!chosen.passed && chosen.said.contains("RUSTUP_TOOLCHAIN"), "{}", chosen.said);
    assert!(!machine.calls().contains(install), "{}", machine.calls());
}

/// A module that was not arranged is refused.
#[test]
fn where_the_arrangement_fails_the_build_fails() {
    let machine = Machine::new();
    machine.write("arrange-fails", "");
    for any in ["", "1"] {
        let outcome = machine.wasm(&[("WASM_ANY", any)]);
        assert!(!outcome.passed, "{}", outcome.said);
        assert!(outcome.said.contains("tools/arrange failed"), "{}", outcome.said);
        let left: Vec<_> = std::fs::read_dir(machine.path("target")).unwrap().collect();
        let left: Vec<_> = left.into_iter().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["wasm-own"], "only what was compiled is left");
    }
}

/// By hand, another compiler and another Binaryen will do; the module says so, and what ships one asks.
#[test]
fn a_module_of_another_compiler_says_so() {
    let machine = Machine::new();
    machine.write("rustc-version", "rustc 1.97.0-dev (of my own)\n");
    machine.write("libbinaryen.so", "\n108 (version_108)\n");
    let any = [("WASM_ANY", "1")];
    let outcome = machine.wasm(&any);
    assert!(outcome.passed, "{}", outcome.said);
    assert!(outcome.said.contains("NOT A RELEASE'S BYTES"), "{}", outcome.said);
    let module = std::fs::read(machine.path("target/usher.wasm")).unwrap();
    let sections: Vec<_> = wasmparser::Parser::new(0)
        .parse_all(&module)
        .filter_map(|payload| match payload.unwrap() {
            wasmparser::Payload::CustomSection(section) => Some((
                section.name().to_owned(),
                String::from_utf8(section.data().to_vec()).unwrap(),
            )),
            _ => None,
        })
        .collect();
    let [(name, text)] = &sections[..] else { panic!("{sections:?}") };
    assert_eq!(name, "usher.not-a-release");
    assert!(text.contains("rustc 1.97.0-dev (of my own) (own)"), "{text}");

    let check =
        |machine: &Machine| machine.run("tools/origin", &["check", "target/usher.wasm"], &[]);
    let refused = check(&machine);
    assert!(!refused.passed && refused.said.contains("1.97.0-dev"), "{}", refused.said);
    let release = Machine::new();
    assert!(release.wasm(&[]).passed);
    let passed = check(&release);
    assert!(passed.passed, "{}", passed.said);

    machine.remove("sysroot/lib/rustlib/src/rust/library/Cargo.lock");
    let without = machine.wasm(&any);
    assert!(!without.passed, "a larger module only by SMALL=0: {}", without.said);
    let small = machine.wasm(&[("WASM_ANY", "1"), ("SMALL", "0")]);
    assert!(small.passed, "{}", small.said);
    assert!(!machine.calls().contains("rustup"), "tools/wasm installs nothing");
}

/// What make would run for a target, with a module as old as the world.
fn recipe(target: &str) -> String {
    let mut make = Command::new("make");
    make.args(["--dry-run", "--always-make", target]).current_dir(root());
    let output = make.env_remove("MAKEFLAGS").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_shipped_is_a_releases() {
    for target in ["dist", "image"] {
        let recipe = recipe(target);
        let check = recipe.find("tools/origin check target/usher.wasm");
        let built = recipe.find("tools/wasm target/usher.wasm").expect(target);
        assert!(check.expect(target) > built, "{target}: {recipe}");
    }
    // Another file, so that `make wasm` never takes it for its own.
    assert!(recipe("wasm-any").contains("tools/wasm target/usher-any.wasm"));
    for target in ["wasm", "run", "test-all"] {
        assert!(!recipe(target).contains("usher-any"), "{target}");
    }
    for target in ["run", "test-all", "lint"] {
        assert!(recipe(target).contains("tools/toolchain"), "{target}");
    }
    for target in ["wasm", "dist", "e2e"] {
        assert!(!recipe(target).contains("tools/toolchain"), "{target}");
    }
}

/// One version of Rust is meant everywhere.
#[test]
fn the_compiler_is_pinned_once() {
    let toolchain = read("rust-toolchain.toml");
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = "));
    let channel = channel.expect("a channel").trim_matches('"');
    for program in ["rustc", "cargo"] {
        let line = locked(program);
        assert!(line.starts_with(&format!("{program} {channel} (")), "{line}");
    }
    let manifest = read("Cargo.toml");
    let least = manifest.lines().find_map(|line| line.strip_prefix("rust-version = "));
    let least = least.expect("a rust-version").trim_matches('"');
    assert!(channel.starts_with(&format!("{least}.")), "{channel} and {least}");
}

/// The nightly workflow runs what `make nightly` runs, and calls nothing but make.
#[test]
fn the_nightly_workflow_is_make_nightly() {
    let makefile = read("Makefile");
    let nightly = makefile.split("\nnightly:").nth(1).expect("nightly").lines().skip(1);
    let nightly: Vec<&str> = nightly
        .map_while(|line| line.strip_prefix('\t'))
        .map(|line| line.strip_prefix("$(MAKE) ").expect(line))
        .collect();
    assert!(nightly.contains(&"repro"), "{nightly:?}");
    let workflow = read(".github/workflows/nightly.yml");
    let value: serde_json::Value = serde_yaml_ng::from_str(&workflow).unwrap();
    let jobs = value["jobs"].as_object().unwrap();
    let matrix = value.pointer("/jobs/long/strategy/matrix/target").unwrap();
    // Each target of fuzzing has a machine of its own there.
    let (fuzz, others): (Vec<_>, Vec<_>) =
        nightly.into_iter().partition(|target| target.starts_with("fuzz "));
    assert_eq!(matrix, &serde_json::Value::from(others));
    let fuzz = fuzz.first().expect("make nightly fuzzes");
    assert!(workflow.contains(&format!("make {fuzz} T=${{{{ matrix.target }}}}")), "{fuzz}");
    for (name, job) in jobs {
        for step in job["steps"].as_array().unwrap() {
            if let Some(run) = step["run"].as_str() {
                assert!(run.starts_with("make ") && !run.contains('\n'), "{name}: {run}");
            }
        }
    }
}
