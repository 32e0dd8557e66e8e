//! A configuration to Istio's manifests and back: if `convert` reports nothing lost, the result means the same.
//!
//! A written case is a request, the `config` that decides it, and the `claims` of its caller, if it has one.

use serde_json::{Value, json};
use usher_verbs::convert::{self, Home, Mesh, Notes, Ports, Workload};
use usher_verbs::input::documents;
use usher_verbs::output::yaml;

use crate::authorize::cases;
use crate::draw::Draw;
use crate::mint::{self, Signer};
use crate::subject::{
    AuthorizationOutcome, Config, DryRun, Request, Verdict, WorkerState, config_of_value, decide,
    evaluate,
};
use crate::written;

/// Requests to a drawn configuration.
const REQUESTS: usize = 4;

const NOW: u64 = 1_000_000;

const HEADER: &str = r#"{"alg":"EdDSA","kid":"k1"}"#;

pub(crate) fn run(data: &[u8]) {
    let Some(mut draw) = Draw::of(data) else {
        return written::case(data).and_then(|case| written_down(&case)).unwrap_or_default();
    };
    let json = config(&mut draw);
    let Some(pair) = Pair::of(&json) else { return };
    for _ in 0..REQUESTS {
        let request = cases::request(&mut draw);
        let claims = (!draw.one_in(4)).then(|| cases::identity(&mut draw).claims.0.clone());
        pair.check(&request, claims.map(Value::Object).as_ref());
    }
}

fn written_down(case: &Value) -> Option<()> {
    let mut json = case.get("config")?.clone();
    mint::fill_in_jwks(&mut json);
    config_of_value(&json).ok()?;
    let request = written::request(case, &mut |_| None)?;
    Pair::of(&json)?.check(&request, case.get("claims").filter(|claims| claims.is_object()));
    Some(())
}

/// Policies, as the authorization target draws them, and JWT rules.
fn config(draw: &mut Draw<'_>) -> Value {
    let mut config = cases::config(draw);
    if draw.one_in(2)
        && let Some(fields) = config.as_object_mut()
    {
        fields.remove("matchScalarClaims");
    }
    if draw.one_in(2) {
        // The naive reading of policies has conditions that Istio lacks: most rules must have none.
        for policy in config["authorizationPolicies"].as_array_mut().into_iter().flatten() {
            for rule in policy["rules"].as_array_mut().into_iter().flatten() {
                if let Some(rule) = rule.as_object_mut() {
                    rule.remove("when");
                }
            }
        }
    }
    if draw.one_in(2) {
        let mut rule = json!({"issuer": draw.pick(&["i", "j"]), "jwks": mint::jwks(), "requireExpiration": false});
        for (name, value) in [
            ("outputPayloadToHeader", json!("user-info")),
            ("fromHeaders", json!([{"name": "x-token", "prefix": draw.pick(&["", "T "])}])),
            ("outputClaimToHeaders", json!([{"header": "x-sub", "claim": "sub"}])),
            ("forwardOriginalToken", json!(true)),
            ("audiences", json!(["g"])),
            ("spaceDelimitedClaims", json!(["roles"])),
        ] {
            if draw.one_in(3) {
                rule[name] = value;
            }
        }
        config["jwtRules"] = json!([rule]);
        config["missingToken"] = json!(draw.pick(&["allow", "allow", "reject"]));
    }
    config
}

/// A configuration, and its conversion to Istio's manifests and back.
struct Pair<'c> {
    json: &'c Value,
    back: Value,
    before: Config,
    after: Config,
}

impl<'c> Pair<'c> {
    /// `None`: something cannot be converted in one direction, and that is reported.
    fn of(json: &'c Value) -> Option<Self> {
        let (before, _) = config_of_value(json).ok()?;
        let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
        let trust_domains = json.get("trustDomains").and_then(Value::as_array);
        let trust_domains = trust_domains.into_iter().flatten().filter_map(Value::as_str);
        let trust_domains: Vec<String> = trust_domains.map(str::to_owned).collect();
        let mut notes = Notes::default();
        let home = Home {
            namespace: "home".to_owned(),
            name: "usher".to_owned(),
            selector: json!({"matchLabels": {"app": "web"}}),
            targets: Value::Null,
            path_normalization: text("pathNormalization"),
            trust_domains: trust_domains.clone(),
        };
        let manifests = convert::to_istio(json, before.settings.missing_token, &home, &mut notes);
        if !notes.is_whole() || manifests.is_empty() {
            return None;
        }
        let text_of_all: Vec<String> = manifests.iter().map(|m| yaml(&m.value).unwrap()).collect();
        let text_of_all = text_of_all.join("---\n");
        let read = documents(&text_of_all)
            .unwrap_or_else(|error| panic!("not YAML: {error:?}\n{text_of_all}\n{json}"));
        let mesh = Mesh {
            root_namespace: "istio-system".to_owned(),
            trust_domains,
            path_normalization: text("pathNormalization"),
            workloads: vec![(
                "--workload".to_owned(),
                Workload {
                    namespace: "home".to_owned(),
                    name: "web".to_owned(),
                    labels: [("app".to_owned(), "web".to_owned())].into(),
                    gateway: false,
                },
            )],
            ports: Ports::Http,
            url: None,
        };
        let files = [("f".to_owned(), read)];
        let plugins = convert::to_usher(&files, mesh, &mut notes).unwrap_or_else(|problems| {
            panic!("refuses what it wrote: {problems:?}\n{text_of_all}\n{json}")
        });
        // Istio knows some things that a plugin does not.
        if !notes.is_whole() {
            return None;
        }
        let [plugin] = plugins.as_slice() else {
            panic!("{} plugins, not one\n{text_of_all}\n{json}", plugins.len())
        };
        let mut back = plugin.value["spec"]["pluginConfig"].clone();
        // Istio has the address itself.
        if let Some(source) = json.get("sourceAddress") {
            back["sourceAddress"] = source.clone();
        }
        let (after, _) = config_of_value(&back)
            .unwrap_or_else(|problems| panic!("not a configuration: {problems:?}\n{back}\n{json}"));
        Some(Self { json, back, before, after })
    }

    fn check(&self, request: &Request, claims: Option<&Value>) {
        if self.json.get("jwtRules").is_none() {
            let judged = |config| Meaning::from(&evaluate(config, request, None));
            assert_eq!(
                judged(&self.before),
                judged(&self.after),
                "{}",
                self.shown(request, claims)
            );
            return;
        }
        let mut request = request.clone();
        if let Some(claims) = claims {
            let token = Signer::Ed.token(HEADER, &claims.to_string());
            for (name, prefix) in [("authorization", "Bearer "), ("x-token", ""), ("x-token", "T ")]
            {
                request.headers.push((name.into(), format!("{prefix}{token}").into_bytes()));
            }
        }
        let decided = |config| {
            let decision = decide(config, &request, NOW, &mut WorkerState::portable());
            // The headers of a refused request only matter to its log.
            decision.reply.is_none().then(|| format!("{:?}", decision.mutations))
        };
        // With Istio's idiom for `missingToken: reject` a token without a principal counts as missing (and `convert`
        // reports that).
        let has_principal = |claims: &Value| {
            ["iss", "sub"]
                .iter()
                .all(|name| claims.get(name) != Some(&json!("")) && claims.get(name).is_some())
        };
        if self.json["missingToken"] == "reject" && !claims.is_some_and(has_principal) {
            assert_eq!(decided(&self.after), None, "{}", self.shown(&request, claims));
            return;
        }
        assert_eq!(decided(&self.before), decided(&self.after), "{}", self.shown(&request, claims));
    }

    fn shown(&self, request: &Request, claims: Option<&Value>) -> String {
        let mut case = written::print(request);
        case["config"] = self.json.clone();
        if let Some(claims) = claims {
            case["claims"] = claims.clone();
        }
        format!("{}\n{case}", self.back)
    }
}

/// An outcome of the policies, without the names of the policy and rule that decided.
#[derive(Debug, PartialEq, Eq)]
struct Meaning {
    allows: bool,
    audit: Option<bool>,
    dry_run: [Option<bool>; 2],
}

impl From<&AuthorizationOutcome> for Meaning {
    fn from(outcome: &AuthorizationOutcome) -> Self {
        let matched = |run: &DryRun| run.matched.is_some();
        Self {
            allows: outcome.verdict == Verdict::Allow,
            audit: outcome.audit,
            dry_run: [&outcome.dry_run_allow, &outcome.dry_run_deny]
                .map(|run| run.as_ref().map(matched)),
        }
    }
}
