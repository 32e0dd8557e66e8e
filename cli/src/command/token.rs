//! `usher token`: mints a token for development, and inspects one.

mod inspect;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Args, Subcommand};
use serde_json::json;
use usher_core::codec::json::{Map, Value};
use usher_core::time::UnixSeconds;
use usher_verbs::input::DEPTH;
use usher_verbs::key::{Algorithm, SigningKey};

use super::{Format, clock, time};
use crate::{Exit, read};

/// Mints a token for development and prints it, with the key set that verifies it
///
/// Without --key a new key is generated, and its JWKS is printed in the line after the token (or
/// written to --jwks).
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    inspect: Option<Verb>,
    #[command(flatten)]
    mint: Mint,
}

#[derive(Subcommand)]
enum Verb {
    Inspect(inspect::Arguments),
}

#[derive(Args)]
struct Mint {
    /// Claims as a JSON object: a file, or `-` for standard input
    #[arg(long, value_name = "FILE")]
    claims: Option<String>,
    /// One claim; a value that is JSON (`3`, `true`, `["a"]`) is taken as such, else as a string
    #[arg(long = "claim", value_name = "NAME=VALUE")]
    claim: Vec<String>,
    /// The claim `iss`
    #[arg(long)]
    issuer: Option<String>,
    /// The claim `sub`
    #[arg(long)]
    subject: Option<String>,
    /// The claim `aud`; several make a list
    #[arg(long)]
    audience: Vec<String>,
    /// Time until `exp`, such as `90s` or `12h`; may be negative; `never` leaves `exp` out
    #[arg(long, value_name = "DURATION", default_value = "1h")]
    expires_in: String,
    /// The time of issue, in seconds since 1970 or as RFC 3339; default: the clock
    #[arg(long, value_name = "TIME", value_parser = time)]
    now: Option<UnixSeconds>,
    /// Signature algorithm; default: what the key allows, ES256 for a new one
    #[arg(long, ignore_case = true, value_parser = algorithms())]
    algorithm: Option<Algorithm>,
    /// Private key: a PEM or JWK file, or for HS* the secret itself; `-` for standard input
    #[arg(long, value_name = "FILE")]
    key: Option<String>,
    /// Key id in the header and the JWKS; default: the key's own, else its thumbprint
    #[arg(long)]
    kid: Option<String>,
    /// The header's `typ`
    #[arg(long = "type", value_name = "TYP", default_value = "JWT")]
    typ: String,
    /// Write the JWKS here, and print the token alone; `-` prints both, also with --key
    #[arg(long, value_name = "FILE")]
    jwks: Option<PathBuf>,
    /// Write the private key here as a JWK, for use with --key
    #[arg(long, value_name = "FILE")]
    save_key: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &arguments.inspect {
        Some(Verb::Inspect(arguments)) => inspect::run(arguments, out),
        None => mint(&arguments.mint, out),
    }
}

/// The names of the algorithms.
fn algorithms() -> impl TypedValueParser<Value = Algorithm> {
    let names = Algorithm::ALL.map(Algorithm::name);
    PossibleValuesParser::new(names).try_map(|name| {
        let algorithm = Algorithm::ALL.into_iter().find(|a| a.name().eq_ignore_ascii_case(&name));
        algorithm.ok_or("not an algorithm")
    })
}

fn mint(arguments: &Mint, out: &mut dyn Write) -> anyhow::Result<Exit> {
    if arguments.claims.as_deref() == Some("-") && arguments.key.as_deref() == Some("-") {
        bail!("standard input cannot be both the claims and the key");
    }
    let claims = claims(arguments)?;
    let key = match &arguments.key {
        Some(name) => {
            let bytes = read::bytes(name)?;
            SigningKey::read(&bytes, arguments.algorithm, arguments.kid.as_deref())
                .with_context(|| format!("`{name}`"))?
        }
        None => SigningKey::generate(
            arguments.algorithm.unwrap_or(Algorithm::ES256),
            arguments.kid.as_deref(),
        )?,
    };
    let token = key.sign(claims, &arguments.typ)?;
    let jwks = json!({ "keys": [key.public_jwk()?] });
    if let Some(path) = &arguments.save_key {
        write_secret(path, &key.private_jwk()?)?;
    }
    let to_file = arguments.jwks.as_ref().filter(|path| path.as_os_str() != "-");
    if let Some(path) = to_file {
        std::fs::write(path, format!("{jwks}\n"))
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    // No other program has a key that was just generated.
    let show_jwks = to_file.is_none() && (arguments.key.is_none() || arguments.jwks.is_some());
    match arguments.format {
        Format::Text => {
            writeln!(out, "{token}")?;
            if show_jwks {
                writeln!(out, "{jwks}")?;
            }
        }
        Format::Json => writeln!(out, "{}", json!({ "token": token, "jwks": jwks }))?,
    }
    Ok(Exit::Yes)
}

/// From the file first, then single claims, then the flags with names; `iat` and `exp` unless
/// given.
fn claims(arguments: &Mint) -> anyhow::Result<Map<String, Value>> {
    let mut claims = match &arguments.claims {
        Some(name) => object(&read::bytes(name)?).with_context(|| format!("`{name}`"))?,
        None => Map::new(),
    };
    for claim in &arguments.claim {
        let Some((name, value)) = claim.split_once('=') else {
            bail!("expected `name=value` for --claim, found `{claim}`");
        };
        let text = || Value::String(value.to_owned());
        let value =
            usher_core::codec::json::parse(value.as_bytes(), DEPTH).unwrap_or_else(|_| text());
        claims.insert(name.to_owned(), value);
    }
    let named = [("iss", &arguments.issuer), ("sub", &arguments.subject)];
    for (name, value) in named {
        if let Some(value) = value {
            claims.insert(name.to_owned(), json!(value));
        }
    }
    match arguments.audience.as_slice() {
        [] => {}
        [audience] => drop(claims.insert("aud".to_owned(), json!(audience))),
        audiences => drop(claims.insert("aud".to_owned(), json!(audiences))),
    }
    let now = arguments.now.unwrap_or_else(clock);
    claims.entry("iat").or_insert_with(|| json!(now.0));
    if arguments.expires_in != "never" && !claims.contains_key("exp") {
        let until: jiff::SignedDuration = arguments.expires_in.parse().with_context(|| {
            format!("expected a duration such as `1h` or `never`, found `{}`", arguments.expires_in)
        })?;
        let exp = now.0.saturating_add_signed(until.as_secs());
        claims.insert("exp".to_owned(), json!(exp));
    }
    Ok(claims)
}

fn object(text: &[u8]) -> anyhow::Result<Map<String, Value>> {
    match usher_core::codec::json::parse(text, DEPTH).context("expected claims as JSON")? {
        Value::Object(claims) => Ok(claims),
        other => {
            bail!("expected an object, found {}", usher_core::codec::problems::describe(&other))
        }
    }
}

/// Writes a file that only its owner may read, and never overwrites an existing key.
fn write_secret(path: &PathBuf, text: &str) -> anyhow::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file =
        options.open(path).with_context(|| format!("cannot create `{}`", path.display()))?;
    writeln!(file, "{text}").with_context(|| format!("cannot write `{}`", path.display()))
}
