//! The bill of materials: every crate that is linked into the module, as CycloneDX 1.5.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use serde_json::{Value, json};

/// The bill of the module with this digest, as Cargo knows it. The working folder is the workspace's.
///
/// # Errors
/// Cargo does not answer.
pub(crate) fn cyclonedx(module: &str) -> anyhow::Result<String> {
    let metadata = MetadataCommand::new()
        .other_options(["--filter-platform".to_owned(), "wasm32-wasip1".to_owned()])
        .exec()
        .context("cargo metadata")?;
    let bill = bill(&metadata, module)?;
    Ok(serde_json::to_string_pretty(&bill)? + "\n")
}

fn bill(metadata: &Metadata, module: &str) -> anyhow::Result<Value> {
    let packages: BTreeMap<&PackageId, &Package> =
        metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let root = metadata.packages.iter().find(|package| package.name.as_str() == "usher");
    let root = root.context("no package `usher`")?;
    let linked = linked(metadata, &packages, &root.id)?;
    let reference = |id: &PackageId| packages.get(id).map(|package| purl(package));

    let mut components: Vec<&Package> = linked
        .keys()
        .filter(|id| ***id != root.id)
        .filter_map(|id| packages.get(id).copied())
        .collect();
    components.sort_by_key(|package| (package.name.as_str(), &package.version));
    let mut dependencies: Vec<Value> = linked
        .iter()
        .filter_map(|(id, on)| {
            let on: BTreeSet<String> = on.iter().filter_map(|id| reference(id)).collect();
            Some(json!({ "ref": reference(id)?, "dependsOn": on }))
        })
        .collect();
    dependencies.sort_by_key(Value::to_string);

    let mut subject = component(root);
    if let Some(members) = subject.as_object_mut() {
        let digits = module.trim_start_matches("sha256:");
        members.insert("hashes".to_owned(), json!([{ "alg": "SHA-256", "content": digits }]));
    }
    Ok(json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": { "component": subject },
        "components": components.into_iter().map(component).collect::<Vec<_>>(),
        "dependencies": dependencies,
    }))
}

/// The crates that are linked, each with those that it needs: not what only builds or tests.
fn linked<'m>(
    metadata: &'m Metadata,
    packages: &BTreeMap<&PackageId, &Package>,
    root: &'m PackageId,
) -> anyhow::Result<BTreeMap<&'m PackageId, Vec<&'m PackageId>>> {
    let resolve = metadata.resolve.as_ref().context("cargo metadata resolves nothing")?;
    // A procedural macro writes code; its own is left behind.
    let builds = |id: &PackageId| {
        let targets = packages.get(id).into_iter().flat_map(|package| &package.targets);
        targets.into_iter().any(cargo_metadata::Target::is_proc_macro)
    };
    let nodes: BTreeMap<_, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut linked = BTreeMap::new();
    let mut ahead = vec![root];
    while let Some(id) = ahead.pop() {
        if linked.contains_key(id) {
            continue;
        }
        let needed = nodes.get(id).into_iter().flat_map(|node| &node.deps);
        let needed = needed.filter(|needed| {
            needed.dep_kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
        });
        let needed = needed.map(|needed| &needed.pkg).filter(|id| !builds(id));
        let needed: Vec<&PackageId> = needed.collect();
        ahead.extend(&needed);
        linked.insert(id, needed);
    }
    Ok(linked)
}

fn component(package: &Package) -> Value {
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(package),
        "name": package.name,
        "version": package.version,
        "purl": purl(package),
    });
    if let (Some(members), Some(license)) = (component.as_object_mut(), &package.license) {
        // The form with a slash is older than SPDX expressions.
        let expression = license.replace('/', " OR ");
        members.insert("licenses".to_owned(), json!([{ "expression": expression }]));
    }
    component
}

/// A package URL (purl-spec, type `cargo`).
fn purl(package: &Package) -> String {
    format!("pkg:cargo/{}@{}", package.name, package.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bill_names_what_is_linked_and_nothing_else() {
        let bill: Value = serde_json::from_str(&cyclonedx("sha256:00ff").unwrap()).unwrap();
        assert_eq!(bill["metadata"]["component"]["name"], "usher");
        assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], "00ff");
        let names: Vec<&str> = bill["components"]
            .as_array()
            .unwrap()
            .iter()
            .map(|component| component["name"].as_str().unwrap())
            .collect();
        for name in ["proxy-wasm", "jwt-simple", "serde_json", "p256"] {
            assert!(names.contains(&name), "{name} is linked: {names:?}");
        }
        // A dependency of tests, one of the command, one that only builds.
        for name in ["proptest", "clap", "proc-macro2", "usher"] {
            assert!(!names.contains(&name), "{name} is not linked: {names:?}");
        }
    }
}
