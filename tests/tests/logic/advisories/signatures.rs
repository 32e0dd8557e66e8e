//! Invalid signatures, and other spellings of valid ones.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use usher_core::{Compiled, WorkerState, decide, load};
use usher_testkit::mint::Key;
use usher_testkit::verdict::{Core, NOW, RequestBuilder as _, claims, get, rule};

use super::KEY;

/// Orders of the groups (SEC 2 sections 2.4.2 and 2.5.1).
const P256: &str = "ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551";
const P384: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973";

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn parts(token: &str) -> (String, Vec<u8>) {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    (signed.to_owned(), URL_SAFE_NO_PAD.decode(signature).unwrap())
}

fn token(signed: &str, signature: &[u8]) -> String {
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

// CVE-2022-21449 (Java, "psychic signatures"): r = s = 0 verified everything.
#[test]
fn ecdsa_numbers_out_of_range_or_of_another_length_are_no_signature() {
    for (alg, order) in [("ES256", P256), ("ES384", P384)] {
        let key = Key::new(alg, "one");
        let core = Core::with_rule(rule(&key));
        let (signed, good) = parts(&key.token(&claims()));
        let (r, s) = good.split_at(good.len() / 2);
        let n = hex(order);
        let zero = vec![0; n.len()];
        let ones = vec![0xff; n.len()];
        let one = [&zero[1..], &[1]].concat();
        assert_eq!(core.code(&token(&signed, &good)), "allowed", "{alg}");
        for (what, signature) in [
            ("r = s = 0", [&zero[..], &zero].concat()),
            ("r = 0", [&zero[..], s].concat()),
            ("s = 0", [r, &zero].concat()),
            ("r = n", [&n[..], s].concat()),
            ("s = n", [r, &n].concat()),
            ("r = s = n", [&n[..], &n].concat()),
            ("r = s = 1", [&one[..], &one].concat()),
            ("all ones", [&ones[..], &ones].concat()),
            ("r and s exchanged", [s, r].concat()),
            ("a byte less", good[..good.len() - 1].to_vec()),
            ("a byte more", [&good[..], &[0]].concat()),
            ("zeros before", [&[0, 0], &good[..]].concat()),
            ("half of it", r.to_vec()),
            ("in DER", der(r, s)),
            ("one byte", vec![0]),
        ] {
            assert_eq!(
                core.code(&token(&signed, &signature)),
                "signature_invalid",
                "{alg}: {what}"
            );
        }
    }
}

/// An ECDSA-Sig-Value (RFC 3279 section 2.2.3).
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let sign = if bytes[zeros] >= 0x80 { &[0][..] } else { &[] };
        let value = [sign, &bytes[zeros..]].concat();
        [&[2, u8::try_from(value.len()).unwrap()], &value[..]].concat()
    };
    let pair = [integer(r), integer(s)].concat();
    [&[0x30, u8::try_from(pair.len()).unwrap()], &pair[..]].concat()
}

/// `n - s`, big-endian.
fn negated(n: &[u8], s: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference: Vec<u8> = n
        .iter()
        .zip(s)
        .rev()
        .map(|(n, s)| {
            let d = i16::from(*n) - i16::from(*s) - borrow;
            borrow = i16::from(d < 0);
            u8::try_from(d.rem_euclid(256)).unwrap()
        })
        .collect();
    difference.reverse();
    difference
}

// OWASP cheat sheets 2242, tink-java 82: a token has a second ECDSA signature, (r, n - s), and in sloppy
// base64 many spellings; lists and caches keyed by its text can be evaded.
#[test]
fn another_spelling_of_a_token_is_another_token_or_none() {
    let policy = load::from_value(&serde_json::json!({ "jwtRules": [rule(&KEY)] })).unwrap().policy;
    // One session, as a worker has it: what it remembers must not be met by another spelling.
    let mut worker_state = WorkerState::portable();
    let mut code = |token: &str| {
        decide(
            &policy,
            &get("/").bearer(token),
            usher_core::time::UnixSeconds(NOW),
            &mut worker_state,
        )
        .reason()
    };
    let good = KEY.token(&claims());
    let (signed, signature) = parts(&good);
    let (r, s) = signature.split_at(32);
    let mirrored = token(&signed, &[r, &negated(&hex(P256), s)].concat());
    let (body, last) = good.split_at(good.len() - 1);
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let at = alphabet.find(last).unwrap();
    for _ in 0..2 {
        assert_eq!(code(&good), "allowed");
        // RFC 7518 section 3.4 allows both: it is a good token, with a text of its own.
        assert_eq!(code(&mirrored), "allowed");
        // The last character of 64 bytes holds four unused bits.
        for other in 0..alphabet.len() {
            let text = format!("{body}{}", &alphabet[other..=other]);
            let same_bits = other / 16 == at / 16;
            let expected = match (other == at, other % 16 == 0) {
                (true, _) => "allowed",
                (false, false) => "token_malformed",
                (false, true) if same_bits => "allowed",
                (false, true) => "signature_invalid",
            };
            assert_eq!(code(&text), expected, "{text}");
        }
        for text in [
            format!("{good}="),
            format!("{good}=="),
            format!("{good}\n"),
            format!("{good}.\u{a0}"),
            good.replacen('.', "..", 1),
            good.replacen('.', "=.", 1),
            good.replacen('.', " .", 1),
            format!(".{good}"),
            format!("{good}."),
            good.replacen("eyJ", "e yJ", 1),
        ] {
            // White space around a token is not part of it: what is left is the token itself.
            let expected = if text.trim_ascii() == good { "allowed" } else { "token_malformed" };
            assert_eq!(code(&text), expected, "{text:?}");
        }
    }
}

// CVE-2021-32701 (ORY Oathkeeper), GHSA-4mq7: a verdict was remembered for a token, and then used where
// another rule, scope or configuration applied.
#[test]
fn a_remembered_verdict_is_never_anothers() {
    use serde_json::{Value, json};
    use usher_testkit::verdict::with;
    let policy = |configuration: Value| load::from_value(&configuration).unwrap().policy;
    let rule = rule(&KEY);
    let scoped = json!([{ "name": "p", "rules": [{
        "to": [{ "operation": { "paths": ["/write"] } }],
        "when": [{ "key": "request.auth.scopes", "values": ["write"] }],
    }, { "to": [{ "operation": { "paths": ["/read"] } }] }] }]);
    let first = policy(json!({ "jwtRules": [rule], "authorizationPolicies": scoped }));
    let stranger = Key::new("ES256", "one");
    let others = [
        ("another audience", with(&rule, "audiences", json!(["other"])), "audience_mismatch"),
        ("another issuer", with(&rule, "issuer", "https://other.example"), "issuer_unknown"),
        (
            "another key",
            with(&rule, "jwks", usher_testkit::mint::jwks([&stranger])),
            "signature_invalid",
        ),
        ("another type", with(&rule, "types", json!(["at+jwt"])), "type_not_allowed"),
        ("another algorithm", with(&rule, "algorithms", json!(["EdDSA"])), "algorithm_not_allowed"),
        ("a shorter lifetime", with(&rule, "maxLifetime", "1s"), "lifetime_too_long"),
        (
            "another place",
            with(&rule, "fromHeaders", json!([{ "name": "x-jwt" }])),
            "token_missing",
        ),
        (
            "another subject",
            with(&rule, "subjects", json!({ "exact": "x" })),
            "subject_not_allowed",
        ),
        (
            "another claim",
            with(&rule, "requiredClaims", json!([{ "claim": "x" }])),
            "claim_mismatch",
        ),
    ]
    .map(|(what, rule, expected)| (what, policy(json!({ "jwtRules": [rule] })), expected));
    let good = KEY.token(&with(&claims(), "scope", "read"));
    let mut worker_state = WorkerState::portable();
    let mut code = |policy: &Compiled, path: &str, now: u64| {
        decide(
            policy,
            &get(path).bearer(&good),
            usher_core::time::UnixSeconds(now),
            &mut worker_state,
        )
        .reason()
    };
    for _ in 0..2 {
        assert_eq!(code(&first, "/read", NOW), "allowed");
        assert_eq!(code(&first, "/write", NOW), "no_rule_matched", "the scope is judged each time");
        for (what, other, expected) in &others {
            assert_eq!(code(&first, "/read", NOW), "allowed");
            assert_eq!(code(other, "/read", NOW), *expected, "{what}");
        }
        assert_eq!(code(&first, "/read", NOW + 7200), "token_expired", "time is judged each time");
        assert_eq!(code(&first, "/read", NOW - 7200), "token_not_yet_valid");
    }
}

/// The order less a number, both big-endian.
fn less(order: &[u8], number: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let mut difference = Vec::new();
    for (a, b) in order.iter().zip(number).rev() {
        let digit = i32::from(*a) - i32::from(*b) - borrow;
        borrow = i32::from(digit < 0);
        difference.insert(0, u8::try_from(digit.rem_euclid(256)).unwrap());
    }
    difference
}

// SEC 1 section 4.1.4: (r, s) and (r, n - s) verify alike; see docs/differences.md.
#[test]
fn an_ecdsa_signature_has_two_spellings() {
    for (alg, order) in [("ES256", P256), ("ES384", P384)] {
        let key = Key::new(alg, "one");
        let core = Core::with_rule(rule(&key));
        let (signed, good) = parts(&key.token(&claims()));
        let (r, s) = good.split_at(good.len() / 2);
        let other = [r, &less(&hex(order), s)].concat();
        assert_ne!(other, good, "{alg}");
        assert_eq!(core.code(&token(&signed, &other)), "allowed", "{alg}");
    }
}
