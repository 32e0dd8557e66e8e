//! An OCI image layout (image-spec, `image-layout.md`): blobs by their digest, and an index of names.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A layout that is being written.
pub(crate) struct Layout {
    folder: PathBuf,
    named: Vec<Value>,
}

/// What a blob is known by.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    /// `sha256:` and 64 digits.
    pub(crate) digest: String,
    media_type: String,
    size: usize,
}

impl Blob {
    /// What these bytes are known by.
    pub(crate) fn of(media_type: &str, bytes: &[u8]) -> Self {
        Self { digest: digest(bytes), media_type: media_type.to_owned(), size: bytes.len() }
    }

    /// Its descriptor.
    pub(crate) fn descriptor(&self) -> Value {
        json!({ "mediaType": self.media_type, "digest": self.digest, "size": self.size })
    }
}

impl Layout {
    /// An empty layout.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder.join("blobs/sha256"))
            .with_context(|| format!("cannot make `{}`", folder.display()))?;
        Ok(Self { folder: folder.to_owned(), named: Vec::new() })
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// They cannot be written.
    pub(crate) fn add(&mut self, media_type: &str, bytes: &[u8]) -> anyhow::Result<Blob> {
        let blob = Blob::of(media_type, bytes);
        let name = blob.digest.trim_start_matches("sha256:");
        std::fs::write(self.folder.join("blobs/sha256").join(name), bytes)?;
        Ok(blob)
    }

    /// Adds a manifest under a name.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn name(&mut self, name: &str, manifest: &Value) -> anyhow::Result<Blob> {
        let media_type = manifest.get("mediaType").and_then(Value::as_str).unwrap_or_default();
        let blob = self.add(media_type, manifest.to_string().as_bytes())?;
        let mut descriptor = blob.descriptor();
        if let Some(members) = descriptor.as_object_mut() {
            let annotations = json!({ "org.opencontainers.image.ref.name": name });
            members.insert("annotations".to_owned(), annotations);
        }
        self.named.push(descriptor);
        Ok(blob)
    }

    /// Writes the index.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn finish(self) -> anyhow::Result<()> {
        let index = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.index.v1+json",
            "manifests": self.named,
        });
        std::fs::write(self.folder.join("index.json"), index.to_string())?;
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        std::fs::write(self.folder.join("oci-layout"), version.to_string())?;
        Ok(())
    }
}

/// Writes an image as skopeo's `dir:` transport reads it (containers/image, `containers-transports.5`): where an
/// OCI layout would not do, since skopeo finds no manifest of Docker's type in one.
///
/// # Errors
/// It cannot be written.
pub(crate) fn directory(folder: &Path, manifest: &Value, blobs: &[&[u8]]) -> anyhow::Result<Blob> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("version"), "Directory Transport Version: 1.1\n")?;
    for bytes in blobs {
        std::fs::write(folder.join(digest(bytes).trim_start_matches("sha256:")), bytes)?;
    }
    let media_type = manifest.get("mediaType").and_then(Value::as_str).unwrap_or_default();
    let text = manifest.to_string();
    std::fs::write(folder.join("manifest.json"), &text)?;
    Ok(Blob::of(media_type, text.as_bytes()))
}

/// `sha256:` and 64 digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    let digits: Vec<String> = Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect();
    format!("sha256:{}", digits.concat())
}

#[test]
fn digests_are_of_the_bytes() {
    // FIPS 180-2, appendix B.1.
    let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(digest(b"abc"), abc);
}
