//! The issuer over HTTP: OpenID discovery, the key set, and a token endpoint that mints on demand.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use axum_extra::TypedHeader;
use axum_extra::headers::{Authorization, authorization::Basic};
use serde_json::{Value, json};

use super::exchange::{self, Grant, Services};
use super::{AUDIENCE, Issuer, LIFETIME, PASSWORD, Wish};

/// What the handlers share.
struct Desk {
    issuer: Arc<Issuer>,
    /// The services that may exchange tokens, if any.
    services: Option<Services>,
}

/// Discovery, keys and tokens.
pub fn router(issuer: Arc<Issuer>, services: Option<Services>) -> Router {
    Router::new()
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/jwks", get(keys))
        .route("/token", get(token_as_text).post(token))
        .with_state(Arc::new(Desk { issuer, services }))
}

/// OpenID Connect Discovery 1.0, section 3.
async fn discovery(State(desk): State<Arc<Desk>>) -> Json<Value> {
    let name = desk.issuer.name();
    Json(json!({
        "issuer": name,
        "jwks_uri": format!("{name}/jwks"),
        "token_endpoint": format!("{name}/token"),
        "response_types_supported": ["token"],
        "grant_types_supported": ["password", exchange::GRANT, "client_credentials"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
    }))
}

async fn keys(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(desk.issuer.jwks())
}

async fn token(State(desk): State<Arc<Desk>>, Form(grant): Form<Grant>) -> Response {
    let token = match (grant.grant_type.as_str(), &desk.services) {
        ("password", _) => password(&desk.issuer, &grant).ok_or("invalid_grant"),
        (exchange::GRANT, Some(services)) => exchange::exchange(&desk.issuer, services, &grant),
        ("client_credentials", Some(services)) => {
            exchange::of_service(&desk.issuer, services, &grant)
        }
        _ => Err("unsupported_grant_type"),
    };
    match token {
        Ok(token) => Json(json!({
            "access_token": token,
            "id_token": token,
            "token_type": "Bearer",
            "expires_in": grant.expires_in.unwrap_or(LIFETIME),
        }))
        .into_response(),
        // RFC 6749 section 5.2.
        Err(error) => (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response(),
    }
}

/// RFC 6749 section 4.3.
fn password(issuer: &Issuer, grant: &Grant) -> Option<String> {
    if grant.password.as_deref() != Some(PASSWORD) {
        return None;
    }
    let wish = Wish {
        user: grant.username.as_deref()?,
        audience: grant.audience.as_deref().unwrap_or(AUDIENCE),
        lifetime: grant.expires_in.unwrap_or(LIFETIME),
    };
    issuer.token(&wish).ok()
}

/// For the shell: `TOKEN=$(curl -u mmosley:start123 ../token)`.
async fn token_as_text(
    State(desk): State<Arc<Desk>>,
    account: Option<TypedHeader<Authorization<Basic>>>,
) -> Response {
    let token = account.and_then(|TypedHeader(account)| {
        let token = desk.issuer.token(&Wish::of(account.username())).ok()?;
        (account.password() == PASSWORD).then_some(token)
    });
    match token {
        Some(token) => token.into_response(),
        None => {
            let challenge = [(header::WWW_AUTHENTICATE, r#"Basic realm="demo issuer""#)];
            (StatusCode::UNAUTHORIZED, challenge, "who are you?\n").into_response()
        }
    }
}
