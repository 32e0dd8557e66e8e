//! Certificates made for one test run, and a client that presents them.

use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, SanType,
};
use serde_json::{Value, json};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, HandshakeKind, RootCertStore, ServerConfig,
    StreamOwned, SupportedProtocolVersion,
};

use crate::client::{Reply, Request, http1};

/// The server's DNS names: this one, and any below it.
pub const SERVER: &str = "gate.example";

/// A certificate authority that both sides trust.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root: CertificateDer<'static>,
    root_pem: String,
}

/// A certificate and its key.
pub struct Identity {
    certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: KeyPair,
}

/// A client that remembers its TLS sessions, and speaks one version of TLS.
pub struct Caller {
    config: Arc<ClientConfig>,
}

impl Caller {
    /// Sends `request` on a fresh connection. Answers whether its session was resumed, too.
    pub(crate) fn exchange(
        &self,
        address: SocketAddr,
        case: &str,
        request: &Request,
    ) -> (Reply, bool) {
        let server = ServerName::try_from(SERVER).unwrap();
        let connection = ClientConnection::new(Arc::clone(&self.config), server).unwrap();
        let mut stream = StreamOwned::new(connection, http1::connect(address));
        let reply = http1::exchange(&mut stream, case, request);
        let resumed = stream.conn.handshake_kind() == Some(HandshakeKind::Resumed);
        (reply, resumed)
    }
}

impl Identity {
    /// What a server needs that has this certificate and asks for none.
    pub fn acceptor(&self) -> TlsAcceptor {
        let key = PrivateKeyDer::Pkcs8(self.key.serialize_der().into());
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![self.certificate.clone()], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }

    /// Writes certificate and key to `<name>.pem` and `<name>.key` in a directory.
    pub fn write(&self, directory: &Path, name: &str) {
        std::fs::write(directory.join(format!("{name}.pem")), &self.certificate_pem).unwrap();
        std::fs::write(directory.join(format!("{name}.key")), self.key.serialize_pem()).unwrap();
    }
}

impl Authority {
    /// A fresh authority.
    #[expect(clippy::new_without_default, reason = "a new key each time is no default value")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        // Its name must not be that of the certificates it signs, or those look self-signed.
        params.distinguished_name.push(DnType::CommonName, "Usher test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap();
        let (root, root_pem) = (root.der().clone(), root.pem());
        Self { issuer: Issuer::new(params, key), root, root_pem }
    }

    /// A client certificate with these URI SANs (such as `spiffe://cluster.local/ns/shop/sa/web`),
    /// in order, and these DNS SANs.
    pub fn client(&self, uri_sans: &[&str], dns_sans: &[&str]) -> Identity {
        let uris = uri_sans.iter().map(|uri| SanType::URI((*uri).try_into().unwrap()));
        let names = dns_sans.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        self.identity(uris.chain(names).collect(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// A certificate for [`SERVER`] and the names below it.
    pub fn server(&self) -> Identity {
        let names = [SERVER.to_owned(), format!("*.{SERVER}")];
        let sans = names.map(|name| SanType::DnsName(name.try_into().unwrap()));
        self.identity(sans.to_vec(), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A certificate for a server of this name.
    pub fn server_named(&self, name: &str) -> Identity {
        let sans = vec![SanType::DnsName(name.try_into().unwrap())];
        self.identity(sans, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Writes the authority's own certificate to `ca.pem` in a directory.
    pub fn write(&self, directory: &Path) {
        std::fs::write(directory.join("ca.pem"), &self.root_pem).unwrap();
    }

    /// A client certificate with these URI SANs, these DNS SANs, and this common name, if any.
    pub fn named_client(
        &self,
        uri_sans: &[String],
        dns_sans: &[String],
        common_name: Option<&str>,
    ) -> Identity {
        let uris = uri_sans.iter().map(|uri| SanType::URI(uri.as_str().try_into().unwrap()));
        let names = dns_sans.iter().map(|name| SanType::DnsName(name.as_str().try_into().unwrap()));
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = uris.chain(names).collect();
        self.signed(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn identity(&self, sans: Vec<SanType>, usage: ExtendedKeyUsagePurpose) -> Identity {
        let mut params = CertificateParams::default();
        params.subject_alt_names = sans;
        self.signed(params, usage)
    }

    fn signed(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> Identity {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Identity { certificate_pem: certificate.pem(), certificate: certificate.der().clone(), key }
    }

    /// Envoy's downstream TLS context: a certificate of this authority, and clients that have one
    /// too; `require`: clients without one are turned away in the handshake.
    pub fn downstream(&self, require: bool) -> Value {
        self.downstream_named(require, &[SERVER, &format!("*.{SERVER}")], &[])
    }

    /// The same for a server of these names and addresses.
    pub fn downstream_named(&self, require: bool, names: &[&str], addresses: &[IpAddr]) -> Value {
        let names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        let addresses = addresses.iter().map(|address| SanType::IpAddress(*address));
        let sans = names.chain(addresses).collect();
        let server = self.identity(sans, ExtendedKeyUsagePurpose::ServerAuth);
        json!({
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": concat!(
                    "type.googleapis.com/envoy.extensions.transport_sockets",
                    ".tls.v3.DownstreamTlsContext",
                ),
                "require_client_certificate": require,
                "common_tls_context": {
                    "tls_certificates": [{
                        "certificate_chain": { "inline_string": server.certificate_pem },
                        "private_key": { "inline_string": server.key.serialize_pem() },
                    }],
                    "validation_context": { "trusted_ca": { "inline_string": self.root_pem } },
                },
            },
        })
    }

    /// Sends `request` over TLS as `identity` to the server name `sni`: [`SERVER`], or one label below.
    pub(crate) fn exchange(
        &self,
        address: SocketAddr,
        identity: Option<&Identity>,
        sni: &str,
        case: &str,
        request: &Request,
    ) -> Reply {
        let name = ServerName::try_from(sni.to_owned()).unwrap();
        http1::exchange(self.wrap(http1::connect(address), identity, name), case, request)
    }

    /// A client of this authority's servers, with this certificate, of any authority.
    pub fn caller(
        &self,
        identity: Option<&Identity>,
        version: &'static SupportedProtocolVersion,
    ) -> Caller {
        Caller { config: Arc::new(self.client_config(identity, &[version])) }
    }

    /// TLS over `stream` as `identity`, to the server of this name; to an address no name is sent.
    pub fn wrap(
        &self,
        stream: TcpStream,
        identity: Option<&Identity>,
        server: ServerName<'static>,
    ) -> StreamOwned<ClientConnection, TcpStream> {
        let config = Arc::new(self.client_config(identity, ALL_VERSIONS));
        StreamOwned::new(ClientConnection::new(config, server).unwrap(), stream)
    }

    fn client_config(
        &self,
        identity: Option<&Identity>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let config = ClientConfig::builder_with_protocol_versions(versions);
        let config = config.with_root_certificates(roots);
        match identity {
            None => config.with_no_client_auth(),
            Some(identity) => {
                let key = PrivateKeyDer::Pkcs8(identity.key.serialize_der().into());
                config.with_client_auth_cert(vec![identity.certificate.clone()], key).unwrap()
            }
        }
    }
}
