//! Related policies and requests, drawn from a few words.

use serde_json::{Map, Value, json};

use super::space_delimited;
use crate::draw::Draw;
use crate::subject::{Claims, Connection, Identity, MetadataValue, Metadatum, Peer, Request};
use crate::written::METADATA;

/// A field that lists values, and the values that it is given.
type Field = (&'static str, &'static [&'static str]);

const PATHS: &[&str] = &[
    "/a",
    "/a*",
    "*b",
    "/a/{*}",
    "/{**}",
    "/a/{**}/b",
    "/{*}/b",
    "*",
    "/{x}/{y}",
    "/a/{x}.b",
    "/a/{x}-b",
    "/b/{x=**}",
    "/",
    "/a/b",
    "/{*}/x/{*}",
    "/{**}/b/c",
    "/a-{x}/b",
    "/x{*}",
    "/{x}a/b",
];
const HOSTS: &[&str] = &[
    "a.example",
    "*.example",
    "A*",
    "*",
    "b.example:80",
    "a.example*",
    "a.example.",
    "*:80",
    "[::1]",
    "b.example:8*",
];
const TEXTS: &[&str] = &["g", "h", "g*", "*h", "*", "7", "true", "x", "gh"];
const PRINCIPALS: &[&str] =
    &["td/ns/a/sa/b", "td/*", "*/sa/b", "*", "td/ns/a/*", "td/ns/b/sa/a", "*b"];
const REQUEST_PRINCIPALS: &[&str] =
    &["i/s", "i/*", "*/s", "*", "i*", "*s", "i/t*", "j/s", "*i/s", "i", "j/*", "*/*"];
const NAMESPACES: &[&str] = &["a", "b", "*", "a*", "a/sa", "*/x"];
const ACCOUNTS: &[&str] = &["a/b", "b", "a", "b/a"];
const DOMAINS: &[&str] = &["td", "t*", "*d", "*", "x", "td*"];
const BLOCKS: &[&str] =
    &["10.0.0.0/8", "10.0.0.7/32", "::/0", "10.0.0.0/31", "2001:db8::/32", "192.168.0.0/16"];
const PORTS: &[&str] = &["80", "443", "0"];
const METHODS: &[&str] = &["GET", "P*", "*T", "*"];

/// `serviceAccounts` excludes all other fields of a workload.
const SOURCES: &[Field] = &[
    ("serviceAccounts", ACCOUNTS),
    ("principals", PRINCIPALS),
    ("namespaces", NAMESPACES),
    ("trustDomains", DOMAINS),
    ("ipBlocks", BLOCKS),
    ("remoteIpBlocks", BLOCKS),
];
const OPERATIONS: &[Field] = &[
    ("paths", PATHS),
    ("paths", PATHS),
    ("paths", PATHS),
    ("hosts", HOSTS),
    ("ports", PORTS),
    ("methods", METHODS),
];
/// Keys whose values have their own form, and then those of texts.
const KEYS: &[Field] = &[
    ("request.auth.principal", REQUEST_PRINCIPALS),
    ("source.principal", PRINCIPALS),
    ("source.namespace", NAMESPACES),
    ("source.ip", BLOCKS),
    ("remote.ip", BLOCKS),
    ("destination.ip", BLOCKS),
    ("destination.port", PORTS),
    ("source.trustDomain", DOMAINS),
    ("source.serviceAccount", ACCOUNTS),
    ("request.headers[:path]", &["/a*", "*q=g", "/b"]),
    ("request.headers[host]", &["a.example", "*.example"]),
    ("experimental.envoy.filters.f[k]", &["g", "[g]", "[h*]", "*", "[*]"]),
    ("connection.sni", TEXTS),
    ("request.headers[x-g]", TEXTS),
    ("request.headers[x_g]", TEXTS),
    ("request.auth.claims[g]", TEXTS),
    ("request.auth.claims[*]", TEXTS),
    ("request.auth.claims[*][g]", TEXTS),
    ("request.auth.claims[n][g]", TEXTS),
    ("request.auth.claims[n][*]", TEXTS),
    ("request.auth.claims[l][*]", TEXTS),
    ("request.auth.claims[l][*][g]", TEXTS),
    ("request.auth.claims[l][*][*]", TEXTS),
    ("request.auth.claims[roles]", TEXTS),
    ("request.auth.audiences", TEXTS),
    ("request.auth.presenter", TEXTS),
    ("request.auth.scopes", TEXTS),
    ("request.auth.provider", TEXTS),
    ("request.auth.actor", TEXTS),
    ("request.query[q]", TEXTS),
];
/// The possible sources of `valuesFrom`; the last one if a template captures it.
const VALUES_FROM: &[&str] = &[
    "request.headers[x-g]",
    "request.headers[x_g]",
    "request.auth.claims[g]",
    "request.auth.claims[*]",
    "request.auth.claims[l][*][g]",
    "request.query[q]",
    "request.auth.scopes",
    "request.auth.actor",
    "path.x",
];

const REQUEST_PATHS: &[&str] = &[
    "/a",
    "/a/b",
    "/a/x/b",
    "/b",
    "/",
    "/a/x.b",
    "/a/",
    "//b",
    "/a/x-b",
    "/b/g/c",
    "/g/x/x",
    "/a-g/b",
    "/ga/b",
    "/aa/b",
    "/a/b?q=g",
    "/b?q=h&q=x",
    "/g/b?q=g&q=g",
    "/a/[x]/b",
    "/xx",
    "/a//b",
    "/a/x[",
    "/g[/h",
    "/b/\u{e9}/c",
];
const REQUEST_HOSTS: &[&str] = &[
    "a.example",
    "A.EXAMPLE",
    "b.example:80",
    "x",
    "",
    "a.example.",
    "a.example.:80",
    "a.example:",
    "x,a.example",
    "b.example.:80,x",
    "[::1]:80",
    "[::1]",
    "x:y",
];
const REQUEST_TEXTS: &[&str] = &["g", "g", "h", "gh", "", "x", "7", "hx", "xh"];
const URIS: &[&str] = &[
    "spiffe://td/ns/a/sa/b",
    "spiffe://x/ns/b/sa/c",
    "spiffe://td/ns/home/sa/b",
    "x/ns/a/y",
    "spiffe://td/x/ns/a/k/v/sa/b/z",
    "spiffe://tdx/ns/a/ns/b/sa/a",
    "spiffe://td/ns/a//sa/b",
    "",
];
const ADDRESSES: &[&str] =
    &["10.0.0.7", "10.0.0.1", "192.168.1.1", "::1", "2001:db8::1", "11.0.0.1"];
const ISSUERS: &[&str] = &["i", "j", "ii", ""];
const SUBJECTS: &[&str] = &["s", "t1", "", "*", "a/s"];
/// The other texts in a case.
const OTHERS: &[&str] = &[
    ":path",
    ":method",
    ":authority",
    "host",
    "x-g",
    "x_g",
    "GET",
    "POST",
    "PUT",
    "home",
    "ALLOW",
    "DENY",
    "AUDIT",
    "connection",
    "NONE",
    "a.example",
    "x/ns/b/sa",
    "CN=b",
    "prov",
    "g h",
    "p0",
    "p1",
    "p2",
    "p3",
];

/// Whether a case only has texts that are drawn: the naive reading does not support others.
pub(super) fn consists_of_known_words(value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            ["hex", "repeat"].iter().all(|piece| !members.contains_key(*piece))
                && members.values().all(consists_of_known_words)
        }
        Value::Array(items) => items.iter().all(consists_of_known_words),
        Value::String(text) => {
            let of_fields = [SOURCES, OPERATIONS, KEYS].concat();
            let mut lists = of_fields.iter().map(|(_, values)| *values).chain([
                VALUES_FROM,
                REQUEST_PRINCIPALS,
                REQUEST_PATHS,
                REQUEST_HOSTS,
                REQUEST_TEXTS,
                URIS,
                ADDRESSES,
                ISSUERS,
                SUBJECTS,
                OTHERS,
            ]);
            lists.any(|list| list.contains(&text.as_str()))
                || KEYS.iter().any(|(key, _)| key == text)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// With fewer rules than are worth indexing, and with more.
pub(crate) fn config(draw: &mut Draw<'_>) -> Value {
    let policies = (0..=draw.below(4)).map(|number| {
        let rules = if draw.one_in(2) { 8 + draw.below(20) } else { draw.below(5) };
        let rules: Vec<Value> = (0..rules).map(|_| rule(draw)).collect();
        let action = draw.pick(&["ALLOW", "ALLOW", "DENY", "DENY", "AUDIT"]);
        // A DENY policy without a rule is an error.
        let action = if rules.is_empty() { "ALLOW" } else { action };
        let dry_run = action != "AUDIT" && draw.one_in(5);
        json!({"name": format!("p{number}"), "namespace": "home", "action": action, "dryRun": dry_run,
            "rules": rules})
    });
    let policies: Vec<Value> = policies.collect();
    json!({"authorizationPolicies": policies, "sourceAddress": "connection",
        "pathNormalization": "NONE", "matchScalarClaims": draw.one_in(3)})
}

fn rule(draw: &mut Draw<'_>) -> Value {
    let mut rule = Map::new();
    let mut captures = false;
    if draw.one_in(2) {
        rule.insert("from".to_owned(), draw.some(2, source).into());
    }
    if draw.one_in(2) {
        let list = draw.some(2, operation);
        let paths = list.iter().filter_map(|item| item["operation"]["paths"].as_array()).flatten();
        captures = paths.filter_map(Value::as_str).any(|p| p.contains("{x}") || p.contains("{x="));
        rule.insert("to".to_owned(), list.into());
    }
    if draw.one_in(2) {
        rule.insert("when".to_owned(), draw.some(2, |draw| condition(draw, captures)).into());
    }
    Value::Object(rule)
}

fn values(draw: &mut Draw<'_>, of: &[&str]) -> Value {
    draw.some(2, |draw| draw.pick(of)).into()
}

/// The field, its `not`, or both.
fn field(draw: &mut Draw<'_>, operand: &mut Map<String, Value>, (name, of): Field) {
    if draw.one_in(4) {
        let not = format!("not{}{}", name[..1].to_uppercase(), &name[1..]);
        operand.insert(not, values(draw, of));
        if draw.one_in(2) {
            return;
        }
    }
    operand.insert(name.to_owned(), values(draw, of));
}

fn source(draw: &mut Draw<'_>) -> Value {
    let mut source = Map::new();
    if !draw.one_in(3) {
        let chosen = draw.pick(SOURCES);
        field(draw, &mut source, chosen);
    }
    if source.is_empty() || draw.one_in(4) {
        field(draw, &mut source, ("requestPrincipals", REQUEST_PRINCIPALS));
    }
    json!({ "source": source })
}

fn operation(draw: &mut Draw<'_>) -> Value {
    let mut operation = Map::new();
    for _ in 0..=draw.below(2) {
        let chosen = draw.pick(OPERATIONS);
        field(draw, &mut operation, chosen);
    }
    json!({ "operation": operation })
}

fn condition(draw: &mut Draw<'_>, captures: bool) -> Value {
    let (key, of) = draw.pick(KEYS);
    let mut condition = Map::from_iter([("key".to_owned(), json!(key))]);
    let mut add = |name: &str, value| condition.insert(name.to_owned(), value);
    let mut says = false;
    if of == TEXTS && draw.one_in(3) {
        let sources = if captures { VALUES_FROM } else { &VALUES_FROM[..VALUES_FROM.len() - 1] };
        add("valuesFrom", values(draw, sources));
        if draw.one_in(3) {
            add("valuesFromAll", json!(true));
        }
        says = true;
    }
    for (name, n) in [("notValues", 4), ("allValues", 6)] {
        if draw.one_in(n) {
            add(name, values(draw, of));
            says = true;
        }
    }
    if !says || draw.one_in(4) {
        add("values", values(draw, of));
    }
    Value::Object(condition)
}

pub(crate) fn request(draw: &mut Draw<'_>) -> Request {
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut push = |name: &str, value: &str| headers.push((name.into(), value.into()));
    if !draw.one_in(30) {
        push(":path", draw.pick(REQUEST_PATHS));
    }
    if !draw.one_in(30) {
        push(":method", draw.pick(&["GET", "POST", "PUT", ""]));
    }
    if !draw.one_in(10) {
        push(":authority", draw.pick(REQUEST_HOSTS));
    }
    if draw.one_in(10) {
        push("host", draw.pick(REQUEST_HOSTS));
    }
    for _ in 0..draw.below(3) {
        push(draw.pick(&["x-g", "x-g", "x_g"]), draw.pick(REQUEST_TEXTS));
    }
    let text = draw.pick(REQUEST_TEXTS).to_owned();
    let (filter, key) = METADATA;
    let metadatum = Metadatum {
        filter: filter.to_owned(),
        key: key.to_owned(),
        value: match draw.one_in(2) {
            true => MetadataValue::List(vec![text]),
            false => MetadataValue::Text(text),
        },
    };
    let connection = Connection {
        peer: (!draw.one_in(4)).then(|| peer(draw)),
        sni: draw.pick(REQUEST_TEXTS).to_owned(),
        source_ip: address(draw),
        remote_ip: address(draw),
        destination_ip: address(draw),
        destination_port: (!draw.one_in(3)).then(|| draw.pick(&[80, 443, 0])),
        metadata: if draw.one_in(3) { vec![metadatum] } else { Vec::new() },
    };
    Request { headers, connection, ..Request::default() }
}

fn peer(draw: &mut Draw<'_>) -> Peer {
    let uri_sans = (0..draw.below(3)).map(|_| draw.pick(URIS).to_owned()).collect();
    let dns = draw.one_in(3).then(|| draw.pick(&["a.example", "x/ns/b/sa"]).to_owned());
    let subject = draw.pick(&["", "CN=b"]).to_owned();
    Peer { uri_sans, dns_sans: dns.into_iter().collect(), subject, ..Peer::default() }
}

fn address(draw: &mut Draw<'_>) -> Option<std::net::IpAddr> {
    (!draw.one_in(4)).then(|| draw.pick(ADDRESSES).parse().unwrap())
}

pub(crate) fn identity(draw: &mut Draw<'_>) -> Identity {
    let mut claims = Map::new();
    if !draw.one_in(5) {
        claims.insert("iss".to_owned(), draw.pick(ISSUERS).into());
    }
    if !draw.one_in(5) {
        claims.insert("sub".to_owned(), draw.pick(SUBJECTS).into());
    }
    for name in ["g", "roles", "aud", "azp", "scope", "scp", "*"] {
        if draw.one_in(2) {
            claims.insert(name.to_owned(), claim(draw));
        }
    }
    if draw.one_in(2) {
        claims.insert("n".to_owned(), json!({"g": claim(draw), "*": claim(draw)}));
    }
    if draw.one_in(2) {
        let list = match draw.one_in(3) {
            true => json!({"*": {"g": claim(draw)}}),
            false => json!([{"g": claim(draw)}, {"g": claim(draw)}, 1, "g"]),
        };
        claims.insert("l".to_owned(), list);
    }
    if draw.one_in(3) {
        claims.insert("act".to_owned(), json!({"sub": draw.pick(&["g", "x"])}));
    }
    Identity {
        claims: Claims(claims),
        provider: draw.pick(&["g", "prov"]).to_owned(),
        space_delimited: space_delimited(),
    }
}

fn claim(draw: &mut Draw<'_>) -> Value {
    match draw.below(9) {
        0 => json!("g"),
        1 => json!(["x", "h"]),
        2 => json!(7),
        3 => json!(null),
        4 => json!([]),
        5 => json!(true),
        6 => json!("g h"),
        7 => json!([7, "gh", ["g"]]),
        _ => json!({"g": "g", "*": "h"}),
    }
}
