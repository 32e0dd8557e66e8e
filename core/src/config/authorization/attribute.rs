//! The key of a condition -> the attribute that it names.

use super::values::Reading;
use crate::claims::ClaimPath;
use crate::codec::problems::{Node, did_you_mean};
use crate::policy::authorization::attribute::Attribute;
use crate::policy::authorization::rule::{Operand, Test};
use crate::policy::authorization::values_from::ValueSource;

/// An attribute of docs/semantics.md, "Conditions", or one of Usher's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    DestinationIp,
    DestinationPort,
    Metadata { filter: String, key: String },
    Namespace,
    Principal,
    RemoteIp,
    RequestPrincipal,
    ServiceAccount,
    SourceIp,
    Text(Attribute),
    TrustDomain,
}

const EXPERIMENTAL: &str = "experimental.";
const FILTERS: &str = "envoy.filters.";

/// Keys that Istio's validation recognizes but no longer supports, and what it says about them.
const GONE: [(&str, &str); 4] = [
    ("destination.namespace", "the policy's own namespace says that"),
    ("destination.labels", "the plugin's selector says that"),
    ("destination.name", "it was in v1alpha1 only"),
    ("destination.user", "it was in v1alpha1 only"),
];

impl Key {
    fn simple() -> [(&'static str, Self); 15] {
        let text = Self::Text;
        [
            ("connection.sni", text(Attribute::Sni)),
            ("destination.ip", Self::DestinationIp),
            ("destination.port", Self::DestinationPort),
            ("remote.ip", Self::RemoteIp),
            ("request.auth.actor", text(Attribute::Actor)),
            ("request.auth.audiences", text(Attribute::Claim(ClaimPath::name("aud")))),
            ("request.auth.presenter", text(Attribute::Claim(ClaimPath::name("azp")))),
            ("request.auth.principal", Self::RequestPrincipal),
            ("request.auth.provider", text(Attribute::Provider)),
            ("request.auth.scopes", text(Attribute::Scope)),
            ("source.ip", Self::SourceIp),
            ("source.namespace", Self::Namespace),
            ("source.principal", Self::Principal),
            ("source.serviceAccount", Self::ServiceAccount),
            ("source.trustDomain", Self::TrustDomain),
        ]
    }

    /// Parses a key; if there is no such key, returns the problem as text.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let known = Self::simple();
        if let Some((_, key)) = known.iter().find(|(name, _)| *name == text) {
            return Ok(key.clone());
        }
        let bracketed = |prefix: &str| text.strip_prefix(prefix).filter(|rest| !rest.is_empty());
        if let Some(rest) = bracketed("request.headers") {
            let name = one_bracket(rest).ok_or_else(|| bad_form(text, "request.headers[name]"))?;
            let name = name.to_ascii_lowercase();
            // In Envoy the host is a pseudo header.
            let name = if name == "host" { ":authority".to_owned() } else { name };
            return Ok(Self::Text(Attribute::Header(name)));
        }
        if let Some(rest) = bracketed("request.query") {
            let name = one_bracket(rest).ok_or_else(|| bad_form(text, "request.query[name]"))?;
            return Ok(Self::Text(Attribute::Query(name.to_owned())));
        }
        if let Some(rest) = bracketed("request.auth.claims") {
            let path = ClaimPath::from_brackets(rest).filter(|_| rest.len() > 2);
            let path = path.ok_or_else(|| bad_form(text, "request.auth.claims[name]"))?;
            return Ok(Self::Text(Attribute::Claim(path)));
        }
        if let Some(rest) = bracketed(EXPERIMENTAL).and_then(|rest| rest.strip_prefix(FILTERS)) {
            let form = || bad_form(text, "experimental.envoy.filters.name[key]");
            let (filter, key) = rest.split_once('[').ok_or_else(form)?;
            let key = key.strip_suffix(']').filter(|key| !key.is_empty()).ok_or_else(form)?;
            return Ok(Self::Metadata {
                filter: format!("{FILTERS}{filter}"),
                key: key.to_owned(),
            });
        }
        Err(unknown(text, known.iter().map(|(name, _)| *name)))
    }

    /// Reads values of this attribute.
    pub(super) fn test(&self, reading: &Reading<'_>, node: &Node<'_>) -> Option<Test> {
        match self {
            Self::DestinationIp => reading.destination_ip(node),
            Self::DestinationPort => reading.ports(node),
            Self::Metadata { filter, key } => reading.metadata(filter, key, node),
            Self::Namespace => reading.namespaces(node),
            Self::Principal => reading.principals(node),
            Self::RemoteIp => reading.remote_ip(node),
            Self::RequestPrincipal => reading.request_principals(node),
            Self::ServiceAccount => reading.service_accounts(node),
            Self::SourceIp => reading.source_ip(node),
            Self::Text(attribute) => reading.texts(attribute.clone(), node),
            Self::TrustDomain => reading.trust_domain(node),
        }
    }

    /// The attribute, if it is one with texts.
    pub(super) fn attribute(self) -> Option<Attribute> {
        match self {
            Self::Text(attribute) => Some(attribute),
            _ => None,
        }
    }
}

/// An entry of `valuesFrom`: an attribute with texts, or `path.name`, a capture of the rule's paths.
pub(super) fn source(text: &str, to: &[Operand]) -> Result<ValueSource, String> {
    if let Some(name) = text.strip_prefix("path.") {
        let tests = to.iter().flatten().filter_map(|condition| condition.values.as_ref());
        let mut templates = tests.flat_map(|test| match test {
            Test::Path(set) => set.templates.as_slice(),
            _ => &[],
        });
        return match templates.any(|template| template.names().any(|n| n == name)) {
            true => Ok(ValueSource::Path(name.to_owned())),
            false => Err(format!("no path of this rule captures `{{{name}}}`")),
        };
    }
    match Key::parse(text)?.attribute() {
        Some(attribute) => Ok(ValueSource::Attribute(attribute)),
        None => Err(format!("expected an attribute with texts or `path.NAME`, found `{text}`")),
    }
}

/// The text between one pair of brackets around the whole.
fn one_bracket(text: &str) -> Option<&str> {
    text.strip_prefix('[')?.strip_suffix(']').filter(|name| !name.is_empty())
}

fn bad_form(text: &str, form: &str) -> String {
    // `request.auth.claims.groups`: a dot where the bracket belongs.
    let prefix = form.split('[').next().unwrap_or_default();
    let name = text.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('.'));
    let hint = match name.filter(|name| !name.is_empty() && !name.contains(['[', ']'])) {
        Some(name) => format!("; did you mean `{prefix}[{name}]`?"),
        None => String::new(),
    };
    format!("expected a key such as `{form}`, found `{text}`{hint}")
}

fn unknown<'n>(text: &str, known: impl Iterator<Item = &'n str>) -> String {
    if let Some((_, why)) = GONE.iter().find(|(name, _)| {
        text.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['))
    }) {
        return format!("unknown attribute `{text}`: {why}");
    }
    // The name without its bracket is usually what is misspelt: `request.auth.claim[groups]`.
    let (name, bracket) = match text.find('[') {
        Some(at) => (text.get(..at).unwrap_or(text), text.get(at..).unwrap_or_default()),
        None => (text, ""),
    };
    if !bracket.is_empty() {
        let forms = ["request.auth.claims", "request.headers", "request.query"];
        let hint = did_you_mean(name, forms.into_iter());
        if let Some(hint) = hint.strip_suffix("`?") {
            return format!("unknown attribute `{text}`{hint}{bracket}`?");
        }
    }
    let hint = did_you_mean(text, known);
    format!("unknown attribute `{text}`{hint}")
}
