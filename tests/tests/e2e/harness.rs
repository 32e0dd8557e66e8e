//! The harness itself: through an Envoy without Usher everything arrives as it was sent, and nothing is
//! skipped in silence.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::jwt_authn;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths::root;
use usher_testkit::tls::{Authority, SERVER};

static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    Envoy::builder()
        .listener("open", Setup::open())
        .listener("tls", Setup::open().tls(AUTHORITY.downstream(true)))
        .listener("connect", Setup::open().accept_connect())
        .listener("native", Setup::open().ahead(jwt_authn::filter(&native_rules())))
        .start()
});

static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let algorithms = ["RS256", "RS512", "PS256", "PS384", "ES256", "ES384", "EdDSA"];
    algorithms.iter().map(|alg| Key::new(alg, alg)).collect()
});

/// Of Envoy's own filter, to try our tokens on.
fn native_rules() -> Value {
    json!([{ "issuer": "idp", "jwks": mint::jwks(&*KEYS), "outputPayloadToHeader": "x-payload" }])
}

#[test]
fn our_tokens_are_good_to_another_verifier() {
    let listener = ENVOY.listener("native");
    for key in KEYS.iter() {
        let token = key.token(&mint::claims("idp", "mmosley"));
        let reply = listener.http1(&Request::get("/").bearer(&token));
        assert_eq!(reply.passed().values("x-payload").len(), 1, "{}: {reply}", key.alg);
        let reply = listener.http1(&Request::get("/").bearer(&format!("{token}AAAA")));
        assert_eq!(reply.status, 401, "{}: {reply}", key.alg);
    }
    let expired = mint::with(&mint::claims("idp", "mmosley"), "exp", mint::now() - 90);
    let reply = listener.http1(&Request::get("/").bearer(&KEYS[0].token(&expired)));
    assert_eq!((reply.status, reply.text().as_str()), (401, "Jwt is expired"));
}

#[test]
fn header_bytes_arrive_as_sent() {
    let request = Request::get("/p?q=%41")
        .header("X-Bytes", b"\xff\xfe caf\xe9")
        .header("x-twice", "one")
        .header("x-twice", "two")
        .header("user_info", "underscore")
        .header("user.info", "dot")
        .header("user!info", "bang");
    for reply in ENVOY.listener("open").both(&request) {
        let seen = reply.passed();
        assert_eq!((seen.method.as_str(), seen.path.as_str()), ("GET", "/p?q=%41"));
        assert_eq!(seen.values("x-bytes"), [b"\xff\xfe caf\xe9"]);
        assert_eq!(seen.values("x-twice"), [b"one", b"two"]);
        assert_eq!(seen.folding_to("user-info").len(), 3, "{seen:#?}");
        assert_eq!(reply.text(), "hello");
        assert_eq!(ENVOY.listener("open").entry(&reply).details.as_deref(), Some("via_upstream"));
    }
}

#[test]
fn body_and_trailers_arrive_as_sent() {
    let request = Request::new("POST", "/")
        .body("body")
        .trailer("X-Sum", "1")
        .trailer("x-sum", b"\xe9")
        .trailer("user_info", "t");
    for reply in ENVOY.listener("open").both(&request) {
        let seen = reply.passed();
        assert_eq!(seen.body, b"body");
        let sums: Vec<_> = seen.trailers.iter().filter(|(name, _)| name == "x-sum").collect();
        assert_eq!(sums.len(), 2, "{seen:#?}");
        assert_eq!(seen.folding_to("user-info"), [("user_info", b"t".as_slice())]);
    }
}

#[test]
fn both_protocols_reach_the_service_as_themselves() {
    let [one, two] = ENVOY.listener("open").both(&Request::get("/"));
    assert_eq!(format!("{:?}", one.passed().version), "HTTP/1.1");
    assert_eq!(format!("{:?}", two.passed().version), "HTTP/2.0");
}

#[test]
fn client_certificates_are_asked_for() {
    let client = AUTHORITY.client(&["spiffe://cluster.local/ns/shop/sa/web"], &[]);
    for sni in [SERVER.to_owned(), format!("shop.{SERVER}")] {
        let reply = ENVOY.listener("tls").tls(&AUTHORITY, Some(&client), &sni, &Request::get("/"));
        assert_eq!(reply.passed().path, "/");
    }
}

#[test]
fn connect_has_no_path() {
    let reply = ENVOY.listener("connect").raw(
        b"CONNECT service.example:443 HTTP/1.1\r\nhost: service.example:443\r\nx-case: {case}\r\n\r\n",
    );
    assert_eq!((reply.passed().method.as_str(), reply.passed().path.as_str()), ("CONNECT", ""));
}

/// Runs a tool in a folder of its own. What is skipped there is not skipped here.
fn tool(name: &str, arguments: &[&str], require_all: &str, folder: &Path) -> Output {
    Command::new(root().join("tools").join(name))
        .args(arguments)
        .current_dir(folder)
        .env("USHER_REQUIRE_ALL", require_all)
        .env("USHER_SKIPS", folder.join("skips"))
        .env("SKIP", root().join("tools/skip"))
        .output()
        .unwrap()
}

#[test]
fn a_skip_is_said_and_collected_or_fails() {
    for (what, require_all, skipped, message) in [
        ("kubectl", "", true, "a skip"),
        ("kubectl", "0", true, "nothing is required"),
        ("kubectl", "1", false, "all is required"),
        ("test-containers", "1", true, "all is required, but this is allowed"),
        ("test.containers", "1", false, "a name is no pattern"),
        ("test-containers: a container engine needs", "1", false, "a name is the whole name"),
        ("# What may be skipped", "1", false, "a comment allows nothing"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = tool("skip", &[what, "none here"], require_all, folder.path());
        let collected = std::fs::read_to_string(folder.path().join("skips")).unwrap_or_default();
        let said = String::from_utf8(run.stderr).unwrap();
        assert_eq!(run.status.success(), skipped, "{message}");
        if skipped {
            assert_eq!(said, format!("SKIPPED: {what}: none here\n"), "{message}");
            assert_eq!(collected, format!("{what}: none here\t\n"), "{message}");
        } else {
            assert!(said.starts_with(&format!("NOT SKIPPED: {what}: none here")), "{message}");
            assert_eq!(collected, "", "{message}");
        }
    }
}

#[test]
fn the_last_lines_count_what_ran_and_what_was_skipped() {
    let one = "echo 'test a ... ok'; echo 'test b ... ignored, later'; echo 'test c ... ignored'
        echo 'test result: ok. 1 passed; 0 failed; 2 ignored; 0 measured'";
    let skips =
        "$SKIP kubectl 'none here' a; $SKIP kubectl 'none here'; $SKIP test-image 'no skopeo here'";
    // With `--nocapture` the outcome of a test stands on a line of its own.
    let later =
        "echo 'test b ... 20 logs'; echo ok; echo 'test result: ok. 1 passed; 0 failed; 0 ignored'";
    let broken = "echo 'test result: FAILED. 3 passed; 2 failed; 0 ignored'; exit 101";
    let not_run = "failed: sh -c ..: exit status 101; what stands after the failure was not run";
    for (script, require_all, status, expected) in [
        ("true", "", 0, "skipped: 0"),
        (
            &*[one, skips, later].join("\n"),
            "",
            0,
            "tests: 2 passed, 0 failed; 2 skipped, some in part\nskipped: 3\n  kubectl: none here (a)\n  \
             test-image: no skopeo here\n  c: ignored: no reason is given",
        ),
        (
            one,
            "1",
            1,
            "tests: 1 passed, 0 failed; 2 skipped, some in part\nskipped: 2\n  b: ignored: later\n  c: ignored: no reason is given\n\
             failed: USHER_REQUIRE_ALL is set, and ignored was: b, c",
        ),
        (
            broken,
            "",
            101,
            &format!("tests: 3 passed, 2 failed; 0 skipped, some in part\nskipped: 0\n{not_run}"),
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = tool("tally", &["sh", "-c", script], require_all, folder.path());
        let out = String::from_utf8(run.stdout).unwrap().replace(script, "..");
        assert_eq!(run.status.code(), Some(status), "{script}: {out}");
        let (before, last) = out.rsplit_once("\n\n").unwrap_or(("", out.trim_start()));
        assert_eq!(last.trim_end(), expected, "{script}");
        assert_eq!(before.is_empty(), !script.contains("echo"), "the output goes through: {out}");
    }
}
