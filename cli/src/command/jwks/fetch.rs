//! `usher jwks fetch`: the key set of an issuer, cleaned, for `jwks` in a configuration.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::json;
use usher_core::codec::json::{self, Value};
use usher_core::policy::Location;
use usher_verbs::input::DEPTH;
use usher_verbs::jwks::{self, Listed};

use super::http::{Answer, Client};
use crate::{Exit, read};

/// Fetches a key set and prints it: public parts only, unusable keys left out
///
/// The argument is the URL of a JWK set, or an issuer whose OpenID configuration names it.
#[derive(Args)]
pub(super) struct Arguments {
    #[arg(value_name = "ISSUER-or-URL", allow_hyphen_values = true)]
    from: String,
    /// Trust the certificate authorities in this PEM file, and no others
    #[arg(long, value_name = "F")]
    ca_file: Option<PathBuf>,
    /// Keep the keys of this set that the server no longer lists; `-` is standard input
    #[arg(long, value_name = "OLD")]
    merge: Option<String>,
    /// Drop the keys of --merge that the server no longer lists, or that cannot be kept
    #[arg(long, requires = "merge")]
    force: bool,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let old = match &arguments.merge {
        Some(name) => {
            let keys = jwks::read(&read::text(name)?);
            keys.with_context(|| format!("`{name}`"))?
        }
        None => Vec::new(),
    };
    let client = Client::new(arguments.ca_file.as_deref())?;
    let found = fetch(&client, &arguments.from)?;
    let mut note = crate::style::stderr();
    let mut keys: Vec<&Listed> = Vec::new();
    for key in &found {
        match &key.key {
            Ok(_) => keys.push(key),
            Err(why) => writeln!(note, "usher: {} is left out: {why}", key.name())?,
        }
    }
    if keys.is_empty() {
        writeln!(note, "usher: `{}` lists no key that can be used", arguments.from)?;
        return Ok(Exit::No);
    }
    let mut lost = false;
    for key in &old {
        if key.key.is_ok() && keys.iter().any(|known| known.thumbprint() == key.thumbprint()) {
            continue;
        }
        let name = key.name();
        match &key.key {
            _ if arguments.force => writeln!(note, "usher: {name} is dropped")?,
            Ok(_) if key.jwk.is_some() => {
                writeln!(note, "usher: {name} is kept: the server no longer lists it")?;
                keys.push(key);
            }
            Ok(_) => {
                lost = true;
                writeln!(note, "usher: {name} would be lost: it is not given as a JWK")?;
            }
            Err(why) => {
                lost = true;
                writeln!(note, "usher: {name} would be lost: {why}")?;
            }
        }
    }
    if lost {
        writeln!(note, "usher: the set would shrink; --force has it so")?;
        return Ok(Exit::No);
    }
    let set = json!({ "keys": keys.iter().map(|key| &key.jwk).collect::<Vec<_>>() });
    writeln!(out, "{set:#}")?;
    Ok(Exit::Yes)
}

/// The keys at a URL, or else those of the issuer of that name.
fn fetch(client: &Client, from: &str) -> anyhow::Result<Vec<Listed>> {
    check(from)?;
    let first = client.get(from).with_context(|| format!("`{from}`"))?;
    if let Some(document) = json(&first) {
        if document.get("keys").is_some() {
            return key_set(from, &first);
        }
        if let Some(uri) = document.get("jwks_uri").and_then(Value::as_str) {
            return follow(client, from, uri);
        }
    }
    // OpenID Connect Discovery 1.0 section 4.1.
    let configuration = format!("{}/.well-known/openid-configuration", from.trim_end_matches('/'));
    let answer = client.get(&configuration).with_context(|| format!("`{configuration}`"))?;
    let Some(document) = json(&answer) else {
        bail!(
            "`{from}`: expected a JWK set, found {}; `{configuration}`: expected an OpenID \
             configuration, found {}",
            found(&first),
            found(&answer)
        );
    };
    // Section 4.3: it must be the issuer's own.
    let issuer = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
    if issuer != from {
        bail!("`{configuration}`: expected issuer `{from}`, found `{}`", issuer.escape_debug());
    }
    let uri = document.get("jwks_uri").and_then(Value::as_str);
    let uri = uri.with_context(|| format!("`{configuration}`: `jwks_uri` is missing"))?;
    follow(client, &configuration, uri)
}

fn follow(client: &Client, configuration: &str, uri: &str) -> anyhow::Result<Vec<Listed>> {
    check(uri).with_context(|| format!("`{configuration}`: `jwks_uri`"))?;
    if configuration.starts_with("https://") && !uri.starts_with("https://") {
        bail!("`{configuration}`: expected https for `jwks_uri`, found `{uri}`");
    }
    let answer = client.get(uri).with_context(|| format!("`{uri}`"))?;
    key_set(uri, &answer)
}

fn check(url: &str) -> anyhow::Result<()> {
    match Location::parse(url) {
        Ok(_) => Ok(()),
        Err(expected) => bail!("expected {expected}, found `{}`", url.escape_debug()),
    }
}

fn key_set(url: &str, answer: &Answer) -> anyhow::Result<Vec<Listed>> {
    if json(answer).is_none_or(|document| document.get("keys").is_none()) {
        bail!("`{url}`: expected a JWK set, found {}", found(answer));
    }
    let text = std::str::from_utf8(&answer.body)?;
    jwks::read(text).with_context(|| format!("`{url}`"))
}

/// The JSON object of a response with status 200.
fn json(answer: &Answer) -> Option<Value> {
    if answer.status != 200 {
        return None;
    }
    json::parse(&answer.body, DEPTH).ok().filter(Value::is_object)
}

/// What an unexpected response is.
fn found(answer: &Answer) -> String {
    match (answer.status, &answer.location) {
        (200, _) if json(answer).is_some() => "another JSON object".to_owned(),
        (200, _) => "no JSON object".to_owned(),
        (300..=399, Some(to)) => format!("a redirect to `{}`", to.escape_debug()),
        (status, _) => format!("status {status}"),
    }
}
