//! A decision as scripts read it. The fields are stable: `usher explain --format json` prints them,
//! policy tests expect them.

use serde::Serialize;
use serde_json::{Map, Value, json};
use usher_core::decide::Decision;
use usher_core::request::Request;
use usher_core::{Compiled, path};

/// Every reason code (docs/reasons.md).
pub const REASONS: [&str; 28] = [
    "algorithm_not_allowed",
    "allowed",
    "audience_mismatch",
    "claim_mismatch",
    "config_invalid",
    "denied_by_rule",
    "expiration_missing",
    "header_unsupported",
    "host_failed",
    "identity_spoofed",
    "identity_too_large",
    "issuer_unknown",
    "key_unknown",
    "keys_unavailable",
    "lifetime_too_long",
    "no_rule_matched",
    "path_unsafe",
    "request_too_complex",
    "signature_invalid",
    "subject_not_allowed",
    "token_ambiguous",
    "token_expired",
    "token_malformed",
    "token_missing",
    "token_not_yet_valid",
    "token_too_large",
    "token_too_old",
    "type_not_allowed",
];

/// What happens to a request, and why.
#[derive(Clone, Debug, Serialize)]
pub struct Answer {
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// The HTTP status: 200 for an allowed request.
    pub status: u16,
    /// The reason code (docs/reasons.md).
    pub reason: &'static str,
    /// The rule that verified the token.
    pub provider: Option<String>,
    /// The policy that decided.
    pub policy: Option<String>,
    /// The number of the rule that decided, from 0.
    pub rule: Option<usize>,
    /// The name of that rule: `ns[NAMESPACE]-policy[NAME]-rule[NUMBER]`.
    pub matched: Option<String>,
    /// Whether an AUDIT policy matches; absent without one.
    pub audit: Option<bool>,
    /// A CORS preflight that was not asked for a token.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub preflight: bool,
    /// In a dry run: the places of tokens that enforcement would have removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub would_withhold: Vec<String>,
    /// The path with its query as the service would see it.
    pub path: Option<String>,
    /// Headers that are set, by name.
    pub set: Map<String, Value>,
    /// Headers that are removed.
    pub remove: Vec<String>,
    /// The body of the reply.
    pub body: Option<String>,
    /// `www-authenticate` of the reply.
    pub challenge: Option<String>,
    /// What was decided on the way.
    pub steps: Vec<String>,
}

impl Answer {
    /// The answer of a decision.
    pub fn new(policy: &Compiled, request: &Request, decision: &Decision) -> Self {
        let report = &decision.report;
        let authorization = report.authorization.as_ref();
        let reply = decision.reply.as_ref();
        let set = decision.mutations.set.iter().map(|(name, lines)| {
            let value = match &**lines {
                [line] => Value::String(text(line)),
                lines => json!(lines.iter().map(|line| text(line)).collect::<Vec<_>>()),
            };
            (text(name), value)
        });
        Self {
            decision: if reply.is_none() { "allow" } else { "deny" },
            status: decision.status(),
            reason: decision.reason(),
            provider: report.identity.as_ref().map(|identity| identity.provider.clone()),
            policy: authorization
                .and_then(|authorization| authorization.policy.as_deref().map(str::to_owned)),
            rule: authorization.and_then(|authorization| authorization.rule),
            matched: authorization
                .and_then(|authorization| authorization.matched.as_deref().map(str::to_owned)),
            audit: authorization.and_then(|authorization| authorization.audit),
            preflight: report.preflight,
            would_withhold: report.would_withhold.iter().map(ToString::to_string).collect(),
            path: seen_path(policy, request, decision),
            set: set.collect(),
            remove: decision.mutations.remove.iter().map(|name| text(name)).collect(),
            body: reply.map(|reply| reply.body.clone()),
            challenge: reply.and_then(|reply| reply.challenge()).map(str::to_owned),
            steps: report.steps.clone(),
        }
    }

    /// `allow 200 allowed`.
    pub fn headline(&self) -> String {
        format!("{} {} {}", self.decision, self.status, self.reason)
    }
}

/// The path with its query as the service would see it; for a refused request, as it was matched.
fn seen_path(policy: &Compiled, request: &Request, decision: &Decision) -> Option<String> {
    let edited = decision.mutations.applied(request);
    let path = edited.path()?;
    let normal = path::normalize(path, policy.settings.path_normalization);
    Some(normal.map_or_else(|_| text(path), |normal| text(&normal)))
}

/// Header bytes for a JSON string; bytes that are not UTF-8 are replaced (U+FFFD).
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page lists every reason, and so does this list.
    #[test]
    fn the_reasons_are_those_of_the_page() {
        let page = include_str!("../../docs/reasons.md");
        let cells = page.lines().filter_map(|line| line.strip_prefix('|')?.split('|').next());
        let mut listed: Vec<&str> = cells
            .flat_map(|cell| cell.split(','))
            .filter_map(|word| word.trim().strip_prefix('`')?.strip_suffix('`'))
            .collect();
        listed.sort_unstable();
        assert_eq!(listed, REASONS);
    }
}
