//! What the rules ask about the connection, read from Envoy's attributes: nothing more than they ask.

use std::net::{IpAddr, SocketAddr};

use super::host::property;
use usher_core::config::Policy;
use usher_core::policy::PeerIdentity;
use usher_core::policy::SourceAddress;
use usher_core::request::peer::{self, Peer};
use usher_core::request::{Connection, metadata};

/// Fills in what `policy` needs.
pub(super) fn connection(policy: &Policy, connection: &mut Connection) {
    let needs = policy.needs();
    if needs.peer {
        connection.peer = find_peer(Some(policy));
    }
    if needs.sni {
        connection.sni = text(&["connection", "requested_server_name"]).unwrap_or_default();
    }
    if needs.remote_ip {
        connection.remote_ip = address(&["source", "address"]);
    }
    if needs.source_ip {
        connection.source_ip = match &policy.source_address {
            Some(SourceAddress::Connection) => address(&["source", "address"]),
            Some(SourceAddress::FilterState(key)) => address(&["filter_state", key]),
            None => None,
        };
    }
    if needs.destination_ip {
        connection.destination_ip = address(&["destination", "address"]);
    }
    if needs.destination_port {
        connection.destination_port = port(&["destination", "port"]);
    }
    if !needs.metadata.is_empty() {
        let message = property(&["metadata"]).unwrap_or_default();
        connection.metadata = metadata::read(&message, &needs.metadata);
    }
}

/// Fills in what the decision log tells of the connection and no rule has asked for.
pub(super) fn for_log(policy: Option<&Policy>, connection: &mut Connection) {
    connection.peer = connection.peer.take().or_else(|| find_peer(policy));
    connection.remote_ip = connection.remote_ip.or_else(|| address(&["source", "address"]));
}

fn find_peer(policy: Option<&Policy>) -> Option<Peer> {
    let required = policy.is_some_and(|policy| policy.require_validated_peer);
    let identity = policy.map_or(&PeerIdentity::Auto, |policy| &policy.peer_identity);
    peer::find(identity, required, &property)
}

fn text(path: &[&str]) -> Option<String> {
    String::from_utf8(property(path)?).ok()
}

/// `ip:port`, `[ip]:port`, or an IP alone.
fn address(path: &[&str]) -> Option<IpAddr> {
    let text = text(path)?;
    text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse()).ok()
}

/// Envoy hands integers over as 8 little-endian bytes.
fn port(path: &[&str]) -> Option<u16> {
    let bytes = property(path)?;
    u16::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}
