//! Running the `usher` that was built beside the test.

#![expect(clippy::unwrap_used, reason = "a test may stop at any surprise")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use usher_testkit::secrets;

/// What a run ended with.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs `usher` with these arguments and this standard input.
pub(crate) fn usher(arguments: &[&str], stdin: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_usher"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    // Beside the reading of what comes back: neither side waits for the other.
    let writer = std::thread::spawn(move || {
        // A verb that does not read its standard input may be gone already.
        let _ = pipe.write_all(text.as_bytes());
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    // Tokens are what some verbs are asked for. What is said beside the answer goes into logs.
    for said in
        arguments.iter().map(|text| text.as_bytes()).chain([stdin.as_bytes(), &output.stdout])
    {
        secrets::sent(said);
    }
    secrets::log("stderr", &output.stderr);
    Run {
        status: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}
