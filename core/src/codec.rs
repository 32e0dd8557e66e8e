//! Foreign formats: one reader of each, strict, bounded, and without a host.

pub(crate) mod decimal;
pub(crate) mod der;
pub mod hex;
pub mod json;
pub(crate) mod path_bytes;
pub(crate) mod pem;
pub(crate) mod percent;
pub mod problems;
pub(crate) mod protobuf;
pub(crate) mod query;
pub mod redaction;
