//! Claims and the one language that addresses them, for rules and for headers.
//!
//! A path is Istio's brackets, each a literal member name (`[realm_access][roles]`,
//! `[https://example.com/groups]`), with `[*]` over the elements of a list. `outputClaimToHeaders` and
//! `requiredClaims` may also use dots, each of which leads into an object (`realm_access.roles`).

use std::rc::Rc;

use crate::codec::json::{Map, Value};
use crate::heap;

/// The payload of a token, as signed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims(pub Map<String, Value>);

/// The caller of a request, once verified: the input of rules and headers.
///
/// Plain data, so that rules can be tested on literals; [`crate::authenticate::Verified`] is the proof that
/// it was verified, and holds one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The rule that accepted the token: its `name`, else its issuer.
    pub provider: String,
    /// The claims, as signed.
    pub claims: Claims,
    /// Top-level claims whose string is a list of words (Istio: `scope`, `permission` and
    /// `spaceDelimitedClaims`), for rules and for headers with a `format`. Sorted.
    pub space_delimited: Rc<[String]>,
}

/// A path to a claim.
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

    /// Istio's bracket form, `[a][b]`. A text that does not split cleanly into groups is one name: all
    /// between the first and the last bracket (istio/istio pilot/pkg/security/authz/model/util.go). `None`
    /// if it does not begin with `[` and end with `]`.
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

/// A claim as `outputClaimToHeaders` and `requiredClaims` name it: in brackets, or names joined by dots, as
/// in Istio. One spelling addresses one claim, independent of the other claims in a token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClaimName {
    /// The name as configured.
    pub text: String,
    path: ClaimPath,
}

impl ClaimName {
    /// Parses a name. `None` if a bracket is not closed.
    pub fn new(text: &str) -> Option<Self> {
        let path = if text.starts_with('[') {
            ClaimPath::from_brackets(text)?
        } else {
            // Envoy splits at each dot (google/jwt_verify_lib src/struct_utils.cc): a member whose name
            // contains a dot needs brackets.
            ClaimPath(text.split('.').map(|name| Segment::Name(name.to_owned())).collect())
        };
        Some(Self { text: text.to_owned(), path })
    }

    /// The values.
    pub fn find<'c>(&self, claims: &'c Claims) -> Vec<&'c Value> {
        claims.find(&self.path)
    }

    /// Whether it leads to elements of a list (`[*]`), which are a list even if there is only one.
    pub fn leads_to_elements(&self) -> bool {
        self.path.segments().contains(&Segment::Each)
    }

    /// The name, if it is that of a top-level claim.
    pub fn top_level(&self) -> Option<&str> {
        match self.path.segments() {
            [Segment::Name(name)] => Some(name),
            _ => None,
        }
    }

    /// The name in Istio's own spelling, which has no brackets; `None` if Istio cannot address that claim.
    pub fn dotted(&self) -> Option<String> {
        let names = self.path.segments().iter().map(|segment| match segment {
            Segment::Name(name) if !name.contains('.') => Some(name.as_str()),
            Segment::Name(_) | Segment::Each => None,
        });
        Some(names.collect::<Option<Vec<&str>>>()?.join("."))
    }

    /// The bracket spelling that was probably meant, if dots split what looks like one name: a URL
    /// (`https://example.com/roles`), a domain (`kubernetes.io`), or brackets that do not begin the name.
    pub fn probably_meant(&self) -> Option<String> {
        let text = self.text.as_str();
        if text.starts_with('[') {
            return None;
        }
        if let Some((name, rest)) = text.split_once('[')
            && rest.ends_with(']')
        {
            return Some(format!("[{name}][{rest}"));
        }
        let (name, rest) = text.split_once('.')?;
        if text.contains(['/', ':']) {
            return Some(format!("[{text}]"));
        }
        let mut rest = rest.split('.');
        let domain = rest.next().filter(|word| TOP_LEVEL_DOMAINS.contains(word))?;
        Some(rest.fold(format!("[{name}.{domain}]"), |path, name| format!("{path}[{name}]")))
    }
}

/// Domains that claims are known to be named after.
const TOP_LEVEL_DOMAINS: [&str; 8] = ["app", "cloud", "com", "dev", "io", "local", "net", "org"];

impl Claims {
    /// The values at `path`: none if a step is missing, several after `[*]`.
    pub fn find<'c>(&'c self, path: &ClaimPath) -> Vec<&'c Value> {
        let mut found = Vec::new();
        self.any(path, &mut |value| {
            found.push(value);
            false
        });
        found
    }

    /// Whether one of the values at `path` satisfies `test`.
    pub fn any<'c>(&'c self, path: &ClaimPath, test: &mut dyn FnMut(&'c Value) -> bool) -> bool {
        let Some((first, rest)) = path.0.split_first() else { return false };
        let name = match first {
            Segment::Name(name) => name,
            Segment::Each => "*",
        };
        self.0.get(name).is_some_and(|value| leads(value, rest, test))
    }

    /// The memory that they take, in addition to the value itself.
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

/// Whether one of the values that the steps lead to, starting at `value`, satisfies `test`.
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
        // In Istio `[*]` is a member of that name, and addresses nothing in a list.
        (Segment::Each, _) => "*",
        (Segment::Name(name), _) => name,
    };
    value.get(name).is_some_and(|value| leads(value, rest, test))
}

impl Identity {
    /// The words of a top-level string claim that is space-delimited for this identity. `None` if it is
    /// not, or if no word remains: then the string stays a string (docs/semantics.md, "Space-delimited
    /// claims").
    pub fn words(&self, name: &str) -> Option<Vec<&str>> {
        if self.space_delimited.binary_search_by(|known| known.as_str().cmp(name)).is_err() {
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
        let Value::Object(object) = crate::codec::json::parse(text.as_bytes(), 16).unwrap() else {
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
        // istio/istio pilot/pkg/security/authz/model/util_test.go.
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
    fn a_name_leads_to_one_claim_whatever_else_a_token_holds() {
        let both = r#"{"a.b":1,"a":{"b":2,"c":{"d":3},"c.d":4},"a.c":{"d":5},"https://x.y/r":6}"#;
        for (name, token, expected) in [
            ("a.b", both, Some(2)),
            ("a.b", r#"{"a.b":1}"#, None),
            ("a.b", r#"{"a.b":1,"a":{}}"#, None),
            ("a.b", r#"{"a.b":1,"a":7}"#, None),
            ("[a.b]", both, Some(1)),
            ("[a.b]", r#"{"a":{"b":2}}"#, None),
            ("[a][b]", both, Some(2)),
            ("[a][b]", r#"{"a.b":1}"#, None),
            ("a.c.d", both, Some(3)),
            ("[a][c.d]", both, Some(4)),
            ("[a.c][d]", both, Some(5)),
            ("https://x.y/r", both, None),
            ("[https://x.y/r]", both, Some(6)),
            ("a", r#"{"a":8}"#, Some(8)),
            ("[a]", r#"{"a":8}"#, Some(8)),
            ("a.", r#"{"a":8,"a.":9}"#, None),
            (".a", r#"{"a":8,".a":9}"#, None),
        ] {
            let claims = claims(token);
            let found = ClaimName::new(name).unwrap().find(&claims);
            assert_eq!(
                found,
                expected.map(Value::from).iter().collect::<Vec<_>>(),
                "{name} {token}"
            );
        }
        for (name, dotted) in [
            ("a", Some("a")),
            ("a.b", Some("a.b")),
            ("[a][b]", Some("a.b")),
            ("[a.b]", None),
            ("[a][*]", None),
        ] {
            assert_eq!(ClaimName::new(name).unwrap().dotted().as_deref(), dotted, "{name}");
        }
        assert_eq!(ClaimName::new("[a"), None);
        assert_eq!(ClaimName::new("[a].b"), None);
    }

    #[test]
    fn names_that_probably_mean_another_claim_are_told() {
        for (name, expected) in [
            ("sub", None),
            ("realm_access.roles", None),
            ("resource_access.my-app.roles", None),
            ("https://example.com/roles", Some("[https://example.com/roles]")),
            ("urn:example.org", Some("[urn:example.org]")),
            ("example.com/roles", Some("[example.com/roles]")),
            ("https://roles", None),
            ("kubernetes.io", Some("[kubernetes.io]")),
            ("kubernetes.io.serviceaccount.name", Some("[kubernetes.io][serviceaccount][name]")),
            ("realm_access[roles]", Some("[realm_access][roles]")),
            ("realm_access[roles][0]", Some("[realm_access][roles][0]")),
            ("[kubernetes.io]", None),
            ("[https://example.com/roles]", None),
        ] {
            let name = ClaimName::new(name).unwrap();
            assert_eq!(name.probably_meant().as_deref(), expected, "{}", name.text);
        }
    }

    #[test]
    fn scopes_are_a_union() {
        let claims = claims(r#"{"scope":"a b","scp":["c"],"scopes":"d"}"#);
        let identity = Identity { claims, ..Identity::default() };
        assert_eq!(identity.scopes(), ["a", "b", "c", "d"]);
    }
}
