//! A case, or a table of them: requests, and the expected answer to each.
//!
//! A table is a case with `columns` and `rows`: each row fills the columns into the case. A cell that
//! is null leaves its column out.

use std::collections::BTreeMap;

use anyhow::Context as _;
use usher_core::codec::json::{Map, Value};
use usher_core::codec::problems::{Node, Object, Problems, did_you_mean};
use usher_core::request::Request;
use usher_core::time::UnixSeconds;

use super::expect;
use super::suite::{members, time};
use crate::output::set;
use crate::request::{Line, PeerLine, peer};

/// A request and its expected answer.
#[derive(Debug)]
pub(super) struct Case {
    /// Its path in the file.
    pub(super) at: String,
    pub(super) name: String,
    pub(super) now: UnixSeconds,
    /// The expected fields of the answer.
    pub(super) expect: Map<String, Value>,
    line: Line,
    token: Option<String>,
}

impl Case {
    /// The request, with its tokens in place.
    ///
    /// # Errors
    /// Metadata of a type that no rule could match.
    pub(super) fn request(&self, tokens: &BTreeMap<String, String>) -> anyhow::Result<Request> {
        let mut line = self.line.clone();
        let fill = |text: &mut String| {
            for (name, token) in tokens {
                *text = text.replace(&format!("${{{name}}}"), token);
            }
        };
        fill(&mut line.path);
        let headers = line.headers.get_or_insert_default();
        headers.iter_mut().for_each(|(_, value)| fill(value));
        if let Some(name) = &self.token {
            let token = tokens.get(name).context("a token that was signed")?;
            headers.push(("authorization".to_owned(), format!("Bearer {token}")));
        }
        line.request()
    }
}

/// The cases of an entry: one, or a table's.
pub(super) fn read(
    node: &Node<'_>,
    now: UnixSeconds,
    tokens: &[&str],
    problems: &Problems,
) -> Vec<Case> {
    let Some(object) = node.object(problems) else { return Vec::new() };
    if !object.has("rows") && !object.has("columns") {
        return one(&node.at, node.value, "", now, tokens, problems).into_iter().collect();
    }
    let columns = object.required("columns", problems).and_then(|n| n.texts(problems));
    let rows = object.required("rows", problems).and_then(|n| n.list(problems));
    let (Some(columns), Some(rows)) = (columns, rows) else { return Vec::new() };
    if rows.is_empty() {
        problems.error(object.path("rows"), "expected at least one row, found none");
    }
    let mut base = node.value.clone();
    if let Value::Object(members) = &mut base {
        members.remove("columns");
        members.remove("rows");
    }
    let mut cases = Vec::new();
    for row in rows {
        let Some(cells) = row.list(problems) else { continue };
        if cells.len() != columns.len() {
            let (wanted, found) = (columns.len(), cells.len());
            problems.error(&row.at, format!("expected {wanted} cells, found {found}"));
            continue;
        }
        let mut value = base.clone();
        for (column, cell) in columns.iter().zip(&cells) {
            if !cell.value.is_null() {
                fill(&mut value, column, cell.value);
            }
        }
        let shown: Vec<String> = cells.iter().map(|cell| shown(cell.value)).collect();
        cases.extend(one(&row.at, &value, &shown.join(" | "), now, tokens, problems));
    }
    cases
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
}

/// Sets the value at a cell's column: `token`, `request`, `request.path`, `expect.status`, ..
fn fill(case: &mut Value, column: &str, cell: &Value) {
    let mut place = case;
    let mut pieces = column.split('.').peekable();
    while let Some(piece) = pieces.next() {
        if let Some(long) = match piece {
            "request" if pieces.peek().is_some() => place.get(piece).and_then(request_object),
            "expect" if pieces.peek().is_some() => place.get(piece).and_then(expect_object),
            _ => None,
        } {
            set(place, piece, long);
        }
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        let Value::Object(members) = place else { return };
        place = members.entry(piece).or_insert(Value::Null);
    }
    // A short form over a long one changes its own fields and leaves the others.
    let long = match column {
        "request" => request_object(cell),
        "expect" => expect_object(cell),
        _ => None,
    };
    match (place, long) {
        (Value::Object(members), Some(Value::Object(more))) => members.extend(more),
        (place, _) => *place = cell.clone(),
    }
}

/// `GET /path` as an object.
fn request_object(value: &Value) -> Option<Value> {
    let (method, path) = value.as_str()?.trim().split_once(' ')?;
    Some(serde_json::json!({ "method": method, "path": path.trim() }))
}

/// `allow`, `deny` or a reason as an object.
fn expect_object(value: &Value) -> Option<Value> {
    let word = value.as_str()?;
    let field = if matches!(word, "allow" | "deny") { "decision" } else { "reason" };
    Some(serde_json::json!({ field: word }))
}

fn one(
    at: &str,
    value: &Value,
    row: &str,
    now: UnixSeconds,
    tokens: &[&str],
    problems: &Problems,
) -> Option<Case> {
    let node = Node { at: at.to_owned(), value };
    let object = node.object(problems)?;
    let name = object.field("name").and_then(|node| node.filled_text(problems));
    let now = object.field("now").and_then(|node| time(&node, problems)).unwrap_or(now);
    let token = object.field("token").and_then(|node| token(&node, tokens, problems));
    let request = object.required("request", problems);
    let line = request.and_then(|node| request_of(&node, tokens, problems));
    let expect = object.required("expect", problems);
    let expect = expect.and_then(|node| expect::read(&node, problems));
    object.finish(problems);
    let (line, expect) = (line?, expect?);
    let described = || format!("{} {}", line.method, line.path);
    let name = match (name, row) {
        (Some(name), "") => name.to_owned(),
        (Some(name), row) => format!("{name}: {row}"),
        (None, "") => described(),
        (None, row) => row.to_owned(),
    };
    Some(Case { at: at.to_owned(), name, now, expect, line, token })
}

fn token(node: &Node<'_>, tokens: &[&str], problems: &Problems) -> Option<String> {
    let name = node.filled_text(problems)?;
    if !tokens.contains(&name) {
        let hint = did_you_mean(name, tokens.iter().copied());
        problems.error(&node.at, format!("no token is named `{name}`{hint}"));
    }
    Some(name.to_owned())
}

fn request_of(node: &Node<'_>, tokens: &[&str], problems: &Problems) -> Option<Line> {
    let long;
    let node = match node.value {
        Value::String(_) => match request_object(node.value) {
            Some(object) => {
                long = object;
                Node { at: node.at.clone(), value: &long }
            }
            None => return node.expected("a request such as `GET /path`", problems),
        },
        _ => node.clone(),
    };
    let object = node.object(problems)?;
    let text = |name| object.field(name).and_then(|node| node.text(problems)).map(str::to_owned);
    let address = |name| {
        let node = object.field(name)?;
        let address = node.value.as_str().and_then(|text| text.parse().ok());
        address.or_else(|| node.expected("an IP address", problems))
    };
    let peer = match (object.field("principal"), object.field("peer")) {
        (Some(node), None) => node.filled_text(problems).map(peer),
        (Some(node), Some(_)) => node.expected("either `principal` or `peer`", problems),
        (None, Some(node)) => peer_of(&node, problems),
        (None, None) => None,
    };
    let tls = object.field("tls").and_then(|node| node.boolean(problems));
    let port = object.field("destination_port").and_then(|node| node.integer(0..=65_535, problems));
    let metadata = object.field("metadata").and_then(|node| {
        let parsed = serde_json::from_value(node.value.clone()).ok();
        parsed.or_else(|| node.expected("an object of filters and their keys", problems))
    });
    let line = Line {
        method: text("method").unwrap_or_else(|| "GET".to_owned()),
        path: text("path").unwrap_or_else(|| "/".to_owned()),
        authority: text("host").or_else(|| text("authority")),
        headers: Some(headers(&object, tokens, problems)),
        tls: Some(tls.unwrap_or(peer.is_some())),
        sni: text("sni"),
        peer,
        source_ip: address("source_ip"),
        remote_ip: address("remote_ip"),
        destination_ip: address("destination_ip"),
        destination_port: port.and_then(|port| u16::try_from(port).ok()),
        metadata,
        body: object.field("body").and_then(|node| node.boolean(problems)),
    };
    // Read here too: `host` takes precedence.
    object.field("authority");
    check_tokens(&line.path, &object.path("path"), tokens, problems);
    object.finish(problems);
    Some(line)
}

/// By name, with one value or a list of them; or a list of `name: value` lines.
fn headers(object: &Object<'_>, tokens: &[&str], problems: &Problems) -> Vec<(String, String)> {
    let mut headers = Vec::new();
    let mut add = |at: String, name: &str, value: &Value| {
        let node = Node { at, value };
        if let Some(text) = node.text(problems) {
            check_tokens(text, &node.at, tokens, problems);
            headers.push((name.to_owned(), text.to_owned()));
        }
    };
    let Some((at, members)) = members(object, "headers", problems) else { return headers };
    for (name, value) in members {
        let at = format!("{at}.{name}");
        match value {
            Value::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    add(format!("{at}[{index}]"), name, value);
                }
            }
            value => add(at, name, value),
        }
    }
    headers
}

/// Every `${name}` must be a token's.
fn check_tokens(text: &str, at: &str, tokens: &[&str], problems: &Problems) {
    for (_, rest) in text.match_indices("${").filter_map(|(index, _)| text.split_at_checked(index))
    {
        let name = rest.get(2..).and_then(|rest| rest.split_once('}')).map(|(name, _)| name);
        if let Some(name) = name.filter(|name| !tokens.contains(name)) {
            let hint = did_you_mean(name, tokens.iter().copied());
            problems.error(at, format!("no token is named `{name}`{hint}"));
        }
    }
}

fn peer_of(node: &Node<'_>, problems: &Problems) -> Option<PeerLine> {
    let object = node.object(problems)?;
    let texts = |name| {
        let texts = object.field(name).and_then(|node| node.texts(problems));
        texts.map(|texts| texts.into_iter().map(str::to_owned).collect())
    };
    let peer = PeerLine {
        uri_sans: texts("uri_sans"),
        dns_sans: texts("dns_sans"),
        subject: object.field("subject").and_then(|n| n.text(problems)).map(str::to_owned),
        doubtful: object.field("doubtful").and_then(|n| n.boolean(problems)),
    };
    object.finish(problems);
    Some(peer)
}
