//! What a case expects of the answer: those fields of `usher explain --format json` that it names.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use usher_core::codec::json::{self, Map, Value};
use usher_core::codec::problems::{Node, Problems, did_you_mean};

use crate::answer::{Answer, REASONS};
use crate::input::DEPTH;

/// The fields that are compared unchanged.
const PLAIN: [&str; 11] = [
    "audit",
    "body",
    "challenge",
    "decision",
    "matched",
    "path",
    "policy",
    "provider",
    "reason",
    "rule",
    "status",
];

/// Reads the expectation; a single word is the decision or the reason.
pub(super) fn read(node: &Node<'_>, problems: &Problems) -> Option<Map<String, Value>> {
    let mut expect = Map::new();
    match node.value {
        Value::String(word) => {
            let field =
                if matches!(word.as_str(), "allow" | "deny") { "decision" } else { "reason" };
            if field == "reason" {
                check_reason(&node.at, word, problems);
            }
            expect.insert(field.to_owned(), node.value.clone());
        }
        Value::Object(members) => {
            for (name, value) in members {
                let at = format!("{}.{name}", node.at);
                check(&Node { at, value }, name, problems);
            }
            expect.clone_from(members);
        }
        _ => return node.expected("`allow`, `deny`, a reason, or an object", problems),
    }
    if expect.is_empty() {
        problems.error(&node.at, "expected at least one field: a case that expects nothing passes");
    }
    Some(expect)
}

fn check(node: &Node<'_>, name: &str, problems: &Problems) {
    let fits = match name {
        "decision" => matches!(node.value.as_str(), Some("allow" | "deny")),
        "reason" => {
            if let Value::String(word) = node.value {
                return check_reason(&node.at, word, problems);
            }
            false
        }
        "status" | "rule" => node.value.is_number() || name == "rule" && node.value.is_null(),
        "audit" => node.value.is_boolean() || node.value.is_null(),
        "set" => node.value.is_object(),
        "remove" => node.value.as_array().is_some_and(|names| names.iter().all(Value::is_string)),
        name if PLAIN.contains(&name) => node.value.is_string() || node.value.is_null(),
        name => {
            let known = PLAIN.into_iter().chain(["remove", "set"]);
            let hint = did_you_mean(name, known);
            return problems.error(&node.at, format!("unknown field `{name}`{hint}"));
        }
    };
    if !fits {
        let expected = match name {
            "decision" => "`allow` or `deny`",
            "status" | "rule" => "a number",
            "audit" => "true, false or null",
            "set" => "an object of headers",
            "remove" => "a list of header names",
            _ => "a string or null",
        };
        node.expected::<()>(expected, problems);
    }
}

fn check_reason(at: &str, word: &str, problems: &Problems) {
    if !REASONS.contains(&word) {
        let hint = did_you_mean(word, REASONS.into_iter().chain(["allow", "deny"]));
        problems.error(at, format!("no reason is named `{word}`{hint}"));
    }
}

/// Each difference from the expectation, as a sentence.
pub(super) fn compare(expect: &Map<String, Value>, answer: &Answer) -> Vec<String> {
    let Ok(Value::Object(found)) = serde_json::to_value(answer) else {
        return vec!["the answer is not an object".to_owned()];
    };
    let mut problems = Vec::new();
    for (name, expected) in expect {
        match (name.as_str(), expected) {
            ("set", Value::Object(headers)) => {
                for (header, expected) in headers {
                    let found = answer.set.get(&header.to_ascii_lowercase());
                    if !header_is(expected, found) {
                        problems.push(said(&format!("set `{header}`"), Some(expected), found));
                    }
                }
            }
            ("remove", Value::Array(names)) => {
                for header in names.iter().filter_map(Value::as_str) {
                    let name = header.to_ascii_lowercase();
                    if !answer.remove.contains(&name) {
                        problems.push(format!("expected `{name}` to be removed, but it is not"));
                    }
                }
            }
            _ => {
                let found = found.get(name);
                if found != Some(expected) {
                    problems.push(said(name, Some(expected), found));
                }
            }
        }
    }
    problems
}

/// Whether a header's value is as expected: the text, the list of lines, nothing for null, or for an
/// object a payload that holds these claims.
fn header_is(expected: &Value, found: Option<&Value>) -> bool {
    match (expected, found) {
        (Value::Null, found) => found.is_none(),
        (Value::Object(claims), Some(Value::String(text))) => match payload(text) {
            Some(Value::Object(payload)) => {
                claims.iter().all(|(name, claim)| match (claim, payload.get(name)) {
                    (Value::Null, found) => found.is_none(),
                    (claim, found) => found == Some(claim),
                })
            }
            _ => false,
        },
        (expected, found) => found == Some(expected),
    }
}

/// A payload in any of the encodings of `outputPayloadEncoding`.
fn payload(text: &str) -> Option<Value> {
    if let Ok(value) = json::parse(text.as_bytes(), DEPTH) {
        return Some(value);
    }
    let engines = [&URL_SAFE_NO_PAD, &URL_SAFE, &STANDARD, &STANDARD_NO_PAD];
    let bytes = engines.iter().find_map(|engine| engine.decode(text).ok())?;
    json::parse(&bytes, DEPTH).ok()
}

fn said(what: &str, expected: Option<&Value>, found: Option<&Value>) -> String {
    let say = |value: Option<&Value>| match value {
        None | Some(Value::Null) => "nothing".to_owned(),
        Some(Value::String(text)) => match payload(text).filter(Value::is_object) {
            Some(claims) => format!("`{claims}`"),
            None => format!("`{text}`"),
        },
        Some(value) => format!("`{value}`"),
    };
    format!("{what}: expected {}, found {}", say(expected), say(found))
}
