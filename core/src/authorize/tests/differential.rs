//! Random policies and requests, judged three ways: with the index, rule by rule, and by [`Naive`] over the
//! JSON. The cases are the same in each run; a failure names its seed.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "a test may stop at any surprise"
)]

use serde_json::{Map, Value, json};

use super::naive::Naive;
use super::policy;
use crate::Compiled;
use crate::authorize::facts::{Facts, Scalars};
use crate::authorize::{Policies, RuleSet, trace_rules};
use crate::claims::{Claims, Identity};
use crate::request::{Connection, MetadataValue, Metadatum, Peer, Request};

/// Policies, and requests to each.
const CASES: u64 = 1_000;
const REQUESTS: u64 = 6;

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
const KEYS: &[&str] = &[
    "request.headers[x-g]",
    "request.headers[x_g]",
    "request.headers[:path]",
    "request.headers[host]",
    "request.auth.claims[g]",
    "request.auth.claims[*]",
    "request.auth.claims[*][g]",
    "request.auth.claims[n][g]",
    "request.auth.claims[n][*]",
    "request.auth.claims[l][*]",
    "request.auth.claims[l][*][g]",
    "request.auth.claims[l][*][*]",
    "request.auth.claims[roles]",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.scopes",
    "request.auth.provider",
    "request.auth.actor",
    "request.query[q]",
    "connection.sni",
    "experimental.envoy.filters.f[k]",
    "request.auth.principal",
    "source.principal",
    "source.namespace",
    "source.ip",
    "remote.ip",
    "destination.ip",
    "destination.port",
    "source.trustDomain",
    "source.serviceAccount",
];
const SOURCES: &[&str] = &[
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

/// Numbers by chance, but the same for the same seed (Marsaglia's xorshift64).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).unwrap() % end
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn values(&mut self, of: &[&str]) -> Value {
        (0..=self.below(2)).map(|_| self.pick(of)).collect()
    }

    /// A field of an operand, its `not`, or both.
    fn field(&mut self, operand: &mut Map<String, Value>, name: &str, of: &[&str]) {
        if self.one_in(4) {
            let not = format!("not{}{}", name[..1].to_uppercase(), &name[1..]);
            operand.insert(not, self.values(of));
            if self.one_in(2) {
                return;
            }
        }
        operand.insert(name.to_owned(), self.values(of));
    }

    fn source(&mut self) -> Value {
        let mut source = Map::new();
        match self.below(9) {
            0 => self.field(&mut source, "serviceAccounts", ACCOUNTS),
            1 => self.field(&mut source, "principals", PRINCIPALS),
            2 => self.field(&mut source, "namespaces", NAMESPACES),
            3 => self.field(&mut source, "trustDomains", DOMAINS),
            4 => self.field(&mut source, "ipBlocks", BLOCKS),
            5 => self.field(&mut source, "remoteIpBlocks", BLOCKS),
            _ => {}
        }
        if source.is_empty() || self.one_in(4) {
            self.field(&mut source, "requestPrincipals", REQUEST_PRINCIPALS);
        }
        json!({ "source": source })
    }

    fn operation(&mut self) -> Value {
        let mut operation = Map::new();
        for _ in 0..=self.below(2) {
            match self.below(6) {
                0..=2 => self.field(&mut operation, "paths", PATHS),
                3 => self.field(&mut operation, "hosts", HOSTS),
                4 => self.field(&mut operation, "ports", PORTS),
                _ => self.field(&mut operation, "methods", METHODS),
            }
        }
        json!({ "operation": operation })
    }

    fn condition(&mut self, captures: bool) -> Value {
        let key = self.pick(KEYS);
        let of = match key {
            "request.auth.principal" => REQUEST_PRINCIPALS,
            "source.principal" => PRINCIPALS,
            "source.namespace" => NAMESPACES,
            "source.ip" | "remote.ip" | "destination.ip" => BLOCKS,
            "destination.port" => PORTS,
            "source.trustDomain" => DOMAINS,
            "source.serviceAccount" => ACCOUNTS,
            "request.headers[:path]" => &["/a*", "*q=g", "/b"],
            "request.headers[host]" => &["a.example", "*.example"],
            "experimental.envoy.filters.f[k]" => &["g", "[g]", "[h*]", "*", "[*]"],
            _ => TEXTS,
        };
        let mut condition = Map::from_iter([("key".to_owned(), json!(key))]);
        let mut add = |name: &str, value| condition.insert(name.to_owned(), value);
        let mut full = false;
        if std::ptr::eq(of, TEXTS) && self.one_in(3) {
            let sources = if captures { SOURCES } else { &SOURCES[..SOURCES.len() - 1] };
            add("valuesFrom", self.values(sources));
            if self.one_in(3) {
                add("valuesFromAll", json!(true));
            }
            full = true;
        }
        if self.one_in(4) {
            add("notValues", self.values(of));
            full = true;
        }
        if self.one_in(6) {
            add("allValues", self.values(of));
            full = true;
        }
        if !full || self.one_in(4) {
            add("values", self.values(of));
        }
        Value::Object(condition)
    }

    fn rule(&mut self) -> Value {
        let mut rule = Map::new();
        let mut captures = false;
        if self.one_in(2) {
            let list: Value = (0..=self.below(2)).map(|_| self.source()).collect();
            rule.insert("from".to_owned(), list);
        }
        if self.one_in(2) {
            let list: Value = (0..=self.below(2)).map(|_| self.operation()).collect();
            let paths = list.as_array().unwrap().iter().map(|item| &item["operation"]["paths"]);
            captures = paths.flat_map(|paths| paths.as_array()).flatten().any(|path| {
                let path = path.as_str().unwrap();
                path.contains("{x}") || path.contains("{x=")
            });
            rule.insert("to".to_owned(), list);
        }
        if self.one_in(2) {
            let list: Value = (0..=self.below(2)).map(|_| self.condition(captures)).collect();
            rule.insert("when".to_owned(), list);
        }
        Value::Object(rule)
    }

    /// With fewer rules than are worth filing, and with more.
    fn config(&mut self) -> Value {
        let policies: Value = (0..=self.below(3))
            .map(|number| {
                let count = if self.one_in(2) { 1 + self.below(4) } else { 8 + self.below(20) };
                let rules: Value = (0..count).map(|_| self.rule()).collect();
                let action = self.pick(&["ALLOW", "ALLOW", "DENY", "DENY", "AUDIT"]);
                let dry_run = action != "AUDIT" && self.one_in(5);
                json!({"name": format!("p{number}"), "namespace": "home", "action": action,
                    "dryRun": dry_run, "rules": rules})
            })
            .collect();
        json!({"authorizationPolicies": policies, "sourceAddress": "connection",
            "pathNormalization": "NONE", "matchScalarClaims": self.one_in(3)})
    }

    fn address(&mut self) -> Option<std::net::IpAddr> {
        let all = ["10.0.0.7", "10.0.0.1", "192.168.1.1", "::1", "2001:db8::1", "11.0.0.1"];
        (!self.one_in(4)).then(|| self.pick(&all).parse().unwrap())
    }

    fn peer(&mut self) -> Peer {
        let uris = [
            "spiffe://td/ns/a/sa/b",
            "spiffe://x/ns/b/sa/c",
            "spiffe://td/ns/home/sa/b",
            "x/ns/a/y",
            "spiffe://td/x/ns/a/k/v/sa/b/z",
            "spiffe://tdx/ns/a/ns/b/sa/a",
            "spiffe://td/ns/a//sa/b",
            "",
        ];
        let uri_sans = (0..self.below(3)).map(|_| self.pick(&uris).to_owned()).collect();
        let dns = self.one_in(3).then(|| self.pick(&["a.example", "x/ns/b/sa"]).to_owned());
        let subject = self.pick(&["", "CN=b"]).to_owned();
        Peer { uri_sans, dns_sans: dns.into_iter().collect(), subject, ..Peer::default() }
    }

    fn request(&mut self) -> Request {
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut push = |name: &str, value: &str| headers.push((name.into(), value.into()));
        if !self.one_in(30) {
            push(":path", self.pick(REQUEST_PATHS));
        }
        if !self.one_in(30) {
            push(":method", self.pick(&["GET", "POST", "PUT", ""]));
        }
        if !self.one_in(10) {
            push(":authority", self.pick(REQUEST_HOSTS));
        }
        if self.one_in(10) {
            push("host", self.pick(REQUEST_HOSTS));
        }
        for _ in 0..self.below(3) {
            let name = self.pick(&["x-g", "x-g", "x_g"]);
            push(name, self.pick(&["g", "g", "h", "gh", "", "x", "7"]));
        }
        let value = match self.below(2) {
            0 => MetadataValue::Text(self.pick(&["g", "h", ""]).to_owned()),
            _ => MetadataValue::List(vec![self.pick(&["g", "hx"]).to_owned()]),
        };
        let metadatum =
            Metadatum { filter: "envoy.filters.f".to_owned(), key: "k".to_owned(), value };
        let connection = Connection {
            peer: (!self.one_in(4)).then(|| self.peer()),
            sni: self.pick(&["", "g", "xh"]).to_owned(),
            source_ip: self.address(),
            remote_ip: self.address(),
            destination_ip: self.address(),
            destination_port: (!self.one_in(3)).then(|| self.pick(&[80, 443, 0])),
            metadata: if self.one_in(3) { vec![metadatum] } else { Vec::new() },
        };
        Request { headers, connection, ..Request::default() }
    }

    fn claim(&mut self) -> Value {
        match self.below(9) {
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

    fn identity(&mut self) -> Identity {
        let mut claims = Map::new();
        if !self.one_in(5) {
            claims.insert("iss".to_owned(), json!(self.pick(&["i", "j", "ii", ""])));
        }
        if !self.one_in(5) {
            claims.insert("sub".to_owned(), json!(self.pick(&["s", "t1", "", "*", "a/s"])));
        }
        for name in ["g", "roles", "aud", "azp", "scope", "scp", "*"] {
            if self.one_in(2) {
                claims.insert(name.to_owned(), self.claim());
            }
        }
        if self.one_in(2) {
            let (one, other) = (self.claim(), self.claim());
            claims.insert("n".to_owned(), json!({"g": one, "*": other}));
        }
        if self.one_in(2) {
            let (one, other) = (self.claim(), self.claim());
            let list = if self.one_in(3) {
                json!({"*": {"g": one}})
            } else {
                json!([{"g": one}, {"g": other}, 1, "g"])
            };
            claims.insert("l".to_owned(), list);
        }
        if self.one_in(3) {
            claims.insert("act".to_owned(), json!({"sub": self.pick(&["g", "x"])}));
        }
        let space_delimited = ["permission", "roles", "scope"].map(str::to_owned).into();
        let provider = self.pick(&["g", "prov"]).to_owned();
        Identity { claims: Claims(claims), provider, space_delimited }
    }
}

/// The names of the rules of a set that match, by one look at each.
fn matching<'p>(set: &'p RuleSet, facts: &Facts<'_>) -> Vec<&'p str> {
    let rules = set.rules.iter().filter(|named| named.rule.matches(facts));
    rules.map(|named| &*named.name).collect()
}

fn check(
    policy: &Compiled,
    config: &Value,
    request: &Request,
    identity: Option<&Identity>,
) -> usize {
    let policies: &Policies = &policy.authorization;
    let facts = Facts::new(request, identity, policies.scalars);
    let scalars = policies.scalars == Scalars::AsText;
    let mut all = Vec::new();
    for set in [
        &policies.deny,
        &policies.allow,
        &policies.audit,
        &policies.deny_dry_run,
        &policies.allow_dry_run,
    ] {
        let one_by_one = matching(set, &facts);
        let indexed = set.first_match(&facts).map(|named| &*named.name);
        assert_eq!(indexed, one_by_one.first().copied(), "with the index");
        all.extend(one_by_one);
    }
    let mut expected = Vec::new();
    for policy in config["authorizationPolicies"].as_array().unwrap() {
        let action = policy["action"].as_str().unwrap();
        let naive = Naive::new(request, identity, scalars, action);
        for (number, rule) in policy["rules"].as_array().unwrap().iter().enumerate() {
            if naive.rule(rule) {
                let name = policy["name"].as_str().unwrap();
                expected.push(format!("ns[home]-policy[{name}]-rule[{number}]"));
            }
        }
    }
    all.sort_unstable();
    expected.sort_unstable();
    assert_eq!(all, expected, "over the JSON");
    // What `usher explain` tells.
    let surveyed = trace_rules(policies, request, identity);
    let mut told: Vec<&str> =
        surveyed.iter().filter(|s| s.miss.is_none()).map(|s| s.name.as_str()).collect();
    told.sort_unstable();
    assert_eq!(all, told, "by the survey");
    all.len()
}

#[test]
fn the_index_and_the_rules_and_a_naive_reading_agree() {
    let mut matched = 0;
    for seed in 1..=CASES {
        let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let config = chance.config();
        let policy = policy(&config);
        for number in 0..REQUESTS {
            let request = chance.request();
            let identity = (!chance.one_in(4)).then(|| chance.identity());
            let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                check(&policy, &config, &request, identity.as_ref())
            }));
            match checked {
                Ok(rules) => matched += rules,
                Err(_) => {
                    panic!("seed {seed}, request {number}: {request:?} {identity:?}\n{config}")
                }
            }
        }
    }
    assert!(matched > 5_000, "only {matched} matches: the cases have nothing in common");
}
