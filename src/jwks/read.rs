//! The forms in which a key set is given -> [`KeySet`].
//!
//! JSON text or the object itself, the map of key id to certificate, or PEM. One unusable key must not
//! take the others down; a set that holds a private part has leaked it, and is refused.

use super::jwk::{self, Symmetric, Unusable};
use super::{Key, KeySet, der, pem};
use crate::config::reader::{Node, Problems};
use crate::json::{self, Value};

/// Where a key set comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Fetched: what the server lists is not the operator's to mend, so a private part is a warning.
    Fetched,
    /// Written into the configuration: a private part there is an error.
    Inline,
}

/// JSON levels of a key set: the set, the list, a key, its `key_ops` or `oth`, an entry of that.
const DEPTH: usize = 8;

impl KeySet {
    /// Reads a set. `symmetric`: whether the rule offers an HS algorithm, so that `oct` keys count.
    /// `None`, with a note, where no key is usable or an inline set holds a private part.
    pub fn read(
        node: &Node<'_>,
        origin: Origin,
        symmetric: bool,
        problems: &Problems,
    ) -> Option<Self> {
        let symmetric = if symmetric { Symmetric::Counts } else { Symmetric::Ignored };
        let mut reading = Reading { origin, symmetric, problems, keys: Vec::new(), refused: false };
        match node.value {
            Value::Object(_) => reading.object(&node.at, node.value),
            Value::String(text) if pem::is_pem(text) => reading.pem(&node.at, text),
            Value::String(text) => match json::parse(text.as_bytes(), DEPTH) {
                Ok(value) => reading.object(&node.at, &value),
                Err(invalid) => {
                    problems
                        .error(&node.at, format!("expected a JWK set, found no JSON: {invalid}"));
                    return None;
                }
            },
            _ => return node.expected("a JWK set (JSON text or an object) or PEM text", problems),
        }
        if reading.refused {
            return None;
        }
        if reading.keys.is_empty() {
            problems.error(&node.at, "expected at least one usable key, found none");
            return None;
        }
        Some(Self::new(reading.keys))
    }
}

struct Reading<'p> {
    origin: Origin,
    symmetric: Symmetric,
    problems: &'p Problems,
    keys: Vec<Key>,
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
                    let kid = key.get("kid").and_then(Value::as_str);
                    let read = match key {
                        Value::Object(jwk) => jwk::read(jwk, self.symmetric),
                        _ => Err(Unusable::Unfit("it is not an object".to_owned())),
                    };
                    self.take(&at, kid, read);
                }
            }
            Some(_) => self.refuse(at, "expected `keys` to be a list"),
            None if members.contains_key("kty") => self
                .refuse(at, "expected a JWK set, found a single key: a set is `{\"keys\": [..]}`"),
            // The map that Google publishes and Envoy accepts (spec A9).
            None if !members.is_empty() && members.values().all(Value::is_string) => {
                for (kid, certificate) in members {
                    let text = certificate.as_str().unwrap_or_default();
                    self.certificates(&format!("{at}.{kid}"), Some(kid), text);
                }
            }
            None => self.refuse(at, "expected a JWK set: `keys` is missing"),
        }
    }

    fn pem(&mut self, at: &str, text: &str) {
        self.certificates(at, None, text);
    }

    /// PEM blocks: public keys and certificates.
    fn certificates(&mut self, at: &str, kid: Option<&str>, text: &str) {
        let Some(blocks) = pem::blocks(text) else {
            return self.skip_or_refuse_text(at, kid, "it is no well-formed PEM");
        };
        for block in blocks {
            let numbers = match block.label {
                label if label.ends_with("PRIVATE KEY") => {
                    self.take(at, kid, Err(Unusable::Private("PRIVATE KEY")));
                    continue;
                }
                "PUBLIC KEY" => der::public_key(&block.der),
                "CERTIFICATE" => der::certificate_key(&block.der),
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
        let name = kid.map(|kid| format!("key `{kid}`")).unwrap_or_else(|| "a key".to_owned());
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
                self.problems
                    .warning(at, format!("{name} is skipped: it holds private part `{member}`"));
            }
            Err(Unusable::Unfit(why)) => {
                self.problems.warning(at, format!("{name} is skipped: {why}"));
            }
        }
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
