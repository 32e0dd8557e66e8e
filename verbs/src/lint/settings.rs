//! Settings that let in more than they seem to.

use usher_core::codec::json::Value;
use usher_core::codec::problems::Problems;

use super::view::{View, filled, texts};
use crate::config::below;

/// Records what is doubtful in the other fields.
pub(super) fn check(view: &View<'_>, problems: &Problems) {
    let place = |path: &str| below(&view.at, path);
    let word = |name: &str| view.config.get(name).and_then(Value::as_str);
    if word("mode") == Some("dryRun") {
        problems.warning(
            "dry-run",
            place("mode"),
            "refuses nothing: only the log says what would be refused",
        );
    }
    if word("missingToken") == Some("allow") && view.policies.is_empty() {
        problems.warning(
            "no-token-needed",
            place("missingToken"),
            "with `allow` and no policies nothing needs a token: leave it out, or give \
             `authorizationPolicies`",
        );
    }
    if word("pathNormalization") == Some("NONE") && !view.policies.is_empty() {
        problems.warning(
            "no-normalization", place("pathNormalization"),
            "`/admin` is also `/x/../admin` and `/%61dmin`: with NONE a path in a rule can be dodged",
        );
    }
    if word("sourceAddress") == Some("connection") {
        problems.warning(
            "client-address", place("sourceAddress"),
            "where this proxy trusts `x-forwarded-for`, and an Istio sidecar does, any client chooses \
             this address; `{filterState: KEY}` is the peer",
        );
    }
    check_emission(view, problems);
    let exempt = view.config.get("exempt").and_then(Value::as_array).into_iter().flatten();
    for (index, entry) in exempt.enumerate() {
        let at = place(&format!("exempt[{index}]"));
        let everything = |text: &str| matches!(text, "*" | "/*" | "/{**}");
        let paths = texts(entry, &at, "paths");
        if let Some((at, text)) = paths.iter().find(|(_, text)| everything(text)) {
            problems.warning(
                "exempts-all",
                at,
                format!("`{text}` exempts every path from tokens and policies"),
            );
        }
        for (at, text) in paths.iter().filter(|(_, text)| text.starts_with('*') && text.len() > 1) {
            let problem = format!(
                "`{text}` exempts every path that ends so, and a client chooses the end: `/admin/x{}` too; \
                 name the folder",
                text.trim_start_matches('*')
            );
            problems.warning("exempt-suffix", at, problem);
        }
        if !filled(entry, "paths") {
            problems.warning(
                "exempts-all",
                &at,
                "exempts every path for these methods; name the paths",
            );
        }
    }
}

/// Rules for tokens that emit no header for the service, while the headers of the client reach it.
fn check_emission(view: &View<'_>, problems: &Problems) {
    let emits = |(_, rule): &(String, &Value)| {
        filled(rule, "outputPayloadToHeader") || filled(rule, "outputClaimToHeaders")
    };
    let identity = view.config.get("identityHeaders");
    let strips = identity.is_some_and(|identity| filled(identity, "strip"));
    if !view.rules.is_empty() && !view.rules.iter().any(emits) && !strips {
        problems.warning(
            "nothing-stripped",
            &view.at,
            "no header is emitted and none is stripped: a service that believes a header such as `User-Info` \
             believes what the client writes; name those in `identityHeaders.strip`",
        );
    }
}
