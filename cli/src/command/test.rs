//! `usher test`: policy tests. A case is a request and its expected decision; the code that decides
//! is the filter's, the tokens are signed on the fly.

mod case;
mod coverage;
mod expect;
mod junit;
mod suite;
mod tokens;

use std::io::Write;
use std::path::PathBuf;

use anyhow::bail;
use clap::Args;
use serde_json::json;
use usher_core::Compiled;
use usher_core::decide::{Trace, WorkerState, decide};
use usher_core::time::UnixSeconds;

use super::{Format, clock};
use crate::answer::Answer;
use crate::config::{Loaded, Source};
use crate::report::Problem;
use crate::style::{BAD, FAINT, GOOD, one_line};
use crate::{Exit, config, report, style};
use case::Case;
use coverage::Coverage;

/// Runs policy tests: requests and the expected decisions
///
/// A test file names a configuration, tokens by their claims (signed here, by keys that replace the
/// issuers'), and cases. Failures are printed as they happen. Exit status 2: a case failed.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Test files (YAML or JSON)
    #[arg(required = true, value_name = "F")]
    files: Vec<String>,
    /// Run them against this configuration instead of the one that they name
    #[arg(long, value_name = "F")]
    config: Option<String>,
    /// Only cases whose name contains this text
    #[arg(long, value_name = "TEXT")]
    filter: Option<String>,
    /// Name the rules that no case matched
    #[arg(long)]
    coverage: bool,
    /// Fail where fewer of the rules than this were matched, in percent; implies --coverage
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_coverage: Option<u8>,
    /// Write a JUnit report here
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

/// The result of a case.
struct Outcome {
    file: String,
    line: Option<usize>,
    name: String,
    /// What was not as expected; if empty, the case passed.
    problems: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut outcomes = Vec::new();
    let mut coverage = Coverage::default();
    let mut exit = Exit::Yes;
    for file in &arguments.files {
        match run_file(file, arguments, &mut outcomes, &mut coverage, out)? {
            Ok(()) => {}
            Err((problems, because)) => {
                report::write(&problems, arguments.format, out, &mut style::stderr())?;
                exit = because;
            }
        }
    }
    if exit != Exit::Yes {
        return Ok(exit);
    }
    if let Some(path) = &arguments.junit {
        junit::write(&outcomes, path)?;
    }
    if outcomes.is_empty() {
        bail!("no test case: a run that tests nothing says nothing");
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.problems.is_empty()).count();
    summary(outcomes.len(), failed, arguments.format, out)?;
    let mut enough = true;
    if arguments.coverage || arguments.min_coverage.is_some() {
        enough = coverage.write(arguments.min_coverage, arguments.format, out)?;
    }
    Ok(if failed == 0 && enough { Exit::Yes } else { Exit::No })
}

/// Why the cases of a file could not be run.
type Unfit = (Vec<Problem>, Exit);

fn run_file(
    file: &str,
    arguments: &Arguments,
    outcomes: &mut Vec<Outcome>,
    coverage: &mut Coverage,
    out: &mut dyn Write,
) -> anyhow::Result<Result<(), Unfit>> {
    let suite = match suite::read(file, arguments.config.as_deref(), clock())? {
        Ok(suite) => suite,
        Err(problems) => return Ok(Err((problems, Exit::CouldNotRun))),
    };
    let mut source = match &suite.config {
        suite::Config::File(name) => match config::find(name)? {
            Ok(source) => source,
            Err(problems) => return Ok(Err((problems, Exit::Invalid))),
        },
        suite::Config::Inline(config) => Source::inline(file, &suite.document, config.clone()),
    };
    let tokens = tokens::sign(&suite, &mut source.config.value)?;
    let policy = match source.read() {
        Ok(policy) => policy,
        Err(problems) => return Ok(Err((problems, Exit::Invalid))),
    };
    let loaded = Loaded { policy, source };
    let mut worker_state = WorkerState::portable();
    let all = arguments.coverage || arguments.min_coverage.is_some();
    let chosen = |case: &&Case| match &arguments.filter {
        Some(text) => case.name.contains(text.as_str()),
        None => true,
    };
    let mut reached = coverage.of(&loaded);
    for case in suite.cases.iter().filter(chosen) {
        worker_state.trace = if all { Trace::Rules } else { Trace::Off };
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
        let outcome = Outcome { file: file.to_owned(), line, name: case.name.clone(), problems };
        told(&outcome, arguments.format, out)?;
        outcomes.push(outcome);
    }
    coverage.add(reached);
    Ok(Ok(()))
}

/// The steps to an unexpected decision.
fn why(
    policy: &Compiled,
    request: &usher_core::Request,
    now: UnixSeconds,
    worker_state: &mut WorkerState,
) -> Option<String> {
    worker_state.trace = Trace::Steps;
    let decision = decide(policy, request, now, worker_state);
    let steps = decision.report.steps;
    (!steps.is_empty()).then(|| format!("steps: {}", steps.join("; ")))
}

/// Prints a failure at once; in JSON each case.
fn told(outcome: &Outcome, format: Format, out: &mut dyn Write) -> std::io::Result<()> {
    let failed = !outcome.problems.is_empty();
    match format {
        Format::Json => {
            let line = json!({
                "file": outcome.file,
                "line": outcome.line,
                "name": outcome.name,
                "passed": !failed,
                "problems": outcome.problems,
            });
            writeln!(out, "{line}")?;
        }
        Format::Text if failed => {
            let line = outcome.line.map(|line| format!(":{line}")).unwrap_or_default();
            let (file, name) = (one_line(&outcome.file), one_line(&outcome.name));
            writeln!(out, "{file}{line}: {BAD}FAIL{BAD:#} {name}")?;
            for problem in &outcome.problems {
                let style = if problem.starts_with("steps: ") { FAINT } else { BAD };
                writeln!(out, "    {style}{}{style:#}", one_line(problem))?;
            }
        }
        Format::Text => return Ok(()),
    }
    out.flush()
}

fn summary(
    cases: usize,
    failed: usize,
    format: Format,
    out: &mut dyn Write,
) -> std::io::Result<()> {
    let passed = cases.saturating_sub(failed);
    if format == Format::Json {
        return writeln!(out, "{}", json!({ "passed": passed, "failed": failed }));
    }
    if passed > 0 {
        writeln!(out, "{GOOD}PASS{GOOD:#}: {passed}/{cases}")?;
    }
    if failed > 0 {
        writeln!(out, "{BAD}FAIL{BAD:#}: {failed}/{cases}")?;
    }
    Ok(())
}
