//! Plays the examples through a running gate and prints them as a table.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::client::{self, Answer};
use crate::issuer::Issuer;
use crate::site::Site;
use crate::table::{self, Row};

/// How long a line of the access log may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// What became of an example.
struct Outcome<'r> {
    row: &'r Row,
    status: u16,
    reason: String,
    saw: Result<String, String>,
}

/// Sends every example, prints what came back, and answers whether all came out as expected.
///
/// # Errors
/// The gate does not answer, or its access log does not tell.
pub async fn play(site: &Site, issuer: &Issuer) -> anyhow::Result<bool> {
    let rows = table::rows(issuer)?;
    println!("{}", line("sent", "status", "the service saw", "reason"));
    println!("{}", line(&"-".repeat(48), "------", &"-".repeat(52), &"-".repeat(22)));
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let outcome = Outcome::of(row, number, site).await?;
        println!("{}", outcome.line());
        wrong.extend(outcome.problem());
    }
    println!();
    for problem in &wrong {
        println!("NOT AS EXPECTED: {problem}");
    }
    println!("{} of {} as expected", rows.len().saturating_sub(wrong.len()), rows.len());
    Ok(wrong.is_empty())
}

impl<'r> Outcome<'r> {
    async fn of(row: &'r Row, number: usize, site: &Site) -> anyhow::Result<Self> {
        // Of this run and this row alone: the log may hold earlier runs.
        let id = format!("demo-{}-{number}", std::process::id());
        let ask = row.ask.clone().header("x-request-id", &id);
        let answer: Answer = client::send(site.port, &ask)
            .await
            .with_context(|| format!("no answer on port {}", site.port))?;
        let reason = reason(&site.access_log(), &id).await?;
        Ok(Self { row, status: answer.status, reason, saw: (row.saw)(&answer) })
    }

    fn line(&self) -> String {
        let saw = self.saw.as_ref().map_or("?", String::as_str);
        line(self.row.sent, &self.status.to_string(), saw, &self.reason)
    }

    fn problem(&self) -> Option<String> {
        let row = self.row;
        let mut problems = Vec::new();
        if (self.status, self.reason.as_str()) != (row.status, row.reason) {
            problems.push(format!(
                "expected {} {}, found {} {}",
                row.status, row.reason, self.status, self.reason
            ));
        }
        problems.extend(self.saw.as_ref().err().cloned());
        (!problems.is_empty()).then(|| format!("{}: {}", row.sent, problems.join("; ")))
    }
}

fn line(sent: &str, status: &str, saw: &str, reason: &str) -> String {
    format!("{sent:<48}  {status:<6}  {saw:<52}  {reason}").trim_end().to_owned()
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
