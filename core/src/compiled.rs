//! A configuration made ready: what is found by look-ups, and what is asked of the host.

use crate::authenticate::JwtRules;
use crate::authorize::{Needs, Policies};
use crate::cache;
use crate::policy::{
    Config, CorsPreflight, DecisionLog, Engine, Exemption, FilterState, Limits, MissingToken, Mode,
    Normalization, OnInvalidConfig, OnSpoof, PeerIdentity, Responses, SourceAddress,
    TokenCacheBounds, TokenLocation, identity_headers,
};
use crate::request::bounds;
use crate::scrub::ProtectedHeaders;

/// All that a decision depends on beside the request.
#[derive(Debug)]
pub struct Compiled {
    /// `jwtRules`.
    pub jwt: JwtRules,
    /// `authorizationPolicies`.
    pub authorization: Policies,
    /// The names that are Usher's to set: whatever a rule emits, and `identityHeaders.strip`.
    pub protected_headers: ProtectedHeaders,
    /// `identityHeaders.onSpoof`.
    pub on_spoof: OnSpoof,
    /// `exempt`, in file order.
    pub exempt: Vec<Exemption>,
    /// `missingToken`, or what it is where it is not given.
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
    /// The attributes with a bound that are read at all.
    pub reads: bounds::Reads,
    /// `mode`.
    pub mode: Mode,
    /// `filterState`.
    pub filter_state: FilterState,
    /// `signatureEngine`.
    pub signature_engine: Engine,
    /// `tokenCache`.
    pub token_cache: TokenCacheBounds,
    /// What cached tokens were verified under.
    pub generation: cache::Generation,
    /// `onInvalidConfig`.
    pub on_invalid_config: OnInvalidConfig,
    /// `instance`.
    pub instance: Option<String>,
    needs: Needs,
}

impl Compiled {
    /// Makes a configuration ready.
    pub fn new(config: Config) -> Self {
        let protected_headers =
            ProtectedHeaders::new(identity_headers(&config.jwt_rules, &config.strip));
        let needs = Needs::of(&config.authorization_policies);
        let mut reads = reads(&config.token_locations, &needs, &protected_headers);
        reads.path |= !config.exempt.is_empty();
        Self {
            jwt: JwtRules::new(
                config.jwt_rules,
                config.token_locations,
                config.limits.signature_checks,
            ),
            authorization: Policies::new(config.authorization_policies, config.match_scalar_claims),
            protected_headers,
            on_spoof: config.on_spoof,
            exempt: config.exempt,
            missing_token: config.missing_token,
            cors_preflight: config.cors_preflight,
            path_normalization: config.path_normalization,
            source_address: config.source_address,
            peer_identity: config.peer_identity,
            require_validated_peer: config.require_validated_peer,
            responses: config.responses,
            decision_log: config.decision_log,
            limits: config.limits,
            reads,
            mode: config.mode,
            filter_state: config.filter_state,
            signature_engine: config.signature_engine,
            token_cache: config.token_cache,
            generation: cache::Generation::new(),
            on_invalid_config: config.on_invalid_config,
            instance: config.instance,
            needs,
        }
    }

    /// What the host should tell about the connection: only what some rule reads.
    pub fn needs(&self) -> &Needs {
        &self.needs
    }
}

/// What is read of the attributes that have bounds.
fn reads(
    locations: &[TokenLocation],
    needs: &Needs,
    protected_headers: &ProtectedHeaders,
) -> bounds::Reads {
    let mut reads = bounds::Reads {
        captures: needs.captures,
        cookies: false,
        headers: needs.headers || !protected_headers.is_empty(),
        hosts: needs.hosts,
        path: needs.paths,
        peer: needs.peer,
        protocols: false,
        query: needs.query,
    };
    for location in locations {
        match location {
            TokenLocation::Cookie(_) => (reads.cookies, reads.headers) = (true, true),
            TokenLocation::Header { .. } => reads.headers = true,
            TokenLocation::WebSocketProtocol(_) => (reads.protocols, reads.headers) = (true, true),
            TokenLocation::Param(_) => reads.query = true,
        }
    }
    reads
}
