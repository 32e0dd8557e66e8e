//! The guides' story: write-checks calls check-funds as the user and pull-funds in the user's name, each
//! service behind its own Envoy with Usher, each call with a token of its own.
//!
//! A token that leaks is worth nothing elsewhere: [`play`] shows every token at every service.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use serde_json::{Map, Value, json};

use crate::access_log;
use crate::client::{self, Ask};
use crate::envoy::{self, Envoy};
use crate::issuer::exchange::Services;
use crate::issuer::{Issuer, endpoint};
use crate::serve::{listen, make_folder, stand};
use crate::site::{Gate, Site};

mod matrix;
mod services;

use services::{SERVICE_ACCOUNT, WriteChecks};

/// The audience of a user's first token.
pub const USERS: &str = "users";
/// The audience of tokens for check-funds.
pub const CHECK_FUNDS: &str = "checkfunds";
/// The audience of tokens for pull-funds.
pub const PULL_FUNDS: &str = "pullfunds";

/// A service account that the issuer lets exchange nothing.
const LUNCH_MENU: &str = "system:serviceaccount:lunch-menu:default";

/// Who takes part.
pub struct Story {
    /// Users' tokens, and the exchange.
    pub issuer: Arc<Issuer>,
    /// Service accounts' tokens, as a Kubernetes API server signs them.
    pub cluster: Arc<Issuer>,
    /// The gates, by the names of their services.
    pub gates: Vec<(&'static str, Gate)>,
    /// The service that calls the others.
    write_checks: Arc<WriteChecks>,
}

impl Story {
    /// Starts the services and the issuer and writes the configurations of their gates.
    ///
    /// # Errors
    /// A port is taken, or a file cannot be written.
    pub async fn serve(site: &Site, module: &Path) -> anyhow::Result<Self> {
        make_folder(&site.folder)?;
        let issuer = Arc::new(Issuer::open(&site.issuer(), &site.issuer_key())?);
        let cluster = Arc::new(Issuer::new("https://kubernetes.default.svc.cluster.local")?);
        let known = Services {
            cluster: Arc::clone(&cluster),
            allowed: vec![(SERVICE_ACCOUNT, CHECK_FUNDS), (SERVICE_ACCOUNT, PULL_FUNDS)],
            users: USERS,
        };
        let router = endpoint::router(Arc::clone(&issuer), Some(known));
        listen(site.bind, site.issuer_port(), router).await?;

        let names = ["hello-world", "write-checks", "check-funds", "pull-funds"];
        let gates: Vec<(&'static str, Gate)> =
            names.into_iter().zip(1..).map(|(name, n)| (name, site.side_gate(name, n))).collect();
        let port = |name| {
            let gate = gates.iter().find(|(known, _)| *known == name);
            gate.map(|(_, gate)| gate.port).unwrap_or_default()
        };
        let write_checks = Arc::new(WriteChecks {
            issuer_port: site.issuer_port(),
            check_funds_port: port("check-funds"),
            pull_funds_port: port("pull-funds"),
            pod_token: pod_token(&cluster, &issuer, SERVICE_ACCOUNT)?,
        });
        let story = Self { issuer, cluster, gates, write_checks };
        let jwks = story.issuer.jwks();
        for (name, gate) in &story.gates {
            let service = match *name {
                "write-checks" => services::write_checks(Arc::clone(&story.write_checks)),
                "check-funds" => services::check_funds(),
                "pull-funds" => services::pull_funds(),
                _ => crate::service::router(),
            };
            let plugin = plugin_config(name, story.issuer.name(), &jwks);
            let configuration = envoy::configuration_with(gate, module, &plugin)?;
            stand(gate, service, &configuration).await?;
        }
        Ok(story)
    }

    /// The gate of a service.
    ///
    /// # Errors
    /// There is no such service.
    pub fn gate(&self, name: &str) -> anyhow::Result<&Gate> {
        let found = self.gates.iter().find(|(known, _)| *known == name);
        found.map(|(_, gate)| gate).with_context(|| format!("no service `{name}`"))
    }
}

/// What a pod finds mounted: its service account's token, for the issuer.
fn pod_token(cluster: &Issuer, issuer: &Issuer, account: &str) -> anyhow::Result<String> {
    cluster.mint(account, issuer.name(), 3600, Map::new())
}

/// What each gate asks for.
fn plugin_config(service: &str, issuer: &str, jwks: &Value) -> Value {
    let rule = |audience: &str| {
        json!({
            "issuer": issuer,
            "audiences": [audience],
            "outputPayloadToHeader": "User-Info",
            "jwks": jwks,
        })
    };
    match service {
        "write-checks" => {
            // It needs the token itself, to exchange it.
            let mut rule = rule(USERS);
            if let Some(fields) = rule.as_object_mut() {
                fields.insert("forwardOriginalToken".to_owned(), json!(true));
            }
            json!({ "jwtRules": [rule] })
        }
        "check-funds" => json!({ "jwtRules": [rule(CHECK_FUNDS)] }),
        "pull-funds" => json!({
            "jwtRules": [rule(PULL_FUNDS)],
            "authorizationPolicies": [{
                "name": "known-actors",
                "rules": [{ "when": [
                    { "key": "request.auth.actor", "values": [SERVICE_ACCOUNT] },
                ]}],
            }],
        }),
        _ => json!({ "jwtRules": [rule(crate::issuer::AUDIENCE)] }),
    }
}

/// Starts the Envoys, plays every step and prints it. Answers whether all came out as expected.
///
/// # Errors
/// Something does not answer at all.
pub async fn play(site: &Site, module: &Path, binary: &Path) -> anyhow::Result<bool> {
    let story = Story::serve(site, module).await?;
    let mut envoys = Vec::new();
    for (_, gate) in &story.gates {
        envoys.push(Envoy::start(binary, gate).await?);
    }
    let mut steps = Steps::default();

    println!(
        "1. mmosley asks the issuer for a token for `{USERS}`, and calls write-checks with it"
    );
    let fields = [
        ("grant_type", "password"),
        ("username", "mmosley"),
        ("password", crate::issuer::PASSWORD),
        ("audience", USERS),
    ];
    let granted = client::send(site.issuer_port(), &Ask::post("/token", &fields)?).await?;
    let user_token = text(&granted.json(), "access_token");
    let gate = story.gate("write-checks")?;
    let ask = Ask::get("/write-check").bearer(&user_token);
    let (answer, reason) = access_log::send(gate, &ask, "write-check").await?;
    let told = answer.json();
    println!("{}\n", serde_json::to_string_pretty(&shortened(&told))?);
    steps.expect("write-checks answers", (answer.status, reason.as_str()), (200, "allowed"));
    steps.expect(
        "check-funds was asked",
        text(&told, "call_funds_text").as_str(),
        r#"{"funds_available":true,"user":"mmosley"}"#,
    );
    let pulled = format!(r#"{{"actor":"{SERVICE_ACCOUNT}","funds_pulled":true,"user":"mmosley"}}"#);
    steps.expect("pull-funds was asked", text(&told, "pull_funds_text").as_str(), pulled.as_str());

    println!(
        "2. what the tokens say: impersonation leaves no trace of the caller, delegation names it"
    );
    for name in ["user_jwt", "impersonated_jwt", "actor_token", "delegation_token"] {
        println!("   {name:<17} {}", essence(&text(&told, name)));
    }
    println!();
    let claims = |name| client::claims(&text(&told, name));
    steps.expect("impersonation has no actor", claims("impersonated_jwt").get("act"), None);
    let actor = json!({ "sub": SERVICE_ACCOUNT });
    steps.expect("delegation has one", claims("delegation_token").get("act"), Some(&actor));

    println!("3. every token at every service: each is good at one");
    matrix::play(&story, &told, &mut steps).await?;

    println!("4. who else asks the issuer for mmosley's tokens");
    let lunch = pod_token(&story.cluster, &story.issuer, LUNCH_MENU)?;
    for (who, assertion, error) in [
        ("the lunch menu, with its own pod's token", Some(lunch.as_str()), "invalid_target"),
        ("nobody, with the stolen user token alone", None, "invalid_client"),
    ] {
        let mut fields = vec![
            ("grant_type", crate::issuer::exchange::GRANT),
            ("subject_token", user_token.as_str()),
            ("audience", CHECK_FUNDS),
        ];
        fields.extend(assertion.map(|token| ("client_assertion", token)));
        let refused = client::send(site.issuer_port(), &Ask::post("/token", &fields)?).await?;
        println!("   {who:<42} {} {}", refused.status, text(&refused.json(), "error"));
        steps.expect(who, text(&refused.json(), "error").as_str(), error);
    }
    Ok(steps.conclude())
}

/// What was expected and did not come.
#[derive(Default)]
struct Steps {
    checked: usize,
    wrong: Vec<String>,
}

impl Steps {
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, found: T, expected: T) {
        self.checked = self.checked.saturating_add(1);
        if found != expected {
            self.wrong.push(format!("{what}: expected {expected:?}, found {found:?}"));
        }
    }

    fn conclude(&self) -> bool {
        println!();
        for problem in &self.wrong {
            println!("NOT AS EXPECTED: {problem}");
        }
        println!(
            "{} of {} as expected",
            self.checked.saturating_sub(self.wrong.len()),
            self.checked
        );
        self.wrong.is_empty()
    }
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The answer with its tokens cut short, as a person wants to read it.
fn shortened(answer: &Value) -> Value {
    let mut short = answer.clone();
    for (name, value) in short.as_object_mut().into_iter().flatten() {
        let token = name.ends_with("_jwt") || name.ends_with("_token");
        if let (true, Some(text)) = (token, value.as_str()) {
            *value = json!(format!("{}...", text.get(..16).unwrap_or(text)));
        }
    }
    short
}

/// Of a token, what matters here.
fn essence(token: &str) -> String {
    let claims = client::claims(token);
    let fields: Map<String, Value> = ["aud", "sub", "act"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), claims.get(name)?.clone())))
        .collect();
    Value::Object(fields).to_string()
}
