//! A request's trailers: what is removed from them.
//!
//! Trailers arrive after the request was forwarded, and many servers read them beside the headers. So they must
//! contain no identity that a client spoofed, and no token that is removed from the headers. They never affect
//! the decision.

use crate::compiled::Compiled;
use crate::headers::HeaderMutations;
use crate::policy::Mode;
use crate::request::Request;

/// The mutations of these trailers: names in lower case, each with its value.
pub fn mutations(policy: &Compiled, trailers: Vec<(Vec<u8>, Vec<u8>)>) -> HeaderMutations {
    let trailers = Request { headers: trailers, ..Request::default() };
    let mut mutations =
        HeaderMutations::removing(&policy.protected_headers.spoofed(&trailers.headers));
    match policy.settings.mode {
        // RFC 9110 section 6.5.1: authentication fields do not belong in trailers.
        Mode::Enforce => {
            let leaves = |place, _: &[u8]| !policy.jwt.forwards_from(place);
            mutations.take(&policy.jwt.locations, &trailers, &leaves);
        }
        // A dry run removes no token.
        Mode::DryRun => {}
    }
    mutations
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load;

    const RULE: &str = r#""issuer": "https://idp.example", "outputPayloadToHeader": "User-Info",
        "jwks": "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"RBJOyt2gP6MuKDyd5CU7EzZSWkpANGwGTluhcya49V0\"}]}""#;

    fn left(rule: &str, mode: &str, trailers: &[(&str, &str)]) -> Vec<String> {
        let text = format!(r#"{{"jwtRules": [{{{RULE}{rule}}}], "mode": "{mode}"}}"#);
        let policy = load::from_json(text.as_bytes())
            .unwrap_or_else(|problems| panic!("{problems:?}"))
            .policy;
        let lines =
            |(name, value): &(&str, &str)| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
        let trailers: Vec<_> = trailers.iter().map(lines).collect();
        let request = Request { headers: trailers.clone(), ..Request::default() };
        let text = |line: &(Vec<u8>, Vec<u8>)| {
            format!("{}: {}", String::from_utf8_lossy(&line.0), String::from_utf8_lossy(&line.1))
        };
        mutations(&policy, trailers).applied(&request).headers.iter().map(text).collect()
    }

    #[test]
    fn trailers_hold_neither_a_forged_identity_nor_a_withheld_token() {
        let bearer = ("authorization", "Bearer x");
        let forwards = r#", "forwardOriginalToken": true"#;
        let header = r#", "fromHeaders": [{"name": "X-Token", "prefix": "T "}]"#;
        let cookie = r#", "fromCookies": ["auth"]"#;
        let socket = r#", "fromWebSocketProtocol": {"prefix": "bearer."}"#;
        for (rule, mode, trailer, expected, message) in [
            ("", "enforce", bearer, vec![], "a token of the default place"),
            (
                "",
                "enforce",
                ("authorization", "Basic x"),
                vec!["authorization: Basic x"],
                "no token",
            ),
            (
                forwards,
                "enforce",
                bearer,
                vec!["authorization: Bearer x"],
                "forwarded in headers too",
            ),
            (header, "enforce", ("x-token", "T x"), vec![], "a token of another header"),
            (header, "enforce", bearer, vec!["authorization: Bearer x"], "no place of this rule"),
            (
                cookie,
                "enforce",
                ("cookie", "a=1; auth=x"),
                vec!["cookie: a=1"],
                "a token in a cookie",
            ),
            (socket, "enforce", ("sec-websocket-protocol", "bearer.x"), vec![], "a subprotocol"),
            ("", "dryRun", bearer, vec!["authorization: Bearer x"], "a dry run withholds no token"),
            ("", "enforce", ("user_info", "x"), vec![], "a forged identity"),
            (forwards, "dryRun", ("user-info", "x"), vec![], "a forged identity, in a dry run"),
            ("", "enforce", ("x-sum", "1"), vec!["x-sum: 1"], "any other trailer"),
        ] {
            assert_eq!(left(rule, mode, &[trailer]), expected, "{message}");
        }
    }
}
