//! The vectors beside the project: test data of others, never a part of it.

use std::path::PathBuf;

/// The folder of shared test data: `$USHER_SHARED`, else `../shared` beside the project.
fn folder() -> PathBuf {
    match std::env::var_os("USHER_SHARED") {
        Some(folder) => folder.into(),
        None => PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared")),
    }
}

/// The files with this extension in a folder of the vectors, sorted. `None`, said loudly, where there
/// are no vectors on this machine.
pub fn vectors(under: &str, extension: &str) -> Option<Vec<PathBuf>> {
    let folder = folder().join("vectors").join(under);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("SKIPPED: no vectors at {}; set USHER_SHARED", folder.display());
        return None;
    };
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no .{extension} files in {}", folder.display());
    Some(files)
}
