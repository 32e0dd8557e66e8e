//! `usher test`: policy tests. A case is a request and its expected decision; the code that decides
//! is the filter's, the tokens are signed on the fly.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};
use usher_verbs::config::Source;
use usher_verbs::load;
use usher_verbs::report::Problem;
use usher_verbs::test::{self, Config, Coverage, Outcome};

use super::{Format, clock};
use crate::style::{BAD, FAINT, GOOD, one_line};
use crate::{Exit, read, report, style};

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
    /// Of several configurations in that file, the one of this name
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
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

pub(crate) fn run(arguments: &Arguments, out: &mut dyn Write) -> anyhow::Result<Exit> {
    let mut outcomes = Vec::new();
    let wants_coverage = arguments.coverage || arguments.min_coverage.is_some();
    let mut coverage = wants_coverage.then(Coverage::default);
    let mut exit = Exit::Yes;
    for file in &arguments.files {
        match run_file(file, arguments, &mut outcomes, coverage.as_mut(), out)? {
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
        let text = test::junit(&outcomes)?;
        std::fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    if outcomes.is_empty() {
        bail!("no test case: a run that tests nothing says nothing");
    }
    let failed = outcomes.iter().filter(|outcome| !outcome.problems.is_empty()).count();
    summary(outcomes.len(), failed, arguments.format, out)?;
    let mut enough = true;
    if let Some(coverage) = &coverage {
        enough = write_coverage(coverage, arguments.min_coverage, arguments.format, out)?;
    }
    Ok(if failed == 0 && enough { Exit::Yes } else { Exit::No })
}

/// Why the cases of a file could not be run.
type Unfit = (Vec<Problem>, Exit);

fn run_file(
    file: &str,
    arguments: &Arguments,
    outcomes: &mut Vec<Outcome>,
    coverage: Option<&mut Coverage>,
    out: &mut dyn Write,
) -> anyhow::Result<Result<(), Unfit>> {
    let suite = match test::read(&read::file(file)?, arguments.config.as_deref(), clock())? {
        Ok(suite) => suite,
        Err(problems) => return Ok(Err((problems, Exit::CouldNotRun))),
    };
    let source = match &suite.config {
        Config::File(name) => match load::find(&read::file(name)?, arguments.name.as_deref())? {
            Ok(source) => source,
            Err(problems) => return Ok(Err((problems, Exit::Invalid))),
        },
        Config::Inline(source) => Source::clone(source),
    };
    report::converted(&source, &mut style::stderr())?;
    let mut each = |outcome: Outcome| {
        told(&outcome, arguments.format, out)?;
        outcomes.push(outcome);
        Ok(())
    };
    let ran = test::run(&suite, source, arguments.filter.as_deref(), coverage, &mut each)?;
    Ok(ran.map_err(|problems| (problems, Exit::Invalid)))
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

/// Writes which rules were not reached; returns whether enough were.
fn write_coverage(
    coverage: &Coverage,
    least: Option<u8>,
    format: Format,
    out: &mut dyn Write,
) -> std::io::Result<bool> {
    let (all, percent, missed) = (coverage.all(), coverage.percent(), coverage.missed());
    let hit = all.saturating_sub(missed.len());
    let enough = least.is_none_or(|least| percent >= usize::from(least));
    if format == Format::Json {
        let missed: Vec<Value> = missed
            .iter()
            .map(|rule| json!({ "file": rule.file, "line": rule.line, "path": rule.path }))
            .collect();
        writeln!(
            out,
            "{}",
            json!({ "rules": all, "covered": hit, "percent": percent, "missed": missed })
        )?;
        return Ok(enough);
    }
    for rule in &missed {
        writeln!(out, "{}:{}: no case matches {}", rule.file, rule.line, rule.path)?;
    }
    let style = if missed.is_empty() { GOOD } else { BAD };
    writeln!(out, "{style}COVERAGE{style:#}: {hit}/{all} rules ({percent} %)")?;
    Ok(enough)
}
