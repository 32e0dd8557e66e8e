//! Where everything is: the repository, what it builds, the programs that tests run, and a directory for each Envoy.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, Mutex};

use crate::skip;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package is below the root")
}

/// An empty directory below `target/envoys`, named after the module of tests. It stays after the run, with
/// Envoy's log to look at, until the next.
pub(crate) fn directory() -> PathBuf {
    static NEXT: Mutex<BTreeMap<String, u64>> = Mutex::new(BTreeMap::new());
    let name = tests_module();
    let number = {
        let mut next = NEXT.lock().unwrap();
        let next = next.entry(name.clone()).or_default();
        *next += 1;
        *next - 1
    };
    let directory = root().join(format!("target/envoys/{name}-{number}"));
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory
}

/// The module of the test that this thread runs, such as `remote_keys`: the runner names the thread by the
/// test. Otherwise the name of the binary.
pub(crate) fn tests_module() -> String {
    let thread = std::thread::current();
    if let Some((module, _)) = thread.name().and_then(|name| name.split_once("::")) {
        return module.to_owned();
    }
    let file = std::env::current_exe().unwrap();
    let stem = file.file_stem().unwrap().to_str().unwrap();
    stem.rsplit_once('-').map_or(stem, |(name, _hash)| name).to_owned()
}

/// The built filter: `USHER_WASM`, or what `make wasm` has put below `target`.
///
/// # Panics
/// When it is missing.
pub fn module() -> PathBuf {
    find("USHER_WASM", "target/usher.wasm", "make wasm")
}

/// The filter that faults on demand: `USHER_WASM_FAULT`, or what `make wasm-fault` has put below
/// `target`. Where it is absent, the caller's test is skipped, see [`skip`](crate::skip()).
#[track_caller]
pub fn faulty_module() -> Option<PathBuf> {
    let path = named("USHER_WASM_FAULT", "target/usher-fault.wasm");
    or_skip(path, "usher-fault.wasm", "`make wasm-fault` makes it")
}

/// The path that `variable` gives, or `default` below the repository's root. There may be nothing.
pub(crate) fn named(variable: &str, default: &str) -> PathBuf {
    std::env::var_os(variable).map_or_else(|| root().join(default), PathBuf::from)
}

/// The file, if it is there; else the caller's test is skipped for want of `what`.
#[track_caller]
fn or_skip(path: PathBuf, what: &str, remedy: &str) -> Option<PathBuf> {
    if path.is_file() {
        return Some(path);
    }
    skip(what, &format!("no {}: {remedy}", path.display()));
    None
}

/// The file that `variable` names, or `default` below the repository's root.
///
/// # Panics
/// When there is none; the message says what makes it.
fn find(variable: &str, default: &str, target: &str) -> PathBuf {
    let path = named(variable, default);
    assert!(
        path.is_file(),
        "{} is missing: `{target}` makes it, {variable} overrides it",
        path.display()
    );
    path
}

/// The Envoy that Usher is developed with: `ENVOY`, or what `make envoy` has put below `target`.
///
/// # Panics
/// When it is missing.
pub fn pinned_envoy() -> PathBuf {
    find("ENVOY", "target/envoy/bin/envoy", "make envoy")
}

/// The oldest Envoy that Usher supports, 1.36: `ENVOY_OLDEST`, or what `make envoy-oldest` has put
/// below `target`. Where it is absent, the caller's test is skipped, see [`skip`](crate::skip()).
#[track_caller]
pub fn oldest_envoy() -> Option<PathBuf> {
    let path = named("ENVOY_OLDEST", "target/envoy-1.36/bin/envoy");
    or_skip(path, "Envoy 1.36", "`make envoy-oldest` gets it")
}

/// The `usher` command, built beside the test that runs.
///
/// # Panics
/// When it does not build.
pub fn command() -> &'static Path {
    static COMMAND: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut cargo = Command::new(env!("CARGO"));
        // Some dependencies are rebuilt when these change, and again when they change back.
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(&*name);
            }
        }
        // As the tests of the workspace are built: for the command alone, dependencies have other features.
        let built = cargo
            .args(["test", "--quiet", "--workspace", "--no-run", "--test", "command"])
            .current_dir(root())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(built.success(), "the usher command does not build");
        let test = std::env::current_exe().unwrap();
        test.parent().unwrap().parent().unwrap().join("usher")
    });
    &COMMAND
}
