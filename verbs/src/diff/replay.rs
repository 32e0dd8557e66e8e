//! Recorded decisions under two configurations.
//!
//! A line has the caller and the request, but not the token: the token was verified when the line was
//! recorded, and only the policies are evaluated again for that caller. Lines about refused tokens
//! cannot be decided again, and are counted.

use std::collections::BTreeSet;

use crate::config::Loaded;
use crate::recorded::{self, Judged, Recorded};

/// A recorded request that is decided differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Method, host, path and caller.
    pub request: String,
    /// The old configuration's decision.
    pub before: String,
    /// The new one's.
    pub after: String,
    /// Why the new one decides so.
    pub why: String,
}

/// Recorded decisions, decided by two configurations, and their totals so far.
#[derive(Debug)]
pub struct Replay<'c> {
    before: &'c Loaded,
    after: &'c Loaded,
    /// Lines that were decided by both.
    pub judged: usize,
    /// Those that are decided differently.
    pub different: usize,
    /// Lines that are not about policies.
    pub unfit: usize,
    claims: BTreeSet<String>,
}

impl<'c> Replay<'c> {
    /// No line yet.
    pub fn new(before: &'c Loaded, after: &'c Loaded) -> Self {
        Self { before, after, judged: 0, different: 0, unfit: 0, claims: BTreeSet::new() }
    }

    /// Decides a line of the decision log, perhaps behind Envoy's own prefix, by both; `None` if they agree, or if the line
    /// cannot be decided again.
    ///
    /// # Errors
    /// A JSON object that is not a line of the decision log.
    pub fn line(&mut self, line: &str) -> anyhow::Result<Option<Replayed>> {
        let Some(recorded) = Recorded::of(line)? else {
            self.unfit = self.unfit.saturating_add(usize::from(!line.trim().is_empty()));
            return Ok(None);
        };
        self.judged = self.judged.saturating_add(1);
        self.claims.extend(recorded.claims.0.keys().cloned());
        let before = recorded.decide(&self.before.policy).outcome;
        let Judged { outcome: after, why, .. } = recorded.decide(&self.after.policy);
        if before == after {
            return Ok(None);
        }
        self.different = self.different.saturating_add(1);
        Ok(Some(Replayed { request: recorded.shown, before, after, why }))
    }

    /// What rules ask for that the lines do not hold.
    pub fn missing(&self) -> Vec<String> {
        if self.judged == 0 {
            return Vec::new();
        }
        let mut lacks = recorded::lacks(self.before, &self.claims);
        lacks.extend(recorded::lacks(self.after, &self.claims));
        for loaded in [self.before, self.after] {
            let needs = loaded.policy.required_attributes();
            // A line may have them, and an older one has not.
            for (needed, what) in [
                (needs.peer, "client certificates"),
                (needs.source_ip || needs.remote_ip, "addresses"),
            ] {
                if needed {
                    lacks.insert(what.to_owned());
                }
            }
        }
        lacks.into_iter().collect()
    }
}
