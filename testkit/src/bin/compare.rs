//! `make compare`: what native filters and Usher answer to the same requests, side by side.

use std::process::ExitCode;

use usher_testkit::compare;

fn main() -> ExitCode {
    let outcomes = compare::play();
    for outcome in &outcomes {
        println!("{outcome}");
    }
    let wrong = outcomes.iter().filter(|outcome| !outcome.is_as_expected()).count();
    println!("{} cases, {wrong} not as expected (docs/differences.md)", outcomes.len());
    if wrong == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
