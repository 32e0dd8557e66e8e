//! The forms in which a key set is given -> [`KeySet`].
//!
//! JSON text or the object itself, the map of key id to certificate, or PEM. One unusable key must not
//! affect the others; a set with a private part has leaked it, and is refused. Where no key is usable,
//! the error has the reason of each.

use super::KeySet;
use super::jwk::{self, MarkedUse, Symmetric, Unusable};
use std::borrow::Cow;

use crate::codec::json::{self, InvalidJson, Value};
use crate::codec::pem;
use crate::codec::problems::{Node, Problems};
use crate::crypto::{Key, spki};

/// Where a key set comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Fetched: the operator cannot change what the server lists, so a private part is a warning.
    Fetched,
    /// In the configuration: a private part there is an error.
    Inline,
}

/// `allowPublishedKeys`: whether keys count whose private half is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Published {
    /// They do: for tests with the examples of standards.
    Allowed,
    /// Inline an error, fetched a key that is skipped: anyone can sign with them.
    #[default]
    Refused,
}

/// JSON levels of a key set, in members that are not read too: as many as serde_json parses, and more than Envoy does.
const DEPTH: usize = 127;

/// If no key is usable, this many are named.
const NAMED: usize = 8;

/// What a key without `kid` is called.
const UNNAMED: &str = "a key";

/// Characters of a key id that are shown.
const SHOWN: usize = 128;

impl KeySet {
    /// Reads a set. `symmetric`: whether the rule allows an HS algorithm, so that `oct` keys count.
    /// `None`, with a problem, if no key is usable or an inline set contains a private part. A fetched
    /// set that is empty, or whose keys are all marked for another use, is a set without keys: its issuer
    /// has withdrawn the last one. If a key was refused for any other reason, that does not follow.
    pub fn read(
        node: &Node<'_>,
        origin: Origin,
        symmetric: bool,
        published: Published,
        problems: &Problems,
    ) -> Option<Self> {
        let symmetric = if symmetric { Symmetric::Counts } else { Symmetric::Ignored };
        let mut reading = Reading {
            origin,
            symmetric,
            published,
            problems,
            keys: Vec::new(),
            skipped: 0,
            reasons: Vec::new(),
            elsewhere: 0,
            refused: false,
        };
        match node.value {
            Value::Object(_) => reading.object(&node.at, node.value),
            Value::String(text) if pem::is_pem(text) => reading.pem(&node.at, text),
            Value::String(text) => match parse(text) {
                Ok(value) => reading.object(&node.at, &value),
                Err(invalid) => {
                    let found = mistaken(text)
                        .map_or_else(|| Cow::from(format!("no JSON: {invalid}")), Cow::from);
                    problems.error(&node.at, format!("expected a JWK set, found {found}"));
                    return None;
                }
            },
            _ => return node.expected("a JWK set (JSON text or an object) or PEM text", problems),
        }
        if reading.refused {
            return None;
        }
        let withdrawn = origin == Origin::Fetched && reading.skipped == reading.elsewhere;
        if reading.keys.is_empty() && !withdrawn {
            problems.error(&node.at, none_usable(reading.skipped, &reading.reasons));
            return None;
        }
        Some(Self::new(reading.keys))
    }
}

/// The JSON of a key set. In strings it may hold control characters, as in an `x5c` over several lines, which RFC 8259
/// section 7 wants escaped.
///
/// # Errors
/// It is not JSON.
pub fn parse(text: &str) -> Result<Value, InvalidJson> {
    json::parse(text.as_bytes(), DEPTH).or_else(|invalid| match with_escapes(text) {
        Some(escaped) => json::parse(&escaped, DEPTH).map_err(|_| invalid),
        None => Err(invalid),
    })
}

/// The text with the control characters in its strings escaped; `None` if there are none.
fn with_escapes(text: &str) -> Option<Vec<u8>> {
    let mut escaped = Vec::with_capacity(text.len());
    let (mut is_string, mut is_escape, mut found) = (false, false, false);
    for byte in text.bytes() {
        if is_string && byte.is_ascii_control() && !is_escape {
            escaped.extend(json::unicode_escape(byte.into()));
            found = true;
            continue;
        }
        is_string ^= byte == b'"' && !is_escape;
        is_escape = is_string && byte == b'\\' && !is_escape;
        escaped.push(byte);
    }
    found.then_some(escaped)
}

/// What a text that is not JSON is instead, where that is certain.
fn mistaken(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if text.starts_with("https://") || text.starts_with("http://") {
        return Some("a URL: it belongs in `jwksUri`, which has them fetched");
    }
    if text.starts_with('\u{feff}') {
        return Some("a byte order mark ahead of it: save the text without one");
    }
    // Of JSON that begins with `{"`.
    text.starts_with("eyJ").then_some("base64 of JSON: give it decoded")
}

fn none_usable(skipped: usize, reasons: &[String]) -> String {
    let none = "expected at least one usable key, found none";
    let named = reasons.join("; ");
    match skipped.saturating_sub(reasons.len()) {
        _ if skipped == 0 => none.to_owned(),
        0 => format!("{none}: {named}"),
        more => format!("{none}: {named}; and {more} more"),
    }
}

struct Reading<'p> {
    origin: Origin,
    symmetric: Symmetric,
    published: Published,
    problems: &'p Problems,
    keys: Vec<Key>,
    /// The number of keys that are skipped.
    skipped: usize,
    /// The first of them, and why.
    reasons: Vec<String>,
    /// The number of those that their issuer marks for another use.
    elsewhere: usize,
    refused: bool,
}

impl Reading<'_> {
    fn object(&mut self, at: &str, set: &Value) {
        let Value::Object(members) = set else {
            return self.refuse(at, "expected a JWK set, found no object");
        };
        match members.get("keys") {
            Some(Value::Array(keys)) => {
                for (index, key) in keys.iter().enumerate() {
                    let at = format!("{at}.keys[{index}]");
                    let kid = key.as_object().and_then(jwk::kid);
                    let read = match key {
                        Value::Object(jwk) => jwk::read(jwk, self.symmetric),
                        _ => Err(Unusable::Unfit("it is not an object".to_owned())),
                    };
                    let marked = key.as_object().map_or(MarkedUse::Signatures, jwk::marked_use);
                    if read.is_err() && marked == MarkedUse::Another {
                        self.elsewhere = self.elsewhere.saturating_add(1);
                    }
                    self.take(&at, kid, read);
                }
            }
            Some(_) => self.refuse(at, "expected `keys` to be a list"),
            None if members.contains_key("kty") => self
                .refuse(at, "expected a JWK set, found a single key: a set is `{\"keys\": [..]}`"),
            // The map that Google publishes and Envoy accepts (google/jwt_verify_lib src/jwks.cc).
            None if !members.is_empty() && members.values().all(Value::is_string) => {
                for (kid, certificate) in members {
                    let text = certificate.as_str().unwrap_or_default();
                    self.certificates(&format!("{at}.{kid}"), Some(kid), text);
                }
            }
            None => {
                let found = members.iter().find_map(|(name, member)| {
                    if name.eq_ignore_ascii_case("keys") {
                        return Some(format!(", found `{name}`: letter case counts"));
                    }
                    let is_set = member.get("keys").is_some_and(Value::is_array);
                    is_set.then(|| format!(", and `{name}` holds a set: give that alone"))
                });
                let found = found.unwrap_or_default();
                self.refuse(at, &format!("expected a JWK set: `keys` is missing{found}"));
            }
        }
    }

    fn pem(&mut self, at: &str, text: &str) {
        self.certificates(at, None, text);
    }

    /// PEM blocks: public keys and certificates.
    fn certificates(&mut self, at: &str, kid: Option<&str>, text: &str) {
        // A text without a block is not a skipped key: `{"error": ""}` is not a set of certificates.
        let Some(blocks) = pem::blocks(text).filter(|blocks| !blocks.is_empty()) else {
            return self.skip_or_refuse_text(at, kid, "it is not well-formed PEM");
        };
        for block in blocks {
            let numbers = match block.label {
                label if label.ends_with("PRIVATE KEY") => {
                    self.take(at, kid, Err(Unusable::Private("PRIVATE KEY")));
                    continue;
                }
                "PUBLIC KEY" => spki::public_key(&block.der),
                "CERTIFICATE" => spki::certificate_key(&block.der),
                _ => None,
            };
            let key = match numbers {
                Some(numbers) => jwk::from_numbers(&numbers, kid.map(str::to_owned), None),
                None => Err(Unusable::Unfit(format!("PEM `{}` holds no known key", block.label))),
            };
            self.take(at, kid, key);
        }
    }

    fn take(&mut self, at: &str, kid: Option<&str>, key: Result<Key, Unusable>) {
        // The issuer's text, which may be long.
        let shown = |kid: &str| format!("key `{}`", kid.chars().take(SHOWN).collect::<String>());
        let name = kid.map_or_else(|| UNNAMED.to_owned(), shown);
        let source = key.as_ref().ok().and_then(|key| key.material.published_in());
        let source = source.filter(|_| self.published == Published::Refused);
        if let Some(source) = source {
            let known =
                format!("its private half is published ({source}), so anyone can sign for it");
            return match self.origin {
                Origin::Inline => self.refuse(
                    at,
                    &format!(
                        "{name} guards nothing: {known}; give your issuer's keys, or for a test say \
                         `allowPublishedKeys: true`"
                    ),
                ),
                Origin::Fetched => self.skip(at, &name, &known),
            };
        }
        match key {
            Ok(key) => self.keys.push(key),
            Err(Unusable::Private(member)) if self.origin == Origin::Inline => self.refuse(
                at,
                &format!(
                    "{name} holds private part `{member}`: it must not be known here; \
                     give public keys only, and replace this one"
                ),
            ),
            Err(Unusable::Private(member)) => {
                self.skip(at, &name, &format!("it holds private part `{member}`"));
            }
            Err(Unusable::Unfit(why)) => self.skip(at, &name, &why),
        }
    }

    fn skip(&mut self, at: &str, name: &str, why: &str) {
        self.skipped = self.skipped.saturating_add(1);
        if self.reasons.len() < NAMED {
            let place = at.rsplit_once('.').map(|(_, place)| place);
            self.reasons.push(match place.filter(|p| name == UNNAMED && p.ends_with(']')) {
                Some(place) => format!("`{place}`: {why}"),
                None => format!("{name}: {why}"),
            });
        }
        self.problems.warning("key-skipped", at, format!("{name} is skipped: {why}"));
    }

    fn skip_or_refuse_text(&mut self, at: &str, kid: Option<&str>, why: &str) {
        match kid {
            Some(_) => self.take(at, kid, Err(Unusable::Unfit(why.to_owned()))),
            None => self.refuse(at, &format!("expected keys: {why}")),
        }
    }

    fn refuse(&mut self, at: &str, problem: &str) {
        self.refused = true;
        self.problems.error(at, problem);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems_of(text: &str, origin: Origin) -> (Option<KeySet>, Vec<String>) {
        let (value, problems) = (Value::from(text), Problems::default());
        let node = Node::root(&value);
        let set = KeySet::read(&node, origin, false, Published::Refused, &problems);
        let (errors, _) = problems.into_parts();
        (set, errors.into_iter().map(|error| error.problem).collect())
    }

    #[test]
    fn what_is_not_a_set_gets_a_hint() {
        for (text, expected) in [
            (
                "https://idp.example.com/keys",
                "expected a JWK set, found a URL: it belongs in `jwksUri`, which has them fetched",
            ),
            (
                "\u{feff}{\"keys\":[]}",
                "expected a JWK set, found a byte order mark ahead of it: save the text without one",
            ),
            ("eyJrZXlzIjpbXX0", "expected a JWK set, found base64 of JSON: give it decoded"),
            (
                r#"{"Keys":[]}"#,
                "expected a JWK set: `keys` is missing, found `Keys`: letter case counts",
            ),
            (
                r#"{"data":{"keys":[]}}"#,
                "expected a JWK set: `keys` is missing, and `data` holds a set: give that alone",
            ),
            (r#"{"a":1}"#, "expected a JWK set: `keys` is missing"),
            (
                r#"{"kty":"OKP"}"#,
                "expected a JWK set, found a single key: a set is `{\"keys\": [..]}`",
            ),
            ("[]", "expected a JWK set, found no object"),
            ("", "expected a JWK set, found no JSON: EOF while parsing a value at line 1 column 0"),
        ] {
            for origin in [Origin::Fetched, Origin::Inline] {
                let (set, problems) = problems_of(text, origin);
                assert!(set.is_none(), "{text}");
                assert_eq!(problems, [expected], "{text}");
            }
        }
    }

    #[test]
    fn a_set_without_a_usable_key_has_the_reason_of_each() {
        let key = |member: &str| format!(r#"{{"kty":"OKP","crv":"Ed25519",{member}}}"#);
        let keys =
            [key(r#""kid":"a","use":"enc","x":"AA""#), key(r#""kid":"","x":"A!""#), "7".to_owned()];
        let text = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        let expected = "expected at least one usable key, found none: key `a`: `use` is not `sig`; \
                        `keys[1]`: `x` is not base64url; `keys[2]`: it is not an object";
        assert_eq!(problems_of(&text, Origin::Inline).1, [expected]);
        // The number of reasons and the length of a key id are bounded.
        let keys = vec![key(&format!(r#""kid":"{}","x":"AA""#, "k".repeat(10_000))); 20];
        let text = format!(r#"{{"keys":[{}]}}"#, keys.join(","));
        let (_, problems) = problems_of(&text, Origin::Fetched);
        assert!(problems[0].ends_with("; and 12 more"), "{problems:?}");
        assert!(problems[0].len() < 2_000, "{}", problems[0].len());
    }

    #[test]
    fn control_characters_are_taken_in_strings_alone() {
        for (text, expected, why) in [
            ("{\"a\":\"b\nc\"}", Some(r#"{"a":"b\u000ac"}"#), "a line break"),
            (
                "{\"a\\\"\n\":\"\u{1}\"}",
                Some(r#"{"a\"\u000a":"\u0001"}"#),
                "behind an escaped quote",
            ),
            ("{\"a\":\"\\\\\",\n\"b\":1}", None, "an escaped backslash ends no string"),
            ("{\n}", None, "between members"),
            ("{\"a\":\"\\\n\"}", None, "an escape of it"),
        ] {
            let found = with_escapes(text).map(|bytes| String::from_utf8(bytes).unwrap());
            assert_eq!(found.as_deref(), expected, "{why}");
        }
        let deep = format!(r#"{{"keys":[],"x":{}1{}}}"#, "[".repeat(100), "]".repeat(100));
        let (set, problems) = problems_of(&deep, Origin::Fetched);
        assert!(set.is_some(), "unknown members of any depth: {problems:?}");
    }
}
