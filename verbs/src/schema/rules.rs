//! `jwtRules[]`.

use serde_json::{Value, json};
use usher_core::crypto::Algorithm;

use super::{described, duration, flag, header, list, object, text, texts, words};
use crate::output::set;

pub(super) fn rule() -> Value {
    let algorithms: Vec<&str> = Algorithm::names().map(|(name, _)| name).collect();
    let mut algorithms =
        list("Accepted algorithms; default: what the keys allow", words("", &algorithms));
    set(&mut algorithms, "minItems", json!(1));
    let mut types = texts("Accepted `typ`");
    set(&mut types, "minItems", json!(1));
    let mut audience_claims =
        texts("Claims that may say the audience: the first that a token has decides");
    set(&mut audience_claims, "minItems", json!(1));
    let mut rule = object(
        "A rule for the tokens of one issuer (RequestAuthentication jwtRules)",
        &[],
        vec![
            ("issuer", text("The accepted `iss`")),
            ("anyIssuer", flag("Says that a rule without issuer is meant")),
            ("name", text("What logs and `request.auth.provider` call it; default: the issuer")),
            ("audiences", texts("Accepted `aud`; none: any")),
            ("audienceClaims", audience_claims),
            ("jwks", jwks()),
            ("jwksUri", text("Where the keys are fetched")),
            ("jwksCluster", text("The Envoy cluster through which `jwksUri` is reached")),
            ("jwksPins", texts("Thumbprints (RFC 7638) of the only keys that count")),
            (
                "allowPublishedKeys",
                flag("Takes keys whose private half is published; for tests only"),
            ),
            ("maxStale", duration("How long fetched keys hold without their server; default: 24h")),
            ("timeout", duration("How long to wait for `jwksUri`")),
            ("fromHeaders", list("Headers that may hold a token", from_header())),
            ("fromParams", texts("Query parameters that may hold a token")),
            ("fromCookies", texts("Cookies that may hold a token")),
            (
                "fromWebSocketProtocol",
                object(
                    "An entry of Sec-WebSocket-Protocol that may hold a token",
                    &["prefix"],
                    vec![("prefix", text("What precedes the token"))],
                ),
            ),
            ("forwardOriginalToken", flag("Whether the service sees the token; default: false")),
            ("outputPayloadToHeader", described(header(), "The header that takes the payload")),
            (
                "outputPayloadEncoding",
                words(
                    "How the payload is written",
                    &["base64url", "base64url-padded", "base64", "json"],
                ),
            ),
            ("outputPayloadClaims", texts("Only these claims; default: the payload as signed")),
            ("outputClaimToHeaders", list("Claims that become headers", claim_header())),
            ("spaceDelimitedClaims", texts("Further claims that are lists of words")),
            ("clockSkew", duration("By how much clocks may differ; default: 60s")),
            ("issuedAtSkew", duration("The same for `iat` alone; default: clockSkew")),
            ("requireExpiration", flag("Whether a token must have `exp`; default: true")),
            ("maxLifetime", duration("From `iat` to `exp`, at most")),
            ("maxAge", duration("From `iat` to now, at most")),
            ("subjects", subjects()),
            ("requiredClaims", list("Claims that must be there", required_claim())),
            ("types", types),
            ("algorithms", algorithms),
        ],
    );
    set(
        &mut rule,
        "anyOf",
        json!([
            { "required": ["issuer"] },
            { "required": ["anyIssuer"], "properties": { "anyIssuer": { "const": true } } },
        ]),
    );
    set(
        &mut rule,
        "dependentRequired",
        json!({
            "outputPayloadEncoding": ["outputPayloadToHeader"],
            "outputPayloadClaims": ["outputPayloadToHeader"],
            "audienceClaims": ["audiences"],
        }),
    );
    rule
}

fn jwks() -> Value {
    json!({
        "description": "The keys: a JWK set as an object or as text, a map of key id to certificate, or PEM",
        "anyOf": [
            { "type": "string", "minLength": 1 },
            { "type": "object", "minProperties": 1 },
        ],
    })
}

fn from_header() -> Value {
    object(
        "",
        &["name"],
        vec![
            ("name", described(header(), "The header")),
            (
                "prefix",
                json!({ "type": "string", "description": "What precedes the token, such as `Bearer `" }),
            ),
        ],
    )
}

fn claim_header() -> Value {
    object(
        "",
        &["header", "claim"],
        vec![
            ("header", described(header(), "The header")),
            (
                "claim",
                text("The claim: `sub`, `a.b` (b in the object a), `[a][b]`, `[https://a.b/c]`"),
            ),
            (
                "format",
                words(
                    "How a list is written; where it is given a text is a list of one",
                    &["csv", "space", "json", "repeat"],
                ),
            ),
            ("encoding", words("How bytes are written", &["percent", "raw", "base64url"])),
        ],
    )
}

fn subjects() -> Value {
    let one_or_more = || json!({ "anyOf": [text(""), texts("")] });
    let mut subjects = object(
        "Accepted `sub`, any of these",
        &[],
        vec![("exact", one_or_more()), ("prefix", one_or_more()), ("suffix", one_or_more())],
    );
    set(&mut subjects, "minProperties", json!(1));
    subjects
}

fn required_claim() -> Value {
    let mut values = texts("Accepted values; none: any");
    set(&mut values, "minItems", json!(1));
    object("", &["claim"], vec![("claim", text("The claim")), ("values", values)])
}
