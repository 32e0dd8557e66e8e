//! The `usher` command: parse the arguments, run one verb, say the answer by the exit status.
//!
//! A verb is a file under `command/`; answers go to standard output, errors to standard error.

mod answer;
mod command;
mod config;
mod convert;
mod input;
mod key;
mod lint;
mod manifest;
mod output;
mod report;
mod request;
mod schema;
mod style;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use command::{
    check, convert as convert_command, diff, explain, jwks, schema as schema_command, shell, test,
    token,
};

/// Checks and explains Usher configurations, and mints tokens for trying them out.
#[derive(Parser)]
#[command(name = "usher", version, max_term_width = 100, after_help = EXIT_STATUS)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

const EXIT_STATUS: &str = "Exit status: 0 yes, 1 could not run, 2 the answer is no, \
                           3 the configuration is invalid.";

#[derive(Subcommand)]
enum Command {
    Check(check::Arguments),
    Convert(convert_command::Arguments),
    Diff(diff::Arguments),
    Explain(explain::Arguments),
    Jwks(jwks::Arguments),
    Schema(schema_command::Arguments),
    Test(test::Arguments),
    Token(token::Arguments),
    #[command(hide = true)]
    Completions(shell::Completions),
    #[command(hide = true)]
    Man(shell::ManPage),
}

/// What the exit status says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Exit {
    /// Good, or allowed: 0.
    Yes,
    /// Wrong arguments, an unreadable file: 1.
    CouldNotRun,
    /// The request is denied: 2.
    No,
    /// The configuration is invalid: 3.
    Invalid,
}

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => run(cli.command).unwrap_or_else(|error| could_not_run(&error)),
        // clap's own status for wrong arguments is 2, which here is an answer.
        Err(usage) => {
            let wrong = usage.use_stderr();
            if usage.print().is_err() || wrong { Exit::CouldNotRun } else { Exit::Yes }
        }
    };
    ExitCode::from(match exit {
        Exit::Yes => 0,
        Exit::CouldNotRun => 1,
        Exit::No => 2,
        Exit::Invalid => 3,
    })
}

fn run(command: Command) -> anyhow::Result<Exit> {
    let mut out = style::stdout();
    let exit = match command {
        Command::Check(arguments) => check::run(&arguments, &mut out),
        Command::Convert(arguments) => convert_command::run(&arguments, &mut out),
        Command::Diff(arguments) => diff::run(&arguments, &mut out),
        Command::Explain(arguments) => explain::run(&arguments, &mut out),
        Command::Jwks(arguments) => jwks::run(&arguments, &mut out),
        Command::Schema(arguments) => schema_command::run(&arguments, &mut out),
        Command::Test(arguments) => test::run(&arguments, &mut out),
        Command::Token(arguments) => token::run(&arguments, &mut out),
        Command::Completions(arguments) => shell::completions(&arguments, Cli::command(), &mut out),
        Command::Man(arguments) => shell::man(&arguments, Cli::command(), &mut out),
    }?;
    out.flush()?;
    Ok(exit)
}

fn could_not_run(error: &anyhow::Error) -> Exit {
    // A reader that has seen enough (`usher explain .. | head`) is no news.
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    if !error.chain().any(closed) {
        // Nothing is left to tell it to where standard error is gone too.
        let bad = style::BAD;
        let _ = writeln!(style::stderr(), "{bad}usher:{bad:#} {error:#}");
    }
    Exit::CouldNotRun
}
