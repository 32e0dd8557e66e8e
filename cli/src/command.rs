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

/// The time of an option.
pub(crate) fn time(text: &str) -> Result<UnixSeconds, String> {
    let expected = "expected seconds since 1970, or a time such as `2026-11-25T12:00:00Z`";
    usher_verbs::time::parse(text).ok_or_else(|| expected.to_owned())
}

/// The clock.
#[expect(clippy::disallowed_methods, reason = "the CLI is one of the two places with a clock")]
pub(crate) fn clock() -> UnixSeconds {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    UnixSeconds(since.map(|elapsed| elapsed.as_secs()).unwrap_or_default())
}
