//! Requests without a token that pass beside rules that require one: they are evaluated by the filter's own
//! code. So rules that together leave nothing open are recognized, and the requirements of ALLOW policies
//! count too.
//!
//! The requests are ones that no rule names: another path, other methods, another host. A path or host that
//! a rule excludes by name (`notPaths`) counts only if nothing else is about requests without a token:
//! beside an ALLOW policy or `missingToken: allow` it is intended.

use std::collections::BTreeSet;

use usher_core::codec::json::Value;
use usher_core::decide::{WorkerState, decide};
use usher_core::request::Request;
use usher_core::time::UnixSeconds;
use usher_core::{Compiled, load};

use super::super::view::{View, filled, operands, texts};

/// A path and a host that no rule names.
const PATH: &str = "/usher-check-any-path";
const HOST: &str = "usher-check.invalid";

/// Why requests without a token pass, if some do.
pub(super) fn find(view: &View<'_>, idioms: &[&(String, &Value)]) -> Option<String> {
    if idioms.is_empty() {
        return None;
    }
    let enforced = enforced(view.config)?;
    let allows = view.policies.iter().any(|policy| !policy.dry_run && policy.action == "ALLOW");
    let written = filled(view.config, "missingToken");
    let passes = |method: &str, path: &str, host: &str| {
        let pairs =
            [(":method", method), (":path", path), (":authority", host), (":scheme", "https")];
        let line =
            |(name, value): (&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let headers = pairs.into_iter().map(line).collect();
        let request = Request { headers, end_of_stream: true, ..Request::default() };
        let decision = decide(&enforced, &request, UnixSeconds(0), &mut WorkerState::portable());
        let allowed_by =
            decision.report.authorization.as_ref().and_then(|judged| judged.policy.clone());
        decision.reply.is_none().then_some(allowed_by)
    };
    let named = |fields: &[&str]| values(idioms, fields);
    let not = |field: &'static str| if allows || written { Vec::new() } else { named(&[field]) };
    let methods: BTreeSet<String> = ["GET", "POST"]
        .map(str::to_owned)
        .into_iter()
        .chain(named(&["methods"]))
        .chain(not("notMethods"))
        .collect();
    let paths: Vec<String> = std::iter::once(PATH.to_owned()).chain(not("notPaths")).collect();
    let hosts: Vec<String> = std::iter::once(HOST.to_owned()).chain(not("notHosts")).collect();
    let by = methods.iter().find_map(|method| {
        paths.iter().find_map(|path| hosts.iter().find_map(|host| passes(method, path, host)))
    })?;
    Some(match by {
        Some(name) => format!("by the ALLOW policy `{name}`"),
        None if written => "for `missingToken` is `allow`".to_owned(),
        None => "for with such a rule `missingToken` is `allow`".to_owned(),
    })
}

/// The configuration under `mode: enforce`.
fn enforced(config: &Value) -> Option<Compiled> {
    let mut members = config.as_object()?.clone();
    members.remove("mode");
    load::from_value(&Value::Object(members)).ok().map(|loaded| loaded.policy)
}

/// An example of each value of these fields.
fn values(idioms: &[&(String, &Value)], fields: &[&str]) -> Vec<String> {
    let operations = idioms.iter().flat_map(|(at, rule)| operands(rule, at, "to", "operation"));
    let texts = operations.flat_map(|(at, operation)| {
        fields.iter().flat_map(move |field| texts(operation, &at, field)).collect::<Vec<_>>()
    });
    texts.map(|(_, text)| example(text)).collect()
}

/// A text that matches a pattern: `x` for a `*` at an end and for each pair of braces.
fn example(pattern: &str) -> String {
    let mut text = String::new();
    let mut pieces = pattern.split('{');
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        text.push('x');
        text.push_str(piece.split_once('}').map_or(piece, |(_, rest)| rest));
    }
    let text = match text.strip_prefix('*') {
        Some(rest) => format!("/x{rest}"),
        None => text,
    };
    text.strip_suffix('*').map_or(text.clone(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_example_is_matched_by_its_pattern() {
        for (pattern, expected) in [
            ("/a", "/a"),
            ("/a*", "/a"),
            ("*.js", "/x.js"),
            ("*", "/x"),
            ("/a/{*}/b/{**}", "/a/x/b/x"),
            ("/t/{tenant}/c", "/t/x/c"),
            ("GET", "GET"),
        ] {
            assert_eq!(example(pattern), expected, "{pattern}");
        }
    }
}
