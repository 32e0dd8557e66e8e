//! What a package puts beside the command, and what a pipe gets to see of colours.

use crate::common::usher;

const VERBS: [&str; 7] = ["check", "convert", "diff", "explain", "schema", "test", "token"];

#[test]
fn completions_know_every_verb() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let run = usher(&["completions", shell], "");
        assert_eq!(run.status, Some(0), "{shell}: {}", run.stderr);
        let missing: Vec<_> = VERBS.into_iter().filter(|verb| !run.stdout.contains(verb)).collect();
        assert!(missing.is_empty(), "{shell}: {missing:?}");
    }
}

#[test]
fn every_verb_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let run = usher(&["man", "--dir", folder.path().to_str().unwrap()], "");
    assert_eq!(run.status, Some(0), "{}", run.stderr);
    for verb in VERBS {
        let page = folder.path().join(format!("usher-{verb}.1"));
        let page = std::fs::read_to_string(page).unwrap();
        assert!(page.contains(&format!("usher\\-{verb}")), "{verb}: {page}");
    }
    assert!(usher(&["man"], "").stdout.starts_with(".ie"), "the page of the command itself");
}

#[test]
fn a_pipe_gets_no_colours() {
    let config = r#"{"authorizationPolicies":[{"name":"p"}]}"#;
    for (arguments, status) in [
        (&["explain", "--config", "-"][..], 2),
        (&["check", "--strict", "-"], 0),
        (&["check", "no-such-file"], 1),
    ] {
        let run = usher(arguments, config);
        assert_eq!(run.status, Some(status), "{arguments:?}: {}", run.stderr);
        assert!(!(run.stdout + &run.stderr).contains('\u{1b}'), "{arguments:?}");
    }
}

/// A reader that has seen enough closes the pipe, as `head` does.
#[test]
fn no_verb_panics_on_a_closed_pipe() {
    let shop = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cmd/files/shop.yaml");
    for arguments in [
        &["check", "--format", "sarif", shop][..],
        &["check", "--summary", shop],
        &["completions", "bash"],
        &["convert", "--to", "istio", shop],
        &["diff", shop, shop, "--format", "json"],
        &["explain", shop, "--rules"],
        &["explain", "--help"],
        &["jwks", "inspect", shop],
        &["man"],
        &["schema"],
        &["token", "--issuer", "https://idp.example.com"],
        &["--version"],
    ] {
        let mut child = std::process::Command::new(env!("CARGO_BIN_EXE_usher"))
            .args(arguments)
            .stdin(std::process::Stdio::null())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // Before it writes, or while it does.
        drop(child.stdout.take());
        let ended = child.wait_with_output().unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert_ne!(ended.status.code(), Some(101), "{arguments:?}: {errors}");
        assert!(!errors.contains("panicked"), "{arguments:?}: {errors}");
    }
}
