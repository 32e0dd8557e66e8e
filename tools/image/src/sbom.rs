//! The bill of materials: every crate that is linked into the module, as CycloneDX 1.5.
//!
//! Which those are is asked of Cargo here: cargo-cyclonedx puts a bill beside each package of a workspace, and
//! does not know the module.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Context as _;
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand, Package, PackageId};
use cyclonedx_bom::external_models::uri::Purl;
use cyclonedx_bom::models::component::{Classification, Component, Components};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata;
use cyclonedx_bom::prelude::{Bom, SpdxExpression, SpecVersion, Validate as _};

/// The bill of the module with this digest, as Cargo knows it. The working folder is the workspace's.
///
/// # Errors
/// Cargo does not answer, or a crate's license is not a license expression.
pub(crate) fn cyclonedx(module: &str) -> anyhow::Result<String> {
    let metadata = MetadataCommand::new()
        .other_options(["--filter-platform".to_owned(), "wasm32-wasip1".to_owned()])
        .exec()
        .context("cargo metadata")?;
    let bill = bill(&metadata, module)?;
    let found = bill.validate();
    anyhow::ensure!(found.passed(), "the bill of materials is not CycloneDX: {found:?}");
    let mut text = Vec::new();
    bill.output_as_json_v1_5(&mut text)?;
    Ok(String::from_utf8(text)? + "\n")
}

fn bill(metadata: &Metadata, module: &str) -> anyhow::Result<Bom> {
    let packages: BTreeMap<&PackageId, &Package> =
        metadata.packages.iter().map(|package| (&package.id, package)).collect();
    let root = metadata.packages.iter().find(|package| package.name.as_str() == "usher");
    let root = root.context("no package `usher`")?;
    let linked = linked(metadata, &packages, &root.id)?;
    let package = |id: &PackageId| packages.get(id).copied().context("a package without a name");
    let reference = |id: &PackageId| anyhow::Ok(purl(package(id)?)?.to_string());

    let others = linked.keys().filter(|id| ***id != root.id).map(|id| package(id));
    let mut components: Vec<&Package> = others.collect::<anyhow::Result<_>>()?;
    components.sort_by_key(|package| (package.name.as_str(), &package.version));
    let components = components.into_iter().map(component).collect::<anyhow::Result<_>>()?;
    let mut dependencies = Vec::new();
    for (id, on) in &linked {
        // Once each, however often it is asked for.
        let on: anyhow::Result<BTreeSet<String>> = on.iter().map(|id| reference(id)).collect();
        let on = on?.into_iter().collect();
        dependencies.push(Dependency { dependency_ref: reference(id)?, dependencies: on });
    }
    dependencies.sort_by(|a, b| a.dependency_ref.cmp(&b.dependency_ref));

    let digits = module.trim_start_matches("sha256:");
    let hash = Hash { alg: HashAlgorithm::SHA_256, content: HashValue(digits.to_owned()) };
    let subject = Component { hashes: Some(Hashes(vec![hash])), ..component(root)? };
    let about = metadata::Metadata { component: Some(subject), ..metadata::Metadata::default() };
    Ok(Bom {
        spec_version: SpecVersion::V1_5,
        // The same module has the same bill: no random number.
        serial_number: None,
        metadata: Some(about),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(dependencies)),
        ..Bom::default()
    })
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

fn component(package: &Package) -> anyhow::Result<Component> {
    let purl = purl(package)?;
    let licenses = match &package.license {
        // The form with a slash is older than SPDX expressions, and read as `OR`.
        Some(license) => {
            let expression = SpdxExpression::parse_lax(license.clone())
                .with_context(|| format!("the license of {purl}"))?;
            Some(Licenses(vec![LicenseChoice::Expression(expression)]))
        }
        None => None,
    };
    let version = package.version.to_string();
    let component =
        Component::new(Classification::Library, &package.name, &version, Some(purl.to_string()));
    Ok(Component { licenses, purl: Some(purl), ..component })
}

fn purl(package: &Package) -> anyhow::Result<Purl> {
    Ok(Purl::new("cargo", &package.name, &package.version.to_string())?)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn the_bill_names_what_is_linked_and_nothing_else() {
        let bill: Value =
            serde_json::from_str(&cyclonedx(&format!("sha256:{}", "00ff".repeat(16))).unwrap())
                .unwrap();
        assert_eq!(bill["metadata"]["component"]["name"], "usher");
        assert_eq!(bill["metadata"]["component"]["hashes"][0]["content"], "00ff".repeat(16));
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
