//! A configuration made ready: indexes for look-ups, and what the host must supply.

use crate::authenticate::JwtRules;
use crate::authorize::{Policies, RequiredAttributes};
use crate::cache;
use crate::policy::{Config, Settings, TokenLocation, identity_headers};
use crate::request::bounds;
use crate::scrub::ProtectedHeaders;

/// Everything but the request that a decision depends on.
#[derive(Debug)]
pub struct Compiled {
    /// `jwtRules`.
    pub jwt: JwtRules,
    /// `authorizationPolicies`.
    pub authorization: Policies,
    /// The names that only Usher may set: every header that a rule emits, and
    /// `identityHeaders.strip`.
    pub protected_headers: ProtectedHeaders,
    /// The attributes with a bound that the configuration reads.
    pub reads: bounds::Reads,
    /// The generation that cached tokens were verified under.
    pub generation: cache::Generation,
    /// All other fields.
    pub settings: Settings,
    needs: RequiredAttributes,
}

impl Compiled {
    /// Makes a configuration ready.
    pub fn new(config: Config) -> Self {
        let protected_headers =
            ProtectedHeaders::new(identity_headers(&config.jwt_rules, &config.strip));
        let needs = RequiredAttributes::of(&config.authorization_policies);
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

    /// The attributes of the connection that the host should supply: only those that a rule reads.
    pub fn required_attributes(&self) -> &RequiredAttributes {
        &self.needs
    }
}

/// The attributes with a bound that are read.
fn reads(
    locations: &[TokenLocation],
    needs: &RequiredAttributes,
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
