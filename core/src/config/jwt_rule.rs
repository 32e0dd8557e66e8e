//! One entry of `jwtRules` -> [`JwtRule`].

use std::rc::Rc;
use std::time::Duration;

use super::places::{self, header_name};
use super::{Context, is_empty, keys};
use crate::claims::ClaimName;
use crate::codec::problems::{Node, Object, Problems};
use crate::crypto::Algorithm;
use crate::policy::Keys;
use crate::policy::{ClaimFormat, PayloadEncoding, TextEncoding};
use crate::policy::{ClaimHeader, Emission, PayloadHeader};
use crate::policy::{
    Expiration, Forward, JwtRule, MatchSubject, RequiredClaim, normalize_audience, normalize_type,
};

/// Envoy's default (docs/semantics.md, "Expiration and clock skew").
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Claims that Istio always reads as lists of words (istio/istio
/// pilot/pkg/security/authn/policy_applier.go, `buildSpaceDelimitedClaims`).
const SPACE_DELIMITED: [&str; 2] = ["permission", "scope"];

/// Headers that frame the message or name the host: to set or strip one breaks the request.
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

/// Reads the whole list.
pub(super) fn read_all(node: &Node<'_>, context: &mut Context<'_>) -> Option<Vec<JwtRule>> {
    let items = node.list(context.problems)?;
    let rules: Vec<Option<JwtRule>> = items.iter().map(|item| read(item, context)).collect();
    rules.into_iter().collect()
}

fn read(node: &Node<'_>, context: &mut Context<'_>) -> Option<JwtRule> {
    let problems = context.problems;
    let object = node.object(problems)?;
    let issuer = issuer(&object, problems);
    let name = object.field("name").and_then(|n| n.filled_text(problems)).map(str::to_owned);
    let algorithms = algorithms(&object, problems);
    let places = places::read(&object, context);
    let keys = keys::read(&object, issuer.as_deref(), algorithms.as_deref(), context);
    let forward = match flag(&object, "forwardOriginalToken", false, problems) {
        true => Forward::Keep,
        false => Forward::Withhold,
    };
    let expiration = match flag(&object, "requireExpiration", true, problems) {
        true => Expiration::Required,
        false => Expiration::Optional,
    };
    let seconds = |field| object.field(field).and_then(|n| n.duration(problems));
    let rule = JwtRule {
        provider: name.or_else(|| issuer.clone()).unwrap_or_else(|| "any".to_owned()),
        audiences: texts(&object, "audiences", problems)
            .iter()
            .map(|audience| normalize_audience(audience).to_owned())
            .collect(),
        places,
        forward,
        emission: emission(&object, problems),
        space_delimited: space_delimited(&object, problems),
        clock_skew: seconds("clockSkew").unwrap_or(CLOCK_SKEW).as_secs(),
        expiration,
        max_lifetime: seconds("maxLifetime").map(|d| d.as_secs()),
        max_age: seconds("maxAge").map(|d| d.as_secs()),
        subjects: subjects(&object, problems),
        required_claims: required_claims(&object, problems),
        types: types(&object, problems),
        issuer,
        // What is wrong with them was noted: this rule comes into no policy.
        keys: keys.unwrap_or_else(|| Keys::Inline(Rc::default())),
        algorithms,
    };
    object.finish(problems);
    Some(rule)
}

fn flag(object: &Object<'_>, name: &'static str, default: bool, problems: &Problems) -> bool {
    object.field(name).and_then(|n| n.boolean(problems)).unwrap_or(default)
}

fn texts<'v>(object: &Object<'v>, name: &'static str, problems: &Problems) -> Vec<&'v str> {
    object.field(name).and_then(|n| n.texts(problems)).unwrap_or_default()
}

fn types(object: &Object<'_>, problems: &Problems) -> Vec<String> {
    // Usher's own field: an empty list must not open what a list with an entry closes.
    if let Some(node) = object.field("types").filter(|node| is_empty(node.value)) {
        node.expected::<()>("at least one type, or no `types` for any", problems);
    }
    texts(object, "types", problems).iter().map(|typ| normalize_type(typ)).collect()
}

fn issuer(object: &Object<'_>, problems: &Problems) -> Option<String> {
    let any = flag(object, "anyIssuer", false, problems);
    let issuer = object.field("issuer");
    match (&issuer, any) {
        (Some(node), true) => {
            problems.error(&node.at, "expected either `issuer` or `anyIssuer: true`, found both")
        }
        (None, false) => problems.error(
            &object.at,
            "missing field `issuer`; a rule for tokens of any issuer says `anyIssuer: true`",
        ),
        _ => {}
    }
    issuer.and_then(|node| node.filled_text(problems)).map(str::to_owned)
}

fn algorithms(object: &Object<'_>, problems: &Problems) -> Option<Vec<Algorithm>> {
    let node = object.field("algorithms")?;
    let items = node.list(problems)?;
    if items.is_empty() {
        return node.expected("at least one algorithm", problems);
    }
    let words: Vec<(&str, Algorithm)> = Algorithm::names().collect();
    items.iter().map(|item| item.one_of(&words, problems)).collect()
}

fn space_delimited(object: &Object<'_>, problems: &Problems) -> Rc<[String]> {
    let given = top_level_claims(object, "spaceDelimitedClaims", problems).unwrap_or_default();
    let mut claims: Vec<String> =
        SPACE_DELIMITED.into_iter().chain(given).map(str::to_owned).collect();
    claims.sort_unstable();
    claims.dedup();
    claims.into()
}

fn subjects(object: &Object<'_>, problems: &Problems) -> Vec<MatchSubject> {
    let Some(node) = object.field("subjects") else {
        return Vec::new();
    };
    let mut subjects = Vec::new();
    let Some(forms) = node.object(problems) else {
        return subjects;
    };
    let texts = |kind| match forms.field(kind) {
        Some(field) if field.value.is_array() => field.texts(problems).unwrap_or_default(),
        Some(field) => field.filled_text(problems).into_iter().collect(),
        None => Vec::new(),
    };
    subjects.extend(texts("exact").into_iter().map(|t| MatchSubject::Exact(t.to_owned())));
    subjects.extend(texts("prefix").into_iter().map(|t| MatchSubject::Prefix(t.to_owned())));
    subjects.extend(texts("suffix").into_iter().map(|t| MatchSubject::Suffix(t.to_owned())));
    forms.finish(problems);
    if subjects.is_empty() && problems.is_valid() {
        problems.error(&node.at, "expected `exact`, `prefix` or `suffix`, found none of them");
    }
    subjects
}

fn required_claims(object: &Object<'_>, problems: &Problems) -> Vec<RequiredClaim> {
    let items = object.field("requiredClaims").and_then(|n| n.list(problems)).unwrap_or_default();
    let read = |node: &Node<'_>| {
        let object = node.object(problems)?;
        let claim = object.required("claim", problems).and_then(|n| claim_name(&n, problems));
        let values = object.field("values").and_then(|n| {
            if is_empty(n.value) {
                return n.expected("at least one value, or no `values` for any", problems);
            }
            n.texts(problems)
        });
        object.finish(problems);
        let values = values.unwrap_or_default().into_iter().map(str::to_owned).collect();
        Some(RequiredClaim { claim: claim?, values })
    };
    items.iter().filter_map(read).collect()
}

fn claim_name(node: &Node<'_>, problems: &Problems) -> Option<ClaimName> {
    let text = node.filled_text(problems)?;
    let Some(name) = ClaimName::new(text) else {
        return node.expected("a claim such as `groups`, `a.b` or `[a][b]`", problems);
    };
    if let Some(meant) = name.probably_meant() {
        let problem = format!(
            "`{text}` is split at its dots and nowhere else, as in Istio; did you mean the claim `{meant}`?"
        );
        problems.warning(&node.at, problem);
    }
    Some(name)
}

/// A list of top-level claims, each by its literal name.
pub(super) fn top_level_claims<'v>(
    object: &Object<'v>,
    field: &'static str,
    problems: &Problems,
) -> Option<Vec<&'v str>> {
    let node = object.field(field)?;
    let names = node.texts(problems)?;
    for (index, name) in names.iter().enumerate() {
        if name.starts_with('[') && name.ends_with(']') {
            let problem = format!(
                "names top-level claims as they are: no token has a claim `{name}` unless its brackets are part \
                 of the name"
            );
            problems.warning(format!("{}[{index}]", node.at), problem);
        }
    }
    Some(names)
}

fn emission(object: &Object<'_>, problems: &Problems) -> Emission {
    Emission { payload: payload_header(object, problems), claims: claim_headers(object, problems) }
}

fn payload_header(object: &Object<'_>, problems: &Problems) -> Option<PayloadHeader> {
    let name = object.field("outputPayloadToHeader").and_then(|n| emitted_name(&n, problems));
    let encoding = object.field("outputPayloadEncoding").and_then(|n| {
        let words = [
            ("base64url", PayloadEncoding::Base64Url),
            ("base64url-padded", PayloadEncoding::Base64UrlPadded),
            ("base64", PayloadEncoding::Base64),
            ("json", PayloadEncoding::Json),
        ];
        n.one_of(&words, problems)
    });
    let claims = top_level_claims(object, "outputPayloadClaims", problems);
    if !object.gives("outputPayloadToHeader") {
        for field in ["outputPayloadEncoding", "outputPayloadClaims"] {
            if object.gives(field) {
                problems.error(object.path(field), "needs `outputPayloadToHeader` beside it");
            }
        }
    }
    Some(PayloadHeader {
        name: name?,
        encoding: encoding.unwrap_or_default(),
        claims: claims.map(|names| names.into_iter().map(str::to_owned).collect()),
    })
}

fn claim_headers(object: &Object<'_>, problems: &Problems) -> Vec<ClaimHeader> {
    let field = object.field("outputClaimToHeaders");
    let items = field.and_then(|n| n.list(problems)).unwrap_or_default();
    let read = |node: &Node<'_>| {
        let object = node.object(problems)?;
        let name = object.required("header", problems).and_then(|n| emitted_name(&n, problems));
        let claim = object.required("claim", problems).and_then(|n| claim_name(&n, problems));
        let format = object.field("format").and_then(|n| {
            let words = [
                ("csv", ClaimFormat::Csv),
                ("space", ClaimFormat::Space),
                ("json", ClaimFormat::Json),
                ("repeat", ClaimFormat::Repeat),
            ];
            n.one_of(&words, problems)
        });
        let encoding = object.field("encoding").and_then(|n| {
            let words = [
                ("percent", TextEncoding::Percent),
                ("raw", TextEncoding::Raw),
                ("base64url", TextEncoding::Base64Url),
            ];
            n.one_of(&words, problems)
        });
        object.finish(problems);
        Some(ClaimHeader {
            name: name?,
            claim: claim?,
            format,
            encoding: encoding.unwrap_or_default(),
        })
    };
    items.iter().filter_map(read).collect()
}

/// The name of a header that Usher sets or strips.
pub(super) fn emitted_name(node: &Node<'_>, problems: &Problems) -> Option<String> {
    let name = header_name(node, problems)?;
    if FRAMING.contains(&name.as_str()) {
        return node.expected("a header that does not frame the message", problems);
    }
    Some(name)
}
