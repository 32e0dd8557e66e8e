//! Policies by their index, rule by rule, and by a naive reading of their JSON.
//!
//! A written case is a request, the `config` that decides it, and the `claims` of its caller, if it has one; the naive
//! reading is used if it supports each text of the case.

use std::rc::Rc;

use serde_json::{Value, json};

use crate::draw::Draw;
use crate::subject::{
    AuthorizationOutcome, Claims, Config, Identity, Request, Verdict, config_of_value, evaluate,
    matching,
};
use crate::written;

pub(crate) mod cases;
mod naive;

use naive::Naive;

/// Requests to a drawn configuration.
const REQUESTS: usize = 4;

pub(crate) fn run(data: &[u8]) {
    let Some(mut draw) = Draw::of(data) else {
        return written::case(data).and_then(|case| written_down(&case)).unwrap_or_default();
    };
    drawn(&mut draw);
}

/// Judges requests to a drawn configuration; returns how many rules matched.
pub(crate) fn drawn(draw: &mut Draw<'_>) -> usize {
    let json = cases::config(draw);
    let (config, _) = config_of_value(&json).unwrap_or_else(|problems| {
        panic!("{json}\n{}", problems.iter().map(ToString::to_string).collect::<String>())
    });
    let sets: Vec<(Value, Config)> = SETS.iter().filter_map(|set| alone(&json, *set)).collect();
    let mut matched = 0;
    for _ in 0..REQUESTS {
        let request = cases::request(draw);
        let identity = (!draw.one_in(4)).then(|| cases::identity(draw));
        let case =
            Case { json: &json, config: &config, request: &request, identity: identity.as_ref() };
        case.check();
        matched += case.check_naively();
        // Beside others a set may decide nothing, as ALLOW behind a DENY.
        for (json, config) in &sets {
            Case { json, config, ..case }.check();
        }
    }
    matched
}

/// Each with an index of its own.
const SETS: [Set<'_>; 4] = [("ALLOW", false), ("ALLOW", true), ("DENY", false), ("DENY", true)];

/// The configuration with the policies of this set alone, enforced; `None` if it has none.
fn alone(json: &Value, (action, dry_run): Set<'_>) -> Option<(Value, Config)> {
    let mut json = json.clone();
    let policies = json["authorizationPolicies"].as_array_mut()?;
    policies.retain(|policy| policy["action"] == action && policy["dryRun"] == dry_run);
    if policies.is_empty() {
        return None;
    }
    for policy in policies {
        policy["dryRun"] = json!(false);
    }
    let config = config_of_value(&json).ok()?.0;
    Some((json, config))
}

fn written_down(case: &Value) -> Option<()> {
    let json = case.get("config")?;
    let (config, _) = config_of_value(json).ok()?;
    let request = written::request(case, &mut |_| None)?;
    let identity = case.get("claims").and_then(Value::as_object).map(|claims| Identity {
        claims: Claims(claims.clone()),
        provider: case.get("provider").and_then(Value::as_str).unwrap_or("g").to_owned(),
        space_delimited: space_delimited(),
    });
    let known = cases::consists_of_known_words(case);
    let case = Case { json, config: &config, request: &request, identity: identity.as_ref() };
    case.check();
    if known {
        case.check_naively();
    }
    Some(())
}

/// Those of a rule without `spaceDelimitedClaims`, and one more.
fn space_delimited() -> Rc<[String]> {
    ["permission", "roles", "scope"].map(str::to_owned).into()
}

#[derive(Clone, Copy)]
struct Case<'c> {
    json: &'c Value,
    config: &'c Config,
    request: &'c Request,
    identity: Option<&'c Identity>,
}

/// The matching rules of one action, enforced or as a dry run.
type Set<'n> = (&'n str, bool);

impl Case<'_> {
    /// The index finds the same rules as trying each.
    fn check(&self) {
        let names = matching(self.config, self.request, self.identity);
        let authorization = evaluate(self.config, self.request, self.identity);
        let expected = Outcome::of(self.json, &names);
        assert_eq!(Outcome::from(&authorization), expected, "{}", self.shown());
    }

    /// Each rule matches as its JSON says. Returns how many match.
    fn check_naively(&self) -> usize {
        let mut names = matching(self.config, self.request, self.identity);
        let scalars = self.json["matchScalarClaims"] == json!(true);
        let mut expected = Vec::new();
        for policy in list(&self.json["authorizationPolicies"]) {
            let action = policy["action"].as_str().unwrap_or("ALLOW");
            let naive = Naive::new(self.request, self.identity, scalars, action);
            for (number, rule) in list(&policy["rules"]).enumerate() {
                if naive.rule(rule) {
                    expected.push(rule_name(policy, number));
                }
            }
        }
        names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(names, expected, "{}", self.shown());
        names.len()
    }

    fn shown(&self) -> String {
        let mut case = written::print(self.request);
        case["config"] = self.json.clone();
        if let Some(identity) = self.identity {
            case["claims"] = Value::Object(identity.claims.0.clone());
            case["provider"] = json!(identity.provider);
        }
        case.to_string()
    }
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Istio's name of a rule.
fn rule_name(policy: &Value, number: usize) -> String {
    let text = |name: &str| policy[name].as_str().unwrap_or_default().to_owned();
    format!("ns[{}]-policy[{}]-rule[{number}]", text("namespace"), text("name"))
}

/// An outcome of the policies, as far as it follows from the names of the matching rules.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    verdict: Verdict,
    matched: Option<String>,
    audit: Option<bool>,
    dry_run_deny: Option<Option<String>>,
    dry_run_allow: Option<Option<String>>,
}

impl Outcome {
    /// docs/semantics.md, "Filter order and decision".
    fn of(config: &Value, names: &[String]) -> Self {
        let policies = || list(&config["authorizationPolicies"]);
        let is_of = |policy: &Value, (action, dry_run): Set<'_>| {
            policy["action"].as_str().unwrap_or("ALLOW") == action
                && policy["dryRun"].as_bool().unwrap_or(false) == dry_run
        };
        let exists = |set| policies().any(|policy| is_of(policy, set));
        // The first by name decides.
        let first = |set| {
            let of_set = policies().filter(|policy| is_of(policy, set));
            let all = of_set.flat_map(|policy| {
                (0..list(&policy["rules"]).count()).map(|number| rule_name(policy, number))
            });
            all.filter(|name| names.contains(name)).min()
        };
        let dry_run = |action| exists((action, true)).then(|| first((action, true)));
        let (verdict, matched) = match (first(("DENY", false)), exists(("ALLOW", false))) {
            (Some(rule), _) => (Verdict::Deny, Some(rule)),
            (None, false) => (Verdict::Allow, None),
            (None, true) => match first(("ALLOW", false)) {
                Some(rule) => (Verdict::Allow, Some(rule)),
                None => (Verdict::NoRuleMatched, Some("none".to_owned())),
            },
        };
        Self {
            audit: exists(("AUDIT", false)).then(|| first(("AUDIT", false)).is_some()),
            dry_run_deny: dry_run("DENY"),
            // A denied request has no dry-run ALLOW outcome.
            dry_run_allow: dry_run("ALLOW").filter(|_| verdict != Verdict::Deny),
            verdict,
            matched,
        }
    }
}

impl From<&AuthorizationOutcome> for Outcome {
    fn from(authorization: &AuthorizationOutcome) -> Self {
        let text = |name: &Option<Rc<str>>| name.as_deref().map(str::to_owned);
        Self {
            verdict: authorization.verdict,
            matched: text(&authorization.matched),
            audit: authorization.audit,
            dry_run_deny: authorization.dry_run_deny.as_ref().map(|run| text(&run.matched)),
            dry_run_allow: authorization.dry_run_allow.as_ref().map(|run| text(&run.matched)),
        }
    }
}
