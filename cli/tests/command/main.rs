//! The `usher` command as it is called: its answers, the pages that show them, and what it says of vectors and manifests.

mod action;
mod authorization_errors;
mod authz_vectors;
mod broken;
mod common;
mod converted;
mod docs;
mod explain;
mod golden;
mod istio_manifests;
mod istio_validation;
mod jwks_fetch;
mod schema;
mod shapes;
mod shell;
mod token;
