//! An issuer: a name, a key, and the tokens that it signs. Its HTTP side is [`endpoint`].
//!
//! It issues tokens to the users of a story, as an identity provider does. Tests that need keys and tokens of any form, good
//! or bad, have `usher_testkit::mint`.

use std::path::Path;
use std::sync::OnceLock;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_simple::prelude::{
    Claims, Duration, JWTClaims, RS256KeyPair, RSAKeyPairLike as _, RSAPublicKeyLike as _,
    UnixTimeStamp, VerificationOptions,
};
use serde_json::{Map, Value, json};

pub mod endpoint;
pub mod exchange;

/// The audience of the guides' tokens.
pub const AUDIENCE: &str = "kubernetes";

/// The password of both users, as in the guides.
pub const PASSWORD: &str = "start123";

/// The default lifetime of a token, in seconds.
pub const LIFETIME: i64 = 3600;

/// Called with each token that an issuer of this process signs: tests look for them in logs.
pub static WITNESS: OnceLock<fn(&str)> = OnceLock::new();

/// An issuer of tokens.
pub struct Issuer {
    name: String,
    key: RS256KeyPair,
}

/// What a token for a user should say.
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
    /// An issuer with a fresh key.
    ///
    /// # Errors
    /// The key could not be made.
    pub fn new(name: &str) -> anyhow::Result<Self> {
        Ok(Self::with_key(name, RS256KeyPair::generate(2048)?))
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

    /// A token for one of the users.
    ///
    /// # Errors
    /// There is no such user.
    pub fn token(&self, wish: &Wish<'_>) -> anyhow::Result<String> {
        let account = account(wish.user).with_context(|| format!("no user `{}`", wish.user))?;
        self.mint(wish.user, wish.audience, wish.lifetime, account)
    }

    /// A token of any claims beside the registered ones.
    ///
    /// # Errors
    /// It could not be signed.
    pub fn mint(
        &self,
        subject: &str,
        audience: &str,
        lifetime: i64,
        more: Map<String, Value>,
    ) -> anyhow::Result<String> {
        let mut claims = Claims::with_custom_claims(more, Duration::from_secs(0))
            .with_issuer(&self.name)
            .with_subject(subject)
            .with_audience(audience);
        claims.jwt_id = Some(claims.create_nonce());
        claims.nonce = None;
        if let Some(now) = claims.issued_at {
            claims.expires_at = Some(shifted(now, lifetime));
            // What has expired was issued before.
            let issued = shifted(now, lifetime.min(0).saturating_sub(1));
            claims.issued_at = Some(issued);
            claims.invalid_before = Some(issued);
        }
        let token = self.key.sign(claims)?;
        if let Some(witness) = WITNESS.get() {
            witness(&token);
        }
        Ok(token)
    }

    /// The claims of a token that this issuer signed for `audience`.
    ///
    /// # Errors
    /// It is not one, or no longer.
    pub fn verify(
        &self,
        token: &str,
        audience: &str,
    ) -> anyhow::Result<JWTClaims<Map<String, Value>>> {
        let options = VerificationOptions {
            allowed_issuers: Some([self.name.clone()].into()),
            allowed_audiences: Some([audience.to_owned()].into()),
            ..VerificationOptions::default()
        };
        self.key.public_key().verify_token(token, Some(options))
    }
}

/// What the directory knows of a user. Groups are a list, or a text where it is one: identity providers do
/// both.
fn account(user: &str) -> Option<Map<String, Value>> {
    let (last_name, groups) = match user {
        "mmosley" => (
            "Mosley",
            json!([
                "cn=group2,ou=Groups,DC=domain,DC=com",
                "cn=k8s-cluster-admins,ou=Groups,DC=domain,DC=com",
            ]),
        ),
        "jjackson" => ("Jackson", json!("cn=k8s-create-ns,ou=Groups,DC=domain,DC=com")),
        _ => return None,
    };
    let claims = [
        ("name", json!(format!("{user} {last_name}"))),
        ("groups", groups),
        ("preferred_username", json!(user)),
        ("email", json!(format!("{user}@example.com"))),
    ];
    Some(claims.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
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
