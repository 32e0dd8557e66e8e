//! `usher explain`: the decision on a request and its reasons, by the code that runs in the filter.

mod missing;
mod place;

pub use missing::{Missing, Nearest};

use anyhow::bail;
use usher_core::decide::{Trace, WorkerState, decide};
use usher_core::request::Request;
use usher_core::time::UnixSeconds;

use crate::answer::Answer;
use crate::config::Loaded;
use crate::recorded::{self, Judged, Recorded};

/// A decision, and where in the configuration it comes from.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The decision and its steps.
    pub answer: Answer,
    /// `file:line:column: path` of the rule that decided.
    pub place: Option<String>,
    /// For a denial by policies: the rule that came nearest.
    pub nearest: Option<Nearest>,
    /// For a denial: what that rule wants, or what is wrong with the token.
    pub missing: Option<Missing>,
    /// For every rule, whether it matches, and why not.
    pub rules: Vec<String>,
}

/// Decides a request, and says why.
pub fn explain(loaded: &Loaded, request: &Request, now: UnixSeconds) -> Explanation {
    let mut worker_state = WorkerState::portable();
    worker_state.trace = Trace::Rules;
    let decision = decide(&loaded.policy, request, now, &mut worker_state);
    let (nearest, missing) = missing::of(&decision, request, now, loaded);
    Explanation {
        answer: Answer::new(&loaded.policy, request, &decision),
        place: place::of(&decision, loaded),
        nearest,
        missing,
        rules: decision.report.rules.iter().map(|rule| missing::rule(rule, loaded)).collect(),
    }
}

/// A line of the decision log, decided again by a configuration's policies.
#[derive(Clone, Debug)]
pub struct Again {
    /// What the line says: `deny 403 no_rule_matched`.
    pub recorded: String,
    /// `allow`, or `deny` and the reason.
    pub outcome: String,
    /// Why.
    pub why: String,
    /// See [`Explanation`].
    pub nearest: Option<Nearest>,
    /// See [`Explanation`].
    pub missing: Option<Missing>,
    /// See [`Explanation`].
    pub rules: Vec<String>,
}

/// Decides a line of the decision log again: exemptions and policies for the caller that it names.
///
/// # Errors
/// It is not the whole of such a line, or the token decided.
pub fn again(loaded: &Loaded, line: &str) -> anyhow::Result<Again> {
    let recorded = Recorded::whole(line)?;
    let held = recorded.claims.0.keys().cloned().collect();
    let lacks: Vec<String> = recorded::lacks(loaded, &held).into_iter().collect();
    if !lacks.is_empty() {
        bail!(
            "rules ask for {}, which the line does not hold (claims are logged by `decisionLog.claims`): give the request \
             itself",
            lacks.join(", ")
        );
    }
    let Judged { outcome, why, authorization } = recorded.decide(&loaded.policy);
    let rules = match &authorization {
        Some(_) => recorded.trace(&loaded.policy),
        None => Vec::new(),
    };
    let (nearest, missing) = missing::nearest(authorization.as_ref(), &rules, loaded);
    let rules = rules.iter().map(|rule| missing::rule(rule, loaded)).collect();
    Ok(Again { recorded: recorded.decided, outcome, why, nearest, missing, rules })
}

/// Decides many requests, one after the other as a proxy's worker does.
pub struct Session<'c> {
    loaded: &'c Loaded,
    worker_state: WorkerState,
}

impl<'c> Session<'c> {
    /// A worker with nothing cached.
    pub fn new(loaded: &'c Loaded) -> Self {
        let mut worker_state = WorkerState::portable();
        worker_state.trace = Trace::Steps;
        Self { loaded, worker_state }
    }

    /// The decision on a request.
    pub fn decide(&mut self, request: &Request, now: UnixSeconds) -> Answer {
        let decision = decide(&self.loaded.policy, request, now, &mut self.worker_state);
        Answer::new(&self.loaded.policy, request, &decision)
    }
}
