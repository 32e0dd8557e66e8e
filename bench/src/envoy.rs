//! The Envoys that are measured.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;
use usher_envoy::{Options, Process};
use usher_testkit::log::Log;

/// Starts Envoy with this configuration in `directory`, and waits until it is ready.
pub(crate) fn start(
    binary: &Path,
    bootstrap: &Value,
    directory: &Path,
    addresses: &[SocketAddr],
    workers: usize,
) -> Result<Process> {
    std::fs::create_dir_all(directory)?;
    let configuration = directory.join("bootstrap.json");
    std::fs::write(&configuration, bootstrap.to_string())?;
    let workers = workers.to_string();
    let process = Process::start(&Options {
        binary,
        configuration: &configuration,
        folder: directory,
        arguments: &[
            "--concurrency",
            &workers,
            "--log-level",
            "warning",
            // The decision log has allowed requests at this level.
            "--component-log-level",
            "wasm:info",
        ],
    })?;
    if let Some(address) = addresses.iter().find(|address| TcpStream::connect(address).is_err()) {
        bail!("Envoy is ready and does not listen on {address}");
    }
    Ok(process)
}

/// How many decisions of this plugin are in Envoy's log.
pub(crate) fn decisions(process: &Process, plugin: &str) -> usize {
    // Name, root id, VM.
    let line = format!("wasm log {plugin} {plugin} usher: {{\"time\"");
    Log::new(&process.log()).text().matches(&line).count()
}
