//! The shared vectors, which are not part of this repository.

use std::path::PathBuf;

/// The text of a file of the shared vectors; `None`, said aloud, where they are not there.
pub(crate) fn shared(path: &str) -> Option<String> {
    let root = std::env::var_os("USHER_SHARED").map(PathBuf::from);
    let root =
        root.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    let file = root.join(path);
    let text = std::fs::read_to_string(&file).ok();
    if text.is_none() {
        eprintln!("SKIPPED: {} is absent; set USHER_SHARED", file.display());
    }
    text
}
