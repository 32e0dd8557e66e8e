//! The last step of `make test`: in all that the whole suite has logged there is no token.

use std::collections::HashSet;
use std::path::PathBuf;

use usher_tests::{mint, secrets};

/// Every log that the gates left, Envoy's own and the access logs.
fn logs() -> Vec<PathBuf> {
    let mut logs = Vec::new();
    for entry in std::fs::read_dir(secrets::folder()).unwrap() {
        let directory = entry.unwrap().path();
        logs.extend(["envoy.log", "access.log"].map(|name| directory.join(name)));
    }
    logs.retain(|path| path.is_file());
    logs
}

#[test]
#[ignore = "looks at what the other tests have left: `make test` runs it when they are done"]
fn nothing_secret_was_logged() {
    let files = std::fs::read_dir(secrets::folder()).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == "secrets"));
    let secrets: Vec<String> = files.flat_map(|path| secrets::read(&path)).collect();
    assert!(secrets.len() > 100, "the tests have minted tokens: {}", secrets.len());
    // A part of a token is known by how it begins.
    let beginnings: HashSet<&[u8]> =
        secrets.iter().map(|secret| &secret.as_bytes()[..secrets::SHORTEST]).collect();
    let logs = logs();
    assert!(logs.len() > 10, "the tests have left logs: {}", logs.len());
    let mut bytes = 0;
    for path in &logs {
        let text = std::fs::read(path).unwrap();
        bytes += text.len();
        for window in text.windows(secrets::SHORTEST) {
            let found = window.escape_ascii();
            assert!(
                !beginnings.contains(window),
                "`{found}`, part of a token, in {}",
                path.display()
            );
        }
        let private = mint::PRIVATE.as_bytes();
        let claim = text.windows(private.len()).any(|window| window == private);
        assert!(!claim, "a private claim in {}", path.display());
    }
    println!("{} secrets, none of them in {bytes} bytes of {} logs", secrets.len(), logs.len());
}
