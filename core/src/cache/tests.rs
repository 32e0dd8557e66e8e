#![expect(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a test may stop at any surprise"
)]

use std::cell::Cell;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::*;
use crate::crypto::portable::Portable;
use crate::crypto::{Algorithm, Key};
use crate::crypto::{EngineFailed, SignatureEngine};
use crate::decide::{Decision, decide};
use crate::time::UnixSeconds;
use crate::{Compiled, Request, WorkerState, load};

const NOW: u64 = 1_000_000;
const ISSUER: &str = "https://idp.example";
const SECRET: [u8; 32] = [7; 32];

fn sign(secret: &[u8], claims: &Value) -> String {
    let text =
        [&json!({"alg": "HS256"}), claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
    let text = text.join(".");
    let signature = hmac_sha256::HMAC::mac(text.as_bytes(), secret);
    format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn claims(sub: &str) -> Value {
    json!({"iss": ISSUER, "sub": sub, "aud": "a", "exp": NOW + 3600})
}

fn rule(secret: &[u8], more: &Value) -> Value {
    let mut rule = json!({
        "issuer": ISSUER,
        "jwks": {"keys": [{"kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret)}]},
        "algorithms": ["HS256"],
        "outputPayloadToHeader": "user-info",
        "clockSkew": "0s",
    });
    for (name, value) in more.as_object().unwrap() {
        rule[name] = value.clone();
    }
    rule
}

fn policy(config: &Value) -> Compiled {
    load::from_value(config).unwrap().policy
}

fn simple() -> Compiled {
    policy(&json!({"jwtRules": [rule(&SECRET, &json!({}))]}))
}

fn request(headers: &[(&str, &str)]) -> Request {
    let pseudo = [(":method", "GET"), (":path", "/"), (":authority", "service.example")];
    let all = pseudo.iter().chain(headers);
    let headers = all.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec())).collect();
    Request { headers, ..Request::default() }
}

fn bearer(token: &str) -> Request {
    request(&[("authorization", &format!("Bearer {token}"))])
}

/// The portable engine, counting its checks.
struct Counting(Rc<Cell<u32>>);

impl SignatureEngine for Counting {
    fn name(&self, algorithm: Algorithm) -> &'static str {
        Portable.name(algorithm)
    }

    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: &Key,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool, EngineFailed> {
        self.0.set(self.0.get() + 1);
        Portable.verify(algorithm, key, signed, signature)
    }
}

fn counting() -> (WorkerState, Rc<Cell<u32>>) {
    let count = Rc::new(Cell::new(0));
    (WorkerState::new(Box::new(Counting(Rc::clone(&count)))), count)
}

fn outcome(decision: &Decision) -> (&'static str, Option<Answer>) {
    (decision.reason(), decision.report.cache)
}

#[test]
fn a_token_is_verified_once_and_emitted_alike() {
    let (policy, request) = (simple(), bearer(&sign(&SECRET, &claims("x"))));
    let (mut worker_state, verified) = counting();
    let first = decide(&policy, &request, UnixSeconds(NOW), &mut worker_state);
    assert_eq!(outcome(&first), ("allowed", Some(Answer::Miss)));
    for _ in 0..3 {
        let again = decide(&policy, &request, UnixSeconds(NOW), &mut worker_state);
        assert_eq!(outcome(&again), ("allowed", Some(Answer::Hit)));
        assert_eq!(again.mutations, first.mutations);
        assert_eq!(again.report.identity, first.report.identity);
        assert_eq!(again.report.header, first.report.header);
    }
    assert_eq!(verified.get(), 1);
    assert_eq!(worker_state.cache.counts(), Counts { hits: 3, misses: 1, evictions: 0 });
}

#[test]
fn one_byte_more_less_or_other_is_another_token() {
    let (policy, token) = (simple(), sign(&SECRET, &claims("x")));
    let mut worker_state = WorkerState::portable();
    decide(&policy, &bearer(&token), UnixSeconds(NOW), &mut worker_state);
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let other = String::from_utf8(bytes).unwrap();
        let decision = decide(&policy, &bearer(&other), UnixSeconds(NOW), &mut worker_state);
        assert_eq!(decision.report.cache, Some(Answer::Miss), "byte {at}");
        assert_ne!(decision.reason(), "allowed", "byte {at}");
    }
    for other in
        [&token[1..], &token[..token.len() - 1], &format!("{token}A"), &format!("A{token}")]
    {
        let decision = decide(&policy, &bearer(other), UnixSeconds(NOW), &mut worker_state);
        assert_eq!(decision.report.cache, Some(Answer::Miss), "{other}");
        assert_ne!(decision.reason(), "allowed", "{other}");
    }
    let decision = decide(&policy, &bearer(&token), UnixSeconds(NOW), &mut worker_state);
    assert_eq!(outcome(&decision), ("allowed", Some(Answer::Hit)));
}

/// A rule accepts tokens from its own places only: what one rule accepted in a header says nothing about
/// a cookie that only another rule reads.
#[test]
fn a_place_that_another_rule_reads_is_another_question() {
    let policy = policy(&json!({"jwtRules": [
        rule(&SECRET, &json!({"name": "header", "fromHeaders": [{"name": "x-a"}]})),
        rule(&SECRET, &json!({"name": "cookie", "fromCookies": ["b"], "audiences": ["other"]})),
        rule(&[8; 32], &json!({"name": "query", "fromParams": ["c"]})),
    ]}));
    let token = sign(&SECRET, &claims("x"));
    let cookie = format!("b={token}");
    let mut worker_state = WorkerState::portable();
    for (headers, expected) in [
        (&[("x-a", &*token)][..], ("allowed", Some(Answer::Miss))),
        (&[("cookie", &*cookie)], ("audience_mismatch", Some(Answer::Miss))),
        (&[("x-a", &*token), ("cookie", &*cookie)], ("allowed", Some(Answer::Miss))),
        // Twice in one place counts as that place.
        (&[("x-a", &*token), ("x-a", &*token)], ("allowed", Some(Answer::Hit))),
        (&[("x-a", &*token)], ("allowed", Some(Answer::Hit))),
        (&[("cookie", &*cookie)], ("audience_mismatch", Some(Answer::Miss))),
    ] {
        let decision = decide(&policy, &request(headers), UnixSeconds(NOW), &mut worker_state);
        assert_eq!(outcome(&decision), expected, "{headers:?}");
    }
    let mut query = request(&[]);
    query.headers[1].1 = format!("/?c={token}").into_bytes();
    let decision = decide(&policy, &query, UnixSeconds(NOW), &mut worker_state);
    assert_eq!(outcome(&decision), ("signature_invalid", Some(Answer::Miss)));
}

#[test]
fn another_configuration_or_key_is_another_question() {
    let policies = [
        simple(),
        policy(&json!({"jwtRules": [rule(&[8; 32], &json!({}))]})),
        policy(&json!({"jwtRules": [rule(&SECRET, &json!({"audiences": ["b"]}))]})),
        policy(&json!({"jwtRules": [rule(&SECRET, &json!({}))], "limits": {"tokenBytes": 10}})),
        policy(&json!({"jwtRules": [rule(&SECRET, &json!({}))], "limits": {"emittedBytes": 10}})),
        simple(),
    ];
    let token = bearer(&sign(&SECRET, &claims("x")));
    let mut worker_state = WorkerState::portable();
    for _ in 0..2 {
        for (policy, reason) in policies.iter().zip([
            "allowed",
            "signature_invalid",
            "audience_mismatch",
            "token_too_large",
            "identity_too_large",
            "allowed",
        ]) {
            let decision = decide(policy, &token, UnixSeconds(NOW), &mut worker_state);
            assert_eq!(outcome(&decision), (reason, Some(Answer::Miss)));
        }
    }
    let [policy, ..] = &policies;
    decide(policy, &token, UnixSeconds(NOW), &mut worker_state);
    policy.generation.renew();
    let decision = decide(policy, &token, UnixSeconds(NOW), &mut worker_state);
    assert_eq!(outcome(&decision), ("allowed", Some(Answer::Miss)), "its keys were changed");
}

#[test]
fn time_is_judged_at_each_request() {
    let policy = policy(&json!({"jwtRules": [rule(&SECRET, &json!({"maxAge": "100s"}))]}));
    let token = json!({"iss": ISSUER, "iat": NOW, "nbf": NOW + 10, "exp": NOW + 50});
    let request = bearer(&sign(&SECRET, &token));
    let mut worker_state = WorkerState::portable();
    for (now, expected, kept) in [
        (NOW, ("token_not_yet_valid", Some(Answer::Miss)), 0),
        (NOW + 10, ("allowed", Some(Answer::Miss)), 1),
        (NOW + 50, ("allowed", Some(Answer::Hit)), 1),
        (NOW + 51, ("token_expired", Some(Answer::Miss)), 0),
        // A clock that was set back.
        (NOW + 50, ("allowed", Some(Answer::Miss)), 1),
        (NOW + 9, ("token_not_yet_valid", Some(Answer::Miss)), 0),
    ] {
        let decision = decide(&policy, &request, UnixSeconds(now), &mut worker_state);
        assert_eq!((outcome(&decision), worker_state.cache.len()), (expected, kept), "at {now}");
    }
}

#[test]
fn policies_are_asked_at_each_request() {
    let policy = policy(&json!({
        "jwtRules": [rule(&SECRET, &json!({}))],
        "authorizationPolicies": [{
            "name": "p", "namespace": "n", "action": "ALLOW",
            "rules": [{"to": [{"operation": {"paths": ["/open"]}}]}],
        }],
    }));
    let mut worker_state = WorkerState::portable();
    let mut request = bearer(&sign(&SECRET, &claims("x")));
    for (path, expected) in [
        ("/open", ("allowed", Some(Answer::Miss))),
        ("/closed", ("no_rule_matched", Some(Answer::Hit))),
        ("/open", ("allowed", Some(Answer::Hit))),
    ] {
        request.headers[1].1 = path.into();
        assert_eq!(
            outcome(&decide(&policy, &request, UnixSeconds(NOW), &mut worker_state)),
            expected,
            "{path}"
        );
    }
}

#[test]
fn a_flood_of_refused_tokens_drives_nothing_out() {
    let mut config = json!({"jwtRules": [rule(&SECRET, &json!({}))], "tokenCache": {"entries": 2}});
    config["decisionLog"] = json!({"emit": "none"});
    let (policy, mut worker_state) = (policy(&config), WorkerState::portable());
    let good = bearer(&sign(&SECRET, &claims("good")));
    decide(&policy, &good, UnixSeconds(NOW), &mut worker_state);
    let mut expired = claims("late");
    expired["exp"] = (NOW - 1).into();
    for number in 0..100 {
        expired["jti"] = number.to_string().into();
        for token in [sign(&[8; 32], &claims(&number.to_string())), sign(&SECRET, &expired)] {
            assert!(
                decide(&policy, &bearer(&token), UnixSeconds(NOW), &mut worker_state)
                    .reply
                    .is_some()
            );
        }
    }
    assert_eq!(worker_state.cache.len(), 1);
    assert_eq!(
        outcome(&decide(&policy, &good, UnixSeconds(NOW), &mut worker_state)).1,
        Some(Answer::Hit)
    );
}

#[test]
fn entries_and_bytes_are_bounded() {
    for (bounds, most, evictions) in [
        (json!({"entries": 3}), 3, 17),
        (json!({"entries": 0}), 0, 0),
        (json!({"bytes": 0}), 0, 0),
        (json!({"entries": 8, "bytes": 1 << 20}), 8, 12),
    ] {
        let policy =
            policy(&json!({"jwtRules": [rule(&SECRET, &json!({}))], "tokenCache": bounds}));
        let mut worker_state = WorkerState::portable();
        for number in 0..20 {
            let token = bearer(&sign(&SECRET, &claims(&number.to_string())));
            let decision = decide(&policy, &token, UnixSeconds(NOW), &mut worker_state);
            assert_eq!(decision.reason(), "allowed", "{bounds}");
            let cache = &worker_state.cache;
            assert!(
                cache.len() <= most && cache.bytes() <= policy.settings.token_cache.bytes,
                "{bounds}"
            );
            assert_eq!(decision.report.cache.is_some(), cache.is_on(), "{bounds}");
        }
        assert_eq!(
            (worker_state.cache.len(), worker_state.cache.counts().evictions),
            (most, evictions)
        );
        assert_eq!(worker_state.cache.index.len(), most, "{bounds}: no hash without its entry");
    }
    let policy =
        policy(&json!({"jwtRules": [rule(&SECRET, &json!({}))], "tokenCache": {"bytes": 20_000}}));
    let mut worker_state = WorkerState::portable();
    for size in [10, 3000, 100, 100_000, 2000, 50] {
        let token = bearer(&sign(&SECRET, &claims(&"x".repeat(size.min(7000)))));
        decide(&policy, &token, UnixSeconds(NOW), &mut worker_state);
        let sizes = worker_state
            .cache
            .index
            .values()
            .map(|at| worker_state.cache.entries.get(*at).unwrap());
        assert_eq!(sizes.map(|entry| entry.bytes).sum::<usize>(), worker_state.cache.bytes());
        assert!(worker_state.cache.bytes() <= 20_000);
    }
}

/// The hash reads a token's end only, and a hash may collide anyway: tokens are compared in full.
#[test]
fn tokens_of_one_hash_are_not_confused() {
    let (policy, token) = (simple(), sign(&SECRET, &claims("x")));
    let mut worker_state = WorkerState::portable();
    decide(&policy, &bearer(&token), UnixSeconds(NOW), &mut worker_state);
    let cache = &mut worker_state.cache;
    let x = cache.find(token.as_bytes(), &[0], &policy.jwt, UnixSeconds(NOW)).unwrap();
    let twin = token.replacen('e', "f", 1);
    assert_eq!(cache.hash(twin.as_bytes(), &[0]), cache.hash(token.as_bytes(), &[0]));
    assert!(cache.find(twin.as_bytes(), &[0], &policy.jwt, UnixSeconds(NOW)).is_none());
    cache.insert(twin.as_bytes(), &[0], &x);
    assert!(
        cache.find(token.as_bytes(), &[0], &policy.jwt, UnixSeconds(NOW)).is_none(),
        "it was displaced"
    );
    assert_eq!(cache.len(), 1);
}

/// While an earlier rule finds a token not yet valid, the acceptance by a later rule is not cached: the
/// earlier one may accept it next.
#[test]
fn the_first_rule_that_accepts_wins_though_it_could_not_at_first() {
    let policy = policy(&json!({"jwtRules": [
        rule(&SECRET, &json!({"name": "strict"})),
        rule(&SECRET, &json!({"name": "lax", "clockSkew": "60s"})),
    ]}));
    let mut early = claims("x");
    early["nbf"] = (NOW + 30).into();
    let request = bearer(&sign(&SECRET, &early));
    let mut worker_state = WorkerState::portable();
    for (now, provider, cache) in [
        (NOW, "lax", Answer::Miss),
        (NOW, "lax", Answer::Miss),
        (NOW + 30, "strict", Answer::Miss),
        (NOW + 30, "strict", Answer::Hit),
        (NOW + 3601, "lax", Answer::Miss),
        (NOW + 3601, "lax", Answer::Hit),
    ] {
        let decision = decide(&policy, &request, UnixSeconds(now), &mut worker_state);
        let identity = decision.report.identity.as_ref().unwrap();
        assert_eq!((&*identity.provider, decision.report.cache), (provider, Some(cache)), "{now}");
    }
}

/// In any order of requests, a worker state with a cache differs from one without only in the effort.
#[test]
fn a_cache_changes_no_decision() {
    let rules = |more: Value| {
        json!({"jwtRules": [
            rule(&SECRET, &json!({"fromHeaders": [{"name": "x-a"}], "maxAge": "500s"})),
            rule(&SECRET, &json!({"fromHeaders": [{"name": "x-b"}], "clockSkew": "100s"})),
            rule(&[8; 32], &json!({"fromHeaders": [{"name": "x-b"}], "audiences": ["a"]})),
        ], "tokenCache": more, "missingToken": "allow"})
    };
    let mut other = rules(json!({"entries": 5}));
    other["jwtRules"][1]["jwks"] = other["jwtRules"][2]["jwks"].clone();
    let cached = [policy(&rules(json!({"entries": 5}))), policy(&other)];
    other["tokenCache"] = json!({"entries": 0});
    let plain = [policy(&rules(json!({"entries": 0}))), policy(&other)];

    let mut tokens = Vec::new();
    for secret in [&SECRET, &[8; 32], &[9; 32]] {
        for (iat, nbf, exp) in [(0, 0, 900), (300, 200, 400), (0, 600, 700)] {
            let [iat, nbf, exp] = [iat, nbf, exp].map(|seconds| NOW + seconds);
            let aud = if exp % 2 == 0 { "a" } else { "b" };
            let claims = json!({"iss": ISSUER, "iat": iat, "nbf": nbf, "exp": exp, "aud": aud});
            tokens.push(sign(secret, &claims));
        }
    }
    let mut with = WorkerState::portable();
    let mut random = 1_u64;
    let mut below = |n: u64| {
        // Numerical Recipes' generator; its upper half is random enough to choose with.
        random =
            random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((random >> 33) % n).unwrap()
    };
    let mut hits = 0;
    for step in 0..6000_u64 {
        let token = tokens[below(9)].as_str();
        let headers: &[(&str, &str)] = match below(4) {
            0 => &[("x-a", token)],
            1 => &[("x-b", token)],
            2 => &[("x-a", token), ("x-b", token)],
            _ => &[("x-a", token), ("x-b", &tokens[below(9)])],
        };
        let (request, which, now) = (request(headers), usize::from(below(50) == 0), NOW + step / 6);
        if below(100) == 0 {
            cached[which].generation.renew();
        }
        let got = decide(&cached[which], &request, UnixSeconds(now), &mut with);
        let expected =
            decide(&plain[which], &request, UnixSeconds(now), &mut WorkerState::portable());
        assert_eq!(
            (got.denial, got.mutations, got.reply, got.report.identity),
            (expected.denial, expected.mutations, expected.reply, expected.report.identity),
            "step {step}: {headers:?}"
        );
        hits += u32::from(got.report.cache == Some(Answer::Hit));
    }
    assert!(hits > 300, "only {hits} hits: that proves little");
}
