//! Envoy: its configuration out of the template that users read, and its process.

use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;
use usher_envoy::{Options, Process};

use crate::policies;
use crate::site::{Sidecar, Site};

/// The plain Envoy configuration that the project ships.
const TEMPLATE: &str = include_str!("../../envoy/envoy.yaml");

/// The one listener of the template, and the pluginConfig in it.
const LISTENERS: &str = "/static_resources/listeners";
const PORT: &str = "/address/socket_address/port_value";
const PLUGIN: &str = "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config\
                      /configuration/value";

const ROOT_ID: &str =
    "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config/root_id";

/// The template with everything filled in, the sidecar of the main job, and beside it one for each
/// of the guides' policies.
///
/// # Errors
/// The template is not what is expected here.
pub fn configuration(site: &Site, module: &Path, jwks: &Value) -> anyhow::Result<String> {
    let sidecar = site.sidecar();
    let issuer = [("${ISSUER}", site.issuer()), ("${JWKS}", jwks.to_string())];
    let mut whole: Value = serde_yaml_ng::from_str(&fill_in(&sidecar, module, &issuer)?)?;
    let listeners = whole.pointer_mut(LISTENERS).and_then(Value::as_array_mut);
    let listeners = listeners.context("`envoy.yaml` has no listeners")?;
    let main = listeners.first().context("`envoy.yaml` has no listener")?.clone();
    for listener in policies::LISTENERS {
        let mut copy = main.clone();
        let plugin = copy.pointer(PLUGIN).and_then(Value::as_str);
        let mut plugin: Value = serde_json::from_str(plugin.context("no pluginConfig")?)?;
        if let Some(fields) = plugin.as_object_mut() {
            fields.insert("authorizationPolicies".to_owned(), listener.policies()?.into());
        }
        set(&mut copy, PLUGIN, serde_json::to_string_pretty(&plugin)?.into())?;
        set(&mut copy, PORT, sidecar.port.saturating_add(listener.offset).into())?;
        let name = format!("policies-{}", listener.offset);
        set(&mut copy, ROOT_ID, name.as_str().into())?;
        set(&mut copy, "/name", name.into())?;
        listeners.push(copy);
    }
    // JSON is YAML too.
    Ok(serde_json::to_string_pretty(&whole)?)
}

/// The template with another pluginConfig.
///
/// # Errors
/// The template is not what is expected here.
pub fn configuration_with(
    sidecar: &Sidecar,
    module: &Path,
    plugin: &Value,
) -> anyhow::Result<String> {
    let nobody = [("${ISSUER}", String::new()), ("${JWKS}", "{}".to_owned())];
    let mut whole: Value = serde_yaml_ng::from_str(&fill_in(sidecar, module, &nobody)?)?;
    let place = format!("{LISTENERS}/0{PLUGIN}");
    set(&mut whole, &place, serde_json::to_string_pretty(plugin)?.into())?;
    Ok(serde_json::to_string_pretty(&whole)?)
}

fn set(tree: &mut Value, place: &str, value: Value) -> anyhow::Result<()> {
    *tree.pointer_mut(place).with_context(|| format!("`envoy.yaml` has no `{place}`"))? = value;
    Ok(())
}

fn fill_in(sidecar: &Sidecar, module: &Path, more: &[(&str, String)]) -> anyhow::Result<String> {
    let values = [
        ("${ACCESS_LOG}", sidecar.access_log().display().to_string()),
        ("${ADMIN_PORT}", sidecar.admin_port().to_string()),
        ("${BIND}", sidecar.bind.to_string()),
        ("${PORT}", sidecar.port.to_string()),
        ("${SERVICE_PORT}", sidecar.service_port().to_string()),
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

/// Starts `binary` with the sidecar's configuration and waits until it serves.
///
/// # Errors
/// With the end of Envoy's log, where it does not.
pub async fn start(binary: &Path, sidecar: &Sidecar) -> anyhow::Result<Process> {
    let (binary, sidecar) = (binary.to_owned(), sidecar.clone());
    // It blocks, and the service and the issuer run meanwhile.
    let start = move || {
        Process::start(&Options {
            binary: &binary,
            configuration: &sidecar.envoy_config(),
            folder: &sidecar.folder,
            arguments: &["--log-level", "warning"],
        })
    };
    Ok(tokio::task::spawn_blocking(start).await??)
}

/// Waits until Envoy ends by itself, which it should not.
///
/// # Errors
/// The system does not know its status.
pub async fn ended(envoy: &mut Process) -> anyhow::Result<ExitStatus> {
    loop {
        if let Some(status) = envoy.has_ended()? {
            return Ok(status);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
