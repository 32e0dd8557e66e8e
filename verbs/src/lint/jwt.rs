//! JWT rules that accept more than expected.

use std::time::Duration;

use usher_core::claims::ClaimName;
use usher_core::codec::json::Value;
use usher_core::codec::problems::{Node, Problems};
use usher_core::policy::Location;

use super::view::{View, filled};

/// A token that lives longer is a password: the most that common issuers allow.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// RFC 7519 section 4.1.4: "usually no more than a few minutes".
const MUCH_SKEW: Duration = Duration::from_secs(300);

/// Keys older than this are no longer the issuer's word.
const LONG_STALE: Duration = Duration::from_secs(7 * 24 * 3600);

/// Records what is doubtful in each rule.
pub(super) fn check(view: &View<'_>, problems: &Problems) {
    check_audiences(view, problems);
    for (at, rule) in &view.rules {
        check_algorithms(rule, at, problems);
        check_times(rule, at, problems);
        check_key_server(rule, at, problems);
        if filled(rule, "fromParams") {
            problems.warning(
                "token-in-url",
                format!("{at}.fromParams"),
                "a token in a URL ends up in the logs of every proxy and in browser histories; \
                 where the client can, let it send a header or a cookie",
            );
        }
    }
}

/// Records the same for the rules of a RequestAuthentication.
pub(super) fn check_key_servers(view: &View<'_>, problems: &Problems) {
    view.rules.iter().for_each(|(at, rule)| check_key_server(rule, at, problems));
}

/// Records keys that anyone on the way can change.
fn check_key_server(rule: &Value, at: &str, problems: &Problems) {
    let Some(uri) = rule.get("jwksUri").and_then(Value::as_str) else { return };
    let Ok(location) = Location::parse(uri) else { return };
    let host = location.host().trim_end_matches('.');
    // `keycloak.auth:8080` is a service and its namespace.
    let has_port =
        location.authority.trim_end_matches(|char: char| char.is_ascii_digit()).ends_with(':');
    let is_inside = !host.contains('.')
        || host.matches('.').count() == 1 && has_port
        || [".svc", ".local", ".internal"].iter().any(|end| host.ends_with(end));
    if location.scheme == "http" && !is_inside {
        problems.warning(
            "keys-over-http",
            format!("{at}.jwksUri"),
            "keys over `http://` can be changed by anyone on the way, who may then sign any token; use `https://`",
        );
    }
}

/// Records rules that accept a token for another service.
pub(super) fn check_audiences(view: &View<'_>, problems: &Problems) {
    for (at, rule) in &view.rules {
        if !filled(rule, "audiences") && !pins_its_client(rule) {
            problems.warning(
                "no-audiences",
                at,
                "no `audiences`: a token that the issuer made for any other service is accepted \
                 here too (RFC 8725 section 3.9)",
            );
        }
    }
}

/// Whether a rule says whose its tokens are by another claim than `aud`: `client_id` (RFC 9068; Cognito), `azp` (OpenID
/// Connect), `cid` (Okta).
fn pins_its_client(rule: &Value) -> bool {
    let required = rule.get("requiredClaims").and_then(Value::as_array).into_iter().flatten();
    let pinned = required.filter(|claim| filled(claim, "values"));
    let mut names = pinned.filter_map(|claim| claim.get("claim").and_then(Value::as_str));
    names.any(|name| matches!(name, "client_id" | "azp" | "cid"))
}

/// Records claims that Istio cannot address. In a pluginConfig the parser reports them, since they have
/// another spelling there.
pub(super) fn check_claim_names(view: &View<'_>, problems: &Problems) {
    for (at, rule) in &view.rules {
        let outputs = rule.get("outputClaimToHeaders").and_then(Value::as_array);
        for (index, output) in outputs.into_iter().flatten().enumerate() {
            let claim = output.get("claim").and_then(Value::as_str).unwrap_or_default();
            let meant = ClaimName::new(claim).and_then(|name| name.probably_meant());
            if let Some(meant) = meant {
                problems.warning(
                    "claim-name", format!("{at}.outputClaimToHeaders[{index}].claim"),
                    format!(
                        "Istio reads each dot of `{claim}` as a way into an object, so no header comes of a claim \
                         of that name; in a pluginConfig of Usher it is `{meant}`"
                    ),
                );
            }
        }
    }
}

fn check_algorithms(rule: &Value, at: &str, problems: &Problems) {
    let listed = rule.get("algorithms").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = listed.filter_map(Value::as_str).collect();
    let Some(index) = names.iter().position(|name| name.starts_with("HS")) else { return };
    let at = format!("{at}.algorithms[{index}]");
    problems.warning(
        "symmetric", &at,
        "with HS* anyone who can read this configuration can make tokens; an issuer with a key pair \
         (ES256, RS256) keeps that to itself",
    );
    if names.iter().any(|name| !name.starts_with("HS")) {
        problems.warning(
            "symmetric", &at,
            "HS* beside other algorithms: give the shared secret a rule of its own, so that no public \
             key is ever taken for a secret (RFC 8725 section 3.1)",
        );
    }
}

fn check_times(rule: &Value, at: &str, problems: &Problems) {
    let duration = |field: &str| {
        let value = rule.get(field)?;
        Node { at: String::new(), value }.duration(&Problems::default())
    };
    if rule.get("requireExpiration") == Some(&Value::Bool(false)) {
        let bound = filled(rule, "maxAge") || filled(rule, "maxLifetime");
        if !bound {
            problems.warning(
                "never-expires",
                format!("{at}.requireExpiration"),
                "a token without `exp` is good for ever, a stolen one too; bound its age with \
                 `maxAge`",
            );
        }
    }
    if let Some(skew) = duration("clockSkew").filter(|skew| *skew > MUCH_SKEW) {
        let minutes = skew.as_secs() / 60;
        problems.warning(
            "clock-skew",
            format!("{at}.clockSkew"),
            format!(
                "an expired token is accepted for {minutes} more minutes; a few minutes are usual \
                 (RFC 7519 section 4.1.4)"
            ),
        );
    }
    if let Some(skew) = duration("issuedAtSkew").filter(|skew| *skew > MUCH_SKEW) {
        let minutes = skew.as_secs() / 60;
        problems.warning(
            "clock-skew",
            format!("{at}.issuedAtSkew"),
            format!(
                "a token may be from {minutes} minutes ahead, and its `maxAge` begins only then"
            ),
        );
    }
    let lifetime = duration("maxLifetime");
    if lifetime.is_some_and(|lifetime| lifetime > LONG) {
        problems.warning(
            "long-lifetime",
            format!("{at}.maxLifetime"),
            "a token may live for more than a day, and nothing here can revoke it",
        );
    }
    if let Some(stale) = duration("maxStale").filter(|stale| *stale > LONG_STALE) {
        problems.warning(
            "long-max-stale",
            format!("{at}.maxStale"),
            format!(
                "a key that the issuer has taken back goes on counting for {} days while its server is not reached",
                stale.as_secs() / 86_400
            ),
        );
    }
    if let (Some(lifetime), Some(age)) = (lifetime, duration("maxAge"))
        && age >= lifetime
    {
        problems.warning(
            "no-effect",
            format!("{at}.maxAge"),
            "has no effect: by `maxLifetime` a token has expired before it is that old",
        );
    }
}
