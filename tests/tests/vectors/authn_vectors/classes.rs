//! Where Usher's answer differs from native Envoy's, and the class that each difference belongs to.
//!
//! A class is a predicate on the facts of a request, never a list of requests. docs/differences.md has a
//! row for each, with the reason; the two lists are held together by a test.

use std::collections::BTreeMap;

use serde_json::Value;

use super::judge::{self, Flaw, Judge, Place};
use super::vectors::{Answer, Case, Upstream};

/// One respect in which two answers differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Both refuse, in other words.
    Body,
    /// Both refuse, with another `www-authenticate`.
    Challenge,
    /// Both let pass, with other lines of this header.
    Header(String),
    /// Both let pass, with another identity.
    Identity,
    /// Both let pass, with another path.
    Path,
    /// Both refuse, with another status.
    Status,
    /// One lets pass, the other refuses.
    Verdict,
}

/// Every respect in which Usher's answer differs.
pub(crate) fn differences(native: &Answer, usher: &Answer) -> Vec<Difference> {
    let differing = |list: Vec<(Difference, bool)>| {
        list.into_iter().filter(|(_, differs)| *differs).map(|(difference, _)| difference).collect()
    };
    match (&native.upstream, &usher.upstream) {
        (None, None) => differing(vec![
            (Difference::Status, native.status != usher.status),
            (Difference::Body, native.body != usher.body),
            (Difference::Challenge, native.challenge != usher.challenge),
        ]),
        (Some(native_sent), Some(usher_sent)) => {
            let mut list = vec![
                (Difference::Identity, native.identity != usher.identity),
                (Difference::Path, native_sent.path != usher_sent.path),
            ];
            let names = native_sent.headers.keys().chain(usher_sent.headers.keys());
            let mut names: Vec<&String> = names.collect();
            names.sort();
            names.dedup();
            list.extend(names.into_iter().map(|name| {
                let differs = native_sent.lines(name) != usher_sent.lines(name);
                (Difference::Header(name.clone()), differs)
            }));
            differing(list)
        }
        _ => vec![Difference::Verdict],
    }
}

/// What is known of a request beside the two answers.
pub(crate) struct Facts<'c> {
    pub(crate) case: &'c Case,
    pub(crate) judge: &'c Judge,
    /// Every token in a place that some rule reads, as Usher reads it: the place, the token.
    pub(crate) tokens: Vec<(Place, String)>,
    /// The same as Envoy reads it.
    pub(crate) envoys: Vec<(Place, String)>,
    /// A rule's prefix is in a header, but not where it begins.
    pub(crate) astray: bool,
}

impl<'c> Facts<'c> {
    pub(crate) fn new(case: &'c Case, judge: &'c Judge) -> Self {
        let mut places: Vec<Place> = Vec::new();
        for place in case.rules.iter().flat_map(judge::places) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let read = |reader: &dyn Fn(&Place) -> Vec<String>| {
            let of_place = |place: &Place| {
                let tokens = reader(place).into_iter();
                tokens.map(|token| (place.clone(), token)).collect::<Vec<_>>()
            };
            places.iter().flat_map(of_place).collect::<Vec<_>>()
        };
        Self {
            case,
            judge,
            tokens: read(&|place| place.as_usher_reads(&places, case)),
            envoys: read(&|place| place.as_envoy_reads(case)),
            astray: places.iter().any(|place| place.astray(case)),
        }
    }

    /// A CORS preflight (docs/semantics.md, "CORS preflights").
    pub(crate) fn preflight(&self) -> bool {
        let filled =
            |name| judge::lines(self.case, name).next().is_some_and(|value| !value.is_empty());
        self.case.method == "OPTIONS" && filled("origin") && filled("access-control-request-method")
    }

    /// The one token of the request, if all that Usher reads are one.
    pub(crate) fn token(&self) -> Option<&str> {
        let (_, first) = self.tokens.first()?;
        self.tokens.iter().all(|(_, token)| token == first).then_some(first)
    }

    fn flaw(&self) -> Option<Flaw> {
        self.judge.flaw(self.token()?)
    }

    /// Whether the token is in a location of this kind.
    fn stands_in(&self, kind: fn(&Place) -> bool) -> bool {
        self.tokens.iter().any(|(place, _)| kind(place))
    }

    fn stands_at(&self, place: &Place) -> bool {
        self.tokens.iter().any(|(standing, _)| standing == place)
    }

    /// The scheme `Bearer` in a spelling that Envoy does not read.
    fn other_scheme_spelling(&self) -> bool {
        let mut lines = judge::lines(self.case, "authorization");
        let bearer = |line: &str| {
            line.get(..7).is_some_and(|s| s.eq_ignore_ascii_case("Bearer ") && s != "Bearer ")
        };
        self.tokens.iter().any(|(place, _)| matches!(place, Place::Header(_, p) if p == "Bearer "))
            && lines.any(bearer)
    }

    fn native(&self) -> &Answer {
        &self.case.native
    }

    fn usher(&self) -> &Answer {
        &self.case.usher
    }

    fn upstreams(&self) -> Option<(&Upstream, &Upstream)> {
        self.native().upstream.as_ref().zip(self.usher().upstream.as_ref())
    }

    fn refused(&self, reason: &str) -> bool {
        self.usher().reason == Some(reason)
    }

    /// The claim that a header is made of, if the rules make it of one.
    fn emitted_claim(&self, name: &str) -> Option<Value> {
        let outputs =
            self.case.rules.iter().filter_map(|rule| rule["outputClaimToHeaders"].as_array());
        let mut named = outputs.flatten().filter(|output| {
            output["header"].as_str().is_some_and(|header| header.eq_ignore_ascii_case(name))
        });
        let claim = named.next()?["claim"].as_str().unwrap();
        let claims = judge::claims(self.token()?)?;
        let value = claim.split('.').try_fold(&claims, |value, step| value.get(step));
        value.cloned()
    }
}

/// A class of differences: its name, and whether a difference belongs to it.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    pub(crate) holds: fn(&Facts<'_>, &Difference) -> bool,
}

/// Every class; a difference belongs to the first that holds.
pub(crate) const CLASSES: [Class; 14] = [
    Class { name: "two-tokens", holds: two_tokens },
    Class { name: "prefix-astray", holds: prefix_astray },
    Class { name: "preflight-withholds", holds: preflight_withholds },
    Class { name: "scheme-in-any-case", holds: scheme_in_any_case },
    Class { name: "expiration-required", holds: expiration_required },
    Class { name: "cookie-quotes", holds: cookie_quotes },
    Class { name: "signature-first", holds: signature_first },
    Class { name: "one-spelling-of-a-token", holds: one_spelling_of_a_token },
    Class { name: "audience-is-401", holds: audience_is_401 },
    Class { name: "challenge-without-query", holds: challenge_without_query },
    Class { name: "cookie-withheld", holds: cookie_withheld },
    Class { name: "query-kept", holds: query_kept },
    Class { name: "lists-and-objects", holds: lists_and_objects },
    Class { name: "numbers-as-written", holds: numbers_as_written },
];

fn two_tokens(facts: &Facts<'_>, difference: &Difference) -> bool {
    matches!(difference, Difference::Verdict | Difference::Body)
        && facts.token().is_none()
        && facts.refused("token_ambiguous")
}

fn prefix_astray(facts: &Facts<'_>, difference: &Difference) -> bool {
    matches!(difference, Difference::Verdict | Difference::Body)
        && facts.astray
        && facts.refused("token_malformed")
}

fn expiration_required(facts: &Facts<'_>, difference: &Difference) -> bool {
    matches!(difference, Difference::Verdict | Difference::Body)
        && facts.flaw() == Some(Flaw::Endless)
        && facts.refused("expiration_missing")
}

fn scheme_in_any_case(facts: &Facts<'_>, _: &Difference) -> bool {
    facts.other_scheme_spelling() && facts.envoys.len() < facts.tokens.len()
}

fn cookie_quotes(facts: &Facts<'_>, difference: &Difference) -> bool {
    let spaced = |line: &str| line.split(';').any(|pair| pair.ends_with("\" "));
    matches!(difference, Difference::Verdict | Difference::Body)
        && facts.stands_in(|place| matches!(place, Place::Cookie(_)))
        && judge::lines(facts.case, "cookie").any(spaced)
}

fn signature_first(facts: &Facts<'_>, difference: &Difference) -> bool {
    *difference == Difference::Body
        && facts.flaw() == Some(Flaw::Forged)
        && facts.refused("signature_invalid")
}

fn one_spelling_of_a_token(facts: &Facts<'_>, difference: &Difference) -> bool {
    matches!(difference, Difference::Verdict | Difference::Body)
        && facts.flaw() == Some(Flaw::Malformed)
        && facts.refused("token_malformed")
}

fn audience_is_401(facts: &Facts<'_>, difference: &Difference) -> bool {
    *difference == Difference::Status && (facts.native().status, facts.usher().status) == (403, 401)
}

fn challenge_without_query(facts: &Facts<'_>, difference: &Difference) -> bool {
    let native = facts.native().challenge.as_deref().unwrap_or_default();
    let usher = facts.usher().challenge.as_deref().unwrap_or_default();
    *difference == Difference::Challenge
        && native.starts_with("Bearer realm=\"http://svc.example/")
        && native.ends_with("\", error=\"invalid_token\"")
        && usher.starts_with(
            "Bearer realm=\"http://svc.example\", error=\"invalid_token\", error_description=\"",
        )
        && !usher.contains('?')
}

fn preflight_withholds(facts: &Facts<'_>, difference: &Difference) -> bool {
    let Some((native, usher)) = facts.upstreams() else { return false };
    let token = |text: &str| facts.tokens.iter().any(|(_, token)| text.contains(token.as_str()));
    let param = |pair: &str| facts.tokens.contains(&named_param(pair));
    facts.preflight()
        && match difference {
            Difference::Path => {
                native.path == facts.case.path
                    && usher.path == rebuilt(&facts.case.path, |pair| !param(pair))
            }
            Difference::Header(name) => {
                native.lines(name).iter().any(|line| token(line) || facts.astray)
                    && usher.lines(name).len() <= native.lines(name).len()
            }
            _ => false,
        }
}

fn cookie_withheld(facts: &Facts<'_>, difference: &Difference) -> bool {
    let Some((native, usher)) = facts.upstreams() else { return false };
    let Some(token) = facts.token() else { return false };
    *difference == Difference::Header("cookie".to_owned())
        && facts.stands_in(|place| matches!(place, Place::Cookie(_)))
        && native.lines("cookie").iter().any(|line| line.contains(token))
        && !usher.lines("cookie").iter().any(|line| line.contains(token))
}

fn query_kept(facts: &Facts<'_>, difference: &Difference) -> bool {
    let Some((native, usher)) = facts.upstreams() else { return false };
    let Some(token) = facts.token() else { return false };
    let names: Vec<&str> = facts
        .tokens
        .iter()
        .filter_map(|(place, _)| match place {
            Place::Param(name) => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let all = judge::pairs(&facts.case.path);
    let mut decoded: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for pair in &all {
        let (name, value) = judge::decoded(pair);
        decoded.entry(name).or_default().push(value);
    }
    let envoys = decoded.iter().filter(|(name, _)| !names.contains(&name.as_str()));
    let envoys =
        envoys.flat_map(|(name, values)| values.iter().map(move |v| format!("{name}={v}")));
    *difference == Difference::Path
        && !names.is_empty()
        && usher.path
            == rebuilt(&facts.case.path, |pair| {
                let (place, value) = named_param(pair);
                !(facts.stands_at(&place) && value == token)
            })
        && native.path == with_query(&facts.case.path, &envoys.collect::<Vec<_>>())
}

/// A pair of the query as the place and the token that it would be.
fn named_param(pair: &str) -> (Place, String) {
    let (name, value) = judge::decoded(pair);
    (Place::Param(name), value)
}

/// The path with the pairs of its query that are kept, unchanged.
fn rebuilt(path: &str, kept: impl Fn(&str) -> bool) -> String {
    let pairs = judge::pairs(path).into_iter().filter(|pair| kept(pair));
    with_query(path, &pairs.map(str::to_owned).collect::<Vec<_>>())
}

fn with_query(path: &str, pairs: &[String]) -> String {
    let before = path.split('?').next().unwrap_or_default();
    match pairs {
        [] => before.to_owned(),
        pairs => format!("{before}?{}", pairs.join("&")),
    }
}

fn lists_and_objects(facts: &Facts<'_>, difference: &Difference) -> bool {
    let Difference::Header(name) = difference else { return false };
    facts.emitted_claim(name).is_some_and(|value| value.is_array() || value.is_object())
}

fn numbers_as_written(facts: &Facts<'_>, difference: &Difference) -> bool {
    match difference {
        Difference::Header(name) => {
            facts.emitted_claim(name).is_some_and(|value| value.is_number())
        }
        Difference::Identity => {
            let (native, usher) = (&facts.native().identity, &facts.usher().identity);
            let doubles = |claims: &Option<Value>| claims.as_ref().map(as_doubles);
            doubles(native) == doubles(usher)
        }
        _ => false,
    }
}

/// Every number as a double, as protobuf has it.
fn as_doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            let double: f64 = number.as_str().parse().unwrap();
            Value::String(format!("{double:e}"))
        }
        Value::Array(items) => items.iter().map(as_doubles).collect(),
        Value::Object(members) => {
            members.iter().map(|(name, value)| (name.clone(), as_doubles(value))).collect()
        }
        other => other.clone(),
    }
}
