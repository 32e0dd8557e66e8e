//! `usher completions` and `usher man`: files that a package installs with the command.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use crate::Exit;

/// Prints the completions for a shell
#[derive(Args)]
pub(crate) struct Completions {
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the man page
#[derive(Args)]
pub(crate) struct ManPage {
    /// Write the pages of all commands into this folder instead
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

pub(crate) fn completions(
    arguments: &Completions,
    mut command: Command,
    out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    // It would panic where the reader has closed the pipe.
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "usher", &mut script);
    out.write_all(&script)?;
    Ok(Exit::Yes)
}

pub(crate) fn man(
    arguments: &ManPage,
    command: Command,
    mut out: &mut dyn Write,
) -> anyhow::Result<Exit> {
    match &arguments.dir {
        None => Man::new(command).render(&mut out)?,
        Some(dir) => pages(&command, "usher", dir)?,
    }
    Ok(Exit::Yes)
}

/// `usher.1`, `usher-check.1`, ..
fn pages(command: &Command, name: &str, dir: &Path) -> anyhow::Result<()> {
    let path = dir.join(format!("{name}.1"));
    let write = || -> std::io::Result<()> {
        std::fs::create_dir_all(dir)?;
        let mut page = Vec::new();
        let title: &'static str = String::leak(name.to_owned());
        Man::new(command.clone().name(title)).render(&mut page)?;
        std::fs::write(&path, page)
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))?;
    for verb in command.get_subcommands().filter(|verb| !verb.is_hide_set()) {
        pages(verb, &format!("{name}-{}", verb.get_name()), dir)?;
    }
    Ok(())
}
