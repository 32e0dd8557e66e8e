//! Envoy's access log, where the reason of each decision stands.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::client::{self, Answer, Ask};
use crate::site::Gate;

/// How long a line may take to the disk.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sends a request to a gate, under a name that no other has, and gives the answer and its reason.
///
/// # Errors
/// The gate does not answer, or its log does not tell.
pub async fn send(gate: &Gate, ask: &Ask, name: &str) -> anyhow::Result<(Answer, String)> {
    // Of this run alone: the log may hold earlier ones.
    let id = format!("demo-{}-{name}", std::process::id());
    let ask = ask.clone().header("x-request-id", &id);
    let answer = client::send_to(&gate.host, gate.port, &ask)
        .await
        .with_context(|| format!("no answer from {}:{}", gate.host, gate.port))?;
    let reason = reason(&gate.access_log(), &id).await?;
    Ok((answer, reason))
}

/// The reason that Envoy wrote down for a request: what the filter left in filter state.
async fn reason(log: &Path, id: &str) -> anyhow::Result<String> {
    let find = async {
        loop {
            let text = tokio::fs::read_to_string(log).await.unwrap_or_default();
            let mut lines = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
            if let Some(entry) = lines.find(|entry| entry.get("request_id") == Some(&id.into())) {
                let reason = entry.get("reason").and_then(Value::as_str).unwrap_or("none");
                return reason.to_owned();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, find).await {
        Ok(reason) => Ok(reason),
        Err(_) => bail!("`{}` has no line for request `{id}`", log.display()),
    }
}
