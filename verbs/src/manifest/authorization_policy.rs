//! AuthorizationPolicy: istio/istio pkg/config/validation/validation.go
//! (ValidateAuthorizationPolicy), and where it is stricter the schema of the custom resource.
//!
//! This checks the manifest as Istio does. The reader of a pluginConfig reports what Istio silently drops
//! when it compiles the rules.

use serde_json::json;
use usher_core::codec::problems::{Node, Object, Problems};

use super::{DRY_RUN, attribute, proto, selector};

/// The only path in the policies that `usher convert` prints to close traffic other than HTTP: on a TCP
/// chain they deny everything, and no HTTP request has this path.
pub(crate) const CLOSING_PATH: &str = "/usher-closes-what-is-no-http";

/// The policy's action; ALLOW if absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    Audit,
    Custom,
    Deny,
}

impl Action {
    fn name(self) -> &'static str {
        match self {
            Self::Allow => "ALLOW",
            Self::Audit => "AUDIT",
            Self::Custom => "CUSTOM",
            Self::Deny => "DENY",
        }
    }
}

/// Checks an AuthorizationPolicy's spec, and its one annotation.
pub(super) fn check(spec: &Node<'_>, metadata: Option<&Node<'_>>, problems: &Problems) {
    let Some(spec) = spec.object(problems) else { return };
    selector::check(&spec, selector::TargetRef::Allowed, problems);
    let words = [
        ("ALLOW", Action::Allow),
        ("AUDIT", Action::Audit),
        ("CUSTOM", Action::Custom),
        ("DENY", Action::Deny),
    ];
    let action = spec.field("action").and_then(|action| action.one_of(&words, problems));
    let action = action.unwrap_or(Action::Allow);
    check_dry_run(metadata, action, problems);
    check_provider(&spec, action, problems);
    let rules = spec.field("rules");
    if let Some(rules) = &rules {
        // istio/api authorization_policy.proto: MaxItems=512
        proto::at_most(rules, 512, problems);
    }
    let none = rules.as_ref().is_none_or(|rules| rules.value.as_array().is_some_and(Vec::is_empty));
    if none && matches!(action, Action::Custom | Action::Deny) {
        let problem = format!(
            "{} without rules does nothing; an empty rule `{{}}` is for every request",
            action.name()
        );
        problems.error(spec.path("rules"), problem);
    }
    for rule in rules.iter().flat_map(|rules| proto::objects(rules, problems)) {
        check_rule(rule, action, problems);
    }
    spec.finish(problems);
}

/// Go's `strconv.ParseBool`, on ALLOW and DENY only.
fn check_dry_run(metadata: Option<&Node<'_>>, action: Action, problems: &Problems) {
    let Some(metadata) = metadata else { return };
    let annotations = metadata.value.get("annotations");
    let Some(value) = annotations.and_then(|annotations| annotations.get(DRY_RUN)) else { return };
    let node = Node { at: format!("{}.annotations.{DRY_RUN}", metadata.at), value };
    let Some(text) = node.text(problems) else { return };
    if !matches!(action, Action::Allow | Action::Deny) {
        let problem = format!("only ALLOW and DENY can run dry, found {}", action.name());
        problems.error(&node.at, problem);
    } else if !["1", "t", "T", "TRUE", "true", "True", "0", "f", "F", "FALSE", "false", "False"]
        .contains(&text)
    {
        node.expected::<()>("`true` or `false`", problems);
    }
}

fn check_provider(spec: &Object<'_>, action: Action, problems: &Problems) {
    let provider = spec.field("provider");
    match (action, provider.and_then(|provider| provider.object(problems))) {
        (Action::Custom, Some(provider)) => {
            let name = provider.required("name", problems);
            name.and_then(|name| name.filled_text(problems));
            provider.finish(problems);
        }
        (Action::Custom, None) => problems.error(&spec.at, "CUSTOM needs a `provider` with a name"),
        (_, Some(_)) => {
            let problem = format!("a provider is for CUSTOM only, found {}", action.name());
            problems.error(spec.path("provider"), problem);
        }
        (_, None) => {}
    }
}

fn check_rule(rule: Object<'_>, action: Action, problems: &Problems) {
    let mut on_tcp = false;
    let (from, to) = (rule.field("from"), rule.field("to"));
    for (list, field) in [(&from, "from"), (&to, "to")] {
        if list.as_ref().is_some_and(|list| list.value.as_array().is_some_and(Vec::is_empty)) {
            problems.warning("empty-list", rule.path(field), "an empty list is not a condition");
        }
    }
    let mut no_port = false;
    if let Some(from) = &from {
        // istio/api authorization_policy.proto: MaxItems=512
        proto::at_most(from, 512, problems);
        for entry in proto::objects(from, problems) {
            let source = entry.required("source", problems).and_then(|s| s.object(problems));
            if let Some(source) = source {
                on_tcp |= check_source(source, action, problems);
            }
            entry.finish(problems);
        }
    }
    if let Some(to) = &to {
        for entry in proto::objects(to, problems) {
            let operation = entry.required("operation", problems);
            let closing = json!({ "paths": [CLOSING_PATH] });
            let is_meant = operation.as_ref().is_some_and(|given| *given.value == closing);
            if let Some(operation) = operation.and_then(|o| o.object(problems)) {
                no_port |= !check_operation(operation, problems) && !is_meant;
            }
            entry.finish(problems);
        }
    }
    if action == Action::Deny && (from.is_some() && to.is_none() && !on_tcp || no_port) {
        problems.warning(
            "deny-on-tcp",
            &rule.at,
            "on TCP ports, which have no HTTP attributes, this DENY rule denies everything; name \
             the ports",
        );
    }
    if let Some(when) = rule.field("when") {
        for condition in proto::objects(&when, problems) {
            check_condition(condition, action, problems);
        }
    }
    rule.finish(problems);
}

/// The fields of a source, each with its opposite: the kind of their values, and whether Istio's external
/// authorization (CUSTOM) supports them.
const SOURCE: [(&str, &str, attribute::Values, ForCustom); 7] = [
    ("ipBlocks", "notIpBlocks", attribute::Values::Addresses, ForCustom::Yes),
    ("namespaces", "notNamespaces", attribute::Values::Any, ForCustom::No),
    ("principals", "notPrincipals", attribute::Values::Any, ForCustom::No),
    ("remoteIpBlocks", "notRemoteIpBlocks", attribute::Values::Addresses, ForCustom::Yes),
    ("requestPrincipals", "notRequestPrincipals", attribute::Values::Any, ForCustom::No),
    ("serviceAccounts", "notServiceAccounts", attribute::Values::ServiceAccounts, ForCustom::No),
    ("trustDomains", "notTrustDomains", attribute::Values::TrustDomainField, ForCustom::No),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ForCustom {
    Yes,
    No,
}

/// Returns whether one of its fields applies to TCP ports too.
fn check_source(source: Object<'_>, action: Action, problems: &Problems) -> bool {
    let mut given = Vec::new();
    for (positive, negative, values, for_custom) in SOURCE {
        for name in [positive, negative] {
            let Some(list) = source.field(name) else { continue };
            if attribute::check(&list, values, problems) == 0 {
                continue;
            }
            given.push(positive);
            if action == Action::Custom && for_custom == ForCustom::No {
                problems.error(&list.at, format!("`{name}` is not supported with CUSTOM"));
            }
        }
    }
    let has = |name: &str| given.contains(&name);
    if given.is_empty() {
        problems.error(&source.at, "a source must have a condition, found none");
    }
    if has("serviceAccounts") && (has("principals") || has("namespaces")) {
        let problem = "serviceAccounts go with neither namespaces nor principals";
        problems.error(&source.at, problem);
    }
    source.finish(problems);
    given.iter().any(|name| !matches!(*name, "requestPrincipals" | "remoteIpBlocks"))
}

/// Returns whether it names ports.
fn check_operation(operation: Object<'_>, problems: &Problems) -> bool {
    let (mut given, mut ports) = (false, false);
    for (positive, negative, values) in [
        ("hosts", "notHosts", attribute::Values::Any),
        ("methods", "notMethods", attribute::Values::Any),
        ("paths", "notPaths", attribute::Values::Paths),
        ("ports", "notPorts", attribute::Values::Ports),
    ] {
        for name in [positive, negative] {
            let Some(list) = operation.field(name) else { continue };
            let filled = attribute::check(&list, values, problems) > 0;
            given |= filled;
            ports |= filled && positive == "ports";
        }
    }
    if !given {
        problems.error(&operation.at, "an operation must have a condition, found none");
    }
    operation.finish(problems);
    ports
}

fn check_condition(condition: Object<'_>, action: Action, problems: &Problems) {
    let key = condition.required("key", problems);
    let text = key.as_ref().and_then(|key| key.filled_text(problems));
    let mut count = 0_usize;
    let values = key.as_ref().zip(text).and_then(|(key, text)| {
        if action == Action::Custom && attribute::is_identity(text) {
            problems.error(&key.at, format!("`{text}` is not supported with CUSTOM"));
        }
        attribute::of_key(key, text, problems)
    });
    for name in ["values", "notValues"] {
        if let Some(list) = condition.field(name) {
            let values = values.unwrap_or(attribute::Values::Any);
            count = count.saturating_add(attribute::check(&list, values, problems));
        }
    }
    if count == 0 {
        problems.error(&condition.at, "at least one of values and notValues, found neither");
    }
    condition.finish(problems);
}
