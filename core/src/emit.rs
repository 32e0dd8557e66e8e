//! **Emit**: the identity headers, from a verified token.

use crate::authenticate::Verified;
use crate::claims::{ClaimName, Claims, Identity};
use crate::codec::json::{Map, Value};
use crate::denial::Denial;
use crate::hash::FastSet;
use crate::headers::Emitted;
use crate::policy::{Emission, PayloadHeader};

pub mod encode;

use encode::{Shape, Written};

impl Emission {
    /// The headers for a verified token. Of two mappings to one name the last wins; a claim that is
    /// absent, null or empty gives no header.
    ///
    /// # Errors
    /// [`Denial::IdentityTooLarge`] if names and values together exceed `limit` bytes: an identity is
    /// never cut.
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
    /// How the claim's values are written as a list, beyond their JSON type.
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
