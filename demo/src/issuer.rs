//! An issuer for two users: OpenID discovery, a key set, and a token endpoint that mints on demand.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum_extra::TypedHeader;
use axum_extra::headers::{Authorization, authorization::Basic};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_simple::prelude::{Claims, Duration, RS256KeyPair, RSAKeyPairLike as _, UnixTimeStamp};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The audience of the guides' tokens.
pub const AUDIENCE: &str = "kubernetes";

/// The password of both users, as in the guides.
pub const PASSWORD: &str = "start123";

/// How long a token is good, in seconds, if nobody asks for less.
const LIFETIME: i64 = 3600;

/// An issuer of tokens: a name and a key.
pub struct Issuer {
    name: String,
    key: RS256KeyPair,
}

/// A person with an account.
struct User {
    name: &'static str,
    last_name: &'static str,
    /// A list, or a text where it is one: identity providers do both.
    groups: fn() -> Value,
}

const USERS: [User; 2] = [
    User {
        name: "mmosley",
        last_name: "Mosley",
        groups: || {
            json!([
                "cn=group2,ou=Groups,DC=domain,DC=com",
                "cn=k8s-cluster-admins,ou=Groups,DC=domain,DC=com",
            ])
        },
    },
    User {
        name: "jjackson",
        last_name: "Jackson",
        groups: || json!("cn=k8s-create-ns,ou=Groups,DC=domain,DC=com"),
    },
];

/// What a token is to say.
pub struct Wish<'w> {
    /// Who it speaks for.
    pub user: &'w str,
    /// Whom it is for.
    pub audience: &'w str,
    /// Seconds from now; negative for one that has expired.
    pub lifetime: i64,
}

impl<'w> Wish<'w> {
    /// A good token for a user.
    pub fn of(user: &'w str) -> Self {
        Self { user, audience: AUDIENCE, lifetime: LIFETIME }
    }
}

impl Issuer {
    /// An issuer with a key of its own that nobody knows.
    ///
    /// # Errors
    /// The key could not be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        let key = RS256KeyPair::generate(2048)?;
        Ok(Self::with_key(name, key))
    }

    /// The issuer whose key is in `file`, which is made if it is not there.
    ///
    /// # Errors
    /// The file holds no key, or cannot be written.
    pub fn open(name: &str, file: &Path) -> anyhow::Result<Self> {
        if file.exists() {
            let pem = std::fs::read_to_string(file)?;
            let key = RS256KeyPair::from_pem(&pem)
                .with_context(|| format!("`{}` holds no RSA key; delete it", file.display()))?;
            return Ok(Self::with_key(name, key));
        }
        let issuer = Self::new(name)?;
        write_private(file, &issuer.key.to_pem()?)
            .with_context(|| format!("cannot write `{}`", file.display()))?;
        Ok(issuer)
    }

    fn with_key(name: &str, key: RS256KeyPair) -> Self {
        // Named after the key itself, so that a new key has a new name.
        let components = key.public_key().to_components();
        let end = components.n.len().saturating_sub(9);
        let kid = URL_SAFE_NO_PAD.encode(components.n.get(end..).unwrap_or_default());
        Self { name: name.to_owned(), key: key.with_key_id(&kid) }
    }

    /// The `iss` of its tokens.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key set (RFC 7517).
    pub fn jwks(&self) -> Value {
        let components = self.key.public_key().to_components();
        json!({ "keys": [{
            "kty": "RSA",
            "use": "sig",
            "alg": "RS256",
            "kid": self.key.key_id(),
            "n": URL_SAFE_NO_PAD.encode(components.n),
            "e": URL_SAFE_NO_PAD.encode(components.e),
        }]})
    }

    /// A signed token.
    ///
    /// # Errors
    /// There is no such user.
    pub fn token(&self, wish: &Wish<'_>) -> anyhow::Result<String> {
        let user = USERS
            .iter()
            .find(|user| user.name == wish.user)
            .with_context(|| format!("no user `{}`", wish.user))?;
        let mut custom = Map::new();
        custom.insert("name".to_owned(), json!(format!("{} {}", user.name, user.last_name)));
        custom.insert("groups".to_owned(), (user.groups)());
        custom.insert("preferred_username".to_owned(), json!(user.name));
        custom.insert("email".to_owned(), json!(format!("{}@example.com", user.name)));
        let mut claims = Claims::with_custom_claims(custom, Duration::from_secs(0))
            .with_issuer(&self.name)
            .with_subject(user.name)
            .with_audience(wish.audience);
        claims.jwt_id = Some(claims.create_nonce());
        claims.nonce = None;
        if let Some(now) = claims.issued_at {
            claims.expires_at = Some(shifted(now, wish.lifetime));
            // What has expired was issued before.
            let issued = shifted(now, wish.lifetime.min(0).saturating_sub(1));
            claims.issued_at = Some(issued);
            claims.invalid_before = Some(issued);
        }
        self.key.sign(claims)
    }

    /// Discovery, keys and tokens over HTTP.
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route(
                "/jwks",
                get(|State(issuer): State<Arc<Self>>| async move { Json(issuer.jwks()) }),
            )
            .route("/token", get(token_as_text).post(token))
            .with_state(self)
    }
}

fn shifted(time: UnixTimeStamp, seconds: i64) -> UnixTimeStamp {
    let by = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { time - by } else { time + by }
}

#[cfg(unix)]
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())
}

/// OpenID Connect Discovery 1.0, section 3.
async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let name = &issuer.name;
    Json(json!({
        "issuer": name,
        "jwks_uri": format!("{name}/jwks"),
        "token_endpoint": format!("{name}/token"),
        "response_types_supported": ["token"],
        "grant_types_supported": ["password"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

/// RFC 6749 section 4.3, with two fields for trying things out.
#[derive(Deserialize)]
struct Grant {
    grant_type: String,
    username: String,
    password: String,
    audience: Option<String>,
    /// Seconds; negative for a token that has expired.
    expires_in: Option<i64>,
}

async fn token(State(issuer): State<Arc<Issuer>>, Form(grant): Form<Grant>) -> Response {
    if grant.grant_type != "password" {
        return refusal("unsupported_grant_type");
    }
    let lifetime = grant.expires_in.unwrap_or(LIFETIME);
    let audience = grant.audience.as_deref().unwrap_or(AUDIENCE);
    let wish = Wish { user: &grant.username, audience, lifetime };
    match issuer.token(&wish) {
        Ok(token) if grant.password == PASSWORD => Json(json!({
            "access_token": token,
            "id_token": token,
            "token_type": "Bearer",
            "expires_in": lifetime,
        }))
        .into_response(),
        _ => refusal("invalid_grant"),
    }
}

/// For the shell: `TOKEN=$(curl -u mmosley:start123 ../token)`.
async fn token_as_text(
    State(issuer): State<Arc<Issuer>>,
    account: Option<TypedHeader<Authorization<Basic>>>,
) -> Response {
    let token = account.and_then(|TypedHeader(account)| {
        let token = issuer.token(&Wish::of(account.username())).ok()?;
        (account.password() == PASSWORD).then_some(token)
    });
    match token {
        Some(token) => token.into_response(),
        None => {
            let challenge = [(header::WWW_AUTHENTICATE, r#"Basic realm="demo issuer""#)];
            (StatusCode::UNAUTHORIZED, challenge, "who are you?\n").into_response()
        }
    }
}

/// RFC 6749 section 5.2.
fn refusal(error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response()
}
