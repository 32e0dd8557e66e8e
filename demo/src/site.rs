//! Where everything is: ports in a row from one, and a folder.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

/// Where the parts of a demo find each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hosts {
    /// All on the loopback of one machine.
    #[default]
    Loopback,
    /// Each on a host that is called as the part is: in containers.
    Named,
}

/// The ports and the folder of a running demo. The issuer has the port behind the first sidecar's.
#[derive(Clone, Debug)]
pub struct Site {
    /// The first sidecar's port; all others follow it.
    pub port: u16,
    /// Where Envoy and the issuer listen. Services listen on loopback alone: nothing passes Envoy.
    pub bind: IpAddr,
    /// Holds the issuer's key, Envoy's configurations and its access logs.
    pub folder: PathBuf,
    /// Where the parts find each other.
    pub hosts: Hosts,
}

/// One service and the Envoy before it.
#[derive(Clone, Debug)]
pub struct Sidecar {
    /// Envoy's port; the service has the next but one, Envoy's admin interface the one behind that.
    pub port: u16,
    /// Where Envoy listens.
    pub bind: IpAddr,
    /// The host that clients find it at.
    pub host: String,
    /// Holds Envoy's configuration and its logs.
    pub folder: PathBuf,
}

impl Site {
    /// The demo on loopback, from this port on.
    pub fn local(port: u16, folder: &Path) -> Self {
        let hosts = Hosts::default();
        Self { port, bind: Ipv4Addr::LOCALHOST.into(), folder: folder.to_owned(), hosts }
    }

    /// Port of the issuer.
    pub fn issuer_port(&self) -> u16 {
        self.port.saturating_add(1)
    }

    /// The host of the issuer.
    pub fn issuer_host(&self) -> String {
        self.host("issuer")
    }

    /// The issuer's name, which is where it serves.
    pub fn issuer(&self) -> String {
        format!("http://{}:{}", self.issuer_host(), self.issuer_port())
    }

    fn host(&self, part: &str) -> String {
        match self.hosts {
            Hosts::Loopback => Ipv4Addr::LOCALHOST.to_string(),
            Hosts::Named => part.to_owned(),
        }
    }

    /// The issuer's private key, made at the first start.
    pub fn issuer_key(&self) -> PathBuf {
        self.folder.join("issuer.pem")
    }

    /// The sidecar of the main job.
    pub fn sidecar(&self) -> Sidecar {
        let host = self.host("gate");
        Sidecar { port: self.port, bind: self.bind, host, folder: self.folder.clone() }
    }

    /// The sidecar of a service beside it: ten ports further on for each.
    pub fn service_sidecar(&self, name: &str, number: u16) -> Sidecar {
        let port = self.port.saturating_add(number.saturating_mul(10));
        Sidecar { port, bind: self.bind, host: self.host(name), folder: self.folder.join(name) }
    }
}

impl Sidecar {
    /// A sidecar on loopback.
    pub fn local(port: u16, folder: &Path) -> Self {
        let host = Ipv4Addr::LOCALHOST;
        Self { port, bind: host.into(), host: host.to_string(), folder: folder.to_owned() }
    }

    /// Port of the service.
    pub fn service_port(&self) -> u16 {
        self.port.saturating_add(2)
    }

    /// Port of Envoy's admin interface.
    pub fn admin_port(&self) -> u16 {
        self.port.saturating_add(3)
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
}
