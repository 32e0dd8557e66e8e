//! Claims and the one language that addresses them, for rules and for headers.
//!
//! A path is Istio's brackets, each a literal member name (`[realm_access][roles]`,
//! `[https://example.com/groups]`), with `[*]` over the elements of a list; headers may also use dots
//! (`realm_access.roles`), where a member that is literally so named comes first.

use crate::heap;
use crate::json::{Map, Value};

/// The payload of a token, as signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(pub Map<String, Value>);

/// Who a request speaks for, once verified: what rules and headers are judged on.
///
/// Plain data, so that rules can be tested on literals; the proof that it was verified is
/// [`crate::authenticate::Verified`], which holds one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The rule that accepted the token: its `name`, else its issuer.
    pub provider: String,
    /// The claims, as signed.
    pub claims: Claims,
    /// Top-level claims whose string is a list of words (Istio: `scope`, `permission` and
    /// `spaceDelimitedClaims`), for rules only.
    pub space_delimited: Vec<String>,
}

/// A way to a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimPath(Vec<Segment>);

/// One step of a [`ClaimPath`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Each element of a list: `[*]`.
    Each,
    /// The member of this name.
    Name(String),
}

impl ClaimPath {
    /// A top-level claim.
    pub fn name(name: &str) -> Self {
        Self(vec![Segment::Name(name.to_owned())])
    }

    /// Istio's bracket form, `[a][b]`. Where the text does not split cleanly into groups it is one
    /// name, all between the first and the last bracket (pilot/pkg/security/authz/model/util.go,
    /// spec B9). `None` where it does not begin with `[` and end with `]`.
    pub fn from_brackets(text: &str) -> Option<Self> {
        let inner = text.strip_prefix('[')?.strip_suffix(']')?;
        let mut segments = Vec::new();
        for name in inner.split("][") {
            if name.contains(['[', ']']) {
                return Some(Self::name(inner));
            }
            segments.push(if name == "*" { Segment::Each } else { Segment::Name(name.to_owned()) });
        }
        Some(Self(segments))
    }

    /// The steps, first to last.
    pub fn segments(&self) -> &[Segment] {
        &self.0
    }
}

/// A claim as `outputClaimToHeaders` and `requiredClaims` name it: in brackets, or a plain name, which
/// may be a way through objects joined by dots (Istio) or hold dots itself (`kubernetes.io`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimName {
    /// The name as configured.
    pub text: String,
    literal: Option<ClaimPath>,
    path: ClaimPath,
}

impl ClaimName {
    /// Reads a name. `None` where brackets are opened and not closed.
    pub fn new(text: &str) -> Option<Self> {
        let (literal, path) = if text.starts_with('[') {
            (None, ClaimPath::from_brackets(text)?)
        } else {
            let steps = text.split('.').map(|name| Segment::Name(name.to_owned()));
            (Some(ClaimPath::name(text)), ClaimPath(steps.collect()))
        };
        Some(Self { text: text.to_owned(), literal, path })
    }

    /// The values, a member that is literally so named first.
    pub fn find<'c>(&self, claims: &'c Claims) -> Vec<&'c Value> {
        let literal = self.literal.as_ref().map(|path| claims.find(path)).unwrap_or_default();
        if literal.is_empty() { claims.find(&self.path) } else { literal }
    }
}

impl Claims {
    /// The values that `path` leads to: none where a step is missing, several after `[*]`.
    pub fn find<'c>(&'c self, path: &ClaimPath) -> Vec<&'c Value> {
        let mut found = Vec::new();
        self.any(path, &mut |value| {
            found.push(value);
            false
        });
        found
    }

    /// Whether one of the values that `path` leads to satisfies `test`.
    pub fn any<'c>(&'c self, path: &ClaimPath, test: &mut dyn FnMut(&'c Value) -> bool) -> bool {
        let Some((first, rest)) = path.0.split_first() else { return false };
        let name = match first {
            Segment::Name(name) => name,
            Segment::Each => "*",
        };
        self.0.get(name).is_some_and(|value| leads(value, rest, test))
    }

    /// The memory that they take beside themselves.
    pub fn footprint(&self) -> usize {
        heap::members(&self.0)
    }

    /// A top-level claim.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// A top-level claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name)?.as_str()
    }
}

/// Whether one of the values that the steps lead to, from `value` on, satisfies `test`.
fn leads<'c>(
    value: &'c Value,
    segments: &[Segment],
    test: &mut dyn FnMut(&'c Value) -> bool,
) -> bool {
    let Some((first, rest)) = segments.split_first() else { return test(value) };
    let name = match (first, value) {
        (Segment::Each, Value::Array(items)) => {
            return items.iter().any(|item| leads(item, rest, test));
        }
        // In Istio `[*]` is a member of that name, and leads nowhere in a list.
        (Segment::Each, _) => "*",
        (Segment::Name(name), _) => name,
    };
    value.get(name).is_some_and(|value| leads(value, rest, test))
}

impl Identity {
    /// The words of a top-level string claim that is space-delimited for this identity. `None` where
    /// it is not, or where no word remains: then the string stays a string (spec A14.5).
    pub fn words(&self, name: &str) -> Option<Vec<&str>> {
        if !self.space_delimited.iter().any(|n| n == name) {
            return None;
        }
        let words: Vec<&str> =
            self.claims.text(name)?.split(' ').filter(|w| !w.is_empty()).collect();
        (!words.is_empty()).then_some(words)
    }

    /// `request.auth.scopes`: the union of `scope`, `scp` and `scopes`, each a string of words or a
    /// list (RFC 8693 section 4.2; `scp` is Entra's and Okta's).
    pub fn scopes(&self) -> Vec<&str> {
        let mut scopes = Vec::new();
        for name in ["scope", "scp", "scopes"] {
            match self.claims.get(name) {
                Some(Value::String(words)) => scopes.extend(words.split_ascii_whitespace()),
                Some(Value::Array(items)) => scopes.extend(items.iter().filter_map(Value::as_str)),
                _ => {}
            }
        }
        scopes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        let Value::Object(object) = crate::json::parse(text.as_bytes(), 16).unwrap() else {
            panic!("not an object: {text}")
        };
        Claims(object)
    }

    #[test]
    fn brackets_are_istios() {
        let names = |text: &str| {
            ClaimPath::from_brackets(text).map(|path| {
                path.segments()
                    .iter()
                    .map(|s| match s {
                        Segment::Name(name) => name.clone(),
                        Segment::Each => "<each>".to_owned(),
                    })
                    .collect::<Vec<_>>()
            })
        };
        // istio/istio pilot/pkg/security/authz/model/util_test.go, spec E-M.
        for (text, expected) in [
            ("[good]", Some(vec!["good"])),
            ("[good][abc][xyz]", Some(vec!["good", "abc", "xyz"])),
            ("[]", Some(vec![""])),
            ("[[good]", Some(vec!["[good"])),
            ("[good]]", Some(vec!["good]"])),
            ("[[good]]", Some(vec!["[good]"])),
            ("x[bad]", None),
            ("[bad", None),
            ("bad]", None),
            ("bad", None),
            ("[a][*][b]", Some(vec!["a", "<each>", "b"])),
        ] {
            let expected = expected.map(|v| v.into_iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(names(text), expected, "{text}");
        }
    }

    #[test]
    fn paths_reach_into_objects_and_lists() {
        let claims = claims(r#"{"a":{"b":[{"c":1},{"c":2},3]},"x.y":"z"}"#);
        for (path, count) in
            [("[a][b][*][c]", 2), ("[a][b]", 1), ("[a][c]", 0), ("[x.y]", 1), ("[a][b][c]", 0)]
        {
            let found = claims.find(&ClaimPath::from_brackets(path).unwrap());
            assert_eq!(found.len(), count, "{path}");
        }
    }

    #[test]
    fn a_literal_name_comes_before_a_way() {
        let both = claims(r#"{"a.b":1,"a":{"b":2}}"#);
        let way = claims(r#"{"a":{"b":2}}"#);
        let name = ClaimName::new("a.b").unwrap();
        assert_eq!(name.find(&both), [&Value::from(1)]);
        assert_eq!(name.find(&way), [&Value::from(2)]);
        assert_eq!(ClaimName::new("[a][b]").unwrap().find(&both), [&Value::from(2)]);
        assert_eq!(ClaimName::new("[a"), None);
    }

    #[test]
    fn scopes_are_a_union() {
        let claims = claims(r#"{"scope":"a b","scp":["c"],"scopes":"d"}"#);
        let identity = Identity { claims, ..Identity::default() };
        assert_eq!(identity.scopes(), ["a", "b", "c", "d"]);
    }
}
