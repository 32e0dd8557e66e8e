//! PEM (RFC 7468): labelled base64 between `-----BEGIN` and `-----END` lines.
//!
//! By hand: `pem-rfc7468` refuses what comes out of YAML and of Envoy's headers, lines that are indented, joined or of
//! unequal length, and more blocks than one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A block: its label and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block<'p> {
    pub(crate) label: &'p str,
    pub(crate) der: Vec<u8>,
}

/// Whether a text looks like PEM at all.
pub(crate) fn is_pem(text: &str) -> bool {
    text.trim_start().starts_with("-----BEGIN ")
}

/// The blocks of a text, in order. `None` if one is not closed or not base64, or if something other
/// than white space separates two.
pub(crate) fn blocks(text: &str) -> Option<Vec<Block<'_>>> {
    let mut blocks = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (label, body) = rest.strip_prefix("-----BEGIN ")?.split_once("-----")?;
        let (body, tail) = body.split_once("-----END ")?;
        rest = tail.strip_prefix(label)?.strip_prefix("-----")?.trim_start();
        let base64: String = body.split_ascii_whitespace().collect();
        blocks.push(Block { label, der: STANDARD.decode(base64).ok()? });
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_told_apart() {
        let one = "-----BEGIN A-----\nAQID\n-----END A-----\n";
        let two = format!("{one}\n-----BEGIN B C-----\r\nBA\r\n==\r\n-----END B C-----");
        let found = blocks(&two).unwrap();
        assert_eq!(found[0], Block { label: "A", der: vec![1, 2, 3] });
        assert_eq!(found[1], Block { label: "B C", der: vec![4] });
        for (text, why) in [
            ("-----BEGIN A-----\nAQID\n", "not closed"),
            ("-----BEGIN A-----\nAQID\n-----END B-----", "closed by another label"),
            ("-----BEGIN A-----\n!\n-----END A-----", "not base64"),
            ("x -----BEGIN A-----\nAQID\n-----END A-----", "text before"),
        ] {
            assert_eq!(blocks(text), None, "{why}");
        }
    }
}
