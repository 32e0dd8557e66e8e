//! Envoy's access log, where the reason of each decision stands.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::client::{self, Answer, Request};
use crate::site::Sidecar;

/// How long a line may take to the disk.
const PATIENCE: Duration = Duration::from_secs(15);

/// Sends a request to a sidecar, under a name that no other has, and gives the answer and its reason.
///
/// # Errors
/// The sidecar does not answer, or its log has no line for it.
pub async fn send(
    sidecar: &Sidecar,
    request: &Request,
    name: &str,
) -> anyhow::Result<(Answer, String)> {
    // Of this run alone: the log may hold earlier ones.
    let id = format!("demo-{}-{name}", std::process::id());
    let request = request.clone().header("x-request-id", &id);
    let answer = client::send_to(&sidecar.host, sidecar.port, &request)
        .await
        .with_context(|| format!("no answer from {}:{}", sidecar.host, sidecar.port))?;
    let reason = reason(&sidecar.access_log(), &id).await?;
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
