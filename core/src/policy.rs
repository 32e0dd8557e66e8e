//! The configuration as written: plain data that the steps use, and that depends on none of them.

pub(crate) mod authorization;
mod config;
mod emission;
mod jwt_rule;
mod keys;
mod location;
mod settings;
pub mod untried_keys;
mod url;

pub use crate::request::peer::PeerIdentity;
pub use authorization::{Action, AuthorizationPolicy, ExemptToken, Exemption};
pub use config::{Config, identity_headers};
pub use emission::{
    ClaimFormat, ClaimHeader, Emission, PayloadEncoding, PayloadHeader, TextEncoding,
};
pub use jwt_rule::{
    Expiration, Forward, Issuers, JwtRule, MatchSubject, RequiredClaim, normalize_audience,
    normalize_type,
};
pub use keys::{JwksLocation, Keys, Remote, Selection, Source, Terms};
pub use location::{Prefix, TokenLocation, default_places};
pub use settings::{
    CorsPreflight, DecisionLog, Details, Emit, Engine, FilterState, Format, HashKey, Limits,
    MissingToken, Mode, Normalization, OnInvalidConfig, OnSpoof, Rate, Responses, Settings,
    SourceAddress, TokenCacheBounds, TokenLimits,
};
pub use url::Location;
