//! Headers that a client writes: identities, conditions, and what is logged of them.

use serde_json::{Value, json};
use usher_testkit::mint;
use usher_testkit::verdict::{
    Core, NOW, RequestBuilder as _, claim, claims, get, preflight, rule, with,
};

use super::KEY;

// CVE-2025-64484 (oauth2-proxy), CVE-2026-39858, CVE-2026-54763 (Traefik), and the dot that their fixes
// forgot: an application reads `X_User`, `x.user` and `X-User` as one. tests/tests/vectors/protected_headers.rs does it at
// random.
#[test]
fn a_header_that_an_application_takes_for_an_identity_is_removed_on_every_way() {
    let core = Core::new(&json!({
        "jwtRules": [rule(&KEY)],
        "missingToken": "allow",
        "exempt": [{ "paths": ["/healthz"] }, { "paths": ["/maybe"], "token": "optional" }],
    }));
    let good = KEY.token(&claims());
    let ours = vec!["mmosley".to_owned()];
    for separator in (0..=u8::MAX).filter(|b| !b.is_ascii_alphanumeric()) {
        let name = [b"x", &[separator][..], b"user"].concat();
        for (what, request, expected) in [
            ("a caller", get("/").bearer(&good), ours.as_slice()),
            ("anonymous", get("/"), &[]),
            ("exempt", get("/healthz"), &[]),
            ("optional", get("/maybe").bearer(&good), &ours),
            ("a preflight", preflight("/"), &[]),
        ] {
            let mut request = request.header("xuser", "kept").header("x--user", "kept");
            // Twice, and around a legitimate header.
            request.headers.insert(4, (name.clone(), b"forged".to_vec()));
            request.headers.push((name.clone(), b"forged".to_vec()));
            let verdict = core.decide(&request);
            let forged = verdict.seen().headers.iter().filter(|(_, value)| value == b"forged");
            assert_eq!(forged.count(), 0, "{what}, separator {separator:#04x}");
            assert_eq!(verdict.lines("x-user"), expected, "{what}, separator {separator:#04x}");
            assert_eq!(verdict.lines("xuser"), ["kept"], "{what}");
            assert_eq!(verdict.lines("x--user"), ["kept"], "{what}");
        }
    }
}

// CVE-2026-26308 (Envoy), CVE-2026-31838 (Istio): repeated headers were joined, and the joined text was
// compared: `x-role: guest` beside `x-role: admin` dodged a DENY for `admin`.
#[test]
fn each_line_of_a_header_is_compared_by_itself() {
    let core = |action: &str, condition: Value| {
        let when = with(&condition, "key", "request.headers[x-role]");
        let policies = json!([{ "name": "p", "action": action, "rules": [{ "when": [when] }] }]);
        Core::new(&json!({
            "jwtRules": [rule(&KEY)], "authorizationPolicies": policies, "missingToken": "allow",
        }))
    };
    let deny = core("DENY", json!({ "values": ["admin"] }));
    for (lines, expected) in [
        (vec!["admin"], "denied_by_rule"),
        (vec!["guest", "admin"], "denied_by_rule"),
        (vec!["admin", "guest"], "denied_by_rule"),
        (vec!["guest"], "allowed"),
        (vec![], "allowed"),
    ] {
        let request = lines.iter().fold(get("/"), |request, line| request.header("x-role", line));
        assert_eq!(deny.decide(&request).code(), expected, "{lines:?}");
    }
}

// CVE-2024-45808 (Envoy): a client wrote lines of its own into the log.
#[test]
fn whatever_a_client_sends_a_log_line_is_one_json_object() {
    let core = Core::new(&json!({
        "jwtRules": [rule(&KEY)],
        "decisionLog": { "emit": "all", "claims": ["sub", "note"] },
    }));
    let nasty = "\r\n{\"reason\":\"allowed\"}\u{2028}\u{7}\"\\\u{1b}[31m";
    let token = KEY.token(&with(&claim("sub", nasty), "note", json!({ nasty: [nasty, 1] })));
    let mut raw = get("/").header("x-request-id", nasty).header("x_user", "f");
    for (name, value) in &mut raw.headers {
        match name.as_slice() {
            b":path" => *value = b"/a\r\n\"b?\xff&access_token=secret".to_vec(),
            b":method" => *value = b"G\"E\nT".to_vec(),
            b":authority" => *value = b"svc\r\n\"".to_vec(),
            _ => {}
        }
    }
    for (request, reason) in
        [(raw.clone().bearer("x"), "token_ambiguous"), (raw, "token_malformed")]
    {
        let verdict = core.decide(&request);
        let line = &core.log_line(&request, &verdict);
        assert!(!line.contains(['\r', '\n', '\u{1b}', '\u{7}']), "{line:?}");
        assert!(!line.contains("secret"), "{line}");
        let object: Value = serde_json::from_str(line).unwrap();
        assert_eq!(object["reason"], reason);
        assert_eq!(object["request_id"], nasty, "nothing of it is lost either");
        assert_eq!(object["path"], "/a\r\n\"b");
        assert_eq!(object["time"], NOW);
    }
    let request = get("/").bearer(&token);
    let verdict = core.decide(&request);
    let line = &core.log_line(&request, &verdict);
    assert!(!line.contains(['\r', '\n', '\u{1b}', '\u{7}']), "{line:?}");
    assert!(!line.contains(mint::payload(&token)), "{line}");
    let object: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&object["reason"], &object["claims"]["sub"]), (&json!("allowed"), &json!(nasty)));
    // Neither does it break out of the header that carries it on.
    let emitted = verdict.lines("x-user");
    assert_eq!(emitted.len(), 1);
    assert!(emitted[0].bytes().all(|b| (b' '..=b'~').contains(&b)), "{emitted:?}");
}

// higress#2056, envoy authenticator.cc: headers were appended, and the application read the first.
#[test]
fn an_identity_is_set_and_never_appended() {
    let both = json!([
        with(&rule(&KEY), "name", "one"),
        with(&with(&rule(&KEY), "name", "two"), "outputPayloadToHeader", "x-user"),
    ]);
    let core = Core::new(&json!({ "jwtRules": both }));
    let token = KEY.token(&claims());
    let request = get(&format!("/?access_token={token}"))
        .header("x-user", "root")
        .bearer(&token)
        .header("x-user", "root");
    assert_eq!(core.decide(&request).lines("x-user"), ["mmosley"]);
}
