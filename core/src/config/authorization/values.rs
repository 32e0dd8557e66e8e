//! The values of a field -> a test, each value checked.

use super::Context;
use crate::codec::problems::{Node, Problems, did_you_mean};
use crate::hash::FastSet;
use crate::policy::authorization::address::AddressSet;
use crate::policy::authorization::attribute::{Address, Attribute};
use crate::policy::authorization::host::HostSet;
use crate::policy::authorization::peer::PeerSet;
use crate::policy::authorization::principal::RequestPrincipalSet;
use crate::policy::authorization::rule::{PathSet, Test};
use crate::policy::authorization::template::{Dialect, InvalidTemplate, Template};
use crate::policy::authorization::text::{TextSet, Wildcard};

/// Reading the policies, and the settings that they may refer to.
pub(crate) struct Reading<'r> {
    pub(super) problems: &'r Problems,
    /// The namespace of the policy that is being read; a service account without a namespace belongs
    /// to it.
    pub(super) namespace: Option<String>,
    context: &'r Context,
}

/// The methods of RFC 9110 and RFC 5789, for a suggestion.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// Istio's limits on service accounts (security/v1beta1/authorization_policy.proto).
const ACCOUNTS: usize = 16;
const ACCOUNT_CHARACTERS: usize = 320;

impl<'r> Reading<'r> {
    pub(super) fn new(context: &'r Context, problems: &'r Problems) -> Self {
        Self { problems, namespace: None, context }
    }

    /// The same, with problems recorded elsewhere.
    pub(super) fn noting<'s>(&'s self, problems: &'s Problems) -> Reading<'s> {
        Reading { problems, namespace: self.namespace.clone(), context: self.context }
    }

    /// A list of texts, each checked; one bad value, and there is no test.
    fn checked<'v>(
        &self,
        node: &Node<'v>,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Vec<&'v str>> {
        let items = node.list(self.problems)?;
        let texts: Vec<Option<&str>> = items
            .iter()
            .map(|item| {
                let text = item.filled_text(self.problems)?;
                match check(text) {
                    Ok(()) => Some(text),
                    Err(problem) => {
                        self.problems.error(&item.at, problem);
                        None
                    }
                }
            })
            .collect();
        texts.into_iter().collect()
    }

    /// Texts of an attribute, in Istio's forms.
    pub(super) fn texts(&self, attribute: Attribute, node: &Node<'_>) -> Option<Test> {
        let wildcard = match &attribute {
            Attribute::Header(_) | Attribute::Method | Attribute::Query(_) => Wildcard::Present,
            _ => Wildcard::Filled,
        };
        let values = self.checked(node, check_stars)?;
        Some(Test::Text(attribute, TextSet::new(values, wildcard)))
    }

    pub(super) fn hosts(&self, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, check_stars)?;
        Some(Test::Host(HostSet::new(values)))
    }

    pub(super) fn methods(&self, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, |value| {
            check_stars(value)?;
            if value.bytes().any(|b| b.is_ascii_lowercase()) {
                let upper = value.to_ascii_uppercase();
                let hint = did_you_mean(&upper, METHODS.into_iter().filter(|m| *m == upper));
                return Err(format!(
                    "expected a method in upper case, found `{value}`: methods are compared with \
                     their case, so it would never match{hint}"
                ));
            }
            Ok(())
        })?;
        Some(Test::Text(Attribute::Method, TextSet::new(values, Wildcard::Present)))
    }

    pub(super) fn paths(&self, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, |value| match Template::parse(value, Dialect::Usher) {
            Some(Ok(_)) => Ok(()),
            Some(Err(invalid)) => Err(template_problem(value, invalid)),
            None => check_stars(value),
        })?;
        let mut set = PathSet::default();
        let mut texts = Vec::new();
        for value in values {
            match Template::parse(value, Dialect::Usher) {
                Some(template) => set.templates.extend(template.ok()),
                None => texts.push(value),
            }
        }
        set.texts = TextSet::new(texts, Wildcard::Filled);
        Some(Test::Path(set))
    }

    /// `ports`, `destination.port`.
    pub(super) fn ports(&self, node: &Node<'_>) -> Option<Test> {
        let port = |value: &str| {
            let digits = value.bytes().all(|b| b.is_ascii_digit());
            value.parse::<u16>().ok().filter(|_| digits)
        };
        let values = self.checked(node, |value| match port(value) {
            Some(_) => Ok(()),
            None => Err(format!("expected a port from 0 to 65535, found `{value}`")),
        })?;
        Some(Test::Port(values.into_iter().filter_map(port).collect::<FastSet<u16>>()))
    }

    fn addresses(&self, address: Address, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, |value| match AddressSet::default().add(value) {
            Some(()) => Ok(()),
            None => Err(format!("expected an IP address or a CIDR block, found `{value}`")),
        })?;
        let mut set = AddressSet::default();
        for value in values {
            set.add(value)?;
        }
        Some(Test::Address(address, set))
    }

    /// `ipBlocks`, `source.ip`: only if the TCP peer is known from a source that no client can
    /// write.
    pub(super) fn source_ip(&self, node: &Node<'_>) -> Option<Test> {
        if !self.context.source_address {
            self.problems.error(
                &node.at,
                "needs `sourceAddress`: the proxy tells a plugin the address that `x-forwarded-for` \
                 names, which any client can choose, and not the TCP peer; give \
                 `sourceAddress: {filterState: KEY}` (see docs/configuration.md), or use \
                 `remoteIpBlocks`",
            );
        }
        self.addresses(Address::Source, node)
    }

    pub(super) fn remote_ip(&self, node: &Node<'_>) -> Option<Test> {
        self.addresses(Address::Remote, node)
    }

    pub(super) fn destination_ip(&self, node: &Node<'_>) -> Option<Test> {
        self.addresses(Address::Destination, node)
    }

    pub(super) fn principals(&self, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, |value| {
            // A star in the trust domain is for aliases (docs/semantics.md, "Trust domain aliases");
            // elsewhere only first or last.
            let rest = value.split_once('/').map_or(value, |(_, rest)| rest);
            let last = rest.strip_suffix('*').unwrap_or(rest);
            if value.contains('/') && last.contains('*') {
                Err(star_problem(value))
            } else {
                Ok(())
            }
        })?;
        let values = expand_principals(&values, &self.trust_domains());
        let set = PeerSet::principals(values.iter().map(String::as_str));
        Some(Test::Peer(set))
    }

    pub(super) fn namespaces(&self, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, |_| Ok(()))?;
        Some(Test::Peer(PeerSet::namespaces(values)))
    }

    pub(super) fn service_accounts(&self, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, |value| self.check_account(value))?;
        if values.len() > ACCOUNTS {
            let found = values.len();
            self.problems
                .error(&node.at, format!("expected at most {ACCOUNTS} values, found {found}"));
            return None;
        }
        let home = self.namespace.clone().unwrap_or_default();
        Some(Test::Peer(PeerSet::service_accounts(values, &home)))
    }

    fn check_account(&self, value: &str) -> Result<(), String> {
        if value.chars().count() > ACCOUNT_CHARACTERS {
            return Err(format!("expected at most {ACCOUNT_CHARACTERS} characters"));
        }
        if value.contains('*') {
            return Err(format!("expected a service account without wildcard, found `{value}`"));
        }
        match value.split_once('/') {
            None if self.namespace.is_none() => Err(format!(
                "expected `namespace/{value}`, found `{value}`: the policy has no `namespace` that it \
                 could belong to"
            )),
            None => Ok(()),
            Some((namespace, account))
                if namespace.is_empty() || account.is_empty() || account.contains('/') =>
            {
                Err(format!("expected `account` or `namespace/account`, found `{value}`"))
            }
            Some(_) => Ok(()),
        }
    }

    /// `trustDomains`, where Istio refuses a slash.
    pub(super) fn trust_domain_field(&self, node: &Node<'_>) -> Option<Test> {
        for item in node.list(self.problems)? {
            if item.value.as_str().is_some_and(|text| text.contains('/')) {
                return item.expected("a trust domain, which holds no `/`", self.problems);
            }
        }
        self.trust_domain(node)
    }

    pub(super) fn trust_domain(&self, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, |value| {
            let stars = value.matches('*').count();
            let outside = value.starts_with('*') || value.ends_with('*');
            match stars {
                0 => Ok(()),
                1 if outside => Ok(()),
                _ => Err(format!(
                    "expected at most one `*`, at the start or the end, found `{value}`"
                )),
            }
        })?;
        let known = self.trust_domains();
        let mut expanded: Vec<&str> = Vec::new();
        for value in &values {
            if known.iter().any(|td| td == value) {
                expanded.extend(known.iter().map(String::as_str));
            } else {
                expanded.push(value);
            }
        }
        let set = PeerSet::trust_domains(expanded);
        Some(Test::Peer(set))
    }

    pub(super) fn request_principals(&self, node: &Node<'_>) -> Option<Test> {
        for item in node.list(self.problems)? {
            if let Some(value) = item.value.as_str().filter(|value| has_literal_star(value)) {
                self.problems.warning(
                    "inner-star",
                    &item.at,
                    format!("of `{value}` the second `*` is compared as a star, as in Istio"),
                );
            }
        }
        let values = self.checked(node, |_| Ok(()))?;
        Some(Test::RequestPrincipal(RequestPrincipalSet::new(values)))
    }

    /// `experimental.envoy.filters.*`: `[v]` matches a list, `v` a string (docs/semantics.md,
    /// "Conditions").
    pub(super) fn metadata(&self, filter: &str, key: &str, node: &Node<'_>) -> Option<Test> {
        let values = self.checked(node, |value| check_stars(trimmed(value).unwrap_or(value)))?;
        let (lists, texts): (Vec<_>, Vec<_>) =
            values.into_iter().partition(|v| trimmed(v).is_some());
        Some(Test::Metadata {
            filter: filter.to_owned(),
            key: key.to_owned(),
            text: TextSet::new(texts, Wildcard::Filled),
            list: TextSet::new(lists.into_iter().filter_map(trimmed), Wildcard::Filled),
        })
    }

    fn trust_domains(&self) -> Vec<String> {
        let known = &self.context.trust_domains;
        if known.is_empty() { vec!["cluster.local".to_owned()] } else { known.clone() }
    }
}

/// The `v` in `[v]`: Go's `strings.Trim(value, "[]")`.
fn trimmed(value: &str) -> Option<&str> {
    (value.starts_with('[') && value.ends_with(']')).then(|| value.trim_matches(['[', ']']))
}

/// A star is a wildcard at one end only (istio/istio pilot/pkg/security/authz/matcher/string.go).
fn check_stars(value: &str) -> Result<(), String> {
    let rest = value.strip_prefix('*').unwrap_or_else(|| value.strip_suffix('*').unwrap_or(value));
    if rest.contains('*') { Err(star_problem(value)) } else { Ok(()) }
}

fn star_problem(value: &str) -> String {
    format!(
        "expected `*` at the start or the end only, found `{value}`: elsewhere it would be compared as \
         a star"
    )
}

/// Whether a request principal has a star beyond those of the forms in docs/semantics.md, "Request
/// principals": `*`, `*suf`, `p*`, `iss/*`, `iss/p*`, `*/sub`, `*suf/sub`. `*/*` matches only a
/// subject that is a star.
fn has_literal_star(value: &str) -> bool {
    let rest = value.strip_prefix('*').unwrap_or_else(|| value.strip_suffix('*').unwrap_or(value));
    rest.contains('*')
}

fn template_problem(value: &str, invalid: InvalidTemplate) -> String {
    let why = match invalid {
        InvalidTemplate::BehindRest => "`{**}` must be the last operator",
        InvalidTemplate::Brace => {
            "a brace belongs to no operator; operators are `{*}`, `{**}`, `{name}` and `{name=**}`"
        }
        InvalidTemplate::Literal => {
            "a segment beside the operators is empty, or holds what no path segment may"
        }
        InvalidTemplate::NoSlash => "it does not begin with `/`, so it would never match",
        InvalidTemplate::TooLong => "it has more than 256 characters, which Envoy refuses",
    };
    format!("expected a path template, found `{value}`: {why}")
}

/// Trust domain aliases (istio/istio pilot/pkg/security/trustdomain/bundle.go).
fn expand_principals(values: &[&str], known: &[String]) -> Vec<String> {
    let mut expanded: Vec<String> = Vec::new();
    let mut seen: FastSet<Box<[u8]>> = FastSet::default();
    let mut add = |value: String| {
        if seen.insert(value.as_bytes().into()) {
            expanded.push(value);
        }
    };
    for value in values {
        let parts: Vec<&str> = value.split('/').collect();
        let [td, rest @ ..] = parts.as_slice() else { continue };
        let is_known = *td == "cluster.local" || known.iter().any(|k| same_domain(td, k));
        if rest.len() != 4 || *td == "*" || !is_known {
            add((*value).to_owned());
            continue;
        }
        for domain in known {
            match td.strip_prefix('*') {
                Some(suffix) if domain.ends_with(suffix) => add((*value).to_owned()),
                _ => add(format!("{domain}/{}", rest.join("/"))),
            }
        }
    }
    expanded
}

/// Equal, or matched by a star at one end of either.
fn same_domain(a: &str, b: &str) -> bool {
    let matches = |pattern: &str, text: &str| {
        if let Some(suffix) = pattern.strip_prefix('*') {
            text.ends_with(suffix)
        } else if let Some(prefix) = pattern.strip_suffix('*') {
            text.starts_with(prefix)
        } else {
            text == pattern
        }
    };
    matches(a, b) || matches(b, a)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// istio/istio pilot/pkg/security/trustdomain/bundle_test.go.
    #[test]
    fn aliases_are_istios() {
        for (known, value, expected) in [
            (
                vec!["td2", "td1"],
                "td1/ns/foo/sa/bar",
                vec!["td2/ns/foo/sa/bar", "td1/ns/foo/sa/bar"],
            ),
            (
                vec!["td1", "cluster.local"],
                "cluster.local/ns/foo/sa/bar",
                vec!["td1/ns/foo/sa/bar", "cluster.local/ns/foo/sa/bar"],
            ),
            (vec!["td1"], "*", vec!["*"]),
            (vec!["td1"], "*/ns/foo/sa/bar", vec!["*/ns/foo/sa/bar"]),
            (vec!["td1"], "*sa/zzz", vec!["*sa/zzz"]),
            (
                vec!["td2", "foo-td1", "cluster.local"],
                "*-td1/ns/foo/sa/bar",
                vec!["td2/ns/foo/sa/bar", "*-td1/ns/foo/sa/bar", "cluster.local/ns/foo/sa/bar"],
            ),
            (vec!["td1", "td2"], "some-td/ns/foo/sa/bar", vec!["some-td/ns/foo/sa/bar"]),
            (vec!["new-td", "old-td"], "*-td/ns/s/sa/s", vec!["*-td/ns/s/sa/s"]),
            (vec!["td1"], "/ns/some-ns/sa/some-sa", vec!["/ns/some-ns/sa/some-sa"]),
        ] {
            let known: Vec<String> = known.into_iter().map(str::to_owned).collect();
            assert_eq!(expand_principals(&[value], &known), expected, "{value} with {known:?}");
        }
    }
}
