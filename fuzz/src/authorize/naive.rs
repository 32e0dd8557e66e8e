//! Policies evaluated over their JSON, value by value, as documented: slow, and written independently of
//! the compiled rules, so that the two can be compared.

use std::net::IpAddr;

use serde_json::Value;

use crate::subject::{Identity, MetadataValue, Request};

type Texts = Vec<Vec<u8>>;

/// A request, and how one policy reads it.
#[derive(Clone, Copy)]
pub(super) struct Naive<'r> {
    pub(super) request: &'r Request,
    pub(super) identity: Option<&'r Identity>,
    pub(super) scalars: bool,
    /// Whether values refuse: in DENY, and in ALLOW the `not` values.
    wide: bool,
    audit: bool,
}

impl<'r> Naive<'r> {
    pub(super) fn new(
        request: &'r Request,
        identity: Option<&'r Identity>,
        scalars: bool,
        action: &str,
    ) -> Self {
        Self { request, identity, scalars, wide: action == "DENY", audit: action == "AUDIT" }
    }

    fn negated(self) -> Self {
        Self { wide: !self.wide && !self.audit, ..self }
    }

    pub(super) fn rule(self, rule: &Value) -> bool {
        let any = |list: &str, inner: &str| match rule.get(list).and_then(Value::as_array) {
            None => true,
            Some(items) => items.iter().any(|item| self.operand(&item[inner])),
        };
        let mut when = rule["when"].as_array().into_iter().flatten();
        any("from", "source") && any("to", "operation") && when.all(|c| self.condition(rule, c))
    }

    fn operand(self, operand: &Value) -> bool {
        let fields = operand.as_object().unwrap();
        fields.iter().all(|(name, values)| match name.strip_prefix("not") {
            Some(rest) => {
                let name = rest[..1].to_lowercase() + &rest[1..];
                !self.negated().values(&name, values)
            }
            None => self.values(name, values),
        })
    }

    fn condition(self, rule: &Value, condition: &Value) -> bool {
        let key = condition["key"].as_str().unwrap();
        condition.get("values").is_none_or(|values| self.values(key, values))
            && !condition.get("notValues").is_some_and(|v| self.negated().values(key, v))
            && condition.get("allValues").is_none_or(|v| list(v).all(|v| self.value(key, v)))
            && condition.get("valuesFrom").is_none_or(|v| self.values_from(rule, condition, v))
    }

    fn values_from(self, rule: &Value, condition: &Value, sources: &Value) -> bool {
        let key = condition["key"].as_str().unwrap();
        let (mut written, mut verified) = (Texts::new(), Texts::new());
        for source in list(sources) {
            let (texts, is_written) = match source.strip_prefix("path.") {
                Some(name) => (self.captures(rule, name), true),
                None => (self.texts(source), is_written(source)),
            };
            if is_written { written.extend(texts) } else { verified.extend(texts) }
        }
        let distinct = |texts: &Texts| {
            let mut texts = texts.clone();
            texts.sort();
            texts.dedup();
            texts.len()
        };
        let own = self.texts(key);
        let all = condition["valuesFromAll"] == Value::Bool(true);
        if distinct(&written) > 1 || !all && is_written(key) && distinct(&own) > 1 {
            return self.wide;
        }
        let is_source = |text: &Vec<u8>| written.contains(text) || verified.contains(text);
        if all { !own.is_empty() && own.iter().all(is_source) } else { own.iter().any(is_source) }
    }

    /// What the templates of the matching operations captured.
    fn captures(self, rule: &Value, name: &str) -> Texts {
        let Some(path) = self.path() else { return Texts::new() };
        let operations = rule["to"].as_array().into_iter().flatten().map(|item| &item["operation"]);
        let paths = operations.filter(|o| self.operand(o)).filter_map(|o| o.get("paths"));
        let captures = paths.flat_map(list).filter_map(|value| self.template(value, path));
        captures.flatten().filter(|(n, _)| n == name).map(|(_, text)| text).collect()
    }

    fn values(self, field: &str, values: &Value) -> bool {
        list(values).any(|value| self.value(field, value))
    }

    fn value(self, field: &str, value: &str) -> bool {
        let connection = &self.request.connection;
        match field {
            "paths" => self.path().is_some_and(|path| match value.contains('{') {
                true => self.template(value, path).is_some(),
                false => text(value, path, false),
            }),
            "methods" => self.lines(":method").first().is_some_and(|m| text(value, m, true)),
            "hosts" => self.host(&value.to_ascii_lowercase()),
            "ports" | "destination.port" => {
                connection.destination_port.is_some_and(|port| port.to_string() == value)
            }
            "ipBlocks" | "source.ip" => block(value, connection.source_ip),
            "remoteIpBlocks" | "remote.ip" => block(value, connection.remote_ip),
            "destination.ip" => block(value, connection.destination_ip),
            "principals" | "source.principal" => self.peer(&|name| principal(value, name)),
            "namespaces" | "source.namespace" => {
                let pattern = format!("*/ns/{value}/*");
                self.peer(&|name| glob(&pattern, name, &|_| true))
            }
            "serviceAccounts" | "source.serviceAccount" => {
                let (namespace, account) = value.split_once('/').unwrap_or(("home", value));
                self.peer(&|name| service_account(namespace, account, name))
            }
            "trustDomains" | "source.trustDomain" => self.peer(&|name| match value {
                "*" => name.starts_with("spiffe://"),
                _ => name
                    .match_indices('/')
                    .any(|(at, _)| glob(&format!("spiffe://{value}"), &name[..at], &|b| b != b'/')),
            }),
            "requestPrincipals" | "request.auth.principal" => self.request_principal(value),
            "experimental.envoy.filters.f[k]" => {
                let bare = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
                match connection.metadata.first().map(|metadatum| &metadatum.value) {
                    None => false,
                    Some(MetadataValue::Text(found)) => {
                        bare.is_none() && text(value, found.as_bytes(), false)
                    }
                    Some(MetadataValue::List(items)) => bare.is_some_and(|value| {
                        items.iter().any(|item| text(value, item.as_bytes(), false))
                    }),
                }
            }
            key => {
                let present =
                    ["request.headers", "request.query"].iter().any(|p| key.starts_with(p));
                self.texts(key).iter().any(|found| text(value, found, present))
            }
        }
    }

    fn lines(self, name: &str) -> Texts {
        let same = |other: &[u8]| match self.wide {
            true => other.escape_ascii().to_string().replace('_', "-") == name.replace('_', "-"),
            false => other == name.as_bytes(),
        };
        self.request.headers.iter().filter(|(n, _)| same(n)).map(|(_, v)| v.clone()).collect()
    }

    fn path(self) -> Option<&'r [u8]> {
        let path = self.request.path()?;
        path.split(|b| *b == b'?').next()
    }

    fn host(self, value: &str) -> bool {
        let Some(authority) = self.lines(":authority").first().cloned() else { return false };
        let authority = String::from_utf8(authority).unwrap().to_ascii_lowercase();
        if text(value, authority.as_bytes(), true) {
            return true;
        }
        let with_port = value.rsplit_once(':').is_some_and(|(name, port)| {
            port.trim_end_matches('*').bytes().all(|b| b.is_ascii_digit())
                && (!name.contains(':') || name.ends_with(']'))
        });
        let hosts = authority.split(',').map(|host| host.trim().to_owned());
        let lines = self.lines("host").into_iter().map(|line| String::from_utf8(line).unwrap());
        self.wide
            && hosts.chain(lines.map(|line| line.to_ascii_lowercase())).any(|host| {
                let (name, port) = match host.rfind(':') {
                    Some(at) if host[at + 1..].bytes().all(|b| b.is_ascii_digit()) => {
                        host.split_at(at)
                    }
                    _ => (host.as_str(), ""),
                };
                let names = [name, name.strip_suffix('.').unwrap_or(name)];
                names.iter().any(|name| {
                    text(value, format!("{name}{port}").as_bytes(), true)
                        || !with_port && text(value, name.as_bytes(), true)
                })
            })
    }

    fn peer(self, test: &dyn Fn(&str) -> bool) -> bool {
        let peer = self.request.connection.peer.iter();
        let mut names = peer.flat_map(|p| p.uri_sans.iter().chain(&p.dns_sans).chain([&p.subject]));
        names.any(|name| test(name))
    }

    fn request_principal(self, value: &str) -> bool {
        let claim = |name| self.identity.and_then(|identity| identity.claims.text(name));
        let (Some(issuer), Some(subject)) = (claim("iss"), claim("sub")) else { return false };
        let (some_issuer, some_subject) = (!issuer.is_empty(), !subject.is_empty());
        match value.rsplit_once('/') {
            _ if value == "*" => some_issuer && some_subject,
            Some(("*", sub)) => some_issuer && subject == sub,
            Some((iss, sub)) if iss.starts_with('*') => {
                issuer.ends_with(&iss[1..]) && subject == sub
            }
            None if value.starts_with('*') => some_issuer && subject.ends_with(&value[1..]),
            Some((iss, "*")) => issuer == iss && some_subject,
            Some((iss, sub)) if sub.ends_with('*') => {
                issuer == iss && subject.starts_with(sub.trim_end_matches('*'))
            }
            None if value.ends_with('*') => {
                issuer.starts_with(value.trim_end_matches('*')) && some_subject
            }
            Some((iss, sub)) => issuer == iss && subject == sub,
            None => issuer == value && subject.is_empty(),
        }
    }

    /// The texts of a key.
    fn texts(self, key: &str) -> Texts {
        if let Some(name) = key.strip_prefix("request.headers[") {
            let name = name.trim_end_matches(']');
            return self.lines(if name == "host" { ":authority" } else { name });
        }
        if let Some(name) = key.strip_prefix("request.query[") {
            return self.query(name.trim_end_matches(']'));
        }
        if key == "connection.sni" {
            return vec![self.request.connection.sni.clone().into_bytes()];
        }
        let Some(identity) = self.identity else { return Texts::new() };
        let claims = &identity.claims;
        let bytes = |text: &str| text.as_bytes().to_vec();
        match key {
            "request.auth.provider" => vec![bytes(&identity.provider)],
            "request.auth.actor" => {
                let sub = claims.get("act").and_then(|act| act.get("sub")?.as_str());
                sub.map(bytes).into_iter().collect()
            }
            "request.auth.scopes" => ["scope", "scp", "scopes"]
                .iter()
                .filter_map(|name| claims.get(name))
                .flat_map(|value| match value {
                    Value::String(words) => words.split_ascii_whitespace().map(bytes).collect(),
                    Value::Array(items) => {
                        items.iter().filter_map(|i| i.as_str()).map(bytes).collect::<Vec<_>>()
                    }
                    _ => Vec::new(),
                })
                .collect(),
            "request.auth.audiences" => self.claim(identity, &["aud"]),
            "request.auth.presenter" => self.claim(identity, &["azp"]),
            _ => {
                let names = key.strip_prefix("request.auth.claims[").unwrap();
                let names: Vec<&str> = names.strip_suffix(']').unwrap().split("][").collect();
                self.claim(identity, &names)
            }
        }
    }

    fn claim(self, identity: &Identity, names: &[&str]) -> Texts {
        let mut values = vec![Value::Object(identity.claims.0.clone())];
        for name in names {
            let step = |value: &Value| match value {
                Value::Object(members) => members.get::<str>(name).cloned().into_iter().collect(),
                Value::Array(items) if *name == "*" => items.clone(),
                _ => Vec::new(),
            };
            values = values.iter().flat_map(step).collect();
        }
        if let ([name], [Value::String(words)]) = (names, values.as_slice())
            && identity.space_delimited.iter().any(|n| n == name)
            && words.split(' ').any(|word| !word.is_empty())
        {
            let words = words.split(' ').filter(|word| !word.is_empty());
            return words.map(|word| word.as_bytes().to_vec()).collect();
        }
        let one = |value: &Value| match value {
            Value::String(text) => Some(text.as_bytes().to_vec()),
            Value::Bool(_) | Value::Number(_) if self.scalars => {
                Some(value.to_string().into_bytes())
            }
            _ => None,
        };
        let each = |value: &Value| match value {
            Value::Array(items) => items.iter().filter_map(one).collect(),
            value => one(value).into_iter().collect::<Texts>(),
        };
        values.iter().flat_map(each).collect()
    }

    /// Without percent codes: the requests have none.
    fn query(self, name: &str) -> Texts {
        let path = String::from_utf8_lossy(self.request.path().unwrap_or_default()).into_owned();
        let Some((_, query)) = path.split_once('?') else { return Texts::new() };
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(n, _)| *n == name).map(|(_, value)| value.as_bytes().to_vec()).collect()
    }

    /// What a template captures in a path that matches; operators take as little as they can.
    fn template(self, template: &str, path: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
        let Some((before, rest)) = template.split_once('{') else {
            return (template.as_bytes() == path).then(Vec::new);
        };
        let path = path.strip_prefix(before.as_bytes())?;
        let (operator, rest) = rest.split_once('}').unwrap();
        let (name, many) = match operator {
            "*" => ("", false),
            "**" => ("", true),
            _ => operator.strip_suffix("=**").map_or((operator, false), |name| (name, true)),
        };
        let takes = |b: &u8| match b {
            b'/' => many,
            _ => self.wide || b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;:@=".contains(b),
        };
        let most = path.iter().take_while(|b| takes(b)).count();
        (usize::from(!many)..=most).find_map(|length| {
            let mut captures = self.template(rest, &path[length..])?;
            if !name.is_empty() {
                captures.push((name.to_owned(), path[..length].to_vec()));
            }
            Some(captures)
        })
    }
}

fn list(values: &Value) -> impl Iterator<Item = &str> {
    values.as_array().unwrap().iter().map(|value| value.as_str().unwrap())
}

fn is_written(key: &str) -> bool {
    ["request.headers", "request.query", "connection."].iter().any(|p| key.starts_with(p))
}

fn text(value: &str, text: &[u8], present: bool) -> bool {
    let (wildcard, bytes) = (value.strip_prefix('*'), value.as_bytes());
    if value == "*" {
        let regex = !text.is_empty() && !text.contains(&b'\n') && str::from_utf8(text).is_ok();
        return present || regex;
    }
    match (wildcard, bytes.strip_suffix(b"*")) {
        (Some(suffix), _) => text.ends_with(suffix.as_bytes()),
        (None, Some(prefix)) => text.starts_with(prefix),
        (None, None) => text == bytes,
    }
}

/// Each `*` of the pattern is any run of bytes that `takes` accepts.
fn glob(pattern: &str, text: &str, takes: &dyn Fn(u8) -> bool) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(before) else { return false };
    let most = text.bytes().take_while(|b| takes(*b)).count();
    (0..=most).any(|length| glob(rest, &text[length..], takes))
}

fn principal(value: &str, name: &str) -> bool {
    match (value, value.strip_prefix('*'), value.strip_suffix('*')) {
        ("*", ..) => !name.is_empty(),
        (_, Some(suffix), _) => {
            name.strip_prefix("spiffe://").is_some_and(|rest| rest.ends_with(suffix))
        }
        (_, _, Some(prefix)) => name.starts_with(&format!("spiffe://{prefix}")),
        _ => name == format!("spiffe://{value}"),
    }
}

/// Regex `spiffe://.+/ns/<namespace>/(.+/|)sa/<account>(/.+)?`.
fn service_account(namespace: &str, account: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix("spiffe://") else { return false };
    let ends = |rest: &str| rest.is_empty() || rest.starts_with('/') && rest.len() > 1;
    let account = format!("sa/{account}");
    rest.match_indices(&format!("/ns/{namespace}/")).filter(|(at, _)| *at > 0).any(|(at, found)| {
        let tail = &rest[at + found.len()..];
        let between = (1..tail.len()).filter(|at| tail[..*at].ends_with('/') && *at > 1);
        [0].into_iter().chain(between).any(|at| tail[at..].strip_prefix(&account).is_some_and(ends))
    })
}

fn block(value: &str, address: Option<IpAddr>) -> bool {
    let (block, length) = value.split_once('/').unwrap_or((value, "128"));
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => u128::from(v6),
    };
    let block: IpAddr = block.parse().unwrap();
    let shift = 128 - length.parse::<u32>().unwrap();
    address.is_some_and(|address| {
        address.is_ipv4() == block.is_ipv4()
            && (bits(address) ^ bits(block)).checked_shr(shift).unwrap_or(0) == 0
    })
}
