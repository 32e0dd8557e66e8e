//! What no log may hold: the payload and the signature of each token that a test mints.
//!
//! Each test process leaves its own in `target/gates/<test file>.secrets`; when all are done,
//! `tests/tests/logged.rs` looks for them in every byte that was logged.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex};

use crate::gate;

/// Shorter ones may stand in a log by chance.
pub const SHORTEST: usize = 16;

/// Notes parts of a token.
pub fn record(parts: &[&str]) {
    static FILE: LazyLock<Mutex<File>> = LazyLock::new(|| {
        let path = folder().join(format!("{}.secrets", gate::test_file()));
        std::fs::create_dir_all(folder()).unwrap();
        Mutex::new(File::create(path).unwrap())
    });
    let mut file = FILE.lock().unwrap();
    for part in parts.iter().filter(|part| part.len() >= SHORTEST) {
        writeln!(file, "{part}").unwrap();
    }
}

/// Where gates leave their logs, and tests their secrets.
pub fn folder() -> PathBuf {
    gate::root().join("target/gates")
}

/// The secrets of a file that [`record`] has left.
pub fn read(path: &Path) -> Vec<String> {
    std::fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}
