//! `istio/examples/remote-keys.yaml` in a real Envoy: its pluginConfig as it stands, and the cluster that
//! istiod makes of its ServiceEntry and DestinationRule, in front of a key server that speaks TLS.

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::Envoy;
use usher_testkit::istio::{self, Plugin};
use usher_testkit::key_server::{KeyServer, Manner};
use usher_testkit::mint::{self, Key};
use usher_testkit::tls::Authority;

/// The provider's name in the example.
const HOST: &str = "idp.example.com";

/// An Envoy with the example, whose keys are at a server with a certificate for `name` that `signer` signed, while
/// the proxy trusts `trusted`.
struct Case {
    server: KeyServer,
    envoy: Envoy,
    token: String,
    _folder: tempfile::TempDir,
}

impl Case {
    fn start(trusted: &Authority, signer: &Authority, name: &str) -> Self {
        let key = Key::new("ES256", "fetched");
        let keys = Manner::keys(&mint::jwks([&key]));
        // Nothing but at the place that the example names.
        let manner = Manner::ByPath(vec![("/keys".to_owned(), keys)]);
        let server = KeyServer::start_tls(manner, &signer.server_named(name));
        let folder = tempfile::tempdir().unwrap();
        trusted.write(folder.path());
        let manifests = istio::read("istio/examples/remote-keys.yaml");
        let plugin = manifests.iter().find_map(Plugin::of).unwrap();
        let cluster =
            istio::outbound_cluster(&manifests, server.address, &folder.path().join("ca.pem"));
        let envoy = Envoy::builder()
            .cluster_of(cluster)
            .listener("example", Setup::plugin_text(&plugin.configuration().unwrap()))
            .start();
        let mut claims = mint::claims("https://idp.example.com", "mmosley");
        claims["aud"] = json!("kubernetes");
        Self { server, envoy, token: key.token(&claims), _folder: folder }
    }

    fn send(&self, request: &Request) -> (u16, Option<String>, Reply) {
        let listener = self.envoy.listener("example");
        let reply = listener.http1(request);
        (reply.status, listener.entry(&reply).reason, reply)
    }

    #[track_caller]
    fn assert(&self, request: &Request, status: u16, reason: &str) -> Reply {
        let (found, why, reply) = self.send(request);
        assert_eq!((found, why.as_deref()), (status, Some(reason)), "{reply}");
        reply
    }
}

#[test]
fn keys_come_from_a_provider_with_a_private_authority() {
    let authority = Authority::new();
    let case = Case::start(&authority, &authority, HOST);
    let reply = case.assert(&Request::get("/").bearer(&case.token), 200, "allowed");
    let seen = reply.passed();
    assert_eq!(seen.header("authorization"), None);
    let user: Value =
        serde_json::from_slice(&mint::decode(seen.header("user-info").unwrap())).unwrap();
    assert_eq!(user["sub"], "mmosley");
    case.assert(&Request::get("/"), 401, "token_missing");
    let other = Key::new("ES256", "fetched").token(&mint::claims("https://idp.example.com", "x"));
    case.assert(&Request::get("/").bearer(&other), 401, "signature_invalid");
    assert_eq!(case.server.paths(), ["/keys"]);
    assert_eq!(case.server.names(), [Some(HOST.to_owned())]);
}

/// A man in the middle cannot supply keys.
#[test]
fn keys_of_a_server_that_is_not_trusted_are_not_taken() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    for (what, signer, name) in
        [("another authority", &stranger, HOST), ("another name", &authority, "other.example.com")]
    {
        let case = Case::start(&authority, signer, name);
        case.assert(&Request::get("/").bearer(&case.token), 503, "keys_unavailable");
        case.assert(&Request::get("/"), 401, "token_missing");
        assert_eq!(case.server.paths(), [""; 0], "{what}");
    }
}
