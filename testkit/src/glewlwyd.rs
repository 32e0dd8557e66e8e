//! An identity provider of others: glewlwyd, a package of Debian and Ubuntu.
//!
//! Each has a database and a port of its own, and ends with the test.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use serde_json::{Value, json};

use crate::client::{Reply, Request, http1};
use crate::secrets;
use crate::skip;

const PROGRAM: &str = "/usr/bin/glewlwyd";
/// The tables and the first administrator, as the package makes them.
const TABLES: &str = "/usr/share/dbconfig-common/data/glewlwyd/install/sqlite3";
const PATIENCE: Duration = Duration::from_secs(60);

/// The scope, and so the audience, of its access tokens.
pub const SCOPE: &str = "g_profile";

/// A running provider.
pub struct Glewlwyd {
    process: Child,
    /// Where it serves, on 127.0.0.1.
    pub address: SocketAddr,
    worker_state: String,
}

impl Glewlwyd {
    /// Starts one in `directory` with a fresh signing key. `None`, said loudly, where it is not installed.
    pub fn start(directory: &Path) -> Option<Self> {
        if !Path::new(PROGRAM).exists() || !Path::new(TABLES).exists() {
            skip("glewlwyd", "not installed: `make test-packages` installs it");
            return None;
        }
        let directory = directory.canonicalize().unwrap();
        let database = directory.join("glewlwyd.db");
        fill(&database);
        let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
        let configuration = directory.join("glewlwyd.conf");
        std::fs::write(&configuration, settings(port, &database)).unwrap();
        let log = std::fs::File::create(directory.join("glewlwyd.log")).unwrap();
        let process = Command::new(PROGRAM)
            .arg("--config-file")
            .arg(configuration)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut provider = Self { process, address, worker_state: String::new() };
        provider.sign_in();
        provider.expect(&provider.admin("POST", "/api/mod/plugin/", &plugin(port)), 200);
        let user = json!({
            "username": "mmosley", "name": "Mosley", "email": "mmosley@example.com",
            "password": "start1234", "scope": ["openid", SCOPE], "enabled": true,
        });
        provider.expect(&provider.admin("POST", "/api/user/?source=database", &user), 200);
        let client = json!({
            "client_id": "shop", "name": "shop", "confidential": true, "password": "secret1234",
            "authorization_type": ["password"], "redirect_uri": ["http://127.0.0.1/back"],
            "token_endpoint_auth_method": ["client_secret_basic"],
            "scope": ["openid", SCOPE], "enabled": true,
        });
        provider.expect(&provider.admin("POST", "/api/client/?source=database", &client), 200);
        Some(provider)
    }

    /// The `iss` of its tokens.
    pub fn issuer(&self) -> String {
        issuer(self.address.port())
    }

    /// What it says of itself (OpenID Connect Discovery).
    pub fn discovery(&self) -> Value {
        self.document("/api/oidc/.well-known/openid-configuration")
    }

    /// Its key set, from where its discovery says.
    pub fn jwks(&self) -> Value {
        let discovery = self.discovery();
        let uri = discovery["jwks_uri"].as_str().unwrap();
        let (_, path) = uri.split_once(&self.address.to_string()).expect("a jwks_uri of its own");
        self.document(path)
    }

    /// An access token for mmosley.
    pub fn token(&self) -> String {
        let request = Request::new("POST", "/api/oidc/token")
            .header("authorization", format!("Basic {}", STANDARD.encode("shop:secret1234")))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(format!("grant_type=password&username=mmosley&password=start1234&scope={SCOPE}"));
        let reply = self.send(&request);
        self.expect(&reply, 200);
        let answer: Value = serde_json::from_slice(&reply.body).unwrap();
        let token = answer["access_token"].as_str().unwrap().to_owned();
        secrets::token(&token);
        token
    }

    /// Replaces its signing key by a fresh one: from now on tokens are signed with that, and its key set
    /// lists no other.
    pub fn rotate(&self) {
        let plugin = plugin(self.address.port());
        self.expect(&self.admin("PUT", "/api/mod/plugin/oidc", &plugin), 200);
        self.expect(&self.admin("PUT", "/api/mod/plugin/oidc/reset", &json!({})), 200);
    }

    fn document(&self, path: &str) -> Value {
        let reply = self.send(&Request::get(path));
        self.expect(&reply, 200);
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn sign_in(&mut self) {
        let start = Instant::now();
        while std::net::TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < PATIENCE, "glewlwyd does not start");
            std::thread::sleep(Duration::from_millis(50));
        }
        // The administrator that the package's tables come with.
        let account = json!({ "username": "admin", "password": "password" });
        let reply = self.admin("POST", "/api/auth/", &account);
        self.expect(&reply, 200);
        let cookie = reply.header("set-cookie").expect("a session");
        self.worker_state = cookie.split(';').next().unwrap().to_owned();
    }

    fn admin(&self, method: &str, path: &str, body: &Value) -> Reply {
        let request = Request::new(method, path)
            .header("content-type", "application/json")
            .header("cookie", &self.worker_state)
            .body(body.to_string());
        self.send(&request)
    }

    fn send(&self, request: &Request) -> Reply {
        http1::exchange(http1::connect(self.address), "glewlwyd", request)
    }

    #[track_caller]
    fn expect(&self, reply: &Reply, status: u16) {
        assert_eq!(reply.status, status, "glewlwyd answers {reply}");
    }
}

impl Drop for Glewlwyd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn issuer(port: u16) -> String {
    format!("http://127.0.0.1:{port}/api/oidc")
}

/// Its OpenID Connect part, with a fresh ES256 key.
fn plugin(port: u16) -> Value {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    json!({
        "module": "oidc",
        "name": "oidc",
        "display_name": "oidc",
        "parameters": {
            "iss": issuer(port),
            "jwt-type": "ecdsa",
            "jwt-key-size": "256",
            "key": key.serialize_pem(),
            "cert": key.public_key_pem(),
            "access-token-duration": 3600,
            "refresh-token-duration": 3600,
            "code-duration": 600,
            "refresh-token-rolling": false,
            "allow-non-oidc": true,
            "auth-type-code-enabled": true,
            "auth-type-token-enabled": false,
            "auth-type-id-token-enabled": true,
            "auth-type-none-enabled": false,
            "auth-type-password-enabled": true,
            "auth-type-client-enabled": false,
            "auth-type-refresh-enabled": false,
            "auth-type-device-enabled": false,
            "jwks-show": true,
            "scope": [],
        },
    })
}

fn fill(database: &Path) {
    let tables = std::fs::File::open(TABLES).unwrap();
    let filled = Command::new("sqlite3").arg(database).stdin(tables).status();
    assert!(filled.is_ok_and(|status| status.success()), "sqlite3 fills {}", database.display());
}

fn settings(port: u16, database: &Path) -> String {
    let modules = ["user", "client", "plugin"];
    let mut lines = vec![
        format!("port={port}"),
        "bind_address=\"127.0.0.1\"".to_owned(),
        format!("external_url=\"http://127.0.0.1:{port}\""),
        "login_url=\"login.html\"".to_owned(),
        "api_prefix=\"api\"".to_owned(),
        "log_mode=\"console\"".to_owned(),
        "log_level=\"WARNING\"".to_owned(),
        "cookie_secure=0".to_owned(),
        "session_expiration=3600".to_owned(),
        "session_key=\"SESSION\"".to_owned(),
        "admin_session_authentication=\"cookie\"".to_owned(),
        "profile_session_authentication=\"cookie\"".to_owned(),
        "login_api_enabled=true".to_owned(),
        "admin_scope=\"g_admin\"".to_owned(),
        format!("profile_scope=\"{SCOPE}\""),
        "user_auth_scheme_module_path=\"/usr/lib/glewlwyd/scheme\"".to_owned(),
        "user_middleware_module_path=\"/usr/lib/glewlwyd/user_middleware\"".to_owned(),
        "hash_algorithm=\"SHA512\"".to_owned(),
        format!("database = {{ type = \"sqlite3\" path = \"{}\" }};", database.display()),
    ];
    lines.extend(modules.map(|name| format!("{name}_module_path=\"/usr/lib/glewlwyd/{name}\"")));
    lines.join("\n") + "\n"
}
