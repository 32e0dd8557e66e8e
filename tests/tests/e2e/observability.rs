//! What the operator gets to see of a request, in a real Envoy: the decision log, filter state, metrics,
//! and the steps at log level debug.

use std::path::Path;
use std::sync::LazyLock;

use serde_json::{Value, json};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::log;
use usher_testkit::mint::{self, Key};
use usher_testkit::paths;
use usher_testkit::stats::{self, Series, Tags};
use usher_testkit::tls::{Authority, SERVER};

const ISSUER: &str = "https://idp.cache.example";

/// `usher_core::observe::decision_log::LINE_BYTES`.
const LINE_BYTES: usize = 8192;

static KEY: LazyLock<Key> = LazyLock::new(|| Key::new("ES256", "key one;.;=\"\u{e9}"));
static AUTHORITY: LazyLock<Authority> = LazyLock::new(Authority::new);

fn configuration() -> Value {
    json!({
        "jwtRules": [{
            "issuer": ISSUER, "jwks": mint::jwks([&*KEY]), "outputPayloadToHeader": "X-User",
            "fromParams": ["t"], "fromHeaders": [{ "name": "authorization", "prefix": "Bearer " }],
        }],
        "authorizationPolicies": [
            { "name": "no-admin", "action": "DENY",
              "rules": [{ "to": [{ "operation": { "paths": ["/admin*"] } }] }] },
            { "name": "staff", "action": "ALLOW", "rules": [
                { "from": [{ "source": { "requestPrincipals": ["*"] } }] },
                { "to": [{ "operation": { "paths": ["/open*"] } }] },
            ]},
            { "name": "watch", "action": "AUDIT",
              "rules": [{ "to": [{ "operation": { "paths": ["/watched"] } }] }] },
            { "name": "planned", "action": "DENY", "dryRun": true,
              "rules": [{ "to": [{ "operation": { "paths": ["/planned"] } }] }] },
        ],
    })
}

fn with(edit: impl FnOnce(&mut Value)) -> Setup {
    let mut configuration = configuration();
    edit(&mut configuration);
    Setup::plugin(configuration)
}

static ENVOY: LazyLock<Envoy> = LazyLock::new(|| {
    Envoy::builder()
        .listener("denied", with(|_| {}))
        .listener(
            "all",
            with(|c| {
                // Its tests send many refusals, and look for the line of each.
                c["decisionLog"] = json!({
                    "emit": "all", "claims": ["sub", "n"], "refusalsPerSecond": "unlimited",
                });
            }),
        )
        .listener("none", with(|c| c["decisionLog"] = json!({ "emit": "none" })))
        .listener("tenth", with(|c| c["decisionLog"] = json!({ "emit": "all", "sample": 0.1 })))
        .listener(
            "hashed",
            with(|c| {
                c["decisionLog"] =
                    json!({ "emit": "all", "hash": true, "hashKey": "0123456789abcdef" });
            }),
        )
        .listener("random", with(|c| c["decisionLog"] = json!({ "emit": "all", "hash": true })))
        .listener("dry", with(|c| c["mode"] = json!("dryRun")))
        .listener("tls", with(|_| {}).tls(AUTHORITY.downstream(true)))
        .listener("broken", Setup::plugin(json!({ "jwtRule": [] })))
        .start()
});

fn claims() -> Value {
    mint::claims(ISSUER, "mmosley")
}

/// The decision log's lines of a plugin so far, each read and held against the schema.
fn lines(envoy: &Envoy, plugin: &str) -> Vec<(String, Value)> {
    static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
        let path = paths::root().join("docs/decision-log.schema.json");
        let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        jsonschema::validator_for(&schema).unwrap()
    });
    let text = envoy.log().text();
    let complete = text.rfind('\n').map_or("", |end| &text[..end]);
    let of_plugin = format!(" wasm log {plugin} ");
    let lines = complete.lines().filter(|line| line.contains(&of_plugin) && line.contains(": {"));
    lines
        .map(|line| {
            let (head, object) = line.split_once(": {").unwrap();
            let object = format!("{{{object}");
            assert!(object.len() <= LINE_BYTES, "{} bytes: {object}", object.len());
            let value: Value =
                serde_json::from_str(&object).unwrap_or_else(|error| panic!("{error}: {object}"));
            let problems: Vec<_> = SCHEMA.iter_errors(&value).map(|e| e.to_string()).collect();
            assert!(problems.is_empty(), "{problems:?}: {object}");
            let level = if head.contains("[warning]") { "warning" } else { "info" };
            (level.to_owned(), value)
        })
        .collect()
}

/// The level and the line of the request with this id.
fn line(envoy: &Envoy, plugin: &str, id: &str) -> Option<(String, Value)> {
    lines(envoy, plugin).into_iter().find(|(_, line)| line["request_id"] == id)
}

#[track_caller]
fn expect_line(plugin: &str, id: &str) -> (String, Value) {
    log::wait(|| line(&ENVOY, plugin, id)).unwrap_or_else(|| panic!("no line of {plugin} for {id}"))
}

/// Sends a request with an id of its own.
fn send(listener: &Listener<'_>, request: &Request) -> String {
    let id = format!("id-{}", mint::encode(rand()));
    listener.http1(&request.clone().header("x-request-id", &id));
    id
}

fn rand() -> [u8; 12] {
    let mut bytes = [0; 12];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut bytes).unwrap();
    bytes
}

#[test]
fn a_refusal_is_told_in_full() {
    let listener = ENVOY.listener("denied");
    let token = KEY.token(&mint::with(&claims(), "act", json!({ "sub": "cron" })));
    let request = Request::get("/admin/x?q=query-secret").bearer(&token);
    let request = request.header("x_user", "forged").header("traceparent", "00-0af7-b7ad-01");
    let id = send(&listener, &request);
    let (level, mut line) = expect_line("denied", &id);
    assert_eq!(level, "warning");
    assert!(line["time"].take().as_i64().is_some_and(|time| (mint::now() - time).abs() < 600));
    line.as_object_mut().unwrap().remove("time");
    line.as_object_mut().unwrap().remove("cached");
    let expected = json!({
        "generation": 1, "decision": "deny", "enforced": true, "status": 403, "reason": "denied_by_rule",
        "provider": ISSUER, "kid": KEY.kid, "alg": "ES256", "policy": "no-admin", "rule": 0, "audit": false,
        "dry_run_deny": "allow", "claims": { "sub": "mmosley" }, "actor": "cron",
        "method": "GET", "host": "service.example", "path": "/admin/x", "remote_ip": "127.0.0.1",
        "request_id": id, "traceparent": "00-0af7-b7ad-01", "spoofed": ["x_user"],
    });
    assert_eq!(line, expected);
}

#[test]
fn each_decision_has_its_line() {
    let good = KEY.token(&claims());
    let expired = KEY.token(&mint::with(&claims(), "exp", mint::now() - 600));
    for (plugin, request, expected) in [
        (
            "denied",
            Request::get("/").bearer(&expired),
            json!({ "decision": "deny", "reason": "token_expired", "status": 401, "provider": ISSUER, "kid": KEY.kid }),
        ),
        (
            "denied",
            Request::get("/"),
            json!({ "decision": "deny", "reason": "no_rule_matched", "nearest_rule": "ns[default]-policy[staff]-rule[0]" }),
        ),
        (
            "all",
            Request::get("/").bearer(&good),
            json!({ "decision": "allow", "reason": "allowed", "status": 200, "policy": "staff", "rule": 0 }),
        ),
        (
            "denied",
            Request::get("/planned").bearer(&good),
            json!({ "decision": "allow", "dry_run_deny": "deny" }),
        ),
        (
            "denied",
            Request::get("/watched").bearer(&good),
            json!({ "decision": "allow", "audit": true }),
        ),
        (
            "dry",
            Request::get("/").bearer(&expired),
            json!({ "decision": "deny", "enforced": false, "status": 200, "reason": "token_expired" }),
        ),
        (
            "broken",
            Request::get("/").bearer(&good),
            json!({ "decision": "deny", "status": 503, "reason": "config_invalid", "generation": 0 }),
        ),
    ] {
        let id = send(&ENVOY.listener(plugin), &request);
        let (level, line) = expect_line(plugin, &id);
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(&line[name], value, "{name} of {line}");
        }
        let loud =
            line["decision"] == "deny" || line["audit"] == true || line["dry_run_deny"] == "deny";
        assert_eq!(level, if loud { "warning" } else { "info" }, "{line}");
    }
}

#[test]
fn what_is_not_wanted_is_not_written() {
    let good = KEY.token(&claims());
    let allowed = send(&ENVOY.listener("denied"), &Request::get("/").bearer(&good));
    let silent = send(&ENVOY.listener("none"), &Request::get("/"));
    let last = send(&ENVOY.listener("denied"), &Request::get("/"));
    expect_line("denied", &last);
    assert_eq!(line(&ENVOY, "denied", &allowed), None);
    assert_eq!(line(&ENVOY, "none", &silent), None);
    for _ in 0..40 {
        send(&ENVOY.listener("tenth"), &Request::get("/").bearer(&good));
    }
    let last = send(&ENVOY.listener("tenth"), &Request::get("/"));
    expect_line("tenth", &last);
    let allowed = lines(&ENVOY, "tenth").iter().filter(|(_, l)| l["decision"] == "allow").count();
    assert!((3..=5).contains(&allowed), "{allowed} of 40");
}

#[test]
fn claims_can_be_hashed() {
    let token = KEY.token(&claims());
    let sub = |plugin: &str| {
        let id = send(&ENVOY.listener(plugin), &Request::get("/").bearer(&token));
        expect_line(plugin, &id).1["claims"]["sub"].as_str().unwrap().to_owned()
    };
    // printf mmosley | openssl dgst -sha256 -hmac 0123456789abcdef
    assert_eq!(sub("hashed"), "54ed59c7789cf1097d683d4f6073c9e421ca1f0f3d8d75f3f87fc9619d357c5e");
    let (one, two) = (sub("random"), sub("random"));
    assert_eq!((one.len(), &one), (64, &two), "one key as long as the proxy lives");
    assert_ne!(one, sub("hashed"));
}

#[test]
fn the_peer_is_named() {
    let client = AUTHORITY.client(&["spiffe://cluster.local/ns/shop/sa/web"], &[]);
    let id = format!("id-{}", mint::encode(rand()));
    let request = Request::get("/").header("x-request-id", &id);
    ENVOY.listener("tls").tls(&AUTHORITY, Some(&client), SERVER, &request);
    let (_, line) = expect_line("tls", &id);
    assert_eq!(line["peer"], "spiffe://cluster.local/ns/shop/sa/web");
}

/// For any bytes of a request each line is one JSON object, and no request can start a line.
#[test]
fn any_bytes_give_one_object_a_line() {
    let listener = ENVOY.listener("all");
    let nasty: Vec<Vec<u8>> = vec![
        b"\"".to_vec(),
        b"\\\"},{\"decision\":\"allow\"".to_vec(),
        b"\x1b[31m\x7f\t".to_vec(),
        b"\xff\xfe\xc3\x28\xed\xa0\x80".to_vec(),
        "\u{2028}\u{202e}\u{9b}\u{e9}\u{1f600}".as_bytes().to_vec(),
        vec![b'"'; 60 << 10],
        vec![b'x'; 60 << 10],
        vec![0xff; 60 << 10],
        b"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJ4In0.c2lnbmF0dXJl".to_vec(),
    ];
    // Envoy itself refuses some with 400, which never reach the filter.
    let decided = |reply: &Reply| [200, 401, 403].contains(&reply.status);
    let before = lines(&ENVOY, "all").len();
    let mut sent = 0;
    for bytes in &nasty {
        let path = [b"/p/", bytes.as_slice()].concat();
        let encoded: String = bytes.iter().take(19_000).map(|b| format!("%{b:02x}")).collect();
        let text = String::from_utf8_lossy(bytes);
        let named =
            mint::with(&mint::with(&claims(), "sub", &*text), "n", json!([&*text, 1.5, null]));
        let token = KEY.token(&named);
        for request in [
            Request::get(&path),
            Request::get(format!("/{encoded}")),
            Request::get("/").header("x-request-id", bytes).header("traceparent", bytes),
            Request::get("/").header("x_user", bytes).header("authorization", bytes),
            Request::get("/").bearer(&token),
            Request::get(format!("/;{token}?t={token}")),
        ] {
            let reply = listener.http1(&request);
            sent += usize::from(decided(&reply));
        }
        let host = b"GET / HTTP/1.1\r\nx-case: {case}\r\nconnection: close\r\nhost: ";
        let raw = [host.as_slice(), bytes, b"\r\n\r\n"].concat();
        if !bytes.iter().any(|byte| byte.is_ascii_control()) {
            let reply = listener.raw(&raw);
            sent += usize::from(decided(&reply));
        }
    }
    assert!(sent > 30, "{sent} requests reached the filter");
    let all = log::wait(|| Some(lines(&ENVOY, "all")).filter(|lines| lines.len() >= before + sent));
    assert!(all.is_some(), "{} lines, {sent} requests", lines(&ENVOY, "all").len() - before);
    for line in ENVOY.log().text().lines() {
        assert!(line.starts_with('['), "begun by a request: {line}");
    }
}

#[test]
fn filter_state_is_printable() {
    let listener = ENVOY.listener("denied");
    let sub = "a\"b\\c\n\u{e9} d";
    let token = KEY.token(&mint::with(&claims(), "sub", sub));
    for reply in listener.both(&Request::get("/open").bearer(&token)) {
        let entry = listener.entry(&reply);
        assert_eq!(entry.sub.as_deref(), Some("a%22b%5Cc%0A%C3%A9 d"), "{reply}");
        assert_eq!((entry.policy.as_deref(), entry.rule.as_deref()), (Some("staff"), Some("1")));
    }
}

/// The same series come out by the rules of `envoy/envoy.yaml` and by those of Istio's bootstrap.
#[test]
fn metrics_have_clean_names_and_labels() {
    for tags in [Tags::Envoy, Tags::Istio] {
        let envoy = Envoy::builder()
            .listener("shop.usher", with(|_| {}))
            .listener("dry", with(|c| c["mode"] = json!("dryRun")))
            .listener("broken", Setup::plugin(json!({ "jwtRule": [] })))
            .tags(tags)
            .start();
        let listener = envoy.listener("shop.usher");
        let token = KEY.token(&claims());
        let stranger = Key::new("ES256", "another").token(&claims());
        for _ in 0..3 {
            listener.http1(&Request::get("/").bearer(&token));
        }
        listener.http1(&Request::get("/admin").bearer(&token).header("X_User", "forged"));
        listener.http1(&Request::get("/planned").bearer(&token));
        listener.http1(&Request::get("/").bearer(&stranger));
        envoy.listener("dry").http1(&Request::get("/"));
        envoy.listener("broken").http1(&Request::get("/"));
        let series = envoy.metrics();
        let count = |name: &str, labels: &[(&str, &str)]| stats::sum(&series, name, labels);
        let decisions = |labels: &[(&str, &str)]| count("usher_decisions_total", labels);
        let provider = "https://idp.cache%2Eexample";
        for (found, expected, what) in [
            (decisions(&[("plugin", "shop.usher")]), 6.0, "all of a plugin"),
            (
                decisions(&[
                    ("decision", "allow"),
                    ("provider", provider),
                    ("policy", "default/staff"),
                    ("rule", "0"),
                ]),
                4.0,
                "allowed",
            ),
            (
                decisions(&[
                    ("reason", "denied_by_rule"),
                    ("policy", "default/no-admin"),
                    ("enforced", "true"),
                ]),
                1.0,
                "denied",
            ),
            (
                decisions(&[("reason", "key_unknown"), ("provider", provider), ("policy", "none")]),
                1.0,
                "unknown kid",
            ),
            (
                decisions(&[("plugin", "dry"), ("decision", "deny"), ("enforced", "false")]),
                1.0,
                "dry run",
            ),
            (decisions(&[("plugin", "broken"), ("reason", "config_invalid")]), 1.0, "invalid"),
            (
                count("usher_key_requests_total", &[("kid", "key%20one%3B.%3B%3D%22%C3%A9")]),
                5.0,
                "by kid",
            ),
            (
                count("usher_identity_headers_stripped_total", &[("header", "x-user")]),
                1.0,
                "stripped",
            ),
            (
                count(
                    "usher_dry_run_verdicts_total",
                    &[("action", "DENY"), ("verdict", "deny"), ("plugin", "shop.usher")],
                ),
                1.0,
                "dry-run policy",
            ),
            (
                count("usher_jwks_keys", &[("plugin", "shop.usher"), ("provider", provider)]),
                1.0,
                "keys",
            ),
            (count("usher_config_valid", &[("plugin", "shop.usher")]), 1.0, "valid"),
            (count("usher_config_valid", &[("plugin", "broken")]), 0.0, "not valid"),
            (count("usher_config_generation", &[("plugin", "shop.usher")]), 1.0, "generation"),
            (
                count(
                    "usher_build_info",
                    &[("plugin", "shop.usher"), ("version", env!("CARGO_PKG_VERSION"))],
                ),
                1.0,
                "version",
            ),
        ] {
            assert_eq!(found, expected, "{tags:?}: {what}: {series:#?}");
        }
        assert!(
            count("usher_signature_checks_total", &[("algorithm", "ES256")]) >= 1.0,
            "{tags:?}"
        );
        for one in &series {
            assert_known(one);
        }
    }
}

/// A series of the list, with its labels and no others.
fn assert_known(series: &Series) {
    let family =
        usher_core::observe::metrics::family::ALL.iter().find(|family| family.name == series.name);
    let family = family.unwrap_or_else(|| panic!("not in the list: {series:?}"));
    let mut expected: Vec<&str> = family.labels.to_vec();
    expected.push("plugin");
    expected.sort_unstable();
    let labels: Vec<&str> = series.labels.keys().map(String::as_str).collect();
    assert_eq!(labels, expected, "{series:?}");
}

#[test]
fn a_new_configuration_is_counted_and_hashed() {
    let envoy = Envoy::builder().listener("g", with(|_| {}).discovered()).start();
    let value = |name: &str| stats::sum(&envoy.metrics(), name, &[("plugin", "g")]);
    let first = value("usher_config_hash");
    assert_eq!(value("usher_config_generation"), 1.0);
    envoy.reconfigure("g", with(|c| c["decisionLog"] = json!({ "emit": "all" })).discovered());
    let second = log::wait(|| Some(value("usher_config_hash")).filter(|hash| *hash != first));
    assert!(second.is_some(), "the hash is another's");
    assert_eq!(value("usher_config_generation"), 2.0);
    envoy.reconfigure("g", Setup::plugin(json!({ "jwtRule": [] })).discovered());
    let valid = log::wait(|| Some(value("usher_config_valid")).filter(|valid| *valid == 0.0));
    assert!(valid.is_some(), "not valid");
    assert_eq!(value("usher_config_generation"), 2.0, "that was not put in force");
}

#[test]
fn the_steps_are_told_at_debug_and_no_secret() {
    let envoy = Envoy::builder().listener("d", with(|_| {})).start();
    let listener = envoy.listener("d");
    let token = KEY.token(&claims());
    let quiet = format!("id-{}", mint::encode(rand()));
    listener.http1(&Request::get("/").bearer(&token).header("x-request-id", &quiet));
    envoy.log_wasm("debug");
    // The module asks for the level once a second.
    let id = log::wait(|| {
        let id = format!("id-{}", mint::encode(rand()));
        let request =
            Request::get("/admin?q=query-secret").bearer(&token).header("x_user", "forged-value");
        listener.http1(&request.header("x-request-id", &id));
        envoy.log().text().contains(&format!("usher: {id}: ")).then_some(id)
    });
    let id = id.expect("the steps are told");
    for step in ["scrub: removed `x_user`", "token: ", "denied: "] {
        envoy.log().line_with(&["[debug]", &format!("usher: {id}: {step}")]);
    }
    let text = envoy.log().text();
    assert!(!text.contains(&format!("usher: {quiet}")), "told before the level was set");
    let signature = token.rsplit_once('.').unwrap().1;
    for secret in [mint::payload(&token), signature, "query-secret", "forged-value", mint::PRIVATE]
    {
        assert!(!text.contains(secret), "{secret}");
    }
}

#[test]
fn a_configuration_introduces_itself() {
    let version = env!("CARGO_PKG_VERSION");
    let line = ENVOY.log().line_with(&[
        "[warning]",
        "wasm log denied ",
        &format!("usher: {version}, configuration "),
    ]);
    for part in [
        "mode enforce",
        "providers: `https://idp.cache.example` (usable keys: 1)",
        "policies: 4",
        "ES256 by ",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    ENVOY.log().line_with(&["wasm log dry ", "mode dryRun"]);
}

/// What the documentation has operators paste is complete.
#[test]
fn the_documentation_names_every_metric_label_and_field() {
    let read = |path: &str| std::fs::read_to_string(paths::root().join(Path::new(path))).unwrap();
    let guide = read("docs/observability.md");
    for family in usher_core::observe::metrics::family::ALL {
        let labels: String =
            family.labels.iter().map(|label| format!("`{label}`")).collect::<Vec<_>>().join(", ");
        let kind = format!("{:?}", family.kind).to_lowercase();
        let row = format!("| `{}` | {kind} | {labels} | {} |", family.name, family.help);
        assert!(guide.contains(&row), "docs/observability.md lacks the line\n{row}");
    }
    let labels = usher_core::observe::metrics::family::labels();
    let istio = format!("extraStatTags: [{}]", labels.join(", "));
    assert!(guide.contains(&istio), "docs/observability.md lacks\n{istio}");
    for label in labels {
        let rule = format!(
            "- {{tag_name: {label}, regex: '{}'}}",
            usher_core::observe::metrics::stat::tag_rule(label)
        );
        assert!(guide.contains(&rule), "docs/observability.md lacks\n{rule}");
        assert!(read("envoy/envoy.yaml").contains(&rule), "envoy/envoy.yaml lacks\n{rule}");
    }
    let schema: Value = serde_json::from_str(&read("docs/decision-log.schema.json")).unwrap();
    for name in schema["properties"].as_object().unwrap().keys() {
        assert!(guide.contains(&format!("`{name}`")), "docs/observability.md lacks `{name}`");
    }
}
