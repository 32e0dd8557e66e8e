//! Signing keys for development, of every algorithm that Usher verifies: made, or read from PEM or JWK.

use anyhow::{Context as _, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jwt_simple::algorithms::{
    ECDSAP256KeyPairLike as _, ECDSAP256kKeyPairLike as _, ECDSAP384KeyPairLike as _, ES256KeyPair,
    ES256kKeyPair, ES384KeyPair, Ed25519KeyPair, EdDSAKeyPairLike as _, HS256Key, HS384Key,
    HS512Key, MACLike as _, PS256KeyPair, PS384KeyPair, PS512KeyPair, RS256KeyPair, RS384KeyPair,
    RS512KeyPair, RSAKeyPairLike as _,
};
use jwt_simple::claims::{Claims, JWTClaims};
use jwt_simple::common::HeaderOptions;
use serde_json::json;
use usher_core::codec::json::{Map, Value};

/// A signature algorithm (RFC 7518 section 3.1, RFC 8037, RFC 8812).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is its own name")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES256K,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

impl Algorithm {
    /// Every one.
    pub const ALL: [Self; 13] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES256K,
        Self::EdDSA,
        Self::HS256,
        Self::HS384,
        Self::HS512,
    ];

    /// As `alg` in a header names it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES256K => "ES256K",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// The one with this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }
}

/// A private key, or a shared secret, with its algorithm.
#[expect(missing_docs, reason = "each is its algorithm's name")]
pub enum SigningKey {
    RS256(RS256KeyPair),
    RS384(RS384KeyPair),
    RS512(RS512KeyPair),
    PS256(PS256KeyPair),
    PS384(PS384KeyPair),
    PS512(PS512KeyPair),
    ES256(ES256KeyPair),
    ES384(ES384KeyPair),
    ES256K(ES256kKeyPair),
    EdDSA(Ed25519KeyPair),
    HS256(HS256Key),
    HS384(HS384Key),
    HS512(HS512Key),
}

/// The same expression for every key pair, and another one for every shared secret.
macro_rules! each {
    ($key:expr, $pair:ident => $asymmetric:expr, $secret:ident => $symmetric:expr) => {
        match $key {
            SigningKey::RS256($pair) => $asymmetric,
            SigningKey::RS384($pair) => $asymmetric,
            SigningKey::RS512($pair) => $asymmetric,
            SigningKey::PS256($pair) => $asymmetric,
            SigningKey::PS384($pair) => $asymmetric,
            SigningKey::PS512($pair) => $asymmetric,
            SigningKey::ES256($pair) => $asymmetric,
            SigningKey::ES384($pair) => $asymmetric,
            SigningKey::ES256K($pair) => $asymmetric,
            SigningKey::EdDSA($pair) => $asymmetric,
            SigningKey::HS256($secret) => $symmetric,
            SigningKey::HS384($secret) => $symmetric,
            SigningKey::HS512($secret) => $symmetric,
        }
    };
}

/// Reads the key of an algorithm from `$from` (`from_jwk`, `from_pem`), or from a secret's bytes.
macro_rules! read {
    ($algorithm:expr, $from:ident, $text:expr, $secret:expr) => {
        match $algorithm {
            Algorithm::RS256 => RS256KeyPair::$from($text).map(SigningKey::RS256),
            Algorithm::RS384 => RS384KeyPair::$from($text).map(SigningKey::RS384),
            Algorithm::RS512 => RS512KeyPair::$from($text).map(SigningKey::RS512),
            Algorithm::PS256 => PS256KeyPair::$from($text).map(SigningKey::PS256),
            Algorithm::PS384 => PS384KeyPair::$from($text).map(SigningKey::PS384),
            Algorithm::PS512 => PS512KeyPair::$from($text).map(SigningKey::PS512),
            Algorithm::ES256 => ES256KeyPair::$from($text).map(SigningKey::ES256),
            Algorithm::ES384 => ES384KeyPair::$from($text).map(SigningKey::ES384),
            Algorithm::ES256K => ES256kKeyPair::$from($text).map(SigningKey::ES256K),
            Algorithm::EdDSA => Ed25519KeyPair::$from($text).map(SigningKey::EdDSA),
            Algorithm::HS256 => Ok(SigningKey::HS256(HS256Key::from_bytes($secret))),
            Algorithm::HS384 => Ok(SigningKey::HS384(HS384Key::from_bytes($secret))),
            Algorithm::HS512 => Ok(SigningKey::HS512(HS512Key::from_bytes($secret))),
        }
        .map_err(|problem| anyhow!("not a private key for {:?}: {problem}", $algorithm))
    };
}

/// Bits of a new RSA modulus: the usual size of issuers (NIST SP 800-57 part 1, table 2: good until
/// 2030).
const MODULUS_BITS: usize = 2048;

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// The random numbers gave none.
    pub fn generate(algorithm: Algorithm, kid: Option<&str>) -> anyhow::Result<Self> {
        let bits = MODULUS_BITS;
        let key = match algorithm {
            Algorithm::RS256 => RS256KeyPair::generate(bits).map(Self::RS256),
            Algorithm::RS384 => RS384KeyPair::generate(bits).map(Self::RS384),
            Algorithm::RS512 => RS512KeyPair::generate(bits).map(Self::RS512),
            Algorithm::PS256 => PS256KeyPair::generate(bits).map(Self::PS256),
            Algorithm::PS384 => PS384KeyPair::generate(bits).map(Self::PS384),
            Algorithm::PS512 => PS512KeyPair::generate(bits).map(Self::PS512),
            Algorithm::ES256 => Ok(Self::ES256(ES256KeyPair::generate())),
            Algorithm::ES384 => Ok(Self::ES384(ES384KeyPair::generate())),
            Algorithm::ES256K => Ok(Self::ES256K(ES256kKeyPair::generate())),
            Algorithm::EdDSA => Ok(Self::EdDSA(Ed25519KeyPair::generate())),
            Algorithm::HS256 => Ok(Self::HS256(HS256Key::from_bytes(&secret(32)))),
            Algorithm::HS384 => Ok(Self::HS384(HS384Key::from_bytes(&secret(48)))),
            Algorithm::HS512 => Ok(Self::HS512(HS512Key::from_bytes(&secret(64)))),
        };
        Ok(key?.named(kid))
    }

    /// Reads a key from a file: a JWK, PEM, or with an HS algorithm the secret's bytes.
    ///
    /// # Errors
    /// Not a private key, or not one for the algorithm.
    pub fn read(
        bytes: &[u8],
        algorithm: Option<Algorithm>,
        kid: Option<&str>,
    ) -> anyhow::Result<Self> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            if let Ok(jwk) = usher_core::codec::json::parse(bytes, 8)
                && jwk.is_object()
            {
                return Self::from_jwk(text.trim(), &jwk, algorithm, kid);
            }
            if text.contains("-----BEGIN") {
                return Ok(Self::from_pem(text, algorithm)?.named(kid));
            }
        }
        match algorithm {
            Some(algorithm @ (Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512)) => {
                let secret = bytes.strip_suffix(b"\n").unwrap_or(bytes);
                Ok(read!(algorithm, from_pem, "", secret)?.named(kid))
            }
            Some(_) | None => bail!("expected a private key as PEM or JWK"),
        }
    }

    fn from_jwk(
        text: &str,
        jwk: &Value,
        algorithm: Option<Algorithm>,
        kid: Option<&str>,
    ) -> anyhow::Result<Self> {
        let member = |name| jwk.get(name).and_then(Value::as_str);
        let algorithm = match (algorithm, member("alg")) {
            (Some(algorithm), _) => algorithm,
            (None, Some(name)) => Algorithm::of(name)
                .with_context(|| format!("the algorithm `{name}` is not supported"))?,
            (None, None) => match (member("kty"), member("crv")) {
                (Some("RSA"), _) => Algorithm::RS256,
                (Some("EC"), Some("P-256")) => Algorithm::ES256,
                (Some("EC"), Some("P-384")) => Algorithm::ES384,
                (Some("EC"), Some("secp256k1")) => Algorithm::ES256K,
                (Some("OKP"), Some("Ed25519")) => Algorithm::EdDSA,
                (Some("oct"), _) => Algorithm::HS256,
                _ => bail!("expected a private JWK of type RSA, EC, OKP or oct"),
            },
        };
        let secret = match member("k") {
            Some(text) => URL_SAFE_NO_PAD.decode(text).context("the member `k`")?,
            None if matches!(member("kty"), Some("oct")) => bail!("missing member `k`"),
            None => Vec::new(),
        };
        let key = read!(algorithm, from_jwk, text, &secret)?;
        Ok(key.named(kid.or(member("kid"))))
    }

    fn from_pem(text: &str, algorithm: Option<Algorithm>) -> anyhow::Result<Self> {
        if let Some(algorithm) = algorithm {
            return read!(algorithm, from_pem, text, text.as_bytes());
        }
        let guesses = [
            Algorithm::ES256,
            Algorithm::ES384,
            Algorithm::ES256K,
            Algorithm::EdDSA,
            Algorithm::RS256,
        ];
        guesses
            .into_iter()
            .find_map(|algorithm| read!(algorithm, from_pem, text, &[]).ok())
            .context("expected a private key: RSA of 2048 bits or more, P-256, P-384, secp256k1 or Ed25519")
    }

    /// The key with this id, or with its thumbprint (RFC 7638) as id.
    fn named(self, kid: Option<&str>) -> Self {
        macro_rules! named {
            ($($variant:ident),* ; $($secret:ident),*) => {
                match self {
                    $(Self::$variant(key) => {
                        let kid = kid.map_or_else(|| key.jwk_thumbprint(), str::to_owned);
                        Self::$variant(key.with_key_id(&kid))
                    })*
                    $(Self::$secret(key) => Self::$secret(key.with_key_id(kid.unwrap_or("secret"))),)*
                }
            };
        }
        named!(RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES256K, EdDSA; HS256, HS384, HS512)
    }

    /// The compact form of exactly these claims, signed with this key.
    ///
    /// # Errors
    /// The key cannot sign.
    pub fn sign(&self, claims: Map<String, Value>, typ: &str) -> anyhow::Result<String> {
        let header =
            HeaderOptions { signature_type: Some(typ.to_owned()), ..HeaderOptions::default() };
        let claims = bare(claims);
        each!(self,
            pair => pair.sign_with_options(claims, &header),
            secret => secret.authenticate_with_options(claims, &header))
    }

    /// The verifying key: the public key, or for HS* the secret itself.
    ///
    /// # Errors
    /// The key cannot be written.
    pub fn public_jwk(&self) -> anyhow::Result<Value> {
        let jwk = each!(self, pair => pair.public_key().to_jwk(), _secret => self.private_jwk()?);
        Ok(serde_json::from_str(&jwk)?)
    }

    /// The whole key as a JWK.
    ///
    /// # Errors
    /// The key cannot be written.
    pub fn private_jwk(&self) -> anyhow::Result<String> {
        Ok(each!(self, pair => pair.to_jwk(), secret => {
            json!({
                "kty": "oct",
                "alg": self.algorithm(),
                "kid": secret.key_id(),
                "k": URL_SAFE_NO_PAD.encode(secret.to_bytes()),
            })
            .to_string()
        }))
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::HS256(_) => "HS256",
            Self::HS384(_) => "HS384",
            Self::HS512(_) => "HS512",
            Self::RS256(_)
            | Self::RS384(_)
            | Self::RS512(_)
            | Self::PS256(_)
            | Self::PS384(_)
            | Self::PS512(_)
            | Self::ES256(_)
            | Self::ES384(_)
            | Self::ES256K(_)
            | Self::EdDSA(_) => "",
        }
    }
}

/// A random secret of `bytes`, at most 64. RFC 7518 section 3.2 requires at least the size of the hash;
/// jwt-simple makes 32 for each.
fn secret(bytes: usize) -> Vec<u8> {
    let mut secret = HS256Key::generate().to_bytes();
    secret.extend(HS256Key::generate().to_bytes());
    secret.truncate(bytes);
    secret
}

/// jwt-simple's claims without its own: only what the user gave is signed.
fn bare(claims: Map<String, Value>) -> JWTClaims<Map<String, Value>> {
    let mut bare = Claims::with_custom_claims(claims, jwt_simple::prelude::Duration::from_secs(0));
    bare.issued_at = None;
    bare.expires_at = None;
    bare.invalid_before = None;
    bare
}
