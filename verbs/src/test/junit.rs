//! The report that CI systems read.

use std::collections::BTreeMap;

use anyhow::Context as _;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::Outcome;

/// A JUnit report, a suite for each file.
///
/// # Errors
/// A text that XML cannot hold.
pub fn report(outcomes: &[Outcome]) -> anyhow::Result<String> {
    let mut suites: BTreeMap<&str, TestSuite> = BTreeMap::new();
    for outcome in outcomes {
        let status = match outcome.problems.first() {
            None => TestCaseStatus::success(),
            Some(problem) => {
                let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
                status.set_message(problem).set_description(outcome.problems.join("\n"));
                status
            }
        };
        let mut case = TestCase::new(outcome.name.as_str(), status);
        case.set_classname(outcome.file.as_str());
        if let Some(line) = outcome.line {
            case.extra.insert("line".into(), line.to_string().into());
        }
        let suite = suites.entry(&outcome.file);
        suite.or_insert_with(|| TestSuite::new(outcome.file.as_str())).add_test_case(case);
    }
    let mut report = Report::new("usher test");
    report.add_test_suites(suites.into_values());
    report.to_string().context("cannot write the report")
}
