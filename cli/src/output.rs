//! YAML as `kubectl` writes it: block style, sorted keys, quotes only where a word needs them.
//!
//! What a reader of Istio's YAML makes of it is exactly the value that went in (a property test holds
//! it against [`crate::input`]).

use usher_core::codec::json::Value;

use crate::input::is_plain;

/// Sets a member of what is an object.
pub(crate) fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

/// The document of a value.
pub fn yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(members) if !members.is_empty() => write(value, 0, &mut out),
        Value::Array(items) if !items.is_empty() => write(value, 0, &mut out),
        value => {
            scalar(value, &mut out);
            out.push('\n');
        }
    }
    out
}

/// A list or an object that is not empty, each item on lines of its own.
fn write(value: &Value, indent: usize, out: &mut String) {
    let space = " ".repeat(indent);
    match value {
        Value::Object(members) => {
            for (name, value) in members {
                out.push_str(&space);
                member(name, value, indent, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&space);
                out.push_str("- ");
                match item {
                    // The first member stands beside the dash.
                    Value::Object(members) if !members.is_empty() => {
                        let mut inner = String::new();
                        write(item, indent.saturating_add(2), &mut inner);
                        out.push_str(inner.trim_start());
                    }
                    Value::Array(items) if !items.is_empty() => {
                        let mut inner = String::new();
                        write(item, indent.saturating_add(2), &mut inner);
                        out.push_str(inner.trim_start());
                    }
                    item => {
                        scalar(item, out);
                        out.push('\n');
                    }
                }
            }
        }
        value => scalar(value, out),
    }
}

fn member(name: &str, value: &Value, indent: usize, out: &mut String) {
    text(name, out);
    out.push(':');
    match value {
        Value::Object(members) if !members.is_empty() => {
            out.push('\n');
            write(value, indent.saturating_add(2), out);
        }
        Value::Array(items) if !items.is_empty() => {
            out.push('\n');
            write(value, indent, out);
        }
        value => {
            out.push(' ');
            scalar(value, out);
            out.push('\n');
        }
    }
}

fn scalar(value: &Value, out: &mut String) {
    match value {
        Value::String(string) => text(string, out),
        value => out.push_str(&value.to_string()),
    }
}

/// Plain where nobody could take it for anything but this string; else in double quotes, where YAML
/// takes all that JSON writes.
fn text(string: &str, out: &mut String) {
    let inside = |c: char| c.is_ascii_alphanumeric() || " _./:@+=,-*()<>|~".contains(c);
    let first = |c: char| c.is_ascii_alphanumeric() || c == '/' || c == '_';
    let last = |c: char| c != ' ' && c != ':';
    let plain = string.starts_with(first)
        && string.ends_with(last)
        && string.chars().all(inside)
        && !string.contains(": ")
        && is_plain(string);
    if plain {
        out.push_str(string);
    } else {
        out.push_str(&Value::from(string).to_string());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::input;

    #[test]
    fn it_looks_like_kubectls() {
        let value = json!({
            "spec": { "rules": [{ "to": [{ "operation": { "paths": ["/a*", "yes", "1"] } }] }, {}] },
            "empty": [],
            "labels": { "a.b/c": "x: y" },
        });
        assert_eq!(
            yaml(&value),
            "empty: []\nlabels:\n  a.b/c: \"x: y\"\nspec:\n  rules:\n  - to:\n    - operation:\n        \
             paths:\n        - /a*\n        - \"yes\"\n        - \"1\"\n  - {}\n"
        );
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "\\PC{0,12}".prop_map(Value::from),
            "[a-z0-9 :#&*!|>'\"%@`{}\\[\\],?~_./+=-]{0,8}".prop_map(Value::from),
            prop::sample::select(vec![
                "yes",
                "null",
                "017",
                "1e3",
                "~",
                "2026-01-01",
                "on",
                "0x1f"
            ])
            .prop_map(Value::from),
        ];
        let tree = leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map("[a-z. :#'-]{0,5}", inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        });
        prop::collection::btree_map("[a-z]{1,5}", tree, 1..5)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(value in value()) {
            let text = yaml(&value);
            let documents = input::documents(&text).map_err(|e| TestCaseError::fail(e.problem))?;
            prop_assert_eq!(&documents[0].value, &value, "{}", text);
        }
    }
}
