//! What `make compare` shows comes out as documented in docs/differences.md.

use usher_testkit::compare;

#[test]
fn native_and_usher_answer_as_expected() {
    let outcomes = compare::play();
    let wrong: Vec<String> =
        outcomes.iter().filter(|o| !o.is_as_expected()).map(ToString::to_string).collect();
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), outcomes.len(), wrong.join("\n"));
}
