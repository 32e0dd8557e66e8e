//! Policies that guard TCP ports too, where no HTTP filter runs: without them these ports are open.
//!
//! A policy that asks for nothing of the token decides the same behind a plugin, so it can stay, and of
//! several ALLOW policies then all, since one must match. One that asks for the token would find none.
//! What can neither go nor stay is not carried over.

use std::collections::BTreeMap;

use serde_json::json;
use usher::json::Value;

use super::Notes;
use super::collect::{Collected, Item, Labels, Scope, Service};
use super::select::{Group, is_part};

/// Which ports the workloads have, by the user's word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ports {
    /// Nothing is said, so there may be TCP ports.
    Any,
    /// `--http-only`.
    Http,
}

/// Notes the policies that stay, and those that can't and must.
pub(crate) fn check(groups: &[Group], collected: &Collected, ports: Ports, notes: &mut Notes) {
    let items = &collected.items;
    // Numbers of the policies that stay, each with the reason.
    let mut kept: BTreeMap<usize, String> = BTreeMap::new();
    for group in groups {
        let service = collected.services.iter().find(|service| has(group, service, collected));
        let allows_all = enforced(group, items, "ALLOW").any(|(_, item)| has_empty_rule(item));
        for (index, item) in enforced(group, items, "ALLOW").chain(enforced(group, items, "DENY")) {
            if item.spec.get("action") != Some(&json!("DENY")) && allows_all {
                continue;
            }
            let reason = match service {
                Some(Service { namespace, name, tcp, .. }) => {
                    format!("Service `{namespace}/{name}` has a port without HTTP ({tcp})")
                }
                None if ports == Ports::Any && is_for_tcp(item) => {
                    "it holds on TCP ports, where no HTTP filter runs".to_owned()
                }
                None => continue,
            };
            kept.entry(index).or_insert(reason);
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
}

/// An ALLOW policy that must stay because another one of its group does: one of those there must match.
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
        let given = item.spec.get("action").and_then(Value::as_str).unwrap_or("ALLOW");
        item.kind == "AuthorizationPolicy" && !item.dry_run && given == action
    })
}

fn rules(item: &Item) -> impl Iterator<Item = &Value> {
    item.spec.get("rules").and_then(Value::as_array).into_iter().flatten()
}

fn has_empty_rule(item: &Item) -> bool {
    rules(item).any(|rule| rule.as_object().is_some_and(serde_json::Map::is_empty))
}

/// Whether some rule holds on TCP ports: one without anything of HTTP. A policy without rules allows
/// nothing, there too.
fn is_for_tcp(item: &Item) -> bool {
    let http = ["hosts", "methods", "paths", "notHosts", "notMethods", "notPaths"];
    let of_http = |rule: &Value| {
        let text = rule.to_string();
        http.iter().any(|field| text.contains(&format!("\"{field}\":")))
            || text.contains("\"request.")
            || text.contains("equestPrincipals\":")
    };
    rules(item).next().is_none() || rules(item).any(|rule| !of_http(rule))
}

fn asks_for_a_token(item: &Item) -> bool {
    let text = item.spec.get("rules").map(ToString::to_string).unwrap_or_default();
    text.contains("equestPrincipals\":") || text.contains("\"request.auth.")
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
