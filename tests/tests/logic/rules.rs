//! Several rules and one token: which of them check it, in which order, and which reason is reported.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_core::crypto::{Algorithm, Key as PublicKey};
use usher_core::crypto::{EngineFailed, SignatureEngine, portable::Portable};
use usher_core::decide::{Decision, WorkerState, decide};
use usher_core::{Request, load};
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";
const NOW: u64 = 1_794_000_000;

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));
static OTHER: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "two"));

/// Counts what it is asked.
struct Counting(Rc<Cell<usize>>);

impl SignatureEngine for Counting {
    fn name(&self, algorithm: Algorithm) -> &'static str {
        Portable.name(algorithm)
    }

    fn verify(
        &mut self,
        algorithm: Algorithm,
        key: &PublicKey,
        signed: &[u8],
        signature: &[u8],
    ) -> Result<bool, EngineFailed> {
        self.0.set(self.0.get() + 1);
        Portable.verify(algorithm, key, signed, signature)
    }
}

/// The decision about a request with these lines, and how many signatures were checked for it.
fn decided(config: &Value, lines: &[(&str, &str)]) -> (Decision, usize) {
    let policy = load::from_value(config).unwrap_or_else(|p| panic!("{p:?}: {config}")).policy;
    let count = Rc::new(Cell::new(0));
    let mut worker_state = WorkerState::portable();
    worker_state.engine = Box::new(Counting(Rc::clone(&count)));
    let pseudo = [(":method", "GET"), (":path", "/"), (":authority", "service.example")];
    let all = pseudo.iter().chain(lines);
    let headers = all.map(|(name, value)| ((*name).into(), (*value).into())).collect();
    let request = Request { headers, ..Request::default() };
    (decide(&policy, &request, usher_core::time::UnixSeconds(NOW), &mut worker_state), count.get())
}

fn bearer(config: &Value, token: &str) -> (Decision, usize) {
    decided(config, &[("authorization", &format!("Bearer {token}"))])
}

fn rule(name: &str, more: Value) -> Value {
    let mut rule = json!({ "name": name, "issuer": ISSUER, "jwks": mint::jwks([&*KEY]) });
    rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    rule
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "s", "aud": "shop", "iat": NOW, "exp": NOW + 600 })
}

#[test]
fn the_first_rule_in_file_order_that_accepts_wins() {
    let config = json!({ "jwtRules": [
        rule("billing", json!({ "audiences": ["billing"] })),
        rule("shop", json!({ "audiences": ["shop"] })),
        rule("any", json!({})),
    ] });
    for (audience, provider) in [("billing", "billing"), ("shop", "shop"), ("else", "any")] {
        let token = KEY.token(&mint::with(&claims(), "aud", audience));
        let (decision, checked) = bearer(&config, &token);
        let identity = decision.report.identity.expect("one of the rules accepts");
        assert_eq!(identity.provider, provider);
        assert_eq!(checked, 1, "rules with the same keys share one check");
    }
}

#[test]
fn a_signature_is_checked_once_for_each_key_set() {
    let other = json!({ "jwks": mint::jwks([&*OTHER]), "audiences": ["billing"] });
    let config = json!({ "jwtRules": [
        rule("a", json!({ "audiences": ["x"] })),
        rule("b", other.clone()),
        rule("c", json!({ "audiences": ["y"] })),
        rule("d", other),
        rule("e", json!({ "audiences": ["z"] })),
    ] });
    // Without a kid, so that either set has a key for it.
    let token = KEY.sign(&json!({ "alg": "ES256" }), &claims());
    let (decision, checked) = bearer(&config, &token);
    assert_eq!((decision.reason(), checked), ("audience_mismatch", 2));
}

#[test]
fn rules_of_other_issuers_are_not_tried() {
    let many = (0..100).map(|number| {
        rule(&format!("rule-{number}"), json!({ "issuer": format!("https://{number}.example") }))
    });
    let config = json!({ "jwtRules": many.collect::<Vec<_>>() });
    let (decision, checked) = bearer(&config, &KEY.token(&claims()));
    assert_eq!((decision.reason(), checked), ("issuer_unknown", 0));
    let token = KEY.token(&mint::with(&claims(), "iss", "https://77.example"));
    let (decision, checked) = bearer(&config, &token);
    assert_eq!((decision.reason(), checked), ("allowed", 1));
}

#[test]
fn a_rule_judges_only_what_stands_where_it_reads() {
    let elsewhere =
        json!({ "issuer": "https://else.example", "fromHeaders": [{ "name": "x-jwt" }] });
    let config = json!({ "jwtRules": [rule("here", json!({})), rule("there", elsewhere)] });
    let token = KEY.token(&claims());
    let (decision, checked) = decided(&config, &[("x-jwt", &token)]);
    assert_eq!((decision.reason(), checked), ("issuer_unknown", 0));
    let lines = [("x-jwt", token.as_str()), ("authorization", &format!("Bearer {token}"))];
    let (decision, checked) = decided(&config, &lines);
    assert_eq!((decision.reason(), checked), ("allowed", 1), "the same token in both places");
    let removed = [b"authorization".to_vec(), b"x-jwt".to_vec()];
    let mut found = decision.mutations.remove;
    found.sort();
    assert_eq!(found, removed, "and out of both");
}

#[test]
fn the_reason_of_the_rule_that_came_furthest_is_told() {
    let types = || rule("types", json!({ "types": ["at+jwt"] }));
    let algorithms = || rule("algorithms", json!({ "algorithms": ["RS256"] }));
    let keys = || rule("keys", json!({ "jwks": mint::jwks([&*OTHER]) }));
    let audiences = || rule("audiences", json!({ "audiences": ["billing"] }));
    let subjects = || rule("subjects", json!({ "subjects": { "prefix": "spiffe://" } }));
    let required = || rule("required", json!({ "requiredClaims": [{ "claim": "email" }] }));
    let young = || rule("young", json!({ "maxLifetime": "5s" }));
    for (rules, reason) in [
        (vec![types()], "type_not_allowed"),
        (vec![types(), algorithms()], "algorithm_not_allowed"),
        (vec![types(), keys()], "key_unknown"),
        (vec![audiences(), types()], "audience_mismatch"),
        (vec![subjects(), audiences()], "subject_not_allowed"),
        (vec![audiences(), required(), subjects()], "claim_mismatch"),
        (vec![young(), keys(), types()], "lifetime_too_long"),
    ] {
        let order = [rules.clone(), rules.into_iter().rev().collect()];
        for rules in order {
            let config = json!({ "jwtRules": rules });
            let (decision, _) = bearer(&config, &KEY.token(&claims()));
            assert_eq!(decision.reason(), reason, "{config}");
        }
    }
}

#[test]
fn a_signature_is_judged_before_any_claim() {
    let config = json!({ "jwtRules": [rule("one", json!({ "audiences": ["shop"] }))] });
    let stranger = Key::new("ES256", "one");
    for (name, value) in [("exp", json!(1)), ("nbf", json!(NOW + 900)), ("aud", json!("else"))] {
        let bad = mint::with(&claims(), name, value);
        assert_eq!(
            bearer(&config, &stranger.token(&bad)).0.reason(),
            "signature_invalid",
            "{name}"
        );
    }
}

#[test]
fn how_deep_and_how_long_a_token_may_be_is_configured() {
    let with = |limits: Value| json!({ "jwtRules": [rule("one", json!({}))], "limits": limits });
    let nested = |depth: usize| {
        let value = (1..depth).fold(json!(1), |inner, _| json!([inner]));
        KEY.token(&mint::with(&claims(), "deep", value))
    };
    for (limits, depth, reason) in [
        (json!({}), 32, "allowed"),
        (json!({}), 33, "token_malformed"),
        (json!({ "jsonDepth": 4 }), 4, "allowed"),
        (json!({ "jsonDepth": 4 }), 5, "token_malformed"),
        (json!({ "jsonDepth": 100 }), 100, "allowed"),
        (json!({ "tokenBytes": 100 }), 2, "token_too_large"),
    ] {
        let (decision, _) = bearer(&with(limits.clone()), &nested(depth));
        assert_eq!(decision.reason(), reason, "{limits} {depth}");
    }
    for limits in
        [json!({ "jsonDepth": 0 }), json!({ "jsonDepth": 128 }), json!({ "jsonDepth": "x" })]
    {
        let problems = load::from_value(&with(limits.clone())).unwrap_err();
        let told = "limits.jsonDepth: expected a whole number from 1 to 127";
        assert!(problems[0].to_string().starts_with(told), "{limits}: {problems:?}");
    }
}

#[test]
fn each_item_of_a_list_gets_a_line_where_the_rule_says_repeat() {
    let outputs = json!([
        { "header": "x-each", "claim": "groups", "format": "repeat" },
        { "header": "x-json", "claim": "groups", "format": "json" },
        { "header": "x-sub", "claim": "sub", "format": "json" },
    ]);
    let config = json!({ "jwtRules": [rule("one", json!({ "outputClaimToHeaders": outputs }))] });
    let token = KEY.token(&mint::with(&claims(), "groups", json!(["a,b", "", 1, null, "\u{e9}"])));
    let line = format!("Bearer {token}");
    let forged = [("authorization", line.as_str()), ("x-each", "root"), ("X-EACH", "root")];
    let (decision, _) =
        decided(&config, &forged.map(|(n, v)| (if n == "X-EACH" { "x_each" } else { n }, v)));
    let lines = |name: &str| -> Vec<String> {
        let set = decision.mutations.set.iter().find(|(n, _)| **n == *name.as_bytes());
        let lines = set.into_iter().flat_map(|(_, lines)| lines.iter());
        lines.map(|line| String::from_utf8(line.clone()).unwrap()).collect()
    };
    // Who joins the lines again still has three.
    assert_eq!(lines("x-each"), ["a%2Cb", "1", "%C3%A9"]);
    assert_eq!(lines("x-json"), [r#"["a,b","",1,null,"\u00e9"]"#]);
    assert_eq!(lines("x-sub"), [r#""s""#]);
    assert!(decision.mutations.remove.contains(&b"x_each".to_vec()));
}

#[test]
fn a_dry_run_takes_no_identity_for_a_forged_header() {
    let emitting = rule("one", json!({ "outputPayloadToHeader": "User-Info" }));
    let config = |mode: &str| {
        json!({
            "jwtRules": [emitting], "mode": mode, "identityHeaders": { "onSpoof": "reject" },
        })
    };
    let token = KEY.token(&claims());
    let line = format!("Bearer {token}");
    let lines = [("authorization", line.as_str()), ("user_info", "root")];
    let (enforced, _) = decided(&config("enforce"), &lines);
    assert_eq!((enforced.status(), enforced.reason()), (403, "identity_spoofed"));
    let (dry, _) = decided(&config("dryRun"), &lines);
    assert_eq!((dry.status(), dry.reason()), (200, "identity_spoofed"));
    let payload = mint::payload(&token).as_bytes().to_vec();
    assert_eq!(dry.mutations.set, [(b"user-info".as_slice().into(), [payload].into())]);
    assert!(dry.mutations.remove.contains(&b"user_info".to_vec()));
}
