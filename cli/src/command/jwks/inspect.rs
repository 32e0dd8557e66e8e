//! `usher jwks inspect`: each key of a set, and whether the filter can use it.

use std::io::Write;

use anyhow::Context as _;
use clap::Args;
use serde_json::json;
use usher_verbs::jwks::{self, Listed};

use crate::command::Format;
use crate::{Exit, read};

/// Shows each key: kid, algorithms, bits, thumbprint, usable or why not
#[derive(Args)]
pub(super) struct Arguments {
    /// A JWK set, a map of key id to certificate, PEM, or a configuration or manifest that holds some; `-` is standard input
    file: String,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

pub(super) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let text = read::text(&arguments.file)?;
    let keys = jwks::read(&text).with_context(|| format!("`{}`", arguments.file))?;
    for key in &keys {
        match arguments.format {
            Format::Text => writeln!(out, "{}: {}", key.name(), in_words(key))?,
            Format::Json => writeln!(out, "{}", in_json(key))?,
        }
    }
    if keys.iter().any(|key| key.key.is_ok()) {
        return Ok(Exit::Yes);
    }
    if arguments.format == Format::Text {
        writeln!(out, "no key can be used")?;
    }
    Ok(Exit::No)
}

fn in_words(listed: &Listed) -> String {
    match &listed.key {
        Ok(key) => {
            let algorithms: Vec<&str> = key.algorithms.iter().map(|a| a.name()).collect();
            let print = key.thumbprint.as_deref().unwrap_or_default();
            let algorithms = algorithms.join(" ");
            format!("usable for {algorithms}, {} bits, thumbprint {print}", key.bits())
        }
        Err(why) => format!("not usable: {why}"),
    }
}

fn in_json(listed: &Listed) -> serde_json::Value {
    match &listed.key {
        Ok(key) => json!({
            "kid": listed.kid,
            "usable": true,
            "algorithms": key.algorithms.iter().map(|a| a.name()).collect::<Vec<_>>(),
            "bits": key.bits(),
            "thumbprint": key.thumbprint,
        }),
        Err(why) => json!({ "kid": listed.kid, "usable": false, "why": why }),
    }
}
