//! The formats for access logs that the documentation gives, in a real Envoy: those of a mesh's provider as
//! istiod hands them over (`labels`: a JSON object), and the same as a line of text (`text`).

use std::path::PathBuf;
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;
use usher_testkit::secrets;

const ISSUER: &str = "https://idp.example";

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "one"));

/// Where the logs go.
static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    let directory = secrets::folder().join("access_log-formats");
    let _ = std::fs::remove_dir_all(&directory);
    std::fs::create_dir_all(&directory).unwrap();
    directory.canonicalize().unwrap()
});

/// What a provider for access logs asks for, by the name that it gives it.
fn labels(document: &Value) -> &Value {
    let providers = document["extensionProviders"].as_array().expect("providers");
    &providers[0]["envoyFileAccessLog"]["logFormat"]["labels"]
}

/// Those of the documentation and of the shipped manifests, and where they stand.
fn formats() -> Vec<(&'static str, Value)> {
    let read = |path: &str| std::fs::read_to_string(paths::root().join(path)).unwrap();
    let guide = read("docs/observability.md");
    let start = guide.find("meshConfig:\n  extensionProviders:").expect("the guide's provider");
    let snippet = guide[start..].split("\n---\n").next().unwrap();
    let guide: Value = serde_yaml_ng::from_str(snippet).unwrap();
    let shipped: Value = serde_yaml_ng::from_str(&read("istio/mesh-config.yaml")).unwrap();
    vec![
        ("docs", labels(&guide["meshConfig"]).clone()),
        ("shipped", labels(&shipped).clone()),
        ("plain", plain(&read("docs/observability.md"))),
    ]
}

/// The documentation's format for a plain Envoy.
fn plain(guide: &str) -> Value {
    let start = guide.find("log_format:\n  json_format:").expect("the guide's format");
    let snippet = guide[start..].split("```").next().unwrap();
    let value: Value = serde_yaml_ng::from_str(snippet).unwrap();
    value["log_format"]["json_format"].clone()
}

/// `name=<what is asked for>` for each label.
fn as_text(labels: &Value) -> String {
    let fields = labels.as_object().unwrap().iter();
    let fields = fields.map(|(name, command)| format!("{name}={}", command.as_str().unwrap()));
    format!("{}\n", fields.collect::<Vec<_>>().join("|"))
}

fn listener(name: &str, log_format: Value) -> Setup {
    let key = &*KEY;
    let configuration = json!({
        "jwtRules": [{ "issuer": ISSUER, "name": "corp", "jwks": mint::jwks([key]) }],
        "authorizationPolicies": [
            { "name": "no-admin", "action": "DENY",
              "rules": [{ "to": [{ "operation": { "paths": ["/admin"] } }] }] },
            { "name": "staff", "rules": [{ "from": [{ "source": { "requestPrincipals": ["*"] } }] }] },
        ],
    });
    let log = json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
            "path": DIRECTORY.join(format!("{name}.log")),
            "log_format": log_format,
        },
    });
    Setup::plugin(configuration).manager(json!({ "access_log": [log] }))
}

/// The lines of a listener's log, each by the names of the format.
fn entries(name: &str, text: bool) -> Vec<Value> {
    let read = std::fs::read_to_string(DIRECTORY.join(format!("{name}.log")));
    let log = read.unwrap_or_default();
    let complete = log.rfind('\n').map_or("", |end| &log[..end]);
    let entry = |line: &str| {
        if !text {
            return serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        }
        let fields = line.split('|').map(|field| field.split_once('=').expect(line));
        // Envoy writes `-` for what it has not; in JSON it is null.
        let value = |value: &str| if value == "-" { Value::Null } else { json!(value) };
        Value::Object(fields.map(|(name, text)| (name.to_owned(), value(text))).collect())
    };
    complete.lines().map(entry).collect()
}

#[test]
fn the_documented_formats_tell_of_each_decision() {
    let formats = formats();
    let mut builder = Envoy::builder();
    for (name, labels) in &formats {
        let text = json!({ "text_format_source": { "inline_string": as_text(labels) } });
        builder = builder.listener(name, listener(name, json!({ "json_format": labels })));
        builder =
            builder.listener(&format!("{name}-text"), listener(&format!("{name}-text"), text));
    }
    let envoy = builder.start();
    let claims = mint::claims(ISSUER, "mmosley");
    let good = KEY.token(&claims);
    let expired = KEY.token(&mint::with(&claims, "exp", mint::now() - 600));
    let requests = [
        Request::get("/").bearer(&good),
        Request::get("/admin?q=1").bearer(&good),
        Request::get("/").bearer(&expired),
        Request::get("/"),
    ];
    let expected = [
        json!({ "status": "200", "details": "via_upstream", "decision": "allow", "reason": "allowed",
                "provider": "corp", "sub": "mmosley", "iss": ISSUER, "policy": "staff", "rule": "0" }),
        json!({ "status": "403", "details": "usher_denied{denied_by_rule}", "decision": "deny",
                "reason": "denied_by_rule", "provider": "corp", "sub": "mmosley", "iss": ISSUER,
                "policy": "no-admin", "rule": "0" }),
        json!({ "status": "401", "details": "usher_denied{token_expired}", "decision": "deny",
                "reason": "token_expired", "provider": null, "sub": null, "iss": null, "policy": null,
                "rule": null }),
        json!({ "status": "403", "details": "usher_denied{no_rule_matched}", "decision": "deny",
                "reason": "no_rule_matched", "provider": null, "sub": null, "iss": null, "policy": null,
                "rule": null }),
    ];
    for (name, labels) in &formats {
        for text in [false, true] {
            let name = if text { format!("{name}-text") } else { (*name).to_owned() };
            for request in &requests {
                envoy.listener(&name).http1(request);
            }
            let found =
                log::wait(|| Some(entries(&name, text)).filter(|all| all.len() == requests.len()));
            let found = found.unwrap_or_else(|| panic!("{name}: {:?}", entries(&name, text)));
            for (entry, expected) in found.iter().zip(&expected) {
                let entry = entry.as_object().unwrap();
                let asked: Vec<&String> = labels.as_object().unwrap().keys().collect();
                assert_eq!(entry.keys().collect::<Vec<_>>(), asked, "{name}");
                for (label, value) in expected.as_object().unwrap() {
                    let Some(told) = entry.get(label) else { continue };
                    // In JSON a number is one.
                    let told =
                        if told.is_number() { json!(told.to_string()) } else { told.clone() };
                    assert_eq!(&told, value, "{name}: {label} of {entry:?}");
                }
                let path = entry.get("path").and_then(Value::as_str);
                assert!(path.is_none_or(|path| !path.contains('?')), "{name}: {entry:?}");
            }
            for label in ["decision", "reason", "sub", "policy", "rule", "details"] {
                assert!(labels.get(label).is_some(), "{name} asks for no {label}");
            }
        }
    }
}
