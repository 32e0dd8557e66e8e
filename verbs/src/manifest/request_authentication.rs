//! RequestAuthentication: istio/istio pkg/config/validation/validation.go
//! (validateJwtRule), and where it is stricter the schema of the custom resource.
//!
//! This checks the manifest as Istio does; Usher's further requirements (usable keys, an issuer)
//! apply to a pluginConfig.

use usher_core::codec::problems::{Node, Object, Problems};

use super::{jwks, proto, selector, url};

/// Checks a RequestAuthentication's spec.
pub(super) fn check(spec: &Node<'_>, problems: &Problems) {
    let Some(spec) = spec.object(problems) else { return };
    selector::check(&spec, selector::TargetRef::Allowed, problems);
    if let Some(rules) = spec.field("jwtRules") {
        // istio/api request_authentication.proto: MaxItems=4096
        proto::at_most(&rules, 4096, problems);
        for rule in proto::objects(&rules, problems) {
            check_rule(rule, problems);
        }
    }
    spec.finish(problems);
}

fn check_rule(rule: Object<'_>, problems: &Problems) {
    let issuer = rule.field("issuer");
    let issuer = issuer.as_ref().and_then(|issuer| issuer.text(problems));
    let keys = rule.field("jwksUri");
    let uri = keys.as_ref().and_then(|uri| uri.text(problems));
    match (issuer, uri) {
        (None | Some(""), None | Some("")) => {
            problems.error(&rule.at, "a rule needs an `issuer` or a `jwksUri`");
        }
        (Some(""), _) => {
            // The schema's MinLength=1.
            problems.error(rule.path("issuer"), "expected an issuer, found an empty string");
        }
        _ => {}
    }
    check_keys(&rule, keys.as_ref().zip(uri), problems);
    for (field, what) in [
        ("audiences", "an audience"),
        ("fromParams", "the name of a query parameter"),
        ("fromCookies", "the name of a cookie"),
        ("spaceDelimitedClaims", "the name of a claim"),
    ] {
        let Some(list) = rule.field(field) else { continue };
        for (at, text) in proto::texts(&list, problems) {
            if text.is_empty() {
                problems.error(at, format!("expected {what}, found an empty string"));
            }
        }
        if field == "spaceDelimitedClaims" {
            // The schema's MaxItems=64.
            proto::at_most(&list, 64, problems);
        }
    }
    if let Some(headers) = rule.field("fromHeaders") {
        for header in proto::objects(&headers, problems) {
            filled(&header, "name", problems);
            header.field("prefix").and_then(|prefix| prefix.text(problems));
            header.finish(problems);
        }
    }
    if let Some(outputs) = rule.field("outputClaimToHeaders") {
        for output in proto::objects(&outputs, problems) {
            check_output(output, problems);
        }
    }
    rule.field("outputPayloadToHeader").and_then(|name| name.text(problems));
    rule.field("forwardOriginalToken").and_then(|forward| forward.boolean(problems));
    if let Some(timeout) = rule.field("timeout") {
        check_timeout(&timeout, problems);
    }
    rule.finish(problems);
}

fn check_keys(rule: &Object<'_>, uri: Option<(&Node<'_>, &str)>, problems: &Problems) {
    let inline = rule.field("jwks");
    if let (Some(_), Some((uri, _))) = (&inline, &uri) {
        // The schema's rule: only one of jwks or jwksUri can be set.
        problems.error(&uri.at, "only one of jwks and jwksUri, found both");
    }
    if let Some((node, text)) = uri {
        let key_set = url::parse(text).and_then(|url| match url.scheme.as_str() {
            "http" | "https" => Ok(()),
            "" => Err("no scheme".to_owned()),
            other => Err(format!("the scheme `{other}`")),
        });
        if let Err(found) = key_set {
            problems.error(&node.at, format!("expected an http or https URL, found {found}"));
        }
        // The schema's MaxLength.
        proto::no_longer_than(node, 2048, problems);
    }
    if let Some(inline) = inline
        && let Some(text) = inline.text(problems)
        && !text.is_empty()
    {
        jwks::check(&inline.at, text, problems);
    }
}

fn check_output(output: Object<'_>, problems: &Problems) {
    let header = filled(&output, "header", problems);
    filled(&output, "claim", problems);
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if let Some(header) = header
        && !header.bytes().all(is_token)
    {
        let problem = format!("expected letters, digits, `-` and `_`, found `{header}`");
        problems.error(output.path("header"), problem);
    }
    output.finish(problems);
}

/// A string that is required and not empty.
fn filled<'v>(object: &Object<'v>, name: &'static str, problems: &Problems) -> Option<&'v str> {
    object.required(name, problems)?.filled_text(problems)
}

/// Source: istio/istio pkg/config/validation/agent/validation.go (ValidateDuration).
fn check_timeout(timeout: &Node<'_>, problems: &Problems) {
    const MILLISECOND: i128 = 1_000_000;
    let Some(nanoseconds) = proto::duration(timeout, problems) else { return };
    if nanoseconds < MILLISECOND || nanoseconds % MILLISECOND != 0 {
        timeout.expected::<()>("a duration of whole milliseconds, at least one", problems);
    }
}
