//! Usher verifies JWTs, authorizes requests and emits verified identities, in every Envoy.
//!
//! This is the filter: it reads a request from its [`host`], calls [`usher_core::decide()`], and applies the decision.
//! A host calls [`vm::Vm`], for a plugin or a request. ARCHITECTURE.md describes how a request and a configuration are
//! processed.

// A release traps on overflow, and a trap is a denial of service: arithmetic must state how it overflows.
#![warn(clippy::arithmetic_side_effects)]

// From below, a layer a group, as `make lint-layers` prints them: none uses one behind it.
pub mod host;

#[cfg(feature = "fault")]
mod fault;
pub mod stage;
pub mod header_map;

mod attributes;
mod stats;
mod timer;
mod engine;
mod key_sets;

pub mod pending;

mod worker;

mod active_config;

mod observer;

mod stream;

mod root;

pub mod vm;

// INVARIANT (pure core): only this module uses the ABI.
#[cfg(target_arch = "wasm32")]
mod proxy_wasm;
