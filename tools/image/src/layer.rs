//! The one layer: a gzipped tar that holds `plugin.wasm` and nothing else.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};

/// The tar, as it is unpacked.
///
/// # Errors
/// The module is larger than a tar can hold.
pub(crate) fn tar(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_size(u64::try_from(module.len())?);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    let mut builder = tar::Builder::new(Vec::new());
    // The name that the Wasm Image Specification, compat variant, wants.
    builder.append_data(&mut header, "plugin.wasm", module)?;
    Ok(builder.into_inner()?)
}

/// The tar, as it is sent.
///
/// # Errors
/// None in memory.
pub(crate) fn gzip(tar: &[u8]) -> anyhow::Result<Vec<u8>> {
    // No time, and 255 for an unknown machine (RFC 1952 section 2.3.1).
    let builder = GzBuilder::new().mtime(0).operating_system(255);
    let mut encoder = builder.write(Vec::new(), Compression::best());
    encoder.write_all(tar)?;
    Ok(encoder.finish()?)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_module_comes_out_again() {
        let module = b"\0asm and more".repeat(1000);
        let sent = gzip(&tar(&module).unwrap()).unwrap();
        let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(&*sent));
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some("plugin.wasm"));
        let header = entry.header().clone();
        let owner = (header.uid().unwrap(), header.gid().unwrap(), header.mode().unwrap());
        assert_eq!((owner, header.mtime().unwrap()), ((0, 0, 0o644), 0));
        let mut found = Vec::new();
        entry.read_to_end(&mut found).unwrap();
        assert!(found == module, "the module is another");
        drop(entry);
        assert!(entries.next().is_none(), "more than one entry");
    }

    /// RFC 1952 section 2.3: no time, no name, no operating system.
    #[test]
    fn the_same_module_gives_the_same_bytes() {
        let sent = gzip(&tar(b"module").unwrap()).unwrap();
        assert_eq!(sent.get(..10), Some(&[31, 139, 8, 0, 0, 0, 0, 0, 2, 255][..]));
        assert_eq!(sent, gzip(&tar(b"module").unwrap()).unwrap());
    }
}
