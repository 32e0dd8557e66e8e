//! The attributes that rules can use.

use crate::claims::ClaimPath;

/// An attribute that has texts: none if it is absent, several if a request can repeat it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Attribute {
    /// Usher's own: subject of the outermost `act` (RFC 8693 section 4.1).
    Actor,
    /// A claim: a string, or each string of a list.
    Claim(ClaimPath),
    /// Each line of a header.
    Header(String),
    /// `:method`.
    Method,
    /// Usher's own: the rule that verified the token.
    Provider,
    /// Usher's own: a query parameter, percent-decoded.
    Query(String),
    /// Usher's own: each scope.
    Scope,
    /// TLS server name, empty without one.
    Sni,
}

/// An address of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Address {
    /// `destination.ip`.
    Destination,
    /// `remote.ip`, `remoteIpBlocks`.
    Remote,
    /// `source.ip`, `ipBlocks`.
    Source,
}

impl Attribute {
    /// Whether a client writes it, and may repeat it; the others come from the token.
    pub(crate) fn is_written_by_client(&self) -> bool {
        match self {
            Self::Header(_) | Self::Method | Self::Query(_) | Self::Sni => true,
            Self::Actor | Self::Claim(_) | Self::Provider | Self::Scope => false,
        }
    }
}
