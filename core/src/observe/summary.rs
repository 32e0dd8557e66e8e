//! What is logged when a configuration comes into force: which one it is, and its effect on the module.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::codec::json::{self, Value};
use crate::codec::redaction;
use crate::compiled::Compiled;
use crate::crypto::Algorithm;
use crate::crypto::SignatureEngine;
use crate::jwks::KeySet;
use crate::policy::Mode;
use crate::remote::JwksCache;

/// The SHA-256 of a configuration. Its members are sorted, without white space: istiod preserves neither.
pub fn config_hash(text: &[u8]) -> [u8; 32] {
    let canonical = json::parse(text, usize::MAX).unwrap_or(Value::Null).to_string();
    hmac_sha256::Hash::hash(canonical.as_bytes())
}

/// Its first 48 bits as a number, which a double holds exactly.
pub fn leading_bits(hash: &[u8; 32]) -> u64 {
    hash.iter().take(6).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// Each provider and the number of its usable keys, as far as remote ones are fetched.
pub fn usable_keys<'p>(policy: &'p Compiled, jwks_cache: &JwksCache) -> BTreeMap<&'p str, u64> {
    let mut keys = BTreeMap::new();
    for rule in &policy.jwt.rules {
        let count = rule.keys.known(jwks_cache).map_or(0, |set| set.keys().len());
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        let most = keys.entry(rule.provider.as_str()).or_insert(count);
        *most = count.max(*most);
    }
    keys
}

/// The longest line.
const LINE_BYTES: usize = 4096;

/// The line for a configuration that is in force.
pub fn line(
    policy: &Compiled,
    hash: &str,
    jwks_cache: &JwksCache,
    engine: &dyn SignatureEngine,
) -> String {
    let version = env!("CARGO_PKG_VERSION");
    let hash = hash.get(..12).unwrap_or(hash);
    let mode = match policy.settings.mode {
        Mode::DryRun => "dryRun",
        Mode::Enforce => "enforce",
    };
    let providers: Vec<String> = usable_keys(policy, jwks_cache)
        .into_iter()
        .map(|(provider, keys)| format!("`{provider}` (usable keys: {keys})"))
        .collect();
    let line = format!(
        "usher: {version}, configuration {hash}, mode {mode}; providers: {}; policies: {}; signatures: {}",
        listed(&providers),
        policy.authorization.len(),
        engines(policy, jwks_cache, engine),
    );
    redaction::clean(line.as_bytes(), LINE_BYTES)
}

fn listed(items: &[String]) -> String {
    if items.is_empty() { "none".to_owned() } else { items.join(", ") }
}

/// Each algorithm that the keys allow, by engine.
fn engines(policy: &Compiled, jwks_cache: &JwksCache, engine: &dyn SignatureEngine) -> String {
    let mut by_engine: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, algorithm) in
        Algorithm::names().filter(|(name, algorithm)| *name == algorithm.name())
    {
        let allows = |set: Rc<KeySet>| set.allows(algorithm);
        if policy.jwt.rules.iter().any(|rule| rule.keys.known(jwks_cache).is_some_and(allows)) {
            by_engine.entry(engine.name(algorithm)).or_default().push(name);
        }
    }
    let engines: Vec<String> = by_engine
        .iter()
        .map(|(engine, names)| format!("{} by {engine}", names.join(" ")))
        .collect();
    listed(&engines)
}
