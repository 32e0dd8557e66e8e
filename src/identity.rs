//! The identity headers: none of the client's gets through, and ours are made from a verified token.
//!
//! Header names are compared folded: applications read `User_Info`, `user.info` and `User-Info` as one
//! variable (CGI and WSGI turn every other byte into `_`), so whatever folds to an emitted name is an
//! emitted name. That holds in trailers too.

use crate::authenticate::Verified;
use crate::claims::{ClaimName, Claims, Identity};
use crate::codec::json::{Map, Value};
use crate::denial::Denial;
use crate::hash::{FastSet, length_bit};
use crate::lookup::Lookup;
use crate::request::Request;
use crate::token::Lines;

pub mod encode;

use encode::{ClaimFormat, PayloadEncoding, Shape, TextEncoding, Written};

/// The headers that only Usher may set.
#[derive(Clone, Debug, Default)]
pub struct Firewall {
    folded: FastSet<Vec<u8>>,
    /// Which lengths these names have, a bit each. Folding keeps a name's length, so that most headers
    /// are known to be none of them at a glance.
    lengths: u64,
}

impl Firewall {
    /// Protects every name that folds to one of `names`.
    pub fn new<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        let folded: FastSet<Vec<u8>> = names.map(|name| fold(name.as_bytes())).collect();
        let lengths = folded.iter().fold(0, |lengths, name| lengths | length_bit(name));
        Self { folded, lengths }
    }

    /// Whether no name is protected.
    pub fn is_empty(&self) -> bool {
        self.folded.is_empty()
    }

    /// Whether the name, in whatever spelling, is protected.
    pub fn protects(&self, name: &[u8]) -> bool {
        // Pseudo headers are not the client's to name.
        !name.starts_with(b":")
            && self.lengths & length_bit(name) != 0
            && self.folded.contains(&fold(name))
    }

    /// The protected names among these, each once, as the client spelt them.
    pub fn forged<'h>(&self, headers: &'h [(Vec<u8>, Vec<u8>)]) -> Vec<&'h [u8]> {
        let names = headers.iter().map(|(name, _)| name.as_slice());
        let forged: Vec<&[u8]> = names.filter(|name| self.protects(name)).collect();
        if forged.len() <= 1 {
            return forged;
        }
        let mut is_first = vec![false; forged.len()];
        for (_, at) in Lookup::of(forged.iter().copied()).each() {
            is_first.get_mut(at).into_iter().for_each(|first| *first = true);
        }
        forged.into_iter().zip(is_first).filter(|(_, first)| *first).map(|(name, _)| name).collect()
    }

    /// The lines of `connection` without what nominates a protected header; `None` where none does. Envoy hands the
    /// `connection` header of an upgrade on, and whoever reads it next removes the headers that it nominates.
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

/// Lower case, every byte that is no letter or digit a `-`.
pub fn fold(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|b| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' })
        .collect()
}

/// What a rule emits for a token that it accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emission {
    /// `outputPayloadToHeader` and what belongs to it.
    pub payload: Option<PayloadHeader>,
    /// `outputClaimToHeaders`.
    pub claims: Vec<ClaimHeader>,
}

/// A header that carries the payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadHeader {
    /// Lower-case name.
    pub name: String,
    /// `outputPayloadEncoding`.
    pub encoding: PayloadEncoding,
    /// `outputPayloadClaims`: only these top-level claims; `None`: the payload as signed.
    pub claims: Option<Vec<String>>,
}

/// A header that carries one claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimHeader {
    /// Lower-case name.
    pub name: String,
    /// The claim.
    pub claim: ClaimName,
    /// How a list is written, and that a text is one; `None`: a text is no list.
    pub format: Option<ClaimFormat>,
    /// How bytes that a header cannot hold are written.
    pub encoding: TextEncoding,
}

/// The headers for one verified token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Emitted {
    /// The lines, by name.
    pub lines: Lines,
    /// Headers that are not emitted, because `raw` cannot write the claim.
    pub withheld: Vec<String>,
}

impl Emission {
    /// Lower-case names of all headers that this may emit.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let payload = self.payload.iter().map(|header| header.name.as_str());
        payload.chain(self.claims.iter().map(|header| header.name.as_str()))
    }

    /// The headers for a verified token. Of two mappings to one name the last wins; a
    /// claim that is absent, null or empty gives no header.
    ///
    /// # Errors
    /// [`Denial::IdentityTooLarge`] where names and values together exceed `limit` bytes: an identity
    /// is never cut.
    pub fn emitted(&self, verified: &Verified, limit: usize) -> Result<Emitted, Denial> {
        let identity = verified.identity();
        let mut all: Vec<(&str, Written)> = Vec::new();
        if let Some(header) = &self.payload {
            let value = header.value(verified.payload(), &identity.claims);
            all.push((&header.name, Written::Lines(vec![value])));
        }
        for header in &self.claims {
            let values = header.claim.find(&identity.claims);
            if values.is_empty() {
                all.push((&header.name, Written::Lines(Vec::new())));
                continue;
            }
            let shape = header.claim.shape(identity);
            let written = encode::claim(&values, &shape, header.format, header.encoding);
            all.push((&header.name, written));
        }
        let mut seen = FastSet::default();
        all.reverse();
        all.retain(|(name, _)| seen.insert(*name));
        let Emitted { mut lines, mut withheld } = Emitted::default();
        for (name, written) in all.into_iter().rev() {
            match written {
                Written::Lines(texts) if texts.is_empty() => {}
                Written::Lines(texts) => {
                    let texts: Vec<Vec<u8>> = texts.into_iter().map(String::into_bytes).collect();
                    lines.push((name.as_bytes().into(), texts.into()));
                }
                Written::Withheld => withheld.push(name.to_owned()),
            }
        }
        let bytes = lines.iter().flat_map(|(name, lines)| {
            lines.iter().map(|line| line.len().saturating_add(name.len()))
        });
        if bytes.fold(0, usize::saturating_add) > limit {
            return Err(Denial::IdentityTooLarge);
        }
        Ok(Emitted { lines, withheld })
    }
}

impl ClaimName {
    /// Whether what it leads to is a list, whatever its JSON says.
    fn shape<'i>(&self, identity: &'i Identity) -> Shape<'i> {
        if self.leads_to_elements() {
            return Shape::Elements;
        }
        let words = self.top_level().and_then(|name| identity.words(name));
        words.map_or(Shape::Value, Shape::Words)
    }
}

impl PayloadHeader {
    fn value(&self, signed: &str, claims: &Claims) -> String {
        let chosen = self.claims.as_ref().map(|names| {
            let chosen: Map<String, Value> = names
                .iter()
                .filter_map(|name| Some((name.clone(), claims.get(name)?.clone())))
                .collect();
            chosen
        });
        encode::payload(
            signed,
            chosen.as_ref().unwrap_or(&claims.0),
            chosen.is_some(),
            self.encoding,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_folds_to_one_name() {
        let firewall = Firewall::new(["User-Info", "x-jwt-iss"].into_iter());
        for separator in 0..=u8::MAX {
            let name = [b"uSeR".as_slice(), &[separator], b"InFo"].concat();
            let expected = !separator.is_ascii_alphanumeric();
            assert_eq!(firewall.protects(&name), expected, "separator {separator:#x}");
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
            assert_eq!(firewall.protects(name.as_bytes()), protected, "{name}");
        }
    }

    #[test]
    fn names_of_any_length_are_protected() {
        for length in 1..300 {
            let name = "a".repeat(length);
            let firewall = Firewall::new([name.as_str()].into_iter());
            for other in 1..300 {
                let found = firewall.protects("A".repeat(other).as_bytes());
                assert_eq!(found, other == length, "{length} {other}");
            }
        }
    }

    #[test]
    fn no_nomination_of_a_protected_header_is_left() {
        let firewall = Firewall::new(["User-Info", "x-sub"].into_iter());
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
            assert_eq!(firewall.without_nominations(&request), expected, "{message}");
        }
    }

    #[test]
    fn forged_names_are_told_once_each() {
        let firewall = Firewall::new(["user-info"].into_iter());
        let line = |name: &str| (name.as_bytes().to_vec(), b"x".to_vec());
        let headers = [line("user_info"), line("a"), line("user-info"), line("user_info")];
        assert_eq!(firewall.forged(&headers), [b"user_info".as_slice(), b"user-info"]);
    }
}
