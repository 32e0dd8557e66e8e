//! The `usher` command: parses the arguments, runs one verb, reports the answer by the exit status.
//!
//! A verb is a file under `command/`: it has the arguments, reads files, calls the function of [`usher_verbs`] and prints
//! its answer. Answers go to standard output, errors to standard error.

mod command;
mod read;
mod report;
mod style;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{ArgAction, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

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

/// The meaning of the exit status.
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
    let exit = match parse() {
        Ok(cli) => run(cli.command).unwrap_or_else(|error| could_not_run(&error)),
        // clap's own status for wrong arguments is 2, which is an answer here.
        Err(usage) if usage.use_stderr() => {
            // Without clap's styles: the text contains the arguments, which may have terminal controls.
            let _ = write!(style::stderr(), "{}", usage.render());
            Exit::CouldNotRun
        }
        Err(help) if help.print().is_err() => Exit::CouldNotRun,
        Err(_) => Exit::Yes,
    };
    ExitCode::from(match exit {
        Exit::Yes => 0,
        Exit::CouldNotRun => 1,
        Exit::No => 2,
        Exit::Invalid => 3,
    })
}

fn parse() -> Result<Cli, clap::Error> {
    let mut command = command();
    let matches = command.try_get_matches_from_mut(std::env::args_os())?;
    Cli::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
}

/// The whole command. The argument behind an option with a value is its value, also if it begins with `-`: a key id
/// may, and so may a path, a claim or a secret.
fn command() -> clap::Command {
    fn with_values(command: clap::Command) -> clap::Command {
        command
            .mut_args(|argument| {
                let takes = matches!(argument.get_action(), ArgAction::Set | ArgAction::Append);
                let is_option = !argument.is_positional();
                if takes && is_option { argument.allow_hyphen_values(true) } else { argument }
            })
            .mut_subcommands(with_values)
    }
    with_values(Cli::command())
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
        Command::Completions(arguments) => {
            shell::completions(&arguments, self::command(), &mut out)
        }
        Command::Man(arguments) => shell::man(&arguments, self::command(), &mut out),
    }?;
    out.flush()?;
    Ok(exit)
}

fn could_not_run(error: &anyhow::Error) -> Exit {
    // It is not an error if a reader has seen enough (`usher explain .. | head`).
    let closed = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<io::Error>();
        io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    };
    if !error.chain().any(closed) {
        // If standard error is closed too, there is no way to report it.
        let bad = style::BAD;
        let _ = writeln!(style::stderr(), "{bad}usher:{bad:#} {error:#}");
    }
    Exit::CouldNotRun
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each option of each verb, with the verbs that lead to it.
    fn options(command: &clap::Command, way: &[String], found: &mut Vec<(Vec<String>, clap::Arg)>) {
        for argument in command.get_arguments().filter(|argument| !argument.is_positional()) {
            if argument.get_action().takes_values() {
                found.push((way.to_vec(), argument.clone()));
            }
        }
        for verb in command.get_subcommands() {
            let way: Vec<String> =
                way.iter().cloned().chain([verb.get_name().to_owned()]).collect();
            options(verb, &way, found);
        }
    }

    /// A key's thumbprint begins with `-` once in 64 times, and a path or a secret may do so too.
    #[test]
    fn what_begins_with_a_hyphen_is_a_value_of_every_option() {
        let mut found = Vec::new();
        options(&command(), &[], &mut found);
        assert!(found.len() >= 40, "only {} options", found.len());
        for (way, option) in found {
            let long = format!("--{}", option.get_long().expect("every option has a long name"));
            let short = option.get_short().map(|short| format!("-{short}"));
            for name in [Some(long), short].into_iter().flatten() {
                for value in ["-6hg", "-", "--", "--format", "-X"] {
                    let line: Vec<String> = ["usher".to_owned()]
                        .into_iter()
                        .chain(way.iter().cloned())
                        .chain([name.clone(), value.to_owned()])
                        .collect();
                    // The value was accepted as that of this option, even if something else is missing or wrong.
                    let mut probe = command().ignore_errors(true);
                    let matches = probe.try_get_matches_from_mut(&line).unwrap_or_default();
                    let mut matches = &matches;
                    for verb in &way {
                        matches = matches.subcommand_matches(verb).expect("the verb");
                    }
                    let taken = matches.get_raw(option.get_id().as_str());
                    let taken: Vec<_> = taken.into_iter().flatten().collect();
                    let restricted = !option.get_possible_values().is_empty()
                        || option.get_value_parser().type_id()
                            != clap::builder::ValueParser::string().type_id();
                    assert!(restricted || taken == [value], "{line:?}: {taken:?}");
                    let refused = command().try_get_matches_from(&line).err();
                    let kind = refused.map(|error| error.kind());
                    assert_ne!(kind, Some(clap::error::ErrorKind::UnknownArgument), "{line:?}");
                }
            }
        }
    }

    /// The same for positional arguments that are not files: a token and an issuer. An option stays an option, and a
    /// verb with files refuses an unknown one.
    #[test]
    fn what_begins_with_a_hyphen_is_a_value_where_no_file_is_meant() {
        let parsed = |line: &[&str]| command().try_get_matches_from([&["usher"], line].concat());
        for (verbs, name) in [(["token", "inspect"], "token"), (["jwks", "fetch"], "from")] {
            let option = if name == "token" { "--token-file" } else { "--ca-file" };
            for value in ["-6hg.a.b", "-", "-hello", "--hello"] {
                for line in [vec![value], vec!["--", value]] {
                    let matches = parsed(&[&verbs[..], &line].concat()).expect("a value");
                    let matches =
                        verbs.iter().try_fold(&matches, |m, verb| m.subcommand_matches(verb));
                    let taken: Vec<_> =
                        matches.expect("the verb").get_raw(name).into_iter().flatten().collect();
                    assert_eq!(taken, [value], "{line:?}");
                }
            }
            let matches = parsed(&[&verbs[..], &[option, "f"]].concat());
            let kind = matches.err().map(|error| error.kind());
            assert_ne!(kind, Some(clap::error::ErrorKind::UnknownArgument), "{option}");
        }
        for line in [["check", "-X"], ["test", "--X"], ["convert", "-X"]] {
            let kind = parsed(&line).err().map(|error| error.kind());
            assert_eq!(kind, Some(clap::error::ErrorKind::UnknownArgument), "{line:?}");
        }
    }
}
