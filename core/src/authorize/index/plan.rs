//! The texts that rules are indexed under: of all texts that a rule requires, those that the fewest
//! other rules require.

use crate::authorize::address::octets;
use crate::authorize::key::Key;
use crate::hash::FastMap;
use crate::policy::authorization::attribute::{Address, Attribute};
use crate::policy::authorization::rule::{Condition, Operand, Rule, Test};

/// One text, and which part of a request has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Bucket {
    pub(super) kind: Kind,
    pub(super) key: Key,
}

/// The part of a request that has a text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// An address, cut to a prefix of this length.
    Block(Address, u8),
    /// The host, in its [`crate::authorize::host::spellings`].
    Host,
    Path,
    /// Names of the peer, and what [`crate::authorize::peer::Parts`] holds of them.
    Peer,
    Port,
    /// The token, by its [`crate::authorize::principal::names`].
    RequestPrincipal,
    Text(Attribute),
}

/// What a request must have for a rule, or a part of one, to match.
pub(super) enum Need {
    /// One of these.
    Any(Vec<Self>),
    /// All of these.
    Every(Vec<Self>),
    One(Bucket),
    /// Nothing that can be looked up.
    Unknown,
}

/// For each rule the buckets one of which every matching request has; `None` if there are none.
pub(super) fn choose(needs: impl Iterator<Item = Need>) -> Vec<Option<Vec<Bucket>>> {
    let needs: Vec<Need> = needs.collect();
    let mut crowd = FastMap::default();
    for need in &needs {
        need.count(&mut crowd);
    }
    needs.iter().map(|need| need.cheapest(&crowd).map(|(_, buckets)| buckets)).collect()
}

impl Need {
    fn count<'n>(&'n self, crowd: &mut FastMap<&'n Bucket, usize>) {
        match self {
            Self::Any(needs) | Self::Every(needs) => needs.iter().for_each(|n| n.count(crowd)),
            Self::One(bucket) => {
                let count = crowd.entry(bucket).or_default();
                *count = count.saturating_add(1);
            }
            Self::Unknown => {}
        }
    }

    /// The buckets that the fewest rules require, and how many require them.
    fn cheapest(&self, crowd: &FastMap<&Bucket, usize>) -> Option<(usize, Vec<Bucket>)> {
        match self {
            Self::One(bucket) => {
                Some((crowd.get(bucket).copied().unwrap_or_default(), vec![bucket.clone()]))
            }
            Self::Any(needs) => {
                let mut all = (0_usize, Vec::new());
                for need in needs {
                    let (count, buckets) = need.cheapest(crowd)?;
                    all.0 = all.0.saturating_add(count);
                    all.1.extend(buckets);
                }
                Some(all)
            }
            Self::Every(needs) => {
                needs.iter().filter_map(|need| need.cheapest(crowd)).min_by_key(|(count, _)| *count)
            }
            Self::Unknown => None,
        }
    }
}

/// (any `from`) and (any `to`) and (every `when`).
pub(super) fn of_rule(rule: &Rule) -> Need {
    let when = operand(&rule.when);
    Need::Every([alternatives(&rule.from), alternatives(&rule.to), when].into())
}

/// The paths of a rule, without its other conditions.
pub(super) fn of_paths(rule: &Rule) -> Need {
    let only = |operand: &Operand| {
        let paths = operand.iter().filter(|c| matches!(c.values, Some(Test::Path(_))));
        Need::Every(paths.map(condition).collect())
    };
    if rule.to.is_empty() { Need::Unknown } else { Need::Any(rule.to.iter().map(only).collect()) }
}

/// An empty list of alternatives is always true.
fn alternatives(operands: &[Operand]) -> Need {
    if operands.is_empty() {
        return Need::Unknown;
    }
    Need::Any(operands.iter().map(operand).collect())
}

fn operand(operand: &Operand) -> Need {
    Need::Every(operand.iter().map(condition).collect())
}

fn condition(condition: &Condition) -> Need {
    Need::Every(condition.values.iter().chain(&condition.all).map(test).collect())
}

fn test(test: &Test) -> Need {
    match test {
        Test::Text(attribute, set) => any(&Kind::Text(attribute.clone()), set.keys()),
        Test::Host(set) => any(&Kind::Host, set.keys()),
        Test::Peer(set) => any(&Kind::Peer, set.keys()),
        Test::RequestPrincipal(set) => any(&Kind::RequestPrincipal, set.keys()),
        Test::Port(ports) => {
            let key = |port: &u16| Key::Exact(port.to_be_bytes().into());
            any(&Kind::Port, Some(ports.iter().map(key).collect()))
        }
        Test::Address(address, set) => {
            let block = |(length, block)| {
                let key = Key::Exact(octets(block).into());
                Need::One(Bucket { kind: Kind::Block(*address, length), key })
            };
            Need::Any(set.blocks().map(block).collect())
        }
        Test::Path(set) => {
            let templates = set.templates.iter().map(|template| {
                let keys = template.keys().into_iter();
                Need::Every(keys.map(|key| one(&Kind::Path, key)).collect())
            });
            match any(&Kind::Path, set.texts.keys()) {
                Need::Any(texts) => Need::Any(texts.into_iter().chain(templates).collect()),
                other => other,
            }
        }
        Test::Metadata { .. } => Need::Unknown,
    }
}

fn any(kind: &Kind, keys: Option<Vec<Key>>) -> Need {
    let need = |keys: Vec<Key>| Need::Any(keys.into_iter().map(|key| one(kind, key)).collect());
    keys.map_or(Need::Unknown, need)
}

fn one(kind: &Kind, key: Key) -> Need {
    Need::One(Bucket { kind: kind.clone(), key })
}
