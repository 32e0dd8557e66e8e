//! A sample of the measured scenarios through the module in a real Envoy: mutual TLS with the clients'
//! very certificates, server names, loopback addresses, `x-forwarded-for`, other filters' metadata.
//! Status, deciding rule and forwarded path must be what Istio's compiler and Envoy's RBAC make of them.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::ServerName;
use usher_core::path::normalize;
use usher_core::policy::Normalization;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request, http1};
use usher_testkit::envoy::Envoy;
use usher_testkit::log::wait;
use usher_testkit::ports::free_row;
use usher_testkit::tls::{Authority, Identity};
use usher_testkit::{spelling, vectors};

/// Of 660 scenarios, and of the requests of each.
const EVERY: usize = 5;
const REQUESTS: usize = 4;

/// The ports of the vectors: the first two speak TLS, the others do not.
const PORTS: [(&str, bool); 4] =
    [("11443", true), ("11444", true), ("11080", false), ("11081", false)];

/// Filters and keys of the vectors' metadata.
const METADATA: [(&str, &str); 4] = [
    ("envoy.filters.http.custom", "color"),
    ("envoy.filters.http.custom", "tags"),
    ("envoy.filters.network.peer", "id"),
    ("envoy.filters.network.peer", "color"),
];

#[test]
fn a_sample_is_decided_as_istio_and_envoy_do() {
    let jwks = vectors::json("authz/jwks.json");
    let text = vectors::text("authz/policies.jsonl");
    let mut ports = std::iter::repeat_with(|| free_row(1));
    let scenarios: Vec<Scenario> =
        text.lines().step_by(EVERY).map(|line| Scenario::new(line, &mut ports)).collect();
    assert!(scenarios.len() >= 100, "a sample of {}", scenarios.len());

    let authority = Authority::new();
    let mut builder = Envoy::builder();
    for scenario in &scenarios {
        for (port, tls) in scenario.ports() {
            let setup = setup(scenario, &jwks, port);
            let tls = tls.then(|| authority.downstream_named(false, &NAMES, &addresses()));
            let setup = tls.into_iter().fold(setup, Setup::tls);
            builder = builder.listener(&format!("{}:{port}", scenario.id), setup);
        }
    }
    let envoy = builder.start();

    let mut clients = Clients { authority, certificates: HashMap::new() };
    let mut answers = Vec::new();
    for scenario in &scenarios {
        for request in scenario.requests() {
            let listener = format!("{}:{}", scenario.id, request["destination_port"]);
            answers.push((scenario, request, clients.send(&envoy, &listener, request)));
        }
    }
    let log = wait(|| {
        Some(envoy.access_log().entries()).filter(|entries| entries.len() >= answers.len())
    });
    let entries = log.expect("an entry for every request").into_iter();
    let entries: HashMap<_, _> =
        entries.filter_map(|entry| Some((entry.case.clone()?, entry))).collect();

    let (mut decided, mut stricter, mut respelled, mut wrong) = (0, 0, 0, Vec::new());
    for (scenario, request, reply) in &answers {
        let entry = &entries[&reply.case];
        if entry.reason.as_deref() == Some("path_unsafe") && has_two_readings(scenario, request) {
            assert_eq!(reply.status, 400, "{reply}");
            stricter += 1;
            continue;
        }
        let expect = &request["expect"];
        let mut expected = json!({"status": expect["status"]});
        // The service behind may take offence at what Envoy lets pass.
        let passed = entry.decision.as_deref() == Some("allow");
        let mut got = json!({"status": if passed { 200 } else { reply.status }});
        if let Some(matched) = expect.get("matched") {
            let rule = matched.as_str().filter(|name| *name != "none");
            expected["rule"] = rule.into();
            got["rule"] = scenario.rule_name(entry.policy.as_deref(), entry.rule.as_deref());
        }
        if let Some(seen) = reply.seen.as_ref().filter(|_| reply.status == 200) {
            expected["path"] = request["path_seen"].clone();
            got["path"] = seen.path.as_str().into();
        }
        let text = |field: &str| request[field].as_str().unwrap();
        let policies = &vectors::plugin_config(&scenario.value, &jwks)["authorizationPolicies"];
        if got == expected {
            decided += 1;
        } else if reply.status == 403
            && spelling::class(policies, text("authority"), text("path_seen")).is_some()
        {
            respelled += 1;
        } else {
            let id = &scenario.id;
            wrong.push(format!("{id}: expected {expected}, got {got} {entry:?}\n  {request}"));
        }
    }
    println!(
        "{} scenarios: {decided} requests alike, {stricter} refused, {respelled} other spellings",
        scenarios.len()
    );
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// Server names of the vectors.
const NAMES: [&str; 3] = ["foo.example.com", "bar.foo.example.com", "internal"];

/// Loopback addresses of the vectors.
fn addresses() -> Vec<IpAddr> {
    [[127, 0, 0, 1], [127, 0, 0, 9], [127, 1, 2, 3], [127, 200, 0, 7]].map(IpAddr::from).into()
}

struct Scenario {
    id: String,
    value: Value,
}

impl Scenario {
    /// Its ports become free ones of this machine, in policies and requests alike.
    fn new(line: &str, free: &mut impl Iterator<Item = u16>) -> Self {
        let mut line = line.to_owned();
        for (port, _) in PORTS {
            if line.contains(port) {
                line = line.replace(port, &free.next().unwrap().to_string());
            }
        }
        let value: Value = serde_json::from_str(&line).unwrap();
        Self { id: value["id"].as_str().unwrap().to_owned(), value }
    }

    /// A few of its requests, but none with a fragment: Envoy itself refuses it here (400), Istio's
    /// runtime lets it cut.
    fn requests(&self) -> Vec<&Value> {
        let requests = self.value["requests"].as_array().unwrap().iter();
        let whole = requests.filter(|request| !request["path"].as_str().unwrap().contains('#'));
        whole.take(REQUESTS).collect()
    }

    fn ports(&self) -> BTreeMap<u16, bool> {
        let port = |request: &&Value| {
            let port = request["destination_port"].as_u64().unwrap();
            (u16::try_from(port).unwrap(), request["tls"] == true)
        };
        self.requests().iter().map(port).collect()
    }

    fn rule_name(&self, policy: Option<&str>, rule: Option<&str>) -> Value {
        let (Some(name), Some(rule)) = (policy, rule) else {
            return Value::Null;
        };
        let mut policies = self.value["policies"].as_array().unwrap().iter();
        let policy = policies.find(|policy| policy["name"] == name).unwrap();
        let namespace = policy["namespace"].as_str().unwrap();
        format!("ns[{namespace}]-policy[{name}]-rule[{rule}]").into()
    }
}

fn setup(scenario: &Scenario, jwks: &Value, port: u16) -> Setup {
    let mut config = vectors::plugin_config(&scenario.value, jwks);
    config["decisionLog"] = json!({ "emit": "none" });
    Setup::plugin(config).port(port).ahead(source_address()).ahead(metadata())
}

/// What hands the TCP peer over (docs/configuration.md, `sourceAddress`).
fn source_address() -> Value {
    json!({
        "name": "envoy.filters.http.set_filter_state",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.set_filter_state.v3.Config",
            "on_request_headers": [{
                "object_key": "usher.source_ip",
                "factory_key": "envoy.string",
                "format_string": { "text_format_source": {
                    "inline_string": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%",
                }},
            }],
        },
    })
}

/// A filter that sets metadata of any type: each header is a serialised `google.protobuf.Value`.
fn metadata() -> Value {
    let rule = |(index, (filter, key)): (usize, &(&str, &str))| {
        json!({
            "header": format!("x-metadata-{index}"),
            "on_header_present": {
                "metadata_namespace": filter, "key": key,
                "type": "PROTOBUF_VALUE", "encode": "BASE64",
            },
            "remove": true,
        })
    };
    json!({
        "name": "envoy.filters.http.header_to_metadata",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config",
            "request_rules": METADATA.iter().enumerate().map(rule).collect::<Vec<_>>(),
        },
    })
}

/// Clients with the certificates of the vectors.
struct Clients {
    authority: Authority,
    certificates: HashMap<String, Identity>,
}

impl Clients {
    fn send(&mut self, envoy: &Envoy, listener: &str, case: &Value) -> Reply {
        let text = |field: &str| case[field].as_str().unwrap();
        let ip = |field: &str| -> IpAddr { text(field).parse().unwrap() };
        let mut request = Request::new(text("method"), text("path")).authority(text("authority"));
        for line in case["headers"].as_array().unwrap() {
            request = request.header(line[0].as_str().unwrap(), line[1].as_str().unwrap());
        }
        for (filter, keys) in case["metadata"].as_object().unwrap() {
            for (key, value) in keys.as_object().unwrap() {
                let known = METADATA.iter().position(|(f, k)| f == filter && k == key);
                let index = known.unwrap_or_else(|| panic!("metadata {filter} {key}"));
                request =
                    request.header(format!("x-metadata-{index}"), STANDARD.encode(protobuf(value)));
            }
        }
        let listener = envoy.listener(listener);
        let address = (ip("destination_ip"), listener.address().port()).into();
        let stream = http1::connect_from(ip("source_ip"), address);
        if case["tls"] != true {
            return listener.on(&mut http1::Connection::new(stream), &request);
        }
        let server = match text("sni") {
            "" => ServerName::IpAddress(ip("destination_ip").into()),
            name => ServerName::try_from(name.to_owned()).unwrap(),
        };
        let identity = self.identity(&case["peer"]).map(|name| &self.certificates[&name]);
        let stream = self.authority.wrap(stream, identity, server);
        listener.on(&mut http1::Connection::new(stream), &request)
    }

    /// The name of the certificate for a peer, made at first sight.
    fn identity(&mut self, peer: &Value) -> Option<String> {
        peer.as_object()?;
        let list = |field: &str| -> Vec<String> {
            let items = peer[field].as_array().unwrap().iter();
            items.map(|item| item.as_str().unwrap().to_owned()).collect()
        };
        let name = peer.to_string();
        if !self.certificates.contains_key(&name) {
            let subject = peer["subject"].as_str().unwrap().strip_prefix("CN=");
            let made = self.authority.named_client(&list("uri_sans"), &list("dns_sans"), subject);
            self.certificates.insert(name.clone(), made);
        }
        Some(name)
    }
}

/// `google.protobuf.Value`: string_value is field 3, list_value field 6, and its values field 1.
fn protobuf(value: &Value) -> Vec<u8> {
    let field = |number: u8, content: &[u8]| {
        let length = u8::try_from(content.len()).unwrap();
        assert!(length < 128, "one byte of length");
        [&[number << 3 | 2, length], content].concat()
    };
    match value {
        Value::String(text) => field(3, text.as_bytes()),
        Value::Array(items) => {
            let items: Vec<u8> = items.iter().flat_map(|item| field(1, &protobuf(item))).collect();
            field(6, &items)
        }
        other => panic!("metadata {other}"),
    }
}

/// Stricter on purpose: what Envoy forwards would become another path if it were normalized again.
fn has_two_readings(scenario: &Scenario, request: &Value) -> bool {
    let mode = match scenario.value["pathNormalization"].as_str().unwrap() {
        "NONE" => Normalization::None,
        "BASE" => Normalization::Base,
        "MERGE_SLASHES" => Normalization::MergeSlashes,
        "DECODE_AND_MERGE_SLASHES" => Normalization::DecodeAndMergeSlashes,
        other => panic!("no pathNormalization: {other}"),
    };
    let seen = request["path_seen"].as_str().unwrap().as_bytes();
    normalize(seen, mode).as_deref() != Ok(seen)
}
