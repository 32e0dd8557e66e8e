//! What the built module asks of the host and offers to it, and its size. `make check-wasm` prints it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use wasmparser::{Parser, Payload};

/// The size that a module may have, in bytes: each worker thread of each Envoy holds a copy. One that `SMALL=0`
/// builds is larger.
const MOST_BYTES: usize = 700 * 1024;

/// The system calls of WASI that Envoy implements and a filter may make. Not here: files and sockets.
const SYSTEM_CALLS: [&str; 8] = [
    "clock_time_get",
    "environ_get",
    "environ_sizes_get",
    "fd_fdstat_get",
    "fd_write",
    "proc_exit",
    "random_get",
    "sched_yield",
];

#[test]
fn the_module_is_small() {
    let module = module();
    println!("usher.wasm: {} bytes", module.len());
    assert!(module.len() <= MOST_BYTES, "{} bytes, at most {MOST_BYTES}", module.len());
}

/// The feature `fault`, by which a request can take the module down, is for tests alone.
#[test]
fn the_module_does_not_fault_on_demand() {
    let module = module();
    let mark = b"x-usher-fault";
    assert!(!module.windows(mark.len()).any(|bytes| bytes == mark), "built with `fault`");
}

#[test]
fn the_module_imports_only_what_envoy_has() {
    let imports = imports(&module());
    for (space, name) in &imports {
        println!("import {space}.{name}");
        let known = match space.as_str() {
            // Envoy's own part is checked by loading it: each end-to-end test does that.
            "env" => name.starts_with("proxy_"),
            "wasi_snapshot_preview1" => SYSTEM_CALLS.contains(&name.as_str()),
            _ => false,
        };
        assert!(known, "the module imports {space}.{name}");
    }
}

#[test]
fn the_module_exports_only_what_envoy_needs() {
    let needed = needed();
    let exports = exports(&module());
    for name in &exports {
        println!("export {name}");
    }
    let missing: Vec<_> = needed.difference(&exports).collect();
    assert!(missing.is_empty(), "tools/exports names what the module lacks: {missing:?}");
    assert_eq!(exports, needed, "tools/exports is the whole list");
    // It would be called for each chunk of each request.
    assert!(!exports.contains("proxy_on_request_body"), "{exports:?}");
}

/// The filter's own list and the tools' are one.
#[test]
fn the_filter_exports_what_the_list_names() {
    let text = std::fs::read_to_string(root().join("src/proxy_wasm/exports.rs")).unwrap();
    let exported = text.lines().filter_map(|line| {
        let rest = line.strip_prefix("extern \"C\" fn ")?;
        rest.split_once('(').map(|(name, _)| name.to_owned())
    });
    let exported: BTreeSet<String> = exported.collect();
    // A second name is the filter's function; of the others the SDK and the compiler make all but one.
    let behind = listed().into_iter().filter_map(|(_, function)| function);
    let expected: BTreeSet<String> = behind.chain(["_initialize".to_owned()]).collect();
    assert_eq!(exported, expected);
}

/// A change in the core alone makes another module: what is tested is what is in the folder.
#[test]
fn a_change_of_any_source_rebuilds_the_module() {
    let module = "target/usher.wasm";
    let rebuilds = |file: &str| {
        let mut make = Command::new("make");
        make.args(["--dry-run", "--what-if", file, module]);
        let output = make.current_dir(root()).env_remove("MAKEFLAGS").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().contains("tools/wasm ")
    };
    assert!(!rebuilds("README.md"), "the module is older than its sources: run `make wasm`");
    let sources = ["core/Cargo.toml", "core/src/path.rs", "core/src/codec/json.rs", "src/lib.rs"];
    for source in sources {
        assert!(rebuilds(source), "{source}");
    }
}

/// A callback that is not exported is never called: the filter would lose it without a word.
#[test]
fn every_callback_of_the_filter_is_exported() {
    let needed = needed();
    let callbacks = callbacks(&root().join("src/vm.rs"));
    assert!(!callbacks.is_empty(), "the filter has callbacks");
    for (function, export) in callbacks {
        assert!(
            needed.contains(&export),
            "`{function}` is called by {export}: add it to tools/exports"
        );
    }
}

/// `fn on_...` of the filter's front door, each with the export that calls it.
fn callbacks(file: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    {
        let text = std::fs::read_to_string(file).unwrap();
        for line in text.lines() {
            let Some(rest) = line.trim_start().strip_prefix("pub fn on_") else { continue };
            let name: String = rest
                .chars()
                .take_while(|char| char.is_ascii_alphanumeric() || *char == '_')
                .collect();
            // The SDK tells HTTP's from TCP's; the host's names do not. A call's response keeps its name.
            let host = match name.strip_prefix("http_") {
                Some(part) if !part.starts_with("call") => part,
                _ => &name,
            };
            found.push((format!("on_{name}"), format!("proxy_on_{host}")));
        }
    }
    found
}

fn needed() -> BTreeSet<String> {
    listed().into_iter().map(|(name, _)| name).collect()
}

/// The lines of tools/exports: a name, and the function behind it where that has another.
fn listed() -> Vec<(String, Option<String>)> {
    let text = std::fs::read_to_string(root().join("tools/exports")).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let words = lines.map(|line| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().expect("a name"), words.next())
    });
    words.collect()
}

fn exports(module: &[u8]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ExportSection(section) = payload.unwrap() {
            names.extend(section.into_iter().map(|export| export.unwrap().name.to_owned()));
        }
    }
    names
}

/// Name space and name of each.
fn imports(module: &[u8]) -> BTreeSet<(String, String)> {
    let mut names = BTreeSet::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload.unwrap() {
            for import in section.into_imports() {
                let import = import.unwrap();
                names.insert((import.module.to_owned(), import.name.to_owned()));
            }
        }
    }
    names
}

fn module() -> Vec<u8> {
    let path = std::env::var_os("USHER_WASM")
        .map_or_else(|| root().join("target/usher.wasm"), PathBuf::from);
    std::fs::read(&path)
        .unwrap_or_else(|error| panic!("{}: {error}: `make wasm` makes it", path.display()))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
