//! Which rules a request could match at all, so that it costs by its own size and not by their number.
//!
//! Each rule is filed under texts one of which must be in the request for it to match: a path or its
//! beginning, a claim's value, a principal, a host, a header's value. A request looks up what it has.
//! A rule that can be filed under nothing is always tried. The index only leaves out what cannot match;
//! whether a rule does match, [`Rule::matches`] alone says.

use std::collections::HashMap;

use super::facts::{Attribute, Facts};
use super::peer;
use super::principal::joined;
use super::rule::{Condition, Operand, Rule, Test};
use crate::claims::Segment;

/// Fewer rules than this are tried one by one.
const WORTH_FILING: usize = 8;

/// Rules of one kind, in the byte order of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    always: Vec<usize>,
    paths: Table,
    principals: Table,
    request_principals: Table,
    /// By an attribute with texts; claims apart, since a request names the claims that it has.
    texts: HashMap<Attribute, Table>,
    /// By the top-level claim, then by the attribute that reads it.
    claims: HashMap<String, HashMap<Attribute, Table>>,
}

/// Rules by a text or by its beginning.
#[derive(Clone, Debug, Default)]
struct Table {
    exact: HashMap<Box<[u8]>, Vec<usize>>,
    prefixes: Vec<(usize, HashMap<Box<[u8]>, Vec<usize>>)>,
}

/// What a rule may be filed under: a kind of text, and the texts.
struct Drawer {
    kind: Kind,
    keys: Vec<Key>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Path,
    Principal,
    RequestPrincipal,
    Text(Attribute),
}

enum Key {
    Exact(Box<[u8]>),
    Prefix(Box<[u8]>),
}

impl Index {
    pub(crate) fn new<'r>(rules: impl ExactSizeIterator<Item = &'r Rule>) -> Self {
        let mut index = Self::default();
        let file = rules.len() >= WORTH_FILING;
        for (number, rule) in rules.enumerate() {
            match drawer(rule).filter(|_| file) {
                Some(drawer) => index.file(number, drawer),
                None => index.always.push(number),
            }
        }
        index
    }

    fn file(&mut self, number: usize, drawer: Drawer) {
        let table = match drawer.kind {
            Kind::Path => &mut self.paths,
            Kind::Principal => &mut self.principals,
            Kind::RequestPrincipal => &mut self.request_principals,
            Kind::Text(attribute) => match &attribute {
                Attribute::Claim(path) => match path.segments().first() {
                    Some(Segment::Name(name)) => {
                        let tables = self.claims.entry(name.clone()).or_default();
                        tables.entry(attribute).or_default()
                    }
                    Some(Segment::Each) | None => return self.always.push(number),
                },
                _ => self.texts.entry(attribute).or_default(),
            },
        };
        for key in drawer.keys {
            table.add(number, key);
        }
    }

    /// The rules that could match, in their order.
    pub(crate) fn candidates(&self, facts: &Facts<'_>) -> Vec<usize> {
        let mut found = self.always.clone();
        if let Some(path) = facts.path() {
            self.paths.look_up(path, &mut found);
        }
        if let Some(peer) = &facts.request.connection.peer {
            for name in peer::names(peer) {
                self.principals.look_up(name.as_bytes(), &mut found);
            }
        }
        let mut look_up = |attribute: &Attribute, table: &Table| {
            facts.any(attribute, &mut |text| {
                table.look_up(text, &mut found);
                false
            });
        };
        for (attribute, table) in &self.texts {
            look_up(attribute, table);
        }
        if let Some(identity) = facts.identity {
            for name in identity.claims.0.keys() {
                for (attribute, table) in self.claims.get(name).into_iter().flatten() {
                    look_up(attribute, table);
                }
            }
            let text = |name| identity.claims.text(name);
            if let (Some(issuer), Some(subject)) = (text("iss"), text("sub")) {
                self.request_principals.look_up(&joined(issuer, subject), &mut found);
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }
}

impl Table {
    fn add(&mut self, number: usize, key: Key) {
        match key {
            Key::Exact(text) => self.exact.entry(text).or_default().push(number),
            Key::Prefix(text) => {
                let table = match self.prefixes.iter().position(|(size, _)| *size == text.len()) {
                    Some(at) => self.prefixes.get_mut(at),
                    None => {
                        self.prefixes.push((text.len(), HashMap::new()));
                        self.prefixes.last_mut()
                    }
                };
                if let Some((_, table)) = table {
                    table.entry(text).or_default().push(number);
                }
            }
        }
    }

    fn look_up(&self, text: &[u8], found: &mut Vec<usize>) {
        found.extend(self.exact.get(text).into_iter().flatten());
        for (size, table) in &self.prefixes {
            let beginning = text.get(..*size);
            found.extend(beginning.and_then(|b| table.get(b)).into_iter().flatten());
        }
    }
}

/// The drawer with the fewest rules to a text, as far as a rule alone can tell.
fn drawer(rule: &Rule) -> Option<Drawer> {
    let when = rule.when.iter().filter_map(condition);
    let from = alternatives(&rule.from);
    let to = alternatives(&rule.to);
    when.chain(from).chain(to).min_by_key(|drawer| (rank(&drawer.kind), drawer.keys.len()))
}

/// Low ranks tell requests apart best.
fn rank(kind: &Kind) -> u8 {
    match kind {
        Kind::RequestPrincipal => 0,
        Kind::Path => 1,
        Kind::Text(Attribute::Claim(_)) => 2,
        Kind::Principal => 3,
        Kind::Text(_) => 4,
    }
}

/// What every one of the alternatives can be filed under.
fn alternatives(operands: &[Operand]) -> Vec<Drawer> {
    let Some((first, others)) = operands.split_first() else {
        return Vec::new();
    };
    let mut drawers: Vec<Drawer> = first.iter().filter_map(condition).collect();
    for operand in others {
        let mut more: Vec<Drawer> = operand.iter().filter_map(condition).collect();
        drawers.retain_mut(|drawer| {
            let Some(at) = more.iter().position(|other| other.kind == drawer.kind) else {
                return false;
            };
            drawer.keys.append(&mut more.swap_remove(at).keys);
            true
        });
    }
    drawers
}

fn condition(condition: &Condition) -> Option<Drawer> {
    let exact = |text: &[u8]| Key::Exact(text.into());
    let prefix = |text: &[u8]| Key::Prefix(text.into());
    let (kind, keys) = match condition.values.as_ref()? {
        Test::Text(attribute, set) => {
            let keys = set.only_exact()?.map(exact).collect();
            (Kind::Text(attribute.clone()), keys)
        }
        Test::Path(set) => {
            let prefixes = set.texts.only_prefixes()?.map(prefix);
            let templates = set.templates.iter().map(|template| prefix(template.prefix()));
            let keys = set.texts.exact_texts().map(exact).chain(prefixes).chain(templates);
            (Kind::Path, keys.collect())
        }
        Test::Peer(set) => (Kind::Principal, set.only_exact()?.map(exact).collect()),
        Test::RequestPrincipal(set) => {
            (Kind::RequestPrincipal, set.only_exact()?.map(exact).collect())
        }
        Test::Address(..) | Test::Metadata { .. } | Test::Port(_) => return None,
    };
    Some(Drawer { kind, keys })
}
