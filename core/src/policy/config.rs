//! A whole pluginConfig.

use super::{
    AuthorizationPolicy, CorsPreflight, DecisionLog, Engine, Exemption, FilterState, JwtRule,
    Limits, MissingToken, Mode, Normalization, OnInvalidConfig, OnSpoof, PeerIdentity, Responses,
    SourceAddress, TokenCacheBounds, TokenLocation,
};

/// What a pluginConfig says, in its order; of a field that is not given, what it is then.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// `jwtRules`.
    pub jwt_rules: Vec<JwtRule>,
    /// Every location that some rule reads, each once: rules name them by their place in this list.
    pub token_locations: Vec<TokenLocation>,
    /// `authorizationPolicies`.
    pub authorization_policies: Vec<AuthorizationPolicy>,
    /// `matchScalarClaims`.
    pub match_scalar_claims: bool,
    /// `identityHeaders.strip`, lower-case.
    pub strip: Vec<String>,
    /// `identityHeaders.onSpoof`.
    pub on_spoof: OnSpoof,
    /// `exempt`.
    pub exempt: Vec<Exemption>,
    /// `missingToken`.
    pub missing_token: MissingToken,
    /// `corsPreflight`.
    pub cors_preflight: CorsPreflight,
    /// `pathNormalization`.
    pub path_normalization: Normalization,
    /// `sourceAddress`.
    pub source_address: Option<SourceAddress>,
    /// `peerIdentity`.
    pub peer_identity: PeerIdentity,
    /// `requireValidatedPeer`.
    pub require_validated_peer: bool,
    /// `responses`.
    pub responses: Responses,
    /// `decisionLog`.
    pub decision_log: DecisionLog,
    /// `limits`.
    pub limits: Limits,
    /// `mode`.
    pub mode: Mode,
    /// `filterState`.
    pub filter_state: FilterState,
    /// `signatureEngine`.
    pub signature_engine: Engine,
    /// `tokenCache`.
    pub token_cache: TokenCacheBounds,
    /// `onInvalidConfig`.
    pub on_invalid_config: OnInvalidConfig,
    /// `instance`.
    pub instance: Option<String>,
}

/// The names of headers that are Usher's to set: whatever a rule emits, and `identityHeaders.strip`.
pub fn identity_headers<'c>(
    rules: &'c [JwtRule],
    strip: &'c [String],
) -> impl Iterator<Item = &'c str> {
    let emitted = rules.iter().flat_map(|rule| rule.emission.names());
    emitted.chain(strip.iter().map(String::as_str))
}
