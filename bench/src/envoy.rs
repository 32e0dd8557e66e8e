//! The Envoys that are measured.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;

use anyhow::{Result, bail};
use serde_json::Value;
use usher_envoy::Process;
use usher_testkit::log::Log;
use usher_testkit::process::start_with;

/// Starts Envoy with this configuration in `directory`, and waits until it is ready.
pub(crate) fn start(
    binary: &Path,
    bootstrap: &Value,
    directory: &Path,
    addresses: &[SocketAddr],
    workers: usize,
) -> Result<Process> {
    std::fs::create_dir_all(directory)?;
    // The decision log has allowed requests at level info.
    let arguments = ["--log-level", "warning", "--component-log-level", "wasm:info"];
    let process = start_with(binary, bootstrap, directory, workers, &arguments)?;
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
