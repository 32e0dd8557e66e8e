//! `usher test`: policy tests. A case is a request and its expected decision; the code that decides is the filter's, the
//! tokens are signed on the fly.

mod case;
mod coverage;
mod expect;
mod junit;
mod suite;
mod tokens;

pub use coverage::{Coverage, Missed};
pub use junit::report as junit;
pub use suite::{Config, Suite, read};

use anyhow::bail;
use usher_core::Compiled;
use usher_core::decide::{Trace, WorkerState, decide};
use usher_core::request::Request;
use usher_core::time::UnixSeconds;

use crate::answer::Answer;
use crate::config::{Loaded, Source};
use crate::report::Problem;

/// The result of a case.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The test file as named.
    pub file: String,
    /// The line of the case, from 1.
    pub line: Option<usize>,
    /// The name of the case.
    pub name: String,
    /// What was not as expected; if empty, the case passed. A last line that begins with `steps: ` explains the decision.
    pub problems: Vec<String>,
}

/// Runs the cases of a suite whose name contains `filter`, and gives each result to `each` as it happens; records in
/// `coverage`, if there is one, which rules they reached.
///
/// # Errors
/// A case that cannot be run; or the problems of the configuration, once the suite's keys are in it.
pub fn run(
    suite: &Suite,
    mut source: Source,
    filter: Option<&str>,
    coverage: Option<&mut Coverage>,
    each: &mut dyn FnMut(Outcome) -> anyhow::Result<()>,
) -> anyhow::Result<Result<(), Vec<Problem>>> {
    let tokens = tokens::sign(suite, &mut source.config.value)?;
    let policy = match source.read() {
        Ok(policy) => policy,
        Err(problems) => return Ok(Err(problems)),
    };
    let loaded = Loaded { policy, source };
    let mut worker_state = WorkerState::portable();
    let traced = if coverage.is_some() { Trace::Rules } else { Trace::Off };
    let mut reached = coverage::Rules::of(&loaded);
    for case in suite.cases.iter().filter(|case| filter.is_none_or(|text| case.name.contains(text)))
    {
        worker_state.trace = traced;
        let request = match case.request(&tokens) {
            Ok(request) => request,
            Err(error) => bail!("{}: {error:#}", suite.place(&case.at)),
        };
        let decision = decide(&loaded.policy, &request, case.now, &mut worker_state);
        reached.note(&decision);
        let answer = Answer::new(&loaded.policy, &request, &decision);
        let mut problems = expect::compare(&case.expect, &answer);
        if !problems.is_empty() {
            problems.extend(why(&loaded.policy, &request, case.now, &mut worker_state));
        }
        let line = suite.document.locate(&case.at).map(|mark| mark.line);
        each(Outcome { file: suite.file.clone(), line, name: case.name.clone(), problems })?;
    }
    if let Some(coverage) = coverage {
        coverage.add(reached);
    }
    Ok(Ok(()))
}

/// The steps to an unexpected decision.
fn why(
    policy: &Compiled,
    request: &Request,
    now: UnixSeconds,
    worker_state: &mut WorkerState,
) -> Option<String> {
    worker_state.trace = Trace::Steps;
    let decision = decide(policy, request, now, worker_state);
    let steps = decision.report.steps;
    (!steps.is_empty()).then(|| format!("steps: {}", steps.join("; ")))
}
