//! The ABI's form of header lines: their count, the sizes of each name and value, then each with a NUL behind it.
//! Numbers are `u32`, little-endian.

use crate::host::HeaderLines;

/// Reads lines into the memory of earlier ones, which saves some thirty allocations a request. `None` if it is cut
/// short.
pub fn read(bytes: &[u8], mut lines: HeaderLines) -> Option<HeaderLines> {
    if bytes.is_empty() {
        return Some(HeaderLines::new());
    }
    let (count, sizes) = number(bytes)?;
    let (mut sizes, mut rest) = sizes.split_at_checked(count.checked_mul(8)?)?;
    let mut text = |size: usize| {
        let (text, tail) = rest.split_at_checked(size)?;
        rest = tail.get(1..)?;
        Some(text)
    };
    lines.truncate(count);
    lines.reserve(count.saturating_sub(lines.len()));
    let mut used = lines.iter_mut();
    let mut more = HeaderLines::new();
    while !sizes.is_empty() {
        let (name, tail) = number(sizes)?;
        let (value, tail) = number(tail)?;
        sizes = tail;
        let (name, value) = (text(name)?, text(value)?);
        match used.next() {
            Some((old_name, old_value)) => {
                old_name.clear();
                old_name.extend_from_slice(name);
                old_value.clear();
                old_value.extend_from_slice(value);
            }
            None => more.push((name.to_vec(), value.to_vec())),
        }
    }
    lines.append(&mut more);
    Some(lines)
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

/// Writes lines.
pub fn write(lines: &[(&[u8], &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_le_bytes();
    bytes.extend(size(lines.len()));
    for (name, value) in lines {
        bytes.extend(size(name.len()));
        bytes.extend(size(value.len()));
    }
    for (name, value) in lines {
        bytes.extend_from_slice(name);
        bytes.push(0);
        bytes.extend_from_slice(value);
        bytes.push(0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(lines: &[(&[u8], &[u8])]) -> HeaderLines {
        lines.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect()
    }

    #[test]
    fn what_is_written_is_read() {
        let few: &[(&[u8], &[u8])] = &[(b"a", b"1"), (b"a", b""), (b"", b"\0\xff")];
        let many: Vec<(&[u8], &[u8])> = few.iter().copied().cycle().take(50).collect();
        for lines in [&[], few, &many] {
            // For any lines that were in the memory before.
            for spare in [&[], few, &many] {
                assert_eq!(read(&write(lines), owned(spare)), Some(owned(lines)));
            }
        }
        assert_eq!(read(b"", owned(few)), Some(Vec::new()), "no bytes at all");
    }

    #[test]
    fn what_is_cut_short_is_not_read() {
        let whole = write(&[(b"name", b"value"), (b"x", b"")]);
        for end in 1..whole.len() {
            assert_eq!(read(&whole[..end], Vec::new()), None, "{end}");
        }
        for count in [3_u32, 1 << 29, u32::MAX] {
            let bytes = [&count.to_le_bytes(), &whole[4..]].concat();
            assert_eq!(read(&bytes, Vec::new()), None, "{count} lines");
        }
    }
}
