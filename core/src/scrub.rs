//! **Scrub**: removes the client's identity headers, in any spelling.
//!
//! Header names are compared folded, so every name that folds to an emitted name counts as that name. That applies
//! to trailers too.

use crate::hash::{FastSet, length_bit};
use crate::headers::{fold, folded};
use crate::lookup::Lookup;
use crate::request::Request;

/// The headers that only Usher may set.
#[derive(Clone, Debug, Default)]
pub struct ProtectedHeaders {
    folded: FastSet<Vec<u8>>,
    /// The lengths of these names, a bit each. Folding keeps a name's length, so the lengths exclude most headers
    /// quickly.
    lengths: u64,
}

impl ProtectedHeaders {
    /// Protects every name that folds to one of `names`.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let folded = folded(names);
        let lengths = folded.iter().fold(0, |lengths, name| lengths | length_bit(name));
        Self { folded, lengths }
    }

    /// Whether no name is protected.
    pub fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    /// Whether the name, in any spelling, is protected.
    pub fn protects(&self, name: &[u8]) -> bool {
        // A client cannot name pseudo headers.
        !name.starts_with(b":")
            && self.lengths & length_bit(name) != 0
            && self.folded.contains(&fold(name))
    }

    /// The protected names among these, each once, as the client spelt them.
    pub fn spoofed<'h>(&self, headers: &'h [(Vec<u8>, Vec<u8>)]) -> Vec<&'h [u8]> {
        let names = headers.iter().map(|(name, _)| name.as_slice());
        let spoofed: Vec<&[u8]> = names.filter(|name| self.protects(name)).collect();
        if spoofed.len() <= 1 {
            return spoofed;
        }
        let mut is_first = vec![false; spoofed.len()];
        for (_, at) in Lookup::of(spoofed.iter().copied()).each() {
            is_first.get_mut(at).into_iter().for_each(|first| *first = true);
        }
        spoofed
            .into_iter()
            .zip(is_first)
            .filter(|(_, first)| *first)
            .map(|(name, _)| name)
            .collect()
    }

    /// The lines of `connection` without options that name a protected header; `None` if there are none. Envoy
    /// forwards the `connection` header of an upgrade, and the next hop removes the headers that it names.
    // RFC 9110 section 7.6.1: the nominated fields are removed before the message is forwarded.
    pub fn without_nominations(&self, request: &Request) -> Option<Vec<Vec<u8>>> {
        let options = |line: &'_ [u8]| -> Vec<Vec<u8>> {
            let options = line.split(|b| *b == b',').map(<[u8]>::trim_ascii);
            options.filter(|option| !self.protects(option)).map(<[u8]>::to_vec).collect()
        };
        let nominates = |line: &[u8]| {
            line.split(|b| *b == b',').any(|option| self.protects(option.trim_ascii()))
        };
        if !request.lines("connection").any(nominates) {
            return None;
        }
        let lines = request.lines("connection").map(|line| options(line).join(b", ".as_slice()));
        Some(lines.filter(|line| !line.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_folds_to_one_name() {
        let protected_headers = ProtectedHeaders::new(["User-Info", "x-jwt-iss"].into_iter());
        for separator in 0..=u8::MAX {
            let name = [b"uSeR".as_slice(), &[separator], b"InFo"].concat();
            let expected = !separator.is_ascii_alphanumeric();
            assert_eq!(protected_headers.protects(&name), expected, "separator {separator:#x}");
        }
        for (name, protected) in [
            ("user-info", true),
            ("userinfo", false),
            ("user--info", false),
            ("user-info-", false),
            ("x_jwt.iss", true),
            (":user-info", false),
            ("user-agent", false),
        ] {
            assert_eq!(protected_headers.protects(name.as_bytes()), protected, "{name}");
        }
    }

    #[test]
    fn names_of_any_length_are_protected() {
        for length in 1..300 {
            let name = "a".repeat(length);
            let protected_headers = ProtectedHeaders::new([name.as_str()].into_iter());
            for other in 1..300 {
                let found = protected_headers.protects("A".repeat(other).as_bytes());
                assert_eq!(found, other == length, "{length} {other}");
            }
        }
    }

    #[test]
    fn no_nomination_of_a_protected_header_is_left() {
        let protected_headers = ProtectedHeaders::new(["User-Info", "x-sub"].into_iter());
        for (lines, expected, message) in [
            (&["Upgrade"][..], None, "nothing nominated"),
            (&[], None, "no header"),
            (&["Upgrade, Keep-Alive, X-Other"], None, "headers of others"),
            (&["Upgrade, User-Info"], Some(vec!["Upgrade"]), "the emitted header"),
            (
                &["upgrade ,\tuser_info ,X-Sub, x-other"],
                Some(vec!["upgrade, x-other"]),
                "in any spelling",
            ),
            (&["X-Sub", "Upgrade"], Some(vec!["Upgrade"]), "a line of its own"),
            (&["user-info"], Some(vec![]), "nothing else"),
        ] {
            let line = |value: &&str| (b"connection".to_vec(), value.as_bytes().to_vec());
            let request =
                Request { headers: lines.iter().map(line).collect(), ..Request::default() };
            let expected: Option<Vec<Vec<u8>>> =
                expected.map(|lines| lines.iter().map(|line| line.as_bytes().to_vec()).collect());
            assert_eq!(protected_headers.without_nominations(&request), expected, "{message}");
        }
    }

    #[test]
    fn forged_names_are_told_once_each() {
        let protected_headers = ProtectedHeaders::new(["user-info"].into_iter());
        let line = |name: &str| (name.as_bytes().to_vec(), b"x".to_vec());
        let headers = [line("user_info"), line("a"), line("user-info"), line("user_info")];
        assert_eq!(protected_headers.spoofed(&headers), [b"user_info".as_slice(), b"user-info"]);
    }
}
