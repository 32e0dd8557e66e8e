//! The pages of `docs/cli` and others with commands of `usher`, played: each file that a page shows is written
//! to an empty folder, each command is run there, and prints what the page says.
//!
//! `TRYCMD=overwrite cargo test -p usher-cli --test command docs::` writes what is printed now into the pages;
//! read the difference before committing it.

#![expect(clippy::unwrap_used, reason = "a test may stop at any surprise")]

use std::path::{Path, PathBuf};

/// What a page shows for pasting passes `usher check`, which reads YAML as kubectl and istiod do: there a plain
/// `y` in a key is a boolean.
#[test]
fn what_pages_show_for_pasting_is_accepted() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    let mut seen = 0;
    for entry in std::fs::read_dir(&docs).unwrap() {
        let page = entry.unwrap().path();
        let name = page.file_name().unwrap().to_str().unwrap().to_owned();
        // The reference shows parts, and wrong ones; a test holds it against the parser.
        if !name.ends_with(".md") || name == "configuration.md" {
            continue;
        }
        let text = std::fs::read_to_string(&page).unwrap();
        let blocks = text.split("\n```yaml\n").skip(1);
        for block in blocks.map(|rest| rest.split("\n```").next().unwrap()) {
            // Parts of a configuration have none.
            if !block.lines().any(|line| line.trim_start().starts_with("jwks:")) {
                continue;
            }
            let run = crate::common::usher(&["check", "-"], block);
            let answer = (run.status, run.stdout.as_str());
            assert_eq!(answer, (Some(0), ""), "{name}: {}\n{block}", run.stderr);
            assert!(!run.stderr.contains("is skipped"), "{name}: {}\n{block}", run.stderr);
            seen += 1;
        }
    }
    assert!(seen >= 12, "only {seen} configurations");
}

#[test]
fn pages_are_true() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs");
    let pages: Vec<PathBuf> = std::fs::read_dir(docs.join("cli"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .chain(
            ["faq", "getting-started", "operations", "security-model"]
                .map(|name| docs.join(name).with_extension("md")),
        )
        .collect();
    assert!(pages.len() > 5, "{pages:?}");
    let folder = tempfile::tempdir().unwrap();
    for page in &pages {
        prepare(page, folder.path());
    }
    // Runs when it is dropped.
    let cases = trycmd::TestCases::new();
    cases.case(folder.path().join("*.md"));
    drop(cases);
    if std::env::var("TRYCMD").is_ok_and(|word| word == "overwrite") {
        for page in &pages {
            std::fs::copy(folder.path().join(page.file_name().unwrap()), page).unwrap();
        }
    }
}

/// Copies a page, and writes the files that it shows into the folder where its commands run.
fn prepare(page: &Path, folder: &Path) {
    let text = std::fs::read_to_string(page).unwrap();
    let copy = folder.join(page.file_name().unwrap());
    std::fs::write(&copy, &text).unwrap();
    let files = copy.with_extension("in");
    std::fs::create_dir(&files).unwrap();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        // ```yaml title="shop.yaml"
        let title = line.strip_prefix("```").and_then(|info| info.split_once("title=\""));
        let Some((_, title)) = title else { continue };
        let name = title.trim_end_matches('"');
        let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        std::fs::write(files.join(name), body.join("\n") + "\n").unwrap();
    }
}
