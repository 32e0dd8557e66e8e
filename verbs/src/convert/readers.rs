//! Other users of what `jwt_authn` knows about a token: routes on its claims, and readers of its
//! metadata.
//!
//! A Wasm filter writes no dynamic metadata. With a plugin in place of a RequestAuthentication these
//! silently find nothing: another route matches, or none.

use usher_core::codec::json::Value;

use super::Notes;
use super::collect::Collected;
use super::select::Group;
use crate::config::below;

/// A route that matches a claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClaimRoute {
    /// JSON path in the document.
    pub(crate) at: String,
    /// The claim as written: `@request.auth.claims.groups`.
    pub(crate) claim: String,
}

const FILTER: &str = "envoy.filters.http.jwt_authn";

/// The note for a place that reads metadata.
pub(crate) const NO_METADATA: &str = "uses the filter `envoy.filters.http.jwt_authn` or the metadata that it writes, and Usher writes none: \
     read the headers that it emits";

/// The routes of a document that match claims.
pub(crate) fn claim_routes(document: &Value) -> Vec<ClaimRoute> {
    let mut found = Vec::new();
    walk(document, "", &mut |at, name, _| {
        if name.starts_with("@request.auth.claims") {
            found.push(ClaimRoute { at: at.to_owned(), claim: name.to_owned() });
        }
    });
    found
}

/// The places of a document that name the filter: readers of its metadata, or neighbours of the filter.
/// The filter itself and `rbac`, which is converted, are left out.
pub(crate) fn metadata(document: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(document, "", &mut |at, _, value| {
        if value.as_str().is_some_and(|text| text.contains(FILTER)) {
            found.push(at.to_owned());
        }
    });
    found
}

/// Reports everything that finds nothing once the RequestAuthentications among the items are gone.
pub(crate) fn check(groups: &[Group], collected: &Collected, notes: &mut Notes) {
    let authenticates = |index: &usize| {
        collected.items.get(*index).is_some_and(|item| item.kind == "RequestAuthentication")
    };
    // Routes are chosen at gateways and waypoints.
    if groups.iter().any(|group| group.gateway && group.items.iter().any(authenticates)) {
        for (place, claim) in &collected.claim_routes {
            notes.lost(
                place,
                format!(
                    "a route on `{claim}`, which matches behind a RequestAuthentication alone: with a plugin in \
                     its place another route is taken, or none. Route on a header that the plugin emits \
                     (`outputClaimToHeaders`)"
                ),
            );
        }
    }
    if collected.items.iter().any(|item| item.kind == "RequestAuthentication") {
        for place in &collected.metadata {
            notes.lost(place, NO_METADATA);
        }
    }
}

/// Visits each member with its path and name.
fn walk(value: &Value, at: &str, visit: &mut dyn FnMut(&str, &str, &Value)) {
    match value {
        Value::Object(members) => {
            let kind = members.get("@type").and_then(Value::as_str).unwrap_or_default();
            if kind.ends_with(".rbac.v3.RBAC") {
                return;
            }
            let is_filter =
                members.contains_key("typed_config") || members.contains_key("typedConfig");
            for (name, inner) in members {
                let own = is_filter && name == "name";
                // `kubectl apply` keeps a copy of the whole manifest there.
                if own || name == "annotations" || name == "@type" {
                    continue;
                }
                let at = below(at, name);
                visit(&at, name, inner);
                walk(inner, &at, visit);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                let at = below(at, &format!("[{index}]"));
                visit(&at, "", inner);
                walk(inner, &at, visit);
            }
        }
        _ => {}
    }
}
