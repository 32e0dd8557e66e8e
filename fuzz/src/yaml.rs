//! The command's reader and writer of YAML: what is written is read again, and JSON means what JSON says.
//!
//! An input that is not a plan is the text of a file.

use serde_json::Value;
use usher_verbs::input::{DEPTH, Document, documents};
use usher_verbs::output::yaml;

use crate::draw::Draw;
use crate::subject::strict_json;
use crate::words;

/// Texts that a reader of YAML may take for something else.
const WORDS: &[&str] = &[
    "a",
    "yes",
    "off",
    "null",
    "~",
    "1",
    "017",
    "0o7",
    "0x1",
    "1e3",
    "1_0",
    ".5",
    ".inf",
    "-",
    "- a",
    "a: b",
    "#x",
    "a #x",
    "'",
    "\"",
    "\n",
    "a\n\nb",
    " a",
    "a ",
    "|",
    ">",
    "<<",
    "&a",
    "*a",
    "!t",
    "%x",
    "@",
    "`",
    "---",
    "...",
    "\u{e9}",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "\t",
    "a\tb",
    "=",
    "?",
    "? a",
    ":",
    "a:",
    "{",
    "}",
    "[",
    ",",
    "2026-11-29",
    "12:30",
    "\u{0}",
    "\u{7f}",
];

/// YAML does not allow a longer implicit key (YAML 1.2 section 7.4.2); in quotes, with escapes.
const KEY: usize = 1000;

pub(crate) fn run(data: &[u8]) {
    if let Some(mut draw) = Draw::of(data) {
        let value = words::value(&mut draw, 4, WORDS);
        if is_finite(&value) {
            written_and_read_again(&value, "drawn");
        }
        return;
    }
    let text = String::from_utf8_lossy(data);
    let read = documents(&text);
    if let Ok(json) = strict_json(text.as_bytes(), DEPTH)
        && is_finite(&json)
    {
        match read.as_deref() {
            Ok([document]) if is_same(&document.value, &json) => {}
            other => panic!("JSON is read otherwise: {other:?}\n{text}"),
        }
    }
    for document in read.iter().flatten() {
        is_located(document, &text);
        written_and_read_again(&document.value, &text);
    }
}

fn written_and_read_again(value: &Value, shown: &str) {
    // A document that is null counts as none, and a text without any document is an empty object.
    if value.is_null() || has_long_key(value) {
        return;
    }
    let text = yaml(value).unwrap_or_else(|error| panic!("{error}: {value}\n{shown}"));
    match documents(&text).as_deref() {
        Ok([document]) if is_same(&document.value, value) => {}
        other => panic!("written and read again: {other:?}\n{text}\n{value}\n{shown}"),
    }
}

/// Each place of a problem is somewhere in the text.
fn is_located(document: &Document, text: &str) {
    let lines = text.lines().count().max(1);
    for path in ["", "a", "spec.rules[0]", "[0]"] {
        if let Some(mark) = document.locate(path) {
            // A reader of YAML counts more characters as line ends than others do.
            assert!((1..=lines + breaks(text)).contains(&mark.line), "{path}: {mark:?}\n{text}");
            assert!(mark.column >= 1, "{path}: {mark:?}\n{text}");
        }
    }
}

fn breaks(text: &str) -> usize {
    text.chars().filter(|c| ['\r', '\u{85}', '\u{2028}', '\u{2029}'].contains(c)).count()
}

/// Whether a double can hold every number.
fn is_finite(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_str().parse().is_ok_and(f64::is_finite),
        Value::Array(items) => items.iter().all(is_finite),
        Value::Object(members) => members.values().all(is_finite),
        Value::Null | Value::Bool(_) | Value::String(_) => true,
    }
}

/// Whether they are equal, with numbers as doubles.
fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => {
            one.as_str().parse::<f64>() == other.as_str().parse::<f64>()
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len()
                && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |((name, one), (of, other)): ((&String, _), (&String, _))| {
                name == of && is_same(one, other)
            };
            one.len() == other.len() && one.iter().zip(other).all(same)
        }
        (one, other) => one == other,
    }
}

fn has_long_key(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(has_long_key),
        Value::Object(members) => members.iter().any(|(name, member)| {
            Value::from(name.as_str()).to_string().len() > KEY || has_long_key(member)
        }),
        _ => false,
    }
}
