//! The same policies twice in one Envoy: as native `jwt_authn` and `rbac`, compiled here as parts A and B
//! of the specification say, and in Usher. Generated policies and requests must get the same status,
//! and what passes must reach the service under the same path.
//!
//! `PAIRS` and `SEED` choose how many and which; both are printed.

use std::net::IpAddr;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use tokio_rustls::rustls::pki_types::ServerName;
use usher_core::path::normalize;
use usher_core::policy::Normalization;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request, http1};
use usher_testkit::envoy::{Envoy, Listener};
use usher_testkit::mint::{Key, jwks};
use usher_testkit::spelling;
use usher_testkit::tls::{Authority, Identity};

use crate::native;

/// Requests to each policy: some on each of a few connections.
const CONNECTIONS: usize = 3;
const REQUESTS: usize = 8;
/// Policies in one Envoy.
const BATCH: usize = 60;

const ISSUERS: [&str; 2] = ["https://idp.example.com", "plain"];
const SERVERS: [&str; 2] = ["a.example.com", "b.example.com"];
const SOURCES: [[u8; 4]; 3] = [[127, 0, 0, 1], [127, 0, 0, 9], [127, 1, 2, 3]];
const PEERS: [(&[&str], &[&str], Option<&str>); 6] = [
    (&["spiffe://cluster.local/ns/shop/sa/web"], &[], None),
    (&["spiffe://cluster.local/ns/bank/sa/web"], &[], None),
    (&["spiffe://old-td/ns/shop/sa/cart"], &[], None),
    // Rules compare each name; Envoy's attributes have the first only.
    (
        &["spiffe://x/ns/none/sa/none", "spiffe://cluster.local/ns/shop/sa/web"],
        &["b.example"],
        None,
    ),
    (&[], &["shop.example", "spiffe.example"], None),
    (&[], &[], Some("client")),
];

#[test]
fn usher_answers_as_native_filters_do() {
    let pairs: usize = number("PAIRS").unwrap_or(500);
    let seed = number("SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        u64::try_from(now.unwrap().as_nanos() % 1_000_000_007).unwrap()
    });
    println!("differential: PAIRS={pairs} SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut dice = Dice(TestRunner::new_with_rng(Config::default(), rng));

    let world = World::new();
    let mut tally = Tally::default();
    while tally.pairs < pairs {
        let wanted = (pairs - tally.pairs).div_ceil(CONNECTIONS * REQUESTS).min(BATCH);
        let policies: Vec<Value> = (0..wanted).map(|_| dice.roll(&configuration())).collect();
        world.compare(&policies, &mut dice, &mut tally);
    }
    println!("differential: {tally:?} SEED={seed}");
    let some =
        |what: &str, count: usize| assert!(count * 20 > tally.pairs, "few {what}: {tally:?}");
    some("allowed", tally.allowed);
    some("denied", tally.denied);
    assert!(
        tally.differences.is_empty(),
        "SEED={seed}: {} differences:\n{}",
        tally.differences.len(),
        tally.differences.join("\n")
    );
}

fn number<N: std::str::FromStr>(variable: &str) -> Option<N> {
    let text = std::env::var(variable).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}: expected a number, found `{text}`")))
}

#[derive(Default, Debug)]
struct Tally {
    pairs: usize,
    allowed: usize,
    denied: usize,
    /// 400 `path_unsafe`, where normalising once more would change the path.
    two_readings: usize,
    /// 403, where what refuses is matched in every spelling (docs/differences.md).
    respelled: usize,
    differences: Vec<String>,
}

/// What there is to choose from, by one seed.
struct Dice(TestRunner);

impl Dice {
    fn roll<T: std::fmt::Debug>(&mut self, strategy: &impl Strategy<Value = T>) -> T {
        strategy.new_tree(&mut self.0).unwrap().current()
    }
}

struct World {
    authority: Authority,
    peers: Vec<Identity>,
    key: Key,
}

impl World {
    fn new() -> Self {
        let authority = Authority::new();
        let owned = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        let peers = PEERS.iter().map(|(uris, names, common)| {
            authority.named_client(&owned(uris), &owned(names), *common)
        });
        Self { peers: peers.collect(), authority, key: Key::new("ES256", "k1") }
    }

    fn compare(&self, configurations: &[Value], dice: &mut Dice, tally: &mut Tally) {
        let keys = jwks([&self.key]);
        let mut builder = Envoy::builder();
        for (number, configuration) in configurations.iter().enumerate() {
            let mut config = configuration.clone();
            let rules = ISSUERS.map(|issuer| json!({"issuer": issuer, "jwks": keys}));
            config["jwtRules"] = json!(rules);
            config["missingToken"] = json!("allow");
            config["sourceAddress"] = json!({"filterState": "usher.source_ip"});
            config["decisionLog"] = json!({"emit": "none"});
            let loaded = usher_core::load::from_value(&config);
            assert!(loaded.is_ok(), "refused: {:?}\n{configuration}", loaded.err());
            let native = native::filters(configuration, &ISSUERS, &keys.to_string());
            let manager = native::manager(configuration);
            let native = native.into_iter().fold(Setup::open(), Setup::ahead).manager(manager);
            let usher = Setup::plugin(config).ahead(native::source_address());
            for (name, setup) in [("native", native), ("usher", usher)] {
                let tls =
                    self.authority.downstream_named(false, &SERVERS, &[[127, 0, 0, 1].into()]);
                builder = builder.listener(&format!("{name}-{number}-tls"), setup.clone().tls(tls));
                builder = builder.listener(&format!("{name}-{number}"), setup);
            }
        }
        let envoy = builder.start();
        for (number, configuration) in configurations.iter().enumerate() {
            for _ in 0..CONNECTIONS {
                let caller = dice.roll(&caller());
                let suffix = if caller["tls"] == true { "-tls" } else { "" };
                let listeners =
                    ["native", "usher"].map(|n| envoy.listener(&format!("{n}-{number}{suffix}")));
                let mut lines = listeners.map(|listener| Line::open(self, listener, &caller));
                for _ in 0..REQUESTS {
                    let case = dice.roll(&request());
                    let request = self.request(&case);
                    let replies = lines.each_mut().map(|line| line.send(self, &caller, &request));
                    tally.judge(configuration, &caller, &case, &replies);
                }
            }
        }
    }

    fn request(&self, case: &Value) -> Request {
        let text = |field: &str| case[field].as_str().unwrap();
        let mut request = Request::new(text("method"), text("path")).authority(text("host"));
        for line in case["headers"].as_array().unwrap() {
            request = request.header(line[0].as_str().unwrap(), line[1].as_str().unwrap());
        }
        match &case["claims"] {
            Value::Null => request,
            claims => request.bearer(&self.key.token(claims)),
        }
    }
}

/// A kept-alive connection to a listener.
struct Line<'g> {
    listener: Listener<'g>,
    connection: http1::Connection<Box<dyn http1::Wire>>,
}

impl<'g> Line<'g> {
    fn open(world: &World, listener: Listener<'g>, caller: &Value) -> Self {
        let source: IpAddr = caller["source"].as_str().unwrap().parse().unwrap();
        let stream = http1::connect_from(source, listener.address());
        if caller["tls"] != true {
            return Self { listener, connection: http1::Connection::new(Box::new(stream)) };
        }
        let server = match caller["sni"].as_str() {
            Some(name) => ServerName::try_from(name.to_owned()).unwrap(),
            None => ServerName::IpAddress(IpAddr::from([127, 0, 0, 1]).into()),
        };
        let peer = caller["peer"].as_u64().map(|peer| &world.peers[usize::try_from(peer).unwrap()]);
        let stream = world.authority.wrap(stream, peer, server);
        Self { listener, connection: http1::Connection::new(Box::new(stream)) }
    }

    fn send(&mut self, world: &World, caller: &Value, request: &Request) -> Reply {
        let reply = self.listener.on(&mut self.connection, request);
        if reply.headers.iter().any(|(name, value)| name == "connection" && value == b"close") {
            *self = Self::open(world, self.listener, caller);
        }
        reply
    }
}

impl Tally {
    fn judge(&mut self, policy: &Value, caller: &Value, request: &Value, replies: &[Reply; 2]) {
        let [native, usher] = replies;
        self.pairs += 1;
        match native.status {
            200 => self.allowed += 1,
            _ => self.denied += 1,
        }
        let path = |reply: &Reply| reply.seen.as_ref().map(|seen| seen.path.clone());
        if native.status == usher.status && path(native) == path(usher) {
            return;
        }
        if usher.status == 400 && has_two_readings(policy, request) {
            self.two_readings += 1;
            return;
        }
        let text = |field: &str| request[field].as_str().unwrap();
        let class = spelling::class(&policy["authorizationPolicies"], text("host"), text("path"));
        if usher.status == 403 && native.status != 403 && class.is_some() {
            self.respelled += 1;
            return;
        }
        self.differences.push(format!(
            "native {} {:?}, usher {} {:?}\n  {policy}\n  {caller}\n  {request}",
            native.status,
            path(native),
            usher.status,
            path(usher),
        ));
    }
}

fn has_two_readings(policy: &Value, request: &Value) -> bool {
    let mode = match policy["pathNormalization"].as_str().unwrap() {
        "NONE" => Normalization::None,
        "BASE" => Normalization::Base,
        "MERGE_SLASHES" => Normalization::MergeSlashes,
        _ => Normalization::DecodeAndMergeSlashes,
    };
    normalize(request["path"].as_str().unwrap().as_bytes(), mode).is_err()
}

/// One of these.
fn of(values: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::sample::select(values).prop_map(Value::from).boxed()
}

/// One to three of these.
fn some(values: &'static [&'static str]) -> BoxedStrategy<Value> {
    prop::collection::vec(of(values), 1..4).prop_map(Value::from).boxed()
}

/// Fields of an object, each with its likelihood in percent.
fn fields(all: Vec<(&'static str, f64, BoxedStrategy<Value>)>) -> BoxedStrategy<Value> {
    let empty = Just(json!({})).boxed();
    all.into_iter()
        .fold(empty, |object, (name, likely, value)| {
            (object, prop::option::weighted(likely, value))
                .prop_map(move |(mut object, value)| {
                    if let Some(value) = value {
                        object[name] = value;
                    }
                    object
                })
                .boxed()
        })
        .prop_filter("no field at all", |object| object.as_object().is_some_and(|o| !o.is_empty()))
        .boxed()
}

const PATHS: &[&str] = &[
    "/",
    "/a",
    "/a*",
    "*/b",
    "*",
    "/a/b",
    "/a/{*}",
    "/a/{**}",
    "/{*}/b",
    "/{**}/b",
    "/admin*",
    "*.txt",
    "/A",
    "/a/{*}/{**}",
    "/x;p",
    "/a%2Fb",
    "//a",
];
const HOSTS: &[&str] = &[
    "example.com",
    "EXAMPLE.com",
    "*.example.com",
    "example.*",
    "*",
    "api.example.com:8080",
    "*:8080",
];
const METHODS: &[&str] = &["GET", "POST", "PUT", "*", "P*", "*T", "OPTIONS"];
const PRINCIPALS: &[&str] = &[
    "cluster.local/ns/shop/sa/web",
    "cluster.local/ns/bank/*",
    "*/sa/cart",
    "*",
    "td1/ns/shop/sa/cart",
    "*-td/ns/shop/sa/cart",
    "shop.example",
    "old-td/ns/shop/sa/cart",
];
const NAMESPACES: &[&str] = &["shop", "bank", "s*", "none", "*"];
const ACCOUNTS: &[&str] = &["shop/web", "web", "shop/cart", "bank/web"];
const DOMAINS: &[&str] = &["cluster.local", "old-td", "*", "*-td", "cluster.*"];
const BLOCKS: &[&str] =
    &["127.0.0.1", "127.0.0.9", "127.1.0.0/16", "10.0.0.0/8", "::/0", "0.0.0.0/0"];
const SUBJECTS: &[&str] = &[
    "*",
    "plain/alice",
    "plain/*",
    "*/alice",
    "plain/a*",
    "https://idp.example.com/bob",
    "*ob",
    "pl*",
    "https://idp.example.com/*",
    "plain",
    "*.com/bob",
];
const TEXTS: &[&str] = &["admin", "adm*", "*min", "*", "read", "7", "true", "a b", "dev"];

fn source() -> BoxedStrategy<Value> {
    let serving = fields(vec![
        ("requestPrincipals", 0.4, some(SUBJECTS)),
        ("notRequestPrincipals", 0.15, some(SUBJECTS)),
        ("principals", 0.3, some(PRINCIPALS)),
        ("notPrincipals", 0.1, some(PRINCIPALS)),
        ("namespaces", 0.15, some(NAMESPACES)),
        ("notNamespaces", 0.1, some(NAMESPACES)),
        ("trustDomains", 0.1, some(DOMAINS)),
        ("notTrustDomains", 0.1, some(DOMAINS)),
        ("ipBlocks", 0.15, some(BLOCKS)),
        ("notIpBlocks", 0.1, some(BLOCKS)),
        ("remoteIpBlocks", 0.15, some(BLOCKS)),
        ("notRemoteIpBlocks", 0.1, some(BLOCKS)),
    ]);
    // Istio takes service accounts and names apart.
    let accounts = fields(vec![
        ("serviceAccounts", 0.6, some(ACCOUNTS)),
        ("notServiceAccounts", 0.4, some(ACCOUNTS)),
        ("requestPrincipals", 0.2, some(SUBJECTS)),
    ]);
    prop_oneof![5 => serving, 1 => accounts].boxed()
}

fn operation() -> BoxedStrategy<Value> {
    fields(vec![
        ("paths", 0.5, some(PATHS)),
        ("notPaths", 0.15, some(PATHS)),
        ("methods", 0.3, some(METHODS)),
        ("notMethods", 0.1, some(METHODS)),
        ("hosts", 0.25, some(HOSTS)),
        ("notHosts", 0.1, some(HOSTS)),
        ("ports", 0.05, some(&["80", "65535"])),
        ("notPorts", 0.05, some(&["80", "65535"])),
    ])
}

fn condition() -> BoxedStrategy<Value> {
    let of_key = |keys: &'static [&'static str], values: &'static [&'static str]| {
        let values = fields(vec![("values", 0.75, some(values)), ("notValues", 0.4, some(values))]);
        (of(keys), values)
            .prop_map(|(key, mut condition)| {
                condition["key"] = key;
                condition
            })
            .boxed()
    };
    const CLAIMS: &[&str] = &[
        "request.auth.claims[groups]",
        "request.auth.claims[scope]",
        "request.auth.claims[level]",
        "request.auth.claims[nested][role]",
        "request.auth.claims[a.b]",
        "request.auth.audiences",
        "request.auth.presenter",
        "request.auth.claims[https://x/y]",
    ];
    const HEADERS: &[&str] = &[
        "request.headers[X-Team]",
        "request.headers[x-multi]",
        "request.headers[:method]",
        "request.headers[accept]",
    ];
    prop_oneof![
        6 => of_key(CLAIMS, TEXTS),
        4 => of_key(HEADERS, &["admin", "dev", "adm*", "*v", "*", "GET", "a,b"]),
        1 => of_key(&["request.auth.principal"], SUBJECTS),
        1 => of_key(&["source.principal"], PRINCIPALS),
        1 => of_key(&["source.namespace"], NAMESPACES),
        1 => of_key(&["source.serviceAccount"], ACCOUNTS),
        1 => of_key(&["source.trustDomain"], DOMAINS),
        1 => of_key(&["source.ip", "remote.ip", "destination.ip"], BLOCKS),
        1 => of_key(&["destination.port"], &["80", "443"]),
        1 => of_key(&["connection.sni"], &["a.example.com", "*.example.com", "*", "b*"]),
    ]
    .boxed()
}

fn rule() -> BoxedStrategy<Value> {
    let list = |of: &'static str, item: BoxedStrategy<Value>| {
        let entry = item.prop_map(move |item| json!({ of: item }));
        prop::collection::vec(entry, 1..3).prop_map(Value::from).boxed()
    };
    let when = prop::collection::vec(condition(), 1..3).prop_map(Value::from).boxed();
    let full = fields(vec![
        ("from", 0.5, list("source", source())),
        ("to", 0.6, list("operation", operation())),
        ("when", 0.4, when),
    ]);
    prop_oneof![30 => full, 1 => Just(json!({}))].boxed()
}

/// `authorizationPolicies`, `trustDomains`, `pathNormalization`.
fn configuration() -> impl Strategy<Value = Value> {
    let allow = prop::collection::vec(rule(), 0..5);
    let allow = allow.prop_map(|rules| json!({"action": "ALLOW", "rules": rules})).boxed();
    let deny = prop::collection::vec(rule(), 1..3);
    let deny = deny.prop_map(|rules| json!({"action": "DENY", "rules": rules})).boxed();
    let policies = prop::collection::vec(prop_oneof![2 => allow, 1 => deny], 1..4);
    let policies = policies.prop_map(|policies| {
        let named = policies.into_iter().enumerate().map(|(number, mut policy)| {
            policy["name"] = format!("p{number}").into();
            policy["namespace"] = "shop".into();
            policy
        });
        Value::Array(named.collect())
    });
    let domains = prop::sample::select(vec![
        json!(["cluster.local"]),
        json!(["td1", "old-td"]),
        json!(["cluster.local", "old-td"]),
    ]);
    let modes = of(&["BASE", "BASE", "NONE", "MERGE_SLASHES", "DECODE_AND_MERGE_SLASHES"]);
    (policies, domains, modes).prop_map(|(policies, domains, mode)| {
        json!({
            "authorizationPolicies": policies,
            "trustDomains": domains,
            "pathNormalization": mode,
        })
    })
}

/// Who connects, and how.
fn caller() -> impl Strategy<Value = Value> {
    let sources =
        prop::sample::select(SOURCES.as_slice()).prop_map(|s| IpAddr::from(s).to_string());
    let peers = prop::option::weighted(0.85, 0..PEERS.len());
    let names = prop::option::weighted(0.7, prop::sample::select(SERVERS.as_slice()));
    (sources, prop::bool::weighted(0.8), peers, names).prop_map(|(source, tls, peer, sni)| {
        let (peer, sni) = if tls { (peer, sni) } else { (None, None) };
        json!({"source": source, "tls": tls, "peer": peer, "sni": sni})
    })
}

fn request() -> impl Strategy<Value = Value> {
    let path = of(&[
        "/",
        "/a",
        "/a/b",
        "/a/b/c",
        "/b",
        "/admin",
        "/admin/x",
        "/a/x/b",
        "/a/",
        "/a.txt",
        "/A",
        "//a",
        "/a?x=/b",
        "/a/../b",
        "/a/./b",
        "/%61",
        "/a%2Fb",
        "/a%2fb",
        "/x;p",
        "/a//b",
        "/a\\b",
        "/a/b[c]",
        "/a/%2e%2e/b",
        "/..;/b",
        "/a/%2e%2e;x/b",
        "/a/b?y",
        "/b%00",
        "/a/{b}",
        "/%b%41",
        "/a/%5cb",
    ]);
    let host = of(&[
        "example.com",
        "Example.com",
        "api.example.com",
        "api.example.com:8080",
        "example.org",
        "x",
    ]);
    let method = of(&["GET", "GET", "GET", "POST", "PUT", "HEAD", "OPTIONS", "PATCH", "DELETE"]);
    let line = prop_oneof![
        (of(&["x-team", "x-multi", "accept"]), of(&["admin", "dev", "other", "", "a,b"])),
        (of(&["X-Forwarded-For"]), of(&["10.1.2.3", "127.0.0.9", "::1", "1.2.3.4, 10.0.0.1"])),
        (of(&["origin"]), of(&["https://a.example"])),
        (of(&["access-control-request-method"]), of(&["GET"])),
    ];
    let lines = prop::collection::vec(line.prop_map(|(n, v)| json!([n, v])), 0..4);
    let lines = lines.prop_map(|lines: Vec<Value>| {
        // Envoy trusts one line of it.
        let mut forwarded = 0;
        let keep = |line: &Value| {
            forwarded += u8::from(line[0] == "X-Forwarded-For");
            line[0] != "X-Forwarded-For" || forwarded == 1
        };
        lines.into_iter().filter(keep).collect::<Vec<_>>()
    });
    let value = prop_oneof![
        4 => of(TEXTS),
        2 => some(TEXTS),
        1 => prop::sample::select(vec![json!(7), json!(true), json!(null), json!([]), json!([7, "admin"]),
            json!({"x": "admin"}), json!(""), json!([["admin"]])]),
    ]
    .boxed();
    let claims = fields(vec![
        ("iss", 0.97, of(&["https://idp.example.com", "plain", "plain", "other"])),
        ("sub", 0.95, of(&["alice", "bob", "a/b", "*", ""])),
        ("groups", 0.6, value.clone()),
        ("scope", 0.3, of(&["read write", "admin", "a b", " "])),
        ("level", 0.3, value.clone()),
        ("nested", 0.3, value.clone().prop_map(|v| json!({"role": v})).boxed()),
        ("a.b", 0.2, value),
        ("aud", 0.3, prop_oneof![of(TEXTS), some(TEXTS)].boxed()),
        ("azp", 0.3, of(TEXTS)),
        ("https://x/y", 0.2, some(TEXTS)),
    ]);
    // Good until 2100, and seldom expired.
    let claims = (claims, prop::bool::weighted(0.04)).prop_map(|(mut claims, expired)| {
        claims["exp"] = if expired { 1_000_000_000 } else { 4_102_444_800_u64 }.into();
        claims
    });
    let claims = prop::option::weighted(0.75, claims);
    (path, host, method, lines, claims).prop_map(|(path, host, method, headers, claims)| {
        json!({"path": path, "host": host, "method": method, "headers": headers, "claims": claims})
    })
}
