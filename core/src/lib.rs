//! Verifies JWTs, authorizes requests and emits verified identities: what Usher decides, without a host.
//!
//! ARCHITECTURE.md has the layers, and how a request and a configuration are processed through them. To follow a request
//! begin with [`mod@decide`], which takes the steps in their order:
//!
//! 1. [`scrub`]: removes the client's identity headers, in any spelling.
//! 2. [`path`]: normalizes the path, which is matched and forwarded in this form.
//! 3. [`token`]: finds the token; [`compact`]: parses it, strictly.
//! 4. [`authenticate`]: verifies it by the rules of its issuer, with the keys of [`jwks`], which [`remote`] refreshes, and
//!    an engine of [`crypto`]: the only source of a [`authenticate::Verified`]. Skipped if [`cache`] has it from an earlier
//!    request.
//! 5. [`authorize`]: evaluates the policies, with the paths of [`claims`]: the only source of an [`authorize::Permit`].
//! 6. [`emit`]: the headers of the verified identity. It takes a `Permit`.
//! 7. [`denial`] and [`reply`]: otherwise the reason, and the reply to the client; [`observe`]: the report to the operator.
//!
//! To follow a configuration begin with [`load`]: [`config`] reads a text into the model of [`policy`], and
//! [`Compiled::new`] makes that ready.

// A release traps on overflow, and a trap is a denial of service: arithmetic must state how it overflows.
#![warn(clippy::arithmetic_side_effects)]

// From the highest layer down, the reverse of `make lint-layers`.
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
