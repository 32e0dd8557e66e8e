//! What the fields of a pluginConfig mean where a reader could doubt: each meaning a table of facts, on
//! the core alone. docs/configuration.md says the same in words.

mod answers;
mod keys;
mod evaluation;
mod places;
mod refused;
mod tokens;
mod whole;

use std::sync::LazyLock;

use usher_testkit::mint::Key;

/// The key of most rules here.
static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));
