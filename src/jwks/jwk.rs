//! One JWK (RFC 7517, RFC 7518 section 6, RFC 8037) -> [`Key`], or why it cannot be used.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::der::{Curve, Numbers};
use super::{Algorithm, Key};
use crate::json::{Map, Value};
use crate::verify::portable::PublicKey;

/// Members that only the holder of the private key should have (RFC 7518 sections 6.2.2, 6.3.2).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// Why a key of a set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It holds a private part.
    Private(&'static str),
    /// Anything else, in words.
    Unfit(String),
}

impl Unusable {
    fn because(why: &str) -> Self {
        Self::Unfit(why.to_owned())
    }
}

/// Whether keys count that the issuer and every verifier share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symmetric {
    Counts,
    Ignored,
}

/// Reads a JWK.
pub(super) fn read(jwk: &Map<String, Value>, symmetric: Symmetric) -> Result<Key, Unusable> {
    let kty = text(jwk, "kty")?.ok_or_else(|| Unusable::because("`kty` is missing"))?;
    if kty != "oct"
        && let Some(member) = PRIVATE.into_iter().find(|member| jwk.contains_key(*member))
    {
        return Err(Unusable::Private(member));
    }
    let kid = text(jwk, "kid")?.map(str::to_owned);
    check_use(jwk)?;
    if kty == "oct" {
        return shared(jwk, kid, symmetric);
    }
    let numbers = match kty {
        "RSA" => Numbers::Rsa { n: bytes(jwk, "n")?, e: bytes(jwk, "e")? },
        "EC" => point(jwk)?,
        "OKP" => match required(jwk, "crv")? {
            "Ed25519" => Numbers::Ed25519(bytes(jwk, "x")?),
            crv => return Err(Unusable::Unfit(format!("`crv` `{crv}` is not supported"))),
        },
        _ => return Err(Unusable::Unfit(format!("`kty` `{kty}` is not supported"))),
    };
    from_numbers(&numbers, kid, text(jwk, "alg")?)
}

/// A key of its numbers, bound to `alg` if that is given.
pub(super) fn from_numbers(
    numbers: &Numbers,
    kid: Option<String>,
    alg: Option<&str>,
) -> Result<Key, Unusable> {
    let public = PublicKey::new(numbers).map_err(|why| Unusable::because(why.0))?;
    let algorithms = bind(fitting(numbers), alg)?;
    Ok(Key { kid, algorithms, public, spki: numbers.spki() })
}

/// What a key's type and curve allow.
fn fitting(numbers: &Numbers) -> &'static [Algorithm] {
    use Algorithm::{ES256, ES256K, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match numbers {
        Numbers::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
        Numbers::Ed25519(_) => &[EdDSA],
        Numbers::Ec { curve: Curve::P256, .. } => &[ES256],
        Numbers::Ec { curve: Curve::P384, .. } => &[ES384],
        Numbers::Ec { curve: Curve::P521, .. } => &[ES512],
        Numbers::Ec { curve: Curve::Secp256k1, .. } => &[ES256K],
    }
}

/// RFC 7517 section 4.4: a key that names its algorithm has no other.
fn bind(fitting: &[Algorithm], alg: Option<&str>) -> Result<Vec<Algorithm>, Unusable> {
    let Some(alg) = alg else {
        return Ok(fitting.to_vec());
    };
    match Algorithm::parse(alg).filter(|algorithm| fitting.contains(algorithm)) {
        Some(algorithm) => Ok(vec![algorithm]),
        None => Err(Unusable::Unfit(format!("`alg` `{alg}` does not fit the key"))),
    }
}

/// RFC 7517 sections 4.2 and 4.3: a key for encryption is none for signatures.
fn check_use(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    if text(jwk, "use")?.is_some_and(|usage| usage != "sig") {
        return Err(Unusable::because("`use` is not `sig`"));
    }
    match jwk.get("key_ops") {
        None => Ok(()),
        Some(Value::Array(ops)) if ops.iter().any(|op| op == "verify") => Ok(()),
        Some(_) => Err(Unusable::because("`key_ops` does not hold `verify`")),
    }
}

fn shared(
    jwk: &Map<String, Value>,
    kid: Option<String>,
    symmetric: Symmetric,
) -> Result<Key, Unusable> {
    if symmetric == Symmetric::Ignored {
        let why = "a symmetric key counts only where `algorithms` lists an HS algorithm";
        return Err(Unusable::because(why));
    }
    let secret = bytes(jwk, "k")?;
    // RFC 7518 section 3.2: a key of at least the size of the hash.
    let long_enough: Vec<Algorithm> =
        [(Algorithm::HS256, 32), (Algorithm::HS384, 48), (Algorithm::HS512, 64)]
            .into_iter()
            .filter(|(_, size)| secret.len() >= *size)
            .map(|(algorithm, _)| algorithm)
            .collect();
    let algorithms = bind(&long_enough, text(jwk, "alg")?)?;
    if algorithms.is_empty() {
        return Err(Unusable::because("`k` is shorter than the hash (RFC 7518 section 3.2)"));
    }
    Ok(Key { kid, algorithms, public: PublicKey::Shared(secret), spki: Vec::new() })
}

fn point(jwk: &Map<String, Value>) -> Result<Numbers, Unusable> {
    let (curve, size) = match required(jwk, "crv")? {
        "P-256" => (Curve::P256, 32),
        "P-384" => (Curve::P384, 48),
        "P-521" => (Curve::P521, 66),
        "secp256k1" => (Curve::Secp256k1, 32),
        crv => return Err(Unusable::Unfit(format!("`crv` `{crv}` is not supported"))),
    };
    let (x, y) = (bytes(jwk, "x")?, bytes(jwk, "y")?);
    // RFC 7518 section 6.2.1.2: the full size of a coordinate.
    if x.len() != size || y.len() != size {
        return Err(Unusable::because("`x` and `y` have not the curve's size"));
    }
    Ok(Numbers::Ec { curve, point: [&[4], x.as_slice(), &y].concat() })
}

fn text<'j>(jwk: &'j Map<String, Value>, member: &str) -> Result<Option<&'j str>, Unusable> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unusable::Unfit(format!("`{member}` is not a string"))),
    }
}

fn required<'j>(jwk: &'j Map<String, Value>, member: &str) -> Result<&'j str, Unusable> {
    text(jwk, member)?.ok_or_else(|| Unusable::Unfit(format!("`{member}` is missing")))
}

fn bytes(jwk: &Map<String, Value>, member: &str) -> Result<Vec<u8>, Unusable> {
    let decoded = URL_SAFE_NO_PAD.decode(required(jwk, member)?);
    decoded.map_err(|_| Unusable::Unfit(format!("`{member}` is not unpadded base64url")))
}
