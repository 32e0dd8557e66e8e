//! What the command `usher` does, without a command line: each verb is a function of bytes, the time and options that
//! returns its answer. Nothing here reads a file, asks a server or has a clock, so that it runs in a browser too
//! (`make lint` builds it for wasm32-unknown-unknown).
//!
//! A file's text becomes [`input`] documents, and those the configurations and manifests of [`mod@config`]; a verb
//! decides with [`usher_core`], the code that runs in the filter.

pub mod time;
pub mod input;
pub mod output;
pub mod report;
mod envoy;
mod manifest;
pub mod config;
pub mod request;
pub mod answer;
mod recorded;
pub mod key;
pub mod jwks;
pub mod schema;
mod lint;

pub mod check;
pub mod convert;
pub mod load;
pub mod diff;
pub mod explain;
pub mod test;
pub mod token;
