//! What went wrong elsewhere, as tests: each named for its lesson, the advisory in the comment.
//!
//! These are the whole story in the core, which the filter calls; `e2e/advisories.rs` holds those in which
//! the host has a part. What concerns paths and policies alone is in the tests of those.

mod algorithms;
mod claims;
mod configuration;
mod headers;
mod signatures;

use std::sync::LazyLock;

use usher_testkit::mint::Key;

/// The key of most rules here.
static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));
/// The attacker's key.
static ATTACKER: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "attacker"));
