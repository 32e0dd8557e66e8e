//! JWK thumbprints (RFC 7638): they identify a key by its material, independent of its `kid`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Material;
use super::spki::{Curve, Numbers};

impl Material {
    /// The SHA-256 thumbprint in base64url.
    pub(crate) fn thumbprint(self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// For a key that signer and verifier share (RFC 7638 section 3.2).
    pub(crate) fn shared(secret: &[u8]) -> Self {
        Self::of_members(&format!(r#""k":"{}","kty":"oct""#, URL_SAFE_NO_PAD.encode(secret)))
    }

    fn of_members(members: &str) -> Self {
        Self(hmac_sha256::Hash::hash(format!("{{{members}}}").as_bytes()))
    }
}

impl Numbers {
    /// What distinguishes the key from every other.
    pub(crate) fn material(&self) -> Material {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        // RFC 7638 section 3.2, RFC 8037 section 2: the required members, sorted, without white space.
        let members = match self {
            Self::Ec { curve, point } => {
                let name = match curve {
                    Curve::P256 => "P-256",
                    Curve::P384 => "P-384",
                    Curve::P521 => "P-521",
                    Curve::Secp256k1 => "secp256k1",
                };
                let coordinates = point.get(1..).unwrap_or_default();
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                format!(r#""crv":"{name}","kty":"EC","x":"{}","y":"{}""#, encode(x), encode(y))
            }
            Self::Ed25519(x) => format!(r#""crv":"Ed25519","kty":"OKP","x":"{}""#, encode(x)),
            // draft-ietf-cose-dilithium section 6.
            Self::MlDsa { algorithm, key } => {
                format!(r#""alg":"{algorithm}","kty":"AKP","pub":"{}""#, encode(key))
            }
            Self::Rsa { n, e } => {
                // RFC 7518 section 2: a Base64urlUInt has no leading zero octets.
                let least = |bytes: &[u8]| {
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    encode(bytes.get(zeros..).unwrap_or_default())
                };
                format!(r#""e":"{}","kty":"RSA","n":"{}""#, least(e), least(n))
            }
        };
        Material::of_members(&members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Vec<u8> {
        URL_SAFE_NO_PAD.decode(text).unwrap()
    }

    #[test]
    fn thumbprints_are_those_of_the_standards() {
        // RFC 7638 section 3.1.
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let rsa = Numbers::Rsa { n: decode(n), e: vec![0, 1, 0, 1] };
        assert_eq!(rsa.material().thumbprint(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        // RFC 8037 appendix A.3.
        let ed = Numbers::Ed25519(decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"));
        assert_eq!(ed.material().thumbprint(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }
}
