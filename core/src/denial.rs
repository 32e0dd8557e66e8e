//! Why a request is refused: the closed list of reasons, and what each one says on the wire.
//!
//! One `match` a question, none with a wildcard arm: a new reason must be decided everywhere. The
//! codes are the same words in the log, the counter, the CLI, the tests and the docs.

use crate::request::bounds::Bound;

/// A refusal, with the facts that explain it. See docs/reasons.md for each code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The rule does not offer the token's `alg`, `none` included.
    AlgorithmNotAllowed,
    /// No token audience is a configured one.
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
    /// The token asks for what is not supported: `crit` or `b64`.
    HeaderUnsupported,
    /// The host did not answer what the decision needs.
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
        /// Seconds until it may be there.
        retry_after: u64,
    },
    /// `exp` is too long after `iat`.
    LifetimeTooLong,
    /// ALLOW policies are in force, and no rule of any of them matched.
    NoRuleMatched,
    /// The path holds NUL, is not UTF-8 before its `?`, or normalising it once more would change it.
    PathUnsafe,
    /// The request has more of an attribute that the configuration reads than is taken.
    RequestTooComplex(Bound),
    /// The signature is not the key's.
    SignatureInvalid,
    /// The subject is none of the allowed.
    SubjectNotAllowed,
    /// Two different tokens in one request.
    TokenAmbiguous,
    /// `exp` has passed.
    TokenExpired,
    /// Not a signed JWT in compact form.
    TokenMalformed(Malformed),
    /// A token is needed and none is there.
    TokenMissing,
    /// `nbf` or `iat` is in the future.
    TokenNotYetValid,
    /// `iat` is too long ago.
    TokenTooOld,
    /// The token is larger than the limit.
    TokenTooLarge,
    /// `typ` is none of the allowed.
    TypeNotAllowed,
}

/// What exactly is wrong with a malformed token. The texts are Envoy's where Envoy has the case
/// (google/jwt_verify_lib src/status.cc).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// `alg` is absent or no string.
    Alg,
    /// `aud` is neither a string nor a list of strings.
    Aud,
    /// Five parts: a JWE, encrypted, is not supported.
    Encrypted,
    /// `exp` is negative or above 2^64.
    ExpRange,
    /// `exp` is no number.
    ExpType,
    /// Not three non-empty parts.
    Form,
    /// The header is no canonical unpadded base64url.
    HeaderBase64,
    /// The header is no strict JSON object.
    HeaderJson,
    /// `iat` is negative or above 2^64.
    IatRange,
    /// `iat` is no number.
    IatType,
    /// `iss` is no string.
    Iss,
    /// `jti` is no string.
    Jti,
    /// `kid` is no string.
    Kid,
    /// `nbf` is negative or above 2^64.
    NbfRange,
    /// `nbf` is no number.
    NbfType,
    /// The payload is no canonical unpadded base64url.
    PayloadBase64,
    /// The payload is no strict JSON object.
    PayloadJson,
    /// The prefix of a header is in its value, but not where it begins.
    Prefix,
    /// The signature is no canonical unpadded base64url.
    SignatureBase64,
    /// `sub` is no string.
    Sub,
    /// `typ` is no string.
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

    /// The cause in words, where the reason has some: Envoy's text where Envoy has the case. `None`
    /// means that the status's standard phrase is all there is to say.
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

    /// How far a token came before it was refused; of several rules' denials the furthest is told.
    /// Reasons that no rule for a token can give are 0.
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
            // No verdict: the rule might have accepted.
            Self::KeysUnavailable { .. } => 13,
            Self::HostFailed => 14,
        }
    }
}

impl Malformed {
    /// Envoy's text for the cause, or ours where Envoy does not look.
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
