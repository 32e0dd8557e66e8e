//! Configurations with one mistake each, as people make them: the files under `broken/`.
//!
//! Each file says in its first lines what the mistake is, what words the message must hold to name the
//! remedy, and what is printed; the broken line is marked. `OVERWRITE=1` writes what is printed now;
//! read the difference before committing it.

#![expect(clippy::unwrap_used, reason = "a test may stop at any surprise")]

use std::path::Path;

use crate::common::usher;

const MARK: &str = "# <- here";

#[test]
fn each_mistake_is_told_with_its_place_and_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let mut files: Vec<_> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(files.len() >= 60, "{} files", files.len());
    let wrong: Vec<String> = files.iter().filter_map(|path| wrong(path)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is not as the file says.
fn wrong(path: &Path) -> Option<String> {
    let name = path.file_name().unwrap().to_str().unwrap();
    let file = std::fs::read_to_string(path).unwrap();
    let (head, body): (Vec<&str>, Vec<&str>) = file.lines().partition(|line| {
        line.starts_with("# The mistake: ")
            || line.starts_with("# The remedy: ")
            || line.starts_with("#: ")
    });
    let text = body.join("\n");
    let run = usher(&["check", "-"], &text);
    if run.status != Some(3) || !run.stdout.is_empty() {
        return Some(format!("{name}: exit status {:?}", run.status));
    }
    let errors: Vec<&str> =
        run.stderr.lines().filter(|line| !line.contains(": warning: ")).collect();
    let said: Vec<String> = errors
        .iter()
        .map(|error| format!("#: {}", error.strip_prefix("-:").unwrap_or(error)))
        .collect();
    let line = body.iter().position(|line| line.contains(MARK)).unwrap() + 1;
    if said.is_empty() || !said.iter().all(|said| said.starts_with(&format!("#: {line}:"))) {
        return Some(format!("{name}: expected errors in line {line}, found {said:?}"));
    }
    let said = said.join("\n");
    let remedy = head.iter().find_map(|line| line.strip_prefix("# The remedy: ")).unwrap();
    if !said.contains(remedy) {
        return Some(format!("{name}: expected the remedy {remedy}, found {said}"));
    }
    if std::env::var_os("OVERWRITE").is_some() {
        let kept = head.iter().filter(|line| !line.starts_with("#: "));
        let kept: Vec<&str> = kept.copied().collect();
        std::fs::write(path, format!("{}\n{said}\n{text}\n", kept.join("\n"))).unwrap();
        return None;
    }
    let golden: Vec<&str> = head.iter().filter(|line| line.starts_with("#: ")).copied().collect();
    let golden = golden.join("\n");
    (golden != said).then(|| format!("{name}:\n  expected {golden}\n  found    {said}"))
}
