//! The three services of the story. None of them verifies a token: their gates do.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Json;
use axum::routing::get;
use serde_json::{Value, json};

use super::{CHECK_FUNDS, PULL_FUNDS};
use crate::client::{self, Answer, Ask};
use crate::issuer::exchange;
use crate::service::user_info;

/// Who write-checks is.
pub(super) const SERVICE_ACCOUNT: &str = "system:serviceaccount:write-checks:default";

/// What write-checks knows: where the others are, and its own token.
pub(super) struct WriteChecks {
    /// The issuer's port.
    pub(super) issuer_port: u16,
    /// The port of check-funds' gate.
    pub(super) check_funds_port: u16,
    /// The port of pull-funds' gate.
    pub(super) pull_funds_port: u16,
    /// The service account's token.
    pub(super) pod_token: String,
}

/// `/write-check`: exchanges the caller's token twice and calls the two others.
pub(super) fn write_checks(service: Arc<WriteChecks>) -> Router {
    Router::new().route("/write-check", get(write_check)).with_state(service)
}

/// `/check-funds`: whether there is money.
pub(super) fn check_funds() -> Router {
    Router::new().route(
        "/check-funds",
        get(|headers: HeaderMap| async move {
            Json(json!({ "funds_available": true, "user": claim(&headers, &["sub"]) }))
        }),
    )
}

/// `/pull-funds`: takes it, and says for whom and by whom.
pub(super) fn pull_funds() -> Router {
    Router::new().route(
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
    async fn write(&self, headers: &HeaderMap) -> anyhow::Result<Value> {
        // The gate forwards it: nobody else could ask for an exchange.
        let line = headers.get("authorization").and_then(|value| value.to_str().ok());
        let user_jwt = line.and_then(|l| l.split_once(' ')).map(|(_, token)| token);
        let user_jwt = user_jwt.ok_or_else(|| anyhow::anyhow!("the gate forwarded no token"))?;

        let impersonated = self
            .token(&[
                ("grant_type", exchange::GRANT),
                ("subject_token", user_jwt),
                ("audience", CHECK_FUNDS),
            ])
            .await?;
        let funds = call(self.check_funds_port, "/check-funds", &impersonated).await?;

        let actor_token = self.token(&[("grant_type", "client_credentials")]).await?;
        let delegation = self
            .token(&[
                ("grant_type", exchange::GRANT),
                ("subject_token", user_jwt),
                ("actor_token", &actor_token),
                ("audience", PULL_FUNDS),
            ])
            .await?;
        let pulled = call(self.pull_funds_port, "/pull-funds", &delegation).await?;

        Ok(json!({
            "msg": "hello world!",
            "host": gethostname::gethostname().to_string_lossy(),
            "user_jwt": user_jwt,
            "pod_jwt": self.pod_token,
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
        let mut fields = fields.to_vec();
        fields.push(("client_assertion", &self.pod_token));
        let answer = client::send(self.issuer_port, &Ask::post("/token", &fields)?).await?;
        let answered = answer.json();
        match answered.get("access_token").and_then(Value::as_str) {
            Some(token) => Ok(token.to_owned()),
            None => anyhow::bail!("the issuer refuses: {}", answer.body),
        }
    }
}

async fn call(port: u16, path: &str, token: &str) -> anyhow::Result<Answer> {
    client::send(port, &Ask::get(path).bearer(token)).await
}
