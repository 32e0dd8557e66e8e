//! Plays the examples through a running sidecar and prints them as a table.

use crate::access_log;
use crate::issuer::Issuer;
use crate::site::{Sidecar, Site};
use crate::table::{self, Row};

/// The outcome of an example.
struct Outcome<'r> {
    row: &'r Row,
    status: u16,
    reason: String,
    saw: Result<String, String>,
}

/// Sends every example, prints what came back, and answers whether all came out as expected.
///
/// # Errors
/// The sidecar does not answer, or its access log has no reason.
pub async fn play(site: &Site, issuer: &Issuer) -> anyhow::Result<bool> {
    let rows = table::rows(issuer)?;
    println!("{}", line("sent", "status", "the service saw", "reason"));
    println!("{}", line(&"-".repeat(48), "------", &"-".repeat(52), &"-".repeat(22)));
    let mut wrong = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        let sidecar = site.sidecar();
        let sidecar = Sidecar { port: sidecar.port.saturating_add(row.listener), ..sidecar };
        let (answer, reason) =
            access_log::send(&sidecar, &row.request, &number.to_string()).await?;
        let outcome = Outcome { row, status: answer.status, reason, saw: (row.saw)(&answer) };
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

impl Outcome<'_> {
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
