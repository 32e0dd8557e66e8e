//! The keys of a rule: `jwks`, or from a server: `jwksUri` and the fields beside it.

use std::ops::RangeInclusive;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Context;
use super::fields::{self, Field};
use crate::codec::problems::{Node, Object, Problems};
use crate::crypto::Algorithm;
use crate::jwks::{KeySet, Origin, Published};
use crate::policy::{JwksLocation, Keys, Location, Remote, Selection, Source, Terms};

/// Istio's default for `timeout` (RequestAuthentication).
const TIMEOUT: Duration = Duration::from_secs(5);
/// Envoy drops a stream that is idle for 5 minutes; a fifth of it is the longest that a request waits
/// for keys.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60);
/// A day: long enough to notice and survive an outage of the key server.
const MAX_STALE: Duration = Duration::from_secs(24 * 60 * 60);
/// Enough for two fetches.
const LEAST_STALE: Duration = Duration::from_secs(2);

/// Fields that apply to fetched keys only.
const COMPANIONS: [&str; 2] = ["maxStale", "jwksPins"];

/// Reads the keys. `None`, with a problem, if they are missing or wrong.
#[inline(never)]
pub(super) fn read(
    object: &Object<'_>,
    issuer: Option<&str>,
    algorithms: Option<&[Algorithm]>,
    context: &mut Context<'_>,
) -> Option<Keys> {
    let problems = context.problems;
    let symmetric = algorithms.is_some_and(|list| list.iter().any(|a| a.is_symmetric()));
    let (mut published, mut given) = (Published::Refused, None);
    fields::read(
        object,
        &mut [
            Field::with("allowPublishedKeys", &mut |n| published = self::published(n, problems)),
            Field::kept("jwks", &mut given),
        ],
        problems,
    );
    let has_inline = given.is_some();
    let inline = given.and_then(|node| inline(&node, symmetric, published, context));
    let terms = terms(object, problems);
    let (mut pins, mut uri, mut cluster) = (Some(Vec::new()), None, None);
    fields::read(
        object,
        &mut [
            Field::with("jwksPins", &mut |n| pins = self::pins(n, problems)),
            Field::kept("jwksUri", &mut uri),
            Field::kept("jwksCluster", &mut cluster),
        ],
        problems,
    );
    if uri.is_none() && cluster.is_none() {
        for name in COMPANIONS.into_iter().filter(|name| object.gives(name)) {
            problems.error(object.path(name), "needs `jwksUri` or `jwksCluster` beside it");
        }
        if object.gives("timeout") {
            problems.warning(
                "no-effect",
                object.path("timeout"),
                "has no effect: it is about `jwksUri`",
            );
        }
        if !has_inline {
            problems.error(&object.at, "missing field `jwks`: the issuer's keys");
        }
        return inline.map(Keys::Inline);
    }
    let place = place(object, uri.as_ref(), issuer, problems);
    let cluster = match &cluster {
        Some(node) => node.filled_text(problems),
        None => {
            let host = match &place {
                Some(JwksLocation::Keys(location)) => location.host(),
                _ => "idp.example.com",
            };
            let problem = format!(
                "needs `jwksCluster` beside it: a plugin reaches only the clusters of its Envoy, \
                 such as Istio's `outbound|443||{host}`"
            );
            problems.error(object.path("jwksUri"), problem);
            None
        }
    };
    if has_inline && inline.is_none() {
        return None;
    }
    let selection = Selection { symmetric, pins: pins?, published };
    let source = Source { cluster: cluster?.to_owned(), place: place?, selection };
    Some(Keys::Remote(Rc::new(Remote { source, terms: terms?, inline })))
}

/// Keys in the configuration.
fn inline(
    node: &Node<'_>,
    symmetric: bool,
    published: Published,
    context: &mut Context<'_>,
) -> Option<Rc<KeySet>> {
    let known = (node.value.to_string(), symmetric, published);
    if let Some(keys) = context.key_sets.get(&known) {
        return Some(Rc::clone(keys));
    }
    let keys = Rc::new(KeySet::read(node, Origin::Inline, symmetric, published, context.problems)?);
    context.key_sets.insert(known, Rc::clone(&keys));
    Some(keys)
}

/// `allowPublishedKeys`: the only way to trust a key whose private half is public.
fn published(node: &Node<'_>, problems: &Problems) -> Published {
    match node.boolean(problems) {
        Some(true) => {
            problems.warning(
                "published-key",
                &node.at,
                "keys whose private half is published are taken, so anyone may sign a token: for tests only",
            );
            Published::Allowed
        }
        Some(false) | None => Published::Refused,
    }
}

/// `jwksUri`, or else the `jwks_uri` of the issuer's OpenID configuration.
fn place(
    object: &Object<'_>,
    uri: Option<&Node<'_>>,
    issuer: Option<&str>,
    problems: &Problems,
) -> Option<JwksLocation> {
    if let Some(node) = uri {
        return match Location::parse(node.filled_text(problems)?) {
            Ok(location) => Some(JwksLocation::Keys(location)),
            Err(expected) => node.expected(expected, problems),
        };
    }
    let at = object.path("jwksCluster");
    let Some(issuer) = issuer else {
        let problem = "needs `jwksUri` beside it: without an issuer there is nobody to ask \
                       where the keys are";
        problems.error(at, problem);
        return None;
    };
    // OpenID Connect Discovery 1.0 section 4.1: a terminating slash is removed first.
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    match Location::parse(&format!("{base}/.well-known/openid-configuration")) {
        Ok(configuration) => {
            Some(JwksLocation::Discovery { issuer: issuer.to_owned(), configuration })
        }
        Err(expected) => {
            let problem = format!(
                "needs `jwksUri` beside it: the issuer's configuration says where its keys are \
                 only if the issuer is {expected}, found `{issuer}`"
            );
            problems.error(at, problem);
            None
        }
    }
}

fn terms(object: &Object<'_>, problems: &Problems) -> Option<Terms> {
    let duration = |name, default, range: RangeInclusive<Duration>, expected| {
        let Some(node) = object.field(name) else { return Some(default) };
        let duration = node.duration(problems)?;
        if range.contains(&duration) { Some(duration) } else { node.expected(expected, problems) }
    };
    // Both are read before either may end it: a field that was never read would be reported as unknown.
    let timeout = duration("timeout", TIMEOUT, TIMEOUTS, "a duration from `100ms` to `60s`");
    let stale = LEAST_STALE..=Duration::MAX;
    let max_stale = duration("maxStale", MAX_STALE, stale, "a duration of at least `2s`");
    Some(Terms { timeout: timeout?, max_stale: max_stale? })
}

/// `jwksPins`: thumbprints of the accepted keys.
fn pins(node: &Node<'_>, problems: &Problems) -> Option<Vec<String>> {
    let items = node.list(problems)?;
    if items.is_empty() {
        return node.expected("at least one thumbprint, or no `jwksPins` for any key", problems);
    }
    let read = |item: &Node<'_>| {
        let pin = item.filled_text(problems)?;
        match URL_SAFE_NO_PAD.decode(pin) {
            Ok(bytes) if bytes.len() == 32 => Some(pin.to_owned()),
            _ => item.expected("an RFC 7638 SHA-256 thumbprint (43 of base64url)", problems),
        }
    };
    let mut pins = items.iter().map(read).collect::<Option<Vec<_>>>()?;
    pins.sort_unstable();
    pins.dedup();
    Some(pins)
}

#[cfg(test)]
mod tests {
    use crate::config::from_json;
    use crate::policy::{Config, JwksLocation, Keys};

    const PIN: &str = "RJK-RJ1wttOzczZfpheUK0H3vqa_7x_qOozo3k9pzdQ";

    fn load(rule: &str) -> Result<Config, Vec<String>> {
        let text = format!(r#"{{"jwtRules": [{{"issuer": "https://idp.example/a/", {rule}}}]}}"#);
        from_json(text.as_bytes())
            .map(|parsed| parsed.config)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn keys_from_a_server() {
        let config = load(&format!(
            r#""jwksUri": "https://Keys.example/k?v=1", "jwksCluster": "outbound|443||keys.example",
               "timeout": "2s", "maxStale": "1h", "jwksPins": ["{PIN}", "{PIN}"]"#
        ))
        .unwrap();
        let Keys::Remote(remote) = &config.jwt_rules[0].keys else { panic!("not remote") };
        assert_eq!(
            remote.source.id(),
            format!("outbound|443||keys.example keys https://keys.example/k?v=1 false {PIN}")
        );
        assert_eq!((remote.terms.timeout.as_secs(), remote.terms.max_stale.as_secs()), (2, 3600));

        let config = load(r#""jwksCluster": "idp""#).unwrap();
        let Keys::Remote(remote) = &config.jwt_rules[0].keys else { panic!("not remote") };
        let JwksLocation::Discovery { issuer, configuration } = &remote.source.place else {
            panic!("not discovered")
        };
        assert_eq!(issuer, "https://idp.example/a/");
        let expected = "https://idp.example/a/.well-known/openid-configuration";
        assert_eq!(configuration.to_string(), expected);
        assert_eq!((remote.terms.timeout.as_secs(), remote.terms.max_stale.as_secs()), (5, 86_400));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (rule, problem) in [
            (
                r#""jwksUri": "https://keys.example:8443/k""#,
                "jwtRules[0].jwksUri: needs `jwksCluster` beside it: a plugin reaches only the clusters of its \
                 Envoy, such as Istio's `outbound|443||keys.example`",
            ),
            (
                r#""jwksUri": "keys.example/k", "jwksCluster": "c""#,
                "jwtRules[0].jwksUri: expected a URL that begins with `https://` or `http://`, found \
                 `keys.example/k`",
            ),
            (
                r#""jwksUri": "https://k/", "jwksCluster": """#,
                "jwtRules[0].jwksCluster: expected a string that is not empty, found an empty string",
            ),
            (r#""timeout": "5s""#, "jwtRules[0]: missing field `jwks`: the issuer's keys"),
            (
                r#""jwksCluster": "c", "timeout": "0s""#,
                "jwtRules[0].timeout: expected a duration from `100ms` to `60s`, found `0s`",
            ),
            (
                r#""jwksCluster": "c", "maxStale": "1s""#,
                "jwtRules[0].maxStale: expected a duration of at least `2s`, found `1s`",
            ),
            (
                r#""jwksCluster": "c", "jwksPins": []"#,
                "jwtRules[0].jwksPins: expected at least one thumbprint, or no `jwksPins` for any key, found a list",
            ),
            (
                r#""jwksCluster": "c", "jwksPins": ["sha256"]"#,
                "jwtRules[0].jwksPins[0]: expected an RFC 7638 SHA-256 thumbprint (43 of base64url), found `sha256`",
            ),
            (
                r#""jwks": "{", "jwksPins": ["x"]"#,
                "jwtRules[0].jwksPins: needs `jwksUri` or `jwksCluster` beside it",
            ),
            (
                r#""jwks": "{", "maxStale": "1h""#,
                "jwtRules[0].maxStale: needs `jwksUri` or `jwksCluster` beside it",
            ),
        ] {
            let problems = load(rule).unwrap_err();
            assert!(problems.iter().any(|reported| reported == problem), "{rule}: {problems:#?}");
        }
        let any = br#"{"jwtRules": [{"anyIssuer": true, "jwksCluster": "c"}]}"#;
        let problems = from_json(any).unwrap_err();
        assert_eq!(
            problems[0].to_string(),
            "jwtRules[0].jwksCluster: needs `jwksUri` beside it: without an issuer there is nobody to ask where \
             the keys are"
        );
        let urn = br#"{"jwtRules": [{"issuer": "urn:idp", "jwksCluster": "c"}]}"#;
        let problems = from_json(urn).unwrap_err();
        assert!(problems[0].to_string().ends_with("found `urn:idp`"), "{problems:?}");
    }
}
