//! `fromHeaders`, `fromParams`, `fromCookies`, `fromWebSocketProtocol` -> places, each known once.

use super::Context;
use crate::codec::problems::{Node, Object, Problems};
use crate::policy::{Prefix, TokenLocation, default_places};

/// Reads a rule's places; the default ones where it names none. Answers indices into the list that
/// all rules share.
pub(super) fn read(rule: &Object<'_>, context: &mut Context<'_>) -> Vec<usize> {
    let problems = context.problems;
    let mut places = Vec::new();
    let mut named = false;
    for node in list(rule, "fromHeaders", &mut named, problems) {
        places.extend(header(&node, problems));
    }
    for node in list(rule, "fromParams", &mut named, problems) {
        places.extend(node.filled_text(problems).map(|name| TokenLocation::Param(name.to_owned())));
    }
    for node in list(rule, "fromCookies", &mut named, problems) {
        places
            .extend(node.filled_text(problems).map(|name| TokenLocation::Cookie(name.to_owned())));
    }
    if let Some(node) = rule.field("fromWebSocketProtocol") {
        named = true;
        places.extend(web_socket_protocol(&node, problems));
    }
    if !named {
        places = default_places();
    }
    places.into_iter().map(|place| index_of(place, context)).collect()
}

fn list<'v>(
    rule: &Object<'v>,
    name: &'static str,
    named: &mut bool,
    problems: &Problems,
) -> Vec<Node<'v>> {
    let items = rule.field(name).and_then(|node| node.list(problems)).unwrap_or_default();
    *named |= !items.is_empty();
    items
}

fn header(node: &Node<'_>, problems: &Problems) -> Option<TokenLocation> {
    let object = node.object(problems)?;
    let name = object.required("name", problems).and_then(|n| header_name(&n, problems));
    let prefix = object.field("prefix").and_then(|n| n.text(problems)).unwrap_or_default();
    object.finish(problems);
    Some(TokenLocation::Header { name: name?, prefix: Prefix::new(prefix) })
}

fn web_socket_protocol(node: &Node<'_>, problems: &Problems) -> Option<TokenLocation> {
    let object = node.object(problems)?;
    let prefix = object.required("prefix", problems).and_then(|n| n.filled_text(problems));
    object.finish(problems);
    Some(TokenLocation::WebSocketProtocol(prefix?.to_owned()))
}

/// A header name (RFC 9110 section 5.6.2), in lower case as Envoy has it.
pub(super) fn header_name(node: &Node<'_>, problems: &Problems) -> Option<String> {
    let name = node.filled_text(problems)?;
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.bytes().all(is_token) {
        return node.expected("a header name", problems);
    }
    Some(name.to_ascii_lowercase())
}

fn index_of(place: TokenLocation, context: &mut Context<'_>) -> usize {
    let next = context.places.len();
    let index = *context.places_by_form.entry(form(&place)).or_insert(next);
    if index == next {
        context.places.push(place);
    }
    index
}

/// A text that no two places share: names of headers hold no NUL.
fn form(place: &TokenLocation) -> Box<[u8]> {
    let (kind, name, prefix) = match place {
        TokenLocation::Cookie(name) => (b'c', name, None),
        TokenLocation::Header { name, prefix } => (b'h', name, Some(prefix)),
        TokenLocation::Param(name) => (b'p', name, None),
        TokenLocation::WebSocketProtocol(prefix) => (b'w', prefix, None),
    };
    let prefix = match prefix {
        Some(Prefix::Exact(text)) => ["\0e", text].concat(),
        Some(Prefix::Bearer) => "\0b".to_owned(),
        Some(Prefix::BearerOpen) => "\0o".to_owned(),
        None => String::new(),
    };
    [&[kind], name.as_bytes(), prefix.as_bytes()].concat().into()
}
