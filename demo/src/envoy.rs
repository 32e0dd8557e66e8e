//! Envoy: its configuration out of the template that users read, and its process.

use std::fs::File;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::client::{self, Ask};
use crate::site::Site;

/// The plain Envoy configuration that the project ships.
const TEMPLATE: &str = include_str!("../../envoy/envoy.yaml");

/// How long Envoy may take to start; compiling the module takes most of it.
const PATIENCE: Duration = Duration::from_secs(60);

/// The template with everything filled in.
///
/// # Errors
/// A `${..}` of the template is none that is known here.
pub fn configuration(site: &Site, module: &Path, jwks: &Value) -> anyhow::Result<String> {
    let values = [
        ("${ACCESS_LOG}", site.access_log().display().to_string()),
        ("${ADMIN_PORT}", site.admin_port().to_string()),
        ("${BIND}", site.bind.to_string()),
        ("${ISSUER}", site.issuer()),
        ("${JWKS}", jwks.to_string()),
        ("${PORT}", site.port.to_string()),
        ("${SERVICE_PORT}", site.service_port().to_string()),
        ("${USHER_WASM}", module.display().to_string()),
    ];
    // The comment at the top speaks of the places; it is for readers of the template.
    let mut text: String = TEMPLATE
        .lines()
        .skip_while(|line| line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    for (place, value) in values {
        text = text.replace(place, &value);
    }
    if let Some((_, rest)) = text.split_once("${") {
        bail!("`envoy.yaml` has `${{{}`, which nobody fills in", rest.lines().next().unwrap_or(""));
    }
    Ok(text)
}

/// A running Envoy; it ends when this is dropped.
pub struct Envoy {
    process: Child,
}

impl Envoy {
    /// Starts `binary` with the site's configuration and waits until it serves.
    ///
    /// # Errors
    /// With the end of Envoy's log, where it does not.
    pub async fn start(binary: &Path, site: &Site) -> anyhow::Result<Self> {
        let log = site.envoy_log();
        let process = Command::new(binary)
            .arg("--config-path")
            .arg(site.envoy_config())
            .args(["--use-dynamic-base-id", "--log-level", "warning"])
            .args(["--file-flush-interval-msec", "10"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start `{}`", binary.display()))?;
        let mut envoy = Self { process };
        let ready = tokio::time::timeout(PATIENCE, envoy.ready(site.admin_port())).await;
        if !ready.unwrap_or(false) {
            let log = std::fs::read_to_string(&log).unwrap_or_default();
            let lines: Vec<&str> = log.lines().rev().take(20).collect();
            let end: Vec<&str> = lines.into_iter().rev().collect();
            bail!("Envoy does not become ready; the end of its log:\n{}", end.join("\n"));
        }
        Ok(envoy)
    }

    async fn ready(&mut self, admin_port: u16) -> bool {
        loop {
            if let Ok(answer) = client::send(admin_port, &Ask::get("/ready")).await
                && answer.status == 200
            {
                return true;
            }
            if !matches!(self.process.try_wait(), Ok(None)) {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until Envoy ends by itself, which it should not.
    ///
    /// # Errors
    /// Its status cannot be had.
    pub async fn ended(&mut self) -> anyhow::Result<std::process::ExitStatus> {
        Ok(self.process.wait().await?)
    }
}
