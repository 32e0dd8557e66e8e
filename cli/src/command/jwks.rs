//! `usher jwks`: fetches a key set for a configuration, and inspects one.

mod fetch;
mod http;
mod inspect;

use std::io::Write;

use clap::{Args, Subcommand};

use crate::Exit;

/// Fetches or inspects a JWKS
#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    Fetch(fetch::Arguments),
    Inspect(inspect::Arguments),
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    match &arguments.verb {
        Verb::Fetch(arguments) => fetch::run(arguments, out),
        Verb::Inspect(arguments) => inspect::run(arguments, out),
    }
}
