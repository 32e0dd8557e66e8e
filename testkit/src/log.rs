//! Reading what Envoy wrote: its log, and the access log of the requests.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

/// How long a line may take from Envoy to the disk. Generous: it is only waited for in vain when a
/// test fails.
const PATIENCE: Duration = Duration::from_secs(10);

/// A file that Envoy writes lines to.
pub struct Log {
    path: PathBuf,
}

/// One request in the access log.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Entry {
    /// The request's name, if it had one.
    pub case: Option<String>,
    /// Response status; 0 where the client went away before.
    pub status: u16,
    /// Envoy's response-code details: `via_upstream`, `usher_denied{..}`, ...
    pub details: Option<String>,
    /// Filter state `wasm.usher.decision`.
    pub decision: Option<String>,
    /// Filter state `wasm.usher.reason`.
    pub reason: Option<String>,
    /// Filter state `wasm.usher.provider`.
    pub provider: Option<String>,
    /// Filter state `wasm.usher.sub`.
    pub sub: Option<String>,
    /// Filter state `wasm.usher.iss`.
    pub iss: Option<String>,
    /// Filter state `wasm.usher.policy`.
    pub policy: Option<String>,
    /// Filter state `wasm.usher.rule`.
    pub rule: Option<String>,
}

impl Log {
    /// The file at `path`, which need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Everything written so far.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.path).unwrap_or_default()).into_owned()
    }

    /// The lines of wasm plugin `plugin` at level `warning` or above, so far.
    pub fn warnings(&self, plugin: &str) -> Vec<String> {
        let of_plugin = format!("wasm log {plugin} ");
        let loud =
            |line: &str| ["[warning]", "[error]", "[critical]"].iter().any(|l| line.contains(l));
        let text = self.text();
        let lines = text.lines().filter(|line| loud(line) && line.contains(&of_plugin));
        lines.map(ToOwned::to_owned).collect()
    }

    /// Waits until a line has all of `parts`, and gives that line.
    ///
    /// # Panics
    /// When there is no such line in time.
    #[track_caller]
    pub fn line_with(&self, parts: &[&str]) -> String {
        let found = wait(|| {
            let text = self.text();
            let line = text.lines().find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(ToOwned::to_owned)
        });
        found.unwrap_or_else(|| panic!("no line with {parts:?} in:\n{}", self.text()))
    }

    /// The access log's entry for the request `case`.
    ///
    /// # Panics
    /// When there is none in time, or more than one.
    #[track_caller]
    pub fn entry(&self, case: &str) -> Entry {
        let entries = wait(|| {
            let entries = self.entries();
            let of_case = entries.into_iter().filter(|entry| entry.case.as_deref() == Some(case));
            Some(of_case.collect::<Vec<_>>()).filter(|entries| !entries.is_empty())
        });
        let mut entries = entries.unwrap_or_default();
        assert_eq!(entries.len(), 1, "entries of {case}: {entries:?}");
        entries.remove(0)
    }

    /// Every complete entry of an access log so far.
    pub fn entries(&self) -> Vec<Entry> {
        let text = self.text();
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }
}

/// Asks `found` again and again until it has an answer, or patience ends.
pub fn wait<T>(found: impl Fn() -> Option<T>) -> Option<T> {
    let start = Instant::now();
    loop {
        match found() {
            None if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(5)),
            answer => return answer,
        }
    }
}
