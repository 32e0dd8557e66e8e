//! For a denial: the rule that came nearest and why it did not match; for a token, its content and
//! what the rule expects.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;
use usher_core::authorize::{AuthorizationOutcome, Miss, RuleTrace};
use usher_core::codec::json::{self, Value};
use usher_core::codec::problems::did_you_mean;
use usher_core::compact::{self, Compact};
use usher_core::decide::Decision;
use usher_core::denial::Denial;
use usher_core::policy::JwtRule;
use usher_core::request::Request;
use usher_core::time::UnixSeconds;

use super::place;
use crate::config::Loaded;
use crate::token;

/// The rule that came nearest to matching.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Nearest {
    /// Istio's name of the rule.
    pub rule: String,
    /// Its JSON path in the configuration.
    pub path: String,
    /// `file:line:column`.
    pub place: String,
}

/// What a request lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Missing {
    /// JSON path in the configuration of what it does not satisfy; absent where no rule is for the token's issuer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `file:line:column` of that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
    /// For a rule, the attribute that its condition is about: `request.auth.claims[groups]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What the request has there; empty where the attribute is absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub found: Option<Vec<String>>,
    /// What is wanted and what there is, in words.
    pub problem: String,
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({})", self.place, self.path, self.rule)
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in self.place.iter().chain(&self.path) {
            write!(f, "{part}: ")?;
        }
        f.write_str(&self.problem)
    }
}

/// Nothing if the request is allowed or the denial needs no explanation.
pub(super) fn of(
    decision: &Decision,
    request: &Request,
    now: UnixSeconds,
    loaded: &Loaded,
) -> (Option<Nearest>, Option<Missing>) {
    match &decision.denial {
        None => (None, None),
        Some(Denial::NoRuleMatched | Denial::TokenMissing) => {
            nearest(decision.report.authorization.as_ref(), &decision.report.rules, loaded)
        }
        Some(denial) => (None, of_token(denial, request, now, loaded)),
    }
}

pub(super) fn nearest(
    authorization: Option<&AuthorizationOutcome>,
    rules: &[RuleTrace],
    loaded: &Loaded,
) -> (Option<Nearest>, Option<Missing>) {
    let nearest = authorization.and_then(|authorization| authorization.nearest.as_ref());
    let named = |rule: &&RuleTrace| nearest.is_some_and(|nearest| *rule.name == *nearest.rule);
    let Some(rule) = rules.iter().find(named) else { return (None, None) };
    let path = place::rule_path(rule.policy, rule.rule);
    let missing = rule.miss.as_ref().map(|miss| missing(&path, miss, loaded));
    let place = place::mark(&path, loaded);
    (Some(Nearest { rule: rule.name.clone(), path, place }), missing)
}

/// The result of a rule for the request, in a line.
pub(super) fn rule(rule: &RuleTrace, loaded: &Loaded) -> String {
    let path = place::rule_path(rule.policy, rule.rule);
    match &rule.miss {
        None => format!("rule: {} matches", place::path(&path, loaded)),
        Some(miss) => format!("rule: {}", missing(&path, miss, loaded)),
    }
}

/// The condition's place, the values that it requires, and those that the request has.
fn missing(rule: &str, miss: &Miss, loaded: &Loaded) -> Missing {
    let path = format!("{rule}.{}", miss.at);
    let wanted = wanted(&path, &loaded.source.config.value);
    let found = if miss.found.is_empty() { "nothing".to_owned() } else { list(&miss.found) };
    let problem = format!("`{}` wants {wanted}, the request has {found}", miss.condition);
    Missing {
        place: Some(place::mark(&path, loaded)),
        path: Some(path),
        condition: Some(miss.condition.clone()),
        found: Some(miss.found.clone()),
        problem,
    }
}

/// The values in the configuration at a condition's path.
fn wanted(path: &str, config: &Value) -> String {
    let mut words = Vec::new();
    let mut say = |kind: &str, value: Option<&Value>| {
        let texts: Vec<String> =
            value.and_then(Value::as_array).into_iter().flatten().map(plain).collect();
        if !texts.is_empty() {
            words.push(format!("{kind}{}", list(&texts)));
        }
    };
    if let Some(condition) = at(config, path).filter(|value| value.is_object()) {
        say("", condition.get("values"));
        say("all of ", condition.get("allValues"));
        let all = condition.get("valuesFromAll") == Some(&Value::Bool(true));
        let from = if all { "nothing but what is in " } else { "what is in " };
        say(from, condition.get("valuesFrom"));
        say("none of ", condition.get("notValues"));
    } else if let Some((operand, field)) = path.rsplit_once('.') {
        let operand = at(config, operand);
        let field = match field.strip_prefix("not") {
            Some(rest) => lower_first(rest),
            None => field.to_owned(),
        };
        say("", operand.and_then(|operand| operand.get(&field)));
        say("none of ", operand.and_then(|operand| operand.get(not(&field))));
    }
    if words.is_empty() { "something else".to_owned() } else { words.join(" and ") }
}

/// The value at a path such as `a[0].b`.
pub(super) fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    let pieces = path.split(['.', '[']).filter(|piece| !piece.is_empty());
    pieces.into_iter().try_fold(value, |value, piece| match piece.strip_suffix(']') {
        Some(index) => value.get(index.parse::<usize>().ok()?),
        None => value.get(piece),
    })
}

fn not(field: &str) -> String {
    let mut letters = field.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    "not".chars().chain(first).chain(letters).collect()
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// At most five, in backticks.
fn list(texts: &[String]) -> String {
    const SOME: usize = 5;
    let shown: Vec<String> = texts.iter().take(SOME).map(|text| format!("`{text}`")).collect();
    match texts.len().checked_sub(SOME).filter(|more| *more > 0) {
        Some(more) => format!("{} or {more} more", shown.join(", ")),
        None => shown.join(", "),
    }
}

/// The relevant content of a refused token, and the place in the configuration that it violates.
fn of_token(
    denial: &Denial,
    request: &Request,
    now: UnixSeconds,
    loaded: &Loaded,
) -> Option<Missing> {
    let policy = &loaded.policy;
    let found = policy.jwt.locations.find(request);
    let text = &found.first()?.token;
    let compact = compact::parse(text, &policy.settings.limits.token).ok()?;
    let issuer = compact.iss().unwrap_or_default();
    let known = policy.jwt.rules.iter().filter_map(|rule| rule.issuer.as_deref());
    let hint = did_you_mean(issuer, known);
    if *denial == Denial::IssuerUnknown {
        let problem = format!("no rule is for the issuer `{issuer}`{hint}");
        return Some(Missing { path: None, place: None, condition: None, found: None, problem });
    }
    let mut rules = policy.jwt.rules.iter().enumerate();
    let (index, rule) =
        rules.find(|(_, rule)| rule.issuer.as_ref().is_none_or(|name| *name == issuer))?;
    let written = at(&loaded.source.config.value, &format!("jwtRules[{index}]"));
    let (field, mut words) = of_rule(denial, rule, &compact, now, written)?;
    if rule.issuer.is_none() && !hint.is_empty() {
        // It is judged by the rule for any issuer.
        words.push_str(&format!("; no other rule is for the issuer `{issuer}`{hint}"));
    }
    let decoded = std::str::from_utf8(text).ok().and_then(|text| token::decode(text).ok());
    if let Some(note) = decoded.as_ref().and_then(token::note) {
        words.push_str(&format!("; {note}"));
    }
    let path = format!("jwtRules[{index}]{field}");
    let place = Some(place::mark(&path, loaded));
    Some(Missing { place, path: Some(path), condition: None, found: None, problem: words })
}

/// A text as such, any other value as JSON.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// The ids of a rule's inline keys.
fn kids(rule: Option<&Value>) -> Vec<String> {
    let parsed = match rule.and_then(|rule| rule.get("jwks")) {
        Some(Value::String(text)) => json::parse(text.as_bytes(), 8).ok(),
        value => value.cloned(),
    };
    let keys = parsed.as_ref().and_then(|set| set.get("keys")?.as_array());
    let kid = |key: &Value| key.get("kid").and_then(Value::as_str).map(str::to_owned);
    keys.into_iter().flatten().filter_map(kid).collect()
}

/// The field of the rule that refuses the token, and why.
fn of_rule(
    denial: &Denial,
    rule: &JwtRule,
    token: &Compact<'_>,
    now: UnixSeconds,
    config: Option<&Value>,
) -> Option<(&'static str, String)> {
    let when = |time: Option<UnixSeconds>| match time {
        Some(seconds) => {
            let at = i64::try_from(seconds.0).ok().and_then(|s| Timestamp::from_second(s).ok());
            at.map_or_else(|| seconds.to_string(), |at| at.to_string())
        }
        None => "absent".to_owned(),
    };
    let at = |words: &str| format!("{words}, now is {}", when(Some(now)));
    let header = &token.header;
    Some(match denial {
        Denial::AlgorithmNotAllowed => (".algorithms", format!("`alg` is `{}`", header.alg)),
        Denial::KeyUnknown => {
            let kids = kids(config);
            let kid = header.kid.as_deref().unwrap_or_default();
            let (alg, known) = (&header.alg, list(&kids));
            let known = if kids.is_empty() { "others" } else { &known };
            (".jwks", format!("`kid` is `{kid}` and `alg` is `{alg}`, the keys are {known}"))
        }
        Denial::SignatureInvalid => {
            (".jwks", format!("no key verifies it, `kid` is {:?}", header.kid.as_deref()))
        }
        Denial::AudienceMismatch => {
            let names = match rule.audience_claims.as_slice() {
                [] => &["aud".to_owned()][..],
                names => names,
            };
            // The first that the token has was compared.
            let had = names.iter().find_map(|name| {
                let value = token.claims.get(name).filter(|value| !value.is_null());
                value.map(|value| (name, value))
            });
            let claimed = match had {
                Some((name, Value::Array(items))) => {
                    let items: Vec<String> = items.iter().map(plain).collect();
                    format!("`{name}` is {}", list(&items))
                }
                Some((name, value)) => format!("`{name}` is `{}`", plain(value)),
                None => format!("{} is absent", list(names)),
            };
            (".audiences", format!("{claimed}, accepted is {}", list(&rule.audiences)))
        }
        Denial::TokenExpired => ("", at(&format!("`exp` is {}", when(token.exp)))),
        Denial::TokenNotYetValid => {
            ("", at(&format!("`nbf` is {}, `iat` is {}", when(token.nbf), when(token.iat))))
        }
        Denial::ExpirationMissing => ("", "`exp` is absent".to_owned()),
        Denial::LifetimeTooLong => {
            (".maxLifetime", format!("`iat` is {}, `exp` is {}", when(token.iat), when(token.exp)))
        }
        Denial::TokenTooOld => (".maxAge", at(&format!("`iat` is {}", when(token.iat)))),
        Denial::SubjectNotAllowed => {
            (".subjects", format!("`sub` is `{}`", token.sub().unwrap_or_default()))
        }
        Denial::ClaimMismatch { claim } => {
            let found = token.claims.get(claim);
            let found = found.map_or_else(|| "absent".to_owned(), |v| format!("`{v}`"));
            (".requiredClaims", format!("`{claim}` is {found}"))
        }
        Denial::TypeNotAllowed => {
            (".types", format!("`typ` is `{}`", header.typ.as_deref().unwrap_or_default()))
        }
        _ => return None,
    })
}
