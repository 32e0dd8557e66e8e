//! Usher verifies JWTs, authorizes requests and emits verified identities, in every Envoy.
//!
//! This is the filter: it reads a request from its [`host`], calls [`usher_core::decide()`], and applies the decision.
//! A host calls [`vm::Vm`], for a plugin or a request. ARCHITECTURE.md describes how a request and a configuration are
//! processed.

// A release traps on overflow, and a trap is a denial of service: arithmetic must state how it overflows.
#![warn(clippy::arithmetic_side_effects)]

// From the highest layer down, the reverse of `make lint-layers`.
pub mod vm;

mod root;

mod stream;

mod observer;

mod active_config;

mod worker;

pub mod pending;

mod attributes;
mod engine;
mod key_sets;
mod stats;
mod timer;

#[cfg(feature = "fault")]
mod fault;
pub mod header_map;
pub mod host;
pub mod stage;

// INVARIANT (pure core): only this module uses the ABI.
#[cfg(target_arch = "wasm32")]
mod proxy_wasm;
