//! The parser of tokens, against a slow reading of its rules: docs/differences.md lists where they are stricter than
//! Envoy's.
//!
//! A written case is a token, without a line end.

use serde_json::Value;

use crate::draw::Draw;
use crate::mint::base64url;
use crate::subject::{Compact, TokenLimits, parse_compact, strict_json};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

const ALGORITHMS: &[&str] = &[
    "EdDSA",
    "Ed25519",
    "ES256",
    "ES256K",
    "ES384",
    "ES512",
    "HS256",
    "HS384",
    "HS512",
    "ML-DSA-44",
    "ML-DSA-65",
    "ML-DSA-87",
    "PS256",
    "PS384",
    "PS512",
    "RS256",
    "RS384",
    "RS512",
];

const MEMBERS: &[&str] = &[
    "",
    r#","kid":"k""#,
    r#","typ":"JWT""#,
    r#","kid":1"#,
    r#","crit":[]"#,
    r#","b64":false"#,
    r#","alg":"x""#,
];

pub(crate) fn run(data: &[u8]) {
    match Draw::of(data) {
        Some(mut draw) => {
            let mut limits = TokenLimits::default();
            if draw.one_in(8) {
                limits.token_bytes = draw.below(200);
            }
            limits.json_depth = 1 + draw.below(40);
            check(&token(&mut draw), &limits);
        }
        None => check(data, &TokenLimits::default()),
    }
}

fn token(draw: &mut Draw<'_>) -> Vec<u8> {
    let header = if draw.one_in(3) {
        draw.text(81)
    } else {
        let alg =
            if draw.one_in(4) { draw.pick(&["none", "rs256"]) } else { draw.pick(ALGORITHMS) };
        format!(r#"{{"alg":"{alg}"{}}}"#, draw.pick(MEMBERS))
    };
    let payload = if draw.one_in(2) {
        let name = draw.pick(&["exp", "nbf", "iat", "aud", "iss", "sub", "jti"]);
        format!(r#"{{"{name}":{}}}"#, draw.text(61))
    } else {
        draw.text(301)
    };
    let signature = base64url(draw.bytes(13));
    let mut token =
        format!("{}.{}.{signature}", base64url(header), base64url(payload)).into_bytes();
    if draw.one_in(3) {
        for _ in 0..=draw.below(3) {
            let at = draw.below(token.len() + 1);
            let end = (at + draw.below(2)).min(token.len());
            let more = draw.bytes(3);
            token.splice(at..end, more);
        }
    }
    token
}

fn check(token: &[u8], limits: &TokenLimits) {
    let shown = token.escape_ascii();
    match (parse_compact(token, limits), reference(token, limits)) {
        (Ok(read), Some(expected)) => {
            expected.check(&read, token);
            let parts = shown.to_string();
            let spelled = parts.split('.').map(|part| base64url(decoded(part).expect("base64url")));
            assert_eq!(spelled.collect::<Vec<_>>().join("."), parts, "another spelling");
        }
        (Ok(_), None) => panic!("taken: {shown}"),
        (Err(denial), Some(_)) => panic!("refused: {}\n{shown}", denial.code()),
        (Err(_), None) => {}
    }
}

struct Expected {
    header: Value,
    claims: Value,
    times: [Option<u64>; 3],
}

impl Expected {
    fn check(&self, read: &Compact<'_>, token: &[u8]) {
        let shown = token.escape_ascii();
        assert_eq!(Value::Object(read.claims.0.clone()), self.claims, "{shown}");
        assert_eq!(
            [read.exp, read.nbf, read.iat].map(|time| time.map(|time| time.0)),
            self.times,
            "{shown}"
        );
        let header = [
            Some(read.header.alg.as_str()),
            read.header.kid.as_deref(),
            read.header.typ.as_deref(),
        ];
        assert_eq!(header, ["alg", "kid", "typ"].map(|name| self.header[name].as_str()), "{shown}");
        assert!(token.starts_with(read.signed), "{shown}");
    }
}

fn reference(token: &[u8], limits: &TokenLimits) -> Option<Expected> {
    if token.len() > limits.token_bytes {
        return None;
    }
    let parts: Vec<&str> = str::from_utf8(token).ok()?.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return None };
    // One spelling: a header begins with its brace.
    if payload.is_empty() || signature.is_empty() || !header.starts_with('e') {
        return None;
    }
    decoded(signature)?;
    let object =
        |part: &str| strict_json(&decoded(part)?, limits.json_depth).ok().filter(Value::is_object);
    let (header, claims) = (object(header)?, object(payload)?);
    let is_text = |value: &Value| value.is_string();
    let are = |object: &Value, names: &[&str], test: &dyn Fn(&Value) -> bool| {
        names.iter().filter_map(|name| object.get(name)).all(test)
    };
    let audience = |aud: &Value| match aud {
        Value::Array(items) => items.iter().all(Value::is_string),
        other => other.is_string(),
    };
    let good = ALGORITHMS.contains(&header.get("alg")?.as_str()?)
        && are(&header, &["crit", "b64"], &|_| false)
        && are(&header, &["kid", "typ"], &is_text)
        && are(&claims, &["iss", "sub", "jti"], &is_text)
        && are(&claims, &["aud"], &audience);
    if !good {
        return None;
    }
    let time = |name: &str| match claims.get(name) {
        None => Some(None),
        Some(Value::Number(number)) => whole(number.as_str()).map(Some),
        Some(_) => None,
    };
    let times = [time("exp")?, time("nbf")?, time("iat")?];
    Some(Expected { header, claims, times })
}

/// Base64url without padding and without leftover bits (RFC 4648 section 3.5).
fn decoded(part: &str) -> Option<Vec<u8>> {
    let (mut bits, mut held) = (0_u32, 0_u32);
    let mut bytes = Vec::new();
    for char in part.bytes() {
        let digit = ALPHABET.iter().position(|known| *known == char)?;
        bits = bits << 6 | u32::try_from(digit).ok()?;
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held).ok()?);
            bits &= (1 << held) - 1;
        }
    }
    (held < 6 && bits == 0).then_some(bytes)
}

/// A number's whole part, by moving the point; `None` below zero and from 2^64 on.
pub(crate) fn whole(text: &str) -> Option<u64> {
    let (negative, text) = match text.strip_prefix('-') {
        Some(text) => (true, text),
        None => (false, text),
    };
    let text = text.to_ascii_lowercase();
    let (number, power) = text.split_once('e').unwrap_or((&text, "0"));
    let (before, behind) = number.split_once('.').unwrap_or((number, ""));
    let digits = [before, behind].concat();
    if digits.bytes().all(|digit| digit == b'0') {
        return Some(0);
    }
    if negative {
        return None;
    }
    // An exponent that no i64 can hold is far outside on the same side.
    let far = if power.starts_with('-') { i64::MIN / 2 } else { i64::MAX / 2 };
    let point = i64::try_from(before.len()).ok()?.saturating_add(power.parse().unwrap_or(far));
    let leading = i64::try_from(digits.bytes().take_while(|digit| *digit == b'0').count()).ok()?;
    match usize::try_from(point) {
        Err(_) => Some(0),
        Ok(_) if point - leading > 20 => None,
        Ok(point) => {
            let whole: String = digits.chars().chain("0".chars().cycle()).take(point).collect();
            let whole = whole.trim_start_matches('0');
            if whole.is_empty() { Some(0) } else { whole.parse().ok() }
        }
    }
}
