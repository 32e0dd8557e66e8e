//! The image that istio-agent and Envoy's operators pull, as an OCI layout, and what to write down about it.
//!
//! The same module gives the same bytes on every machine: times are fixed, entries sorted, and the compressor
//! is the one that Cargo.lock names. `make image` runs it.

use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Parser;

use crate::layout::{Layout, digest};

mod image;
mod layer;
mod layout;
mod sbom;

/// Makes an OCI layout of the module's images
#[derive(Parser)]
struct Arguments {
    /// The built module
    #[arg(long, value_name = "F")]
    module: PathBuf,
    /// The folder to make: `oci`, `docker`, `usher.cdx.json`, `digests`
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// The commit that the module was built from, for the labels
    #[arg(long)]
    revision: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let module = std::fs::read(&arguments.module)
        .with_context(|| format!("cannot read `{}`", arguments.module.display()))?;
    let version = env!("CARGO_PKG_VERSION");
    let sbom = sbom::cyclonedx(&digest(&module))?;
    let labels = image::labels(version, arguments.revision.as_deref());

    let folder = &arguments.output;
    if folder.exists() {
        std::fs::remove_dir_all(folder)
            .with_context(|| format!("cannot replace `{}`", folder.display()))?;
    }
    let mut layout = Layout::create(&folder.join("oci"))?;
    let forms = image::add(folder, &mut layout, &module, &labels, version)?;
    let bill = image::add_sbom(&mut layout, &sbom, &forms.oci, version)?;
    layout.finish()?;

    let mut digests = String::new();
    let rows = [
        ("oci image", &forms.oci.digest, "what `sha256` of a WasmPlugin with an oci:// url names"),
        ("docker image", &forms.docker.digest, "the same in Docker's media types"),
        (
            "wasm artifact",
            &forms.artifact.digest,
            "the module as it is, for tools that want no tar",
        ),
        ("sbom", &bill.digest, "refers to the oci image"),
        ("module", &digest(&module), "what `sha256` of a WasmPlugin with an http:// url names"),
    ];
    for (name, digest, what) in rows {
        writeln!(digests, "{name:<14} {digest}  {what}")?;
    }
    std::fs::write(folder.join("digests"), &digests)?;
    std::fs::write(folder.join("usher.cdx.json"), &sbom)?;
    print!("{digests}");
    Ok(())
}
