//! The headers that a rule emits for a token that it accepted.

use crate::claims::ClaimName;

/// The headers that a rule emits for a token that it accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emission {
    /// `outputPayloadToHeader` and its options.
    pub payload: Option<PayloadHeader>,
    /// `outputClaimToHeaders`.
    pub claims: Vec<ClaimHeader>,
}

impl Emission {
    /// Lower-case names of all headers that it may emit.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let payload = self.payload.iter().map(|header| header.name.as_str());
        payload.chain(self.claims.iter().map(|header| header.name.as_str()))
    }
}

/// A header that carries the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadHeader {
    /// Lower-case name.
    pub name: String,
    /// `outputPayloadEncoding`.
    pub encoding: PayloadEncoding,
    /// `outputPayloadClaims`: only these top-level claims; `None`: the payload as signed.
    pub claims: Option<Vec<String>>,
}

/// A header that carries one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimHeader {
    /// Lower-case name.
    pub name: String,
    /// The claim.
    pub claim: ClaimName,
    /// How a list is written; a text is then a list too; `None`: a text is not a list.
    pub format: Option<ClaimFormat>,
    /// How bytes that a header cannot hold are written.
    pub encoding: TextEncoding,
}

/// `outputPayloadEncoding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PayloadEncoding {
    /// RFC 4648 section 4, padded.
    Base64,
    /// RFC 4648 section 5, unpadded: the payload's own bytes, as in Istio.
    #[default]
    Base64Url,
    /// RFC 4648 section 5, padded.
    Base64UrlPadded,
    /// One line of JSON, non-ASCII as `\u` escapes.
    Json,
}

/// `outputClaimToHeaders.format`: how a list is written; a text is then a list of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClaimFormat {
    /// Items joined by commas.
    Csv,
    /// JSON, for any value: a text is quoted too, so that `true` and `"true"` differ.
    Json,
    /// A header line for each item.
    Repeat,
    /// Items joined by spaces.
    Space,
}

/// `outputClaimToHeaders.encoding`: how bytes other than printable ASCII are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TextEncoding {
    /// The whole text as unpadded base64url.
    Base64Url,
    /// Percent codes for `%`, control and non-ASCII bytes and white space at the ends; in an item of a list
    /// for its separator too.
    #[default]
    Percent,
    /// UTF-8, with percent codes only for control bytes, and in an item of a list for `%` and its separator. A
    /// text with white space at an end is not written at all.
    Raw,
}
