//! The compact form of a signed token (RFC 7515 section 7.1), read strictly.
//!
//! One token has one spelling: three non-empty parts, canonical unpadded base64url, JSON objects
//! without a repeated member. Envoy drops empty parts, skips white space and ignores unused bits
//! (docs/semantics.md, "The form of a token"), so several spellings of a token pass there, and
//! caches and deny lists can be evaded. Errors are found in Envoy's order. Nothing read here is
//! verified yet.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::claims::Claims;
use crate::codec::decimal::Decimal;
use crate::codec::json::{self, Map, Value};
use crate::crypto::Algorithm;
use crate::denial::{Denial, Malformed};
use crate::policy::TokenLimits;
use crate::time::UnixSeconds;

/// A token, read and not verified.
#[derive(Clone, Debug)]
pub struct Compact<'t> {
    /// The header.
    pub header: Rc<Header>,
    /// The algorithm of its `alg`.
    pub algorithm: Algorithm,
    /// The payload's claims.
    pub claims: Claims,
    /// The payload's part as written: unpadded base64url.
    pub payload: &'t str,
    /// The signing input: header, dot, payload, as written (RFC 7515 section 5.2).
    pub signed: &'t [u8],
    /// The signature's bytes.
    pub signature: Vec<u8>,
    /// Claim `exp`, whole seconds.
    pub exp: Option<UnixSeconds>,
    /// Claim `nbf`, whole seconds.
    pub nbf: Option<UnixSeconds>,
    /// Claim `iat`, whole seconds.
    pub iat: Option<UnixSeconds>,
}

impl Compact<'_> {
    /// Claim `iss`.
    pub fn iss(&self) -> Option<&str> {
        self.claims.text("iss")
    }

    /// Claim `sub`.
    pub fn sub(&self) -> Option<&str> {
        self.claims.text("sub")
    }

    /// Claim `aud`; one string is a list of one.
    pub fn aud(&self) -> impl Iterator<Item = &str> {
        let value = self.claims.get("aud");
        let list = value.and_then(Value::as_array).into_iter().flatten();
        value.and_then(Value::as_str).into_iter().chain(list.filter_map(Value::as_str))
    }
}

/// The parts of a token's header that Usher uses. A key in the header (`jwk`, `x5c`), or a URL to fetch one
/// from (`jku`, `x5u`), is ignored (RFC 8725 section 3.10, CVE-2018-0114).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// `alg`, as written.
    pub alg: String,
    /// `kid`.
    pub kid: Option<String>,
    /// `typ`.
    pub typ: Option<String>,
}

/// Parses a token.
///
/// # Errors
/// `token_too_large`, `token_malformed` with its cause, `header_unsupported`.
pub fn parse<'t>(token: &'t [u8], limits: &TokenLimits) -> Result<Compact<'t>, Denial> {
    if token.len() > limits.token_bytes {
        return Err(Denial::TokenTooLarge);
    }
    let text = std::str::from_utf8(token).map_err(|_| malformed(Malformed::Form))?;
    let (signed, header, payload, signature) = parts(text)?;

    // One spelling: it begins with its brace. JSON allows white space before the brace, but logs and filters
    // recognize a token by `eyJ` and the like.
    if header.as_bytes().first() != Some(&b'e') {
        base64url(header).ok_or(malformed(Malformed::HeaderBase64))?;
        return Err(malformed(Malformed::HeaderJson));
    }
    let header = object(header, Malformed::HeaderBase64, Malformed::HeaderJson, limits)?;
    let (header, algorithm) = read_header(&header)?;
    let claims = object(payload, Malformed::PayloadBase64, Malformed::PayloadJson, limits)?;
    string(&claims, "iss", Malformed::Iss)?;
    string(&claims, "sub", Malformed::Sub)?;
    let iat = seconds(&claims, "iat", Malformed::IatType, Malformed::IatRange)?;
    let nbf = seconds(&claims, "nbf", Malformed::NbfType, Malformed::NbfRange)?;
    let exp = seconds(&claims, "exp", Malformed::ExpType, Malformed::ExpRange)?;
    string(&claims, "jti", Malformed::Jti)?;
    check_audiences(&claims)?;
    let signature = base64url(signature).ok_or(malformed(Malformed::SignatureBase64))?;

    Ok(Compact {
        header: Rc::new(header),
        algorithm,
        claims: Claims(claims),
        payload,
        signed: signed.as_bytes(),
        signature,
        exp,
        nbf,
        iat,
    })
}

fn malformed(cause: Malformed) -> Denial {
    Denial::TokenMalformed(cause)
}

/// Signing input, header, payload, signature.
fn parts(token: &str) -> Result<(&str, &str, &str, &str), Denial> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let form = || match token.split('.').count() {
        // RFC 7516 section 9 distinguishes a JWE by its five parts; a line of two tokens and a comma has
        // five too.
        5 if token.bytes().all(is_token) => malformed(Malformed::Encrypted),
        _ => malformed(Malformed::Form),
    };
    let (signed, signature) = token.rsplit_once('.').ok_or_else(form)?;
    let (header, payload) = signed.split_once('.').ok_or_else(form)?;
    if payload.contains('.') || header.is_empty() || payload.is_empty() || signature.is_empty() {
        return Err(form());
    }
    Ok((signed, header, payload, signature))
}

/// The engine refuses padding, other alphabets, white space and non-zero unused bits.
fn base64url(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

fn object(
    part: &str,
    not_base64: Malformed,
    not_json: Malformed,
    limits: &TokenLimits,
) -> Result<Map<String, Value>, Denial> {
    let bytes = base64url(part).ok_or(malformed(not_base64))?;
    match json::parse(&bytes, limits.json_depth) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) | Err(_) => Err(malformed(not_json)),
    }
}

fn read_header(header: &Map<String, Value>) -> Result<(Header, Algorithm), Denial> {
    // RFC 7515 section 4.1.11: a critical extension must be understood, and Usher supports none; RFC 7797
    // section 7: an unencoded payload changes what was signed.
    if header.contains_key("crit") || header.contains_key("b64") {
        return Err(Denial::HeaderUnsupported);
    }
    let alg = string(header, "alg", Malformed::Alg)?.ok_or(malformed(Malformed::Alg))?;
    let algorithm = Algorithm::parse(alg).ok_or(Denial::AlgorithmNotAllowed)?;
    let kid = string(header, "kid", Malformed::Kid)?.map(str::to_owned);
    let typ = string(header, "typ", Malformed::Typ)?.map(str::to_owned);
    Ok((Header { alg: alg.to_owned(), kid, typ }, algorithm))
}

fn string<'o>(
    object: &'o Map<String, Value>,
    name: &str,
    cause: Malformed,
) -> Result<Option<&'o str>, Denial> {
    match object.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(malformed(cause)),
    }
}

/// A NumericDate (RFC 7519 section 2): decimals are cut off; a number that no u64 can hold is malformed and
/// never "absent" or "forever" (CVE-2026-25537).
fn seconds(
    claims: &Map<String, Value>,
    name: &str,
    not_number: Malformed,
    out_of_range: Malformed,
) -> Result<Option<UnixSeconds>, Denial> {
    let number = match claims.get(name) {
        None => return Ok(None),
        Some(Value::Number(number)) => number,
        Some(_) => return Err(malformed(not_number)),
    };
    if let Some(seconds) = number.as_u64() {
        return Ok(Some(UnixSeconds(seconds)));
    }
    let decimal = Decimal::parse(number.as_str()).ok_or(malformed(not_number))?;
    let seconds = decimal.times(1).ok_or(malformed(out_of_range))?;
    Ok(Some(UnixSeconds(seconds.number)))
}

fn check_audiences(claims: &Map<String, Value>) -> Result<(), Denial> {
    match claims.get("aud") {
        None | Some(Value::String(_)) => Ok(()),
        Some(Value::Array(items)) if items.iter().all(Value::is_string) => Ok(()),
        Some(_) => Err(malformed(Malformed::Aud)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = r#"{"alg":"RS256"}"#;

    fn token(header: &str, payload: &str) -> String {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        format!("{}.{}.c2ln", part(header), part(payload))
    }

    fn refusal(token: &str) -> Option<Denial> {
        parse(token.as_bytes(), &TokenLimits::default()).err()
    }

    #[test]
    fn only_three_full_parts_are_a_token() {
        let good = token(HEADER, "{}");
        assert_eq!(refusal(&good), None);
        let (header, rest) = good.split_once('.').unwrap();
        for (text, cause) in [
            (String::new(), Malformed::Form),
            ("opaque".to_owned(), Malformed::Form),
            ("a.b".to_owned(), Malformed::Form),
            (format!(".{good}"), Malformed::Form),
            (format!("{good}."), Malformed::Form),
            (format!("{header}..{rest}"), Malformed::Form),
            (format!("{header}."), Malformed::Form),
            ("a.b.c.d.e".to_owned(), Malformed::Encrypted),
            ("a.b.c,Bearer a.b.c".to_owned(), Malformed::Form),
            (format!("{good} trailing"), Malformed::SignatureBase64),
            (format!("{good}=="), Malformed::SignatureBase64),
            (good.replace("c2ln", "c2lnZ"), Malformed::SignatureBase64),
            (good.replace("c2ln", "c2l"), Malformed::SignatureBase64),
            (format!("{header}\n.{rest}"), Malformed::HeaderBase64),
        ] {
            assert_eq!(refusal(&text), Some(malformed(cause)), "{text:?}");
        }
    }

    #[test]
    fn headers_are_read_strictly() {
        for (header, denial) in [
            ("[]", malformed(Malformed::HeaderJson)),
            (" {\"alg\":\"RS256\"}", malformed(Malformed::HeaderJson)),
            ("\n{\"alg\":\"RS256\"}", malformed(Malformed::HeaderJson)),
            ("\r\n{\"alg\":\"RS256\"}", malformed(Malformed::HeaderJson)),
            ("\t{\"alg\":\"RS256\"}", malformed(Malformed::HeaderJson)),
            ("\u{feff}{\"alg\":\"RS256\"}", malformed(Malformed::HeaderJson)),
            ("{", malformed(Malformed::HeaderJson)),
            (r#"{"alg":"RS256","alg":"RS256"}"#, malformed(Malformed::HeaderJson)),
            ("{}", malformed(Malformed::Alg)),
            (r#"{"alg":1}"#, malformed(Malformed::Alg)),
            (r#"{"alg":"none"}"#, Denial::AlgorithmNotAllowed),
            (r#"{"alg":"rs256"}"#, Denial::AlgorithmNotAllowed),
            (r#"{"alg":"RS256","kid":1}"#, malformed(Malformed::Kid)),
            (r#"{"alg":"RS256","crit":[]}"#, Denial::HeaderUnsupported),
            (r#"{"alg":"RS256","b64":true}"#, Denial::HeaderUnsupported),
        ] {
            assert_eq!(refusal(&token(header, "{}")), Some(denial), "{header}");
        }
        let brought = r#"{"alg":"RS256","jwk":{"kty":"RSA"},"x5c":["x"],"jku":"http://x","x5u":1}"#;
        assert_eq!(refusal(&token(brought, "{}")), None, "keys in the token are not looked at");
    }

    #[test]
    fn registered_claims_have_their_types() {
        for (payload, cause) in [
            (r#"{"iss":1}"#, Malformed::Iss),
            (r#"{"iss":null}"#, Malformed::Iss),
            (r#"{"sub":[]}"#, Malformed::Sub),
            (r#"{"jti":1}"#, Malformed::Jti),
            (r#"{"iat":"1"}"#, Malformed::IatType),
            (r#"{"exp":null}"#, Malformed::ExpType),
            (r#"{"exp":true}"#, Malformed::ExpType),
            (r#"{"nbf":-1}"#, Malformed::NbfRange),
            (r#"{"exp":1e400}"#, Malformed::ExpRange),
            (r#"{"exp":18446744073709551616}"#, Malformed::ExpRange),
            (r#"{"aud":1}"#, Malformed::Aud),
            (r#"{"aud":["a",1]}"#, Malformed::Aud),
        ] {
            assert_eq!(refusal(&token(HEADER, payload)), Some(malformed(cause)), "{payload}");
        }
    }

    #[test]
    fn times_are_whole_seconds() {
        for (text, seconds) in [
            ("0", 0),
            ("1234.5", 1234),
            ("1.2345e3", 1234),
            ("18446744073709551615", u64::MAX),
            ("-0", 0),
            ("1e3", 1000),
        ] {
            let token = token(HEADER, &format!("{{\"exp\":{text}}}"));
            let parsed = parse(token.as_bytes(), &TokenLimits::default()).unwrap();
            assert_eq!(parsed.exp, Some(UnixSeconds(seconds)), "{text}");
        }
    }

    #[test]
    fn size_is_bounded() {
        let limits = TokenLimits { token_bytes: 10, json_depth: 4 };
        let long = token(HEADER, "{}");
        assert_eq!(parse(long.as_bytes(), &limits).err(), Some(Denial::TokenTooLarge));
    }
}
