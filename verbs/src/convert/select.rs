//! Which policies apply to which workload, as istiod merges them (docs/semantics.md, "How rules become
//! providers"): those of the root namespace and of the workload's own, without a selector or with one that
//! fits.
//!
//! A workload must get exactly one plugin, and a WasmPlugin can only select by labels, never exclude
//! labels. Where that does not suffice without the workloads, that is reported.

use std::collections::BTreeSet;

use serde_json::json;
use usher_core::codec::json::Value;

use super::Notes;
use super::collect::{Collected, Item, Scope, Workload};
use super::tcp::asks_for_a_token;
use crate::manifest::labels::{Labels, is_gateway, is_like};
use crate::manifest::{Waypoints, is_for_a_waypoint};

/// A plugin to be printed: where it applies, and its policies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    /// Numbers of its items, in their order.
    pub(crate) items: Vec<usize>,
    /// For gateways, whose listeners are not inbound ones for Istio.
    pub(crate) gateway: bool,
}

impl Group {
    pub(crate) fn is_at_a_waypoint(&self, waypoints: &Waypoints) -> bool {
        let Scope::Targets(targets) = &self.scope else { return false };
        let metadata = json!({ "namespace": self.namespace });
        is_for_a_waypoint(&json!({ "targetRefs": targets }), &metadata, waypoints)
    }
}

/// The advice if the selectors do not suffice.
const GIVE: &str = "give the workloads too (`kubectl get deployments -A -o yaml`), or name them with \
                    `--workload` and `--gateway`";

/// The plugins that are needed.
pub(crate) fn groups(collected: &Collected, root: &str, notes: &mut Notes) -> Vec<Group> {
    let mut groups = if collected.workloads.is_empty() {
        by_selectors(collected, root, notes)
    } else {
        by_workloads(collected, root, notes)
    };
    groups.extend(by_targets(collected, root, notes));
    groups
}

/// Whether any policy applies to a workload.
pub(crate) fn is_selected(workload: &Workload, collected: &Collected, root: &str) -> bool {
    let Workload { namespace, labels, .. } = workload;
    collected.items.iter().any(|item| selects(item, namespace, root, labels))
}

/// Whether an item applies to pods with these labels.
fn selects(item: &Item, namespace: &str, root: &str, pod: &Labels) -> bool {
    let here = item.namespace == namespace || item.namespace == root;
    here && match &item.scope {
        Scope::Everyone => true,
        Scope::Labels(labels) => is_part(labels, pod),
        Scope::Targets(_) => false,
    }
}

pub(super) fn is_part(labels: &Labels, of: &Labels) -> bool {
    labels.iter().all(|(name, value)| of.get(name) == Some(value))
}

fn by_workloads(collected: &Collected, root: &str, notes: &mut Notes) -> Vec<Group> {
    let items = &collected.items;
    let holding = |workload: &Workload| -> Vec<usize> {
        let holds = |item: &Item| selects(item, &workload.namespace, root, &workload.labels);
        (0..items.len()).filter(|index| items.get(*index).is_some_and(holds)).collect()
    };
    let held: Vec<(&Workload, Vec<usize>)> =
        collected.workloads.iter().map(|workload| (workload, holding(workload))).collect();
    for item in items.iter().enumerate().filter_map(|(index, item)| {
        let held = held.iter().any(|(_, set)| set.contains(&index));
        (!held && !matches!(item.scope, Scope::Targets(_))).then_some(item)
    }) {
        let who =
            format!("`{}/{}` selects no workload that is known here", item.namespace, item.name);
        let covers = |other: &Item| {
            let here = other.namespace == item.namespace || other.namespace == root;
            other.kind == "RequestAuthentication" && here
        };
        if item.kind == "AuthorizationPolicy" && asks_for_a_token(item) && items.iter().any(covers)
        {
            notes.lost(
                &item.place,
                format!(
                    "{who}, and asks for what a token says, which behind a plugin it does not find: name its workload by \
                     `--workload`"
                ),
            );
            continue;
        }
        notes.advice(
            &item.place,
            format!("{who}, and is in no plugin: keep it, or name its workload by `--workload`"),
        );
    }
    let mut groups: Vec<Group> = Vec::new();
    let mut done: BTreeSet<(&str, bool, Vec<usize>)> = BTreeSet::new();
    for (workload, set) in held.iter().filter(|(_, set)| !set.is_empty()) {
        let namespace = workload.namespace.as_str();
        let gateway = is_one(workload, collected);
        if done.contains(&(namespace, gateway, set.clone())) {
            continue;
        }
        let alike =
            |other: &Workload| other.namespace == namespace && is_one(other, collected) == gateway;
        let peers: Vec<&Workload> = held
            .iter()
            .filter(|(other, items)| alike(other) && items == set)
            .map(|(other, _)| *other)
            .collect();
        // Other workloads that these labels select. A sidecar's plugin does not run at a gateway; a
        // gateway's would run at a sidecar, also for the workload's outbound traffic.
        let strangers = |labels: &Labels| {
            held.iter().any(|(other, items)| {
                let here = other.namespace == namespace;
                let stranger = if gateway {
                    !alike(other) || items != set
                } else {
                    is_one(other, collected) == gateway && !(here && items == set)
                };
                // A plugin in the root namespace applies to every other one too.
                (here || namespace == root) && stranger && is_part(labels, &other.labels)
            })
        };
        let union = union(set, items);
        let too_wide = strangers(&union) || union.is_empty() && (gateway || namespace == root);
        if !too_wide {
            done.insert((namespace, gateway, set.clone()));
            let name = if let [only] = peers.as_slice() { only.name.as_str() } else { "" };
            groups.push(group(namespace, name, union, set.clone(), gateway));
            continue;
        }
        if strangers(&workload.labels) {
            notes.lost(
                &format!("{namespace}/{}", workload.name),
                "another workload has all of its labels and other policies, so no selector tells \
                 them apart: give it a label of its own",
            );
            continue;
        }
        let labels = workload.labels.clone();
        groups.push(group(namespace, &workload.name, labels, set.clone(), gateway));
    }
    groups
}

/// All labels in the selectors of a set.
fn union(set: &[usize], items: &[Item]) -> Labels {
    let mut union = Labels::new();
    for item in set.iter().filter_map(|index| items.get(*index)) {
        if let Scope::Labels(labels) = &item.scope {
            union.extend(labels.clone());
        }
    }
    union
}

/// Whether a workload is a gateway, by itself or because a Gateway selects it.
fn is_one(workload: &Workload, collected: &Collected) -> bool {
    let selected = |labels: &Labels| is_part(labels, &workload.labels);
    workload.gateway || collected.gateways.iter().any(selected)
}

fn group(namespace: &str, name: &str, labels: Labels, items: Vec<usize>, gateway: bool) -> Group {
    let suffix = match (name, labels.values().next()) {
        ("", Some(value)) => value.as_str(),
        (name, _) => name,
    };
    let everyone = labels.is_empty();
    let name = if suffix.is_empty() || everyone {
        "usher".to_owned()
    } else {
        format!("usher-{}", suffix.to_ascii_lowercase().replace(['.', '_'], "-"))
    };
    let scope = if everyone { Scope::Everyone } else { Scope::Labels(labels) };
    Group { namespace: namespace.to_owned(), name, scope, items, gateway }
}

/// Without workloads, only the selectors have labels.
fn by_selectors(collected: &Collected, root: &str, notes: &mut Notes) -> Vec<Group> {
    let items = &collected.items;
    let targeted = |item: &&Item| !matches!(item.scope, Scope::Targets(_));
    let mut namespaces: BTreeSet<&str> =
        items.iter().filter(targeted).map(|item| item.namespace.as_str()).collect();
    let mesh_wide = namespaces.remove(root);
    if namespaces.is_empty() && mesh_wide {
        namespaces.insert(root);
    } else if mesh_wide {
        notes.lost(
            root,
            format!(
                "its policies hold in every namespace, of which only those with policies of their own \
                 are known here: {GIVE}"
            ),
        );
    }
    let mut groups = Vec::new();
    for namespace in namespaces {
        groups.extend(of_namespace(collected, namespace, root, notes));
    }
    groups
}

fn of_namespace(
    collected: &Collected,
    namespace: &str,
    root: &str,
    notes: &mut Notes,
) -> Vec<Group> {
    let items = &collected.items;
    let here = |item: &&Item| item.namespace == namespace || item.namespace == root;
    let mut selectors: Vec<&Labels> = Vec::new();
    let mut everyone = false;
    for item in items.iter().filter(here) {
        match &item.scope {
            Scope::Everyone => everyone = true,
            Scope::Labels(labels) if !selectors.contains(&labels) => selectors.push(labels),
            Scope::Labels(_) | Scope::Targets(_) => {}
        }
    }
    let holding = |pod: &Labels| -> Vec<usize> {
        let holds = |item: &Item| selects(item, namespace, root, pod);
        (0..items.len()).filter(|index| items.get(*index).is_some_and(holds)).collect()
    };
    if selectors.is_empty() && everyone {
        // A plugin for inbound traffic of sidecars does not run at a gateway, and one for all traffic would
        // run for outbound traffic of workloads: either alone lets requests in or refuses some.
        notes.lost(
            namespace,
            format!(
                "its policies hold for sidecars and for gateways, which need a plugin each, and what runs \
                 there is not known: {GIVE}"
            ),
        );
        return Vec::new();
    }
    if everyone {
        notes.lost(
            namespace,
            format!(
                "some policies hold for all workloads of the namespace, others for some by label; for \
                 those that no label names there is no plugin, since it would run beside the others': \
                 {GIVE}"
            ),
        );
    }
    let mut groups = Vec::new();
    for labels in &selectors {
        let apart = |other: &Labels| {
            other.iter().any(|(name, value)| labels.get(name).is_some_and(|own| own != value))
        };
        match selectors.iter().find(|other| *other != labels && !apart(other)) {
            Some(other) => notes.lost(
                namespace,
                format!(
                    "a workload may have the labels {} and {} both, and would get two plugins: {GIVE}",
                    shown(labels),
                    shown(other)
                ),
            ),
            None => {
                let known = collected.gateways.iter().any(|gateway| {
                    is_part(gateway, labels) || is_part(labels, gateway)
                });
                let gateway = known || is_gateway(labels);
                if !gateway && labels.values().any(|value| is_like(value)) {
                    let labels = shown(labels);
                    notes.lost(
                        namespace,
                        format!("{labels} may be a gateway or a workload, whose plugins differ: {GIVE}"),
                    );
                    continue;
                }
                groups.push(group(namespace, "", (*labels).clone(), holding(labels), gateway));
            }
        }
    }
    groups
}

fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("`{}`", pairs.join(","))
}

/// A plugin for each gateway or service that a resource targets.
fn by_targets(collected: &Collected, root: &str, notes: &mut Notes) -> Vec<Group> {
    let items = &collected.items;
    let mut groups: Vec<Group> = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let Scope::Targets(Value::Array(targets)) = &item.scope else { continue };
        for target in targets {
            let scope = Scope::Targets(Value::Array(vec![target.clone()]));
            let text = |name: &str| target.get(name).and_then(Value::as_str).unwrap_or_default();
            let known = groups
                .iter_mut()
                .find(|group| group.namespace == item.namespace && group.scope == scope);
            if let Some(group) = known {
                group.items.push(index);
                continue;
            }
            let holds_too = |other: &Item| {
                let here = other.namespace == item.namespace || other.namespace == root;
                here && other.scope == Scope::Everyone
            };
            let group = Group {
                namespace: item.namespace.clone(),
                name: format!("usher-{}", text("name")),
                scope,
                items: vec![index],
                gateway: true,
            };
            // A waypoint has only the policies that target it or its Services.
            let is_waypoint = group.is_at_a_waypoint(&collected.waypoints);
            if text("kind") == "Gateway" && !is_waypoint && items.iter().any(holds_too) {
                notes.lost(
                    &item.place,
                    "policies without a selector hold for this gateway as well, and are not in its plugin: \
                     give them the same `targetRefs`",
                );
            }
            groups.push(group);
        }
    }
    groups
}
