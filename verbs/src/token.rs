//! `usher token inspect`: the content of a token, with readable times. Whether it is valid depends on a configuration.

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use usher_core::codec::json::{self, Value};
use usher_core::denial::Denial;
use usher_core::time::UnixSeconds;
use usher_core::{Compiled, WorkerState, authenticate, compact};

use crate::input;

/// The rules' verdict on a token, for any place in a request; the rule that accepts it.
///
/// # Errors
/// Why it is refused.
pub fn judge(policy: &Compiled, token: &str, now: UnixSeconds) -> Result<String, Denial> {
    let compact = compact::parse(token.as_bytes(), &policy.settings.limits.token)?;
    let places: Vec<usize> = (0..policy.jwt.places.len()).collect();
    let mut worker_state = WorkerState::portable();
    let WorkerState { engine, jwks_cache, .. } = &mut worker_state;
    let verified =
        authenticate::authenticate(&policy.jwt, compact, &places, now, jwks_cache, &mut **engine)
            .map_err(|refused| refused.denial)?;
    Ok(verified.identity().provider.clone())
}

/// The token in a text: alone, in a header line, behind `Bearer`, in quotes, or in a token response (RFC 6749 section 5.1).
///
/// # Errors
/// A JSON object without a token.
pub fn extract(text: &str) -> anyhow::Result<String> {
    let mut text = text.trim();
    if text.starts_with('{') {
        let response = json::parse(text.as_bytes(), input::DEPTH).context("a token response")?;
        let token = |name: &str| response.get(name).and_then(Value::as_str);
        let token = ["access_token", "id_token", "token"].into_iter().find_map(token);
        let expected = "expected a token response, found neither `access_token` nor `id_token`";
        return extract(token.context(expected)?);
    }
    if let Some((name, value)) = text.split_once(':')
        && !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    {
        text = value.trim();
    }
    text = text.trim_matches(['"', '\'']).trim();
    if let Some((scheme, token)) = text.split_once(char::is_whitespace)
        && scheme.bytes().all(|byte| byte.is_ascii_alphabetic())
    {
        text = token.trim();
    }
    Ok(text.to_owned())
}

/// What is special about a token, for people who wonder why it is refused.
pub fn note(token: &Decoded) -> Option<&'static str> {
    // Microsoft changes the header after signing it: only Graph knows how.
    token.header.get("nonce").map(|_| {
        "`nonce` in the header: a token for Microsoft Graph, whose signature only Graph can verify; ask for a token for \
         your own application"
    })
}

/// A token's parts, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The JOSE header.
    pub header: Value,
    /// The claims.
    pub payload: Value,
}

/// Decodes a token in its compact form.
///
/// # Errors
/// It is not one.
pub fn decode(token: &str) -> anyhow::Result<Decoded> {
    let parts: Vec<&str> = token.split('.').collect();
    if let [header, _, _, _, _] = parts.as_slice()
        && let Ok(header) = part(header)
    {
        bail!(
            "this is an encrypted token (a JWE, RFC 7516): only whom it is for can read its claims; its header is {header}"
        );
    }
    let [header, payload, _signature] = parts.as_slice() else {
        bail!("expected three parts with dots between, found {}", parts.len());
    };
    Ok(Decoded {
        header: part(header).context("the header")?,
        payload: part(payload).context("the payload")?,
    })
}

fn part(text: &str) -> anyhow::Result<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(text).context("no base64url")?;
    Ok(json::parse(&bytes, input::DEPTH)?)
}

/// The claims that are times (RFC 7519 section 4.1, OpenID Connect `auth_time`), and when that is;
/// `None` if it is outside the calendar.
pub fn times(payload: &Value) -> Vec<(&'static str, Option<Timestamp>)> {
    let when = |claim: &Value| {
        let seconds: f64 = claim.as_number()?.as_str().parse().ok()?;
        let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
        Timestamp::from_duration(since).ok()
    };
    ["auth_time", "iat", "nbf", "exp"]
        .into_iter()
        .filter_map(|name| payload.get(name).map(|claim| (name, when(claim))))
        .collect()
}

/// A time beside now: `2023-11-14T22:14:23Z (in 1m 3s)`.
pub fn in_words(at: Option<Timestamp>, now: UnixSeconds) -> String {
    let (Some(at), Ok(now)) = (at, i64::try_from(now.0)) else {
        return "not a time".to_owned();
    };
    let seconds = at.as_second().saturating_sub(now);
    let away = span(seconds.unsigned_abs());
    match seconds {
        0 => format!("{at} (now)"),
        1.. => format!("{at} (in {away})"),
        _ => format!("{at} ({away} ago)"),
    }
}

/// The two largest units: `1d 2h`, `5m 3s`.
fn span(seconds: u64) -> String {
    let units = [("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)];
    let mut rest = seconds;
    let mut words = Vec::new();
    for (unit, size) in units {
        let count = rest.checked_div(size).unwrap_or_default();
        rest = rest.checked_rem(size).unwrap_or_default();
        if count > 0 {
            words.push(format!("{count}{unit}"));
        } else if !words.is_empty() {
            break;
        }
    }
    words.truncate(2);
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_found_in_what_people_paste() {
        for text in [
            "a.b.c",
            " a.b.c\n",
            "Bearer a.b.c",
            "bearer  a.b.c",
            "Authorization: Bearer a.b.c",
            "authorization:a.b.c",
            "X-Jwt_Assertion: a.b.c",
            "\"a.b.c\"",
            "DPoP a.b.c",
            r#"{"access_token": "a.b.c", "token_type": "Bearer", "id_token": "d.e.f"}"#,
            r#"{"token_type": "Bearer", "id_token": "a.b.c"}"#,
        ] {
            assert_eq!(extract(text).unwrap(), "a.b.c", "{text}");
        }
        assert!(extract(r#"{"error": "invalid_grant"}"#).is_err());
        assert!(extract("{").is_err());
    }

    #[test]
    fn a_jwe_and_a_token_for_graph_are_named() {
        let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
        let jwe = [part(r#"{"alg":"RSA-OAEP","enc":"A256GCM"}"#), "a.b.c.d".to_owned()].join(".");
        let error = decode(&jwe).unwrap_err().to_string();
        assert!(error.contains("JWE") && error.contains("A256GCM"), "{error}");
        let graph = [part(r#"{"alg":"RS256","nonce":"x"}"#), part("{}"), String::new()].join(".");
        assert!(note(&decode(&graph).unwrap()).is_some());
        let plain = [part(r#"{"alg":"RS256"}"#), part("{}"), String::new()].join(".");
        assert_eq!(note(&decode(&plain).unwrap()), None);
    }

    #[test]
    fn times_are_said_for_people() {
        let at = |seconds| Timestamp::from_second(seconds).ok();
        for (seconds, words) in [
            (1_700_000_000, "2023-11-14T22:13:20Z (now)"),
            (1_700_000_063, "2023-11-14T22:14:23Z (in 1m 3s)"),
            (1_699_990_000, "2023-11-14T19:26:40Z (2h 46m ago)"),
            (1_700_086_405, "2023-11-15T22:13:25Z (in 1d)"),
        ] {
            assert_eq!(in_words(at(seconds), usher_core::time::UnixSeconds(1_700_000_000)), words);
        }
        assert_eq!(
            in_words(times(&json!({"exp": 1e300}))[0].1, usher_core::time::UnixSeconds(0)),
            "not a time"
        );
        assert_eq!(
            in_words(times(&json!({"exp": "soon"}))[0].1, usher_core::time::UnixSeconds(0)),
            "not a time"
        );
    }
}
