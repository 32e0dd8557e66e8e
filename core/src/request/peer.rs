//! The peer of the connection, from the host's properties.
//!
//! A peer is identified by its certificate, or, where TLS ended at a hop before (an Istio waypoint,
//! HBONE), by the filter state that this hop left. This module decides which of the two counts. The
//! host only returns single properties, and only those that the result depends on are read.

use super::certificate;

/// Names of the peer. Envoy source/extensions/filters/common/rbac/matchers.cc (AuthenticatedMatcher)
/// compares each URI SAN, then each DNS SAN, then the subject.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Peer {
    /// URI SANs, in certificate order; a mesh identity is `spiffe://td/ns/../sa/..`.
    pub uri_sans: Vec<String>,
    /// DNS SANs, in certificate order.
    pub dns_sans: Vec<String>,
    /// Subject in RFC 2253 form, may be empty.
    pub subject: String,
    /// Whether a match of these names may let a caller in.
    pub certainty: Certainty,
}

/// Whether a peer's names are certain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Certainty {
    /// They do.
    #[default]
    Certain,
    /// They may not be: each counts where a match refuses, none where it lets in.
    Doubtful,
}

/// `peerIdentity`: the source of the peer's names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PeerIdentity {
    /// The certificate; on a connection without TLS the filter state that Istio sets.
    #[default]
    Auto,
    /// The certificate alone.
    Connection,
    /// Only the filter state with this key, with or without TLS.
    FilterState(String),
}

/// The filter state in which Istio passes the peer on behind HBONE. Source: istio/istio
/// pilot/pkg/xds/filters (ConnectAuthorityFilter, `io.istio.peer_principal`).
pub const PEER_PRINCIPAL: &str = "io.istio.peer_principal";

/// Scheme of a SPIFFE ID (SPIFFE-ID section 2).
const SPIFFE: &str = "spiffe://";

/// Reads a property (an Envoy attribute), by path.
pub type Property<'h> = &'h dyn Fn(&[&str]) -> Option<Vec<u8>>;

/// Finds the peer. `require_validated`: a certificate is certain only if this very handshake validated
/// it.
pub fn find(
    identity: &PeerIdentity,
    require_validated: bool,
    property: Property<'_>,
) -> Option<Peer> {
    let of_filter_state = |key| in_filter_state(&property(&["filter_state", key])?);
    match identity {
        PeerIdentity::FilterState(key) => of_filter_state(key),
        _ if has_certificate(property) => Some(in_certificate(require_validated, property)),
        PeerIdentity::Connection => None,
        // Absent without TLS, and only then: `connection.mtls` is false either way.
        PeerIdentity::Auto => match property(&["connection", "tls_version"]) {
            Some(_) => None,
            None => of_filter_state(PEER_PRINCIPAL),
        },
    }
}

fn has_certificate(property: Property<'_>) -> bool {
    is_true(property(&["connection", "mtls"]))
}

/// Envoy returns a boolean as one byte.
fn is_true(value: Option<Vec<u8>>) -> bool {
    value.as_deref() == Some(&[1])
}

/// The names in the certificate of the connection.
fn in_certificate(require_validated: bool, property: Property<'_>) -> Peer {
    let text = |name| String::from_utf8(property(&["connection", name])?).ok();
    // False both for a certificate that was not validated and for each resumed session.
    let valid = !require_validated || is_true(property(&["connection", "peer_certificate_valid"]));
    let certainty = if valid { Certainty::Certain } else { Certainty::Doubtful };
    let subject = text("subject_peer_certificate").unwrap_or_default();
    let encoded = property(&["connection", "peer_certificate"]);
    if let Some(names) = encoded.and_then(|encoded| certificate::names(&encoded)) {
        return Peer { uri_sans: names.uris, dns_sans: names.dns, subject, certainty };
    }
    // Envoy before 1.38 returns the first name of either kind.
    let first = |name| text(name).filter(|text| !text.is_empty()).into_iter().collect();
    Peer {
        uri_sans: first("uri_san_peer_certificate"),
        dns_sans: first("dns_san_peer_certificate"),
        subject,
        certainty,
    }
}

/// The peer that a hop before found: `%DOWNSTREAM_PEER_URI_SAN%`, which is `-` for none and joins
/// several with commas.
fn in_filter_state(value: &[u8]) -> Option<Peer> {
    let text = String::from_utf8_lossy(value);
    let uri_sans: Vec<String> = text.split(',').map(str::to_owned).collect();
    if !uri_sans.iter().any(|uri| uri.starts_with(SPIFFE)) {
        return None;
    }
    let certainty = if uri_sans.len() > 1 { Certainty::Doubtful } else { Certainty::Certain };
    Some(Peer { uri_sans, certainty, ..Peer::default() })
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const WEB: &str = "spiffe://td/ns/shop/sa/web";

    /// A host with these properties, by name, and those that it was asked for.
    struct Host<'t> {
        properties: &'t [(&'t str, &'t [u8])],
        asked: RefCell<Vec<String>>,
    }

    impl Host<'_> {
        fn find(&self, identity: &PeerIdentity, require_validated: bool) -> Option<Peer> {
            find(identity, require_validated, &|path| {
                let name = path.join(" ");
                self.asked.borrow_mut().push(name.clone());
                let found = self.properties.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| value.to_vec())
            })
        }
    }

    fn uris(uris: &[&str], certainty: Certainty) -> Option<Peer> {
        let uri_sans = uris.iter().map(|uri| (*uri).to_owned()).collect();
        Some(Peer { uri_sans, certainty, ..Peer::default() })
    }

    #[test]
    fn the_source_is_chosen_by_tls_alone() {
        let certificate: &[(&str, &[u8])] = &[
            ("connection mtls", &[1]),
            ("connection tls_version", b"TLSv1.3"),
            ("connection uri_san_peer_certificate", WEB.as_bytes()),
        ];
        let tls: &[(&str, &[u8])] =
            &[("connection mtls", &[0]), ("connection tls_version", b"TLSv1.3")];
        let plain: &[(&str, &[u8])] = &[("connection mtls", &[0])];
        let state = ("filter_state io.istio.peer_principal", b"spiffe://td/a".as_slice());
        let other = ("filter_state key", b"spiffe://td/b".as_slice());
        let key = PeerIdentity::FilterState("key".to_owned());
        let (of_certificate, of_state, of_key) = (
            uris(&[WEB], Certainty::Certain),
            uris(&["spiffe://td/a"], Certainty::Certain),
            uris(&["spiffe://td/b"], Certainty::Certain),
        );
        for (what, connection, identity, expected) in [
            ("a certificate", certificate, PeerIdentity::Auto, &of_certificate),
            ("a certificate", certificate, PeerIdentity::Connection, &of_certificate),
            ("a certificate", certificate, key.clone(), &of_key),
            ("TLS without one", tls, PeerIdentity::Auto, &None),
            ("TLS without one", tls, PeerIdentity::Connection, &None),
            ("TLS without one", tls, key.clone(), &of_key),
            ("no TLS", plain, PeerIdentity::Auto, &of_state),
            ("no TLS", plain, PeerIdentity::Connection, &None),
            ("no TLS", plain, key.clone(), &of_key),
            ("no property", &[], PeerIdentity::Auto, &of_state),
            ("no property", &[], PeerIdentity::Connection, &None),
        ] {
            let properties = [connection, &[state, other]].concat();
            let host = Host { properties: &properties, asked: RefCell::default() };
            assert_eq!(host.find(&identity, false), *expected, "{what}, {identity:?}");
        }
        let host = Host { properties: plain, asked: RefCell::default() };
        assert_eq!(host.find(&key, true), None, "an absent key");
        assert_eq!(*host.asked.borrow(), ["filter_state key"], "nothing else is asked");
    }

    #[test]
    fn filter_state_holds_one_spiffe_id_or_doubt() {
        use Certainty::{Certain, Doubtful};
        for (value, expected) in [
            (WEB.as_bytes(), uris(&[WEB], Certain)),
            (b"", None),
            (b"-", None),
            (b"-,-", None),
            (b",", None),
            (b"https://td/ns/shop/sa/web", None),
            (b"SPIFFE://td/a", None),
            (b" spiffe://td/a", None),
            (b"\xff", None),
            (b"spiffe://", uris(&["spiffe://"], Certain)),
            (b"spiffe://a/\xff", uris(&["spiffe://a/\u{fffd}"], Certain)),
            (b"spiffe://a,spiffe://b", uris(&["spiffe://a", "spiffe://b"], Doubtful)),
            (b"https://a,spiffe://b", uris(&["https://a", "spiffe://b"], Doubtful)),
            (b"spiffe://a,", uris(&["spiffe://a", ""], Doubtful)),
        ] {
            assert_eq!(in_filter_state(value), expected, "{}", value.escape_ascii());
        }
    }

    #[test]
    fn a_certificate_is_doubted_only_where_that_is_asked_for() {
        use Certainty::{Certain, Doubtful};
        for (valid, required, expected, what) in [
            (Some([1]), false, Certain, "fresh and validated"),
            (Some([0]), false, Certain, "resumed, or never validated"),
            (None, false, Certain, "an Envoy without the property"),
            (Some([1]), true, Certain, "fresh and validated, required"),
            (Some([0]), true, Doubtful, "resumed, or never validated, required"),
            (None, true, Doubtful, "an Envoy without the property, required"),
        ] {
            let mut properties: Vec<(&str, &[u8])> = vec![
                ("connection mtls", &[1]),
                ("connection uri_san_peer_certificate", WEB.as_bytes()),
                ("connection dns_san_peer_certificate", b"web.example"),
                ("connection subject_peer_certificate", b"CN=web"),
            ];
            if let Some(valid) = &valid {
                properties.push(("connection peer_certificate_valid", valid));
            }
            let host = Host { properties: &properties, asked: RefCell::default() };
            let peer = Peer {
                uri_sans: vec![WEB.to_owned()],
                dns_sans: vec!["web.example".to_owned()],
                subject: "CN=web".to_owned(),
                certainty: expected,
            };
            assert_eq!(host.find(&PeerIdentity::Auto, required), Some(peer), "{what}");
            let asks = host.asked.borrow().iter().any(|name| name.ends_with("_valid"));
            assert_eq!(asks, required, "{what}: asked for what nothing depends on");
        }
    }
}
