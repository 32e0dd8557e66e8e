#![expect(clippy::unreachable, reason = "a test may stop at any surprise")]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::codec::json::Map;
use crate::decide::{WorkerState, decide};

const NOW: u64 = 1_700_000_000;
const SECRET: &[u8] = b"01234567890123456789012345678901";

fn policy(edit: impl FnOnce(&mut Value)) -> Compiled {
    let mut configuration = json!({ "jwtRules": [{
        "issuer": "idp", "name": "corp", "algorithms": ["HS256"], "fromParams": ["t"],
        "fromHeaders": [{ "name": "authorization", "prefix": "Bearer " }],
        "jwks": { "keys": [{ "kty": "oct", "kid": "one", "k": encode(SECRET) }] },
    }]});
    edit(&mut configuration);
    load::from_value(&configuration).unwrap().policy
}

use crate::time::UnixSeconds;
use crate::{Compiled, load};

fn encode(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

fn token(claims: &Value) -> String {
    let header = json!({ "alg": "HS256", "kid": "one" });
    let signed = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let signature = encode(&hmac_sha256::HMAC::mac(&signed, SECRET));
    format!("{signed}.{signature}")
}

fn claims() -> Value {
    json!({ "iss": "idp", "sub": "mmosley", "exp": NOW + 60, "act": { "sub": "cron" }, "ssn": "078-05-1120" })
}

fn request(path: &[u8], lines: &[(&str, &[u8])]) -> Request {
    let mut headers = vec![
        (b":method".to_vec(), b"GET".to_vec()),
        (b":authority".to_vec(), b"shop.example".to_vec()),
        (b":path".to_vec(), path.to_vec()),
    ];
    headers.extend(lines.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())));
    Request { headers, ..Request::default() }
}

fn written(policy: &Compiled, request: &Request) -> (Level, Map<String, Value>) {
    let decision = decide(policy, request, UnixSeconds(NOW), &mut WorkerState::portable());
    let context = LineContext {
        now: UnixSeconds(NOW),
        generation: 3,
        process_key: b"process",
        ..LineContext::default()
    };
    let log = DecisionLog { emit: Emit::All, ..policy.settings.decision_log.clone() };
    let level = wanted(&log, &decision, &mut Sampler::default()).unwrap();
    let line = line(&log, request, &decision, &context);
    assert!(line.len() <= LINE_BYTES, "{} bytes", line.len());
    assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{line}");
    let Value::Object(members) = crate::codec::json::parse(line.as_bytes(), 8).expect(&line) else {
        panic!("no object: {line}");
    };
    (level, members)
}

#[test]
fn an_allowed_request_in_full() {
    let bearer = format!("Bearer {}", token(&claims()));
    let request = request(
        b"/cart?q=secret#x",
        &[
            ("authorization", bearer.as_bytes()),
            ("x-request-id", b"r-1"),
            ("traceparent", b"00-a-b-01"),
        ],
    );
    let (level, line) = written(&policy(|_| {}), &request);
    assert_eq!(level, Level::Info);
    let expected = json!({
        "time": NOW, "generation": 3, "decision": "allow", "enforced": true, "status": 200, "reason": "allowed",
        "provider": "corp", "kid": "one", "alg": "HS256", "cached": false, "claims": { "sub": "mmosley" }, "actor": "cron",
        "method": "GET", "host": "shop.example", "path": "/cart", "request_id": "r-1",
        "traceparent": "00-a-b-01",
    });
    assert_eq!(Value::Object(line), expected);
}

#[test]
fn a_refused_token_is_nobody_s_but_names_its_rule() {
    let expired = json!({ "iss": "idp", "sub": "mmosley", "exp": NOW - 600 });
    let bearer = format!("Bearer {}", token(&expired));
    let (level, line) =
        written(&policy(|_| {}), &request(b"/", &[("authorization", bearer.as_bytes())]));
    assert_eq!(level, Level::Warn);
    let expected = json!({
        "time": NOW, "generation": 3, "decision": "deny", "enforced": true, "status": 401,
        "reason": "token_expired", "provider": "corp", "kid": "one", "alg": "HS256", "cached": false,
        "method": "GET", "host": "shop.example", "path": "/",
    });
    assert_eq!(Value::Object(line), expected);
}

#[test]
fn claims_can_be_hashed() {
    let bearer = format!("Bearer {}", token(&claims()));
    let request = request(b"/", &[("authorization", bearer.as_bytes())]);
    for (log, key) in [
        (json!({ "hash": true, "hashKey": "0123456789abcdef" }), "0123456789abcdef"),
        (json!({ "hash": true }), "process"),
    ] {
        let (_, line) = written(&policy(|c| c["decisionLog"] = log), &request);
        let hash = |text: &str| hex(&hmac_sha256::HMAC::mac(text, key));
        assert_eq!(line["claims"], json!({ "sub": hash("mmosley") }));
        assert_eq!(line["actor"], hash("cron"));
    }
    // printf mmosley | openssl dgst -sha256 -hmac 0123456789abcdef
    assert_eq!(
        hash(b"0123456789abcdef", "mmosley"),
        "54ed59c7789cf1097d683d4f6073c9e421ca1f0f3d8d75f3f87fc9619d357c5e"
    );
}

#[test]
fn which_decisions_are_written() {
    let bearer = format!("Bearer {}", token(&claims()));
    let good = request(b"/", &[("authorization", bearer.as_bytes())]);
    let bad = request(b"/", &[]);
    let plain = policy(|_| {});
    let audit = policy(|c| {
        c["authorizationPolicies"] = json!([{ "name": "a", "action": "AUDIT", "rules": [{}] }]);
    });
    let dry_run = policy(|c| c["mode"] = json!("dryRun"));
    let tried = |action: &str, paths: &str| {
        policy(|c| {
            c["authorizationPolicies"] = json!([{
                "name": "t", "action": action, "dryRun": true,
                "rules": [{ "to": [{ "operation": { "paths": [paths] } }] }],
            }]);
        })
    };
    let (warn, info) = (Some(Level::Warn), Some(Level::Info));
    for (policy, request, expected, why) in [
        (&plain, &good, [None, None, info], "allowed"),
        (&plain, &bad, [None, warn, warn], "refused"),
        (&audit, &good, [None, warn, warn], "allowed and audited"),
        (&dry_run, &bad, [None, warn, warn], "would be refused"),
        (&tried("DENY", "/"), &good, [None, warn, warn], "a dry-run DENY policy would refuse"),
        (&tried("DENY", "/x"), &good, [None, None, info], "a dry-run DENY policy would not"),
        (&tried("ALLOW", "/x"), &good, [None, warn, warn], "a dry-run ALLOW policy would refuse"),
        (&tried("ALLOW", "/"), &good, [None, None, info], "a dry-run ALLOW policy would not"),
    ] {
        let decision = decide(policy, request, UnixSeconds(NOW), &mut WorkerState::portable());
        let found = [Emit::None, Emit::Denied, Emit::All].map(|emit| {
            let log = DecisionLog { emit, ..DecisionLog::default() };
            wanted(&log, &decision, &mut Sampler::default())
        });
        assert_eq!(found, expected, "{why}");
    }
}

#[test]
fn a_line_that_follows_suppressed_ones_tells_how_many() {
    let bearer = format!("Bearer {}", token(&claims()));
    let good = request(b"/", &[("authorization", bearer.as_bytes())]);
    let bad = request(b"/", &[]);
    let policy = policy(|c| {
        c["decisionLog"] = json!({ "emit": "all", "refusalsPerSecond": 2, "sample": 1 });
    });
    let mut throttle = Throttle::default();
    let mut choice = |request: &Request, now| {
        let decision = decide(&policy, request, now, &mut WorkerState::portable());
        choose(&policy.settings.decision_log, &decision, now, &mut throttle)
    };
    let write = |level, suppressed| Choice::Write(level, suppressed);
    for (request, now, expected, why) in [
        (&bad, NOW, write(Level::Warn, 0), "the first of its reason"),
        (&bad, NOW, write(Level::Warn, 0), "from the bucket"),
        (&bad, NOW, write(Level::Warn, 0), "the last of the bucket"),
        (&bad, NOW, Choice::Suppress, "the bucket is empty"),
        (&bad, NOW, Choice::Suppress, "and stays so"),
        (&good, NOW, write(Level::Info, 2), "allowed requests are not limited, and report"),
        (&bad, NOW, Choice::Suppress, "it fills no bucket"),
        (&bad, NOW + 1, write(Level::Warn, 1), "the next second"),
        (&bad, NOW + 1, write(Level::Warn, 0), "reported once"),
    ] {
        assert_eq!(choice(request, UnixSeconds(now)), expected, "{why}");
    }
    let decision = decide(&policy, &bad, UnixSeconds(NOW), &mut WorkerState::portable());
    for (suppressed, reported) in [(0, None), (7, Some("\"suppressed\":7"))] {
        let context = LineContext { suppressed, ..LineContext::default() };
        let line = line(&policy.settings.decision_log, &bad, &decision, &context);
        assert_eq!(
            line.contains("suppressed"),
            reported.is_some_and(|reported| line.contains(reported)),
            "{line}"
        );
    }
}

#[test]
fn a_sample_is_even() {
    for (sample, of_thousand) in [(0.0, 0), (0.1, 100), (0.25, 250), (1.0, 1000)] {
        let mut sampler = Sampler::default();
        let written = (0..1000).filter(|_| sampler.next(sample)).count();
        assert!(written.abs_diff(of_thousand) <= 1, "{sample}: {written}");
    }
}

#[test]
fn wrong_fields_are_told() {
    for (log, expected) in [
        (
            json!({ "sample": 1.5 }),
            "decisionLog.sample: expected a number from 0 to 1, found `1.5`",
        ),
        (
            json!({ "sample": "half" }),
            "decisionLog.sample: expected a number from 0 to 1, found `half`",
        ),
        (json!({ "hashKey": "short" }), "decisionLog.hashKey: expected at least 16 bytes, found 5"),
        (
            json!({ "refusalsPerSecond": "many" }),
            "decisionLog.refusalsPerSecond: expected `unlimited` or a whole number from 0 to 1000000, found `many`",
        ),
        (
            json!({ "refusalsPerSecond": -1 }),
            "decisionLog.refusalsPerSecond: expected `unlimited` or a whole number from 0 to 1000000, found `-1`",
        ),
        (
            json!({ "emitt": "all" }),
            "decisionLog.emitt: unknown field `emitt`; did you mean `emit`?",
        ),
    ] {
        let configuration = json!({ "jwtRules": [], "decisionLog": log });
        let problems = load::from_value(&configuration).unwrap_err();
        assert!(problems.iter().any(|p| p.to_string() == expected), "{expected}: {problems:?}");
    }
}

/// Bytes that break a careless writer.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop_oneof![
        Just(b"\"".to_vec()),
        Just(b"\\".to_vec()),
        Just(b"\n".to_vec()),
        Just(b"\0\x1b\x7f".to_vec()),
        Just(b"\xff\xed\xa0\x80".to_vec()),
        Just("\u{2028}\u{202e}\u{9b}\u{1f600}".as_bytes().to_vec()),
        Just(b"{\"time\":1}".to_vec()),
        Just(vec![b'"'; 61_440]),
        Just(vec![0xff; 61_440]),
        proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(pieces, 0..6).prop_map(|pieces| pieces.concat())
}

/// Every spelling of a JOSE header that Usher reads: white space, members that it does not know, in any order.
fn jose_header() -> impl Strategy<Value = String> {
    let space = || "[ \\t\\r\\n]{0,3}";
    let name = prop_oneof![
        "[a-z]{1,8}",
        "[\u{80}-\u{24f}\u{4e00}-\u{4e10}\u{1f600}-\u{1f610}]{1,3}",
        Just("\\\\u0061".to_owned()),
        "[ !#-9]{1,3}",
        Just(String::new()),
    ];
    let member = name
        .prop_filter("a name of its own", |name| {
            !["alg", "crit", "b64", "kid", "typ", "a"].contains(&name.as_str())
        })
        .prop_map(|name| format!("\"{name}\":1"));
    let alg = Just("\"alg\":\"HS256\"".to_owned());
    (space(), space(), proptest::option::of(member), alg, any::<bool>()).prop_map(
        |(before, between, member, alg, first)| {
            let members: Vec<String> = match (member, first) {
                (None, _) => vec![alg],
                (Some(member), true) => vec![member, alg],
                (Some(member), false) => vec![alg, member],
            };
            format!("{{{before}{}{between}}}", members.join(&format!("{between},{before}")))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_token_that_usher_reads_stands_in_a_line(
        header in jose_header(),
        around in "[/a-df-zA-Z ;?]{0,8}",
        coded in proptest::collection::vec(any::<bool>(), 400),
    ) {
        let payload = encode(br#"{"iss":"idp","sub":"mmosley","exp":1700000060}"#);
        let signature = encode(&[0x5a; 32]);
        let token = format!("{}.{payload}.{signature}", encode(header.as_bytes()));
        let read = crate::compact::parse(token.as_bytes(), &crate::policy::TokenLimits::default());
        prop_assert!(read.is_ok(), "{header}: {read:?}");
        // In a path some of its bytes may be percent-encoded.
        let spelt: String = token.bytes().zip(coded.iter().chain(std::iter::repeat(&false)))
            .map(|(byte, coded)| if *coded { format!("%{byte:02x}") } else { char::from(byte).to_string() })
            .collect();
        for spelt in [&token, &spelt] {
            let text = format!("/x/{around}/{spelt}/y");
            let redacted = crate::codec::redaction::redact(text.as_bytes());
            let expected = format!("/x/{around}/[redacted]/y");
            prop_assert_eq!(String::from_utf8_lossy(&redacted), expected, "{}", header);
        }
        let policy = policy(|c| c["decisionLog"] = json!({ "claims": ["sub"] }));
        let text = format!("{around}/{token}");
        let request = request(
            format!("/x/{around}/{token}/y?t={token}&access_token={token}").as_bytes(),
            &[("x-request-id", text.as_bytes()), ("traceparent", token.as_bytes()), ("authorization", text.as_bytes())],
        );
        let mut decision = decide(&policy, &request, UnixSeconds(NOW), &mut WorkerState::portable());
        decision.report.claimed_provider = Some(text.clone());
        decision.report.spoofed = vec![text.clone()];
        let Value::Object(members) = json!({ "sub": text, "act": { "sub": token } }) else { unreachable!() };
        decision.report.identity = Some(std::rc::Rc::new(crate::claims::Identity {
            claims: crate::claims::Claims(members),
            ..Default::default()
        }));
        let line = line(&policy.settings.decision_log, &request, &decision, &LineContext::default());
        let end = payload.len().saturating_sub(16);
        for secret in [payload.get(..16), payload.get(end..), signature.get(..16)] {
            let secret = secret.expect("long enough");
            prop_assert!(!line.contains(secret), "{secret}: {line}");
        }
    }

    #[test]
    fn any_bytes_give_one_bounded_object(
        path in bytes(), host in bytes(), method in bytes(), id in bytes(), trace in bytes(), name in bytes(),
        texts in proptest::collection::vec(bytes(), 12),
        verified in any::<bool>(),
    ) {
        let policy = policy(|c| {
            let names: Vec<String> = (0..12).map(|n| format!("claim{n}\u{1}\"")).collect();
            c["decisionLog"] = json!({ "claims": names });
            c["identityHeaders"] = json!({ "strip": ["x-user"] });
        });
        let mut token_claims = claims();
        for (n, text) in texts.iter().enumerate() {
            token_claims[format!("claim{n}\u{1}\"")] = json!(String::from_utf8_lossy(text));
        }
        let mut path = [b"/".as_slice(), &path].concat();
        path.retain(|byte| *byte != 0);
        // Only a small token fits within the token size limit; otherwise the test sets the caller directly.
        let request = Request {
            headers: vec![
                (b":method".to_vec(), method),
                (b":authority".to_vec(), host),
                (b":path".to_vec(), path),
                (b"x-request-id".to_vec(), id),
                (b"traceparent".to_vec(), trace),
                (b"x-user".to_vec(), name),
            ],
            ..Request::default()
        };
        let mut decision = decide(&policy, &request, UnixSeconds(NOW), &mut WorkerState::portable());
        if verified {
            let Value::Object(members) = token_claims else { unreachable!() };
            decision.report.identity = Some(std::rc::Rc::new(crate::claims::Identity {
                claims: crate::claims::Claims(members),
                ..Default::default()
            }));
        }
        let line = line(&policy.settings.decision_log, &request, &decision, &LineContext::default());
        prop_assert!(line.len() <= LINE_BYTES);
        prop_assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')));
        let value = crate::codec::json::parse(line.as_bytes(), 8);
        prop_assert!(matches!(&value, Ok(Value::Object(_))), "{value:?}: {line}");
    }
}
