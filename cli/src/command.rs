//! The verbs, one file each, and what several of them share.

pub(crate) mod check;
pub(crate) mod convert;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod jwks;
pub(crate) mod schema;
pub(crate) mod shell;
pub(crate) mod test;
pub(crate) mod token;

use clap::ValueEnum;
use usher_core::time::UnixSeconds;

/// How answers are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// For scripts: one JSON document a line.
    Json,
}

/// The clock.
#[expect(clippy::disallowed_methods, reason = "the CLI is one of the two places with a clock")]
pub(crate) fn clock() -> UnixSeconds {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixSeconds(since.map(|elapsed| elapsed.as_secs()).unwrap_or_default())
}
