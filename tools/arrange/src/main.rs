//! Puts the module's functions in the order in which requests call them.
//!
//! A request goes through some hundred and fifty functions of two thousand. Between two requests the proxy's own work
//! drives the module's code out of the processor's caches, and where these functions are strewn over three megabytes of
//! machine code, each brings a page and some lines of its own back in. V8 lays functions out in the order of their
//! numbers, as far as it compiles them in that order. So the module is played here, in an interpreter and with a host
//! that answers as Envoy does, and the functions that were called come first.
//!
//! Nothing but the numbers of functions changes: what is called is called as before.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

mod host;
mod order;
mod play;
mod requests;

/// Puts the functions that requests call first
#[derive(Parser)]
struct Arguments {
    /// The built module
    #[arg(long, value_name = "F")]
    module: PathBuf,
    /// Where the arranged one goes
    #[arg(long, value_name = "F")]
    output: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let module = std::fs::read(&arguments.module)
        .with_context(|| format!("cannot read `{}`", arguments.module.display()))?;
    let called = play::called(&order::traced(&module)?)?;
    eprintln!("arrange: requests call {} functions", called.len());
    std::fs::write(&arguments.output, order::arranged(&module, &called)?)
        .with_context(|| format!("cannot write `{}`", arguments.output.display()))
}
