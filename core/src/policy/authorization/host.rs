//! Values of `hosts`.

use super::text::{Pattern, TextSet, Wildcard, pattern};

/// Values, any of which may match.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostSet {
    pub(crate) with_port: TextSet,
    pub(crate) without_port: TextSet,
}

impl HostSet {
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let lower: Vec<String> = values.into_iter().map(str::to_ascii_lowercase).collect();
        let (with_port, without_port): (Vec<&str>, Vec<&str>) =
            lower.iter().map(String::as_str).partition(|value| has_port(value));
        Self {
            with_port: TextSet::new(with_port, Wildcard::Present),
            without_port: TextSet::new(without_port, Wildcard::Present),
        }
    }
}

fn has_port(value: &str) -> bool {
    match pattern(value) {
        Pattern::Any => false,
        Pattern::Exact(text) | Pattern::Prefix(text) | Pattern::Suffix(text) => {
            port_at(text.as_bytes()) < text.len()
        }
    }
}

/// Where the port begins, its colon included; the end if there is no port (RFC 3986 section 3.2: digits,
/// possibly none, behind a name without colon or an address in brackets).
pub(crate) fn port_at(host: &[u8]) -> usize {
    let Some(at) = host.iter().rposition(|b| *b == b':') else {
        return host.len();
    };
    let (name, port) = host.split_at_checked(at).unwrap_or((host, b""));
    let digits = port.iter().skip(1).all(u8::is_ascii_digit);
    let is_port = digits && (name.ends_with(b"]") || !name.contains(&b':'));
    if is_port { at } else { host.len() }
}
