//! What is reported to the operator: a line and a count for each decision, and a line for each
//! configuration.

pub mod decision_log;
pub mod metrics;
pub mod summary;
