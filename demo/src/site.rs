//! Where everything is: ports in a row from one, and a folder.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// The ports and the folder of a running demo.
#[derive(Clone, Debug)]
pub struct Site {
    /// Envoy's port; the others follow it.
    pub port: u16,
    /// Where Envoy and the issuer listen. The service listens on loopback alone: nothing passes Envoy.
    pub bind: IpAddr,
    /// Holds the issuer's key, Envoy's configuration and its access log.
    pub folder: PathBuf,
}

impl Site {
    /// The demo on loopback, from this port on.
    pub fn local(port: u16, folder: &Path) -> Self {
        Self { port, bind: Ipv4Addr::LOCALHOST.into(), folder: folder.to_owned() }
    }

    /// Port of the issuer.
    pub fn issuer_port(&self) -> u16 {
        self.port.saturating_add(1)
    }

    /// Port of the service.
    pub fn service_port(&self) -> u16 {
        self.port.saturating_add(2)
    }

    /// Port of Envoy's admin interface.
    pub fn admin_port(&self) -> u16 {
        self.port.saturating_add(3)
    }

    /// The issuer's name, which is where it serves.
    pub fn issuer(&self) -> String {
        format!("http://127.0.0.1:{}", self.issuer_port())
    }

    /// Envoy's access log: JSON lines, each with the reason of a decision.
    pub fn access_log(&self) -> PathBuf {
        self.folder.join("access.log")
    }

    /// Envoy's own log, the decision log in it.
    pub fn envoy_log(&self) -> PathBuf {
        self.folder.join("envoy.log")
    }

    /// Envoy's configuration.
    pub fn envoy_config(&self) -> PathBuf {
        self.folder.join("envoy.yaml")
    }

    /// The issuer's private key, made at the first start.
    pub fn issuer_key(&self) -> PathBuf {
        self.folder.join("issuer.pem")
    }
}
