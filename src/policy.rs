//! The configuration as it is written: data that the steps use as it is, and that knows none of them.

mod authorization;
mod emission;
mod settings;

pub use authorization::Action;
pub use emission::{
    ClaimFormat, ClaimHeader, Emission, PayloadEncoding, PayloadHeader, TextEncoding,
};
pub use settings::{
    CorsPreflight, DecisionLog, Details, Emit, Engine, ExemptToken, FilterState, Format, HashKey,
    Limits, MissingToken, Mode, Normalization, OnInvalidConfig, OnSpoof, PeerIdentity, Rate,
    Responses, SourceAddress, TokenCacheBounds, TokenLimits,
};
