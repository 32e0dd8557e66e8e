//! An independent judge: where tokens stand and whether each is valid, without any of Usher's code.
//!
//! The places are read twice: as Envoy reads them (docs/semantics.md, "Where tokens are read"), and
//! as docs/differences.md says that Usher does. Signatures are checked by ring.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde_json::Value;

use super::vectors::{Case, NOW};

/// Envoy's skew, and Usher's where none is configured.
const SKEW: u64 = 60;

/// What is wrong with a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    Audience,
    Early,
    Endless,
    Expired,
    Forged,
    Issuer,
    Malformed,
}

/// A public key of the vectors: P-256, the one kind that they have.
pub(crate) struct Judge {
    point: Vec<u8>,
}

impl Judge {
    pub(crate) fn new(jwks: &Value) -> Self {
        let [key] = jwks["keys"].as_array().unwrap().as_slice() else { panic!("one key: {jwks}") };
        let coordinate = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
        Self { point: [vec![4], coordinate("x"), coordinate("y")].concat() }
    }

    /// What is wrong with a token, for any rule; nothing: a holder of the key signed it, and its
    /// time is now.
    pub(crate) fn flaw(&self, token: &str) -> Option<Flaw> {
        let Some(claims) = claims(token) else {
            return Some(Flaw::Malformed);
        };
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let Ok(signature) = URL_SAFE_NO_PAD.decode(signature) else {
            return Some(Flaw::Malformed);
        };
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.point);
        if key.verify(signed.as_bytes(), &signature).is_err() {
            return Some(Flaw::Forged);
        }
        match (claims["exp"].as_u64(), claims["nbf"].as_u64()) {
            (Some(exp), _) if NOW > exp + SKEW => Some(Flaw::Expired),
            (_, Some(nbf)) if NOW + SKEW < nbf => Some(Flaw::Early),
            (None, _) => Some(Flaw::Endless),
            _ => None,
        }
    }

    /// What is wrong with a token for this rule.
    pub(crate) fn flaw_for(&self, token: &str, rule: &Value) -> Option<Flaw> {
        if let Some(flaw) = self.flaw(token) {
            return Some(flaw);
        }
        let claims = claims(token).unwrap();
        if claims["iss"] != rule["issuer"] {
            return Some(Flaw::Issuer);
        }
        let wanted = texts(&rule["audiences"]);
        let given = match &claims["aud"] {
            Value::String(one) => vec![one.as_str()],
            list => texts(list),
        };
        let met = |aud: &str| wanted.iter().any(|wanted| audience(wanted) == audience(aud));
        let fits = wanted.is_empty() || given.into_iter().any(met);
        (!fits).then_some(Flaw::Audience)
    }
}

/// The claims of a token that is well formed.
pub(crate) fn claims(token: &str) -> Option<Value> {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts.as_slice() else { return None };
    let json = |part: &str| {
        let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()?;
        value.is_object().then_some(value)
    };
    json(header).filter(|header| header["alg"] == "ES256")?;
    URL_SAFE_NO_PAD.decode(signature).ok().filter(|signature| !signature.is_empty())?;
    json(payload)
}

/// docs/semantics.md, "Audiences".
fn audience(text: &str) -> &str {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    let rest = rest.unwrap_or(text);
    rest.strip_suffix('/').unwrap_or(rest)
}

/// Where a rule looks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Cookie(String),
    /// Name in lower case, prefix.
    Header(String, String),
    Param(String),
}

/// docs/semantics.md, "Where tokens are read".
pub(crate) fn places(rule: &Value) -> Vec<Place> {
    let headers = rule["fromHeaders"].as_array().into_iter().flatten().map(|header| {
        let name = header["name"].as_str().unwrap().to_ascii_lowercase();
        Place::Header(name, header["prefix"].as_str().unwrap_or_default().to_owned())
    });
    let owned = |list: &Value| texts(list).into_iter().map(str::to_owned).collect::<Vec<_>>();
    let params = owned(&rule["fromParams"]).into_iter().map(Place::Param);
    let cookies = owned(&rule["fromCookies"]).into_iter().map(Place::Cookie);
    let named: Vec<Place> = headers.chain(params).chain(cookies).collect();
    if named.is_empty() {
        let header = Place::Header("authorization".to_owned(), "Bearer ".to_owned());
        return vec![header, Place::Param("access_token".to_owned())];
    }
    named
}

impl Place {
    /// The tokens here as Envoy reads them (docs/semantics.md, "Where tokens are read").
    pub(crate) fn as_envoy_reads(&self, case: &Case) -> Vec<String> {
        match self {
            Self::Header(name, prefix) => {
                lines(case, name).filter_map(|line| envoys_token(line, prefix)).collect()
            }
            Self::Param(name) => params(case, name).into_iter().take(1).collect(),
            Self::Cookie(name) => {
                let pairs = lines(case, "cookie").flat_map(|line| line.split(';'));
                let values = pairs.filter_map(|pair| pair.trim_start().split_once('='));
                let named = values.filter(|(key, _)| key == name);
                named.map(|(_, value)| unquoted(value).to_owned()).take(1).collect()
            }
        }
    }

    /// The tokens here as Usher reads them: all of them, behind a prefix where the value begins.
    /// Of several prefixes that begin a line the longest counts.
    pub(crate) fn as_usher_reads(&self, all: &[Self], case: &Case) -> Vec<String> {
        match self {
            Self::Header(name, prefix) => {
                let others = all.iter().filter_map(|place| match place {
                    Self::Header(n, p) if n == name && p.len() > prefix.len() => Some(p),
                    _ => None,
                });
                let longer: Vec<&String> = others.collect();
                let own = lines(case, name)
                    .filter(|line| longer.iter().all(|other| behind(line, other).is_none()));
                own.filter_map(|line| behind(line, prefix)).map(str::to_owned).collect()
            }
            Self::Param(name) => params(case, name),
            Self::Cookie(name) => {
                let pairs = lines(case, "cookie").flat_map(|line| line.split(';'));
                let values = pairs.filter_map(|pair| pair.trim().split_once('='));
                let named = values.filter(|(key, _)| key == name);
                named.map(|(_, value)| unquoted(value).to_owned()).collect()
            }
        }
    }

    /// Whether the prefix is in a line, but not where it begins.
    pub(crate) fn astray(&self, case: &Case) -> bool {
        let Self::Header(name, prefix) = self else { return false };
        let lower = |text: &str| match prefix.as_str() {
            "Bearer " => text.to_ascii_lowercase(),
            _ => text.to_owned(),
        };
        let prefix = lower(prefix);
        lines(case, name).any(|line| {
            let line = lower(line);
            line.contains(&prefix) && !line.starts_with(&prefix)
        })
    }
}

/// What follows the prefix where it begins the line; the scheme `Bearer` in any case.
fn behind<'l>(line: &'l str, prefix: &str) -> Option<&'l str> {
    let rest = match prefix {
        "Bearer " => {
            let (scheme, rest) = line.split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(prefix).then_some(rest)?
        }
        _ => line.strip_prefix(prefix)?,
    };
    Some(rest.trim())
}

/// docs/semantics.md, "The prefix of a header".
fn envoys_token(line: &str, prefix: &str) -> Option<String> {
    if prefix.is_empty() {
        return Some(line.to_owned());
    }
    let behind = &line[line.find(prefix)? + prefix.len()..];
    let token = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    Some(behind.find(token).map_or(line, |start| &behind[start..]).to_owned())
}

fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value)
}

/// Every line of a header.
pub(crate) fn lines<'c>(case: &'c Case, name: &str) -> impl Iterator<Item = &'c str> {
    let named = case.headers.iter().filter(move |(n, _)| n == name);
    named.map(|(_, value)| value.as_str())
}

/// The query's pairs as they stand.
pub(crate) fn pairs(path: &str) -> Vec<&str> {
    path.split_once('?').map(|(_, query)| query.split('&').collect()).unwrap_or_default()
}

/// A pair's name and value, decoded.
pub(crate) fn decoded(pair: &str) -> (String, String) {
    let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
    (percent_decoded(name), percent_decoded(value))
}

fn params(case: &Case, name: &str) -> Vec<String> {
    let all = pairs(&case.path).into_iter().map(decoded);
    all.filter(|(key, _)| key == name).map(|(_, value)| value).collect()
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let code = (*first == b'%').then(|| tail.get(..2)).flatten();
        let code = code.and_then(|code| str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The texts in a list.
pub(crate) fn texts(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}
