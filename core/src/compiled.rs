//! A configuration made ready: what is found by look-ups, and what is asked of the host.

use crate::authenticate::JwtRules;
use crate::authorize::{Needs, Policies};
use crate::cache;
use crate::policy::{Config, Settings, TokenLocation, identity_headers};
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
    /// The attributes with a bound that are read at all.
    pub reads: bounds::Reads,
    /// What cached tokens were verified under.
    pub generation: cache::Generation,
    /// All other fields.
    pub settings: Settings,
    needs: Needs,
}

impl Compiled {
    /// Makes a configuration ready.
    pub fn new(config: Config) -> Self {
        let protected_headers =
            ProtectedHeaders::new(identity_headers(&config.jwt_rules, &config.strip));
        let needs = Needs::of(&config.authorization_policies);
        let mut reads = reads(&config.token_locations, &needs, &protected_headers);
        reads.path |= !config.settings.exempt.is_empty();
        Self {
            jwt: JwtRules::new(
                config.jwt_rules,
                config.token_locations,
                config.settings.limits.signature_checks,
            ),
            authorization: Policies::new(config.authorization_policies, config.match_scalar_claims),
            protected_headers,
            reads,
            generation: cache::Generation::new(),
            settings: config.settings,
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
