//! Token exchange (RFC 8693): a service that shows who it is gets a token for the next service, in the
//! user's name. Impersonation leaves no trace of the service; delegation names it in `act`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Issuer;

/// RFC 8693 section 2.1.
pub const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

/// Seconds that an exchanged token is good: long enough for a call.
const LIFETIME: i64 = 60;

/// Claims of a user that go on into an exchanged token.
const CARRIED: [&str; 4] = ["name", "groups", "preferred_username", "email"];

/// The services that the issuer knows: by tokens of the cluster's own issuer.
pub struct Services {
    /// Signs service-account tokens.
    pub cluster: Arc<Issuer>,
    /// Which service account may get tokens for which audience.
    pub allowed: Vec<(&'static str, &'static str)>,
    /// The audience of users' first tokens, which alone can be exchanged.
    pub users: &'static str,
}

/// A token request. `expires_in` is for trying things out.
#[derive(Deserialize)]
pub(super) struct Grant {
    pub(super) grant_type: String,
    pub(super) username: Option<String>,
    pub(super) password: Option<String>,
    pub(super) audience: Option<String>,
    /// Seconds; negative for a token that has expired.
    pub(super) expires_in: Option<i64>,
    /// RFC 7523 section 2.2: the service-account token of the client.
    pub(super) client_assertion: Option<String>,
    /// RFC 8693 section 2.1.
    pub(super) subject_token: Option<String>,
    pub(super) actor_token: Option<String>,
}

/// The service account that asks, by its own token.
fn client(issuer: &Issuer, services: &Services, grant: &Grant) -> Result<String, &'static str> {
    let token = grant.client_assertion.as_deref().ok_or("invalid_client")?;
    let claims = services.cluster.verify(token, issuer.name()).map_err(|_| "invalid_client")?;
    claims.subject.ok_or("invalid_client")
}

/// A token for the service itself (RFC 6749 section 4.4): who acts, in a delegation.
pub(super) fn of_service(
    issuer: &Issuer,
    services: &Services,
    grant: &Grant,
) -> Result<String, &'static str> {
    let client = client(issuer, services, grant)?;
    issuer.mint(&client, issuer.name(), LIFETIME, Map::new()).map_err(|_| "server_error")
}

/// The exchange.
pub(super) fn exchange(
    issuer: &Issuer,
    services: &Services,
    grant: &Grant,
) -> Result<String, &'static str> {
    let client = client(issuer, services, grant)?;
    let audience = grant.audience.as_deref().ok_or("invalid_request")?;
    if !services.allowed.contains(&(client.as_str(), audience)) {
        return Err("invalid_target");
    }
    let subject_token = grant.subject_token.as_deref().ok_or("invalid_request")?;
    let user = issuer.verify(subject_token, services.users).map_err(|_| "invalid_grant")?;
    let subject = user.subject.ok_or("invalid_grant")?;
    let mut claims: Map<String, Value> = user.custom;
    claims.retain(|name, _| CARRIED.contains(&name.as_str()));
    if let Some(actor_token) = &grant.actor_token {
        // RFC 8693 section 4.1.
        let actor = issuer.verify(actor_token, issuer.name()).map_err(|_| "invalid_grant")?;
        if actor.subject.as_deref() != Some(&client) {
            return Err("invalid_grant");
        }
        claims.insert("act".to_owned(), json!({ "sub": client }));
    }
    issuer.mint(&subject, audience, LIFETIME, claims).map_err(|_| "server_error")
}
