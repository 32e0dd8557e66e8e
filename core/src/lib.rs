//! Verifies JWTs, authorizes requests and emits verified identities: what Usher decides, without a host.
//!
//! ARCHITECTURE.md has the layers, and how a request and a configuration are processed through them. To follow a request
//! begin with [`mod@decide`], which takes the steps in their order:
//!
//! 1. [`scrub`]: no identity header of the client's gets through, in any spelling.
//! 2. [`path`]: the one form of the path that is matched and forwarded alike.
//! 3. [`token`]: where a token stands; [`compact`]: read it, strictly.
//! 4. [`authenticate`]: verify and check it by the rules of its issuer, with the keys of [`jwks`], which [`remote`]
//!    refreshes, and an engine of [`crypto`]: the only source of a [`authenticate::Verified`]. Unless [`cache`] has it from
//!    an earlier request.
//! 5. [`authorize`]: ask the policies, in the language of [`claims`]: the only source of an [`authorize::Permit`].
//! 6. [`emit`]: the verified identity. It takes a `Permit`.
//! 7. [`denial`] and [`reply`]: or else why not, and what the client is told; [`observe`]: what the operator is told.
//!
//! To follow a configuration begin with [`load`]: [`config`] reads a text into the model of [`policy`], and
//! [`Compiled::new`] makes that ready.

// A release traps on overflow, and a trap is a denial of service: arithmetic says what it does.
#![warn(clippy::arithmetic_side_effects)]

// From the highest layer down, as `make lint-layers` prints them from below.
pub mod observe;
pub mod trailers;

pub mod decide;
pub mod load;

pub mod compiled;

pub mod authenticate;
pub mod authorize;
pub mod cache;
pub mod compact;
pub mod emit;
pub mod path;
pub mod remote;
pub mod reply;
pub mod scrub;
pub mod token;

pub mod config;

pub mod policy;

pub mod denial;
pub mod headers;
pub mod request;

pub mod claims;
pub mod crypto;
pub mod jwks;

pub mod codec;
pub mod hash;
mod heap;
mod lookup;
mod prefix_tree;
pub mod time;

pub use compiled::Compiled;
pub use decide::{Decision, WorkerState, decide};
pub use request::Request;
