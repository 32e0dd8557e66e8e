//! `fromHeaders`, `fromParams`, `fromCookies`, `fromWebSocketProtocol` -> places, each known once.

use std::cell::RefCell;

use super::Context;
use super::fields::{self, Field};
use super::names::header_name;
use crate::codec::problems::{Node, Object, Problems};
use crate::policy::{Prefix, TokenLocation, default_places};

/// Reads a rule's places; the default ones if it names none. Returns indices into the list that all
/// rules share.
pub(super) fn read(rule: &Object<'_>, context: &mut Context<'_>) -> Vec<usize> {
    let problems = context.problems;
    // A place that cannot be read is left out, but was named nevertheless.
    let named = RefCell::new(Vec::new());
    let take = |place: Option<TokenLocation>| named.borrow_mut().push(place);
    let name = |node: &Node<'_>| node.filled_text(problems).map(str::to_owned);
    fields::read(
        rule,
        &mut [
            Field::each("fromHeaders", &mut |n| take(header(n, problems))),
            Field::each("fromParams", &mut |n| take(name(n).map(TokenLocation::Param))),
            Field::each("fromCookies", &mut |n| take(name(n).map(TokenLocation::Cookie))),
            Field::with("fromWebSocketProtocol", &mut |n| take(web_socket_protocol(n, problems))),
        ],
        problems,
    );
    let named = named.into_inner();
    let places = match named.is_empty() {
        true => default_places(),
        false => named.into_iter().flatten().collect(),
    };
    places.into_iter().map(|place| index_of(place, context)).collect()
}

fn header(node: &Node<'_>, problems: &Problems) -> Option<TokenLocation> {
    let (mut name, mut prefix) = (None, Prefix::new(""));
    fields::read_object(
        node,
        &mut [
            Field::with("name", &mut |n| name = header_name(n, problems)).required(),
            Field::with("prefix", &mut |n| {
                prefix = Prefix::new(n.text(problems).unwrap_or_default())
            }),
        ],
        problems,
    )?;
    Some(TokenLocation::Header { name: name?, prefix })
}

fn web_socket_protocol(node: &Node<'_>, problems: &Problems) -> Option<TokenLocation> {
    let mut prefix = None;
    fields::read_object(node, &mut [Field::text("prefix", &mut prefix).required()], problems)?;
    prefix.map(TokenLocation::WebSocketProtocol)
}

fn index_of(place: TokenLocation, context: &mut Context<'_>) -> usize {
    let next = context.places.len();
    let index = *context.places_by_form.entry(form(&place)).or_insert(next);
    if index == next {
        context.places.push(place);
    }
    index
}

/// A text that is different for each place: names of headers contain no NUL.
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
