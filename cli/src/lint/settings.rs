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
        problems.warning(place("mode"), "refuses nothing: only the log says what would be refused");
    }
    if word("missingToken") == Some("allow") && view.policies.is_empty() {
        problems.warning(
            place("missingToken"),
            "with `allow` and no policies nothing needs a token: leave it out, or give \
             `authorizationPolicies`",
        );
    }
    if word("pathNormalization") == Some("NONE") && !view.policies.is_empty() {
        problems.warning(
            place("pathNormalization"),
            "`/admin` is also `/x/../admin` and `/%61dmin`: with NONE a path in a rule can be dodged",
        );
    }
    if word("sourceAddress") == Some("connection") {
        problems.warning(
            place("sourceAddress"),
            "where this proxy trusts `x-forwarded-for`, and an Istio sidecar does, any client chooses \
             this address; `{filterState: KEY}` is the peer",
        );
    }
    let exempt = view.config.get("exempt").and_then(Value::as_array).into_iter().flatten();
    for (index, entry) in exempt.enumerate() {
        let at = place(&format!("exempt[{index}]"));
        let everything = |text: &str| matches!(text, "*" | "/*" | "/{**}");
        let paths = texts(entry, &at, "paths");
        if let Some((at, text)) = paths.iter().find(|(_, text)| everything(text)) {
            problems.warning(at, format!("`{text}` exempts every path from tokens and policies"));
        }
        if !filled(entry, "paths") {
            problems.warning(&at, "exempts every path for these methods; name the paths");
        }
    }
}
