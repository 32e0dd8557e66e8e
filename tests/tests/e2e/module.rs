//! What the built module asks of the host and offers to it, and its size. `make check-wasm` prints it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use usher_testkit::{paths, skip};
use wasmparser::{KnownCustom, Name, Parser, Payload, TypeRef};

/// The size that a module may have, in bytes: each worker thread of each Envoy holds a copy. One that `SMALL=0`
/// builds is larger.
const MAX_BYTES: usize = 700 * 1024;

/// The size that a function of the configuration's reader may have, in bytes: fields are in tables, which one
/// small reader walks. `SMALL=0` makes them larger.
const MOST_BYTES_OF_A_READER: usize = 4096;

/// What the names of these functions hold, as the compiler writes them.
const READERS: [&str; 2] = ["10usher_core6config", "10usher_core5codec8problems"];

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
    assert!(module.len() <= MAX_BYTES, "{} bytes, at most {MAX_BYTES}", module.len());
}

#[test]
fn no_reader_of_a_configuration_is_large() {
    let path = paths::module().with_extension("named.wasm");
    let Ok(named) = std::fs::read(&path) else {
        skip("usher.named.wasm", &format!("no {}: `make wasm` makes it", path.display()));
        return;
    };
    let functions = functions(&named);
    let readers = functions.iter().filter(|(name, _)| READERS.iter().any(|r| name.contains(r)));
    let readers: Vec<_> = readers.collect();
    assert!(readers.len() > 50, "only {} readers: have the names changed?", readers.len());
    let largest = readers.iter().map(|(_, size)| size).max();
    println!("{} readers of a configuration, the largest {largest:?} bytes", readers.len());
    let large = readers.iter().filter(|(_, size)| *size > MOST_BYTES_OF_A_READER);
    let large: Vec<_> = large.collect();
    assert!(large.is_empty(), "larger than {MOST_BYTES_OF_A_READER} bytes: {large:#?}");
}

/// The feature `fault`, by which a request can take the module down, is for tests alone.
#[test]
fn the_module_does_not_fault_on_demand() {
    let module = module();
    let mark = b"x-usher-fault";
    assert!(!module.windows(mark.len()).any(|bytes| bytes == mark), "built with `fault`");
}

/// The same bytes on every machine: no folder of the one where it was built is in them, nor one that cargo has named by a hash.
#[test]
fn the_module_names_no_folder() {
    let module = module();
    let text = String::from_utf8_lossy(&module);
    for part in ["/registry/", "/rustlib/", root().to_str().unwrap()] {
        assert!(!text.contains(part), "the module has `{part}` in it");
    }
    // As tools/wasm looks for: a registry's folder is its host, `-`, and 16 digits.
    let digits = |word: &str| word.len() == 16 && word.bytes().all(|b| b.is_ascii_hexdigit());
    let hashed = text.match_indices('/').find_map(|(at, _)| {
        let start = text[..at].rfind('-')?;
        digits(&text[start + 1..at]).then(|| text[start..at].to_owned())
    });
    assert_eq!(hashed, None, "the module has a folder with a hash in it");
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

/// `fn on_...` of `Vm`, each with the export that calls it.
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
            // The SDK has names of its own for HTTP and for TCP; the host has not. A call's response keeps its name.
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

/// The functions that have a name, each with the size of its code.
fn functions(module: &[u8]) -> Vec<(String, usize)> {
    let mut imported = 0;
    let mut sizes = Vec::new();
    let mut names = BTreeMap::new();
    for payload in Parser::new(0).parse_all(module) {
        match payload.unwrap() {
            Payload::ImportSection(section) => {
                let functions = section.into_imports().map(|import| import.unwrap().ty);
                imported = functions.filter(|ty| matches!(ty, TypeRef::Func(_))).count();
            }
            Payload::CodeSectionEntry(body) => sizes.push(body.as_bytes().len()),
            Payload::CustomSection(section) => {
                let KnownCustom::Name(section) = section.as_known() else { continue };
                for map in section {
                    let Name::Function(map) = map.unwrap() else { continue };
                    names.extend(map.into_iter().map(|naming| {
                        let naming = naming.unwrap();
                        (usize::try_from(naming.index).unwrap(), naming.name.to_owned())
                    }));
                }
            }
            _ => {}
        }
    }
    let sizes = sizes.into_iter().enumerate();
    sizes.filter_map(|(index, size)| Some((names.remove(&(index + imported))?, size))).collect()
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
    std::fs::read(paths::module()).unwrap()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}
