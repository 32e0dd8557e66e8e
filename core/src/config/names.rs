//! Names of headers and of claims, as a configuration writes them.

use crate::claims::ClaimName;
use crate::codec::problems::{Node, Problems};

/// Headers that frame the message or name the host: setting or stripping one breaks the request.
const FRAMING: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A header name (RFC 9110 section 5.6.2), in lower case as in Envoy.
pub(super) fn header_name(node: &Node<'_>, problems: &Problems) -> Option<String> {
    let name = node.filled_text(problems)?;
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if !name.bytes().all(is_token) {
        return node.expected("a header name", problems);
    }
    Some(name.to_ascii_lowercase())
}

/// The name of a header that Usher sets or strips.
pub(super) fn emitted_name(node: &Node<'_>, problems: &Problems) -> Option<String> {
    let name = header_name(node, problems)?;
    if FRAMING.contains(&name.as_str()) {
        return node.expected("a header that does not frame the message", problems);
    }
    Some(name)
}

/// A claim.
pub(super) fn claim_name(node: &Node<'_>, problems: &Problems) -> Option<ClaimName> {
    let text = node.filled_text(problems)?;
    let Some(name) = ClaimName::new(text) else {
        return node.expected("a claim such as `groups`, `a.b` or `[a][b]`", problems);
    };
    if let Some(meant) = name.probably_meant() {
        let problem = format!(
            "`{text}` is split at its dots and nowhere else, as in Istio; did you mean the claim `{meant}`?"
        );
        problems.warning("claim-name", &node.at, problem);
    }
    Some(name)
}

/// A list of top-level claims, each by its literal name.
pub(super) fn top_level_claims(node: &Node<'_>, problems: &Problems) -> Option<Vec<String>> {
    let names = node.texts(problems)?;
    for (index, name) in names.iter().enumerate() {
        if name.starts_with('[') && name.ends_with(']') {
            let problem = format!(
                "names top-level claims as they are: no token has a claim `{name}` unless its brackets are part \
                 of the name"
            );
            problems.warning("claim-name", format!("{}[{index}]", node.at), problem);
        }
    }
    Some(names.into_iter().map(str::to_owned).collect())
}
