//! The example requests of the main job and of the guides' policies: what is sent, and what must come back.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::client::{Answer, Request};
use crate::issuer::{AUDIENCE, Issuer, Wish};
use crate::policies::{ANYONE, DENY_AND_ALLOW, GROUP, HEALTH_CHECK, Listener, NOTHING};

/// One example.
pub struct Row {
    /// What is sent, in words.
    pub sent: &'static str,
    /// The request.
    pub request: Request,
    /// How many ports behind the main listener's it goes to.
    pub listener: u16,
    /// The status that must come back.
    pub status: u16,
    /// The reason code that the access log must name.
    pub reason: &'static str,
    /// What the service or the client saw, in words, or what is wrong with it.
    pub saw: Saw,
}

/// What an answer shows of the service, or what is wrong with it.
type Saw = fn(&Answer) -> Result<String, String>;

/// A key that no sidecar knows signs for this one.
const STRANGER: &str = "https://stranger.example.com";

/// The identity that a client would like to have.
fn forged_user_info() -> String {
    STANDARD.encode(r#"{"sub":"marc","groups":["group1","group2"]}"#)
}

/// Every example.
///
/// # Errors
/// A token could not be made.
pub fn rows(issuer: &Issuer) -> anyhow::Result<Vec<Row>> {
    let good = issuer.token(&Wish::of("mmosley"))?;
    let jackson = issuer.token(&Wish::of("jjackson"))?;
    let expired = issuer.token(&Wish { lifetime: -3600, ..Wish::of("mmosley") })?;
    let elsewhere = issuer.token(&Wish { audience: "another-service", ..Wish::of("mmosley") })?;
    let stranger = Issuer::new(STRANGER)?.token(&Wish::of("mmosley"))?;
    let forged = forged_user_info();
    let who = Request::get("/who-am-i");
    let refused =
        |sent, request, reason, saw| Row { sent, request, listener: 0, status: 401, reason, saw };
    let main = vec![
        Row {
            sent: "mmosley's token",
            request: who.clone().bearer(&good),
            listener: 0,
            status: 200,
            reason: "allowed",
            saw: |answer| caller(answer, "mmosley"),
        },
        Row {
            sent: "jjackson's token, in lower case `bearer`",
            request: who.clone().header("authorization", &format!("bearer {jackson}")),
            listener: 0,
            status: 200,
            reason: "allowed",
            saw: |answer| caller(answer, "jjackson"),
        },
        Row {
            sent: "mmosley's token, `User-Info` forged",
            request: who.clone().bearer(&good).header("User-Info", &forged),
            listener: 0,
            status: 200,
            reason: "allowed",
            saw: |answer| caller(answer, "mmosley"),
        },
        Row {
            sent: "the same in the spelling `User_Info`, twice",
            request: Request::get("/headers")
                .bearer(&good)
                .header("User_Info", &forged)
                .header("User_Info", &forged),
            listener: 0,
            status: 200,
            reason: "allowed",
            saw: one_user_info,
        },
        Row {
            sent: "mmosley's token, /headers asks what arrived",
            request: Request::get("/headers?a=1").bearer(&good),
            listener: 0,
            status: 200,
            reason: "allowed",
            saw: no_token,
        },
        Row {
            sent: "the token as `?access_token=`",
            request: Request::get(&format!("/headers?access_token={good}&a=1")),
            listener: 0,
            status: 200,
            reason: "allowed",
            saw: no_token,
        },
        refused("no token", who.clone(), "token_missing", |a| told(a, "Jwt is missing")),
        refused(
            "no token, `User-Info` forged",
            who.clone().header("User-Info", &forged),
            "token_missing",
            |a| told(a, "Jwt is missing"),
        ),
        refused("an expired token", who.clone().bearer(&expired), "token_expired", |a| {
            told(a, "Jwt is expired")
        }),
        refused(
            "a token with its subject changed",
            who.clone().bearer(&tampered(&good)),
            "signature_invalid",
            |a| told(a, "Jwt verification fails"),
        ),
        refused("another issuer's token", who.clone().bearer(&stranger), "issuer_unknown", |a| {
            told(a, "Jwt issuer is not configured")
        }),
        refused(
            "a token for another service",
            who.clone().bearer(&elsewhere),
            "audience_mismatch",
            |a| told(a, "Audiences in Jwt are not allowed"),
        ),
        refused(
            "a token that says `alg: none`",
            who.clone().bearer(&unsigned(issuer)),
            "algorithm_not_allowed",
            |a| told(a, "Jwt header [alg] is not supported"),
        ),
        refused(
            "two different tokens",
            Request::get(&format!("/who-am-i?access_token={jackson}")).bearer(&good),
            "token_ambiguous",
            |a| told(a, "Found multiple Jwt tokens"),
        ),
    ];
    Ok(main.into_iter().chain(policy_rows(&good, &jackson)).collect())
}

/// The guides' policies: who gets in where.
fn policy_rows(mosley: &str, jackson: &str) -> Vec<Row> {
    let get = |path: &str, token: Option<&str>| match token {
        Some(token) => Request::get(path).bearer(token),
        None => Request::get(path),
    };
    let allowed = |sent, listener: &Listener, request, saw| Row {
        sent,
        request,
        listener: listener.offset,
        status: 200,
        reason: "allowed",
        saw,
    };
    let denied = |sent, listener: &Listener, request, reason| Row {
        sent,
        request,
        listener: listener.offset,
        status: 403,
        reason,
        saw: |answer| match answer.body.as_str() {
            "RBAC: access denied" => Ok("- (RBAC: access denied)".to_owned()),
            body => Err(format!("expected `RBAC: access denied`, found `{body}`")),
        },
    };
    let who = "/who-am-i";
    let is_mosley: Saw = |answer| caller(answer, "mmosley");
    vec![
        allowed("requestPrincipals `*`: mmosley", &ANYONE, get(who, Some(mosley)), is_mosley),
        denied("requestPrincipals `*`: no token", &ANYONE, get(who, None), "no_rule_matched"),
        allowed("group2 only: mmosley", &GROUP, get(who, Some(mosley)), is_mosley),
        denied("group2 only: jjackson", &GROUP, get(who, Some(jackson)), "no_rule_matched"),
        denied("group2 only: no token", &GROUP, get(who, None), "no_rule_matched"),
        allowed(
            "notPaths /health_check: the probe, no token",
            &HEALTH_CHECK,
            get("/health_check", None),
            |answer| Ok(answer.body.clone()),
        ),
        allowed(
            "notPaths /health_check: mmosley",
            &HEALTH_CHECK,
            get(who, Some(mosley)),
            is_mosley,
        ),
        denied(
            "notPaths /health_check: no token elsewhere",
            &HEALTH_CHECK,
            get(who, None),
            "denied_by_rule",
        ),
        allowed("DENY and ALLOW: mmosley", &DENY_AND_ALLOW, get(who, Some(mosley)), is_mosley),
        denied(
            "DENY and ALLOW: mmosley, the denied path",
            &DENY_AND_ALLOW,
            get("/headers", Some(mosley)),
            "denied_by_rule",
        ),
        denied("ALLOW nothing: mmosley", &NOTHING, get(who, Some(mosley)), "no_rule_matched"),
    ]
}

/// The token with another subject, under the old signature.
fn tampered(token: &str) -> String {
    let mut parts: Vec<String> = token.split('.').map(str::to_owned).collect();
    if let Some(payload) = parts.get_mut(1) {
        let decoded = URL_SAFE_NO_PAD.decode(&payload).unwrap_or_default();
        let mut claims: Value = serde_json::from_slice(&decoded).unwrap_or_default();
        if let Some(claims) = claims.as_object_mut() {
            claims.insert("sub".to_owned(), json!("marc"));
        }
        *payload = URL_SAFE_NO_PAD.encode(claims.to_string());
    }
    parts.join(".")
}

/// What RFC 7519 section 6 calls an unsecured JWT, with a signature part so that it has three.
fn unsigned(issuer: &Issuer) -> String {
    let claims =
        json!({ "iss": issuer.name(), "sub": "marc", "aud": AUDIENCE, "exp": 4102444800_u64 });
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.AA", part(json!({ "alg": "none", "typ": "JWT" })), part(claims))
}

/// The service knows the caller, and by this name.
fn caller(answer: &Answer, expected: &str) -> Result<String, String> {
    let body = answer.json();
    let groups = body.get("groups").map(|groups| match groups {
        Value::Array(list) => format!("{} groups", list.len()),
        _ => "1 group".to_owned(),
    });
    match (body.get("name").and_then(Value::as_str), groups) {
        (Some(name), Some(groups)) if name == expected => Ok(format!("{name}, {groups}")),
        _ => Err(format!("expected {expected} with groups, the service says {}", answer.body)),
    }
}

/// Exactly one header that any service could read as `User-Info`, and it is mmosley's.
fn one_user_info(answer: &Answer) -> Result<String, String> {
    let body = answer.json();
    let headers = body.get("headers").and_then(Value::as_object);
    let alike = headers.into_iter().flatten().filter(|(name, _)| {
        let letters: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
        letters.eq_ignore_ascii_case("userinfo")
    });
    let alike: Vec<_> = alike.collect();
    match alike.as_slice() {
        [(name, Value::String(value))] if *name == "user-info" => {
            let claims = URL_SAFE_NO_PAD.decode(value).unwrap_or_default();
            let claims: Value = serde_json::from_slice(&claims).unwrap_or_default();
            match claims.get("sub").and_then(Value::as_str) {
                Some("mmosley") => Ok("one User-Info, mmosley's".to_owned()),
                _ => Err(format!("User-Info is not mmosley's: {claims}")),
            }
        }
        _ => Err(format!("expected one User-Info, the service saw {alike:?}")),
    }
}

/// The service sees the caller's identity, and no token.
fn no_token(answer: &Answer) -> Result<String, String> {
    let body = answer.json();
    let headers = body.get("headers");
    let has = |name: &str| headers.and_then(|headers| headers.get(name)).is_some();
    if has("user-info") && !has("authorization") && !answer.body.contains("access_token") {
        Ok("User-Info, no token".to_owned())
    } else {
        Err(format!("expected User-Info and no token, the service saw {}", answer.body))
    }
}

/// The client gets the cause, with a challenge; the service got nothing.
fn told(answer: &Answer, cause: &str) -> Result<String, String> {
    let challenge = answer.challenge.as_deref().unwrap_or_default();
    if answer.body == cause && challenge.starts_with("Bearer realm=") {
        Ok(format!("- ({cause})"))
    } else {
        Err(format!("expected `{cause}` and a challenge, found `{}`, `{challenge}`", answer.body))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policies::LISTENERS;

    /// The demo finds the port of a row by the name that the row begins with.
    #[test]
    fn a_listener_is_called_as_its_rows_are() {
        let rows = rows(&Issuer::new(STRANGER).unwrap()).unwrap();
        for listener in LISTENERS {
            let of_it = |row: &&Row| row.listener == listener.offset;
            let called = |row: &&Row| row.sent.starts_with(&format!("{}: ", listener.name));
            let (has, named) = (
                rows.iter().filter(of_it).count(),
                rows.iter().filter(of_it).filter(called).count(),
            );
            assert!(has > 0 && has == named, "{}: {named} of {has} rows", listener.name);
        }
    }
}
