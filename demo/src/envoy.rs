//! Envoy: its configuration out of the template that users read, and its process.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use usher_envoy::{Options, Process};

use crate::policies;
use crate::site::{Gate, Site};

/// The plain Envoy configuration that the project ships.
const TEMPLATE: &str = include_str!("../../envoy/envoy.yaml");

/// Where the one listener stands in the template, and in it the pluginConfig.
const LISTENERS: &str = "/static_resources/listeners";
const PORT: &str = "/address/socket_address/port_value";
const PLUGIN: &str = "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config\
                      /configuration/value";

const ROOT_ID: &str =
    "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/root_id";

/// The template with everything filled in, the gate of the main job, and beside it a listener for each
/// door of the guides' policies.
///
/// # Errors
/// The template is not what is expected here.
pub fn configuration(site: &Site, module: &Path, jwks: &Value) -> anyhow::Result<String> {
    let gate = site.gate();
    let issuer = [("${ISSUER}", site.issuer()), ("${JWKS}", jwks.to_string())];
    let mut whole: Value = serde_yaml_ng::from_str(&fill_in(&gate, module, &issuer)?)?;
    let listeners = whole.pointer_mut(LISTENERS).and_then(Value::as_array_mut);
    let listeners = listeners.context("`envoy.yaml` has no listeners")?;
    let main = listeners.first().context("`envoy.yaml` has no listener")?.clone();
    for door in policies::DOORS {
        let mut listener = main.clone();
        let plugin = listener.pointer(PLUGIN).and_then(Value::as_str);
        let mut plugin: Value = serde_json::from_str(plugin.context("no pluginConfig")?)?;
        if let Some(fields) = plugin.as_object_mut() {
            fields.insert("authorizationPolicies".to_owned(), door.policies()?.into());
        }
        set(&mut listener, PLUGIN, serde_json::to_string_pretty(&plugin)?.into())?;
        set(&mut listener, PORT, gate.port.saturating_add(door.offset).into())?;
        let name = format!("policies-{}", door.offset);
        set(&mut listener, ROOT_ID, name.as_str().into())?;
        set(&mut listener, "/name", name.into())?;
        listeners.push(listener);
    }
    // JSON is YAML too.
    Ok(serde_json::to_string_pretty(&whole)?)
}

/// The template with another pluginConfig.
///
/// # Errors
/// The template is not what is expected here.
pub fn configuration_with(gate: &Gate, module: &Path, plugin: &Value) -> anyhow::Result<String> {
    let nobody = [("${ISSUER}", String::new()), ("${JWKS}", "{}".to_owned())];
    let mut whole: Value = serde_yaml_ng::from_str(&fill_in(gate, module, &nobody)?)?;
    let place = format!("{LISTENERS}/0{PLUGIN}");
    set(&mut whole, &place, serde_json::to_string_pretty(plugin)?.into())?;
    Ok(serde_json::to_string_pretty(&whole)?)
}

fn set(tree: &mut Value, place: &str, value: Value) -> anyhow::Result<()> {
    *tree.pointer_mut(place).with_context(|| format!("`envoy.yaml` has no `{place}`"))? = value;
    Ok(())
}

fn fill_in(gate: &Gate, module: &Path, more: &[(&str, String)]) -> anyhow::Result<String> {
    let values = [
        ("${ACCESS_LOG}", gate.access_log().display().to_string()),
        ("${ADMIN_PORT}", gate.admin_port().to_string()),
        ("${BIND}", gate.bind.to_string()),
        ("${PORT}", gate.port.to_string()),
        ("${SERVICE_PORT}", gate.service_port().to_string()),
        ("${USHER_WASM}", module.display().to_string()),
    ];
    // The comment at the top speaks of the places; it is for readers of the template.
    let lines = TEMPLATE.lines().skip_while(|line| line.starts_with('#'));
    let mut text: String = lines.flat_map(|line| [line, "\n"]).collect();
    for (place, value) in values.iter().chain(more) {
        text = text.replace(place, value);
    }
    if let Some((_, rest)) = text.split_once("${") {
        bail!("`envoy.yaml` has `${{{}`, which nobody fills in", rest.lines().next().unwrap_or(""));
    }
    Ok(text)
}

/// Starts `binary` with the gate's configuration and waits until it serves.
///
/// # Errors
/// With the end of Envoy's log, where it does not.
pub async fn start(binary: &Path, gate: &Gate) -> anyhow::Result<Process> {
    let (binary, gate) = (binary.to_owned(), gate.clone());
    // It blocks, and the service and the issuer run meanwhile.
    let start = move || {
        Process::start(&Options {
            binary: &binary,
            configuration: &gate.envoy_config(),
            folder: &gate.folder,
            arguments: &["--log-level", "warning"],
        })
    };
    Ok(tokio::task::spawn_blocking(start).await??)
}

/// Waits until Envoy ends by itself, which it should not.
///
/// # Errors
/// The system does not tell its status.
pub async fn ended(envoy: &mut Process) -> anyhow::Result<ExitStatus> {
    loop {
        if let Some(status) = envoy.has_ended()? {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
