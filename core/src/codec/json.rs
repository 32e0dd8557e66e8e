//! Strict JSON: RFC 8259, valid UTF-8, no member twice at any depth, bounded depth, numbers by
//! their exact text.
//!
//! serde_json parses; this module refuses what serde_json accepts: a repeated member, of which the last one wins, so
//! that a gateway and a service may read two different documents (RFC 8725 section 2.4).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
pub use serde_json::{Map, Number, Value};

/// Why a text is not acceptable JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidJson {
    /// What was found where, a sentence without a full stop.
    pub problem: String,
}

impl fmt::Display for InvalidJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem)
    }
}

impl std::error::Error for InvalidJson {}

/// Parses one JSON document, at most `depth` levels of objects and arrays deep.
///
/// # Errors
/// Not JSON, not UTF-8, a repeated member, too deep, or text after the document.
pub fn parse(text: &[u8], depth: usize) -> Result<Value, InvalidJson> {
    // serde_json represents a number that is not a 64-bit integer as an object with this one member. A document with
    // this member could pass an object off as a number; no document has a reason to.
    if names_number(text) {
        return Err(InvalidJson { problem: "reserved member name".to_owned() });
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    Strict { depth }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value))
        .map_err(|e| InvalidJson { problem: e.to_string() })
}

/// serde_json's own name for a number under `arbitrary_precision`.
const NUMBER_TOKEN: &str = "$serde_json::private::Number";

/// Whether [`NUMBER_TOKEN`] is the name of a member, without escapes; as a value it is a string like any other.
fn names_number(text: &[u8]) -> bool {
    // Its first byte is rare, and fast to search for.
    let word = NUMBER_TOKEN.as_bytes();
    if !word.first().is_some_and(|first| text.contains(first)) {
        return false;
    }
    let is_name = |(start, window): (usize, &[u8])| {
        // RFC 8259 section 2: white space may precede the colon.
        let after = || text.get(start.saturating_add(word.len())..)?.strip_prefix(b"\"");
        window == word && after().is_some_and(|rest| rest.trim_ascii_start().starts_with(b":"))
    };
    text.windows(word.len()).enumerate().any(is_name)
}

/// `\u` and four digits (RFC 8259 section 7).
pub(crate) fn unicode_escape(unit: u16) -> [u8; 6] {
    let [high, low] = unit.to_be_bytes();
    let digit = |four: u8| b"0123456789abcdef".get(usize::from(four & 15)).copied().unwrap_or(b'0');
    [b'\\', b'u', digit(high >> 4), digit(high), digit(low >> 4), digit(low)]
}

#[derive(Clone, Copy)]
struct Strict {
    depth: usize,
}

impl Strict {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        match self.depth.checked_sub(1) {
            Some(depth) => Ok(Self { depth }),
            None => Err(E::custom("nested too deep")),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.deeper()?;
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(inner)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let Some(first) = members.next_key_seed(Key)? else {
            self.deeper::<A::Error>()?;
            return Ok(Value::Object(Map::new()));
        };
        let first = match first {
            Member::Number => {
                let text: String = members.next_value()?;
                return text.parse().map(Value::Number).map_err(A::Error::custom);
            }
            Member::Name(name) => name,
        };
        let inner = self.deeper()?;
        let mut object = Map::new();
        object.insert(first, members.next_value_seed(inner)?);
        while let Some(member) = members.next_key_seed(Key)? {
            let Member::Name(name) = member else {
                return Err(A::Error::custom("reserved member name"));
            };
            match object.entry(name) {
                Entry::Vacant(entry) => entry.insert(members.next_value_seed(inner)?),
                Entry::Occupied(entry) => {
                    let name = entry.key();
                    return Err(A::Error::custom(format_args!("duplicate member `{name}`")));
                }
            };
        }
        Ok(Value::Object(object))
    }
}

/// A member's name, or serde_json's mark that what looks like an object is a number.
enum Member {
    Name(String),
    Number,
}

struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member name")
    }

    // Only serde_json itself borrows the token: `parse` refused every text with a member of that name,
    // and an escaped spelling is not borrowed.
    fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Member, E> {
        if name == NUMBER_TOKEN { Ok(Member::Number) } else { Ok(Member::Name(name.to_owned())) }
    }

    fn visit_str<E>(self, name: &str) -> Result<Member, E> {
        Ok(Member::Name(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_their_text() {
        // serde_json changes one thing: an exponent without a sign gets its `+`.
        assert_eq!(parse(b"1e400", 1).unwrap().as_number().unwrap().as_str(), "1e+400");
        for text in ["9007199254740993", "1.50", "-0", "1e+400", "123456789012345678901234567890"] {
            let value = parse(text.as_bytes(), 1).unwrap();
            assert_eq!(value.as_number().unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_what_two_readers_could_read_differently() {
        for (text, why) in [
            (r#"{"a":1,"a":2}"#, "a member twice"),
            (r#"{"x":[{"a":1,"\u0061":2}]}"#, "a member twice, spelled otherwise, deep down"),
            ("{\"a\":1,}", "trailing comma"),
            ("{} {}", "two documents"),
            ("{\"a\":\"\u{1}\"}", "control character"),
            ("{'a':1}", "single quotes"),
            ("", "nothing"),
            ("NaN", "not a number"),
            ("01", "leading zero"),
        ] {
            assert!(parse(text.as_bytes(), 8).is_err(), "{why}: {text}");
        }
        assert!(parse(b"\"\xff\"", 8).is_err(), "not UTF-8");
        assert!(parse(b"\"\\ud800\"", 8).is_err(), "lone surrogate");
    }

    #[test]
    fn an_object_cannot_pass_itself_off_as_a_number() {
        for name in [
            r#"{"$serde_json::private::Number":"1"}"#,
            "{\"$serde_json::private::Number\" \t\r\n : \"1\"}",
            r#"{"a":1,"$serde_json::private::Number":1}"#,
            r#"{"a":"$serde_json::private::Number","b":[{"$serde_json::private::Number":"1"}]}"#,
        ] {
            let problem = parse(name.as_bytes(), 8).unwrap_err().problem;
            assert_eq!(problem, "reserved member name", "{name}");
        }
        for value in [
            r#"{"a":"$serde_json::private::Number"}"#,
            r#"["$serde_json::private::Number","1"]"#,
            r#"{"a":"x \"$serde_json::private::Number\": 1"}"#,
        ] {
            let parsed = parse(value.as_bytes(), 8).unwrap();
            assert_eq!(parsed.to_string(), value);
        }
        let escaped = parse(br#"{"\u0024serde_json::private::Number":"1"}"#, 8).unwrap();
        assert!(escaped.is_object());
        let nested = parse(br#"{"a":1,"\u0024serde_json::private::Number":"1"}"#, 8).unwrap();
        assert!(nested.is_object());
    }

    #[test]
    fn depth_is_bounded() {
        assert!(parse(b"[[[]]]", 3).is_ok());
        assert!(parse(b"[[[]]]", 2).is_err());
        let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
        assert!(parse(&deep, 64).is_err());
    }
}
