//! Requests as people and scripts write them -> [`Request`] as from a host: from a curl command, or one JSON object a
//! line with the fields of the test vectors (`tests/vectors/authz`).

mod curl;
mod shell;

pub use curl::line as from_curl;

use std::collections::BTreeMap;
use std::net::IpAddr;

use anyhow::{Context as _, bail};
use serde::Deserialize;
use usher_core::codec::json::Value;
use usher_core::codec::problems::did_you_mean;
use usher_core::request::peer::{Certainty, Peer};
use usher_core::request::{Connection, MetadataValue, Metadatum, Request};

/// The peer of this SPIFFE id, with or without `spiffe://`.
pub fn peer(principal: &str) -> PeerLine {
    let id = principal.strip_prefix("spiffe://").unwrap_or(principal);
    PeerLine { uri_sans: Some(vec![format!("spiffe://{id}")]), ..PeerLine::default() }
}

/// `name: value`, the value without the white space around it (RFC 9110 section 5.5).
///
/// # Errors
/// There is no colon, or no name.
pub fn header(line: &str) -> anyhow::Result<(String, String)> {
    match line.split_once(':') {
        Some((name, value)) if !name.trim().is_empty() => {
            Ok((name.trim().to_owned(), value.trim().to_owned()))
        }
        _ => bail!("expected `name: value` for --header, found `{line}`"),
    }
}

/// A request as a JSON object: `method` and `path`, all else optional. Fields about a request rather
/// than in it (`claims`, `expect`, `name`) are ignored; any other is an error.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Line {
    /// `:method`.
    pub method: String,
    /// `:path`, with its query.
    pub path: String,
    /// `:authority`, port included.
    pub authority: Option<String>,
    /// Names and values, in order.
    pub headers: Option<Vec<(String, String)>>,
    /// Whether the connection is TLS.
    pub tls: Option<bool>,
    /// The server name of the TLS handshake.
    pub sni: Option<String>,
    /// The peer's certificate.
    pub peer: Option<PeerLine>,
    /// The TCP peer.
    pub source_ip: Option<IpAddr>,
    /// The original client.
    pub remote_ip: Option<IpAddr>,
    /// The connection's local address.
    pub destination_ip: Option<IpAddr>,
    /// Its port.
    pub destination_port: Option<u16>,
    /// Dynamic metadata, by filter and key.
    pub metadata: Option<BTreeMap<String, BTreeMap<String, Value>>>,
    /// Whether a body follows.
    pub body: Option<bool>,
}

/// Names of the peer, from any source of `peerIdentity`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerLine {
    /// URI SANs, `spiffe://` included.
    pub uri_sans: Option<Vec<String>>,
    /// DNS SANs.
    pub dns_sans: Option<Vec<String>>,
    /// The subject's RFC 2253 form.
    pub subject: Option<String>,
    /// Whether the names may refuse but not let in: a certificate that was not validated, where
    /// `requireValidatedPeer` is true, or one of several names in filter state.
    pub doubtful: Option<bool>,
}

/// Reads one line of a file of requests.
///
/// # Errors
/// Not a JSON object, or a field of the wrong type.
pub fn from_line(line: &str) -> anyhow::Result<Request> {
    let expected = "expected a request as a JSON object";
    let value: Value = serde_json::from_str(line).context(expected)?;
    from_value(value)
}

/// The fields of a [`Line`], and those about a request rather than in it.
const FIELDS: [&str; 13] = [
    "authority",
    "body",
    "destination_ip",
    "destination_port",
    "headers",
    "metadata",
    "method",
    "path",
    "peer",
    "remote_ip",
    "sni",
    "source_ip",
    "tls",
];
const ABOUT: [&str; 4] = ["claims", "expect", "name", "path_seen"];

/// Reads the JSON object of a request.
pub(crate) fn from_value(value: Value) -> anyhow::Result<Request> {
    if value.get("decision").is_some() {
        bail!("this is a line of the decision log, not a request: `--log` decides it again");
    }
    let names = value.as_object().into_iter().flat_map(|members| members.keys());
    let mut unknown =
        names.filter(|name| !FIELDS.contains(&name.as_str()) && !ABOUT.contains(&name.as_str()));
    if let Some(name) = unknown.next() {
        bail!("unknown field `{name}` of a request{}", did_you_mean(name, FIELDS.into_iter()));
    }
    let line: Line =
        serde_json::from_value(value).context("expected a request as a JSON object")?;
    line.request()
}

impl Line {
    /// The request as a host would supply it.
    ///
    /// # Errors
    /// Metadata of a type that no rule could match.
    pub fn request(self) -> anyhow::Result<Request> {
        let scheme = if self.tls.unwrap_or_default() { "https" } else { "http" };
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut push = |name: &str, value: String| {
            headers.push((name.to_ascii_lowercase().into_bytes(), value.into_bytes()));
        };
        let mut lines = self.headers.unwrap_or_default();
        // Envoy passes `host` as `:authority`.
        let host = lines.iter().position(|(name, _)| name.eq_ignore_ascii_case("host"));
        let authority = match (self.authority, host) {
            (Some(authority), _) => Some(authority),
            (None, Some(host)) => Some(lines.remove(host).1),
            (None, None) => None,
        };
        push(":method", self.method);
        push(":path", self.path);
        push(":scheme", scheme.to_owned());
        if let Some(authority) = authority {
            push(":authority", authority);
        }
        for (name, value) in lines {
            push(&name, value);
        }
        let peer = self.peer.map(|peer| Peer {
            uri_sans: peer.uri_sans.unwrap_or_default(),
            dns_sans: peer.dns_sans.unwrap_or_default(),
            subject: peer.subject.unwrap_or_default(),
            certainty: match peer.doubtful {
                Some(true) => Certainty::Doubtful,
                Some(false) | None => Certainty::Certain,
            },
        });
        let connection = Connection {
            peer,
            sni: self.sni.unwrap_or_default(),
            source_ip: self.source_ip,
            remote_ip: self.remote_ip,
            destination_ip: self.destination_ip,
            destination_port: self.destination_port,
            metadata: metadata(self.metadata.unwrap_or_default())?,
        };
        let end_of_stream = !self.body.unwrap_or_default();
        Ok(Request { headers, connection, end_of_stream })
    }
}

fn metadata(filters: BTreeMap<String, BTreeMap<String, Value>>) -> anyhow::Result<Vec<Metadatum>> {
    let mut metadata = Vec::new();
    for (filter, keys) in filters {
        for (key, value) in keys {
            let value = match value {
                Value::String(text) => MetadataValue::Text(text),
                Value::Array(items) => {
                    // Elements that are not strings match nothing, in Envoy too.
                    let texts = items.into_iter().filter_map(|item| match item {
                        Value::String(text) => Some(text),
                        _ => None,
                    });
                    MetadataValue::List(texts.collect())
                }
                other => {
                    let found = usher_core::codec::problems::describe(&other);
                    bail!("expected text or a list in metadata `{filter}` `{key}`, found {found}")
                }
            };
            metadata.push(Metadatum { filter: filter.clone(), key, value });
        }
    }
    Ok(metadata)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(request: &Request) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        request.headers.iter().map(|(n, v)| format!("{}={}", text(n), text(v))).collect()
    }

    #[test]
    fn a_line_becomes_what_a_host_would_tell() {
        let request = from_line(
            r#"{"method":"GET","path":"/a?b","authority":"h:1","headers":[["X-A","1"],["x-a","2"]],
                "tls":true,"sni":"s","peer":{"uri_sans":["spiffe://a/b"],"dns_sans":[],"subject":""},
                "source_ip":"127.0.0.1","destination_port":443,
                "metadata":{"f":{"k":"v","l":["a",1]}},"claims":null,"expect":{"status":200}}"#,
        )
        .unwrap();
        let expected =
            [":method=GET", ":path=/a?b", ":scheme=https", ":authority=h:1", "x-a=1", "x-a=2"];
        assert_eq!(names(&request), expected);
        let connection = request.connection;
        let peer = connection.peer.unwrap();
        assert_eq!(
            (peer.uri_sans[0].as_str(), peer.certainty),
            ("spiffe://a/b", Certainty::Certain)
        );
        assert_eq!(connection.source_ip.unwrap().to_string(), "127.0.0.1");
        assert_eq!(connection.remote_ip, None);
        assert_eq!(connection.metadata.len(), 2);
        assert_eq!(connection.metadata[1].value, MetadataValue::List(vec!["a".to_owned()]));
    }

    #[test]
    fn method_and_path_are_enough() {
        let request = from_line(r#"{"method":"PUT","path":"/","peer":null,"sni":null}"#).unwrap();
        assert_eq!(names(&request), [":method=PUT", ":path=/", ":scheme=http"]);
        let doubt = from_line(r#"{"method":"PUT","path":"/","peer":{"doubtful":true}}"#).unwrap();
        assert_eq!(doubt.connection.peer.unwrap().certainty, Certainty::Doubtful);
        let host = from_line(r#"{"method":"PUT","path":"/","headers":[["Host","h"]]}"#).unwrap();
        assert_eq!(names(&host).last().unwrap(), ":authority=h");
    }

    #[test]
    fn refuses_what_it_does_not_understand() {
        for line in [
            "",
            "[]",
            r#"{"method":"GET"}"#,
            r#"{"method":"GET","path":"/","source_ip":"x"}"#,
            r#"{"method":"GET","path":"/","headers":{"a":"b"}}"#,
            r#"{"method":"GET","path":"/","destination_port":70000}"#,
            r#"{"method":"GET","path":"/","metadata":{"f":{"k":1}}}"#,
        ] {
            assert!(from_line(line).is_err(), "{line}");
        }
    }
}
