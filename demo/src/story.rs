//! The guides' story: write-checks calls check-funds as the user and pull-funds in the user's name, each
//! service behind its own Envoy with Usher, each call with a token of its own.
//!
//! A token that leaks is worth nothing elsewhere: [`play`] shows every token at every service.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use crate::access_log;
use crate::client::{self, Answer, Request};
use crate::envoy;
use crate::issuer::exchange::Services;
use crate::issuer::{Issuer, endpoint};
use crate::serve::{configure, listen, listen_behind, make_folder};
use crate::site::{Sidecar, Site};

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

/// The services, each behind a sidecar of its own.
pub const SERVICES: [&str; 4] = ["hello-world", "write-checks", "check-funds", "pull-funds"];

/// Who takes part.
pub struct Story {
    /// Where all of them are.
    pub site: Site,
    /// Users' tokens, and the exchange.
    pub issuer: Arc<Issuer>,
    /// Service accounts' tokens, as a Kubernetes API server signs them.
    pub cluster: Arc<Issuer>,
}

impl Story {
    /// The issuers with their keys, which are made if they are not there.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn open(site: Site) -> anyhow::Result<Self> {
        make_folder(&site.folder)?;
        let issuer = Issuer::open(&site.issuer(), &site.issuer_key())?;
        let cluster = Issuer::open(
            "https://kubernetes.default.svc.cluster.local",
            &site.folder.join("cluster.pem"),
        )?;
        Ok(Self { site, issuer: Arc::new(issuer), cluster: Arc::new(cluster) })
    }

    /// Starts the issuer, writes the configurations of the sidecars, and leaves write-checks its token.
    ///
    /// # Errors
    /// A port is taken, or a file cannot be written.
    pub async fn serve_issuer(&self, module: &Path) -> anyhow::Result<()> {
        let Self { site, issuer, cluster } = self;
        self.leave_pod_token()?;
        let jwks = issuer.jwks();
        for name in SERVICES {
            let sidecar = sidecar(site, name)?;
            let plugin = plugin_config(name, issuer.name(), &jwks);
            configure(&sidecar, &envoy::configuration_with(&sidecar, module, &plugin)?)?;
        }
        let known = Services {
            cluster: Arc::clone(cluster),
            allowed: vec![(SERVICE_ACCOUNT, CHECK_FUNDS), (SERVICE_ACCOUNT, PULL_FUNDS)],
            users: USERS,
        };
        let router = endpoint::router(Arc::clone(issuer), Some(known));
        // Last: when it answers, the files are there.
        listen(site.bind, site.issuer_port(), router).await
    }

    /// Leaves write-checks its service account's token, as a pod finds it mounted.
    ///
    /// # Errors
    /// It cannot be signed or written.
    pub fn leave_pod_token(&self) -> anyhow::Result<()> {
        let token = pod_token(&self.cluster, &self.issuer, SERVICE_ACCOUNT)?;
        let file = services::pod_token_file(&self.site);
        // A reader finds the old one whole, or the new one.
        let new = file.with_extension("new");
        std::fs::write(&new, token)?;
        Ok(std::fs::rename(new, file)?)
    }
}

/// Starts a service behind its sidecar. The issuer was started before.
///
/// # Errors
/// There is no such service, or its port is taken.
pub async fn serve_service(site: &Site, name: &str) -> anyhow::Result<()> {
    let service = match name {
        "hello-world" => crate::service::router(),
        "write-checks" => services::write_checks(WriteChecks { site: site.clone() }),
        "check-funds" => services::check_funds(),
        "pull-funds" => services::pull_funds(),
        _ => bail!("no service `{name}`"),
    };
    listen_behind(&sidecar(site, name)?, service).await
}

/// The sidecar of a service.
///
/// # Errors
/// There is no such service.
pub fn sidecar(site: &Site, name: &str) -> anyhow::Result<Sidecar> {
    let found = SERVICES.into_iter().zip(1..).find(|(known, _)| *known == name);
    let (name, number) = found.with_context(|| format!("no service `{name}`"))?;
    Ok(site.service_sidecar(name, number))
}

/// How long a pod's token is good, in seconds.
const POD_TOKEN_LIFETIME: i64 = 3600;

/// What a pod finds mounted: its service account's token, for the issuer.
fn pod_token(cluster: &Issuer, issuer: &Issuer, account: &str) -> anyhow::Result<String> {
    cluster.mint(account, issuer.name(), POD_TOKEN_LIFETIME, Map::new())
}

/// What each sidecar asks for.
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

/// Starts all parts, and plays the story.
///
/// # Errors
/// Something does not start, or does not answer at all.
pub async fn play(site: &Site, module: &Path, binary: &Path) -> anyhow::Result<bool> {
    let story = Story::open(site.clone())?;
    story.serve_issuer(module).await?;
    let mut envoys = Vec::new();
    for name in SERVICES {
        serve_service(site, name).await?;
        envoys.push(envoy::start(binary, &sidecar(site, name)?).await?);
    }
    replay(&story).await
}

/// Plays every step among those who serve already, and prints it. Answers whether all came out as expected.
///
/// # Errors
/// Something does not answer at all.
pub async fn replay(story: &Story) -> anyhow::Result<bool> {
    let site = &story.site;
    let write_checks = WriteChecks { site: site.clone() };
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
    let granted = ask_issuer(site, &fields).await?;
    let user_token = text(&granted.json(), "access_token");
    let request = Request::get("/write-check").bearer(&user_token);
    let sidecar = sidecar(site, "write-checks")?;
    let (answer, reason) = access_log::send(&sidecar, &request, "write-check").await?;
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
    matrix::play(story, &write_checks, &told, &mut steps).await?;

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
        let refused = ask_issuer(site, &fields).await?;
        println!("   {who:<42} {} {}", refused.status, text(&refused.json(), "error"));
        steps.expect(who, text(&refused.json(), "error").as_str(), error);
    }
    Ok(steps.conclude())
}

/// A token request.
async fn ask_issuer(site: &Site, fields: &[(&str, &str)]) -> anyhow::Result<Answer> {
    let request = Request::post("/token", fields)?;
    client::send_to(&site.issuer_host(), site.issuer_port(), &request).await
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
