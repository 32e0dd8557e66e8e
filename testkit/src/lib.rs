//! The harness of the end-to-end tests: hostile clients, an upstream that records what arrived, and
//! a real Envoy with Usher in between.
//!
//! A module of tests starts one [`envoy::Envoy`] with a listener per configuration, shares it among its
//! tests, and asserts on a [`client::Reply`]: what the client got, what the service saw, and which
//! reason Envoy's access log names.
//!
//! `USHER_WASM`, `ENVOY` and `ENVOY_OLDEST` name the module and the Envoys, which otherwise are where
//! `make wasm`, `make envoy` and `make envoy-oldest` put them. With `USHER_REQUIRE_ALL=1`, a test
//! that would be [skipped](skip()) fails. Each Envoy leaves its configuration and logs in
//! `target/envoys/<module of tests>-<n>`.

pub mod bootstrap;
pub mod client;
pub mod compare;
pub mod config;
pub mod dashboard;
pub mod envoy;
pub mod fake_host;
pub mod fake_proxy;
pub mod foreign;
pub mod glewlwyd;
pub mod istio;
pub mod jwt_authn;
pub mod key_server;
pub mod log;
pub mod mint;
pub mod paths;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod rbac;
pub mod secrets;
pub mod sidecar;
mod skip;
pub mod spelling;
pub mod stats;
pub mod tls;
pub mod upstream;
pub mod vectors;
pub mod verdict;

use std::sync::LazyLock;

pub use skip::skip;

/// Where the upstream and the HTTP/2 clients run. It outlives every single test, as the shared
/// [`envoy::Envoy`]s do.
pub(crate) static RUNTIME: LazyLock<tokio::runtime::Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});
