//! The examples in envoy/examples, run as they stand there but for their paths and ports.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use usher_demo::client::{Answer, Request, send};
use usher_demo::envoy;
use usher_demo::issuer::{Issuer, Wish};
use usher_demo::site::Sidecar;
use usher_demo::{serve, service};
use usher_envoy::Process;
use usher_testkit::paths::{module, pinned_envoy};
use usher_testkit::ports::free_row;
use usher_testkit::tls::Authority;

/// A folder that stands for `/etc/envoy`, ports that stand for those from 10000 on, and a service.
struct Place {
    folder: PathBuf,
    port: u16,
    issuer: Issuer,
}

impl Place {
    async fn new(name: &str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/envoys").join(name);
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(folder.join("ecds")).unwrap();
        let folder = folder.canonicalize().unwrap();
        std::fs::copy(module(), folder.join("usher.wasm")).unwrap();
        let port = free_row(14);
        usher_demo::issuer::WITNESS.get_or_init(|| usher_testkit::secrets::token);
        let issuer = Issuer::new("https://idp.example.com").unwrap();
        serve::listen(Ipv4Addr::LOCALHOST.into(), port + 2, service::router()).await.unwrap();
        Self { folder, port, issuer }
    }

    /// The example `file`, for this place.
    fn example(&self, file: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/examples").join(file);
        let mut text = std::fs::read_to_string(path).unwrap();
        for offset in [0, 2, 3, 10, 13] {
            let there = format!("port_value: {}", 10_000 + offset);
            text = text.replace(&there, &format!("port_value: <{offset}>"));
        }
        for offset in [0, 2, 3, 10, 13] {
            text = text.replace(&format!("<{offset}>"), &(self.port + offset).to_string());
        }
        text.replace("/etc/envoy", self.folder.to_str().unwrap())
            .replace("0.0.0.0", "127.0.0.1")
            .replace("${ISSUER}", self.issuer.name())
            .replace("${JWKS}", &self.issuer.jwks().to_string())
    }

    /// Envoy with the example, its port that many behind the first.
    async fn envoy(&self, file: &str, offset: u16) -> Process {
        let folder = self.folder.join(format!("envoy-{offset}"));
        std::fs::create_dir_all(&folder).unwrap();
        let sidecar = Sidecar::local(self.port + offset, &folder);
        std::fs::write(sidecar.envoy_config(), self.example(file)).unwrap();
        envoy::start(&pinned_envoy(), &sidecar).await.unwrap_or_else(|error| panic!("{error:#}"))
    }

    fn token(&self, user: &str) -> String {
        self.issuer.token(&Wish::of(user)).unwrap()
    }

    async fn request(&self, offset: u16, request: Request) -> Answer {
        send(self.port + offset, &request).await.unwrap()
    }
}

#[tokio::test]
async fn the_gateway() {
    let place = Place::new("example-gateway").await;
    let _envoy = place.envoy("gateway.yaml", 0).await;
    let token = place.token("mmosley");
    let good = place.request(0, Request::get("/orders/who-am-i").bearer(&token)).await;
    assert_eq!(good.status, 200, "{good:?}");
    let seen = Request::get("/headers").bearer(&token).header("X_Remote_User", "root");
    let seen = place.request(0, seen).await.json();
    assert_eq!(seen["headers"]["x-user"], "mmosley");
    assert_eq!(seen["headers"].get("x_remote_user"), None, "{seen}");
    let refused = place.request(0, Request::get("/orders/1")).await;
    assert_eq!((refused.status, refused.json()["status"].clone()), (401, 401.into()));
    assert_eq!(place.request(0, Request::get("/health_check")).await.status, 200);
}

#[tokio::test]
async fn two_sidecars() {
    let place = Place::new("example-sidecars").await;
    let authority = Authority::new();
    authority.write(&place.folder);
    authority.server().write(&place.folder, "server");
    authority.client(&["spiffe://cluster.local/ns/shop/sa/web"], &[]).write(&place.folder, "web");
    let _server = place.envoy("sidecar-server.yaml", 0).await;
    let client = place.envoy("sidecar-client.yaml", 10).await;
    let token = place.token("jjackson");
    let good = place.request(10, Request::get("/who-am-i").bearer(&token)).await;
    assert_eq!((good.status, good.json()["name"].clone()), (200, "jjackson".into()));
    let nobody = place.request(10, Request::get("/who-am-i")).await;
    assert_eq!((nobody.status, nobody.body.as_str()), (403, "RBAC: access denied"));

    // The same token from another workload.
    drop(client);
    authority.client(&["spiffe://cluster.local/ns/shop/sa/other"], &[]).write(&place.folder, "web");
    let _other = place.envoy("sidecar-client.yaml", 10).await;
    let other = place.request(10, Request::get("/who-am-i").bearer(&token)).await;
    assert_eq!((other.status, other.body.as_str()), (403, "RBAC: access denied"));
}

#[tokio::test]
async fn a_configuration_in_a_file_of_its_own() {
    let place = Place::new("example-ecds").await;
    let plugin = place.folder.join("ecds/usher.yaml");
    std::fs::write(&plugin, place.example("ecds/usher.yaml")).unwrap();
    let _envoy = place.envoy("ecds/envoy.yaml", 0).await;
    let token = place.token("mmosley");
    let request = || Request::get("/who-am-i").bearer(&token);
    assert_eq!(place.request(0, request()).await.status, 200);

    let next = place.example("ecds/usher.yaml").replace("kubernetes", "another-service");
    std::fs::write(plugin.with_extension("next"), next).unwrap();
    std::fs::rename(plugin.with_extension("next"), &plugin).unwrap();
    for _ in 0..600 {
        if place.request(0, request()).await.status == 401 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new configuration was not taken up");
}
