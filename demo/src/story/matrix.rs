//! Every token at every service.

use serde_json::Value;

use super::services::WriteChecks;
use super::{PULL_FUNDS, Steps, Story, sidecar, text};
use crate::access_log;
use crate::client::Request;
use crate::issuer::{AUDIENCE, Wish, exchange};

/// A service, and what of it is asked.
const PATHS: [(&str, &str); 4] = [
    ("hello-world", "/who-am-i"),
    ("write-checks", "/write-check"),
    ("check-funds", "/check-funds"),
    ("pull-funds", "/pull-funds"),
];

/// Shows each token at each service, and what came of it.
pub(super) async fn play(
    story: &Story,
    write_checks: &WriteChecks,
    told: &Value,
    steps: &mut Steps,
) -> anyhow::Result<()> {
    let hello = story.issuer.token(&Wish { audience: AUDIENCE, ..Wish::of("mmosley") })?;
    // As write-checks could have asked for it too, had it left out who acts.
    let unnamed = unnamed(write_checks, told).await?;
    // Which token is good at which service; `None`: at none.
    let tokens = [
        ("for hello-world", hello, Some("hello-world")),
        ("user_jwt", text(told, "user_jwt"), Some("write-checks")),
        ("impersonated_jwt", text(told, "impersonated_jwt"), Some("check-funds")),
        ("delegation_token", text(told, "delegation_token"), Some("pull-funds")),
        ("the same without act", unnamed, None),
        ("actor_token", text(told, "actor_token"), None),
        ("pod_jwt", text(told, "pod_jwt"), None),
    ];
    let names: Vec<String> = PATHS.iter().map(|(name, _)| format!("{name:<22}")).collect();
    println!("   {:<21} {}", "token", names.concat().trim_end());
    for (token_name, token, home) in &tokens {
        let mut cells = String::new();
        for (service, path) in PATHS {
            let name = format!("{token_name}-{service}").replace(' ', "-");
            let request = Request::get(path).bearer(token);
            let (answer, reason) =
                access_log::send(&sidecar(&story.site, service)?, &request, &name).await?;
            cells.push_str(&format!("{:<22}", format!("{} {reason}", answer.status)));
            let expected = expected(token_name, service, *home);
            let what = format!("{token_name} at {service}");
            steps.expect(&what, (answer.status, reason.as_str()), expected);
        }
        println!("   {token_name:<21} {}", cells.trim_end());
    }
    println!();
    Ok(())
}

fn expected(token: &str, service: &str, home: Option<&str>) -> (u16, &'static str) {
    match (token, service) {
        _ if home == Some(service) => (200, "allowed"),
        // The right audience without an actor: the policy refuses it.
        ("the same without act", "pull-funds") => (403, "no_rule_matched"),
        ("pod_jwt", _) => (401, "issuer_unknown"),
        _ => (401, "audience_mismatch"),
    }
}

/// mmosley's token for pull-funds, by impersonation.
async fn unnamed(write_checks: &WriteChecks, told: &Value) -> anyhow::Result<String> {
    let user = text(told, "user_jwt");
    let exchange =
        [("grant_type", exchange::GRANT), ("subject_token", &user), ("audience", PULL_FUNDS)];
    write_checks.token(&exchange).await
}
