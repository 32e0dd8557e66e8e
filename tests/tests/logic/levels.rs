//! No test is left out: each file of a level is a module of its binary (CONTRIBUTING.md, "Levels of tests").

#![expect(clippy::unwrap_used, reason = "a test may stop at any surprise")]

use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|file| file.extension().is_some_and(|extension| extension == "rs")).collect()
}

#[test]
fn every_file_of_tests_is_in_a_binary() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (package, levels) in
        [("cli/tests", &["command"][..]), ("tests/tests", &["e2e", "logic", "vectors"])]
    {
        let folder = root.join(package);
        assert_eq!(sources(&folder), [] as [PathBuf; 0], "{package}: files that no binary holds");
        for level in levels {
            let main = std::fs::read_to_string(folder.join(level).join("main.rs")).unwrap();
            for file in sources(&folder.join(level)) {
                let name = file.file_stem().unwrap().to_str().unwrap();
                let named = main.lines().any(|line| line == format!("mod {name};"));
                assert!(named || name == "main", "{package}/{level}/main.rs does not name {name}");
            }
        }
    }
}
