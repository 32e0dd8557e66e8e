//! A wrong configuration loads, refuses every request, and says what is wrong with it.

use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

fn good() -> Value {
    json!({ "jwtRules": [{ "issuer": ISSUER, "jwks": mint::jwks([&*KEY]) }] })
}

/// The good configuration with `edit` done to its first rule.
fn rule(edit: impl FnOnce(&mut Value)) -> String {
    let mut configuration = good();
    edit(&mut configuration["jwtRules"][0]);
    configuration.to_string()
}

/// A listener's name, its pluginConfig, and for each line that Envoy's log must hold the parts of it.
struct Case(&'static str, Option<String>, &'static [&'static [&'static str]]);

static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
    let misspelt = json!({ "jwtRule": good()["jwtRules"] }).to_string();
    let several = json!({ "jwtRules": [
        { "isuer": ISSUER, "jwks": mint::jwks([&*KEY]) },
        { "issuer": 7, "jwks": "{", "forwardOriginalToken": "yes" },
    ]})
    .to_string();
    let private = {
        let mut set = mint::jwks([&*KEY]);
        set["keys"][0]["d"] = json!(mint::encode([1; 32]));
        rule(|rule| rule["jwks"] = set)
    };
    vec![
        Case("absent", None, &[&[""]]),
        Case("empty", Some(String::new()), &[&[""]]),
        Case("empty-object", Some("{}".to_owned()), &[&[""]]),
        Case("no-json", Some("jwtRules: []".to_owned()), &[&["expected JSON"]]),
        Case("a-list", Some("[]".to_owned()), &[&["expected", "found"]]),
        Case(
            "misspelt",
            Some(misspelt),
            &[&["jwtRule: unknown field `jwtRule`; did you mean `jwtRules`?"]],
        ),
        Case(
            "misspelt-in-rule",
            Some(rule(|rule| rule["audience"] = json!("kubernetes"))),
            &[&["jwtRules[0].audience: unknown field `audience`; did you mean `audiences`?"]],
        ),
        Case(
            "several",
            Some(several),
            &[
                &["jwtRules[0].isuer: unknown field `isuer`; did you mean `issuer`?"],
                &["jwtRules[1].issuer: expected", "found `7`"],
                &["jwtRules[1].jwks: "],
                &["jwtRules[1].forwardOriginalToken: expected", "found `yes`"],
            ],
        ),
        Case(
            "no-issuer",
            Some(rule(|rule| drop(rule.as_object_mut().unwrap().remove("issuer")))),
            &[&["jwtRules[0]", "issuer"]],
        ),
        Case(
            "no-keys",
            Some(rule(|rule| rule["jwks"] = json!({ "keys": [] }))),
            &[&["jwtRules[0].jwks"]],
        ),
        Case("private-key", Some(private), &[&["jwtRules[0].jwks", "private"]]),
        Case(
            "not-utf-8",
            Some("{\"jwtRules\": \"\u{fffd}\"}".to_owned()),
            &[&["jwtRules: expected"]],
        ),
    ]
});

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    let builder = Envoy::builder().listener("good", Setup::plugin(good()));
    let listener = |builder: usher_testkit::envoy::Builder, Case(name, configuration, _): &Case| {
        let setup = configuration.as_deref().map_or_else(Setup::plugin_absent, Setup::plugin_text);
        builder.listener(name, setup)
    };
    CASES.iter().fold(builder, listener).start()
});

#[test]
fn every_request_is_refused() {
    let token = KEY.token(&mint::claims(ISSUER, "mmosley"));
    for Case(name, ..) in CASES.iter() {
        let listener = ENVOY.listener(name);
        for request in [
            Request::get("/"),
            Request::get("/").bearer(&token),
            Request::get("/healthz").header("user-info", "forged").header("x-odd", b"\xff"),
            Request::new("POST", "/").body("b").trailer("user-info", "forged"),
            Request::new("OPTIONS", "/")
                .header("origin", "https://app.example")
                .header("access-control-request-method", "GET"),
        ] {
            for reply in listener.both(&request) {
                println!("{name}");
                listener.assert_denied(&reply, 503, "Service Unavailable", "config_invalid");
                assert_eq!(reply.header("www-authenticate"), None);
            }
        }
        let grpc = Request::new("POST", "/").header("content-type", "application/grpc");
        let reply = listener.http2(&grpc);
        listener.assert_denied(&reply, 200, "", "config_invalid");
        assert_eq!(reply.header("grpc-status"), Some("14"));
    }
    // Another plugin in the same VM is not affected.
    for reply in ENVOY.listener("good").both(&Request::get("/").bearer(&token)) {
        reply.passed();
    }
}

#[test]
fn the_log_tells_each_problem_with_its_place() {
    for Case(name, _, lines) in CASES.iter() {
        let warnings = ENVOY.log().warnings(name);
        for parts in *lines {
            let told = warnings.iter().any(|line| parts.iter().all(|part| line.contains(part)));
            assert!(told, "{name}: no line with {parts:?} in {warnings:#?}");
        }
    }
    // The line that each configuration in force has, and no other.
    let mut said = ENVOY.log().warnings("good");
    said.retain(|line| !line.contains("mode enforce; providers: `https://idp.example`"));
    assert_eq!(said, [""; 0]);
}
