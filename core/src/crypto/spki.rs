//! The part of DER (ITU-T X.690) that keys need: SubjectPublicKeyInfo, by itself and in certificates.
//!
//! A reader of tag, length and value that never looks behind the slice that it was given. Of a
//! certificate only its key is used: its signer and validity are up to the operator who configured it.

use super::Algorithm;
use crate::codec::der::{BIT_STRING, INTEGER, SEQUENCE, VERSION, encode, expect, integer, value};

/// OBJECT IDENTIFIER rsaEncryption (RFC 8017 appendix C), tag and length included.
const RSA: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
/// OBJECT IDENTIFIER id-ecPublicKey (RFC 5480 section 2.1.1).
const EC: &[u8] = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01";
/// OBJECT IDENTIFIER id-Ed25519 (RFC 8410 section 3).
const ED25519: &[u8] = b"\x06\x03\x2b\x65\x70";
/// Named curves (RFC 5480 section 2.1.1.1; SEC 2 for secp256k1).
const CURVES: [(&[u8], Curve); 4] = [
    (b"\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", Curve::P256),
    (b"\x06\x05\x2b\x81\x04\x00\x22", Curve::P384),
    (b"\x06\x05\x2b\x81\x04\x00\x23", Curve::P521),
    (b"\x06\x05\x2b\x81\x04\x00\x0a", Curve::Secp256k1),
];

const NULL: &[u8] = b"\x05\x00";

/// A curve for ECDSA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    /// secp256r1, ES256.
    P256,
    /// secp384r1, ES384.
    P384,
    /// secp521r1, ES512.
    P521,
    /// ES256K.
    Secp256k1,
}

/// The numbers of a public key, from a SubjectPublicKeyInfo or a JWK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// A point, SEC 1 section 2.3.3, uncompressed.
    Ec {
        /// The curve it is on.
        curve: Curve,
        /// `04 || x || y`.
        point: Vec<u8>,
    },
    /// 32 bytes, RFC 8032 section 5.1.5.
    Ed25519(Vec<u8>),
    /// ML-DSA, FIPS 204 section 7.2; from a JWK only.
    MlDsa {
        /// The parameter set.
        algorithm: Algorithm,
        /// The encoded public key.
        key: Vec<u8>,
    },
    /// Big-endian, unsigned.
    Rsa {
        /// Modulus.
        n: Vec<u8>,
        /// Exponent.
        e: Vec<u8>,
    },
}

/// The SubjectPublicKeyInfo of an X.509 certificate (RFC 5280 section 4.1).
pub fn certificate_key(certificate: &[u8]) -> Option<Numbers> {
    let (certificate, _) = expect(SEQUENCE, certificate)?;
    let (tbs, _) = expect(SEQUENCE, certificate)?;
    let mut rest = expect(VERSION, tbs).map_or(tbs, |(_, rest)| rest);
    // serialNumber, signature, issuer, validity, subject.
    for _ in 0..5 {
        rest = value(rest)?.2;
    }
    public_key(rest)
}

/// The numbers of a SubjectPublicKeyInfo.
pub fn public_key(spki: &[u8]) -> Option<Numbers> {
    let (info, _) = expect(SEQUENCE, spki)?;
    let (algorithm, rest) = expect(SEQUENCE, info)?;
    let (bits, _) = expect(BIT_STRING, rest)?;
    // A whole number of bytes: no unused bits.
    let key = bits.strip_prefix(&[0])?;
    if algorithm.starts_with(RSA) {
        let (pair, _) = expect(SEQUENCE, key)?;
        let (n, rest) = expect(INTEGER, pair)?;
        let (e, _) = expect(INTEGER, rest)?;
        return Some(Numbers::Rsa { n: n.to_vec(), e: e.to_vec() });
    }
    if algorithm == ED25519 {
        return Some(Numbers::Ed25519(key.to_vec()));
    }
    let curve = algorithm.strip_prefix(EC)?;
    let (_, curve) = CURVES.iter().find(|(oid, _)| *oid == curve)?;
    Some(Numbers::Ec { curve: *curve, point: key.to_vec() })
}

impl Numbers {
    /// SubjectPublicKeyInfo in DER; empty for ML-DSA, which no host's engine checks.
    pub fn spki(&self) -> Vec<u8> {
        let (algorithm, key) = match self {
            Self::Rsa { n, e } => {
                let pair = [integer(n), integer(e)].concat();
                ([RSA, NULL].concat(), encode(SEQUENCE, &pair))
            }
            Self::Ed25519(key) => (ED25519.to_vec(), key.clone()),
            Self::MlDsa { .. } => return Vec::new(),
            Self::Ec { curve, point } => {
                let oid = CURVES.iter().find(|(_, c)| c == curve).map_or(NULL, |(oid, _)| *oid);
                ([EC, oid].concat(), point.clone())
            }
        };
        let algorithm = encode(SEQUENCE, &algorithm);
        let bits = encode(BIT_STRING, &[&[0], key.as_slice()].concat());
        encode(SEQUENCE, &[algorithm, bits].concat())
    }
}

/// A JWS signature `r || s` (RFC 7518 section 3.4) as ECDSA-Sig-Value (RFC 3279 section 2.2.3).
pub(crate) fn ecdsa_signature(raw: &[u8]) -> Vec<u8> {
    let (r, s) = raw.split_at(raw.len() / 2);
    encode(SEQUENCE, &[integer(r), integer(s)].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let rsa = Numbers::Rsa { n: [0, 0xff].repeat(200), e: vec![1, 0, 1] };
        let Some(Numbers::Rsa { n, e }) = public_key(&rsa.spki()) else { panic!("no RSA key") };
        assert_eq!(n.first(), Some(&0), "the sign bit needs its zero");
        assert_eq!(e, [1, 0, 1]);
        for (numbers, what) in [
            (Numbers::Ed25519(vec![7; 32]), "Ed25519"),
            (Numbers::Ec { curve: Curve::P256, point: vec![4; 65] }, "P-256"),
            (Numbers::Ec { curve: Curve::P521, point: vec![4; 133] }, "P-521"),
        ] {
            assert_eq!(public_key(&numbers.spki()).as_ref(), Some(&numbers), "{what}");
        }
    }

    #[test]
    fn ecdsa_signatures_are_two_shortest_integers() {
        for (raw, der, what) in [
            (&[1, 2][..], &b"\x30\x06\x02\x01\x01\x02\x01\x02"[..], "small"),
            (&[0, 1, 0, 2], b"\x30\x06\x02\x01\x01\x02\x01\x02", "leading zeros go"),
            (&[0x80, 0x7f], b"\x30\x07\x02\x02\x00\x80\x02\x01\x7f", "the sign bit needs a zero"),
            (&[0, 0], b"\x30\x06\x02\x01\x00\x02\x01\x00", "zero"),
        ] {
            assert_eq!(ecdsa_signature(raw), der, "{what}");
        }
        assert_eq!(ecdsa_signature(&[0xff; 132]).get(..3), Some(&[0x30, 0x81, 138][..]), "P-521");
    }

    #[test]
    fn cut_off_or_foreign_bytes_are_no_key() {
        let good = Numbers::Ed25519(vec![7; 32]).spki();
        for end in 0..good.len() {
            assert_eq!(public_key(&good[..end]), None, "cut at {end}");
        }
        for bytes in [&b"\x30\x84\xff\xff\xff\xff"[..], b"\x30\x80\x00\x00", b"", b"\x30"] {
            assert_eq!(public_key(bytes), None);
            assert_eq!(certificate_key(bytes), None);
        }
    }
}
