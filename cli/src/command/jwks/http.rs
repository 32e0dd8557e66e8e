//! One GET from a key server, with the care that an untrusted URL needs.
//!
//! Link-local addresses are refused: clouds have their metadata services there, and a key server
//! never has such an address. Clear text is for loopback only, since anyone who can change a key set
//! can sign as any caller. Redirects are not followed, and no proxy is used.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, tls};
use usher_core::remote::MAX_BYTES;

/// For the whole of a request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A server's response.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) location: Option<String>,
    pub(super) body: Vec<u8>,
}

/// Makes requests.
pub(super) struct Client {
    agent: Agent,
}

impl Client {
    /// A client that trusts the public authorities, or those of this PEM file instead.
    pub(super) fn new(ca_file: Option<&Path>) -> anyhow::Result<Self> {
        let roots = match ca_file {
            None => RootCerts::WebPki,
            Some(path) => RootCerts::Specific(Arc::new(authorities(path)?)),
        };
        let config = Config::builder()
            .timeout_global(Some(TIMEOUT))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .proxy(None)
            .user_agent(concat!("usher/", env!("CARGO_PKG_VERSION")))
            .accept("application/json")
            .tls_config(TlsConfig::builder().root_certs(roots).build())
            .build();
        let agent = Agent::with_parts(config, DefaultConnector::default(), Guarded::default());
        Ok(Self { agent })
    }

    /// GETs `url`.
    ///
    /// # Errors
    /// No response, or one that is too large.
    pub(super) fn get(&self, url: &str) -> anyhow::Result<Answer> {
        let mut response = self.agent.get(url).call()?;
        let location = response.headers().get("location");
        let location = location.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let most = u64::try_from(MAX_BYTES)?;
        let body = response.body_mut().with_config().limit(most).read_to_vec();
        let body = body.with_context(|| format!("expected at most {MAX_BYTES} bytes"))?;
        Ok(Answer { status: response.status().as_u16(), location, body })
    }
}

fn authorities(path: &Path) -> anyhow::Result<Vec<Certificate<'static>>> {
    let pem = std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
    let mut certificates = Vec::new();
    for item in tls::parse_pem(&pem) {
        if let PemItem::Certificate(certificate) =
            item.with_context(|| format!("`{}`", path.display()))?
        {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        bail!("`{}`: expected certificates in PEM, found none", path.display());
    }
    Ok(certificates)
}

/// The system's resolver, without forbidden addresses. The connection is made to exactly the
/// addresses that were checked.
#[derive(Debug, Default)]
struct Guarded {
    system: DefaultResolver,
}

impl Resolver for Guarded {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = self.system.resolve(uri, config, timeout)?;
        let clear = uri.scheme_str() == Some("http");
        let refused = addresses.iter().map(SocketAddr::ip).find_map(|ip| refusal(ip, clear));
        match refused {
            Some(why) => Err(ureq::Error::Other(why.into())),
            None => Ok(addresses),
        }
    }
}

/// Why an address is refused.
fn refusal(ip: IpAddr, clear: bool) -> Option<String> {
    /// Metadata services with addresses of their own: AWS over IPv6, Alibaba Cloud.
    const METADATA: [IpAddr; 2] = [
        IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
        IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    ];
    let plain = ip.to_canonical();
    let link_local = match plain {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    if link_local || METADATA.contains(&plain) {
        return Some(format!("`{ip}` is an address of metadata services, not of a key server"));
    }
    if plain.is_unspecified() || plain.is_multicast() {
        return Some(format!("`{ip}` is not a server's address"));
    }
    (clear && !plain.is_loopback()).then(|| {
        format!("expected https, found http to `{ip}`: anyone on the way could change keys")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_to_a_metadata_service() {
        for (ip, clear, allowed) in [
            ("203.0.113.9", false, true),
            ("203.0.113.9", true, false),
            ("10.0.0.1", false, true),
            ("127.0.0.1", true, true),
            ("::1", true, true),
            ("2001:db8::1", false, true),
            ("169.254.169.254", false, false),
            ("169.254.0.1", false, false),
            ("::ffff:169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("100.100.100.200", false, false),
            ("0.0.0.0", false, false),
            ("::", false, false),
            ("224.0.0.1", false, false),
        ] {
            assert_eq!(refusal(ip.parse().unwrap(), clear).is_none(), allowed, "{ip}");
        }
    }
}
