//! The forms of the Wasm Image Specification: an image in OCI's and in Docker's media types (the compat variant),
//! and an artifact.

use std::path::Path;

use serde_json::{Map, Value, json};

use crate::layer;
use crate::layout::{Blob, Layout, digest, directory};

/// The manifests of one module.
pub(crate) struct Forms {
    /// An image with OCI's media types: `VERSION`.
    pub(crate) oci: Blob,
    /// An image with Docker's: the folder `docker`.
    pub(crate) docker: Blob,
    /// The bare module: `VERSION-artifact`.
    pub(crate) artifact: Blob,
}

const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// What the image says of itself (image-spec, `annotations.md`).
pub(crate) fn labels(version: &str, revision: Option<&str>) -> Map<String, Value> {
    let told = [
        ("title", "usher"),
        ("description", "A proxy-wasm filter that verifies JWTs and authorizes requests"),
        ("licenses", "Apache-2.0"),
        ("version", version),
    ];
    let all = told.into_iter().chain(revision.map(|revision| ("revision", revision)));
    let name = |name| format!("org.opencontainers.image.{name}");
    all.map(|(key, value)| (name(key), json!(value))).collect()
}

/// Adds every form of a module: Docker's to a folder `docker`, the others to the layout.
///
/// # Errors
/// The layout cannot be written.
pub(crate) fn add(
    folder: &Path,
    layout: &mut Layout,
    module: &[u8],
    labels: &Map<String, Value>,
    version: &str,
) -> anyhow::Result<Forms> {
    let tar = layer::tar(module)?;
    let packed = layer::gzip(&tar)?;
    let config = json!({
        "architecture": "wasm",
        "os": "wasip1",
        // No time: the same module is the same image, whenever it was built.
        "created": "1970-01-01T00:00:00Z",
        "config": { "Labels": labels },
        "rootfs": { "type": "layers", "diff_ids": [digest(&tar)] },
        "history": [{ "created": "1970-01-01T00:00:00Z", "created_by": "COPY plugin.wasm /" }],
    });

    let layers = [layout.add("application/vnd.oci.image.layer.v1.tar+gzip", &packed)?.descriptor()];
    let settings = config.to_string();
    let settings = layout.add("application/vnd.oci.image.config.v1+json", settings.as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": settings.descriptor(),
        "layers": layers,
        "annotations": labels,
    });
    let oci = layout.name(version, &manifest)?;
    Ok(Forms {
        oci,
        docker: docker(folder, &config, &packed)?,
        artifact: artifact(layout, module, labels, version)?,
    })
}

fn docker(folder: &Path, config: &Value, packed: &[u8]) -> anyhow::Result<Blob> {
    let config = config.to_string();
    let layer = Blob::of("application/vnd.docker.image.rootfs.diff.tar.gzip", packed);
    let about = Blob::of("application/vnd.docker.container.image.v1+json", config.as_bytes());
    // Docker's manifests have no annotations; the labels are in the configuration.
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
        "config": about.descriptor(),
        "layers": [layer.descriptor()],
    });
    directory(&folder.join("docker"), &manifest, &[packed, config.as_bytes()])
}

fn artifact(
    layout: &mut Layout,
    module: &[u8],
    labels: &Map<String, Value>,
    version: &str,
) -> anyhow::Result<Blob> {
    let about = json!({ "type": "envoy_proxy", "abiVersions": ["v0.2.1"] }).to_string();
    let about = layout.add("application/vnd.module.wasm.config.v1+json", about.as_bytes())?;
    let code = layout.add("application/vnd.module.wasm.content.layer.v1+wasm", module)?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": about.descriptor(),
        // Two, or Istio does not take it (istio/istio pkg/wasm/imagefetcher.go, extractOCIArtifactImage).
        "layers": [about.descriptor(), code.descriptor()],
        "annotations": labels,
    });
    layout.name(&format!("{version}-artifact"), &manifest)
}

/// Adds the bill of materials of an image, which it refers to: `VERSION-sbom`.
///
/// # Errors
/// The layout cannot be written.
pub(crate) fn add_sbom(
    layout: &mut Layout,
    sbom: &str,
    image: &Blob,
    version: &str,
) -> anyhow::Result<Blob> {
    const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
    let empty = layout.add("application/vnd.oci.empty.v1+json", b"{}")?;
    let bill = layout.add(CYCLONEDX, sbom.as_bytes())?;
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": CYCLONEDX,
        "config": empty.descriptor(),
        "layers": [bill.descriptor()],
        "subject": image.descriptor(),
    });
    layout.name(&format!("{version}-sbom"), &manifest)
}
