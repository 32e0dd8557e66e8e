//! Why a request is refused: the closed list of reasons, and how each appears on the wire.
//!
//! One `match` for each question, without a wildcard arm: a new reason must be decided everywhere.
//! The codes are the same words in the log, the counter, the CLI, the tests and the docs.

use crate::request::bounds::Bound;

/// A denial, with the facts that explain it. See docs/reasons.md for each code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The rule does not offer the token's `alg`, `none` included.
    AlgorithmNotAllowed,
    /// None of the token's audiences is a configured one.
    AudienceMismatch,
    /// A required claim is absent or has another value.
    ClaimMismatch {
        /// The claim, as configured.
        claim: String,
    },
    /// The configuration in force is invalid.
    ConfigInvalid,
    /// A DENY rule matched.
    DeniedByRule,
    /// `exp` is absent and required.
    ExpirationMissing,
    /// The token requires an unsupported extension: `crit` or `b64`.
    HeaderUnsupported,
    /// The host failed to answer a call that the decision needs.
    HostFailed,
    /// The client sent an identity header, and the configuration refuses that.
    IdentitySpoofed,
    /// The headers to emit are larger than the limit.
    IdentityTooLarge,
    /// No rule is for the token's issuer.
    IssuerUnknown,
    /// No key of the rule fits the token's `kid` and `alg`.
    KeyUnknown,
    /// The remote key set has not been fetched yet, or is older than `maxStale`.
    KeysUnavailable {
        /// Seconds until it may be available.
        retry_after: u64,
    },
    /// `exp` is too long after `iat`.
    LifetimeTooLong,
    /// ALLOW policies are in force, and no rule of any of them matched.
    NoRuleMatched,
    /// The path holds NUL, is not UTF-8 before its `?`, or normalising it once more would change it.
    PathUnsafe,
    /// The request has more of an attribute than is accepted, and the configuration reads that
    /// attribute.
    RequestTooComplex(Bound),
    /// The signature is not made with the key.
    SignatureInvalid,
    /// The subject is not an allowed one.
    SubjectNotAllowed,
    /// Two different tokens in one request.
    TokenAmbiguous,
    /// `exp` has passed.
    TokenExpired,
    /// Not a signed JWT in compact form.
    TokenMalformed(Malformed),
    /// A token is required, and the request has none.
    TokenMissing,
    /// `nbf` or `iat` is in the future.
    TokenNotYetValid,
    /// `iat` is too long ago.
    TokenTooOld,
    /// The token is larger than the limit.
    TokenTooLarge,
    /// `typ` is not an allowed one.
    TypeNotAllowed,
}

/// What is wrong with a malformed token. The texts are Envoy's if Envoy has the case
/// (google/jwt_verify_lib src/status.cc).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// `alg` is absent or not a string.
    Alg,
    /// `aud` is neither a string nor a list of strings.
    Aud,
    /// Five parts: a JWE, encrypted, is not supported.
    Encrypted,
    /// `exp` is negative or above 2^64.
    ExpRange,
    /// `exp` is not a number.
    ExpType,
    /// Not three non-empty parts.
    Form,
    /// The header is not canonical unpadded base64url.
    HeaderBase64,
    /// The header is not a strict JSON object.
    HeaderJson,
    /// `iat` is negative or above 2^64.
    IatRange,
    /// `iat` is not a number.
    IatType,
    /// `iss` is not a string.
    Iss,
    /// `jti` is not a string.
    Jti,
    /// `kid` is not a string.
    Kid,
    /// `nbf` is negative or above 2^64.
    NbfRange,
    /// `nbf` is not a number.
    NbfType,
    /// The payload is not canonical unpadded base64url.
    PayloadBase64,
    /// The payload is not a strict JSON object.
    PayloadJson,
    /// The prefix of a header is in its value, but not at the beginning.
    Prefix,
    /// The signature is not canonical unpadded base64url.
    SignatureBase64,
    /// `sub` is not a string.
    Sub,
    /// `typ` is not a string.
    Typ,
}

impl Denial {
    /// The reason code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::AlgorithmNotAllowed => "algorithm_not_allowed",
            Self::AudienceMismatch => "audience_mismatch",
            Self::ClaimMismatch { .. } => "claim_mismatch",
            Self::ConfigInvalid => "config_invalid",
            Self::DeniedByRule => "denied_by_rule",
            Self::ExpirationMissing => "expiration_missing",
            Self::HeaderUnsupported => "header_unsupported",
            Self::HostFailed => "host_failed",
            Self::IdentitySpoofed => "identity_spoofed",
            Self::IdentityTooLarge => "identity_too_large",
            Self::IssuerUnknown => "issuer_unknown",
            Self::KeyUnknown => "key_unknown",
            Self::KeysUnavailable { .. } => "keys_unavailable",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::NoRuleMatched => "no_rule_matched",
            Self::PathUnsafe => "path_unsafe",
            Self::RequestTooComplex(_) => "request_too_complex",
            Self::SignatureInvalid => "signature_invalid",
            Self::SubjectNotAllowed => "subject_not_allowed",
            Self::TokenAmbiguous => "token_ambiguous",
            Self::TokenExpired => "token_expired",
            Self::TokenMalformed(_) => "token_malformed",
            Self::TokenMissing => "token_missing",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::TokenTooOld => "token_too_old",
            Self::TokenTooLarge => "token_too_large",
            Self::TypeNotAllowed => "type_not_allowed",
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        match self {
            Self::PathUnsafe | Self::RequestTooComplex(_) => 400,
            Self::AlgorithmNotAllowed
            | Self::AudienceMismatch
            | Self::ClaimMismatch { .. }
            | Self::ExpirationMissing
            | Self::HeaderUnsupported
            | Self::IssuerUnknown
            | Self::KeyUnknown
            | Self::LifetimeTooLong
            | Self::SignatureInvalid
            | Self::SubjectNotAllowed
            | Self::TokenAmbiguous
            | Self::TokenExpired
            | Self::TokenMalformed(_)
            | Self::TokenMissing
            | Self::TokenNotYetValid
            | Self::TokenTooOld
            | Self::TokenTooLarge
            | Self::TypeNotAllowed => 401,
            Self::DeniedByRule | Self::IdentitySpoofed | Self::NoRuleMatched => 403,
            Self::IdentityTooLarge => 431,
            Self::ConfigInvalid | Self::HostFailed | Self::KeysUnavailable { .. } => 503,
        }
    }

    /// The cause as text, if the reason has one: Envoy's text if Envoy has the case. `None`: there
    /// is only the standard phrase of the status.
    pub fn text(&self) -> Option<&'static str> {
        match self {
            Self::AlgorithmNotAllowed => Some("Jwt header [alg] is not supported"),
            Self::AudienceMismatch => Some("Audiences in Jwt are not allowed"),
            Self::DeniedByRule | Self::NoRuleMatched => Some("RBAC: access denied"),
            Self::IssuerUnknown => Some("Jwt issuer is not configured"),
            Self::KeyUnknown => Some("Jwks doesn't have key to match kid or alg from Jwt"),
            Self::KeysUnavailable { .. } => Some("Jwks remote fetch is failed"),
            Self::SignatureInvalid => Some("Jwt verification fails"),
            Self::TokenAmbiguous => Some("Found multiple Jwt tokens"),
            Self::TokenExpired => Some("Jwt is expired"),
            Self::TokenMalformed(malformed) => Some(malformed.text()),
            Self::TokenMissing => Some("Jwt is missing"),
            Self::TokenNotYetValid => Some("Jwt not yet valid"),
            Self::TokenTooLarge => Some("Jwt is too large"),
            Self::ClaimMismatch { .. }
            | Self::ConfigInvalid
            | Self::ExpirationMissing
            | Self::HeaderUnsupported
            | Self::HostFailed
            | Self::IdentitySpoofed
            | Self::IdentityTooLarge
            | Self::LifetimeTooLong
            | Self::PathUnsafe
            | Self::RequestTooComplex(_)
            | Self::SubjectNotAllowed
            | Self::TokenTooOld
            | Self::TypeNotAllowed => None,
        }
    }

    /// How far a token got before it was refused: with several rules, the denial with the most
    /// progress is reported. Reasons that no JWT rule gives are 0.
    pub fn progress(&self) -> u8 {
        match self {
            Self::TokenMissing
            | Self::TokenAmbiguous
            | Self::TokenTooLarge
            | Self::TokenMalformed(_)
            | Self::HeaderUnsupported
            | Self::ConfigInvalid
            | Self::DeniedByRule
            | Self::IdentitySpoofed
            | Self::IdentityTooLarge
            | Self::NoRuleMatched
            | Self::PathUnsafe
            | Self::RequestTooComplex(_) => 0,
            Self::IssuerUnknown => 1,
            Self::TypeNotAllowed => 2,
            Self::AlgorithmNotAllowed => 3,
            Self::KeyUnknown => 5,
            Self::SignatureInvalid => 6,
            Self::ExpirationMissing => 7,
            Self::TokenExpired | Self::TokenNotYetValid => 8,
            Self::LifetimeTooLong | Self::TokenTooOld => 9,
            Self::AudienceMismatch => 10,
            Self::SubjectNotAllowed => 11,
            Self::ClaimMismatch { .. } => 12,
            // Not a verdict: the rule might have accepted the token.
            Self::KeysUnavailable { .. } => 13,
            Self::HostFailed => 14,
        }
    }
}

impl Malformed {
    /// Envoy's text for the cause, or ours if Envoy does not check it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Alg => "Jwt header [alg] field is required and must be a string",
            Self::Aud => "Jwt payload [aud] field is not a string or string list",
            Self::Encrypted => "Jwt is encrypted (JWE), which is not supported",
            Self::ExpRange => "Jwt payload [exp] field is not a positive 64 bit integer",
            Self::ExpType => "Jwt payload [exp] field is not an integer",
            Self::Form => {
                "Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections"
            }
            Self::HeaderBase64 => "Jwt header is an invalid Base64url encoded",
            Self::HeaderJson => "Jwt header is an invalid JSON",
            Self::IatRange => "Jwt payload [iat] field is not a positive 64 bit integer",
            Self::IatType => "Jwt payload [iat] field is not an integer",
            Self::Iss => "Jwt payload [iss] field is not a string",
            Self::Jti => "Jwt payload [jti] field is not a string",
            Self::Kid => "Jwt header [kid] field is not a string",
            Self::NbfRange => "Jwt payload [nbf] field is not a positive 64 bit integer",
            Self::NbfType => "Jwt payload [nbf] field is not an integer",
            Self::PayloadBase64 => "Jwt payload is an invalid Base64url encoded",
            Self::PayloadJson => "Jwt payload is an invalid JSON",
            Self::Prefix => "Jwt is not at the beginning of its header",
            Self::SignatureBase64 => "Jwt signature is an invalid Base64url encoded",
            Self::Sub => "Jwt payload [sub] field is not a string",
            Self::Typ => "Jwt header [typ] field is not a string",
        }
    }
}

/// The standard phrase of a status that [`Denial::status`] can give (RFC 9110 section 15, RFC 6585).
pub fn phrase(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        431 => "Request Header Fields Too Large",
        503 => "Service Unavailable",
        _ => "Denied",
    }
}
