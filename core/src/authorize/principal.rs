//! Request principals: `iss/sub` of the verified token.
//!
//! Source: istio/istio pilot/pkg/security/authz/model/generator.go (requestPrincipalGenerator). Both
//! claims must be strings; they are matched apart, the slash is only notation.

use super::key::Key;
use super::text::{Star, TextSet};
use crate::claims::Identity;

/// Values, any of which may match.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestPrincipalSet {
    exact: TextSet,
    pairs: Vec<MatchPair>,
}

#[derive(Clone, Debug)]
struct MatchPair {
    issuer: Part,
    subject: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Any,
    Exact(String),
    Prefix(String),
    Suffix(String),
}

impl RequestPrincipalSet {
    pub(crate) fn new<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut set = Self::default();
        for value in values {
            match pair(value) {
                MatchPair { issuer: Part::Exact(issuer), subject: Part::Exact(subject) } => {
                    set.exact.add_exact(&joined(&issuer, &subject));
                }
                pair => set.pairs.push(pair),
            }
        }
        set
    }

    /// Whether one of the values is `*`, which is anyone with a token.
    pub(crate) fn is_anyone(&self) -> bool {
        self.pairs.iter().any(|pair| pair.issuer == Part::Any && pair.subject == Part::Any)
    }

    pub(crate) fn matches(&self, identity: Option<&Identity>) -> bool {
        let claims = identity.map(|identity| &identity.claims);
        let text = |name| claims.and_then(|claims| claims.text(name));
        let (Some(issuer), Some(subject)) = (text("iss"), text("sub")) else {
            return false;
        };
        self.exact.matches(&joined(issuer, subject))
            || self.pairs.iter().any(|p| p.issuer.matches(issuer) && p.subject.matches(subject))
    }

    /// Of the [`names`] of an identity those one of which a match must have; `None` where it need have
    /// none of them.
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

/// What an identity can be looked up by: issuer and subject, either alone.
pub(crate) fn names(identity: &Identity) -> Vec<Vec<u8>> {
    let text = |name| identity.claims.text(name);
    match (text("iss"), text("sub")) {
        (Some(issuer), Some(subject)) => {
            vec![joined(issuer, subject), only("iss", issuer), only("sub", subject)]
        }
        _ => Vec::new(),
    }
}

/// A key that no two pairs share: no JSON string of a claim can end inside the length.
fn joined(issuer: &str, subject: &str) -> Vec<u8> {
    [&issuer.len().to_le_bytes(), issuer.as_bytes(), subject.as_bytes()].concat()
}

fn only(claim: &str, value: &str) -> Vec<u8> {
    [claim, "=", value].concat().into_bytes()
}

/// The table of docs/semantics.md, "Request principals", in its order.
fn pair(value: &str) -> MatchPair {
    let exact = |text: &str| Part::Exact(text.to_owned());
    let split = value.rsplit_once('/');
    let (issuer, subject) = if value == "*" {
        (Part::Any, Part::Any)
    } else if let Some(rest) = value.strip_prefix('*') {
        match split {
            Some(("*", subject)) => (Part::Any, exact(subject)),
            Some((issuer, subject)) => {
                let suffix = issuer.strip_prefix('*').unwrap_or(issuer);
                (Part::Suffix(suffix.to_owned()), exact(subject))
            }
            None => (Part::Any, Part::Suffix(rest.to_owned())),
        }
    } else if let Some(rest) = value.strip_suffix('*') {
        match split {
            Some((issuer, "*")) => (exact(issuer), Part::Any),
            Some((issuer, subject)) => {
                let prefix = subject.strip_suffix('*').unwrap_or(subject);
                (exact(issuer), Part::Prefix(prefix.to_owned()))
            }
            None => (Part::Prefix(rest.to_owned()), Part::Any),
        }
    } else {
        match split {
            Some((issuer, subject)) => (exact(issuer), exact(subject)),
            None => (exact(value), exact("")),
        }
    };
    MatchPair { issuer, subject }
}

impl Part {
    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => Star::Filled.accepts(text.as_bytes()),
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
            assert!(!set.matches(None), "{value} on nobody");
        }
    }
}
