//! What the module is played: a configuration, and requests as most are.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// When it is: 2026-01-01.
pub(crate) const NOW: u64 = 1_767_225_600;

const ISSUER: &str = "https://idp.example.com";

/// A rule that emits the payload and a claim, and policies that ask for what policies ask for.
pub(crate) fn configuration() -> Value {
    // No key: any odd number of 2048 bits will do where the host's word is believed.
    let modulus = URL_SAFE_NO_PAD.encode([0xff; 256]);
    json!({
        "jwtRules": [{
            "issuer": ISSUER,
            "audiences": ["service.example"],
            "jwks": { "keys": [{ "kty": "RSA", "kid": "key-1", "alg": "RS256", "n": modulus, "e": "AQAB" }] },
            "outputPayloadToHeader": "user-info",
            "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
        }],
        "authorizationPolicies": [
            { "name": "admins", "namespace": "shop", "action": "DENY", "rules": [{
                "to": [{ "operation": { "paths": ["/admin*"] } }],
                "when": [{ "key": "request.auth.claims[groups]", "notValues": ["admins"] }],
            }] },
            { "name": "service", "namespace": "shop", "action": "ALLOW", "rules": [
                { "to": [{ "operation": { "methods": ["POST"], "paths": ["/orders"] } }] },
                {
                    "from": [{ "source": { "requestPrincipals": [format!("{ISSUER}/*")] } }],
                    "to": [{ "operation": { "methods": ["GET"], "paths": ["/items/*"] } }],
                    "when": [{ "key": "request.auth.claims[groups]", "values": ["developers"] }],
                },
            ] },
        ],
    })
}

/// Whether a request brings a token.
#[derive(Clone, Copy)]
pub(crate) enum Token {
    /// A good one, if the host says so, and the same each time.
    Same,
    /// None.
    None,
}

/// A request's headers in the form of the ABI: count, sizes, then names and values, each with a NUL behind it.
pub(crate) fn headers(path: &str, token: Token) -> anyhow::Result<Vec<u8>> {
    let authorization = format!("Bearer {}", signed());
    let mut lines = vec![
        (":authority", "service.example:8080"),
        (":path", path),
        (":method", "GET"),
        (":scheme", "https"),
        ("user-agent", "arrange/1"),
        ("accept", "*/*"),
        ("accept-encoding", "gzip"),
        ("x-forwarded-for", "192.0.2.7"),
        ("x-forwarded-proto", "https"),
        ("x-request-id", "8c3a2a35-6d55-4c36-a1b1-3b0d4f5b7c1e"),
        ("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
    ];
    match token {
        Token::Same => lines.push(("authorization", &authorization)),
        Token::None => {}
    }
    let number = |n: usize| u32::try_from(n).map(u32::to_le_bytes);
    let mut written = number(lines.len())?.to_vec();
    for (name, value) in &lines {
        written.extend(number(name.len())?);
        written.extend(number(value.len())?);
    }
    for text in lines.iter().flat_map(|(name, value)| [name, value]) {
        written.extend(text.bytes());
        written.push(0);
    }
    Ok(written)
}

/// A token whose signature no key made.
fn signed() -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = json!({ "alg": "RS256", "typ": "JWT", "kid": "key-1" });
    let claims = json!({
        "iss": ISSUER,
        "sub": "user-1",
        "aud": ["service.example"],
        "iat": NOW.saturating_sub(60),
        "exp": NOW.saturating_add(3600),
        "jti": "7e1b9a62-8c1d-4f7e-9a55-0d3c5c1e7f21",
        "email": "user-1@example.com",
        "name": "Mira Mosley",
        "groups": ["everyone", "developers", "payments-readers"],
    });
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode([0x5a; 256]))
}
