//! Decisions with keys from a server: the reason without them, the missing keys, and that no result
//! from other keys is reused.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::codec::problems::{Node, Problems};
use crate::jwks::{KeySet, Origin, Published};
use crate::load;
use crate::remote::{CachedJwks, Heard};
use crate::time::UnixSeconds;

const NOW: u64 = 1_000_000;
const ISSUER: &str = "https://idp.example";
const OLD: [u8; 32] = [1; 32];
const NEW: [u8; 32] = [2; 32];

fn token(kid: &str, secret: &[u8], iss: &str) -> String {
    let header = json!({ "alg": "HS256", "kid": kid });
    let claims = json!({ "iss": iss, "sub": "m", "exp": NOW + 1_000_000 });
    let text = [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string())).join(".");
    let signature = hmac_sha256::HMAC::mac(text.as_bytes(), secret);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn set(keys: &[(&str, [u8; 32])]) -> Value {
    let keys = keys.iter().map(
        |(kid, secret)| json!({ "kty": "oct", "kid": kid, "k": URL_SAFE_NO_PAD.encode(secret) }),
    );
    json!({ "keys": keys.collect::<Vec<_>>() })
}

fn remote(more: &Value) -> Value {
    let mut rule = json!({
        "issuer": ISSUER,
        "jwksUri": "https://idp.example/keys",
        "jwksCluster": "idp",
        "algorithms": ["HS256"],
        "maxStale": "1h",
    });
    for (name, value) in more.as_object().unwrap() {
        rule[name] = value.clone();
    }
    rule
}

fn policy(rules: &[Value]) -> Compiled {
    load::from_value(&json!({ "jwtRules": rules })).unwrap().policy
}

/// Puts a set into the JWKS cache, as if it had been fetched at `fetched_at`.
fn hold(worker_state: &WorkerState, policy: &Compiled, keys: Option<&Value>, fetched_at: u64) {
    let problems = Problems::default();
    let read = |value| {
        KeySet::read(&Node::root(value), Origin::Fetched, true, Published::Refused, &problems)
            .unwrap()
    };
    let keys = keys.map(|value| Rc::new(read(value)));
    let remote = policy.jwt.rules.iter().find_map(|rule| rule.keys.remote()).unwrap();
    worker_state.jwks_cache.hold(
        &remote.source.id(),
        CachedJwks {
            keys,
            fetched_at: UnixSeconds(fetched_at),
            retry_at: UnixSeconds(NOW + 7),
            heard: Heard::Once,
        },
    );
}

fn ask(
    policy: &Compiled,
    worker_state: &mut WorkerState,
    token: Option<&str>,
    now: u64,
) -> Decision {
    let bearer = token.map(|token| format!("Bearer {token}"));
    let pseudo = [(":method", "GET"), (":path", "/"), (":authority", "service.example")];
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> =
        pseudo.iter().map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
    headers.extend(bearer.map(|value| (b"authorization".to_vec(), value.into_bytes())));
    decide(policy, &Request { headers, ..Request::default() }, UnixSeconds(now), worker_state)
}

/// The reason, and the missing key ids; `*` for a whole set.
fn said(decision: &Decision) -> (&str, Vec<&str>) {
    let missing_keys = decision.missing_keys.iter().map(|want| want.kid.as_deref().unwrap_or("*"));
    (decision.reason(), missing_keys.collect())
}

#[test]
fn what_is_wanted_is_what_could_change_the_answer() {
    let plain = || policy(&[remote(&json!({}))]);
    let beside = |keys| {
        policy(&[
            json!({ "issuer": ISSUER, "jwks": keys, "algorithms": ["HS256"] }),
            remote(&json!({})),
        ])
    };
    let old = set(&[("old", OLD)]);
    let known = token("old", &OLD, ISSUER);
    let forged = token("old", &NEW, ISSUER);
    let unknown = token("new", &NEW, ISSUER);
    let other = token("old", &OLD, "https://other.example");
    let rs256 = known.replacen(
        known.split('.').next().unwrap(),
        &URL_SAFE_NO_PAD.encode(json!({ "alg": "RS256", "kid": "new" }).to_string()),
        1,
    );
    for (why, policy, fetched, token, reason, missing_keys) in [
        ("no set yet", plain(), None, Some(&known), "keys_unavailable", vec!["*"]),
        ("no token, nothing to wait for", plain(), None, None, "token_missing", vec![]),
        ("another's token", plain(), None, Some(&other), "issuer_unknown", vec![]),
        ("never offered", plain(), None, Some(&rs256), "algorithm_not_allowed", vec![]),
        ("known", plain(), Some(&old), Some(&known), "allowed", vec![]),
        (
            "forged with a known kid",
            plain(),
            Some(&old),
            Some(&forged),
            "signature_invalid",
            vec![],
        ),
        ("a new key, perhaps", plain(), Some(&old), Some(&unknown), "key_unknown", vec!["new"]),
        (
            "another rule has it",
            beside(set(&[("new", NEW)])),
            None,
            Some(&unknown),
            "allowed",
            vec![],
        ),
        (
            "no verdict yet",
            beside(set(&[("old", NEW)])),
            None,
            Some(&known),
            "keys_unavailable",
            vec!["*"],
        ),
    ] {
        let mut worker_state = WorkerState::portable();
        if let Some(keys) = fetched {
            hold(&worker_state, &policy, Some(keys), NOW);
        }
        let decision = ask(&policy, &mut worker_state, token.map(String::as_str), NOW);
        assert_eq!(said(&decision), (reason, missing_keys), "{why}");
    }
}

#[test]
fn keys_that_are_not_there_are_a_503_that_says_when() {
    let (policy, mut worker_state) = (policy(&[remote(&json!({}))]), WorkerState::portable());
    hold(&worker_state, &policy, None, 0);
    let decision = ask(&policy, &mut worker_state, Some(&token("old", &OLD, ISSUER)), NOW);
    let reply = decision.reply.unwrap();
    assert_eq!((reply.status, reply.body.as_str()), (503, "Jwks remote fetch is failed"));
    assert!(reply.headers.contains(&("retry-after", "7".to_owned())), "{:?}", reply.headers);
    assert_eq!(reply.challenge(), None);
}

#[test]
fn a_cached_token_answers_under_its_own_keys_only() {
    let (policy, mut worker_state) = (policy(&[remote(&json!({}))]), WorkerState::portable());
    let (old, new) = (token("old", &OLD, ISSUER), token("new", &NEW, ISSUER));
    let reason = |worker_state: &mut WorkerState, token: &str, now| {
        let decision = ask(&policy, worker_state, Some(token), now);
        (decision.reason(), decision.report.cache)
    };
    let (hit, miss) = (Some(Answer::Hit), Some(Answer::Miss));
    hold(&worker_state, &policy, Some(&set(&[("old", OLD)])), NOW);
    assert_eq!(reason(&mut worker_state, &old, NOW), ("allowed", miss));
    assert_eq!(reason(&mut worker_state, &old, NOW), ("allowed", hit));
    // Confirmed and otherwise unchanged: reading it again would make another set, so it was not read
    // again.
    let held = worker_state
        .jwks_cache
        .held(&policy.jwt.rules[0].keys.remote().unwrap().source.id())
        .unwrap();
    let id = policy.jwt.rules[0].keys.remote().unwrap().source.id();
    worker_state.jwks_cache.hold(&id, CachedJwks { fetched_at: UnixSeconds(NOW + 60), ..held });
    assert_eq!(reason(&mut worker_state, &old, NOW), ("allowed", hit));
    hold(&worker_state, &policy, Some(&set(&[("new", NEW)])), NOW + 60);
    assert_eq!(reason(&mut worker_state, &old, NOW + 60), ("key_unknown", miss), "withdrawn");
    assert_eq!(reason(&mut worker_state, &new, NOW + 60), ("allowed", miss));
    assert_eq!(reason(&mut worker_state, &new, NOW + 3659), ("allowed", hit));
    assert_eq!(
        reason(&mut worker_state, &new, NOW + 3660).0,
        "keys_unavailable",
        "too old to be asked"
    );
    worker_state.jwks_cache.forget(&id);
    assert_eq!(reason(&mut worker_state, &new, NOW + 60).0, "keys_unavailable", "forgotten");
}

/// If a host's clock fails, it reads 1970.
#[test]
fn without_a_clock_no_token_is_judged() {
    let keys = set(&[("old", OLD)]);
    let inline = || json!({ "issuer": ISSUER, "jwks": keys, "algorithms": ["HS256"], "requireExpiration": false });
    let token = token("old", &OLD, ISSUER);
    for (why, rule, missing, token, reason) in [
        ("keys of the configuration", inline(), "reject", Some(&token), "host_failed"),
        ("keys of a server", remote(&json!({})), "reject", Some(&token), "host_failed"),
        ("no token", inline(), "reject", None, "token_missing"),
        ("no token is asked for", inline(), "allow", None, "allowed"),
    ] {
        let policy = json!({ "jwtRules": [rule], "missingToken": missing });
        let policy = load::from_value(&policy).unwrap().policy;
        let mut worker_state = WorkerState::portable();
        let decision = ask(&policy, &mut worker_state, token.map(String::as_str), 0);
        assert_eq!(said(&decision), (reason, vec![]), "{why}");
        let before = ask(&policy, &mut worker_state, token.map(String::as_str), NOW);
        let after = ask(&policy, &mut worker_state, token.map(String::as_str), 0);
        assert_eq!(said(&after), (reason, vec![]), "{why}: after {}", before.reason());
    }
}
