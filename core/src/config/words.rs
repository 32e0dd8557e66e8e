//! The words in a configuration, each for one of several values.

use super::fields::Words;
use crate::policy::{
    ClaimFormat, CorsPreflight, Details, Emit, Engine, ExemptToken, Format, MissingToken, Mode,
    Normalization, OnInvalidConfig, OnSpoof, PayloadEncoding, TextEncoding,
};

macro_rules! words {
    ($($type:ty { $($word:literal => $value:expr),+ $(,)? })+) => {$(
        impl Words for $type {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $value)),+];
        }
    )+};
}

words! {
    CorsPreflight { "authorize" => Self::Authorize, "requireToken" => Self::RequireToken }
    Details { "full" => Self::Full, "terse" => Self::Terse }
    Emit { "none" => Self::None, "denied" => Self::Denied, "all" => Self::All }
    Engine { "auto" => Self::Auto, "portable" => Self::Portable }
    ExemptToken { "ignore" => Self::Ignore, "optional" => Self::Optional }
    Format { "text" => Self::Text, "problem+json" => Self::ProblemJson }
    Mode { "enforce" => Self::Enforce, "dryRun" => Self::DryRun }
    Normalization {
        "NONE" => Self::None,
        "BASE" => Self::Base,
        "MERGE_SLASHES" => Self::MergeSlashes,
        "DECODE_AND_MERGE_SLASHES" => Self::DecodeAndMergeSlashes,
    }
    OnInvalidConfig { "keepLast" => Self::KeepLast, "deny" => Self::Deny }
    OnSpoof { "strip" => Self::Strip, "reject" => Self::Reject }
    Option<ClaimFormat> {
        "csv" => Some(ClaimFormat::Csv),
        "space" => Some(ClaimFormat::Space),
        "json" => Some(ClaimFormat::Json),
        "repeat" => Some(ClaimFormat::Repeat),
    }
    Option<MissingToken> {
        "reject" => Some(MissingToken::Reject),
        "allow" => Some(MissingToken::Allow),
    }
    PayloadEncoding {
        "base64url" => Self::Base64Url,
        "base64url-padded" => Self::Base64UrlPadded,
        "base64" => Self::Base64,
        "json" => Self::Json,
    }
    TextEncoding { "percent" => Self::Percent, "raw" => Self::Raw, "base64url" => Self::Base64Url }
}
