//! YAML as `kubectl` writes it: block style, sorted keys, quotes only where a word needs them.
//!
//! A reader of Istio's YAML gets exactly the value that was written (a property test compares it with
//! [`crate::input`]).

use serde::ser::{Error as _, Serialize, Serializer};
use usher_core::codec::json::Value;

/// Sets a member of an object.
pub(crate) fn set(object: &mut Value, name: &str, value: Value) {
    if let Value::Object(members) = object {
        members.insert(name.to_owned(), value);
    }
}

/// The document of a value.
///
/// # Errors
/// A number that is too large for any reader.
pub fn yaml(value: &Value) -> Result<String, serde_saphyr::ser::Error> {
    // A text stays on its line, however long: what stands in a manifest is compared and replaced by lines.
    serde_saphyr::to_string_with_options(
        &Yaml(value),
        serde_saphyr::ser_options! { prefer_block_scalars: false },
    )
}

/// A value for a serializer that does not know how serde_json keeps the text of a number.
struct Yaml<'v>(&'v Value);

impl Serialize for Yaml<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(boolean) => serializer.serialize_bool(*boolean),
            Value::Number(number) => {
                if let Some(integer) = number.as_i64() {
                    return serializer.serialize_i64(integer);
                }
                let double = number.as_f64();
                let double =
                    double.ok_or_else(|| S::Error::custom(format!("`{number}` is too large")))?;
                serializer.serialize_f64(double)
            }
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => serializer.collect_seq(items.iter().map(Yaml)),
            Value::Object(members) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, Yaml(value))))
            }
        }
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
            yaml(&value).unwrap(),
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
            let text = yaml(&value).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let documents = input::documents(&text).map_err(|e| TestCaseError::fail(e.problem))?;
            prop_assert_eq!(&documents[0].value, &value, "{}", text);
        }
    }
}
