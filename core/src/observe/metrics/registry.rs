//! Which stats are defined already, and how many there may be.
//!
//! The host gives each stat a number; a request must not pay for its name again. If a family has its
//! maximum of series, further ones are counted as one series whose open labels are `other`.

use std::hash::BuildHasher as _;

use super::family::{Family, Kind};
use super::{Label, MAX_LABELS, Series, stat};
use crate::hash::FastMap;

/// The stats of one plugin in one worker.
#[derive(Debug, Default)]
pub struct Registry {
    families: Vec<Known>,
}

/// The defined series of a family.
#[derive(Debug)]
struct Known {
    family: &'static Family,
    stats: Vec<Stat>,
    /// By the hash of the series, since a key that borrows cannot be looked up in a map of owned ones.
    by_hash: FastMap<u64, Vec<usize>>,
    /// The series of the last look-up: most requests increment the same series as the one before.
    last: usize,
}

#[derive(Debug)]
struct Stat {
    labels: [Owned; MAX_LABELS],
    /// `None`: the host refused to define it.
    id: Option<u32>,
}

#[derive(Debug, PartialEq, Eq)]
enum Owned {
    None,
    Number(usize),
    Text(String),
    In(String, String),
}

impl Registry {
    /// The host's number for a series of `plugin`; `define` supplies it the first time.
    pub fn id(
        &mut self,
        plugin: &str,
        series: &Series<'_>,
        define: &mut dyn FnMut(Kind, &str) -> Option<u32>,
    ) -> Option<u32> {
        let known = known(&mut self.families, series.family)?;
        if let Some(stat) = known.stats.get(known.last).filter(|stat| stat.is(series)) {
            return stat.id;
        }
        let hash = known.by_hash.hasher().hash_one(series.labels);
        if let Some(stat) = known.find(hash, series) {
            return stat.id;
        }
        if known.stats.len() >= series.family.most && !is_other(series) {
            return self.id(plugin, &other(series), define);
        }
        let id = define(series.family.kind, &stat::name(plugin, series));
        known.by_hash.entry(hash).or_default().push(known.stats.len());
        known.stats.push(Stat { labels: series.labels.map(Owned::from), id });
        id
    }

    /// The numbers of every series of a family so far.
    pub fn ids(&self, family: &'static Family) -> Vec<u32> {
        let known = self.families.iter().filter(|known| std::ptr::eq(known.family, family));
        known.flat_map(|known| &known.stats).filter_map(|stat| stat.id).collect()
    }
}

fn known<'k>(families: &'k mut Vec<Known>, family: &'static Family) -> Option<&'k mut Known> {
    if !families.iter().any(|known| std::ptr::eq(known.family, family)) {
        let (stats, by_hash) = (Vec::new(), FastMap::default());
        families.push(Known { family, stats, by_hash, last: 0 });
    }
    families.iter_mut().find(|known| std::ptr::eq(known.family, family))
}

impl Known {
    fn find(&mut self, hash: u64, series: &Series<'_>) -> Option<&Stat> {
        let indices = self.by_hash.get(&hash)?;
        let is = |index: &&usize| self.stats.get(**index).is_some_and(|stat| stat.is(series));
        self.last = *indices.iter().find(is)?;
        self.stats.get(self.last)
    }
}

impl Stat {
    fn is(&self, series: &Series<'_>) -> bool {
        self.labels.iter().zip(&series.labels).all(|(owned, label)| owned.is(*label))
    }
}

const OTHER: &str = "other";

fn other<'d>(series: &Series<'d>) -> Series<'d> {
    let mut series = *series;
    for (name, label) in series.family.labels.iter().zip(&mut series.labels) {
        if series.family.open.contains(name) {
            *label = Label::Text(OTHER);
        }
    }
    series
}

fn is_other(series: &Series<'_>) -> bool {
    other(series) == *series
}

impl Owned {
    fn is(&self, label: Label<'_>) -> bool {
        match (self, label) {
            (Self::None, Label::None) => true,
            (Self::Number(a), Label::Number(b)) => *a == b,
            (Self::Text(a), Label::Text(b)) => a == b,
            (Self::In(a, name), Label::In(b, other)) => a == b && name == other,
            (Self::None | Self::Number(_) | Self::Text(_) | Self::In(..), _) => false,
        }
    }
}

impl From<Label<'_>> for Owned {
    fn from(label: Label<'_>) -> Self {
        match label {
            Label::None => Self::None,
            Label::Number(number) => Self::Number(number),
            Label::Text(text) => Self::Text(text.to_owned()),
            Label::In(namespace, name) => Self::In(namespace.to_owned(), name.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::metrics::family;

    #[test]
    fn a_series_is_defined_once() {
        let mut names = Vec::new();
        let mut define = |kind, name: &str| {
            names.push((kind, name.to_owned()));
            u32::try_from(names.len()).ok()
        };
        let mut registry = Registry::default();
        let hit = Series::new(&family::TOKEN_CACHE_LOOKUPS, ["hit".into()]);
        let miss = Series::new(&family::TOKEN_CACHE_LOOKUPS, ["miss".into()]);
        let ids = [hit, miss, hit, miss].map(|series| registry.id("p", &series, &mut define));
        assert_eq!(ids, [Some(1), Some(2), Some(1), Some(2)]);
        let name = "plugin=.=p;.;result=.=hit;.;usher_token_cache_lookups_total";
        assert_eq!(names[0], (Kind::Counter, name.to_owned()));
        assert_eq!(names.len(), 2);
    }

    #[test]
    fn too_many_series_are_counted_as_others() {
        let mut names = Vec::new();
        let mut define = |_, name: &str| {
            names.push(name.to_owned());
            u32::try_from(names.len()).ok()
        };
        let mut registry = Registry::default();
        let decisions = |rule, reason: &'static str| {
            let labels = [
                "deny".into(),
                "true".into(),
                reason.into(),
                Label::None,
                "p".into(),
                Label::Number(rule),
            ];
            Series::new(&family::DECISIONS, labels)
        };
        let most = family::DECISIONS.most;
        for rule in 0..most + 200 {
            registry.id("p", &decisions(rule, "denied_by_rule"), &mut define);
        }
        let first = registry.id("p", &decisions(0, "denied_by_rule"), &mut define);
        let late = registry.id("p", &decisions(most + 7, "denied_by_rule"), &mut define);
        let reason = registry.id("p", &decisions(most + 7, "no_rule_matched"), &mut define);
        // Known series keep their numbers; a closed label keeps its value.
        let other = u32::try_from(most + 1).unwrap();
        assert_eq!((first, late, reason), (Some(1), Some(other), Some(other + 1)));
        assert_eq!(names.len(), most + 2);
        let expected = "plugin=.=p;.;decision=.=deny;.;enforced=.=true;.;reason=.=denied_by_rule;.;\
                        provider=.=other;.;policy=.=other;.;rule=.=other;.;usher_decisions_total";
        assert_eq!(names[most], expected);
    }
}
