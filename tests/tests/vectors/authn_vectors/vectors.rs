//! The requests, and the two answers to each: native Envoy's, which was measured, and Usher's.

use std::collections::BTreeMap;
use std::rc::Rc;

use serde_json::{Map, Value, json};
use usher_core::decide::{WorkerState, decide};
use usher_core::load::Loaded;
use usher_core::{Compiled, Request, load};
use usher_testkit::vectors;

/// A moment of November 2026, when the answers were measured: after every `exp` of an expired token
/// (2020), before every `nbf` of an early one (2096).
pub(crate) const NOW: u64 = 1_794_000_000;

/// One request, as sent.
#[derive(Debug)]
pub(crate) struct Case {
    /// The scenario's id and the request's number in it.
    pub(crate) id: String,
    /// `jwtRules`, without their keys.
    pub(crate) rules: Rc<Vec<Value>>,
    pub(crate) method: String,
    pub(crate) path: String,
    /// Names in lower case, lines of `authorization` joined: as the filters see them
    /// (docs/semantics.md, "Where tokens are read").
    pub(crate) headers: Vec<(String, String)>,
    /// What Envoy answered.
    pub(crate) native: Answer,
    /// What Usher answers.
    pub(crate) usher: Answer,
}

/// What a proxy does with a request.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Of a refusal; not of one to HEAD, which has none.
    pub(crate) body: Option<String>,
    pub(crate) challenge: Option<String>,
    /// The claims that later filters see.
    pub(crate) identity: Option<Value>,
    /// What the service gets, if anything.
    pub(crate) upstream: Option<Upstream>,
    /// Usher's reason code; Envoy has none.
    pub(crate) reason: Option<&'static str>,
}

/// A request as it reaches the service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Upstream {
    pub(crate) path: String,
    /// Lines by name, each in order.
    pub(crate) headers: BTreeMap<String, Vec<String>>,
}

/// All of them.
pub(crate) fn all() -> Vec<Case> {
    let text = vectors::text("authn/requests.jsonl");
    let mut worker_state = WorkerState::portable();
    let scenarios = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    scenarios.flat_map(|scenario| cases(&scenario, &mut worker_state)).collect()
}

/// The key set that every rule has.
pub(crate) fn jwks() -> Value {
    vectors::json("authn/jwks.json")
}

fn cases(scenario: &Value, worker_state: &mut WorkerState) -> Vec<Case> {
    let rules = Rc::new(scenario["jwtRules"].as_array().unwrap().clone());
    let policy = policy(&rules);
    let requests = scenario["requests"].as_array().unwrap().iter().enumerate();
    requests
        .map(|(number, sent)| {
            let text = |name: &str| sent[name].as_str().unwrap().to_owned();
            let mut case = Case {
                id: format!("{}[{number}]", scenario["id"].as_str().unwrap()),
                rules: Rc::clone(&rules),
                method: text("method"),
                path: text("path"),
                headers: headers(&sent["headers"]),
                native: native(&sent["native"]),
                usher: Answer::nothing(),
            };
            case.usher = usher(&case, &policy, worker_state);
            if case.method == "HEAD" {
                case.native.body = None;
                case.usher.body = None;
            }
            case
        })
        .collect()
}

/// The pluginConfig of these rules.
fn policy(rules: &[Value]) -> Compiled {
    let jwks = jwks();
    let with_keys = rules.iter().map(|rule| {
        let mut rule = rule.clone();
        rule["jwks"] = jwks.clone();
        rule["allowPublishedKeys"] = json!(true);
        rule
    });
    let rules: Vec<Value> = with_keys.collect();
    let config = json!({ "jwtRules": rules, "missingToken": "allow" });
    let Loaded { policy, .. } = load::from_value(&config).unwrap_or_else(|problems| {
        panic!("a configuration that Istio takes is refused: {problems:?}: {config}")
    });
    policy
}

fn headers(sent: &Value) -> Vec<(String, String)> {
    let mut lines: Vec<(String, String)> = Vec::new();
    for line in sent.as_array().unwrap() {
        let name = line[0].as_str().unwrap().to_ascii_lowercase();
        let value = line[1].as_str().unwrap();
        let before = lines.iter_mut().find(|(n, _)| n == "authorization" && *n == name);
        match before {
            Some((_, joined)) => *joined = format!("{joined},{value}"),
            None => lines.push((name, value.to_owned())),
        }
    }
    lines
}

fn native(measured: &Value) -> Answer {
    let status = u16::try_from(measured["status"].as_u64().unwrap()).unwrap();
    let upstream = measured.get("upstream").map(|upstream| Upstream {
        path: upstream["path"].as_str().unwrap().to_owned(),
        headers: by_name(headers(&upstream["headers"])),
    });
    assert_eq!(upstream.is_some(), status == 200, "{measured}");
    Answer {
        status,
        body: measured["body"].as_str().filter(|_| status != 200).map(str::to_owned),
        challenge: measured["challenge"].as_str().map(str::to_owned),
        identity: Some(measured["identity"].clone()).filter(|identity| !identity.is_null()),
        upstream,
        reason: None,
    }
}

fn usher(case: &Case, policy: &Compiled, worker_state: &mut WorkerState) -> Answer {
    let pseudo = [
        (":method", case.method.as_str()),
        (":path", case.path.as_str()),
        (":scheme", "http"),
        (":authority", "svc.example"),
    ];
    let lines = case.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let bytes = |(name, value): (&str, &str)| (name.into(), value.into());
    let request = Request {
        headers: pseudo.into_iter().chain(lines).map(bytes).collect(),
        end_of_stream: true,
        ..Request::default()
    };
    let decision = decide(policy, &request, usher_core::time::UnixSeconds(NOW), worker_state);
    let edited = decision.mutations.applied(&request);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let passed = edited.headers.iter().filter(|(name, _)| !name.starts_with(b":"));
    let upstream = Upstream {
        path: text(edited.path().unwrap()),
        headers: by_name(passed.map(|(name, value)| (text(name), text(value))).collect()),
    };
    let reply = decision.reply.as_ref();
    Answer {
        status: decision.status(),
        body: reply.map(|reply| reply.body.clone()),
        challenge: reply.and_then(|reply| reply.challenge()).map(str::to_owned),
        identity: decision.report.identity.as_ref().filter(|_| reply.is_none()).map(|identity| {
            let claims = identity.claims.0.iter().map(|(name, value)| {
                let words = identity.words(name).map(|words| json!(words));
                (name.clone(), words.unwrap_or_else(|| value.clone()))
            });
            Value::Object(claims.collect::<Map<_, _>>())
        }),
        upstream: reply.is_none().then_some(upstream),
        reason: Some(decision.reason()),
    }
}

fn by_name(lines: Vec<(String, String)>) -> BTreeMap<String, Vec<String>> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (name, value) in lines {
        headers.entry(name).or_default().push(value);
    }
    headers
}

impl Answer {
    fn nothing() -> Self {
        Self {
            status: 0,
            body: None,
            challenge: None,
            identity: None,
            upstream: None,
            reason: None,
        }
    }

    pub(crate) fn passed(&self) -> bool {
        self.upstream.is_some()
    }
}

impl Upstream {
    /// Every line of header `name`.
    pub(crate) fn lines(&self, name: &str) -> &[String] {
        self.headers.get(name).map(Vec::as_slice).unwrap_or_default()
    }
}
