//! Request principals: `iss/sub` of the verified token.
//!
//! Source: istio/istio pilot/pkg/security/authz/model/generator.go (requestPrincipalGenerator). Both
//! are stored separately; the slash is only notation.

use super::text::TextSet;

/// Values, any of which may match.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestPrincipalSet {
    pub(crate) exact: TextSet,
    pub(crate) pairs: Vec<MatchPair>,
}

#[derive(Clone, Debug)]
pub(crate) struct MatchPair {
    pub(crate) issuer: Part,
    pub(crate) subject: Part,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
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

    /// Whether one of the values is `*`, which matches any caller with a token.
    pub(crate) fn is_anyone(&self) -> bool {
        self.pairs.iter().any(|pair| pair.issuer == Part::Any && pair.subject == Part::Any)
    }
}

/// A key that is different for each pair: no JSON string of a claim can end inside the length.
pub(crate) fn joined(issuer: &str, subject: &str) -> Vec<u8> {
    [&issuer.len().to_le_bytes(), issuer.as_bytes(), subject.as_bytes()].concat()
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
