//! Public keys, read once and ready to check signatures with.
//!
//! For all keys but HMAC's, jwt-simple's constructors can return an error whose type brings stack traces, their demangler
//! and all of its texts into the module, for what is one sentence here. The primitives below jwt-simple make the same checks, so
//! their keys are used directly, and they share one implementation of each hash.

use std::fmt;

use ecdsa::{EcdsaCurve, VerifyingKey};
use ed25519_compact::PublicKey as Ed25519PublicKey;
use elliptic_curve::point::{AffineCoordinates, AffinePoint};
use elliptic_curve::{CurveArithmetic, FieldBytes};
use jwt_simple::algorithms::{HS256Key, HS384Key, HS512Key, MACLike as _};
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, PublicKey as RsaPublicKey};
use superboring::mldsa::{Algorithm as ParameterSet, MlDsaPublicKey};

use super::Algorithm;
use super::spki::{Curve, Numbers};

/// A key that can verify.
#[derive(Clone, Debug)]
pub struct Key {
    /// `kid`; a key without one is tried for every token.
    pub kid: Option<String>,
    /// The algorithms that it may verify; never empty.
    pub algorithms: Vec<Algorithm>,
    /// The key, ready for the portable engine.
    pub public: PublicKey,
    /// SubjectPublicKeyInfo in DER (RFC 5280 section 4.1), for the host's engine; empty for `oct` and `AKP`.
    pub spki: Vec<u8>,
    /// What distinguishes it from other keys.
    pub material: Material,
    /// RFC 7638; `None` for `oct`, whose thumbprint would reveal something about the secret.
    pub thumbprint: Option<String>,
}

/// The identity of a key, independent of its `kid`: the bytes of its RFC 7638 thumbprint. For `oct` they are a hash
/// of the secret, and are never shown.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Material(pub(super) [u8; 32]);

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Material(..)")
    }
}

impl Key {
    /// Its nominal size: of an RSA modulus, of a curve's field, of a secret.
    pub fn bits(&self) -> usize {
        self.public.bits()
    }
}

/// RSA moduli of fewer bits can be factored (NIST SP 800-131A); with more, one signature costs the proxy
/// milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key, read once and ready to verify with.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// EdDSA over edwards25519.
    Ed25519(Ed25519PublicKey),
    /// ML-DSA (FIPS 204), of any parameter set.
    MlDsa(MlDsaPublicKey),
    /// ECDSA over secp256r1.
    P256(p256::ecdsa::VerifyingKey),
    /// ECDSA over secp384r1.
    P384(p384::ecdsa::VerifyingKey),
    /// ECDSA over secp521r1.
    P521(p521::ecdsa::VerifyingKey),
    /// RSA.
    Rsa(RsaPublicKey),
    /// ECDSA over secp256k1.
    Secp256k1(k256::ecdsa::VerifyingKey),
    /// HMAC. Boxed: it consists of three keys.
    Shared(Box<SharedKey>),
}

/// The secret that signer and verifier share, as jwt-simple's key for each algorithm.
#[derive(Clone, Debug)]
pub struct SharedKey {
    pub(super) hs256: HS256Key,
    pub(super) hs384: HS384Key,
    pub(super) hs512: HS512Key,
}

/// Why numbers are not a valid key, as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey(pub &'static str);

impl PublicKey {
    /// Reads a key, and checks what can be checked.
    ///
    /// # Errors
    /// A modulus out of range, an exponent that is even or below 3, a point that is not on its curve.
    pub fn new(numbers: &Numbers) -> Result<Self, InvalidKey> {
        match numbers {
            Numbers::Rsa { n, e } => rsa(n, e).map(Self::Rsa),
            Numbers::Ed25519(bytes) => ed25519(bytes).map(Self::Ed25519),
            Numbers::MlDsa { algorithm, key } => ml_dsa(*algorithm, key).map(Self::MlDsa),
            Numbers::Ec { curve: Curve::P256, point } => ecdsa(point).map(Self::P256),
            Numbers::Ec { curve: Curve::P384, point } => ecdsa(point).map(Self::P384),
            Numbers::Ec { curve: Curve::P521, point } => ecdsa(point).map(Self::P521),
            Numbers::Ec { curve: Curve::Secp256k1, point } => ecdsa(point).map(Self::Secp256k1),
        }
    }

    /// HMAC's key.
    pub fn shared(secret: &[u8]) -> Self {
        Self::Shared(Box::new(SharedKey {
            hs256: HS256Key::from_bytes(secret),
            hs384: HS384Key::from_bytes(secret),
            hs512: HS512Key::from_bytes(secret),
        }))
    }

    /// Its nominal size: of an RSA modulus, of a curve's field, of a secret.
    pub fn bits(&self) -> usize {
        match self {
            Self::Rsa(key) => bits(key.n()),
            Self::P256(_) | Self::Secp256k1(_) | Self::Ed25519(_) => 256,
            Self::P384(_) => 384,
            Self::P521(_) => 521,
            Self::MlDsa(key) => key.algorithm().public_key_bytes().saturating_mul(8),
            Self::Shared(key) => key.hs256.key().as_ref().len().saturating_mul(8),
        }
    }
}

fn bits(number: &BoxedUint) -> usize {
    usize::try_from(number.bit_width_vartime()).unwrap_or(usize::MAX)
}

fn rsa(n: &[u8], e: &[u8]) -> Result<RsaPublicKey, InvalidKey> {
    let [n, e] = [n, e].map(|bytes| {
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        BoxedUint::from_be_slice_vartime(bytes.get(zeros..).unwrap_or_default())
    });
    if !RSA_BITS.contains(&bits(&n)) {
        return Err(InvalidKey("the modulus has not 2048 to 8192 bits"));
    }
    if bits(&e) < 2 {
        return Err(InvalidKey("the exponent is less than 3"));
    }
    // Odd modulus, odd exponent, exponent of at most 33 bits.
    RsaPublicKey::new_with_size_limits(n, e, RSA_BITS)
        .map_err(|_| InvalidKey("modulus or exponent are out of range"))
}

/// As jwt-simple reads it. Points of small order are refused: one signature fits many texts for them.
fn ed25519(bytes: &[u8]) -> Result<Ed25519PublicKey, InvalidKey> {
    let key = Ed25519PublicKey::from_slice(bytes);
    key.and_then(|key| key.validate().map(|()| key))
        .map_err(|_| InvalidKey("`x` is not an Ed25519 key"))
}

/// SEC 1 section 2.3.4, the uncompressed form only: a JWK can express no other, and computing `y` would take a square
/// root for each curve.
fn ecdsa<C>(point: &[u8]) -> Result<VerifyingKey<C>, InvalidKey>
where
    C: EcdsaCurve + CurveArithmetic,
    AffinePoint<C>: AffineCoordinates<FieldRepr = FieldBytes<C>>,
{
    let Some((4, coordinates)) = point.split_first() else {
        return Err(InvalidKey("the point is not `04`, x and y, uncompressed"));
    };
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    let on_curve = || {
        let (x, y) = (FieldBytes::<C>::try_from(x).ok()?, FieldBytes::<C>::try_from(y).ok()?);
        let point = AffinePoint::<C>::from_coordinates(&x, &y).into_option()?;
        elliptic_curve::PublicKey::from_affine(point).ok().map(VerifyingKey::from)
    };
    on_curve().ok_or(InvalidKey("the point is not on the curve"))
}

fn ml_dsa(algorithm: Algorithm, key: &[u8]) -> Result<MlDsaPublicKey, InvalidKey> {
    let parameters = match algorithm {
        Algorithm::MlDsa44 => ParameterSet::MlDsa44,
        Algorithm::MlDsa65 => ParameterSet::MlDsa65,
        Algorithm::MlDsa87 => ParameterSet::MlDsa87,
        _ => return Err(InvalidKey("`alg` is none of ML-DSA")),
    };
    MlDsaPublicKey::from_slice(parameters, key)
        .map_err(|_| InvalidKey("`pub` has not the size of its `alg`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_uncompressed_and_neither_infinite_nor_off_its_curve() {
        let generator = p256::AffinePoint::GENERATOR;
        let whole = [&[4][..], &generator.x(), &generator.y()].concat();
        let mut off = whole.clone();
        off[64] ^= 1;
        let compressed = [&[3][..], &generator.x()].concat();
        for (point, expected) in [
            (whole.as_slice(), None),
            (&off, Some("the point is not on the curve")),
            (&whole[..64], Some("the point is not on the curve")),
            (&[4; 1], Some("the point is not on the curve")),
            (&compressed, Some("the point is not `04`, x and y, uncompressed")),
            (&[0; 1], Some("the point is not `04`, x and y, uncompressed")),
            (&[], Some("the point is not `04`, x and y, uncompressed")),
        ] {
            let numbers = Numbers::Ec { curve: Curve::P256, point: point.to_vec() };
            assert_eq!(PublicKey::new(&numbers).err().map(|why| why.0), expected, "{point:02x?}");
        }
    }

    #[test]
    fn an_ed25519_key_is_32_bytes_and_not_of_small_order() {
        let mut identity = [0; 32];
        identity[0] = 1;
        for bytes in [&[0; 32][..], &identity, &[0xff; 32], &[1; 31], &[]] {
            let key = PublicKey::new(&Numbers::Ed25519(bytes.to_vec()));
            assert_eq!(key.err(), Some(InvalidKey("`x` is not an Ed25519 key")), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_shared_secret_is_not_told() {
        let text = format!("{:?}", PublicKey::shared(&[77; 64]));
        assert!(!text.contains("77"), "{text}");
    }
}
