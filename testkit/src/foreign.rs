//! Envoy's foreign function `verify_signature`, by ring: for a [fake host](crate::fake_host) that verifies signatures itself.
//!
//! Source: envoyproxy/envoy source/extensions/common/wasm/foreign.cc, source/common/crypto/utility_impl.cc. ring has no
//! P-521: as with any key that it cannot read, there is no answer.

use ring::signature::{self as sig, UnparsedPublicKey, VerificationAlgorithm};

/// SubjectPublicKeyInfo up to the key itself, of RSA keys of 2048 bits and of both curves (RFC 8017, RFC 5480).
const RSA: &[u8] =
    b"\x30\x82\x01\x22\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00\x03\x82\x01\x0f\x00";
const P256: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";
const P384: &[u8] =
    b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00";

/// The answer to a `VerifySignatureArguments`: a `VerifySignatureResult`.
pub fn verify_signature(arguments: &[u8]) -> Option<Vec<u8>> {
    let [hash, spki, signature, text] = fields(arguments)?;
    let (algorithm, key): (&dyn VerificationAlgorithm, _) = match hash {
        b"sha256" => rsa(spki, &sig::RSA_PKCS1_2048_8192_SHA256)
            .or_else(|| Some((&sig::ECDSA_P256_SHA256_ASN1 as _, spki.strip_prefix(P256)?))),
        b"sha384" => rsa(spki, &sig::RSA_PKCS1_2048_8192_SHA384)
            .or_else(|| Some((&sig::ECDSA_P384_SHA384_ASN1 as _, spki.strip_prefix(P384)?))),
        b"sha512" => rsa(spki, &sig::RSA_PKCS1_2048_8192_SHA512),
        _ => None,
    }?;
    Some(match UnparsedPublicKey::new(algorithm, key).verify(text, signature) {
        // `bool result = 1`
        Ok(()) => vec![1 << 3, 1],
        // `string error = 2`
        Err(_) => [&[2 << 3 | 2, 2], b"no".as_slice()].concat(),
    })
}

fn rsa<'k>(
    spki: &'k [u8],
    algorithm: &'static dyn VerificationAlgorithm,
) -> Option<(&'static dyn VerificationAlgorithm, &'k [u8])> {
    Some((algorithm, spki.strip_prefix(RSA)?))
}

/// The fields 1 to 4, each of bytes.
fn fields(mut message: &[u8]) -> Option<[&[u8]; 4]> {
    let mut fields = [&[][..]; 4];
    while let [tag, rest @ ..] = message {
        let (mut length, mut shift, mut rest) = (0, 0, rest);
        while let [byte, tail @ ..] = rest {
            length |= usize::from(byte & 0x7f) << shift;
            (shift, rest) = (shift + 7, tail);
            if byte & 0x80 == 0 {
                break;
            }
        }
        let (bytes, tail) = rest.split_at_checked(length)?;
        *fields.get_mut(usize::from(tag >> 3).checked_sub(1)?)? = bytes;
        message = tail;
    }
    Some(fields)
}
