//! The last step of `make test`: no log of the whole suite has a token in it.

use usher_testkit::mint::{self, Key};
use usher_testkit::secrets::{self, Secrets};

/// Modules whose tokens come from elsewhere than the harness: the demo, another's identity provider,
/// the command.
const FOREIGN: [&str; 3] = ["demo", "real_issuer", "token"];

#[test]
#[ignore = "looks at what the other tests have left: `make test` runs it when they are done"]
fn nothing_secret_was_logged() {
    let mut secrets = Secrets::default();
    let mut left = Vec::new();
    for entry in std::fs::read_dir(secrets::folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "secrets") {
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            secrets.add(&name, &std::fs::read_to_string(&path).unwrap());
            left.push(name);
        }
    }
    assert!(left.len() > 30 && secrets.tokens > 10_000, "{} tokens of {left:?}", secrets.tokens);
    for foreign in FOREIGN {
        assert!(left.iter().any(|name| name == foreign), "{foreign} has left no token: {left:?}");
    }
    let logs = secrets::logs(&secrets::folder());
    let mut bytes = 0;
    let mut found = Vec::new();
    for path in &logs {
        let text = std::fs::read(path).unwrap();
        bytes += text.len();
        found.extend(secrets.find(&text).into_iter().map(|what| (path, what)));
    }
    println!(
        "logged: {} tokens of {} modules of tests, looked for in {bytes} bytes of {} logs",
        secrets.tokens,
        left.len(),
        logs.len()
    );
    assert!(logs.len() > 50 && bytes > 1_000_000, "{bytes} bytes of {} logs", logs.len());
    assert!(
        found.is_empty(),
        "{} found, such as {:#?}",
        found.len(),
        &found[..found.len().min(20)]
    );
}

#[test]
fn a_token_that_was_logged_would_be_found() {
    let key = Key::new("RS256", "one");
    let token = key.token(&mint::claims("https://idp.example", "mmosley"));
    let other = key.token(&mint::claims("https://idp.example", "other"));
    let [_, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!() };
    let mut secrets = Secrets::default();
    secrets.add("here", &format!("{payload} {signature}\n"));
    assert_eq!(secrets.tokens, 1);
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("gate/side/envoy.log");
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    let line = "[2026-11-25][warning][wasm] wasm log usher: {\"time\":1,\"path\":\"/p\"";
    for (planted, is_found) in [
        ("", false),
        (token.as_str(), true),
        (payload, true),
        (signature, true),
        (&signature[..20], true),
        (&signature[100..131], true),
        (&payload[payload.len() - 31..], true),
        // Too short: it may occur by chance.
        (&signature[100..115], false),
        (mint::PRIVATE, true),
        (other.rsplit_once('.').unwrap().1, false),
    ] {
        std::fs::write(&log, format!("{line},\"x\":\"{planted}\"}}\n{line}\n")).unwrap();
        let logs = secrets::logs(directory.path());
        assert_eq!(logs, [log.as_path()]);
        let found = secrets.find(&std::fs::read(&logs[0]).unwrap());
        assert_eq!(!found.is_empty(), is_found, "{planted}: {found:?}");
    }
}

#[test]
fn tokens_are_noted_wherever_they_are_sent() {
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJtbW9zbGV5In0.c2lnbmF0dXJlLW9mLTE3";
    secrets::sent(format!("GET /?t={token}&x HTTP/1.1\r\ncookie: sid=x{token}; b\r\n").as_bytes());
    let file = secrets::folder().join("logged.secrets");
    let noted = std::fs::read_to_string(file).unwrap();
    assert!(noted.lines().any(|line| line == "eyJzdWIiOiJtbW9zbGV5In0 c2lnbmF0dXJlLW9mLTE3"));
}
