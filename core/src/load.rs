//! pluginConfig -> [`Compiled`], or its errors: [`config`] reads, [`Compiled::new`] makes ready.

use crate::codec::json::Value;
use crate::compiled::Compiled;
use crate::config::{self, InvalidConfig, Parsed};

/// A configuration that was read and made ready.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration that comes into force.
    pub policy: Compiled,
    /// What is valid, but perhaps not intended.
    pub warnings: Vec<InvalidConfig>,
}

/// Loads a pluginConfig as Envoy hands it over.
///
/// # Errors
/// All errors in it.
pub fn from_json(text: &[u8]) -> Result<Loaded, Vec<InvalidConfig>> {
    config::from_json(text).map(Loaded::from)
}

/// Loads a pluginConfig that is a JSON value already.
///
/// # Errors
/// All errors in it.
pub fn from_value(value: &Value) -> Result<Loaded, Vec<InvalidConfig>> {
    config::from_value(value).map(Loaded::from)
}

impl From<Parsed> for Loaded {
    fn from(Parsed { config, warnings }: Parsed) -> Self {
        Self { policy: Compiled::new(config), warnings }
    }
}
