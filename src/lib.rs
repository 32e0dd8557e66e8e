//! Usher verifies JWTs, authorizes requests and emits verified identities, in every Envoy.
//!
//! This is the filter: it reads a request from the host, has [`usher_core::decide()`] decide about it, and applies what was
//! decided. ARCHITECTURE.md has the way of a request and of a configuration.

#![warn(clippy::arithmetic_side_effects)]

pub mod pending;
pub mod stream;

// INVARIANT (pure core): the host is known to this module alone.
#[cfg(target_arch = "wasm32")]
mod filter;
