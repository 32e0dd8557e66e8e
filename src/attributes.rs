//! The attributes of the connection that the rules read, from Envoy's attributes: only those.

use std::net::{IpAddr, SocketAddr};

use usher_core::Compiled;
use usher_core::policy::{PeerIdentity, SourceAddress};
use usher_core::request::peer::{self, Peer};
use usher_core::request::{Connection, metadata};

use crate::host::Host;

/// Fills in what `policy` needs.
pub(crate) fn connection<H: Host>(host: &H, policy: &Compiled, connection: &mut Connection) {
    let needs = policy.required_attributes();
    if needs.peer {
        connection.peer = find_peer(host, Some(policy));
    }
    if needs.sni {
        connection.sni = text(host, &["connection", "requested_server_name"]).unwrap_or_default();
    }
    if needs.remote_ip {
        connection.remote_ip = address(host, &["source", "address"]);
    }
    if needs.source_ip {
        connection.source_ip = match &policy.settings.source_address {
            Some(SourceAddress::Connection) => address(host, &["source", "address"]),
            Some(SourceAddress::FilterState(key)) => address(host, &["filter_state", key]),
            None => None,
        };
    }
    if needs.destination_ip {
        connection.destination_ip = address(host, &["destination", "address"]);
    }
    if needs.destination_port {
        connection.destination_port = port(host, &["destination", "port"]);
    }
    if !needs.metadata.is_empty() {
        let message = host.property(&["metadata"]).unwrap_or_default();
        connection.metadata = metadata::read(&message, &needs.metadata);
    }
}

/// Fills in the attributes of the connection that the decision log shows and no rule reads.
pub(crate) fn for_log<H: Host>(host: &H, policy: Option<&Compiled>, connection: &mut Connection) {
    connection.peer = connection.peer.take().or_else(|| find_peer(host, policy));
    connection.remote_ip = connection.remote_ip.or_else(|| address(host, &["source", "address"]));
}

fn find_peer<H: Host>(host: &H, policy: Option<&Compiled>) -> Option<Peer> {
    let required = policy.is_some_and(|policy| policy.settings.require_validated_peer);
    let identity = policy.map_or(&PeerIdentity::Auto, |policy| &policy.settings.peer_identity);
    peer::find(identity, required, &|path| host.property(path))
}

fn text<H: Host>(host: &H, path: &[&str]) -> Option<String> {
    String::from_utf8(host.property(path)?).ok()
}

/// `ip:port`, `[ip]:port`, or an IP alone.
fn address<H: Host>(host: &H, path: &[&str]) -> Option<IpAddr> {
    let text = text(host, path)?;
    text.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| text.parse()).ok()
}

/// Envoy returns integers as 8 little-endian bytes.
fn port<H: Host>(host: &H, path: &[&str]) -> Option<u16> {
    let bytes = host.property(path)?;
    u16::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()
}
