//! Envoy processes of tests: their configuration is a value, and a failure stops the test.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;
use usher_envoy::{Options, Process};

/// Starts `binary` with `bootstrap`, which is written to `directory`, with this number of worker threads, and waits until
/// it is ready to serve.
///
/// # Errors
/// With the end of Envoy's log, when it does not become ready.
pub fn start_with(
    binary: &Path,
    bootstrap: &Value,
    directory: &Path,
    workers: usize,
    arguments: &[&str],
) -> io::Result<Process> {
    let configuration = directory.join("bootstrap.json");
    std::fs::write(&configuration, bootstrap.to_string())?;
    let workers = workers.to_string();
    Process::start(&Options {
        binary,
        configuration: &configuration,
        folder: directory,
        arguments: &[&["--concurrency", &workers], arguments].concat(),
    })
}

/// The same, as tests want it.
///
/// # Panics
/// With the end of Envoy's log, when it does not become ready.
pub(crate) fn start(binary: &Path, bootstrap: &Value, directory: &Path, workers: usize) -> Process {
    let arguments = ["--log-level", "info", "--drain-time-s", "1", "--parent-shutdown-time-s", "2"];
    start_with(binary, bootstrap, directory, workers, &arguments)
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Where each listener listens, by name.
pub(crate) fn listeners(process: &Process) -> HashMap<String, SocketAddr> {
    let listeners: Value =
        serde_json::from_str(&process.get("/listeners?format=json").unwrap()).unwrap();
    let listeners = listeners["listener_statuses"].as_array().unwrap();
    // An internal listener has no address that a client could connect to.
    let entry = |listener: &Value| {
        let address = listener["local_address"].get("socket_address")?;
        let port = address["port_value"].as_u64().unwrap();
        let address = format!("{}:{port}", address["address"].as_str().unwrap());
        Some((listener["name"].as_str().unwrap().to_owned(), address.parse().unwrap()))
    };
    listeners.iter().filter_map(entry).collect()
}
