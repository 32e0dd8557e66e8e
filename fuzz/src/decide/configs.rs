//! Configurations that together use every feature.

use serde_json::{Value, json};

use crate::mint;

/// The enforcing ones, then the first four as a dry run.
pub(crate) fn all() -> Vec<Value> {
    let enforced = [plain(), every_place(), policies(), several_rules(), remote(), small_limits()];
    let dry_runs = enforced.iter().take(4).cloned().map(|mut config| {
        config["mode"] = json!("dryRun");
        config
    });
    enforced.iter().cloned().chain(dry_runs).collect()
}

fn algorithms() -> Value {
    json!(["HS256", "EdDSA", "ES256"])
}

fn plain() -> Value {
    json!({
        "jwtRules": [{
            "issuer": "i1",
            "jwks": mint::jwks(),
            "algorithms": algorithms(),
            "requireExpiration": false,
            "outputPayloadToHeader": "User-Info",
            "outputClaimToHeaders": [
                {"header": "x-sub", "claim": "sub"},
                {"header": "x-groups", "claim": "groups"},
                {"header": "x-json", "claim": "a", "format": "json"},
                {"header": "x-rep", "claim": "[g][*][n]", "format": "repeat"},
                {"header": "x-space", "claim": "g", "format": "space"},
            ],
        }],
        "decisionLog": {"emit": "all", "claims": ["sub", "groups", "a"]},
    })
}

fn every_place() -> Value {
    json!({
        "jwtRules": [{
            "issuer": "i1",
            "jwks": mint::jwks(),
            "algorithms": algorithms(),
            "fromHeaders": [
                {"name": "Authorization", "prefix": "Token "},
                {"name": "x-token"},
                {"name": "x-token", "prefix": "T="},
                {"name": "authorization", "prefix": "Bearer "},
            ],
            "fromParams": ["t", "access_token"],
            "fromCookies": ["sess"],
            "fromWebSocketProtocol": {"prefix": "bearer."},
            "outputPayloadToHeader": "user-info",
            "outputPayloadEncoding": "json",
            "outputClaimToHeaders": [
                {"header": "x-raw", "claim": "sub", "encoding": "raw"},
                {"header": "x-b", "claim": "groups", "encoding": "base64url"},
                {"header": "x-rawlist", "claim": "groups", "encoding": "raw", "format": "space"},
            ],
            "maxLifetime": "24h",
            "maxAge": "12h",
        }],
        "identityHeaders": {"strip": ["X-Remote-User", "x_roles"], "onSpoof": "reject"},
        "responses": {"format": "problem+json"},
        "tokenCache": {"entries": 2},
        "pathNormalization": "DECODE_AND_MERGE_SLASHES",
    })
}

fn policies() -> Value {
    json!({
        "jwtRules": [{
            "issuer": "i1",
            "name": "p1",
            "jwks": mint::jwks(),
            "algorithms": algorithms(),
            "outputPayloadToHeader": "user-info",
            "outputPayloadClaims": ["sub", "groups"],
            "outputClaimToHeaders": [
                {"header": "x-sub", "claim": "sub"},
                {"header": "x-groups", "claim": "groups", "format": "repeat"},
            ],
            "spaceDelimitedClaims": ["roles"],
        }],
        "sourceAddress": "connection",
        "decisionLog": {"emit": "all", "claims": ["sub"], "hash": true},
        "responses": {"challengeAnonymous": true},
        "matchScalarClaims": true,
        "authorizationPolicies": [
            {
                "name": "deny",
                "action": "DENY",
                "denyStatus": 404,
                "denyMessage": "no such thing",
                "rules": [
                    {"to": [{"operation": {"paths": ["/admin*", "*/secret", "/d/{*}"]}}]},
                    {"when": [{"key": "request.headers[x-evil]", "values": ["*"]}]},
                    {"from": [{"source": {"ipBlocks": ["10.9.0.0/16"]}}]},
                ],
            },
            {"name": "audit", "action": "AUDIT", "rules": [{"to": [{"operation": {"methods": ["POST"]}}]}]},
            {
                "name": "dry",
                "action": "DENY",
                "dryRun": true,
                "rules": [{"from": [{"source": {"notRequestPrincipals": ["*"]}}]}],
            },
            {
                "name": "drya",
                "action": "ALLOW",
                "dryRun": true,
                "rules": [{"to": [{"operation": {"hosts": ["a.example"]}}]}],
            },
            {"name": "allow", "denyWhenUnauthenticated": 401, "rules": allow_rules()},
        ],
    })
}

fn allow_rules() -> Value {
    json!([
        {
            "to": [{"operation": {"paths": ["/a/{tenant}/x", "/a/{tenant}/{rest=**}"]}}],
            "when": [{"key": "request.auth.claims[tenant]", "valuesFrom": ["path.tenant"]}],
        },
        {"when": [{"key": "request.auth.claims[groups]", "values": ["admin*", "*dev"]}]},
        {"when": [{"key": "request.headers[x-sub]", "values": ["s*"]}]},
        {"when": [{"key": "request.auth.scopes", "allValues": ["read", "write"]}]},
        {"when": [{
            "key": "request.query[q]",
            "valuesFrom": ["request.headers[x-a]", "request.auth.claims[q]"],
        }]},
        {
            "from": [{"source": {"requestPrincipals": ["i1/s*"]}}],
            "to": [{"operation": {"methods": ["GET"], "paths": ["/p*"]}}],
        },
        {"from": [
            {"source": {"principals": ["td/ns/a/sa/b"]}},
            {"source": {"namespaces": ["b"]}},
        ]},
        {"when": [
            {"key": "request.auth.claims[g][*][n]", "values": ["1", "x"]},
            {"key": "request.auth.actor", "notValues": ["z"]},
        ]},
        {"when": [
            {"key": "connection.sni", "values": ["*.example"]},
            {"key": "request.auth.claims[email_verified]", "values": ["true"]},
        ]},
        {
            "from": [{"source": {
                "remoteIpBlocks": ["10.0.0.0/8", "::1"],
                "notRequestPrincipals": ["i1/bad"],
            }}],
            "to": [{"operation": {"ports": ["443"], "notPaths": ["/{**}/no"]}}],
        },
    ])
}

fn several_rules() -> Value {
    json!({
        "jwtRules": [
            {
                "issuer": "i1",
                "jwks": mint::jwks(),
                "algorithms": ["EdDSA"],
                "fromHeaders": [{"name": "x-token"}],
                "outputPayloadToHeader": "user-info",
                "forwardOriginalToken": true,
            },
            {
                "issuer": "i1",
                "name": "second",
                "jwks": mint::jwks(),
                "algorithms": algorithms(),
                "outputPayloadToHeader": "x-second",
                "outputPayloadEncoding": "base64",
                "subjects": {"prefix": "s"},
                "requiredClaims": [{"claim": "groups", "values": ["admin"]}],
                "types": ["JWT", "at+jwt"],
                "audiences": ["https://aud/"],
            },
            {
                "anyIssuer": true,
                "jwks": mint::jwks(),
                "algorithms": algorithms(),
                "outputClaimToHeaders": [{"header": "x-any", "claim": "iss"}],
                "requireExpiration": false,
                "clockSkew": "0s",
            },
        ],
        "exempt": [
            {"paths": ["/healthz", "/open/{**}"]},
            {"paths": ["/opt*"], "methods": ["GET"], "token": "optional"},
        ],
        "missingToken": "allow",
        "identityHeaders": {"strip": ["X-Remote-User"]},
        "pathNormalization": "MERGE_SLASHES",
        "responses": {"details": "terse"},
    })
}

fn remote() -> Value {
    json!({
        "jwtRules": [
            {
                "issuer": "i1",
                "jwks": mint::jwks(),
                "jwksUri": "https://k.example/",
                "jwksCluster": "c",
                "algorithms": algorithms(),
                "outputPayloadToHeader": "user-info",
                "requireExpiration": false,
            },
            {
                "issuer": "i2",
                "jwksUri": "https://k.example/2",
                "jwksCluster": "c",
                "outputPayloadToHeader": "x-two",
            },
        ],
        "missingToken": "allow",
        "pathNormalization": "NONE",
    })
}

fn small_limits() -> Value {
    json!({
        "jwtRules": [{
            "issuer": "i1",
            "jwks": mint::jwks(),
            "algorithms": algorithms(),
            "outputPayloadToHeader": "user-info",
            "outputPayloadEncoding": "base64url-padded",
            "requireExpiration": false,
            "outputClaimToHeaders": [{"header": "x-sub", "claim": "sub"}],
        }],
        "limits": {"tokenBytes": 400, "emittedBytes": 200, "jsonDepth": 3},
        "tokenCache": {"entries": 3, "bytes": 4000},
    })
}
