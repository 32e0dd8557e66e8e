//! 4,200 requests that native Envoy, configured as istiod does, has answered: what Usher's core answers,
//! and the class of each difference. Vectors: tests/vectors/authn.

mod classes;
mod judge;
mod vectors;

use std::collections::BTreeMap;

use classes::{CLASSES, Facts, differences};
use judge::{Judge, Place};
use serde_json::Value;
use usher_testkit::compare;
use vectors::{Case, Upstream};

#[test]
fn every_difference_has_its_class_and_every_class_a_difference() {
    let cases = vectors::all();
    let judge = Judge::new(&vectors::jwks());
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let (mut differing, mut classless) = (0, Vec::new());
    for case in &cases {
        let facts = Facts::new(case, &judge);
        let differences = differences(&case.native, &case.usher);
        differing += usize::from(!differences.is_empty());
        for difference in differences {
            match CLASSES.iter().find(|class| (class.holds)(&facts, &difference)) {
                Some(class) => *counts.entry(class.name).or_default() += 1,
                None => classless.push(format!("{}: {difference:?}", case.id)),
            }
        }
    }
    println!("{} requests, {differing} answered otherwise than by Envoy", cases.len());
    for class in &CLASSES {
        println!("{:6} {}", counts.get(class.name).copied().unwrap_or_default(), class.name);
    }
    assert!(classless.is_empty(), "differences of no class:\n{}", classless.join("\n"));
    let empty: Vec<&str> =
        CLASSES.iter().map(|class| class.name).filter(|name| !counts.contains_key(name)).collect();
    assert!(empty.is_empty(), "classes without a member: {empty:?}");
    assert_eq!(cases.len(), 4200);
}

#[test]
fn nobody_gets_in_on_a_bad_token() {
    let cases = vectors::all();
    let judge = Judge::new(&vectors::jwks());
    let (mut verified, mut anonymous) = (0, 0);
    for case in cases.iter().filter(|case| case.usher.passed()) {
        let facts = Facts::new(case, &judge);
        let Some(identity) = &case.usher.identity else {
            // Nothing that either filter would read as a token, or a preflight, which has no caller.
            let nothing = facts.tokens.is_empty() && facts.envoys.is_empty() && !facts.astray;
            assert!(nothing || facts.preflight(), "a token was passed over: {case:#?}");
            anonymous += 1;
            continue;
        };
        let token = facts.token().expect("one token, or none");
        let good = accepting(&facts, token);
        assert!(!good.is_empty(), "a token that no rule may accept: {case:#?}");
        // Envoy may read it with its quotes, or with another rule's prefix; another token it must not
        // find.
        let others =
            facts.envoys.iter().filter(|(_, read)| !read.trim().trim_matches('"').ends_with(token));
        assert_eq!(others.count(), 0, "another token beside it: {case:#?}");
        assert!(!facts.astray && !facts.preflight(), "{case:#?}");
        let claims = judge::claims(token).unwrap();
        for name in ["iss", "sub", "aud", "exp"] {
            assert_eq!(identity.get(name), claims.get(name), "{name}: {case:#?}");
        }
        verified += 1;
    }
    println!("{verified} let in on a good token, {anonymous} without one");
    assert!(verified > 500 && anonymous > 500, "{verified} {anonymous}");
}

#[test]
fn the_service_gets_no_token_that_envoy_withholds() {
    let cases = vectors::all();
    let judge = Judge::new(&vectors::jwks());
    for case in &cases {
        let Some(usher) = &case.usher.upstream else { continue };
        let facts = Facts::new(case, &judge);
        let Some(native) = &case.native.upstream else {
            // Envoy refused it: what was read goes on only where the rule says that it shall.
            let token = facts.token().expect("let in on a token");
            let forwards =
                accepting(&facts, token).iter().any(|rule| rule["forwardOriginalToken"] == true);
            assert!(forwards || !holds(usher, token), "{case:#?}");
            continue;
        };
        for word in token_like(case) {
            assert!(!holds(usher, &word) || holds(native, &word), "`{word}` in {case:#?}");
        }
    }
}

#[test]
fn the_service_gets_no_header_that_the_client_forged() {
    let cases = vectors::all();
    let judge = Judge::new(&vectors::jwks());
    let mut forged = 0;
    for case in &cases {
        let Some(usher) = &case.usher.upstream else { continue };
        let facts = Facts::new(case, &judge);
        let names: Vec<String> = case.rules.iter().flat_map(emitted).map(|n| fold(&n)).collect();
        for (name, lines) in usher.headers.iter().filter(|(name, _)| names.contains(&fold(name))) {
            let token = facts.token().expect("emitted for a token");
            assert!(case.usher.identity.is_some(), "{name} without an identity: {case:#?}");
            let rules = accepting(&facts, token);
            assert!(rules.iter().any(|rule| emitted(rule).contains(name)), "{name}: {case:#?}");
            assert_eq!(lines.len(), 1, "{name}: {case:#?}");
            let sent: Vec<&str> = judge::lines(case, name).collect();
            assert!(!sent.contains(&lines[0].as_str()), "{name} is the client's: {case:#?}");
            let payload = |rule: &&Value| {
                rule["outputPayloadToHeader"].as_str().is_some_and(|n| fold(n) == fold(name))
            };
            if rules.iter().any(payload) {
                assert_eq!(Some(lines[0].as_str()), token.split('.').nth(1), "{name}: {case:#?}");
            }
        }
        forged += case.headers.iter().filter(|(name, _)| names.contains(&fold(name))).count();
    }
    println!("{forged} forged headers sent");
    assert!(forged > 1000, "only {forged} forged headers");
}

#[test]
fn the_docs_tell_the_same_classes() {
    let docs = include_str!("../../../docs/differences.md");
    let rows = docs.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let mut told: Vec<&str> = rows.map(|(name, _)| name).collect();
    let vectors = CLASSES.iter().map(|class| class.name);
    let mut known: Vec<&str> = vectors.chain(compare::CASES.iter().map(|c| c.class)).collect();
    known.extend(compare::TOLD_ELSEWHERE.iter().map(|(class, _)| *class));
    known.sort_unstable();
    known.dedup();
    told.sort_unstable();
    assert_eq!(told, known, "docs/differences.md has one row for each class");
}

/// The rules that read a place where the token stands, and that it is good for.
fn accepting<'f>(facts: &'f Facts<'_>, token: &str) -> Vec<&'f Value> {
    let stands: Vec<&Place> = facts.tokens.iter().map(|(place, _)| place).collect();
    let reads = |rule: &&Value| judge::places(rule).iter().any(|place| stands.contains(&place));
    let rules = facts.case.rules.iter().filter(reads);
    rules.filter(|rule| facts.judge.flaw_for(token, rule).is_none()).collect()
}

fn holds(upstream: &Upstream, text: &str) -> bool {
    upstream.path.contains(text) || upstream.headers.values().flatten().any(|l| l.contains(text))
}

/// Everything in the request that has a token's form, wherever it stands.
fn token_like(case: &Case) -> Vec<String> {
    let outside = |c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c));
    let texts = case.headers.iter().map(|(_, value)| value).chain([&case.path]);
    let words = texts.flat_map(|text| text.split(outside));
    words.filter(|word| word.split('.').count() >= 3).map(str::to_owned).collect()
}

/// The headers that a rule sets, in lower case.
fn emitted(rule: &Value) -> Vec<String> {
    let claims = rule["outputClaimToHeaders"].as_array().into_iter().flatten();
    let names = claims.map(|output| &output["header"]).chain([&rule["outputPayloadToHeader"]]);
    names.filter_map(Value::as_str).map(str::to_ascii_lowercase).collect()
}

fn fold(name: &str) -> String {
    let fold = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    name.chars().map(fold).collect()
}
