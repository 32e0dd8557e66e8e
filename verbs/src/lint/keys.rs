//! Inline keys that are about to fail, or that are hard to distinguish.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use usher_core::codec::json::{self as strict, Value};
use usher_core::codec::problems::Problems;
use usher_core::load;
use usher_core::time::UnixSeconds;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::view::{View, filled};
use crate::output::set;

/// A certificate that expires within this many seconds is about to fail: 30 days.
const SOON: i64 = 30 * 24 * 3600;

/// Records what is doubtful about each rule's inline keys.
pub(super) fn check(view: &View<'_>, now: UnixSeconds, problems: &Problems) {
    let now = i64::try_from(now.0).unwrap_or(i64::MAX);
    for (at, rule) in &view.rules {
        let at = format!("{at}.jwks");
        let parsed;
        let jwks = match rule.get("jwks") {
            Some(Value::String(text)) => match strict::parse(text.as_bytes(), 127) {
                Ok(value) => {
                    parsed = value;
                    &parsed
                }
                Err(_) => {
                    check_pem(text, &at, now, problems);
                    continue;
                }
            },
            Some(value) => value,
            None => continue,
        };
        match jwks.get("keys").and_then(Value::as_array) {
            Some(keys) => check_keys(rule, keys, &at, now, problems),
            None => {
                for text in jwks.as_object().into_iter().flat_map(|map| map.values()) {
                    check_pem(text.as_str().unwrap_or_default(), &at, now, problems);
                }
            }
        }
    }
}

fn check_keys(rule: &Value, keys: &[Value], at: &str, now: i64, problems: &Problems) {
    let mut kids = BTreeSet::new();
    let counted: Vec<_> = keys.iter().enumerate().filter(|(_, key)| counts(rule, key)).collect();
    for (index, key) in &counted {
        let at = format!("{at}.keys[{index}]");
        let member = |name: &str| key.get(name).and_then(Value::as_str);
        match member("kid") {
            Some(kid) if !kids.insert(kid) => {
                problems.warning(
                    "kid-twice",
                    &at,
                    format!("another key of the set has the kid `{kid}`"),
                );
            }
            None if counted.len() > 1 => problems.warning(
                "no-kid",
                &at,
                "has no `kid` and is tried for every token; name it as the issuer does",
            ),
            _ => {}
        }
        if member("kty") == Some("RSA") && member("alg").is_none() && !filled(rule, "algorithms") {
            problems.warning(
                "no-alg",
                &at,
                "has no `alg`, so six algorithms are accepted for it; say `algorithms: [RS256]` in \
                 the rule (RFC 8725 section 3.1)",
            );
        }
        let chain = key.get("x5c").and_then(Value::as_array);
        if let Some(leaf) = chain.and_then(|chain| chain.first()).and_then(Value::as_str)
            && let Ok(der) = STANDARD.decode(leaf)
        {
            check_certificate(&der, &at, now, problems);
        }
    }
}

/// Whether a key verifies tokens of the rule; what is wrong with one that is skipped is reported as that.
fn counts(rule: &Value, key: &Value) -> bool {
    let mut alone = json!({ "issuer": "a", "jwks": { "keys": [key] }, "allowPublishedKeys": true });
    if let Some(algorithms) = rule.get("algorithms") {
        set(&mut alone, "algorithms", algorithms.clone());
    }
    load::from_value(&json!({ "jwtRules": [alone] })).is_ok()
}

fn check_pem(text: &str, at: &str, now: i64, problems: &Problems) {
    let begin = "-----BEGIN CERTIFICATE-----";
    for block in text.split(begin).skip(1) {
        let body = block.split("-----END").next().unwrap_or_default();
        let body: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        if let Ok(der) = STANDARD.decode(body) {
            check_certificate(&der, at, now, problems);
        }
    }
}

/// The key continues to verify, but its issuer is about to use another (RFC 5280 section 4.1.2.5).
fn check_certificate(der: &[u8], at: &str, now: i64, problems: &Problems) {
    let Ok((_, certificate)) = X509Certificate::from_der(der) else { return };
    let end = certificate.validity().not_after.timestamp();
    let date = jiff::Timestamp::from_second(end).map(|at| at.to_string()).unwrap_or_default();
    if end < now {
        problems.warning(
            "certificate-ends",
            at,
            format!("its certificate ended on {date}: get the issuer's present keys"),
        );
    } else if end.saturating_sub(now) < SOON {
        problems.warning(
            "certificate-ends",
            at,
            format!("its certificate ends on {date}: get the issuer's next key before that"),
        );
    }
}
