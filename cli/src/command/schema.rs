//! `usher schema`: the JSON Schema for validation and completion in editors.

use std::io::Write;

use clap::{Args, ValueEnum};
use usher_verbs::schema;

use crate::Exit;

/// Prints the JSON Schema of a pluginConfig
///
/// An editor with a YAML language server reads it from the first line of a file:
/// `# yaml-language-server: $schema=docs/usher.schema.json`
#[derive(Args)]
pub(crate) struct Arguments {
    /// The content of the file
    #[arg(long = "for", value_enum, default_value_t)]
    of: Of,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Of {
    /// A bare pluginConfig
    #[default]
    PluginConfig,
    /// A WasmPlugin that holds one
    WasmPlugin,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let schema = match arguments.of {
        Of::PluginConfig => schema::plugin_config(),
        Of::WasmPlugin => schema::wasm_plugin(),
    };
    writeln!(out, "{schema:#}")?;
    Ok(Exit::Yes)
}
