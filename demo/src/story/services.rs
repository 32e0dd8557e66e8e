//! The three services of the story. None of them verifies a token: their sidecars do.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Json;
use axum::routing::{MethodRouter, get};
use serde_json::{Value, json};

use super::{CHECK_FUNDS, PULL_FUNDS, ask_issuer, sidecar};
use crate::client::{self, Answer, Request};
use crate::issuer::exchange;
use crate::service::user_info;
use crate::site::Site;

/// Who write-checks is.
pub(super) const SERVICE_ACCOUNT: &str = "system:serviceaccount:write-checks:default";

/// What write-checks knows: where the others are.
pub(super) struct WriteChecks {
    pub(super) site: Site,
}

/// Where write-checks finds its service account's token.
pub(super) fn pod_token_file(site: &Site) -> PathBuf {
    site.folder.join("pod-token")
}

/// `/write-check`: exchanges the caller's token twice and calls the two others.
pub(super) fn write_checks(service: WriteChecks) -> Router {
    named("/write-check", get(write_check).with_state(Arc::new(service)))
}

/// `/check-funds`: whether there is money.
pub(super) fn check_funds() -> Router {
    named(
        "/check-funds",
        get(|headers: HeaderMap| async move {
            Json(json!({ "funds_available": true, "user": claim(&headers, &["sub"]) }))
        }),
    )
}

/// `/pull-funds`: takes it, and says for whom and by whom.
pub(super) fn pull_funds() -> Router {
    named(
        "/pull-funds",
        get(|headers: HeaderMap| async move {
            Json(json!({
                "funds_pulled": true,
                "user": claim(&headers, &["sub"]),
                "actor": claim(&headers, &["act", "sub"]),
            }))
        }),
    )
}

/// A service with one path, and one for probes.
fn named(path: &str, answer: MethodRouter) -> Router {
    let health = get(|| async { Json(json!({ "status": "ok" })) });
    Router::new().route(path, answer).route("/health_check", health)
}

/// A claim of the verified identity.
fn claim(headers: &HeaderMap, path: &[&str]) -> Option<Value> {
    let user = user_info(headers.get("user-info")?.as_bytes())?;
    path.iter().try_fold(&user, |value, name| value.get(name)).cloned()
}

async fn write_check(
    State(service): State<Arc<WriteChecks>>,
    headers: HeaderMap,
) -> (StatusCode, Json<Value>) {
    match service.write(&headers).await {
        Ok(answer) => (StatusCode::OK, Json(answer)),
        Err(error) => (StatusCode::BAD_GATEWAY, Json(json!({ "error": format!("{error:#}") }))),
    }
}

impl WriteChecks {
    /// Its own token, read each time: it is renewed in its file.
    fn pod_token(&self) -> anyhow::Result<String> {
        let file = pod_token_file(&self.site);
        std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))
    }

    async fn write(&self, headers: &HeaderMap) -> anyhow::Result<Value> {
        // The sidecar forwards it: without it there is no exchange.
        let line = headers.get("authorization").and_then(|value| value.to_str().ok());
        let user_jwt = line.and_then(|l| l.split_once(' ')).map(|(_, token)| token);
        let user_jwt = user_jwt.ok_or_else(|| anyhow::anyhow!("the sidecar forwarded no token"))?;

        let impersonated = self
            .token(&[
                ("grant_type", exchange::GRANT),
                ("subject_token", user_jwt),
                ("audience", CHECK_FUNDS),
            ])
            .await?;
        let funds = self.call("check-funds", &impersonated).await?;

        let actor_token = self.token(&[("grant_type", "client_credentials")]).await?;
        let delegation = self
            .token(&[
                ("grant_type", exchange::GRANT),
                ("subject_token", user_jwt),
                ("actor_token", &actor_token),
                ("audience", PULL_FUNDS),
            ])
            .await?;
        let pulled = self.call("pull-funds", &delegation).await?;

        Ok(json!({
            "msg": "hello world!",
            "host": gethostname::gethostname().to_string_lossy(),
            "user_jwt": user_jwt,
            "pod_jwt": self.pod_token()?,
            "impersonated_jwt": impersonated,
            "call_funds_status_code": funds.status,
            "call_funds_text": funds.body,
            "actor_token": actor_token,
            "delegation_token": delegation,
            "pull_funds_text": pulled.body,
        }))
    }

    /// Asks the issuer for a token, as the service account that this is.
    pub(super) async fn token(&self, fields: &[(&str, &str)]) -> anyhow::Result<String> {
        let own = self.pod_token()?;
        let mut fields = fields.to_vec();
        fields.push(("client_assertion", &own));
        let answer = ask_issuer(&self.site, &fields).await?;
        let answered = answer.json();
        match answered.get("access_token").and_then(Value::as_str) {
            Some(token) => Ok(token.to_owned()),
            None => anyhow::bail!("the issuer refuses: {}", answer.body),
        }
    }

    /// Calls a service, whose path is its name, at its sidecar.
    async fn call(&self, service: &str, token: &str) -> anyhow::Result<Answer> {
        let sidecar = sidecar(&self.site, service)?;
        let request = Request::get(&format!("/{service}")).bearer(token);
        client::send_to(&sidecar.host, sidecar.port, &request).await
    }
}
