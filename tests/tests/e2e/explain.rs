//! A token gets the same decision for the same reason from `usher explain`, from the core and in Envoy:
//! every token of the public suites.
//!
//! Each rule reads a header of its own, so that one configuration holds hundreds of rules and one listener
//! takes all their tokens. Through Envoy goes what a header line can hold, at the present time; at the
//! time that its suite means, `usher explain` answers for each.

use std::collections::{BTreeMap, HashMap};
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use usher_core::decide::{WorkerState, decide};
use usher_core::load::Loaded;
use usher_core::{Compiled, load};
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::Request;
use usher_testkit::envoy::Envoy;
use usher_testkit::paths;
use usher_testkit::{mint, vectors};

/// Rules in one configuration.
const RULES: usize = 100;

/// A token, and where it is sent.
struct Case {
    id: String,
    token: String,
    /// The time that its suite means.
    now: u64,
    listener: usize,
    header: String,
}

/// A status and a reason.
type Verdict = (u16, String);

/// The cases, and a pluginConfig for each listener; rules that no configuration may hold are left out and
/// counted.
struct Suite {
    cases: Vec<Case>,
    listeners: Vec<Value>,
    refused: usize,
    /// Of how many cases at least a test must hear.
    most: usize,
}

impl Suite {
    fn read() -> Self {
        let tokens = vectors::tokens();
        let most = tokens.most();
        let mut suite = Self { cases: Vec::new(), listeners: Vec::new(), refused: 0, most };
        let mut places: HashMap<String, Option<(usize, String)>> = HashMap::new();
        for case in &tokens.cases {
            let rule = rule(case);
            let place = places.entry(rule.to_string()).or_insert_with(|| suite.add(rule));
            let Some((listener, header)) = place else {
                suite.refused += 1;
                continue;
            };
            suite.cases.push(Case {
                id: case["id"].as_str().unwrap().to_owned(),
                token: case["token"].as_str().unwrap().to_owned(),
                now: case["now"].as_u64().unwrap(),
                listener: *listener,
                header: header.clone(),
            });
        }
        suite
    }

    /// Puts a rule behind a listener, with a header of its own; `None` where the rule is invalid.
    fn add(&mut self, mut rule: Value) -> Option<(usize, String)> {
        load::from_value(&json!({ "jwtRules": [rule] })).ok()?;
        let last = self.listeners.last().and_then(|listener| listener["jwtRules"].as_array());
        if last.is_none_or(|rules| rules.len() == RULES) {
            // One set has 200 keys without `kid`.
            self.listeners.push(json!({ "jwtRules": [], "limits": { "signatureChecks": 200 } }));
        }
        let listener = self.listeners.len() - 1;
        let rules = self.listeners[listener]["jwtRules"].as_array_mut().unwrap();
        let header = format!("x-token-{}", rules.len());
        rule["fromHeaders"] = json!([{ "name": header }]);
        rules.push(rule);
        Some((listener, header))
    }
}

fn rule(case: &Value) -> Value {
    let mut rule = json!({
        "jwks": case["jwks"],
        "allowPublishedKeys": true,
        "clockSkew": format!("{}s", case["clock_skew"]),
        "requireExpiration": false,
        "algorithms": usher_core::crypto::Algorithm::names().map(|(name, _)| name).collect::<Vec<_>>(),
    });
    match &case["issuer"] {
        Value::Null => rule["anyIssuer"] = true.into(),
        issuer => rule["issuer"] = issuer.clone(),
    }
    if !case["audiences"].is_null() {
        rule["audiences"] = case["audiences"].clone();
    }
    rule
}

impl Case {
    /// Whether a header line can hold the token, byte for byte (RFC 9110 section 5.5).
    fn fits_a_header(&self) -> bool {
        self.token.trim() == self.token && !self.token.chars().any(|c| c.is_ascii_control())
    }

    fn core(&self, policy: &Compiled, now: u64, worker_state: &mut WorkerState) -> Verdict {
        let lines = [
            (":method", "GET"),
            (":path", "/"),
            (":scheme", "http"),
            (":authority", "service.example"),
            (self.header.as_str(), self.token.as_str()),
        ];
        let request = usher_core::Request {
            headers: lines.map(|(name, value)| (name.into(), value.into())).into(),
            ..usher_core::Request::default()
        };
        let decision = decide(policy, &request, usher_core::time::UnixSeconds(now), worker_state);
        (decision.status(), decision.reason().to_owned())
    }

    /// A line for `usher explain --requests`.
    fn line(&self) -> String {
        json!({ "method": "GET", "path": "/", "headers": [[self.header, self.token]] }).to_string()
    }
}

fn policies(suite: &Suite) -> Vec<Compiled> {
    let read = |listener: &Value| {
        let Loaded { policy, .. } =
            load::from_value(listener).expect("each rule by itself is valid");
        policy
    };
    suite.listeners.iter().map(read).collect()
}

/// What `usher explain` says of these cases, which share a listener, at a time.
fn explained(listener: &Value, cases: &[&Case], now: u64) -> Vec<Verdict> {
    let mut config = tempfile::NamedTempFile::new().unwrap();
    config.write_all(listener.to_string().as_bytes()).unwrap();
    let mut requests = tempfile::NamedTempFile::new().unwrap();
    for case in cases {
        writeln!(requests, "{}", case.line()).unwrap();
    }
    let output = Command::new(paths::command())
        .args(["explain", "--format", "json", "--now", &now.to_string(), "--config"])
        .arg(config.path())
        .arg("--requests")
        .arg(requests.path())
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    let verdicts: Vec<Verdict> = text
        .lines()
        .map(|line| {
            let answer: Value = serde_json::from_str(line).unwrap();
            let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
            (status, answer["reason"].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(verdicts.len(), cases.len(), "one answer a request");
    verdicts
}

#[test]
fn explain_says_what_the_core_decides() {
    let suite = Suite::read();
    let policies = policies(&suite);
    let mut worker_state = WorkerState::portable();
    let mut together: BTreeMap<(usize, u64), Vec<&Case>> = BTreeMap::new();
    for case in &suite.cases {
        together.entry((case.listener, case.now)).or_default().push(case);
    }
    let mut differing = Vec::new();
    for ((listener, now), cases) in &together {
        let explained = explained(&suite.listeners[*listener], cases, *now);
        for (case, explained) in cases.iter().zip(explained) {
            let decided = case.core(&policies[*listener], *now, &mut worker_state);
            if decided != explained {
                differing.push(format!("{}: core {decided:?}, explain {explained:?}", case.id));
            }
        }
    }
    println!("{} tokens, {} of refused key sets", suite.cases.len(), suite.refused);
    assert!(differing.is_empty(), "{}", differing.join("\n"));
    assert!(suite.cases.len() > suite.most, "only {} tokens", suite.cases.len());
}

#[test]
fn envoy_decides_as_explain_says() {
    let suite = Suite::read();
    let policies = policies(&suite);
    let name = |listener: usize| format!("listener-{listener}");
    let numbered = suite.listeners.iter().enumerate();
    let envoy = numbered
        .fold(Envoy::builder(), |builder, (listener, config)| {
            builder.listener(&name(listener), Setup::plugin(config.clone()))
        })
        .start();
    let mut worker_state = WorkerState::portable();
    let (mut differing, mut sent, mut timeless) = (Vec::new(), 0, 0);
    for (listener, policy) in policies.iter().enumerate() {
        let here =
            suite.cases.iter().filter(|case| case.listener == listener && case.fits_a_header());
        let cases: Vec<&Case> = here.collect();
        let now = u64::try_from(mint::now()).unwrap();
        let requests: Vec<Request> =
            cases.iter().map(|case| Request::get("/").header(&case.header, &case.token)).collect();
        let replies = envoy.listener(&name(listener)).series(&requests);
        let explained = explained(&suite.listeners[listener], &cases, now);
        envoy.listener(&name(listener)).entry(replies.last().expect("a listener has cases"));
        let entries: HashMap<String, String> = envoy
            .access_log()
            .entries()
            .into_iter()
            .filter_map(|entry| Some((entry.case?, entry.reason?)))
            .collect();
        for ((case, reply), explained) in cases.iter().zip(&replies).zip(explained) {
            let reason = entries.get(&reply.case).cloned().unwrap_or_default();
            if (reply.status, reason.clone()) != explained {
                differing.push(format!(
                    "{}: Envoy {} {reason}, explain {explained:?}",
                    case.id, reply.status
                ));
            }
            sent += 1;
            let then = case.core(policy, case.now, &mut worker_state);
            timeless += usize::from(then == explained);
        }
    }
    println!("{sent} tokens through Envoy, {timeless} of them judged as in their own time");
    assert!(differing.is_empty(), "{}:\n{}", differing.len(), differing.join("\n"));
    assert!(sent > suite.most, "only {sent} tokens went through Envoy");
}
