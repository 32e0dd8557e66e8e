//! A request from the host: header bytes, the connection's peer, addresses, metadata.
//!
//! Plain data. The filter fills it from Envoy, `usher explain` from arguments or a file, a test from
//! literals. Nothing in it is trusted yet; header names are in lower case, as Envoy delivers them.

use std::net::IpAddr;

pub mod bounds;
pub mod certificate;
pub mod metadata;
pub mod peer;

pub use peer::Peer;

/// One request, before any decision about it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// Header lines in order of arrival, with pseudo headers (`:path`, ..). Names in lower case.
    pub headers: Vec<(Vec<u8>, Vec<u8>)>,
    /// The attributes of the connection. Only those in [`crate::Compiled::required_attributes`] are set.
    pub connection: Connection,
    /// Whether the headers end the request: neither body nor trailers follow.
    pub end_of_stream: bool,
}

/// The downstream connection and what other filters left on the stream.
#[derive(Clone, Debug, Default)]
pub struct Connection {
    /// The peer, as far as the configuration's `peerIdentity` finds it; see [`peer::find`].
    pub peer: Option<Peer>,
    /// TLS server name (Envoy `connection.requested_server_name`), empty without one.
    pub sni: String,
    /// The TCP peer, from the source that the configuration's `sourceAddress` names; never from a
    /// header.
    pub source_ip: Option<IpAddr>,
    /// The client address as the proxy trusts `x-forwarded-for` (Envoy `source.address`).
    pub remote_ip: Option<IpAddr>,
    /// Local address of the connection (Envoy `destination.address`).
    pub destination_ip: Option<IpAddr>,
    /// Local port of the connection (Envoy `destination.port`).
    pub destination_port: Option<u16>,
    /// Dynamic metadata that rules read, see [`Metadatum`].
    pub metadata: Vec<Metadatum>,
}

/// Dynamic metadata `filter`/`key` (one level), as far as rules can see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadatum {
    /// Metadata namespace, such as `envoy.filters.http.header_to_metadata`.
    pub filter: String,
    /// Key in it.
    pub key: String,
    /// Its value.
    pub value: MetadataValue,
}

/// The two shapes of metadata that an `experimental.envoy.filters.*` condition can match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataValue {
    /// A list; elements other than strings are left out.
    List(Vec<String>),
    /// A string.
    Text(String),
}

impl Request {
    /// Every line of header `name` (lower-case), in order.
    pub fn lines<'r>(&'r self, name: &str) -> impl Iterator<Item = &'r [u8]> {
        self.headers
            .iter()
            .filter(move |(n, _)| n == name.as_bytes())
            .map(|(_, value)| value.as_slice())
    }

    /// The first line of header `name` (lower-case).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(n, _)| n == name.as_bytes()).map(|(_, value)| value.as_slice())
    }

    /// `:path`: path and query, as the host has normalised it so far.
    pub fn path(&self) -> Option<&[u8]> {
        self.header(":path")
    }

    /// `:method`.
    pub fn method(&self) -> Option<&[u8]> {
        self.header(":method")
    }

    /// `:authority`, port included.
    pub fn authority(&self) -> Option<&[u8]> {
        self.header(":authority")
    }

    /// A CORS preflight: `OPTIONS` with a non-empty `origin` and `access-control-request-method`.
    /// Source: Envoy jwt_authn/filter.cc (isCorsPreflightRequest). Stricter: a browser's preflight has
    /// no body (Fetch section 4.8), and one with a body could do anything that a POST does.
    pub fn is_cors_preflight(&self) -> bool {
        let filled = |name| self.header(name).is_some_and(|value| !value.is_empty());
        self.end_of_stream
            && self.method() == Some(b"OPTIONS")
            && filled("origin")
            && filled("access-control-request-method")
    }

    /// A gRPC request: content-type `application/grpc`, alone or followed by `+..` or `;..`.
    /// Source: Envoy source/common/grpc/common.cc (hasGrpcContentType).
    pub fn is_grpc(&self) -> bool {
        self.header("content-type")
            .and_then(|value| value.strip_prefix(b"application/grpc"))
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    }
}
