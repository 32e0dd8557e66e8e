//! docs/getting-started-envoy.md, played: its files are written to an empty folder, its commands run in one
//! shell there, and print what the page says. Only its ports are others.

use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use usher_testkit::paths::{self, module, pinned_envoy, root};
use usher_testkit::ports::free_row;
use usher_testkit::skip;

/// How long its commands may take, on a slow machine; only waited for in vain when the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// What the page has between two fences.
enum Block {
    /// A file and its text.
    File(String, String),
    /// Commands.
    Run(String),
    /// Commands, and what each prints.
    Shown(Vec<(String, String)>),
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut parts = page.split("\n```");
    parts.next();
    while let (Some(block), after) = (parts.next(), parts.next()) {
        assert!(after.is_some(), "a fence that is not closed");
        let (language, text) = block.split_once('\n').unwrap();
        let text = format!("{text}\n");
        blocks.push(match language.split_once(" title=\"") {
            Some((_, title)) => Block::File(title.trim_end_matches('"').to_owned(), text),
            None if language == "sh" => Block::Run(text),
            None if language == "console" => Block::Shown(shown(&text)),
            // Requirements of the page.
            None => continue,
        });
    }
    blocks
}

/// Each command after a `$` with what stands below it.
fn shown(text: &str) -> Vec<(String, String)> {
    let commands = text.strip_prefix("$ ").expect("a command first").split("\n$ ");
    let pairs = commands.map(|part| {
        let (command, output) = part.split_once('\n').expect("something that it prints");
        (command.to_owned(), output.trim_end().to_owned())
    });
    pairs.collect()
}

#[test]
fn the_page_on_a_plain_envoy_is_true() {
    if Command::new("curl").arg("--version").output().is_err() {
        let why =
            "none here to play docs/getting-started-envoy.md with: `make toolchain` installs it";
        return skip("curl", why);
    }
    let port = free_row(4);
    let there = |text: &str| {
        let ports = [0, 2, 3].map(|offset| (10_000 + offset, port + offset));
        ports.iter().fold(text.to_owned(), |text, (told, taken)| {
            text.replace(&told.to_string(), &taken.to_string())
        })
    };
    let page = std::fs::read_to_string(root().join("docs/getting-started-envoy.md")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let mut script = String::new();
    let mut expected = Vec::new();
    for block in blocks(&page) {
        match block {
            Block::File(name, text) => std::fs::write(at(&name), there(&text)).unwrap(),
            Block::Run(commands) => script += &there(&commands),
            Block::Shown(commands) => {
                for (command, output) in commands {
                    let file = format!("printed-{}", expected.len());
                    script += &format!("{{ {}\n}} >{file} 2>&1\n", there(&command));
                    expected.push((at(&file), command, output));
                }
            }
        }
    }
    assert!(expected.len() >= 6, "only {} commands that print", expected.len());
    let path = std::env::var("PATH").unwrap();
    let shell = Command::new("sh")
        .args(["-euc", &script])
        .current_dir(folder.path())
        .env("PATH", format!("{}:{path}", paths::command().parent().unwrap().display()))
        .env("USHER_WASM", module())
        .env("ENVOY", pinned_envoy())
        .env("TEMPLATE", root().join("envoy/envoy.yaml"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .process_group(0)
        .spawn()
        .unwrap();
    let mut shell = Group(shell);
    let start = Instant::now();
    let ended = loop {
        match shell.0.try_wait().unwrap() {
            None if start.elapsed() < PATIENCE => std::thread::sleep(Duration::from_millis(50)),
            ended => break ended,
        }
    };
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}:\n{script}");
    for (file, command, output) in expected {
        let printed = std::fs::read_to_string(file).unwrap();
        assert_eq!(printed.trim_end(), there(&output), "$ {command}");
    }
}

/// A shell and what it started in the background; they end together.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", "KILL", "--", &group]).status();
        let _ = self.0.wait();
    }
}
