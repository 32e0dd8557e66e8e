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

// From below, a layer a group, as `make lint-layers` prints them: none uses one behind it. The steps have the order of a
// request's way.
pub mod codec;
pub mod time;
pub mod hash;
mod lookup;
mod heap;
mod prefix_tree;

pub mod request;
pub mod claims;

pub mod crypto;
pub mod jwks;

pub mod denial;
pub mod headers;

pub mod policy;

pub mod config;

pub mod scrub;
pub mod path;
pub mod token;
pub mod compact;
pub mod remote;
pub mod authenticate;
pub mod cache;
pub mod authorize;
pub mod emit;
pub mod reply;

pub mod compiled;

pub mod load;
pub mod decide;

pub mod trailers;
pub mod observe;

pub use compiled::Compiled;
pub use decide::{Decision, WorkerState, decide};
pub use request::Request;
