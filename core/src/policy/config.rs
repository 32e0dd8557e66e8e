//! A whole pluginConfig.

use super::{AuthorizationPolicy, JwtRule, Settings, TokenLocation};

/// The content of a pluginConfig, in its order; for an absent field, its default.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `jwtRules`.
    pub jwt_rules: Vec<JwtRule>,
    /// Every location that a rule reads, each once: rules refer to them by their position in this
    /// list.
    pub token_locations: Vec<TokenLocation>,
    /// `authorizationPolicies`.
    pub authorization_policies: Vec<AuthorizationPolicy>,
    /// `matchScalarClaims`.
    pub match_scalar_claims: bool,
    /// `identityHeaders.strip`, lower-case.
    pub strip: Vec<String>,
    /// All other fields.
    pub settings: Settings,
}

/// The names of headers that only Usher may set: every header that a rule emits, and
/// `identityHeaders.strip`.
pub fn identity_headers<'c>(
    rules: &'c [JwtRule],
    strip: &'c [String],
) -> impl Iterator<Item = &'c str> {
    let emitted = rules.iter().flat_map(|rule| rule.emission.names());
    emitted.chain(strip.iter().map(String::as_str))
}
