//! What needs neither an Envoy nor vectors: the core's public functions by themselves, the tables of the standards,
//! and the documents. `make unit` runs it with the unit tests, in seconds.

mod advisories;
mod build;
mod cache_memory;
mod configuration_reference;
mod docs;
mod filter;
mod levels;
mod meanings;
mod published_keys;
mod reasons;
mod rfc_examples;
mod rules;
mod words;
