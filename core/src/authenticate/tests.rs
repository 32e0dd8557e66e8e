//! Which keys are tried for a token, how many, and which rule wins.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::codec::problems::{Node, Problems};
use crate::compact;
use crate::crypto::{Counting, portable::Portable};
use crate::jwks::{Origin, Published};
use crate::remote::{CachedJwks, Heard};
use crate::time::UnixSeconds;
use crate::{Compiled, load};

const NOW: u64 = 1_000_000;

/// A key by its number, with or without a `kid`.
fn key(number: u8, kid: Option<&str>) -> Value {
    let mut key = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode([number; 32]) });
    if let Some(kid) = kid {
        key["kid"] = json!(kid);
    }
    key
}

fn unnamed(numbers: std::ops::Range<u8>) -> Vec<Value> {
    numbers.map(|number| key(number, None)).collect()
}

fn rule(name: &str, keys: &[Value]) -> Value {
    json!({
        "issuer": "i", "name": name, "algorithms": ["HS256"], "jwks": { "keys": keys },
    })
}

fn with(mut rule: Value, name: &str, value: Value) -> Value {
    rule[name] = value;
    rule
}

fn token(kid: Option<&str>, number: u8) -> String {
    let mut header = json!({ "alg": "HS256" });
    if let Some(kid) = kid {
        header["kid"] = json!(kid);
    }
    let claims = json!({ "iss": "i", "sub": "m", "exp": NOW });
    let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = hmac_sha256::HMAC::mac(text.as_bytes(), [number; 32]);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn policy(rules: &[Value], budget: usize) -> Compiled {
    let configuration = json!({ "jwtRules": rules, "limits": { "signatureChecks": budget } });
    load::from_value(&configuration).unwrap().policy
}

/// The provider that verified the token or the denial, the number of checks, and whether a key is missing.
fn judged(
    policy: &Compiled,
    jwks_cache: &JwksCache,
    token: &str,
) -> (Result<String, Denial>, usize, bool) {
    let mut portable = Portable;
    let mut engine = Counting::new(&mut portable);
    let token = compact::parse(token.as_bytes(), &policy.settings.limits.token).unwrap();
    let verdict =
        authenticate(&policy.jwt, token, &[0, 1], UnixSeconds(NOW), jwks_cache, &mut engine);
    let missing_keys = verdict.as_ref().is_err_and(|refused| !refused.missing_keys.is_empty());
    let verdict = verdict.map(|verified| verified.identity().provider.clone());
    (verdict.map_err(|refused| refused.denial), engine.checks.len(), missing_keys)
}

#[test]
fn a_token_has_a_budget_of_checks_over_all_rules() {
    let first = |keys: &[Value]| rule("first", keys);
    let second = |keys: &[Value]| rule("second", keys);
    let elsewhere = |rule: Value| with(rule, "audiences", json!(["elsewhere"]));
    let ok = |name: &str| Ok(name.to_owned());
    let many = unnamed(0..40);
    let named = [key(200, Some("a"))];
    for (rules, token, expected, checks, what) in [
        (vec![first(&many)], token(None, 0), ok("first"), 1, "the first of many"),
        (vec![first(&many)], token(None, 31), ok("first"), 32, "the last in the budget"),
        (vec![first(&many)], token(None, 32), Err(Denial::KeyUnknown), 32, "the first beyond"),
        (vec![first(&many)], token(None, 99), Err(Denial::KeyUnknown), 32, "of no key"),
        (vec![first(&many)], token(Some("x"), 32), Err(Denial::KeyUnknown), 32, "with a kid"),
        (
            vec![first(&unnamed(0..32))],
            token(None, 99),
            Err(Denial::SignatureInvalid),
            32,
            "as many as the budget: each was tried",
        ),
        (
            vec![first(&unnamed(0..20)), second(&unnamed(20..40))],
            token(None, 31),
            ok("second"),
            32,
            "one budget for both rules",
        ),
        (
            vec![first(&unnamed(0..20)), second(&unnamed(20..40))],
            token(None, 32),
            Err(Denial::KeyUnknown),
            32,
            "and no more",
        ),
        (
            vec![first(&many), second(&named)],
            token(Some("a"), 200),
            ok("second"),
            32,
            "keys of the kid come first, those of any rule",
        ),
        (
            vec![first(&unnamed(0..5)), second(&named)],
            token(Some("a"), 200),
            ok("second"),
            6,
            "then those without, of rules before it",
        ),
        (
            vec![second(&named), first(&many)],
            token(Some("a"), 200),
            ok("second"),
            1,
            "but not of rules behind it",
        ),
        (
            vec![first(&[key(200, None)]), second(&named)],
            token(Some("a"), 200),
            ok("first"),
            1,
            "the first in file order that would take it wins",
        ),
        (
            vec![elsewhere(first(&many)), second(&[key(7, None), key(8, None)])],
            token(None, 7),
            ok("second"),
            8,
            "a key that is known to be the signer's is not checked again",
        ),
        (
            vec![elsewhere(first(&unnamed(0..30))), second(&unnamed(0..30))],
            token(None, 99),
            Err(Denial::SignatureInvalid),
            30,
            "nor is one that is known not to be",
        ),
        (
            vec![elsewhere(first(&many)), second(&many)],
            token(None, 3),
            ok("second"),
            4,
            "rules that share their keys share the checks",
        ),
        (
            vec![elsewhere(first(&named)), second(&many)],
            token(Some("a"), 200),
            Err(Denial::AudienceMismatch),
            32,
            "a verified token reports its claim's denial",
        ),
        (
            vec![first(&[key(1, Some("a")), key(2, Some("a")), key(3, Some("b"))])],
            token(Some("a"), 3),
            Err(Denial::SignatureInvalid),
            2,
            "keys of another kid are not tried",
        ),
    ] {
        let policy = policy(&rules, 32);
        let judged = judged(&policy, &JwksCache::default(), &token);
        assert_eq!(judged, (expected, checks, false), "{what}");
    }
}

#[test]
fn beyond_the_budget_nothing_is_fetched() {
    let remote = json!({
        "issuer": "i", "name": "remote", "algorithms": ["HS256"],
        "jwksUri": "https://i.example/keys", "jwksCluster": "i",
    });
    let rules = [rule("inline", &unnamed(0..3)), remote];
    let problems = Problems::default();
    let set = json!({ "keys": [key(9, Some("a"))] });
    let keys =
        KeySet::read(&Node::root(&set), Origin::Fetched, true, Published::Refused, &problems)
            .map(Rc::new);
    for (budget, fetched, denial, missing_keys) in [
        (3, true, Denial::SignatureInvalid, true),
        (2, true, Denial::KeyUnknown, false),
        (3, false, Denial::KeysUnavailable { retry_after: 1 }, true),
        (2, false, Denial::KeyUnknown, false),
    ] {
        let (policy, jwks_cache) = (policy(&rules, budget), JwksCache::default());
        let id = policy.jwt.rules[1].keys.remote().unwrap().source.id();
        let held = CachedJwks {
            keys: keys.clone(),
            fetched_at: UnixSeconds(NOW),
            retry_at: UnixSeconds(NOW),
            heard: Heard::Once,
        };
        if fetched {
            jwks_cache.hold(&id, held);
        }
        let (verdict, checks, wanted) = judged(&policy, &jwks_cache, &token(Some("unknown"), 99));
        assert_eq!(
            (verdict, checks, wanted),
            (Err(denial), budget, missing_keys),
            "{budget} {fetched}"
        );
    }
}

#[test]
fn more_keys_than_are_tried_are_worth_a_word() {
    let named = |numbers: std::ops::Range<u8>, kid: &str| -> Vec<Value> {
        numbers.map(|number| key(number, Some(kid))).collect()
    };
    let each: Vec<Value> = (0..40).map(|n| key(n, Some(&n.to_string()))).collect();
    let other = with(rule("other", &unnamed(0..30)), "issuer", json!("other"));
    let mut any = rule("any", &unnamed(50..60));
    any.as_object_mut().unwrap().remove("issuer");
    any["anyIssuer"] = json!(true);
    for (rules, expected, what) in [
        (vec![rule("a", &unnamed(0..32))], None, "as many"),
        (
            vec![rule("a", &unnamed(0..33))],
            Some("33 keys for HS256 fit one token with or without"),
            "more",
        ),
        (vec![rule("a", &each)], Some("40 keys for HS256 fit one token without `kid`"), "named"),
        (vec![rule("a", &named(0..40, "k"))], Some("fit one token with or without"), "of one kid"),
        (vec![rule("a", &unnamed(0..30)), rule("b", &unnamed(0..30))], None, "the same"),
        (
            vec![rule("a", &unnamed(0..30)), rule("b", &unnamed(20..40))],
            Some("40 keys"),
            "together",
        ),
        (vec![rule("a", &unnamed(0..30)), other.clone()], None, "of two issuers"),
        (vec![rule("a", &unnamed(0..30)), any.clone()], Some("40 keys"), "and of any"),
        (vec![rule("a", &unnamed(0..30)), other, any.clone()], Some("40 keys"), "and of any"),
        (vec![any], None, "of any alone"),
    ] {
        let configuration = json!({ "jwtRules": rules });
        let loaded = load::from_value(&configuration).unwrap();
        let reported = loaded.warnings.first().map(ToString::to_string);
        assert_eq!(reported.is_some(), expected.is_some(), "{what}: {reported:?}");
        if let Some((reported, expected)) = reported.zip(expected) {
            assert!(reported.starts_with("jwtRules[0].jwks: "), "{what}: {reported}");
            assert!(reported.contains(expected), "{what}: {reported}");
        }
        let untried = loaded.policy.jwt.untried(&JwksCache::default());
        assert_eq!(untried.is_empty(), expected.is_none(), "{what}: {untried:?}");
    }
}
