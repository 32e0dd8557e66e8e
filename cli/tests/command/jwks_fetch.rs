//! `usher jwks fetch` against a server on loopback.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test may stop at any surprise"
)]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output};

use serde_json::{Value, json};

const RSA: &str = "zGTVOJxwOiej5uF1g338MGvtPelpXHEMt6cL153b37l9dJZE1g_Ns1JcCTb7IU0-8cfT4tprnkLGvQVpATmu5SOMO9WZY5gD4KnyNOMNJOhoxaKVaS2sIdnumyqBpvg4zvtYonbd36YjqfWvWPdwi-JinOfNgCPBpW38T6ITB0Qa5rSrNejyL9sRuyVn_wxaHpH5BA8ZO2mAsld6kWCX4AlcI2cPe5tjva8AQWvQeWpRQVzh2_xYA9r74Dl5E5Rcp50smvTcw0Cvl4v47g7GOwQRcdrrqf65L_DcZkJhSJ7qDLvqkZ2SZGsBhpFIerPXNUxpdKTymQ4Vqtb4MXuNzQ";

fn rsa(kid: &str) -> Value {
    json!({ "kty": "RSA", "kid": kid, "alg": "RS256", "e": "AQAB", "n": RSA })
}

fn ed(kid: &str) -> Value {
    let x = "JuGCgS62BGmiaqq5cq8CqQ5wLIdk5kIfer3rKmK671Q";
    json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519", "x": x })
}

fn set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// Serves `pages` (path, status and further header lines, body) until the test process ends, and says
/// where. `{base}` in a body is that.
fn serve(pages: Vec<(&'static str, &'static str, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let here = base.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
            let first = lines.next().unwrap().unwrap();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            let path = first.split(' ').nth(1).unwrap().to_owned();
            let page = pages.iter().find(|(known, ..)| *known == path);
            let (head, body) = page.map_or(("404 Not Found", ""), |(_, head, body)| (*head, body));
            let body = body.replace("{base}", &here);
            let length = body.len();
            let _ = write!(
                stream,
                "HTTP/1.1 {head}\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
            );
        }
    });
    base
}

fn fetch(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_usher"));
    let Output { status, stdout, stderr } =
        command.args(["jwks", "fetch"]).args(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

fn kids(stdout: &str) -> Vec<String> {
    let set: Value = serde_json::from_str(stdout).unwrap();
    let keys = set["keys"].as_array().unwrap();
    keys.iter().map(|key| key["kid"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn a_set_is_printed_cleaned() {
    let mut leaked = rsa("leaked");
    leaked["d"] = json!("AQ");
    let mut wordy = rsa("wordy");
    wordy["x5c"] = json!(["MII"]);
    wordy["comment"] = json!("ours");
    let shared = json!({ "kty": "oct", "kid": "shared", "k": "AQ" });
    let base = serve(vec![("/keys", "200 OK", set(&[wordy, leaked, shared]))]);
    let (status, stdout, stderr) = fetch(&[&format!("{base}/keys")]);
    assert_eq!(status, 0, "{stderr}");
    let printed: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(printed, json!({ "keys": [rsa("wordy")] }));
    assert_eq!(
        stderr,
        "usher: key `leaked` is left out: it holds private part `d`\n\
         usher: key `shared` is left out: a symmetric key counts only where `algorithms` lists an HS \
         algorithm\n"
    );
}

#[test]
fn an_issuer_says_where_its_keys_are() {
    let configuration = |issuer: &str, uri: &str| {
        let json = json!({ "issuer": issuer, "jwks_uri": uri }).to_string();
        ("/.well-known/openid-configuration", "200 OK", json)
    };
    let base = serve(vec![
        configuration("{base}", "{base}/certs"),
        ("/certs", "200 OK", set(&[rsa("a"), ed("b")])),
    ]);
    for from in [base.clone(), format!("{base}/.well-known/openid-configuration")] {
        let (status, stdout, stderr) = fetch(&[&from]);
        assert_eq!((status, stderr.as_str()), (0, ""), "{from}");
        assert_eq!(kids(&stdout), ["a", "b"], "{from}");
    }
    let base = serve(vec![configuration("https://other.example", "{base}/certs")]);
    let (status, _, stderr) = fetch(&[&base]);
    assert_eq!(status, 1);
    assert!(stderr.contains("expected issuer"), "{stderr}");
    let base = serve(vec![configuration("{base}", "http://169.254.169.254/latest")]);
    let (status, _, stderr) = fetch(&[&base]);
    assert_eq!(status, 1);
    assert!(stderr.contains("an address of metadata services"), "{stderr}");
}

#[test]
fn what_is_no_key_set_is_refused() {
    for (head, body, code, said) in [
        ("200 OK", "<html>".to_owned(), 1, "expected a JWK set, found no JSON object"),
        ("200 OK", json!({ "error": 1 }).to_string(), 1, "found another JSON object"),
        ("500 Oops", set(&[rsa("a")]), 1, "found status 500"),
        ("302 Found\r\nlocation: /other", String::new(), 1, "found a redirect to `/other`"),
        ("200 OK", set(&[]), 2, "lists no key that can be used"),
        ("200 OK", set(&[json!({ "kty": "RSA" })]), 2, "lists no key that can be used"),
        ("200 OK", set(&[rsa("a")]) + &" ".repeat(300_000), 1, "expected at most 262144 bytes"),
    ] {
        let base = serve(vec![("/keys", head, body)]);
        let (status, stdout, stderr) = fetch(&[&format!("{base}/keys")]);
        assert_eq!((status, stdout.as_str()), (code, ""), "{said}: {stderr}");
        assert!(stderr.contains(said), "{stderr} does not say {said}");
    }
}

#[test]
fn old_keys_are_kept_unless_forced() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let base = serve(vec![("/keys", "200 OK", set(&[rsa("new")]))]);
    let from = format!("{base}/keys");
    let old = write("old.json", &set(&[rsa("renamed"), ed("old")]));
    let (status, stdout, stderr) = fetch(&[&from, "--merge", &old]);
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(kids(&stdout), ["new", "old"], "the same key under another kid is the same key");
    assert_eq!(stderr, "usher: key `old` is kept: the server no longer lists it\n");

    let (status, stdout, stderr) = fetch(&[&from, "--merge", &old, "--force"]);
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(kids(&stdout), ["new"]);
    assert_eq!(stderr, "usher: key `old` is dropped\n");

    let unusable = write("unusable.json", &set(&[json!({ "kty": "RSA", "kid": "odd" })]));
    let (status, stdout, stderr) = fetch(&[&from, "--merge", &unusable]);
    assert_eq!((status, stdout.as_str()), (2, ""));
    assert_eq!(
        stderr,
        "usher: key `odd` would be lost: `n` is missing\n\
         usher: the set would shrink; --force has it so\n"
    );
    let (status, stdout, _) = fetch(&[&from, "--merge", &unusable, "--force"]);
    assert_eq!((status, kids(&stdout)), (0, vec!["new".to_owned()]));
}
