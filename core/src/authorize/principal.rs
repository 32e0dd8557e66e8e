//! Whether the verified token's `iss` and `sub` are a pair of a set. Both must be strings; each is
//! matched by itself (istio/istio pilot/pkg/security/authz/model/generator.go,
//! requestPrincipalGenerator).

use super::key::Key;
use crate::claims::Identity;
use crate::policy::authorization::principal::{Part, RequestPrincipalSet, joined};
use crate::policy::authorization::text::Wildcard;

impl RequestPrincipalSet {
    pub(crate) fn matches(&self, identity: Option<&Identity>) -> bool {
        let claims = identity.map(|identity| &identity.claims);
        let text = |name| claims.and_then(|claims| claims.text(name));
        let (Some(issuer), Some(subject)) = (text("iss"), text("sub")) else {
            return false;
        };
        self.exact.matches(&joined(issuer, subject))
            || self.pairs.iter().any(|p| p.issuer.matches(issuer) && p.subject.matches(subject))
    }

    /// The keys of an identity's [`names`] one of which a match must have; `None` if a match needs none
    /// of them.
    pub(crate) fn keys(&self) -> Option<Vec<Key>> {
        let mut keys = self.exact.keys()?;
        for pair in &self.pairs {
            keys.push(Key::Exact(match (&pair.issuer, &pair.subject) {
                (Part::Exact(issuer), _) => only("iss", issuer).into(),
                (_, Part::Exact(subject)) => only("sub", subject).into(),
                _ => return None,
            }));
        }
        Some(keys)
    }
}

/// The keys by which an identity is looked up: issuer and subject, and each alone.
pub(crate) fn names(identity: &Identity) -> Vec<Vec<u8>> {
    let text = |name| identity.claims.text(name);
    match (text("iss"), text("sub")) {
        (Some(issuer), Some(subject)) => {
            vec![joined(issuer, subject), only("iss", issuer), only("sub", subject)]
        }
        _ => Vec::new(),
    }
}

fn only(claim: &str, value: &str) -> Vec<u8> {
    [claim, "=", value].concat().into_bytes()
}

impl Part {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => Wildcard::Filled.accepts(text.as_bytes()),
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claims::Claims;

    #[test]
    fn principals_are_istios() {
        for (value, issuer, subject, expected) in [
            ("*", "i", "s", true),
            ("*", "i", "", false),
            ("*/s", "i", "s", true),
            ("*/s", "", "s", false),
            ("*r/s", "issuer", "s", true),
            ("*r/s", "issuer", "x", false),
            ("*b", "i", "sub", true),
            ("i/*", "i", "s", true),
            ("i/*", "j", "s", false),
            ("i/s*", "i", "sub", true),
            ("i*", "issuer", "s", true),
            ("i/s", "i", "s", true),
            ("i/s", "i", "t", false),
            ("https://i/s", "https://i", "s", true),
            ("i", "i", "", true),
            ("i", "i", "s", false),
            ("*/*", "i", "*", true),
            ("*/*", "i", "s", false),
            ("i/a/b", "i", "a/b", false),
        ] {
            let claims = serde_json::json!({"iss": issuer, "sub": subject});
            let claims = Claims(claims.as_object().unwrap().clone());
            let identity = Identity { claims, ..Identity::default() };
            let set = RequestPrincipalSet::new([value]);
            assert_eq!(set.matches(Some(&identity)), expected, "{value} on {issuer} {subject}");
            assert!(!set.matches(None), "{value} without a caller");
        }
    }
}
