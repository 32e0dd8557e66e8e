//! The forms in which a key set is given -> [`KeySet`].
//!
//! JSON text or the object itself, the map of key id to certificate, or PEM. One unusable key must not
//! affect the others; a set with a private part has leaked it, and is refused.

use super::KeySet;
use super::jwk::{self, MarkedUse, Symmetric, Unusable};
use crate::codec::json::{self, Value};
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

/// JSON levels of a key set: the set, the list, a key, its `key_ops` or `oth`, an entry of that.
const DEPTH: usize = 8;

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
        let (keys, skipped, elsewhere, refused) = (Vec::new(), 0, 0, false);
        let mut reading =
            Reading { origin, symmetric, published, problems, keys, skipped, elsewhere, refused };
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
        let withdrawn = origin == Origin::Fetched && reading.skipped == reading.elsewhere;
        if reading.keys.is_empty() && !withdrawn {
            problems.error(&node.at, "expected at least one usable key, found none");
            return None;
        }
        Some(Self::new(reading.keys))
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
                    let kid = key.get("kid").and_then(Value::as_str);
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
            None => self.refuse(at, "expected a JWK set: `keys` is missing"),
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
        let name = kid.map(|kid| format!("key `{kid}`")).unwrap_or_else(|| "a key".to_owned());
        let source = key.as_ref().ok().and_then(|key| key.material.published_in());
        let source = source.filter(|_| self.published == Published::Refused);
        if key.is_err() || source.is_some() {
            self.skipped = self.skipped.saturating_add(1);
        }
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
                Origin::Fetched => {
                    self.problems.warning(at, format!("{name} is skipped: {known}"));
                }
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
