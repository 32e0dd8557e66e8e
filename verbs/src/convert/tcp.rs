//! Traffic other than HTTP: a plugin does not see it, and without Istio's policies it is open.
//!
//! On a TCP chain Istio drops an ALLOW rule with HTTP fields, and widens a DENY rule by them
//! (docs/semantics.md, "What the compiler drops"). If that leaves nothing allowed, one policy with an HTTP
//! field beside the plugin has the same effect. Otherwise the policies themselves stay: one that requires
//! nothing of the token decides the same behind a plugin, and then all ALLOW policies stay, since one must
//! match. A policy that requires a token would find none: if it can neither go nor stay, it is not converted.

use std::collections::BTreeMap;

use serde_json::json;
use usher_core::codec::json::Value;

use super::collect::{Collected, Item, Scope, Service};
use super::select::{Group, is_part};
use super::{Manifest, Notes, object};
use crate::manifest::CLOSING_PATH;
use crate::manifest::labels::Labels;

/// The ports of the workloads, as the user states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ports {
    /// Not stated: any port may receive traffic other than HTTP.
    Any,
    /// `--http-only`.
    Http,
}

/// The policies that close traffic other than HTTP; reports those that stay, and those that must stay and
/// cannot.
pub(crate) fn guards(
    groups: &[Group],
    collected: &Collected,
    ports: Ports,
    notes: &mut Notes,
) -> Vec<Manifest> {
    let items = &collected.items;
    let mut closing = Vec::new();
    // The numbers of the policies that stay, each with the reason.
    let mut kept: BTreeMap<usize, String> = BTreeMap::new();
    for group in groups {
        let service = collected.services.iter().find(|service| has(group, service, collected));
        if let Some(Service { namespace, name, tcp, .. }) = service.filter(|_| ports == Ports::Http)
        {
            notes.advice(
                &format!("{}/{}", group.namespace, group.name),
                format!("is guarded in spite of `--http-only`: Service `{namespace}/{name}` has a port without \
                         HTTP ({tcp})"),
            );
        } else if ports == Ports::Http {
            continue;
        }
        let of = |action: &'static str| enforced(group, items, action);
        let allowed = |(_, item): &(usize, &Item)| rules(item).any(holds_on_tcp);
        let denies_all = of("DENY").any(|(_, item)| rules(item).any(denies_all_tcp));
        if denies_all || of("ALLOW").next().is_some() && !of("ALLOW").any(|one| allowed(&one)) {
            closing.push(closing_policy(group));
            continue;
        }
        let allows_all = of("ALLOW").any(|(_, item)| has_empty_rule(item));
        let allows = of("ALLOW").filter(|one| !allows_all && allowed(one));
        for (index, _) in allows.chain(of("DENY")) {
            let reason = "it holds on TCP ports too, where no HTTP filter runs";
            kept.entry(index).or_insert_with(|| reason.to_owned());
        }
    }
    while let Some((index, reason)) = groups.iter().find_map(|group| drawn_in(group, items, &kept))
    {
        kept.insert(index, reason);
    }
    for (index, reason) in kept {
        let Some(item) = items.get(index) else { continue };
        let name = name(item);
        if asks_for_a_token(item) {
            let word = match ports {
                Ports::Any => ", or say `--http-only` where there are none",
                Ports::Http => "",
            };
            notes.lost(
                &item.place,
                format!(
                    "`{name}` must stay beside the plugin, since {reason}, and cannot, since there it finds no \
                     token: guard TCP ports by a policy of their own, which is not converted{word}"
                ),
            );
        } else {
            notes.advice(&item.place, format!("`{name}` stays beside the plugin, since {reason}"));
        }
    }
    closing
}

/// A DENY with an HTTP field, which on a TCP chain denies everything.
fn closing_policy(group: &Group) -> Manifest {
    let (selector, targets) = match &group.scope {
        Scope::Everyone => (None, None),
        Scope::Labels(labels) => (Some(json!({ "matchLabels": labels })), None),
        Scope::Targets(targets) => (None, Some(targets.clone())),
    };
    let rule = json!({ "to": [{ "operation": { "paths": [CLOSING_PATH] } }] });
    let spec = object([
        ("selector", selector),
        ("targetRefs", targets),
        ("action", Some(json!("DENY"))),
        ("rules", Some(json!([rule]))),
    ]);
    let value = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": "AuthorizationPolicy",
        "metadata": { "name": format!("{}-http-only", group.name), "namespace": group.namespace },
        "spec": spec,
    });
    let comment = [
        "Closes what is not HTTP, which a plugin does not see: on a TCP chain Istio drops the HTTP fields of a",
        "DENY rule, so that this one denies every connection there; and no HTTP request has this path.",
        "Apply it with the plugin, and keep it. `--http-only` leaves it out, where nothing but HTTP comes.",
    ];
    Manifest { comment: comment.map(str::to_owned).to_vec(), value }
}

/// An ALLOW policy that must stay because another one of its group does: one of those that stay must match.
fn drawn_in(
    group: &Group,
    items: &[Item],
    kept: &BTreeMap<usize, String>,
) -> Option<(usize, String)> {
    let (_, by) = enforced(group, items, "ALLOW").find(|(index, _)| kept.contains_key(index))?;
    let (index, _) =
        enforced(group, items, "ALLOW").find(|(index, _)| !kept.contains_key(index))?;
    Some((index, format!("`{}` stays, which alone would refuse what this one allows", name(by))))
}

fn name(item: &Item) -> String {
    format!("{}/{}", item.namespace, item.name)
}

/// The enforced policies of a group with an action.
fn enforced<'i>(
    group: &'i Group,
    items: &'i [Item],
    action: &'static str,
) -> impl Iterator<Item = (usize, &'i Item)> {
    let numbered = group.items.iter().filter_map(|index| Some((*index, items.get(*index)?)));
    numbered.filter(move |(_, item)| {
        item.kind == "AuthorizationPolicy" && !item.dry_run && item.action() == action
    })
}

fn rules(item: &Item) -> impl Iterator<Item = &Value> {
    item.spec.get("rules").and_then(Value::as_array).into_iter().flatten()
}

fn has_empty_rule(item: &Item) -> bool {
    rules(item).any(|rule| rule.as_object().is_some_and(serde_json::Map::is_empty))
}

/// Whether an ALLOW rule applies on TCP chains: it has no HTTP field.
fn holds_on_tcp(rule: &Value) -> bool {
    let http = ["hosts", "methods", "paths", "notHosts", "notMethods", "notPaths"];
    let text = rule.to_string();
    !http.iter().any(|field| text.contains(&format!("\"{field}\":")))
        && !text.contains("\"request.")
        && !text.contains("equestPrincipals\":")
}

/// Whether a DENY rule denies everything on TCP chains: without its HTTP fields it has no condition.
fn denies_all_tcp(rule: &Value) -> bool {
    let list = |name: &str| rule.get(name).and_then(Value::as_array).into_iter().flatten();
    let none_left = |name: &'static str, inner: &'static str| {
        let asks = |entry: &Value| entry.get(inner).is_some_and(asks_on_tcp);
        list(name).next().is_none() || list(name).any(|entry| !asks(entry))
    };
    let of_http = |condition: &Value| {
        let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
        key.starts_with("request.")
    };
    none_left("from", "source") && none_left("to", "operation") && list("when").all(of_http)
}

/// Whether a source or an operation has a field that applies on TCP chains.
fn asks_on_tcp(operand: &Value) -> bool {
    operand.as_object().into_iter().flatten().any(|(name, value)| {
        let single = json!({ name: value });
        value.as_array().is_some_and(|values| !values.is_empty()) && holds_on_tcp(&single)
    })
}

/// Whether a rule uses something that only a token has.
pub(super) fn asks_for_a_token(item: &Item) -> bool {
    item.rules_hold(&["equestPrincipals\":", "\"request.auth."])
}

/// Whether a Service may lead to a workload of the group.
fn has(group: &Group, service: &Service, collected: &Collected) -> bool {
    if service.namespace != group.namespace {
        return false;
    }
    let none = Labels::new();
    let labels = match &group.scope {
        Scope::Everyone => &none,
        Scope::Labels(labels) => labels,
        Scope::Targets(targets) => {
            return targets.as_array().into_iter().flatten().any(|target| {
                target.get("kind") == Some(&json!("Service"))
                    && target.get("name") == Some(&json!(service.name))
            });
        }
    };
    let here = |pod: &Labels| is_part(labels, pod) && is_part(&service.selector, pod);
    let known = collected.workloads.iter().filter(|w| w.namespace == group.namespace);
    if collected.workloads.is_empty() {
        let same = |(name, value): (&String, &String)| labels.get(name).is_none_or(|l| l == value);
        return !service.selector.is_empty() && service.selector.iter().all(same);
    }
    !service.selector.is_empty() && known.into_iter().any(|workload| here(&workload.labels))
}
