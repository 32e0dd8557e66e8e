//! The built module, and programs around it: a real Envoy with Usher in it, above all. `make e2e` runs it,
//! `make e2e T=remote_keys` a part of it.
//!
//! A module starts its Envoys by itself and shares none with another; the harness keeps them apart, by the
//! modules' names in `target/envoys`, and by ports that it gives out once.

mod access_log;
mod advisories;
mod authz_in_envoy;
mod bounds;
mod claim_headers;
mod compare;
mod convert;
mod decision_log;
mod demo;
mod differential;
mod dodges;
mod engines;
mod envoy_examples;
mod explain;
mod fault;
mod filter_state;
mod getting_started;
mod harness;
mod identity;
mod istio_cases;
mod istio_manifests;
mod istio_remote_keys;
mod istio_sidecar;
mod key_metrics;
mod key_sets;
mod logged;
mod many_keys;
mod ml_dsa;
mod module;
mod native;
mod never_down;
mod observability;
mod oldest;
mod one_name;
mod peers;
mod pending;
mod policies;
mod prometheus;
mod real_issuer;
mod redacted;
mod refusals;
mod reload;
mod reloads;
mod remote_keys;
mod secrets;
mod tokens;
mod wrong_configuration;
