//! Skipping a test: never silently.

use std::process::Command;

use crate::paths::root;

/// Says that `what` is not tested here, and why, by `tools/skip`: in the output of `cargo test`, and in the
/// summary of `make test`. What the print macros write, the test runner keeps to itself when a test passes.
///
/// # Panics
/// Where `USHER_REQUIRE_ALL` is set, and `tools/skips-allowed` does not name it.
#[track_caller]
pub fn skip(what: &str, why: &str) {
    // The runner names the thread by the test.
    let thread = std::thread::current();
    let test = thread.name().unwrap_or_default();
    let said = Command::new(root().join("tools/skip")).args([what, why, test]).status().unwrap();
    assert!(said.success(), "would be skipped: {what}: {why}");
}
