//! Usher verifies JWTs, authorizes requests and emits verified identities, in every Envoy.
//!
//! # The way of a request
//!
//! Read the modules in this order, and you have followed a request:
//!
//! 1. [`request`]: what the host tells about it. Bytes, not yet trusted.
//! 2. [`mod@decide`]: the way itself, a pure function:
//!    `decide(&Policy, &Request, now, &mut Session) -> Decision`.
//! 3. [`identity`]: **scrub**: no identity header of the client's gets through, in any spelling.
//! 4. [`path`]: the one form of the path that is matched and forwarded alike.
//! 5. [`token`]: **find** where a token stands; [`compact`]: read it, strictly.
//! 6. [`authenticate`]: **verify** and **check** it by the rules of its issuer, with the keys of
//!    [`jwks`], which [`remote`] refreshes, and an engine of [`crypto`]: the only source of a
//!    [`authenticate::Verified`]. Unless [`cache`] has it from an earlier request.
//! 7. [`authorize`]: ask the policies, in the language of [`claims`]: the only source of an
//!    [`authorize::Permit`].
//! 8. [`identity`] again: **emit** the verified identity. It takes a `Permit`.
//! 9. [`denial`] and [`reply`]: or else why not, and what the client is told; [`log`] and
//!    [`metrics`]: what the operator is told.
//!
//! [`trailers`] come later and lose what the headers lose. [`stream`] holds a request until it is decided, among the
//! [`pending`] ones where its keys are on their way.
//!
//! [`config`] makes the `Policy`, [`start`] tells of it; `filter` is the thin glue to the host, in the wasm build only.

// A release traps on overflow, and a trap is a denial of service: arithmetic says what it does.
#![warn(clippy::arithmetic_side_effects)]

pub mod request;

pub mod decide;

pub mod emit;
pub mod headers;
pub mod path;
pub mod policy;
pub mod scrub;
pub mod token;
pub mod trailers;

pub mod authenticate;
pub mod cache;
pub mod compact;
pub mod crypto;
pub mod jwks;
pub mod remote;

pub mod authorize;
pub mod claims;

pub mod denial;
pub mod log;
pub mod metrics;
pub mod reply;
pub mod start;

pub mod pending;
pub mod stream;

pub mod codec;
pub mod config;
mod hash;
mod heap;
mod lookup;
mod prefix_tree;

// INVARIANT (pure core): the host is known to this module alone.
#[cfg(target_arch = "wasm32")]
mod filter;

pub use config::Policy;
pub use decide::{Decision, Session, decide};
pub use request::Request;
