//! The engine that runs anywhere: jwt-simple's HMAC, and the primitives that jwt-simple uses for its other keys.
//!
//! jwt-simple's own `verify_token` requires its own reading of header and claims (a `typ` that it knows, whole
//! seconds) and only accepts RSA keys of 2048 to 4096 bits with the exponent 65537. Usher has read both already,
//! and issuers have other keys; so only the signature is checked here, by the same crates.

use ecdsa::signature::hazmat::PrehashVerifier;
use ecdsa::{EcdsaCurve, Signature, SignatureSize, VerifyingKey};
use ed25519_compact::{PublicKey as Ed25519PublicKey, Signature as Ed25519Signature};
use elliptic_curve::CurveArithmetic;
use elliptic_curve::array::ArraySize;
use elliptic_curve::subtle::ConstantTimeEq as _;
use hmac_sha256::Hash as Sha256;
use hmac_sha512::{Hash as Sha512, sha384::Hash as Sha384};
use jwt_simple::algorithms::MACLike as _;
use rsa::PublicKey as RsaPublicKey;
use superboring::mldsa::MlDsaPublicKey;

use super::Algorithm;
use super::engine::{EngineFailed, SignatureEngine};
use super::key::{Key, PublicKey, SharedKey};

/// The engine. It has no state: keys are prepared when they are read.
///
/// Each algorithm's check stays a separate function: the host's compiler is slow with one that contains them
/// all.
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
            PublicKey::P256(key) => verify_ecdsa(key, &Sha256::hash(signed), signature),
            PublicKey::P384(key) => verify_ecdsa(key, &Sha384::hash(signed), signature),
            PublicKey::P521(key) => verify_ecdsa(key, &Sha512::hash(signed), signature),
            PublicKey::Secp256k1(key) => verify_secp256k1(key, signed, signature),
            PublicKey::Ed25519(key) => verify_ed25519(key, signed, signature),
            PublicKey::MlDsa(key) => verify_ml_dsa(key, signed, signature),
            PublicKey::Shared(key) => verify_hmac(algorithm, key, signed, signature),
        })
    }
}

/// RFC 7518 sections 3.3 and 3.5. The salt of PSS must be as long as the hash.
#[inline(never)]
fn verify_rsa(algorithm: Algorithm, key: &RsaPublicKey, signed: &[u8], signature: &[u8]) -> bool {
    let verdict = match algorithm {
        Algorithm::RS256 => key.pkcs1v15_verify::<Sha256>(signed, signature),
        Algorithm::RS384 => key.pkcs1v15_verify::<Sha384>(signed, signature),
        Algorithm::RS512 => key.pkcs1v15_verify::<Sha512>(signed, signature),
        Algorithm::PS256 => key.pss_verify::<Sha256>(signed, signature),
        Algorithm::PS384 => key.pss_verify::<Sha384>(signed, signature),
        Algorithm::PS512 => key.pss_verify::<Sha512>(signed, signature),
        _ => return false,
    };
    verdict.is_ok()
}

/// RFC 7518 section 3.4.
#[inline(never)]
fn verify_ecdsa<C>(key: &VerifyingKey<C>, hash: &[u8], signature: &[u8]) -> bool
where
    C: EcdsaCurve + CurveArithmetic,
    SignatureSize<C>: ArraySize,
    VerifyingKey<C>: PrehashVerifier<Signature<C>>,
{
    Signature::from_slice(signature).is_ok_and(|s| key.verify_prehash(hash, &s).is_ok())
}

/// RFC 8812 section 3.2. By itself k256 accepts only the lower of the two `s`; the RFC allows both.
#[inline(never)]
fn verify_secp256k1(key: &k256::ecdsa::VerifyingKey, signed: &[u8], signature: &[u8]) -> bool {
    k256::ecdsa::Signature::from_slice(signature)
        .is_ok_and(|s| key.verify_prehash(&Sha256::hash(signed), &s.normalize_s()).is_ok())
}

/// RFC 8032 section 5.1.7.
#[inline(never)]
fn verify_ed25519(key: &Ed25519PublicKey, signed: &[u8], signature: &[u8]) -> bool {
    Ed25519Signature::from_slice(signature).is_ok_and(|s| key.verify(signed, &s).is_ok())
}

/// FIPS 204 section 5.3, with an empty context.
#[inline(never)]
fn verify_ml_dsa(key: &MlDsaPublicKey, signed: &[u8], signature: &[u8]) -> bool {
    key.verify(signed, signature).is_ok()
}

/// RFC 7518 section 3.2; compared in constant time.
fn verify_hmac(algorithm: Algorithm, key: &SharedKey, signed: &[u8], signature: &[u8]) -> bool {
    let tag = match algorithm {
        Algorithm::HS256 => key.hs256.authentication_tag(signed),
        Algorithm::HS384 => key.hs384.authentication_tag(signed),
        Algorithm::HS512 => key.hs512.authentication_tag(signed),
        _ => return false,
    };
    tag.ct_eq(signature).into()
}
