//! Usher verifies JWTs, authorizes requests and emits verified identities, in every Envoy.
//!
//! This is the filter: it reads a request from its [`host`], has [`usher_core::decide()`] decide about it, and applies what
//! was decided. [`vm::Vm`] is what a host calls, for a plugin or a request. ARCHITECTURE.md has the way of a request and of
//! a configuration.

// A release traps on overflow, and a trap is a denial of service: arithmetic says what it does.
#![warn(clippy::arithmetic_side_effects)]

// From the highest layer down, as `make lint-layers` prints them from below.
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

// INVARIANT (pure core): the ABI is known to this module alone.
#[cfg(target_arch = "wasm32")]
mod proxy_wasm;
