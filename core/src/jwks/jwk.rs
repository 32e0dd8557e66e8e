//! One JWK (RFC 7517, RFC 7518 section 6, RFC 8037; `AKP`: draft-ietf-cose-dilithium) -> [`Key`], or why
//! it cannot be used.
//!
//! The operator or the issuer gives a key set, not a client: its form may be loose where its meaning is certain, as Envoy
//! takes it (google/jwt_verify_lib src/jwks.cc). A token's parts are read strictly, by [`crate::compact`].

use base64::Engine as _;
use base64::alphabet::URL_SAFE;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::codec::json::{Map, Value};
use crate::crypto::PublicKey;
use crate::crypto::spki::{Curve, Numbers};
use crate::crypto::{Algorithm, Key, Material};

/// Members that only the holder of the private key should have (RFC 7518 sections 6.2.2, 6.3.2; `priv` of
/// an `AKP`).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];

/// Base64url, padded or not; what the last digit holds beyond the last byte does not matter.
const NUMBER: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Why a key of a set cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unusable {
    /// It holds a private part.
    Private(&'static str),
    /// Any other reason, as text.
    Unfit(String),
}

impl Unusable {
    fn because(why: &str) -> Self {
        Self::Unfit(why.to_owned())
    }
}

/// Whether keys count that the issuer and all verifiers share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Symmetric {
    Counts,
    Ignored,
}

/// Reads a JWK.
pub(super) fn read(jwk: &Map<String, Value>, symmetric: Symmetric) -> Result<Key, Unusable> {
    let kty = text(jwk, "kty")?.ok_or_else(|| Unusable::because("`kty` is missing"))?;
    if kty != "oct"
        && let Some(member) = PRIVATE.into_iter().find(|member| given(jwk, member).is_some())
    {
        return Err(Unusable::Private(member));
    }
    let kid = kid(jwk).map(str::to_owned);
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
        "AKP" => algorithm_key_pair(jwk)?,
        _ => return Err(Unusable::Unfit(format!("`kty` `{kty}` is not supported"))),
    };
    from_numbers(&numbers, kid, text(jwk, "alg")?)
}

/// A key from its numbers, bound to `alg` if given.
pub(super) fn from_numbers(
    numbers: &Numbers,
    kid: Option<String>,
    alg: Option<&str>,
) -> Result<Key, Unusable> {
    let public = PublicKey::new(numbers).map_err(|why| Unusable::because(why.0))?;
    let algorithms = bind(fitting(numbers), alg)?;
    let material = numbers.material();
    let thumbprint = Some(material.thumbprint());
    Ok(Key { kid, algorithms, public, spki: numbers.spki(), material, thumbprint })
}

/// The algorithms that a key's type and curve allow.
fn fitting(numbers: &Numbers) -> &[Algorithm] {
    use Algorithm::{ES256, ES256K, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    match numbers {
        Numbers::Rsa { .. } => &[RS256, RS384, RS512, PS256, PS384, PS512],
        Numbers::Ed25519(_) => &[EdDSA],
        Numbers::MlDsa { algorithm, .. } => std::slice::from_ref(algorithm),
        Numbers::Ec { curve: Curve::P256, .. } => &[ES256],
        Numbers::Ec { curve: Curve::P384, .. } => &[ES384],
        Numbers::Ec { curve: Curve::P521, .. } => &[ES512],
        Numbers::Ec { curve: Curve::Secp256k1, .. } => &[ES256K],
    }
}

/// RFC 7517 section 4.4: a key with `alg` has no other algorithm.
fn bind(fitting: &[Algorithm], alg: Option<&str>) -> Result<Vec<Algorithm>, Unusable> {
    let Some(alg) = alg else {
        return Ok(fitting.to_vec());
    };
    match Algorithm::parse(alg).filter(|algorithm| fitting.contains(algorithm)) {
        Some(algorithm) => Ok(vec![algorithm]),
        None => Err(Unusable::Unfit(format!("`alg` `{alg}` does not fit the key"))),
    }
}

/// The use that a key's issuer marks it for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MarkedUse {
    /// Something other than signatures: an issuer that lists no other keys has no signing key.
    Another,
    /// Signatures, or anything.
    Signatures,
}

/// From `use` and `key_ops`. A mark that cannot be read is ignored.
pub(super) fn marked_use(jwk: &Map<String, Value>) -> MarkedUse {
    let by_use =
        matches!(given(jwk, "use"), Some(Value::String(usage)) if !is_for_signatures(usage));
    let by_operations = match given(jwk, "key_ops") {
        Some(Value::Array(ops)) => ops.iter().all(|op| op.as_str().is_some_and(|op| op != VERIFY)),
        Some(Value::String(op)) => op != VERIFY,
        _ => false,
    };
    if by_use || by_operations { MarkedUse::Another } else { MarkedUse::Signatures }
}

/// RFC 7517 section 4.2; SPIFFE Trust Domain and Bundle section 4.2.2 marks keys for JWT-SVIDs like this.
fn is_for_signatures(usage: &str) -> bool {
    matches!(usage, "sig" | "jwt-svid")
}

/// RFC 7517 sections 4.2 and 4.3: a key for encryption is not for signatures.
fn check_use(jwk: &Map<String, Value>) -> Result<(), Unusable> {
    if text(jwk, "use")?.is_some_and(|usage| !is_for_signatures(usage)) {
        return Err(Unusable::because("`use` is not `sig`"));
    }
    match given(jwk, "key_ops") {
        None => Ok(()),
        Some(Value::Array(ops)) if ops.iter().any(|op| op == VERIFY) => Ok(()),
        Some(Value::String(op)) if op == VERIFY => Ok(()),
        Some(_) => Err(Unusable::because("`key_ops` does not hold `verify`")),
    }
}

/// The entry of `key_ops` for keys that verify (RFC 7517 section 4.3).
const VERIFY: &str = "verify";

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
    let (public, material) = (PublicKey::shared(&secret), Material::shared(&secret));
    Ok(Key { kid, algorithms, public, spki: Vec::new(), material, thumbprint: None })
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
    let (Some(x), Some(y)) = (coordinate(&x, size), coordinate(&y, size)) else {
        return Err(Unusable::because("`x` and `y` have not the curve's size"));
    };
    Ok(Numbers::Ec { curve, point: [&[4], x.as_slice(), &y].concat() })
}

/// A coordinate in its full size (RFC 7518 section 6.2.1.2), of which some issuers leave leading zeros out, or which they
/// write as a signed number, with one more.
fn coordinate(bytes: &[u8], size: usize) -> Option<Vec<u8>> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let number = bytes.get(zeros..)?;
    let missing = size.checked_sub(number.len())?;
    Some([vec![0; missing].as_slice(), number].concat())
}

/// A key that `alg`, which is required, describes completely.
fn algorithm_key_pair(jwk: &Map<String, Value>) -> Result<Numbers, Unusable> {
    let alg = required(jwk, "alg")?;
    match Algorithm::parse(alg) {
        Some(algorithm @ (Algorithm::MlDsa44 | Algorithm::MlDsa65 | Algorithm::MlDsa87)) => {
            Ok(Numbers::MlDsa { algorithm, key: bytes(jwk, "pub")? })
        }
        _ => Err(Unusable::Unfit(format!("`alg` `{alg}` is not supported for `AKP`"))),
    }
}

/// A member with a value. Issuers write null, an empty text or an empty list for what they have no value for.
fn given<'j>(jwk: &'j Map<String, Value>, member: &str) -> Option<&'j Value> {
    jwk.get(member).filter(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => true,
    })
}

/// The key id, if it is a text: a number is not one that a token can name.
pub(super) fn kid(jwk: &Map<String, Value>) -> Option<&str> {
    given(jwk, "kid").and_then(Value::as_str)
}

fn text<'j>(jwk: &'j Map<String, Value>, member: &str) -> Result<Option<&'j str>, Unusable> {
    match given(jwk, member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Unusable::Unfit(format!("`{member}` is not a string"))),
    }
}

fn required<'j>(jwk: &'j Map<String, Value>, member: &str) -> Result<&'j str, Unusable> {
    text(jwk, member)?.ok_or_else(|| {
        // YAML 1.1 reads a plain `n` as false and a plain `y` as true, as names of members too.
        let taken = match member {
            "n" => Some("false"),
            "y" => Some("true"),
            _ => None,
        };
        let hint = match taken.filter(|taken| jwk.contains_key(*taken)) {
            Some(taken) => {
                format!(
                    ", and `{taken}` is there: YAML reads a plain `{member}` so, put it in quotes"
                )
            }
            None => String::new(),
        };
        Unusable::Unfit(format!("`{member}` is missing{hint}"))
    })
}

fn bytes(jwk: &Map<String, Value>, member: &str) -> Result<Vec<u8>, Unusable> {
    let text = required(jwk, member)?;
    // Some issuers break lines.
    let digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    NUMBER.decode(digits).map_err(|_| {
        let hint = if text.contains(['+', '/']) {
            ", but base64: `-` and `_` stand for its `+` and `/`"
        } else {
            ""
        };
        Unusable::Unfit(format!("`{member}` is not base64url{hint}"))
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;

    use super::*;

    fn key(json: &str, symmetric: Symmetric) -> Result<Key, Unusable> {
        let Value::Object(jwk) = crate::codec::json::parse(json.as_bytes(), 4).unwrap() else {
            panic!("not an object: {json}")
        };
        read(&jwk, symmetric)
    }

    fn encoded(bytes: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// An odd number of exactly `bits` bits.
    fn modulus(bits: u32) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(bits.div_ceil(8)).unwrap()];
        // Wraps at the byte's eight bits.
        bytes[0] = 1_u8.wrapping_shl(bits.wrapping_sub(1));
        *bytes.last_mut().unwrap() |= 1;
        bytes
    }

    fn rsa(n: &[u8], e: &[u8]) -> Result<Key, Unusable> {
        let jwk = format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, encoded(n), encoded(e));
        key(&jwk, Symmetric::Ignored)
    }

    #[test]
    fn an_rsa_exponent_is_odd_and_at_least_3() {
        for (e, good) in [
            (&[3][..], true),
            (&[17], true),
            (&[1, 0, 1], true),
            (&[0], false),
            (&[1], false),
            (&[2], false),
            (&[4], false),
            (&[1, 0, 0], false),
        ] {
            assert_eq!(rsa(&modulus(2048), e).is_ok(), good, "exponent {e:?}");
        }
    }

    #[test]
    fn an_rsa_modulus_is_odd_and_has_2048_to_8192_bits() {
        for (bits, good) in
            [(1024, false), (2047, false), (2048, true), (8192, true), (8193, false)]
        {
            assert_eq!(rsa(&modulus(bits), &[1, 0, 1]).is_ok(), good, "{bits} bits");
        }
        let mut even = modulus(2048);
        *even.last_mut().unwrap() = 0;
        assert!(rsa(&even, &[1, 0, 1]).is_err(), "even");
    }

    #[test]
    fn a_shared_key_is_at_least_as_long_as_the_hash() {
        use Algorithm::{HS256, HS384, HS512};
        let shared = |bytes: usize, alg: &str| {
            let jwk = format!(r#"{{"kty":"oct","k":"{}"{alg}}}"#, encoded(&vec![7; bytes]));
            key(&jwk, Symmetric::Counts).map(|key| key.algorithms).ok()
        };
        for (bytes, alg, expected) in [
            (31, "", None),
            (32, "", Some(vec![HS256])),
            (48, "", Some(vec![HS256, HS384])),
            (64, "", Some(vec![HS256, HS384, HS512])),
            (64, r#","alg":"HS384""#, Some(vec![HS384])),
            (47, r#","alg":"HS384""#, None),
            (64, r#","alg":"RS256""#, None),
        ] {
            assert_eq!(shared(bytes, alg), expected, "{bytes} bytes{alg}");
        }
        assert!(key(r#"{"kty":"oct","k":""}"#, Symmetric::Ignored).is_err(), "not asked for");
    }

    #[test]
    fn a_key_is_for_verifying_or_for_nothing_here() {
        let with = |more: &str| {
            let n = encoded(&modulus(2048));
            key(&format!(r#"{{"kty":"RSA","n":"{n}","e":"AQAB"{more}}}"#), Symmetric::Ignored)
        };
        for (more, good) in [
            (r#","use":"sig""#, true),
            (r#","use":"enc""#, false),
            (r#","use":1"#, false),
            (r#","key_ops":["verify"]"#, true),
            (r#","key_ops":["sign","verify"]"#, true),
            (r#","key_ops":["encrypt"]"#, false),
            (r#","key_ops":"verify""#, true),
            (r#","key_ops":"encrypt""#, false),
            (r#","key_ops":{}"#, false),
            (r#","key_ops":[null]"#, false),
            (r#","use":null,"alg":null,"key_ops":null,"kid":null"#, true),
            (r#","use":"","alg":"","key_ops":[],"kid":"","d":"","oth":[],"p":null"#, true),
            (r#","oth":[{}]"#, false),
            (r#","kid":7"#, true),
            (r#","alg":7"#, false),
            (r#","alg":"PS256""#, true),
            (r#","alg":"ES256""#, false),
            (r#","alg":"RSA-OAEP""#, false),
            (r#","d":"AQ""#, false),
            (r#","priv":"AQ""#, false),
        ] {
            assert_eq!(with(more).is_ok(), good, "{more}");
        }
    }

    #[test]
    fn a_point_has_its_size_and_is_on_its_curve() {
        let point = |crv: &str, size: usize| {
            let xy = encoded(&vec![1; size]);
            key(
                &format!(r#"{{"kty":"EC","crv":"{crv}","x":"{xy}","y":"{xy}"}}"#),
                Symmetric::Ignored,
            )
            .unwrap_err()
        };
        let off = Unusable::because("the point is not on the curve");
        let size = Unusable::because("`x` and `y` have not the curve's size");
        for (crv, bytes) in [("P-256", 32), ("P-384", 48), ("P-521", 66), ("secp256k1", 32)] {
            assert_eq!(point(crv, bytes), off, "{crv}");
            // A leading zero is left out.
            assert_eq!(point(crv, bytes - 1), off, "{crv}");
            assert_eq!(point(crv, bytes + 1), size, "{crv}");
        }
    }

    #[test]
    fn a_coordinate_is_a_number_and_has_the_size_of_the_curve() {
        for (bytes, expected, why) in [
            (&[1, 2, 3][..], Some(&[1, 2, 3][..]), "as it should be"),
            (&[2, 3], Some(&[0, 2, 3]), "a leading zero is left out"),
            (&[], Some(&[0, 0, 0]), "all of them"),
            (&[0, 1, 2, 3], Some(&[1, 2, 3]), "a signed number"),
            (&[0, 0, 0, 0, 3], Some(&[0, 0, 3]), "more zeros"),
            (&[1, 0, 2, 3], None, "too large"),
        ] {
            assert_eq!(coordinate(bytes, 3).as_deref(), expected, "{why}");
        }
    }

    #[test]
    fn the_same_number_in_any_form_is_the_same_key() {
        let n = encoded(&modulus(2048));
        let with = |n: &str| {
            let jwk = serde_json::json!({"kty": "RSA", "n": n, "e": "AQAB"}).to_string();
            key(&jwk, Symmetric::Ignored).map(|key| key.material)
        };
        let expected = with(&n).unwrap();
        let mut zero = modulus(2048);
        zero.insert(0, 0);
        for (text, why) in [
            (format!("{n}=="), "padded"),
            (format!("{n}="), "half padded"),
            (format!("{}\r\n {}\t", n.split_at(64).0, n.split_at(64).1), "over two lines"),
            (encoded(&zero), "a leading zero"),
        ] {
            assert_eq!(with(&text).as_ref(), Ok(&expected), "{why}");
        }
        for (text, why, problem) in [
            (format!("{n}!"), "another character", "`n` is not base64url"),
            (
                n.replace('A', "+"),
                "the other alphabet",
                "`n` is not base64url, but base64: `-` and `_` stand for its `+` and `/`",
            ),
        ] {
            assert_eq!(with(&text), Err(Unusable::because(problem)), "{why}");
        }
    }

    #[test]
    fn a_member_that_yaml_took_for_a_boolean_is_named() {
        let missing = |json: &str| key(json, Symmetric::Ignored).unwrap_err();
        let expected =
            "`n` is missing, and `false` is there: YAML reads a plain `n` so, put it in quotes";
        assert_eq!(
            missing(r#"{"kty":"RSA","false":"AQ","e":"AQAB"}"#),
            Unusable::because(expected)
        );
        let expected =
            "`y` is missing, and `true` is there: YAML reads a plain `y` so, put it in quotes";
        assert_eq!(
            missing(r#"{"kty":"EC","crv":"P-256","x":"AQ","true":"AQ"}"#),
            Unusable::because(expected)
        );
        assert_eq!(
            missing(r#"{"kty":"EC","crv":"P-256","x":"AQ"}"#),
            Unusable::because("`y` is missing")
        );
    }
}
