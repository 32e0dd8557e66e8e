//! The engine that runs anywhere: jwt-simple's keys, and the primitives that they stand on.
//!
//! jwt-simple's own `verify_token` insists on its reading of header and claims (a `typ` it knows, whole
//! seconds) and takes RSA keys of 2048 to 4096 bits with the exponent 65537 only. Usher has read both
//! by then, and issuers have other keys; so the signature alone is checked here, by the same crates.

use ed25519_compact::Signature as Ed25519Signature;
use hmac_sha256::HMAC as HmacSha256;
use hmac_sha512::{HMAC as HmacSha512, sha384::HMAC as HmacSha384};
use jwt_simple::algorithms::{
    ECDSAP256PublicKeyLike as _, ECDSAP256kPublicKeyLike as _, ECDSAP384PublicKeyLike as _,
    ES256PublicKey, ES256kPublicKey, ES384PublicKey, Ed25519PublicKey, EdDSAPublicKeyLike as _,
    MLDSA44PublicKey, MLDSA65PublicKey, MLDSA87PublicKey, MLDSAPublicKeyLike,
};
use p256::ecdsa::signature::Verifier as _;
use rsa::sha2::{Digest as _, Sha256, Sha384, Sha512};
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};

use super::{EngineFailed, SignatureEngine};
use crate::jwks::der::{Curve, Numbers};
use crate::jwks::{Algorithm, Key};

/// RSA moduli of fewer bits can be factored (NIST SP 800-131A); of more, one signature costs the proxy
/// milliseconds.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key, read once and ready to check with.
#[derive(Clone, Debug)]
pub enum PublicKey {
    /// EdDSA over edwards25519.
    Ed25519(Ed25519PublicKey),
    /// ML-DSA-44 (FIPS 204). Boxed: these keys are far larger than the others.
    MlDsa44(Box<MLDSA44PublicKey>),
    /// ML-DSA-65.
    MlDsa65(Box<MLDSA65PublicKey>),
    /// ML-DSA-87.
    MlDsa87(Box<MLDSA87PublicKey>),
    /// ECDSA over secp256r1.
    P256(ES256PublicKey),
    /// ECDSA over secp384r1.
    P384(ES384PublicKey),
    /// ECDSA over secp521r1.
    P521(p521::ecdsa::VerifyingKey),
    /// RSA.
    Rsa(RsaPublicKey),
    /// ECDSA over secp256k1.
    Secp256k1(ES256kPublicKey),
    /// HMAC: the secret that signer and verifier share.
    Shared(Vec<u8>),
}

/// Why numbers are no key, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidKey(pub &'static str);

impl PublicKey {
    /// Reads a key, and checks what can be checked of it.
    ///
    /// # Errors
    /// A modulus out of range, an exponent that is even or below 3, a point that is not on its curve.
    pub fn new(numbers: &Numbers) -> Result<Self, InvalidKey> {
        let off_curve = |_| InvalidKey("the point is not on the curve");
        match numbers {
            Numbers::Rsa { n, e } => rsa(n, e).map(Self::Rsa),
            Numbers::Ed25519(bytes) => ed25519(bytes).map(Self::Ed25519),
            Numbers::MlDsa { algorithm, key } => ml_dsa(*algorithm, key),
            Numbers::Ec { curve: Curve::P256, point } => {
                ES256PublicKey::from_bytes(point).map(Self::P256).map_err(off_curve)
            }
            Numbers::Ec { curve: Curve::P384, point } => {
                ES384PublicKey::from_bytes(point).map(Self::P384).map_err(off_curve)
            }
            Numbers::Ec { curve: Curve::Secp256k1, point } => {
                ES256kPublicKey::from_bytes(point).map(Self::Secp256k1).map_err(off_curve)
            }
            Numbers::Ec { curve: Curve::P521, point } => {
                p521::ecdsa::VerifyingKey::from_sec1_bytes(point)
                    .map(Self::P521)
                    .map_err(|_| InvalidKey("the point is not on the curve"))
            }
        }
    }
}

fn rsa(n: &[u8], e: &[u8]) -> Result<RsaPublicKey, InvalidKey> {
    let (n, e) = (BigUint::from_bytes_be(n), BigUint::from_bytes_be(e));
    if !RSA_BITS.contains(&n.bits()) {
        return Err(InvalidKey("the modulus has not 2048 to 8192 bits"));
    }
    if e.bits() < 2 {
        return Err(InvalidKey("the exponent is less than 3"));
    }
    // Odd modulus, odd exponent, exponent of at most 33 bits.
    RsaPublicKey::new_with_max_size(n, e, *RSA_BITS.end())
        .map_err(|_| InvalidKey("modulus or exponent are out of range"))
}

fn ed25519(bytes: &[u8]) -> Result<Ed25519PublicKey, InvalidKey> {
    Ed25519PublicKey::from_bytes(bytes).map_err(|_| InvalidKey("`x` is no Ed25519 key"))
}

fn ml_dsa(algorithm: Algorithm, key: &[u8]) -> Result<PublicKey, InvalidKey> {
    let read = match algorithm {
        Algorithm::MlDsa44 => {
            MLDSA44PublicKey::from_bytes(key).map(|k| PublicKey::MlDsa44(Box::new(k)))
        }
        Algorithm::MlDsa65 => {
            MLDSA65PublicKey::from_bytes(key).map(|k| PublicKey::MlDsa65(Box::new(k)))
        }
        Algorithm::MlDsa87 => {
            MLDSA87PublicKey::from_bytes(key).map(|k| PublicKey::MlDsa87(Box::new(k)))
        }
        _ => return Err(InvalidKey("`alg` is none of ML-DSA")),
    };
    read.map_err(|_| InvalidKey("`pub` has not the size of its `alg`"))
}

/// The engine. It has no state: keys are ready when they are read.
#[derive(Clone, Copy, Debug, Default)]
pub struct Portable;

impl SignatureEngine for Portable {
    fn name(&self, _: Algorithm) -> &'static str {
        "portable"
    }

    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: &Key,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool, EngineFailed> {
        Ok(match &key.public {
            PublicKey::Rsa(key) => verify_rsa(algorithm, key, signed, signature),
            PublicKey::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|s| key.public_key().as_ref().verify(signed, &s).is_ok()),
            PublicKey::P384(key) => p384::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|s| key.public_key().as_ref().verify(signed, &s).is_ok()),
            PublicKey::P521(key) => p521::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|s| key.verify(signed, &s).is_ok()),
            PublicKey::Secp256k1(key) => verify_secp256k1(key, signed, signature),
            PublicKey::Ed25519(key) => Ed25519Signature::from_slice(signature)
                .is_ok_and(|s| key.public_key().as_ref().verify(signed, &s).is_ok()),
            PublicKey::MlDsa44(key) => verify_ml_dsa(&**key, signed, signature),
            PublicKey::MlDsa65(key) => verify_ml_dsa(&**key, signed, signature),
            PublicKey::MlDsa87(key) => verify_ml_dsa(&**key, signed, signature),
            PublicKey::Shared(secret) => verify_hmac(algorithm, secret, signed, signature),
        })
    }
}

/// RFC 7518 sections 3.3 and 3.5. The salt of PSS is as long as the hash, no other length.
fn verify_rsa(algorithm: Algorithm, key: &RsaPublicKey, signed: &[u8], signature: &[u8]) -> bool {
    let sha256 = || Sha256::digest(signed);
    let sha384 = || Sha384::digest(signed);
    let sha512 = || Sha512::digest(signed);
    let verdict = match algorithm {
        Algorithm::RS256 => key.verify(Pkcs1v15Sign::new::<Sha256>(), &sha256(), signature),
        Algorithm::RS384 => key.verify(Pkcs1v15Sign::new::<Sha384>(), &sha384(), signature),
        Algorithm::RS512 => key.verify(Pkcs1v15Sign::new::<Sha512>(), &sha512(), signature),
        Algorithm::PS256 => key.verify(Pss::new_with_salt::<Sha256>(32), &sha256(), signature),
        Algorithm::PS384 => key.verify(Pss::new_with_salt::<Sha384>(48), &sha384(), signature),
        Algorithm::PS512 => key.verify(Pss::new_with_salt::<Sha512>(64), &sha512(), signature),
        _ => return false,
    };
    verdict.is_ok()
}

/// RFC 8812 section 3.2. k256 by itself takes only the lower of the two `s`; the RFC allows both.
fn verify_secp256k1(key: &ES256kPublicKey, signed: &[u8], signature: &[u8]) -> bool {
    k256::ecdsa::Signature::from_slice(signature)
        .is_ok_and(|s| key.public_key().as_ref().verify(signed, &s.normalize_s()).is_ok())
}

/// FIPS 204 section 5.3, with an empty context.
fn verify_ml_dsa(key: &impl MLDSAPublicKeyLike, signed: &[u8], signature: &[u8]) -> bool {
    key.public_key().as_ref().verify(signed, signature).is_ok()
}

/// RFC 7518 section 3.2; compared in constant time.
fn verify_hmac(algorithm: Algorithm, secret: &[u8], signed: &[u8], signature: &[u8]) -> bool {
    match algorithm {
        Algorithm::HS256 => signature
            .try_into()
            .is_ok_and(|expected: &[u8; 32]| HmacSha256::verify(signed, secret, expected)),
        Algorithm::HS384 => signature
            .try_into()
            .is_ok_and(|expected: &[u8; 48]| HmacSha384::verify(signed, secret, expected)),
        Algorithm::HS512 => signature
            .try_into()
            .is_ok_and(|expected: &[u8; 64]| HmacSha512::verify(signed, secret, expected)),
        _ => false,
    }
}
