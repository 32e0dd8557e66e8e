//! Keys whose private half is published guard nothing: they are refused, and no example has one.

use std::path::Path;

use serde_json::{Value, json};
use usher_core::codec::problems::{Node, Problems};
use usher_core::jwks::{KeySet, Origin, Published};
use usher_core::load;
use usher_testkit::mint::{self, Key};

/// A key and where its private half stands.
struct Entry {
    source: String,
    place: String,
    jwk: Value,
}

fn entries() -> Vec<Entry> {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../../data/published-keys.json")).unwrap();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap().to_owned();
    all.iter()
        .map(|entry| Entry {
            source: text(entry, "source"),
            place: text(entry, "place"),
            jwk: entry["jwk"].clone(),
        })
        .collect()
}

/// A rule for which keys of each type count.
fn rule(jwks: &Value, allowed: bool) -> Value {
    let algorithms: Vec<&str> =
        usher_core::crypto::Algorithm::names().map(|(name, _)| name).collect();
    let mut rule = json!({ "issuer": "i", "jwks": jwks, "algorithms": algorithms });
    if allowed {
        rule["allowPublishedKeys"] = json!(true);
    }
    json!({ "jwtRules": [rule] })
}

#[test]
fn inline_they_are_an_error() {
    let good = Key::new("ES256", "good");
    assert_eq!(entries().len(), 37);
    for Entry { source, place, jwk } in entries() {
        let set = json!({ "keys": [jwk, good.jwk()] });
        let problems = load::from_value(&rule(&set, false)).unwrap_err();
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        let expected = format!(
            "jwtRules[0].jwks.keys[0]: a key guards nothing: its private half is published ({source}), so anyone \
             can sign for it; give your issuer's keys, or for a test say `allowPublishedKeys: true`"
        );
        assert_eq!(told, [expected], "{source} {place}");

        let loaded = load::from_value(&rule(&set, true)).unwrap();
        let warnings: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
        let warned = "jwtRules[0].allowPublishedKeys: keys whose private half is published are taken, so \
                      anyone may sign a token: for tests only";
        assert_eq!(warnings, [warned], "{source} {place}");
    }
    let loaded = load::from_value(&rule(&mint::jwks([&good]), false)).unwrap();
    assert!(loaded.warnings.is_empty(), "a key of one's own");
}

#[test]
fn fetched_they_are_skipped() {
    let good = Key::new("ES256", "good");
    let read = |keys: &[&Value], published| {
        let (problems, set) = (Problems::default(), json!({ "keys": keys }));
        let read = KeySet::read(&Node::root(&set), Origin::Fetched, true, published, &problems);
        let (errors, warnings) = problems.into_parts();
        let told = |notes: Vec<usher_core::config::InvalidConfig>| -> Vec<String> {
            notes.iter().map(|note| note.problem.clone()).collect()
        };
        (read.map(|set| set.keys().len()), told(errors), told(warnings))
    };
    for Entry { source, place, jwk } in entries() {
        let skipped = format!(
            "a key is skipped: its private half is published ({source}), so anyone can sign for it"
        );
        let why = format!("its private half is published ({source}), so anyone can sign for it");
        let name = jwk["kid"].as_str().map_or("`keys[0]`".to_owned(), |kid| format!("key `{kid}`"));
        let none = format!("expected at least one usable key, found none: {name}: {why}");
        for (keys, published, expected) in [
            (vec![&jwk, &good.jwk()], Published::Refused, (Some(1), vec![], vec![skipped.clone()])),
            (vec![&jwk], Published::Refused, (None, vec![none], vec![skipped])),
            (vec![&jwk], Published::Allowed, (Some(1), vec![], vec![])),
        ] {
            assert_eq!(read(&keys, published), expected, "{source} {place}");
        }
    }
}

#[test]
fn a_certificate_or_pem_of_one_is_the_same() {
    // RFC 7515 appendix A.3.
    let pem = "-----BEGIN PUBLIC KEY-----\n\
        MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n\
        6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n\
        -----END PUBLIC KEY-----\n";
    let problems = load::from_value(&rule(&json!(pem), false)).unwrap_err();
    assert!(problems[0].problem.contains("is published (RFC 7515)"), "{problems:?}");
}

/// The one example that shows what is refused.
const SHOWN: &str = "### `jwtRules[].allowPublishedKeys`";

#[test]
fn no_example_has_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut texts = vec![("README.md".to_owned(), read(&root.join("README.md")))];
    for folder in ["docs", "istio", "envoy", "demo", "cli/tests"] {
        walk(&root.join(folder), &mut texts);
    }
    assert!(texts.len() > 50, "{} files", texts.len());
    for entry in entries() {
        let member = ["n", "x", "k"].into_iter().find_map(|name| entry.jwk[name].as_str()).unwrap();
        // Of a key that is printed over several lines the first.
        let beginning = &member[..member.len().min(40)];
        for (file, text) in &texts {
            let found = text.split(SHOWN).enumerate().any(|(part, text)| {
                let own = if part == 0 { text } else { text.split_once("\n### ").unwrap().1 };
                own.contains(beginning)
            });
            assert!(!found, "{file} has a key of {} {}", entry.source, entry.place);
        }
    }
}

fn walk(folder: &Path, texts: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, texts);
        } else if path.extension().is_none_or(|extension| extension != "png") {
            texts.push((path.display().to_string(), read(&path)));
        }
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned()
}
