//! The fields of a pluginConfig other than its rules and policies.

use super::{Exemption, PeerIdentity};

/// How requests are treated, apart from rules and policies; for an absent field, its default.
#[derive(Clone, Debug, Default)]
pub struct Settings {
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

/// `filterState`: whether access logs can show the decision.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterState {
    /// They can.
    #[default]
    Set,
    /// They cannot: each fact is a call to the host, and together they are a quarter of the cost of a
    /// request with a cached token.
    Unset,
}

/// `signatureEngine`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The host's if it passed the known-answer test, else the portable one.
    #[default]
    Auto,
    /// The module's own.
    Portable,
}

/// `mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Everything except the refusals, which are only reported.
    DryRun,
    /// Refusals refuse.
    #[default]
    Enforce,
}

/// `missingToken`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingToken {
    /// Anonymous requests continue to the policies.
    Allow,
    /// 401 `token_missing`.
    #[default]
    Reject,
}

/// `identityHeaders.onSpoof`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnSpoof {
    /// 403 `identity_spoofed`.
    Reject,
    /// The spoofed header is removed and the request continues.
    #[default]
    Strip,
}

/// `sourceAddress`: where the TCP peer's address comes from (docs/semantics.md, "What a plugin can see").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceAddress {
    /// Envoy's `source.address`, if the operator guarantees that no header can change it.
    Connection,
    /// The filter-state key that a `set_filter_state` filter ahead sets.
    FilterState(String),
}

/// `corsPreflight`: the requirement for a CORS preflight, which a browser sends without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CorsPreflight {
    /// The policies, as for a request without identity.
    #[default]
    Authorize,
    /// The requirement for every other request.
    RequireToken,
}

/// `onInvalidConfig`: what is in force after an invalid configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnInvalidConfig {
    /// No configuration: every request is refused.
    Deny,
    /// The last good configuration, if there is one.
    #[default]
    KeepLast,
}

/// `limits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How a token is read.
    pub token: TokenLimits,
    /// Names and values of all emitted headers together, in bytes.
    pub emitted_bytes: usize,
    /// Signature checks of one token over all rules.
    pub signature_checks: usize,
}

impl Default for Limits {
    /// Emitted headers: half of Envoy's limit for all request headers (60 KiB, HttpConnectionManager
    /// `max_request_headers_kb`). Signature checks: four times the largest number of keys without `kid`
    /// seen at an issuer; one check with Envoy's own cryptography costs 30 to 100 microseconds, so that
    /// no token costs more than 3 milliseconds.
    fn default() -> Self {
        Self { token: TokenLimits::default(), emitted_bytes: 32_768, signature_checks: 32 }
    }
}

/// Limits on reading a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenLimits {
    /// Bytes of the whole token (`limits.tokenBytes`).
    pub token_bytes: usize,
    /// Levels of objects and arrays in header and payload (`limits.jsonDepth`).
    pub json_depth: usize,
}

impl Default for TokenLimits {
    /// 16 KiB is the largest single header that common servers accept (Tomcat, nginx: 8 KiB; Go: 1 MiB);
    /// 32 levels are twice the deepest nesting seen in an identity provider's claims.
    fn default() -> Self {
        Self { token_bytes: 16_384, json_depth: 32 }
    }
}

/// `decisionLog`.
#[derive(Clone, Debug, PartialEq)]
pub struct DecisionLog {
    /// Which decisions are logged.
    pub emit: Emit,
    /// The fraction of allowed decisions, from 0 to 1.
    pub sample: f64,
    /// The number of other decisions in a second, in each worker.
    pub refusals_per_second: Rate,
    /// The claims that a line may contain.
    pub claims: Vec<String>,
    /// Whether claims are shown as hashes.
    pub hash: Option<HashKey>,
}

impl Default for DecisionLog {
    fn default() -> Self {
        let (claims, rate) = (vec!["sub".to_owned()], Rate::default());
        Self { emit: Emit::Denied, sample: 1.0, refusals_per_second: rate, claims, hash: None }
    }
}

/// `decisionLog.hashKey`: the key for the hashes of claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HashKey {
    /// The configured text, so that hashes are the same everywhere.
    Given(Vec<u8>),
    /// A random one that lives as long as the proxy does.
    OfProcess,
}

/// `decisionLog.emit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emit {
    /// Every decision.
    All,
    /// Refusals only.
    Denied,
    /// None.
    None,
}

/// `decisionLog.refusalsPerSecond`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// This many lines a second, in addition to the first ones.
    PerSecond(u32),
    /// No limit.
    Unlimited,
}

impl Default for Rate {
    /// Enough to see who is refused, and at most 12 KiB a second in a usual configuration.
    fn default() -> Self {
        Self::PerSecond(50)
    }
}

/// `responses`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Responses {
    /// `format`.
    pub format: Format,
    /// `details`.
    pub details: Details,
    /// `challengeAnonymous`: a denial by policies for a request without identity is 401 `token_missing`
    /// with a challenge.
    pub challenge_anonymous: bool,
}

/// `responses.format`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// RFC 9457.
    ProblemJson,
    /// One line of plain text, as Envoy does it.
    Text,
}

/// `responses.details`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Details {
    /// Body and challenge name the cause.
    Full,
    /// Body and challenge hold the status's standard phrase only.
    Terse,
}

impl Default for Responses {
    fn default() -> Self {
        Self { format: Format::Text, details: Details::Full, challenge_anonymous: false }
    }
}

/// `tokenCache`: the limits of the cache. 0 entries disable it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenCacheBounds {
    /// Tokens.
    pub entries: usize,
    /// The memory that they take together.
    pub bytes: usize,
}

impl Default for TokenCacheBounds {
    /// The memory of 1024 tokens of 1 KiB with flat claims, and half as much again.
    fn default() -> Self {
        Self { entries: 1024, bytes: 8 << 20 }
    }
}

/// `pathNormalization` (Istio MeshConfig `pathNormalization.normalization`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Normalization {
    /// Percent codes of unreserved characters, backslashes and dot segments.
    #[default]
    Base,
    /// As `MergeSlashes`, encoded slashes and backslashes first of all.
    DecodeAndMergeSlashes,
    /// As `Base`, then runs of slashes.
    MergeSlashes,
    /// No normalization.
    None,
}
