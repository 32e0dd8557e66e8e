//! Configurations: of any bytes, and good ones that were changed somewhere.
//!
//! A written case is the text of a configuration, in which `"$jwks"` stands for keys, and the item `{"repeat":
//! item, "times": 4000}` of a list for that many items, in each of which `#` is its number.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::decide::{NOW, all_configs};
use crate::draw::Draw;
use crate::mint::{self, Signer};
use crate::subject::{
    Config, InvalidConfig, Request, WorkerState, config_of_text, config_of_value, decide,
    strict_json,
};
use crate::words;

mod fields;

/// The depth to which a configuration is read.
const DEPTH: usize = 32;

/// More than a usable configuration has.
const MAX_ITEMS: usize = 5_000;

pub(crate) fn run(data: &[u8]) {
    match Draw::of(data) {
        Some(mut draw) => {
            let mut config = draw_config(&mut draw);
            for _ in 0..=draw.below(6) {
                words::mutate(&mut config, &mut draw, fields::WORDS);
            }
            check(config.to_string().as_bytes());
        }
        None => match strict_json(data, DEPTH) {
            Ok(mut value) => {
                expand(&mut value);
                check(value.to_string().as_bytes());
            }
            Err(_) => check(data),
        },
    }
}

fn draw_config(draw: &mut Draw<'_>) -> Value {
    thread_local! {
        static CONFIGS: Vec<Value> = all_configs();
    }
    CONFIGS.with(|configs| configs[draw.below(configs.len())].clone())
}

/// Expands what is too long, or not known in advance, to be written.
fn expand(value: &mut Value) {
    match value {
        Value::String(text) if text == "$jwks" => *value = mint::jwks(),
        Value::Array(items) => {
            let expanded = std::mem::take(items).into_iter().flat_map(repeated);
            items.extend(expanded.take(MAX_ITEMS));
            items.iter_mut().for_each(expand);
        }
        Value::Object(members) => members.values_mut().for_each(expand),
        _ => {}
    }
}

/// The items that an item stands for.
fn repeated(item: Value) -> Vec<Value> {
    let (Some(text), Some(times)) = (item.get("repeat"), item.get("times").and_then(Value::as_u64))
    else {
        return vec![item];
    };
    let (text, times) = (text.to_string(), times.min(4_000));
    let numbered = |number: u64| serde_json::from_str(&text.replace('#', &number.to_string()));
    (0..times).filter_map(|number| numbered(number).ok()).collect()
}

fn check(text: &[u8]) {
    let shown = || text.escape_ascii().to_string();
    match config_of_text(text) {
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a problem: {}", shown());
            let value = strict_json(text, DEPTH).ok();
            let places = value.as_ref().map(Places::of);
            for problem in &problems {
                check_problem(problem, places.as_ref(), &shown);
            }
        }
        Ok((config, warnings)) => {
            let decisions = decisions(&config);
            let value = match text.trim_ascii() {
                b"" => Value::Object(serde_json::Map::new()),
                _ => strict_json(text, DEPTH).unwrap_or_else(|e| panic!("{e}: {}", shown())),
            };
            let places = Places::of(&value);
            for warning in &warnings {
                check_problem(warning, Some(&places), &shown);
            }
            // Different white space does not matter.
            let pretty = config_of_text(format!("{value:#}").as_bytes());
            let (again, warned) = pretty.unwrap_or_else(|p| panic!("{p:?}: {}", shown()));
            assert_eq!(warned, warnings, "other warnings: {}", shown());
            assert_eq!(self::decisions(&again), decisions, "decides otherwise: {}", shown());
            // docs/configuration.md: `null` is absent.
            let mut without = value.clone();
            drop_nulls(&mut without);
            if without == value {
                return;
            }
            let without = config_of_value(&without);
            let (again, warned) =
                without.unwrap_or_else(|p| panic!("null is not absent: {p:?}: {}", shown()));
            assert_eq!(warned, warnings, "null is not absent: {}", shown());
            assert_eq!(self::decisions(&again), decisions, "null is not absent: {}", shown());
        }
    }
}

fn drop_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            // RFC 7517 defines what null means in a key.
            let rest = members.iter_mut().filter(|(name, _)| *name != "jwks");
            rest.for_each(|(_, member)| drop_nulls(member));
        }
        _ => {}
    }
}

fn check_problem(problem: &InvalidConfig, places: Option<&Places>, shown: &dyn Fn() -> String) {
    let text = &problem.problem;
    assert!(!text.is_empty() && !text.ends_with('.'), "{problem}: {}", shown());
    // The problem of a reader that failed without recording one.
    assert!(text != "could not be read", "{}", shown());
    if let Some(places) = places {
        assert!(places.has(&problem.at), "no such place: {problem}: {}", shown());
    }
}

/// The places of a configuration.
struct Places(BTreeSet<String>);

impl Places {
    fn of(value: &Value) -> Self {
        let mut places = BTreeSet::new();
        collect(value, String::new(), &mut places);
        Self(places)
    }

    /// Whether a place is in the configuration, or would be except for one missing member, or is in a text with
    /// keys.
    fn has(&self, at: &str) -> bool {
        let ends = at.match_indices(['.', '[']).map(|(end, _)| end).chain([0, at.len()]);
        let known = ends.filter(|end| self.0.contains(&at[..*end])).max().unwrap_or_default();
        let missing = at[known..].trim_start_matches('.');
        !missing.contains(['.', '[']) || at.contains(".jwks")
    }
}

fn collect(value: &Value, at: String, places: &mut BTreeSet<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                collect(item, format!("{at}[{index}]"), places);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let inner = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                collect(member, inner, places);
            }
        }
        _ => {}
    }
    places.insert(at);
}

/// A few requests under a configuration.
fn decisions(config: &Config) -> Vec<String> {
    thread_local! {
        static REQUESTS: Vec<Request> = requests();
    }
    // One worker state: tokens are verified once.
    let mut worker_state = WorkerState::portable();
    REQUESTS.with(|requests| {
        let decided = requests.iter().map(|request| {
            let decision = decide(config, request, NOW, &mut worker_state);
            let report = &decision.report;
            format!(
                "{:?} {:?} {:?} {:?} {:?}",
                decision.reply,
                decision.mutations,
                decision.denial,
                report.authorization,
                report.identity
            )
        });
        decided.collect()
    })
}

fn requests() -> Vec<Request> {
    let payload = r#"{"iss":"i1","exp":1001000,"iat":1000000,"sub":"s","groups":["admin"],"scope":"read write"}"#;
    let named = Signer::Ed.token(r#"{"alg":"EdDSA","kid":"k1"}"#, payload);
    let shared = Signer::Shared.token(r#"{"alg":"HS256"}"#, payload);
    let request = |method: &str, path: &str, lines: &[(&str, &str)]| {
        let common = [(":method", method), (":path", path), (":authority", "a.example")];
        let lines = common.iter().chain(lines);
        let headers = lines.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
        Request { headers: headers.collect(), end_of_stream: true, ..Request::default() }
    };
    vec![
        request("GET", "/", &[]),
        request("GET", "/a/acme/x", &[("authorization", &format!("Bearer {named}"))]),
        request(
            "POST",
            "/admin//x/%2e%2e/y",
            &[("authorization", &format!("Bearer {shared}")), ("user_info", "x")],
        ),
        request(
            "OPTIONS",
            "/healthz",
            &[
                ("origin", "x"),
                ("access-control-request-method", "GET"),
                ("cookie", &format!("sess={named}")),
            ],
        ),
        request("GET", &format!("/p?access_token={named}"), &[]),
        request(
            "GET",
            "/p",
            &[("x-token", &named), ("sec-websocket-protocol", &format!("bearer.{shared}"))],
        ),
    ]
}
