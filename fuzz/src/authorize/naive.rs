//! A rule, read word by word from its JSON by docs/semantics.md and docs/authorization.md. It is slow, and knows the forms of values
//! that the cases have.

use std::net::IpAddr;

use serde_json::Value;

use super::list;
use crate::subject::{Identity, MetadataValue, Request};

type Texts = Vec<Vec<u8>>;

/// What a match does; docs/authorization.md, "Where a match refuses".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Effect {
    LetsIn,
    Notes,
    Refuses,
}

/// A request, as one policy reads it.
#[derive(Clone, Copy)]
pub(super) struct Naive<'r> {
    request: &'r Request,
    identity: Option<&'r Identity>,
    /// `matchScalarClaims`.
    scalars: bool,
    effect: Effect,
}

impl<'r> Naive<'r> {
    pub(super) fn new(
        request: &'r Request,
        identity: Option<&'r Identity>,
        scalars: bool,
        action: &str,
    ) -> Self {
        let effect = match action {
            "DENY" => Effect::Refuses,
            "AUDIT" => Effect::Notes,
            _ => Effect::LetsIn,
        };
        Self { request, identity, scalars, effect }
    }

    /// As `not` values read the request.
    fn negated(self) -> Self {
        let effect = match self.effect {
            Effect::LetsIn => Effect::Refuses,
            Effect::Notes => Effect::Notes,
            Effect::Refuses => Effect::LetsIn,
        };
        Self { effect, ..self }
    }

    fn refuses(self) -> bool {
        self.effect == Effect::Refuses
    }

    pub(super) fn rule(self, rule: &Value) -> bool {
        let any = |field: &str, inner: &str| {
            rule.get(field).is_none() || list(&rule[field]).any(|item| self.operand(&item[inner]))
        };
        any("from", "source")
            && any("to", "operation")
            && list(&rule["when"]).all(|condition| self.condition(rule, condition))
    }

    fn operand(self, operand: &Value) -> bool {
        operand.as_object().unwrap().iter().all(|(field, values)| match field.strip_prefix("not") {
            None => self.any(field, values),
            Some(rest) => {
                let field = rest[..1].to_ascii_lowercase() + &rest[1..];
                !self.negated().any(&field, values)
            }
        })
    }

    fn condition(self, rule: &Value, condition: &Value) -> bool {
        let key = condition["key"].as_str().unwrap();
        let given = |name: &str| condition.get(name);
        given("values").is_none_or(|values| self.any(key, values))
            && !given("notValues").is_some_and(|values| self.negated().any(key, values))
            && given("allValues").is_none_or(|values| texts_of(values).all(|v| self.value(key, v)))
            && given("valuesFrom").is_none_or(|from| self.values_from(rule, condition, from))
    }

    fn any(self, field: &str, values: &Value) -> bool {
        texts_of(values).any(|value| self.value(field, value))
    }

    fn values_from(self, rule: &Value, condition: &Value, sources: &Value) -> bool {
        let key = condition["key"].as_str().unwrap();
        let all = condition["valuesFromAll"] == Value::Bool(true);
        let own = self.texts(key);
        let (mut of_client, mut of_issuer) = (Texts::new(), Texts::new());
        for source in texts_of(sources) {
            match source.strip_prefix("path.") {
                Some(name) => of_client.extend(self.captures(rule, name)),
                None if is_of_client(source) => of_client.extend(self.texts(source)),
                None => of_issuer.extend(self.texts(source)),
            }
        }
        // Of what a client writes twice nobody can say which the service reads.
        if distinct(&of_client) > 1 || !all && is_of_client(key) && distinct(&own) > 1 {
            return self.refuses();
        }
        let is_there = |text: &Vec<u8>| of_client.contains(text) || of_issuer.contains(text);
        if all { !own.is_empty() && own.iter().all(is_there) } else { own.iter().any(is_there) }
    }

    /// What the paths of those operations capture that match.
    fn captures(self, rule: &Value, name: &str) -> Texts {
        let Some(path) = self.path() else { return Texts::new() };
        let operations = list(&rule["to"]).map(|item| &item["operation"]);
        let paths = operations.filter(|o| self.operand(o)).flat_map(|o| texts_of(&o["paths"]));
        let captured = paths.filter_map(|value| self.template(value, path)).flatten();
        captured.filter(|(known, _)| known == name).map(|(_, text)| text).collect()
    }

    fn value(self, field: &str, value: &str) -> bool {
        let connection = &self.request.connection;
        match field {
            "paths" => self.path().is_some_and(|path| match value.contains('{') {
                true => self.template(value, path).is_some(),
                false => is_text(value, path, Star::Filled),
            }),
            "methods" => {
                self.lines(":method").first().is_some_and(|m| is_text(value, m, Star::Present))
            }
            "hosts" => self.host(&value.to_ascii_lowercase()),
            "ports" | "destination.port" => {
                connection.destination_port.is_some_and(|port| port.to_string() == value)
            }
            "ipBlocks" | "source.ip" => is_in(value, connection.source_ip),
            "remoteIpBlocks" | "remote.ip" => is_in(value, connection.remote_ip),
            "destination.ip" => is_in(value, connection.destination_ip),
            "principals" | "source.principal" => self.peer(&|name| principal(value, name)),
            "namespaces" | "source.namespace" => {
                self.peer(&|name| glob(&format!("*/ns/{value}/*"), name, &|_| true))
            }
            "serviceAccounts" | "source.serviceAccount" => {
                let (namespace, account) = value.split_once('/').unwrap_or(("home", value));
                self.peer(&|name| service_account(namespace, account, name))
            }
            "trustDomains" | "source.trustDomain" => self.peer(&|name| trust_domain(value, name)),
            "requestPrincipals" | "request.auth.principal" => self.request_principal(value),
            "experimental.envoy.filters.f[k]" => self.metadata(value),
            key => {
                let attributes = ["request.headers", "request.query"];
                let is_attribute = attributes.iter().any(|prefix| key.starts_with(prefix));
                let star = if is_attribute { Star::Present } else { Star::Filled };
                self.texts(key).iter().any(|text| is_text(value, text, star))
            }
        }
    }

    fn path(self) -> Option<&'r [u8]> {
        self.request.path()?.split(|b| *b == b'?').next()
    }

    fn lines(self, name: &str) -> Texts {
        let folded = |name: &[u8]| name.escape_ascii().to_string().replace('_', "-");
        let same = |other: &[u8]| match self.refuses() {
            true => folded(other) == folded(name.as_bytes()),
            false => other == name.as_bytes(),
        };
        self.request.headers.iter().filter(|(n, _)| same(n)).map(|(_, v)| v.clone()).collect()
    }

    fn host(self, value: &str) -> bool {
        let text = |line: &Vec<u8>| String::from_utf8(line.clone()).unwrap().to_ascii_lowercase();
        let Some(authority) = self.lines(":authority").first().map(text) else { return false };
        if is_text(value, authority.as_bytes(), Star::Present) {
            return true;
        }
        let is_port = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let names_port = value.rsplit_once(':').is_some_and(|(name, port)| {
            is_port(port.trim_end_matches('*')) && (!name.contains(':') || name.ends_with(']'))
        });
        let spellings = |host: &str| {
            let at = host.rfind(':').filter(|at| is_port(&host[at + 1..]));
            let (name, port) = host.split_at(at.unwrap_or(host.len()));
            let bare = name.strip_suffix('.').unwrap_or(name);
            let mut all = vec![format!("{name}{port}"), format!("{bare}{port}")];
            if !names_port {
                all.extend([name.to_owned(), bare.to_owned()]);
            }
            all
        };
        let joined = authority.split(',').map(|host| host.trim().to_owned());
        let lines = self.lines("host");
        let mut hosts = joined.chain(lines.iter().map(text));
        self.refuses()
            && hosts.any(|host| {
                spellings(&host).iter().any(|host| is_text(value, host.as_bytes(), Star::Present))
            })
    }

    fn peer(self, test: &dyn Fn(&str) -> bool) -> bool {
        let Some(peer) = &self.request.connection.peer else { return false };
        peer.uri_sans.iter().chain(&peer.dns_sans).chain([&peer.subject]).any(|name| test(name))
    }

    fn metadata(self, value: &str) -> bool {
        let of_list = value.strip_prefix('[').and_then(|value| value.strip_suffix(']'));
        match self.request.connection.metadata.first().map(|metadatum| &metadatum.value) {
            None => false,
            Some(MetadataValue::Text(text)) => {
                of_list.is_none() && is_text(value, text.as_bytes(), Star::Filled)
            }
            Some(MetadataValue::List(items)) => of_list.is_some_and(|value| {
                items.iter().any(|item| is_text(value, item.as_bytes(), Star::Filled))
            }),
        }
    }

    /// docs/semantics.md, "Request principals".
    fn request_principal(self, value: &str) -> bool {
        let claim = |name| self.identity.and_then(|identity| identity.claims.text(name));
        let (Some(iss), Some(sub)) = (claim("iss"), claim("sub")) else { return false };
        let (has_iss, has_sub) = (!iss.is_empty(), !sub.is_empty());
        if value == "*" {
            return has_iss && has_sub;
        }
        let Some((issuer, subject)) = value.rsplit_once('/') else {
            return match (value.strip_prefix('*'), value.strip_suffix('*')) {
                (Some(end), _) => has_iss && sub.ends_with(end),
                (None, Some(begin)) => iss.starts_with(begin) && has_sub,
                (None, None) => iss == value && sub.is_empty(),
            };
        };
        match (issuer.strip_prefix('*'), subject.strip_suffix('*')) {
            (Some(""), _) => has_iss && sub == subject,
            (Some(end), _) => iss.ends_with(end) && sub == subject,
            (None, Some("")) => iss == issuer && has_sub,
            (None, Some(begin)) => iss == issuer && sub.starts_with(begin),
            (None, None) => iss == issuer && sub == subject,
        }
    }

    /// The texts of a key that has texts.
    fn texts(self, key: &str) -> Texts {
        let bytes = |text: &str| text.as_bytes().to_vec();
        if let Some(name) = key.strip_prefix("request.headers[") {
            let name = name.trim_end_matches(']');
            return self.lines(if name == "host" { ":authority" } else { name });
        }
        match key {
            "request.query[q]" => return self.query("q"),
            "connection.sni" => return vec![bytes(&self.request.connection.sni)],
            _ => {}
        }
        let Some(identity) = self.identity else { return Texts::new() };
        match key {
            "request.auth.provider" => vec![bytes(&identity.provider)],
            "request.auth.actor" => {
                let actor = identity.claims.get("act").and_then(|act| act.get("sub"));
                actor.and_then(Value::as_str).map(bytes).into_iter().collect()
            }
            "request.auth.scopes" => {
                let claims =
                    ["scope", "scp", "scopes"].iter().filter_map(|n| identity.claims.get(n));
                let words = |value: &Value| -> Texts {
                    match value {
                        Value::String(text) => text.split_ascii_whitespace().map(bytes).collect(),
                        other => list(other).filter_map(Value::as_str).map(bytes).collect(),
                    }
                };
                claims.flat_map(words).collect()
            }
            "request.auth.audiences" => self.claim(identity, &["aud"]),
            "request.auth.presenter" => self.claim(identity, &["azp"]),
            claim => {
                let names = claim.strip_prefix("request.auth.claims[").unwrap();
                let names: Vec<&str> = names.strip_suffix(']').unwrap().split("][").collect();
                self.claim(identity, &names)
            }
        }
    }

    fn claim(self, identity: &Identity, names: &[&str]) -> Texts {
        let mut found = vec![Value::Object(identity.claims.0.clone())];
        for name in names {
            found = found
                .iter()
                .flat_map(|value| match value {
                    Value::Object(members) => members.get(*name).cloned().into_iter().collect(),
                    Value::Array(items) if *name == "*" => items.clone(),
                    _ => Vec::new(),
                })
                .collect();
        }
        if let ([name], [Value::String(text)]) = (names, found.as_slice())
            && identity.space_delimited.iter().any(|known| known == name)
        {
            let words: Texts = text
                .split(' ')
                .filter(|word| !word.is_empty())
                .map(|word| word.as_bytes().to_vec())
                .collect();
            if !words.is_empty() {
                return words;
            }
        }
        let scalar = |value: &Value| match value {
            Value::String(text) => Some(text.as_bytes().to_vec()),
            Value::Bool(_) | Value::Number(_) if self.scalars => {
                Some(value.to_string().into_bytes())
            }
            _ => None,
        };
        found
            .iter()
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().filter_map(scalar).collect::<Texts>(),
                other => scalar(other).into_iter().collect(),
            })
            .collect()
    }

    /// Without percent codes, of which the cases have none.
    fn query(self, name: &str) -> Texts {
        let path = String::from_utf8_lossy(self.request.path().unwrap_or_default()).into_owned();
        let Some((_, query)) = path.split_once('?') else { return Texts::new() };
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        pairs.filter(|(n, _)| *n == name).map(|(_, value)| value.as_bytes().to_vec()).collect()
    }

    /// What a template captures, of a path that it matches; an operator takes as little as it can.
    fn template(self, template: &str, path: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
        let Some((before, rest)) = template.split_once('{') else {
            return (template.as_bytes() == path).then(Vec::new);
        };
        let path = path.strip_prefix(before.as_bytes())?;
        let (operator, rest) = rest.split_once('}').unwrap();
        let (name, takes_slashes) = match operator {
            "*" => ("", false),
            "**" => ("", true),
            _ => match operator.strip_suffix("=**") {
                Some(name) => (name, true),
                None => (operator, false),
            },
        };
        let takes = |b: &u8| match b {
            b'/' => takes_slashes,
            _ => self.refuses() || b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;:@=".contains(b),
        };
        let most = path.iter().take_while(|b| takes(b)).count();
        (usize::from(!takes_slashes)..=most).find_map(|length| {
            let (taken, left) = path.split_at(length);
            let mut captures = self.template(rest, left)?;
            if !name.is_empty() {
                captures.push((name.to_owned(), taken.to_vec()));
            }
            Some(captures)
        })
    }
}

fn texts_of(values: &Value) -> impl Iterator<Item = &str> {
    list(values).map(|value| value.as_str().unwrap())
}

fn is_of_client(key: &str) -> bool {
    ["request.headers", "request.query", "connection."].iter().any(|p| key.starts_with(p))
}

fn distinct(texts: &Texts) -> usize {
    texts.iter().enumerate().filter(|(at, text)| !texts[..*at].contains(text)).count()
}

/// What `*` asks of a text; docs/semantics.md, "How a value matches".
#[derive(Clone, Copy, PartialEq, Eq)]
enum Star {
    /// The regex `.+`.
    Filled,
    /// That it is there.
    Present,
}

fn is_text(value: &str, text: &[u8], star: Star) -> bool {
    if value == "*" {
        let is_regex = !text.is_empty() && !text.contains(&b'\n') && str::from_utf8(text).is_ok();
        return star == Star::Present || is_regex;
    }
    match (value.strip_prefix('*'), value.strip_suffix('*')) {
        (Some(end), _) => text.ends_with(end.as_bytes()),
        (None, Some(begin)) => text.starts_with(begin.as_bytes()),
        (None, None) => text == value.as_bytes(),
    }
}

/// Each `*` of the pattern is any run of what it takes.
fn glob(pattern: &str, text: &str, takes: &dyn Fn(u8) -> bool) -> bool {
    let Some((before, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(before) else { return false };
    let most = text.bytes().take_while(|b| takes(*b)).count();
    (0..=most).any(|length| glob(rest, &text[length..], takes))
}

/// docs/semantics.md, "Peer identity".
fn principal(value: &str, name: &str) -> bool {
    if value == "*" {
        return !name.is_empty();
    }
    let Some(rest) = name.strip_prefix("spiffe://") else { return false };
    is_text(value, rest.as_bytes(), Star::Present)
}

fn trust_domain(value: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix("spiffe://") else { return false };
    let domain = rest.split_once('/').map(|(domain, _)| domain);
    value == "*" || domain.is_some_and(|domain| glob(value, domain, &|b| b != b'/'))
}

/// The regex `spiffe://.+/ns/<namespace>/(.+/|)sa/<account>(/.+)?`.
fn service_account(namespace: &str, account: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix("spiffe://") else { return false };
    let (namespace, account) = (format!("/ns/{namespace}/"), format!("sa/{account}"));
    let is_account = |tail: &str| {
        let behind = tail.strip_prefix(&account);
        behind.is_some_and(|b| b.is_empty() || b.len() > 1 && b.starts_with('/'))
    };
    rest.match_indices(&namespace).filter(|(at, _)| *at > 0).any(|(at, found)| {
        let tail = &rest[at + found.len()..];
        is_account(tail)
            || tail.match_indices('/').any(|(slash, _)| slash > 0 && is_account(&tail[slash + 1..]))
    })
}

fn is_in(block: &str, address: Option<IpAddr>) -> bool {
    let (block, length) = block.split_once('/').unwrap();
    let bits = |address: IpAddr| match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)) << 96, true),
        IpAddr::V6(v6) => (u128::from(v6), false),
    };
    let (block, length) = (bits(block.parse().unwrap()), length.parse::<u32>().unwrap());
    let masked = |bits: u128| bits.checked_shr(128 - length).unwrap_or(0);
    address.map(bits).is_some_and(|a| a.1 == block.1 && masked(a.0) == masked(block.0))
}
