//! Rules and values that can never match.

use usher_core::claims::ClaimName;
use usher_core::codec::json::Value;
use usher_core::codec::problems::{Problems, did_you_mean};
use usher_core::path::{self};
use usher_core::policy::Normalization;

use super::view::{Policy, View, conditions, operands, texts};
use crate::manifest::CLOSING_PATH;

/// Claims that are numbers or booleans by their standards (RFC 7519 section 4.1, OpenID Connect Core
/// section 5.1).
const NO_TEXT: [&str; 8] = [
    "auth_time",
    "email_verified",
    "exp",
    "iat",
    "nbf",
    "phone_number_verified",
    "updated_at",
    "refresh_expires_in",
];

/// Records what cannot match in a policy's rules.
pub(super) fn check(view: &View<'_>, policy: &Policy<'_>, problems: &Problems) {
    for (at, rule) in &policy.rules {
        for (at, source) in operands(rule, at, "from", "source") {
            check_source(view, source, &at, problems);
            check_negated(source, &at, problems);
        }
        for (at, operation) in operands(rule, at, "to", "operation") {
            check_methods(operation, &at, problems);
            check_paths(view, operation, &at, problems);
            check_hosts(operation, &at, problems);
            check_negated(operation, &at, problems);
            if policy.action == "DENY" {
                check_exact_paths(operation, &at, problems);
            }
        }
        for (at, condition) in conditions(rule, at) {
            check_condition(view, condition, &at, problems);
        }
    }
}

fn check_source(view: &View<'_>, source: &Value, at: &str, problems: &Problems) {
    for field in ["principals", "notPrincipals"] {
        for (at, text) in texts(source, at, field) {
            principal(&at, text, problems);
        }
    }
    for field in ["namespaces", "notNamespaces", "serviceAccounts", "notServiceAccounts"] {
        for (at, text) in texts(source, at, field) {
            literal(&at, text, problems);
        }
    }
    for field in ["requestPrincipals", "notRequestPrincipals"] {
        for (at, text) in texts(source, at, field) {
            request_principal(view, &at, text, problems);
        }
    }
}

fn principal(at: &str, text: &str, problems: &Problems) {
    if let Some(rest) = text.strip_prefix("spiffe://") {
        problems.warning(
            "never-matches",
            at,
            format!("never matches: the value is compared without `spiffe://`; write `{rest}`"),
        );
    } else if !literal(at, text, problems) && !text.contains('*') && is_without_trust_domain(text) {
        problems.warning(
            "never-matches",
            at,
            format!(
                "never matches: expected `trust-domain/ns/namespace/sa/account`, found `{text}`; `*/{text}` is this \
                 one of any trust domain"
            ),
        );
    }
}

/// A peer's name has five parts, the trust domain first (SPIFFE ID of Istio).
fn is_without_trust_domain(text: &str) -> bool {
    text.starts_with("ns/") || text.starts_with("sa/") || !text.contains('/')
}

/// Records a value that only a text with a star or with blanks at its ends could match; returns whether it is one. In Istio a
/// star is a wildcard as the first or last character only.
fn literal(at: &str, text: &str, problems: &Problems) -> bool {
    if text != text.trim() {
        let trimmed = text.trim();
        let problem =
            format!("never matches: blanks at its ends are compared too; write `{trimmed}`");
        problems.warning("never-matches", at, problem);
    } else if is_starred(text) {
        let problem = format!(
            "never matches: of `{text}` a `*` that is not the first or last character is compared as a star"
        );
        problems.warning("never-matches", at, problem);
    } else {
        return false;
    }
    true
}

/// `iss/sub`, whose issuer must be a configured one.
fn request_principal(view: &View<'_>, at: &str, text: &str, problems: &Problems) {
    if !text.contains(['/', '*']) {
        problems.warning(
            "never-matches",
            at,
            format!(
                "never matches: expected `issuer/subject`, found `{text}`; `*/{text}` is this \
                     subject of any issuer"
            ),
        );
        return;
    }
    let Some((issuer, subject)) = text.rsplit_once('/') else { return };
    if text != text.trim() {
        literal(at, text, problems);
        return;
    }
    // `https://idp.example.com`: the last slash is one of the scheme's.
    if !text.contains('*') && (subject.is_empty() || issuer.ends_with(":/")) {
        let alone = text.trim_end_matches('/');
        let problem = format!(
            "never matches: expected `issuer/subject`, found an issuer alone; `{alone}/*` is every subject of it"
        );
        problems.warning("never-matches", at, problem);
        return;
    }
    let known: Vec<&str> =
        view.rules.iter().filter_map(|(_, r)| r.get("issuer").and_then(Value::as_str)).collect();
    let is_of_a_known_one = known
        .iter()
        .filter_map(|known| text.strip_prefix(*known)?.strip_prefix('/'))
        .any(|subject| subject.contains('/') && !subject.contains('*'));
    let is_of_any =
        text.strip_prefix("*/").is_some_and(|rest| rest.contains('/') && !rest.ends_with('*'));
    if is_of_a_known_one || is_of_any {
        problems.warning(
            "never-matches",
            at,
            format!(
                "never matches as it is meant: the issuer is all before the last slash, so that a subject with `/` \
                 cannot be named here; compare it with `request.auth.claims[sub]` in `when`, found issuer `{issuer}`"
            ),
        );
        return;
    }
    let any = view.rules.iter().any(|(_, rule)| rule.get("issuer").is_none());
    if !view.complete || any || issuer.contains('*') || known.contains(&issuer) {
        return;
    }
    if known.is_empty() {
        let problem =
            "never matches: there are no `jwtRules`, so no request has a token's identity";
        problems.warning("never-matches", at, problem);
        return;
    }
    let hint = did_you_mean(issuer, known.iter().copied());
    problems.warning(
        "never-matches",
        at,
        format!("never matches: no rule is for the issuer `{issuer}`{hint}"),
    );
}

fn check_paths(view: &View<'_>, operation: &Value, at: &str, problems: &Problems) {
    let mode = match view.config.get("pathNormalization").and_then(Value::as_str) {
        Some("NONE") => Normalization::None,
        Some("MERGE_SLASHES") => Normalization::MergeSlashes,
        Some("DECODE_AND_MERGE_SLASHES") => Normalization::DecodeAndMergeSlashes,
        _ => Normalization::Base,
    };
    for field in ["paths", "notPaths"] {
        for (at, text) in texts(operation, at, field) {
            if let Some(end) = text.find(['?', '#']) {
                let path = text.get(..end).unwrap_or_default();
                problems.warning(
                    "never-matches",
                    &at,
                    format!(
                        "never matches: paths are compared without query; write `{path}`, and a \
                         condition on `request.query[name]`"
                    ),
                );
            } else if text.contains("://") {
                problems.warning(
                    "never-matches",
                    &at,
                    format!("never matches: a path begins with `/`, found the URL `{text}`"),
                );
            } else if text != text.trim() || !text.contains('{') && is_starred(text) {
                literal(&at, text, problems);
            } else if let Some(name) = text.split('/').find_map(|piece| piece.strip_prefix(':')) {
                let problem = format!(
                    "never matches: `:{name}` is compared as it is; a variable segment is `{{*}}`, or `*` at the end"
                );
                problems.warning("never-matches", &at, problem);
            } else if !text.starts_with(['/', '*', '{']) {
                let problem = format!("never matches: a path begins with `/`; write `/{text}`");
                problems.warning("never-matches", &at, problem);
            } else if !text.contains(['*', '{'])
                && let Ok(normal) = path::normalize(text.as_bytes(), mode)
                && *normal != *text.as_bytes()
            {
                let normal = String::from_utf8_lossy(&normal).into_owned();
                problems.warning(
                    "never-matches",
                    &at,
                    format!("never matches: a request's path is normalised; write `{normal}`"),
                );
            }
        }
    }
}

/// Whether a star is neither its first nor its last character.
fn is_starred(text: &str) -> bool {
    text.strip_prefix('*').or_else(|| text.strip_suffix('*')).unwrap_or(text).contains('*')
}

/// Methods are compared as they are, and those of HTTP are in capitals (RFC 9110 section 9.1).
fn check_methods(operation: &Value, at: &str, problems: &Problems) {
    for field in ["methods", "notMethods"] {
        for (at, text) in texts(operation, at, field) {
            let upper = text.to_ascii_uppercase();
            if text.contains([',', '|']) || text.trim().contains(' ') {
                let problem =
                    format!("never matches: `{text}` is one method here; make it several entries");
                problems.warning("never-matches", at, problem);
            } else if !literal(&at, text, problems) && upper != text {
                let problem = format!("never matches: letter case counts; write `{upper}`");
                problems.warning("never-matches", at, problem);
            }
        }
    }
}

/// A DENY on `/admin` leaves `/admin/`, which many services take for the same.
fn check_exact_paths(operation: &Value, at: &str, problems: &Problems) {
    let all = texts(operation, at, "paths");
    for (at, text) in &all {
        // The path of a policy that `usher convert` prints is not one of a service.
        let is_exact = text.starts_with('/')
            && !text.contains(['*', '{', '.'])
            && text.len() > 1
            && *text != CLOSING_PATH;
        let Some(bare) = text.strip_suffix('/').or(Some(*text)).filter(|_| is_exact) else {
            continue;
        };
        let other = if text.ends_with('/') { bare.to_owned() } else { format!("{bare}/") };
        let covers_it = |(_, pattern): &(String, &str)| {
            covers(pattern, &other)
                || pattern.strip_suffix("{**}").is_some_and(|p| other.starts_with(p))
        };
        if !all.iter().any(covers_it) {
            problems.warning(
                "deny-exact-path",
                at,
                format!(
                    "denies `{text}` and not `{other}`, which a service may take for the same; add it, or deny \
                     `{bare}*`"
                ),
            );
        }
    }
}

fn check_hosts(operation: &Value, at: &str, problems: &Problems) {
    for field in ["hosts", "notHosts"] {
        for (at, text) in texts(operation, at, field) {
            if let Some((_, rest)) = text.split_once("://") {
                let host = rest.trim_end_matches('/');
                problems.warning(
                    "never-matches",
                    &at,
                    format!("never matches: a host has no scheme; write `{host}`"),
                );
            } else if literal(&at, text, problems) {
                // Said.
            } else if text.ends_with('.') {
                let host = text.trim_end_matches('.');
                let problem =
                    format!("matches only a host that ends with a dot; most clients send `{host}`");
                problems.warning("never-matches", &at, problem);
            } else if text.contains('/') {
                let host = text.split('/').next().unwrap_or_default();
                problems.warning(
                    "never-matches",
                    &at,
                    format!("never matches: a host has no path; write `{host}`"),
                );
            }
        }
    }
}

/// A field whose `not` excludes everything that it matches.
fn check_negated(operand: &Value, at: &str, problems: &Problems) {
    let Value::Object(members) = operand else { return };
    for name in members.keys().filter(|name| !name.starts_with("not")) {
        let mut letters = name.chars();
        let first = letters.next().map(|letter| letter.to_ascii_uppercase());
        let not: String = "not".chars().chain(first).chain(letters).collect();
        contradicted(operand, at, name, &not, problems);
    }
}

fn contradicted(object: &Value, at: &str, field: &str, not: &str, problems: &Problems) {
    let values = texts(object, "", field);
    let ruled_out = texts(object, "", not);
    let gone = |text: &str| ruled_out.iter().any(|(_, out)| covers(out, text));
    if !values.is_empty() && values.iter().all(|(_, text)| gone(text)) {
        problems.warning(
            "never-matches",
            at,
            format!("never matches: `{not}` rules out everything that `{field}` asks for"),
        );
    }
}

/// Whether every text that matches `text` matches `pattern` too.
fn covers(pattern: &str, text: &str) -> bool {
    if pattern == "*" || pattern == text {
        return true;
    }
    if let Some(suffix) = pattern.strip_prefix('*') {
        text.ends_with(suffix)
    } else if let Some(prefix) = pattern.strip_suffix('*') {
        text.starts_with(prefix)
    } else {
        false
    }
}

fn check_condition(view: &View<'_>, condition: &Value, at: &str, problems: &Problems) {
    let Some(key) = condition.get("key").and_then(Value::as_str) else { return };
    contradicted(condition, at, "values", "notValues", problems);
    for field in ["values", "notValues"] {
        for (at, text) in texts(condition, at, field) {
            match key {
                "request.auth.principal" => request_principal(view, &at, text, problems),
                "source.principal" => principal(&at, text, problems),
                "request.auth.provider" => provider(view, &at, text, problems),
                key if key.starts_with("experimental.") => {}
                _ => drop(literal(&at, text, problems)),
            }
        }
    }
    if let Some(rest) = key.strip_prefix("request.auth.claims[") {
        let name = rest.split(']').next().unwrap_or_default();
        let quoted = name.trim_matches(['"', '\'']);
        let looks_nested = name.contains('.')
            && ClaimName::new(name).is_some_and(|name| name.probably_meant().is_none());
        if quoted != name {
            let problem = format!(
                "never matches: the quotes are a part of the name; write `request.auth.claims[{quoted}]`"
            );
            problems.warning("never-matches", format!("{at}.key"), problem);
        } else if looks_nested {
            let nested = name.replace('.', "][");
            problems.warning(
                "never-matches",
                format!("{at}.key"),
                format!(
                    "`{name}` is the name of one claim, dots included; a claim inside of another is \
                     `request.auth.claims[{nested}]`"
                ),
            );
        }
        let scalars = view.config.get("matchScalarClaims") == Some(&Value::Bool(true));
        if NO_TEXT.contains(&name) && !scalars {
            problems.warning(
                "never-matches", format!("{at}.key"),
                format!(
                    "never matches: `{name}` is a number or a boolean, and rules compare strings, as in \
                     Istio; `matchScalarClaims: true` compares its text"
                ),
            );
        }
    }
    let authorization = key.eq_ignore_ascii_case("request.headers[authorization]");
    let forwarded = view.rules.iter().any(|(_, rule)| {
        rule.get("forwardOriginalToken") == Some(&Value::Bool(true))
            || rule.get("fromHeaders").is_some()
    });
    if authorization && !view.rules.is_empty() && !forwarded {
        problems.warning(
            "never-matches",
            format!("{at}.key"),
            "never sees a verified token, which is taken out first; ask for its claims with \
             `request.auth.claims[name]`",
        );
    }
}

fn provider(view: &View<'_>, at: &str, text: &str, problems: &Problems) {
    let text_of =
        |rule: &'_ Value, name: &str| rule.get(name).and_then(Value::as_str).map(str::to_owned);
    let known: Vec<String> = view
        .rules
        .iter()
        .filter_map(|(_, rule)| text_of(rule, "name").or_else(|| text_of(rule, "issuer")))
        .collect();
    let complete = view.complete && known.len() == view.rules.len();
    if complete && !text.contains('*') && !known.iter().any(|name| name == text) {
        let hint = did_you_mean(text, known.iter().map(String::as_str));
        problems.warning(
            "never-matches",
            at,
            format!("never matches: no rule is named `{text}`{hint}"),
        );
    }
}
