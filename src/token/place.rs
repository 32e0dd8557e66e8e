//! What a place is called.

use std::fmt;

use super::Place;

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::Header { name, .. } => write!(f, "header {name}"),
            Self::Param(name) => write!(f, "query {name}"),
            Self::WebSocketProtocol(_) => f.write_str("header sec-websocket-protocol"),
        }
    }
}
