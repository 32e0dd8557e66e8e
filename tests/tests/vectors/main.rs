//! Vectors through the core, without an Envoy: what Envoy, Istio's compiler and other libraries said of tokens,
//! requests, policies and paths; Wycheproof's signatures; and 100,000 random requests with spoofed headers. `make vectors`
//! runs them, in a minute or so.

mod authn_vectors;
mod authz_vectors;
mod protected_headers;
mod path_vectors;
mod token_vectors;
mod wycheproof;
