//! What `usher convert` prints is what `usher check --strict` accepts: no warning on a policy of its own making.

use crate::common::usher;

/// A rule with an audience, and the key of a throw-away issuer.
const AUTHENTICATION: &str = r#"
apiVersion: security.istio.io/v1
kind: RequestAuthentication
metadata: {name: corp, namespace: shop}
spec:
  selector: {matchLabels: {app: web}}
  jwtRules:
  - issuer: https://idp.example.com
    audiences: [shop]
    jwks: '{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"example","x":"-PEFcvyAHD4v5tTN5x0O9jR2OEFHUoWPNoTu4EAcsLQ"}]}'
---"#;

#[test]
fn the_whole_output_passes_a_strict_check() {
    let folder = tempfile::tempdir().unwrap();
    let allow = folder.path().join("allow.yaml");
    for (what, policy, closes) in [
        (
            "ALLOW by the token, which lets in no TCP connection",
            "spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {requestPrincipals: ['*']}}]}]}",
            true,
        ),
        (
            "DENY by a path, which denies every TCP connection",
            "spec: {selector: {matchLabels: {app: web}}, action: DENY, rules: [{to: [{operation: {paths: [/debug*]}}]}]}",
            true,
        ),
        (
            "ALLOW by the peer, which stays",
            "spec: {selector: {matchLabels: {app: web}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/a]}}]}]}",
            false,
        ),
    ] {
        let head = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a, namespace: shop}";
        let input = format!("{AUTHENTICATION}\n{head}\n{policy}\n");
        let converted = usher(&["convert", "-"], &input);
        assert_eq!(converted.status, Some(0), "{what}: {}", converted.stderr);
        assert_eq!(converted.stdout.contains("name: usher-web-http-only"), closes, "{what}");
        // A token without `exp` is worth the warning; convert says too that this line is Istio's way.
        let printed: String = converted
            .stdout
            .lines()
            .filter(|line| line.trim() != "requireExpiration: false")
            .map(|line| format!("{line}\n"))
            .collect();
        assert!(
            converted.stderr.contains("`requireExpiration: false` is Istio's way; remove it"),
            "{what}"
        );
        // What services believe only their operator knows: convert says so in its notes.
        std::fs::write(&allow, "- {code: nothing-stripped, reason: not in the source}\n").unwrap();
        let checked =
            usher(&["check", "--strict", "--allow", allow.to_str().unwrap(), "-"], &printed);
        let (out, err) = (checked.stdout.as_str(), checked.stderr.as_str());
        assert_eq!((checked.status, out, err), (Some(0), "", ""), "{what}:\n{printed}");
    }
}
