//! What `make run`, `make up` and tests of the whole stand on: the service of the guides, an issuer, an
//! Envoy with Usher before them, and a player that sends the example requests.
//!
//! [`serve`](serve::serve) starts service and issuer and writes the Envoy configuration with the issuer's
//! keys in it; [`player`] sends requests and compares what came back; [`story`] is the guides' chain of
//! services with token exchange. It issues tokens to anyone on this machine: nothing here is
//! for production.

pub mod access_log;
pub mod client;
pub mod envoy;
pub mod issuer;
pub mod player;
pub mod policies;
pub mod serve;
pub mod service;
pub mod site;
pub mod story;
pub mod table;
