//! What must hold for any input.
//!
//! A [`Target`] is an ordinary function of bytes, which panics if an invariant is violated. libFuzzer calls it with
//! bytes that it changes until they lead to new code (`make fuzz`); a test calls it with the inputs of
//! `corpus/<target>`, which include each that once broke it.
//!
//! What an input means depends on its first byte. Below 9 it is a plan: a case is drawn with the bytes that follow, so
//! that most cases have a meaning. Any other input is a case as a person writes it, which stays the same when the
//! drawing changes: a failure of a plan prints its case in that form.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::string_slice,
    clippy::unwrap_used,
    reason = "a target fails by a panic"
)]

mod authorize;
mod compact;
mod config;
mod convert;
mod decide;
mod draw;
#[expect(
    dead_code,
    unreachable_pub,
    reason = "it is the testkit's own file, whose users use the rest"
)]
#[path = "../../testkit/src/fake_host.rs"]
mod fake_host;
#[expect(
    dead_code,
    unreachable_pub,
    reason = "it is the testkit's own file, whose users use the rest"
)]
#[path = "../../testkit/src/fake_proxy.rs"]
mod fake_proxy;
mod filter;
mod json;
mod jwks;
mod mint;
mod path;
mod pieces;
mod remote;
mod subject;
mod words;
mod written;
mod yaml;

/// Something that runs on any input.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics if an invariant is violated.
    pub run: fn(&[u8]),
}

/// All of them. A new one needs a module, a row here, a folder in `corpus/`, and its name in the nightly workflow.
pub const TARGETS: &[Target] = &[
    Target { name: "authorize", run: authorize::run },
    Target { name: "compact", run: compact::run },
    Target { name: "config", run: config::run },
    Target { name: "convert", run: convert::run },
    Target { name: "decide", run: decide::run },
    Target { name: "filter", run: filter::run },
    Target { name: "json", run: json::run },
    Target { name: "jwks", run: jwks::run },
    Target { name: "path", run: path::run },
    Target { name: "pieces", run: pieces::run },
    Target { name: "remote", run: remote::run },
    Target { name: "yaml", run: yaml::run },
];

/// The target of this name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

#[cfg(test)]
mod tests;
