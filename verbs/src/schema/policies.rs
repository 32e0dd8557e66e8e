//! `authorizationPolicies[]`.

use serde_json::{Value, json};

use super::{described, flag, integer, list, object, text, texts, words};
use crate::output::set;

pub(super) fn policy() -> Value {
    let mut selector = json!({ "type": "object" });
    set(
        &mut selector,
        "description",
        json!("Ignored: the plugin's own selector decides where it runs"),
    );
    let mut policy = object(
        "An AuthorizationPolicy",
        &["name"],
        vec![
            ("name", text("What logs call it")),
            ("namespace", text("What a bare service account belongs to; default: default")),
            ("selector", selector.clone()),
            ("targetRef", selector),
            (
                "targetRefs",
                json!({
                    "type": "array",
                    "description": "Ignored: the plugin's own selector decides where it runs",
                }),
            ),
            ("action", words("What a match does; default: ALLOW", &["ALLOW", "DENY", "AUDIT"])),
            ("dryRun", flag("Whether it is only noted what it would do")),
            ("rules", list("Any of them must match; none: nothing does", rule())),
            ("denyStatus", integer("The status of its refusals", 400, 599)),
            ("denyMessage", text("The body of its refusals")),
            (
                "denyWhenUnauthenticated",
                integer("401: anonymous requests that it refuses are challenged", 401, 401),
            ),
        ],
    );
    set(
        &mut policy,
        "if",
        json!({ "required": ["action"], "properties": { "action": { "const": "DENY" } } }),
    );
    set(
        &mut policy,
        "then",
        json!({ "required": ["rules"], "properties": { "rules": { "minItems": 1 } } }),
    );
    policy
}

fn rule() -> Value {
    let one = |name: &str, inner: Value, description: &str| {
        list(description, object("", &[name], vec![(name, inner)]))
    };
    object(
        "",
        &[],
        vec![
            ("from", one("source", source(), "Who: any of these")),
            ("to", one("operation", operation(), "What: any of these")),
            ("when", list("All of these", condition())),
        ],
    )
}

fn source() -> Value {
    let mut source = object(
        "All of these",
        &[],
        vec![
            ("principals", texts("SPIFFE ids without `spiffe://`")),
            ("notPrincipals", texts("")),
            ("requestPrincipals", texts("`iss/sub` of the token; `*`: any token")),
            ("notRequestPrincipals", texts("")),
            ("namespaces", texts("Namespaces of the caller")),
            ("notNamespaces", texts("")),
            ("serviceAccounts", accounts("`account` or `namespace/account` of the caller")),
            ("notServiceAccounts", accounts("")),
            ("trustDomains", texts("Trust domains of the caller")),
            ("notTrustDomains", texts("")),
            ("ipBlocks", texts("The TCP peer; needs `sourceAddress`")),
            ("notIpBlocks", texts("")),
            ("remoteIpBlocks", texts("The client, as `x-forwarded-for` is trusted")),
            ("notRemoteIpBlocks", texts("")),
        ],
    );
    set(&mut source, "minProperties", json!(1));
    source
}

fn accounts(description: &str) -> Value {
    let mut account = text("");
    set(&mut account, "maxLength", json!(320));
    let mut accounts = list(description, account);
    set(&mut accounts, "maxItems", json!(16));
    accounts
}

fn operation() -> Value {
    let ports = |description| {
        let port = json!({ "type": "string", "pattern": "^[0-9]{1,5}$" });
        list(description, port)
    };
    let mut operation = object(
        "All of these",
        &[],
        vec![
            ("paths", paths("Paths, `prefix*`, `*suffix`, or templates")),
            ("notPaths", paths("")),
            ("methods", methods("Methods in upper case")),
            ("notMethods", methods("")),
            ("hosts", texts("Hosts with their port, if they are named with one")),
            ("notHosts", texts("")),
            ("ports", ports("Local ports")),
            ("notPorts", ports("")),
        ],
    );
    set(&mut operation, "minProperties", json!(1));
    operation
}

pub(super) fn paths(description: &str) -> Value {
    texts(description)
}

pub(super) fn methods(description: &str) -> Value {
    list(description, json!({ "type": "string", "pattern": "^[^a-z]+$" }))
}

/// The attributes without brackets.
const KEYS: [&str; 15] = [
    "connection.sni",
    "destination.ip",
    "destination.port",
    "remote.ip",
    "request.auth.actor",
    "request.auth.audiences",
    "request.auth.presenter",
    "request.auth.principal",
    "request.auth.provider",
    "request.auth.scopes",
    "source.ip",
    "source.namespace",
    "source.principal",
    "source.serviceAccount",
    "source.trustDomain",
];

fn condition() -> Value {
    let named = "^(request\\.(headers|query|auth\\.claims)|experimental\\.envoy\\.filters\\.[^\\[]*)\\[.+\\]$";
    let key = json!({ "anyOf": [{ "enum": KEYS }, { "type": "string", "pattern": named }] });
    let mut condition = object(
        "",
        &["key"],
        vec![
            ("key", described(key, "The attribute")),
            ("values", texts("One of these must match")),
            ("notValues", texts("None of these may match")),
            ("allValues", some("Each of these must match")),
            (
                "valuesFrom",
                some("Attributes, or `path.NAME`, one of which must have the same text"),
            ),
            ("valuesFromAll", flag("Whether each text of the key must be there; default: false")),
        ],
    );
    let has = |name: &str| json!({ "required": [name], "properties": { name: { "minItems": 1 } } });
    set(
        &mut condition,
        "anyOf",
        ["values", "notValues", "allValues", "valuesFrom"].map(has).into_iter().collect(),
    );
    condition
}

/// Texts, at least one.
fn some(description: &str) -> Value {
    let mut list = texts(description);
    set(&mut list, "minItems", json!(1));
    list
}
