//! Where rules look for tokens.

use std::fmt;

/// A place where rules look for tokens (RequestAuthentication `fromHeaders`, `fromParams`,
/// `fromCookies`; Usher's `fromWebSocketProtocol`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenLocation {
    /// The cookie of this name.
    Cookie(String),
    /// Lines of this header (lower-case) that begin with the prefix.
    Header {
        /// Lower-case name.
        name: String,
        /// What precedes the token.
        prefix: Prefix,
    },
    /// The query parameter of this name, compared percent-decoded.
    Param(String),
    /// An entry of `sec-websocket-protocol` that begins with this prefix: a browser cannot set other
    /// headers on a WebSocket.
    WebSocketProtocol(String),
}

/// What precedes a token in a header line.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Prefix {
    /// The scheme `Bearer` in any case (RFC 9110 section 11.1), then white space.
    Bearer,
    /// The same for a `prefix` without the space: white space may follow, or the token directly.
    BearerOpen,
    /// Exactly this text; empty for no prefix.
    Exact(String),
}

/// The default places (docs/semantics.md, "Where tokens are read").
pub fn default_places() -> Vec<TokenLocation> {
    vec![
        TokenLocation::Header { name: "authorization".to_owned(), prefix: Prefix::Bearer },
        TokenLocation::Param("access_token".to_owned()),
    ]
}

impl Prefix {
    /// The form of `fromHeaders.prefix`: the text `Bearer` in any letter case, alone or with white space
    /// behind it, is compared as a scheme.
    pub fn new(text: &str) -> Self {
        if text.eq_ignore_ascii_case("bearer") {
            Self::BearerOpen
        } else if text.trim_end().eq_ignore_ascii_case("bearer") {
            Self::Bearer
        } else {
            Self::Exact(text.to_owned())
        }
    }
}

impl fmt::Display for TokenLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Header { name, .. } => write!(f, "header {name}"),
            Self::Param(name) => write!(f, "query {name}"),
            Self::WebSocketProtocol(_) => f.write_str("header sec-websocket-protocol"),
        }
    }
}
