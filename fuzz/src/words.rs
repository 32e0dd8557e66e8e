//! JSON from meaningful words, and changes to given JSON.

use serde_json::{Map, Number, Value};

use crate::draw::Draw;

const NUMBERS: &[&str] = &[
    "0",
    "1",
    "-1",
    "1.5",
    "1e3",
    "60.0",
    "18446744073709551615",
    "18446744073709551616",
    "1e400",
    "-0",
    "9007199254740993",
    "0.1e-7",
    "401",
    "503",
];

/// A value of at most `depth` levels.
pub(crate) fn value(draw: &mut Draw<'_>, depth: u32, words: &[&str]) -> Value {
    match draw.below(if depth == 0 { 7 } else { 9 }) {
        0 => Value::Null,
        1 => Value::Bool(draw.one_in(2)),
        2 => draw.pick(NUMBERS).parse().map_or(Value::Null, |number: Number| number.into()),
        3 | 4 => draw.pick(words).into(),
        5 => draw.text(25).into(),
        6 => (draw.pick(words).to_owned() + &draw.text(7)).into(),
        7 => (0..draw.below(4)).map(|_| value(draw, depth - 1, words)).collect(),
        _ => {
            let mut members = Map::new();
            for _ in 0..draw.below(4) {
                let name = if draw.one_in(4) { draw.text(13) } else { draw.pick(words).to_owned() };
                members.insert(name, value(draw, depth - 1, words));
            }
            Value::Object(members)
        }
    }
}

/// Changes a value at one place.
pub(crate) fn mutate(root: &mut Value, draw: &mut Draw<'_>, words: &[&str]) {
    let mut pointers = Vec::new();
    collect(root, String::new(), &mut pointers);
    let at = |draw: &mut Draw<'_>| pointers[draw.below(pointers.len())].clone();
    let (place, other) = (at(draw), at(draw));
    let donor = root.pointer(&other).cloned().unwrap_or_default();
    let Some(target) = root.pointer_mut(&place) else { return };
    match (draw.below(9), &mut *target) {
        (0, _) => *target = value(draw, 3, words),
        (1, _) => *target = donor,
        (2, _) => *target = Value::Array(vec![target.clone()]),
        (3, _) => *target = draw.pick(words).into(),
        (4 | 5, Value::String(text)) => *text = edited(text, draw, words),
        (4, Value::Array(items)) if !items.is_empty() => {
            items.remove(draw.below(items.len()));
        }
        (4, Value::Object(members)) => {
            let name = draw.below(members.len());
            let name = members.keys().nth(name).cloned();
            name.map(|name| members.remove(&name));
        }
        (5, Value::Array(items)) => items.push(donor),
        (6, Value::Array(items)) => {
            let first = items.first().cloned();
            items.extend(first);
        }
        (5 | 6, Value::Object(members)) => {
            let given = if draw.one_in(2) { donor } else { value(draw, 2, words) };
            members.insert(draw.pick(words).to_owned(), given);
        }
        (7, Value::Object(members)) => {
            let name = draw.below(members.len());
            if let Some(name) = members.keys().nth(name).cloned()
                && let Some(moved) = members.remove(&name)
            {
                members.insert(draw.pick(words).to_owned(), moved);
            }
        }
        _ => *target = value(draw, 1, words),
    }
}

/// A text with something more, or something less.
fn edited(text: &str, draw: &mut Draw<'_>, words: &[&str]) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let at = draw.below(chars.len() + 1);
    if draw.one_in(3) && at < chars.len() {
        chars.remove(at);
    } else {
        let more = if draw.one_in(2) { draw.pick(words).to_owned() } else { draw.text(6) };
        chars.splice(at..at, more.chars());
    }
    chars.into_iter().collect()
}

/// The JSON Pointers (RFC 6901) of a value and of all below it.
fn collect(value: &Value, pointer: String, all: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{pointer}/{index}"), all);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                collect(member, format!("{pointer}/{name}"), all);
            }
        }
        _ => {}
    }
    all.push(pointer);
}
