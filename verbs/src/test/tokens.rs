//! Tokens by their claims, signed by throw-away keys that replace the issuers'.
//!
//! In the configuration under test each rule's keys are replaced by a new one (and ES256 is added to
//! its `algorithms`, since a test should not wait for RSA keys). If a token is then refused, the policy
//! is the reason, not the lack of a private key.

use std::collections::BTreeMap;

use anyhow::Context as _;
use serde_json::json;
use usher_core::codec::json::{Map, Value};
use usher_core::codec::problems::{Node, Problems};
use usher_core::time::UnixSeconds;

use super::suite::{Suite, members};
use crate::key::{Algorithm, SigningKey};

/// A token as a test file describes it.
#[derive(Clone, Debug)]
pub(super) enum TokenSpec {
    /// Claims to be signed.
    Claims(Box<Claims>),
    /// The text itself.
    Raw(String),
}

#[derive(Clone, Debug)]
pub(super) struct Claims {
    claims: Map<String, Value>,
    typ: String,
    kid: Option<String>,
    algorithm: Option<Algorithm>,
    signed_by: Option<String>,
}

/// The key id of every throw-away key: a forger knows it too.
const KID: &str = "throw-away";

/// The issuer of the key for a rule without issuer.
const ANY: &str = "*";

/// Reads a token's description.
pub(super) fn read(node: &Node<'_>, now: UnixSeconds, problems: &Problems) -> Option<TokenSpec> {
    if let Value::String(text) = node.value {
        return Some(TokenSpec::Raw(text.clone()));
    }
    let object = node.object(problems)?;
    let claims = members(&object, "claims", problems);
    let raw = object.field("raw").and_then(|node| node.text(problems));
    let typ = object.field("type").and_then(|node| node.filled_text(problems));
    let kid = object.field("kid").and_then(|node| node.text(problems));
    let signed_by = object.field("signed_by").and_then(|node| node.filled_text(problems));
    let names = Algorithm::ALL.map(|algorithm| (algorithm.name(), algorithm));
    let algorithm = object.field("algorithm").and_then(|node| node.one_of(&names, problems));
    let expires_in = object.field("expires_in").map(|node| span(&node, problems));
    if raw.is_some() == claims.is_some() {
        problems.error(&node.at, "expected `claims` to be signed, or the `raw` text of a token");
    }
    object.finish(problems);
    if let Some(raw) = raw {
        return Some(TokenSpec::Raw(raw.to_owned()));
    }
    let mut claims = claims?.1.clone();
    claims.entry("iat").or_insert_with(|| json!(now.0));
    match expires_in {
        Some(None) => {}
        Some(Some(seconds)) => {
            claims.insert("exp".to_owned(), json!(now.0.saturating_add_signed(seconds)));
        }
        None => {
            claims.entry("exp").or_insert_with(|| json!(now.0.saturating_add(3600)));
        }
    }
    Some(TokenSpec::Claims(Box::new(Claims {
        claims,
        typ: typ.unwrap_or("JWT").to_owned(),
        kid: kid.map(str::to_owned),
        algorithm,
        signed_by: signed_by.map(str::to_owned),
    })))
}

/// Seconds until `exp`, negative for the past; `None` for `never`.
fn span(node: &Node<'_>, problems: &Problems) -> Option<i64> {
    let text = node.text(problems)?;
    if text == "never" {
        return None;
    }
    match text.parse::<jiff::SignedDuration>() {
        Ok(span) => Some(span.as_secs()),
        Err(_) => node.expected("a duration such as `1h` or `-5m`, or `never`", problems),
    }
}

/// Signs every token, and puts the keys that verify them into the configuration.
pub(super) fn sign(suite: &Suite, config: &mut Value) -> anyhow::Result<BTreeMap<String, String>> {
    let mut keys = Keys::default();
    let mut signed = BTreeMap::new();
    let issuers = issuers(config);
    for (name, spec) in &suite.tokens {
        let token = match spec {
            TokenSpec::Raw(text) => text.clone(),
            TokenSpec::Claims(token) => {
                let at = format!("tokens.{name}");
                token.sign(&issuers, &mut keys).with_context(|| suite.place(&at))?
            }
        };
        signed.insert(name.clone(), token);
    }
    keys.replace(config)?;
    Ok(signed)
}

/// The parts of a rule that concern keys.
struct Issuer {
    /// The rule's issuer, or [`ANY`].
    id: String,
    name: Option<String>,
    algorithms: Option<Vec<String>>,
}

fn issuers(config: &Value) -> Vec<Issuer> {
    let rules = config.get("jwtRules").and_then(Value::as_array);
    let text = |rule: &Value, name| rule.get(name).and_then(Value::as_str).map(str::to_owned);
    let issuer = |rule: &Value| Issuer {
        id: text(rule, "issuer").unwrap_or_else(|| ANY.to_owned()),
        name: text(rule, "name"),
        algorithms: rule
            .get("algorithms")
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
    };
    rules.into_iter().flatten().map(issuer).collect()
}

impl Claims {
    fn sign(&self, issuers: &[Issuer], keys: &mut Keys) -> anyhow::Result<String> {
        let mut claims = self.claims.clone();
        let mut named: Vec<&str> = issuers.iter().map(|issuer| issuer.id.as_str()).collect();
        named.retain(|id| *id != ANY);
        named.dedup();
        if let [only] = named.as_slice() {
            claims.entry("iss").or_insert_with(|| json!(only));
        }
        // `exp: null` is a token without exp.
        claims.retain(|_, value| !value.is_null());
        let issuer = match &self.signed_by {
            Some(signer) => issuers
                .iter()
                .find(|issuer| issuer.id == *signer || issuer.name.as_ref() == Some(signer)),
            None => {
                let iss = claims.get("iss").and_then(Value::as_str);
                let of = |id: &str| issuers.iter().find(|issuer| issuer.id == id);
                iss.and_then(of).or_else(|| of(ANY))
            }
        };
        let key = keys.of(issuer, self.algorithm, self.kid.as_deref())?;
        key.sign(claims, &self.typ)
    }
}

/// The throw-away keys, by issuer and algorithm.
#[derive(Default)]
struct Keys {
    known: BTreeMap<(String, &'static str), SigningKey>,
    strangers: Vec<SigningKey>,
}

impl Keys {
    /// The key for a token: the issuer's own, or one that no rule has.
    fn of(
        &mut self,
        issuer: Option<&Issuer>,
        algorithm: Option<Algorithm>,
        kid: Option<&str>,
    ) -> anyhow::Result<&SigningKey> {
        let wanted = algorithm.unwrap_or(Algorithm::ES256);
        let name = wanted.name();
        let offered = |issuer: &&Issuer| match (&issuer.algorithms, algorithm) {
            (_, None) => true,
            (Some(listed), Some(_)) => listed.iter().any(|listed| listed == name),
            (None, Some(_)) => !name.starts_with("HS"),
        };
        match issuer.filter(offered).filter(|_| kid.is_none_or(|kid| kid == KID)) {
            Some(issuer) => {
                let id = (issuer.id.clone(), name);
                if !self.known.contains_key(&id) {
                    self.known.insert(id.clone(), SigningKey::generate(wanted, Some(KID))?);
                }
                self.known.get(&id).context("a key that was just made")
            }
            None => {
                self.strangers.push(SigningKey::generate(wanted, Some(kid.unwrap_or(KID)))?);
                self.strangers.last().context("a key that was just made")
            }
        }
    }

    /// Puts the keys into the rules, in place of the issuers'.
    fn replace(&mut self, config: &mut Value) -> anyhow::Result<()> {
        let issuers = issuers(config);
        let rules = config.get_mut("jwtRules").and_then(Value::as_array_mut);
        for (rule, issuer) in rules.into_iter().flatten().zip(&issuers) {
            let Some(members) = rule.as_object_mut() else { continue };
            self.of(Some(issuer), None, None)?;
            let of_issuer = self.known.iter().filter(|((id, _), _)| *id == issuer.id);
            let jwks: Vec<Value> =
                of_issuer.map(|(_, key)| key.public_jwk()).collect::<anyhow::Result<_>>()?;
            // The fields for fetched keys are removed with the keys.
            let of_keys =
                |name: &str| name.starts_with("jwks") || matches!(name, "maxStale" | "timeout");
            members.retain(|name, _| !of_keys(name));
            members.insert("jwks".to_owned(), json!({ "keys": jwks }));
            if let Some(Value::Array(listed)) = members.get_mut("algorithms")
                && !listed.iter().any(|listed| listed == "ES256")
            {
                listed.push(json!("ES256"));
            }
        }
        Ok(())
    }
}
