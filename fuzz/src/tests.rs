//! Each target runs through its corpus.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{TARGETS, authorize, draw::Draw};

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn entries(folder: &Path) -> BTreeSet<PathBuf> {
    let read = fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    read.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn nothing_in_the_corpus_breaks_anything() {
    let corpus = repository().join("fuzz/corpus");
    for target in TARGETS {
        let inputs = entries(&corpus.join(target.name));
        assert!(!inputs.is_empty(), "no input for `{}`", target.name);
        for input in inputs {
            // Shown if the test fails.
            println!("{}", input.display());
            let data = fs::read(&input).unwrap();
            (target.run)(&data);
        }
    }
    let folders = entries(&corpus);
    let names: BTreeSet<PathBuf> = TARGETS.iter().map(|t| corpus.join(t.name)).collect();
    assert_eq!(folders, names, "a folder for each target, and for nothing else");
}

#[test]
fn the_nightly_workflow_runs_every_target() {
    let text = fs::read_to_string(repository().join(".github/workflows/nightly.yml")).unwrap();
    let list = text.lines().find_map(|line| line.trim().strip_prefix("target: [")).unwrap();
    let names: Vec<&str> = list.trim_end_matches(']').split(", ").collect();
    let expected: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    assert_eq!(names, expected);
}

/// The same cases in each run; a failure prints its case.
#[test]
fn drawn_policies_are_judged_as_a_naive_reading_judges_them() {
    let mut matched = 0;
    for seed in 0..500 {
        let mut plan = [0; 8192];
        StdRng::seed_from_u64(seed).fill_bytes(&mut plan[1..]);
        matched += authorize::drawn(&mut Draw::of(&plan).unwrap());
    }
    assert!(matched > 2_000, "only {matched} matches: the cases have nothing in common");
}
