//! Which policies hold for which workload, as istiod merges them (spec A1, B1): those of the root
//! namespace and of the workload's own, without a selector or with one that fits.
//!
//! A workload must get exactly one plugin, and a WasmPlugin can say only which labels it is for, never
//! which it is not for. Where that does not suffice without knowing the workloads, that is said.

use std::collections::BTreeSet;

use usher::json::Value;

use super::Notes;
use super::collect::{Collected, Item, Labels, Scope, Workload};

/// One plugin to be: where it applies, and the policies that it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Group {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    /// Numbers of its items, in their order.
    pub(crate) items: Vec<usize>,
}

/// The plugins that are needed.
pub(crate) fn groups(collected: &Collected, root: &str, notes: &mut Notes) -> Vec<Group> {
    let mut groups = if collected.workloads.is_empty() {
        by_selectors(&collected.items, root, notes)
    } else {
        by_workloads(collected, root, notes)
    };
    groups.extend(by_targets(&collected.items, notes));
    groups
}

/// Whether an item holds for pods with these labels.
fn selects(item: &Item, namespace: &str, root: &str, pod: &Labels) -> bool {
    let here = item.namespace == namespace || item.namespace == root;
    here && match &item.scope {
        Scope::Everyone => true,
        Scope::Labels(labels) => is_part(labels, pod),
        Scope::Targets(_) => false,
    }
}

fn is_part(labels: &Labels, of: &Labels) -> bool {
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
    let mut groups: Vec<Group> = Vec::new();
    let mut done: BTreeSet<(&str, Vec<usize>)> = BTreeSet::new();
    for (workload, set) in held.iter().filter(|(_, set)| !set.is_empty()) {
        let namespace = workload.namespace.as_str();
        if done.contains(&(namespace, set.clone())) {
            continue;
        }
        let peers: Vec<&Workload> = held
            .iter()
            .filter(|(other, items)| other.namespace == namespace && items == set)
            .map(|(other, _)| *other)
            .collect();
        // Whoever these labels fit beside those that they are meant for.
        let strangers = |labels: &Labels| {
            held.iter().any(|(other, items)| {
                other.namespace == namespace && items != set && is_part(labels, &other.labels)
            })
        };
        let union = union(set, items);
        if !strangers(&union) {
            done.insert((namespace, set.clone()));
            let name = if let [only] = peers.as_slice() { only.name.as_str() } else { "" };
            groups.push(group(namespace, name, union, set.clone()));
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
        groups.push(group(namespace, &workload.name, labels, set.clone()));
    }
    groups
}

/// All labels that the selectors of a set ask for.
fn union(set: &[usize], items: &[Item]) -> Labels {
    let mut union = Labels::new();
    for item in set.iter().filter_map(|index| items.get(*index)) {
        if let Scope::Labels(labels) = &item.scope {
            union.extend(labels.clone());
        }
    }
    union
}

fn group(namespace: &str, name: &str, labels: Labels, items: Vec<usize>) -> Group {
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
    Group { namespace: namespace.to_owned(), name, scope, items }
}

/// Without workloads the selectors themselves are all that is known of labels.
fn by_selectors(items: &[Item], root: &str, notes: &mut Notes) -> Vec<Group> {
    let targeted = |item: &&Item| !matches!(item.scope, Scope::Targets(_));
    let mut namespaces: BTreeSet<&str> =
        items.iter().filter(targeted).map(|item| item.namespace.as_str()).collect();
    let mesh_wide = namespaces.remove(root);
    if namespaces.is_empty() && mesh_wide {
        namespaces.insert(root);
    } else if mesh_wide {
        notes.lost(
            root,
            "its policies hold in every namespace, of which only those with policies of their own are \
             known here: give the workloads too (`kubectl get deployments -A -o yaml`)",
        );
    }
    let mut groups = Vec::new();
    for namespace in namespaces {
        groups.extend(of_namespace(items, namespace, root, notes));
    }
    groups
}

fn of_namespace(items: &[Item], namespace: &str, root: &str, notes: &mut Notes) -> Vec<Group> {
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
    if selectors.is_empty() {
        let set = holding(&Labels::new());
        return if everyone { vec![group(namespace, "", Labels::new(), set)] } else { Vec::new() };
    }
    let give = "give the workloads too (`kubectl get deployments -A -o yaml`), or `--workload`";
    if everyone {
        notes.lost(
            namespace,
            format!(
                "some policies hold for all workloads of the namespace, others for some by label; for \
                 those that no label names there is no plugin, since it would run beside the others': \
                 {give}"
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
                    "a workload may have the labels {} and {} both, and would get two plugins: {give}",
                    shown(labels),
                    shown(other)
                ),
            ),
            None => groups.push(group(namespace, "", (*labels).clone(), holding(labels))),
        }
    }
    groups
}

fn shown(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    format!("`{}`", pairs.join(","))
}

/// A plugin for each gateway or service that is named.
fn by_targets(items: &[Item], notes: &mut Notes) -> Vec<Group> {
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
            if text("kind") == "Gateway" {
                notes.advice(
                    &item.place,
                    "policies of the gateway's namespace without selector hold for a gateway as well; \
                     they are not in its plugin",
                );
            }
            groups.push(Group {
                namespace: item.namespace.clone(),
                name: format!("usher-{}", text("name")),
                scope,
                items: vec![index],
            });
        }
    }
    groups
}
