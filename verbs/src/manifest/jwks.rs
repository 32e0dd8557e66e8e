//! An inline `jwks` as Istio's validation parses it (lestrrat-go/jwx jwk.Parse): its form, not whether
//! the keys are usable.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use usher_core::codec::json;
use usher_core::codec::problems::{Node, Object, Problems, did_you_mean};

use super::proto;

/// The members that a key of each type must have, all in base64 (RFC 7518 section 6).
const KEY_TYPES: [(&str, &[&str]); 4] =
    [("EC", &["x", "y"]), ("OKP", &["x"]), ("RSA", &["n", "e"]), ("oct", &["k"])];

/// Private members (RFC 7518 section 6).
const PRIVATE: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "k"];

const CURVES: [&str; 7] = ["Ed25519", "Ed448", "P-256", "P-384", "P-521", "X25519", "X448"];

/// Checks the text at path `at`.
pub(super) fn check(at: &str, text: &str, problems: &Problems) {
    let value = match json::parse(text.as_bytes(), crate::input::DEPTH) {
        Ok(value) => value,
        Err(error) => return problems.error(at, format!("expected a JWK set: {error}")),
    };
    let inner = Problems::default();
    check_set(&Node { at: String::new(), value: &value }, &inner);
    let (errors, warnings) = inner.into_parts();
    // Paths inside a text cannot be paths of the document.
    for error in errors {
        problems.error(at, format!("expected a JWK set: {error}"));
    }
    for warning in warnings {
        problems.warning(warning.code, at, warning.to_string());
    }
}

fn check_set(set: &Node<'_>, problems: &Problems) {
    let Some(members) = set.object(problems) else { return };
    match members.field("keys") {
        Some(keys) => {
            let keys = proto::objects(&keys, problems);
            if keys.is_empty() && problems.is_valid() {
                problems.warning("no-key", "keys", "no key: no token will ever be accepted");
            }
            for key in keys {
                check_key(&key, problems);
            }
        }
        // Without `keys` the object is read as a key itself.
        None if members.has("keys") => problems.warning("no-key", "keys", "no key, found null"),
        None if members.has("kty") => check_key(&members, problems),
        None => problems.error("", "missing field `keys`"),
    }
}

fn check_key(key: &Object<'_>, problems: &Problems) {
    let Some(kty) = key.required("kty", problems).and_then(|kty| kty.text(problems)) else {
        return;
    };
    let Some((_, members)) = KEY_TYPES.iter().find(|(name, _)| *name == kty) else {
        let hint = did_you_mean(kty, KEY_TYPES.iter().map(|(name, _)| *name));
        let problem = format!("expected EC, OKP, RSA or oct, found `{kty}`{hint}");
        return problems.error(key.path("kty"), problem);
    };
    for name in *members {
        key.required(name, problems);
    }
    if matches!(kty, "EC" | "OKP")
        && let Some(curve) = key.required("crv", problems)
    {
        proto::word(&curve, &CURVES, problems);
    }
    for name in ["n", "e", "x", "y", "k", "d", "p", "q", "dp", "dq", "qi"] {
        if let Some(member) = key.field(name)
            && let Some(text) = member.text(problems)
            && !is_base64(text)
        {
            member.expected::<()>("base64", problems);
        }
    }
    for name in ["alg", "kid", "x5t", "x5t#S256", "x5u"] {
        key.field(name).and_then(|member| member.text(problems));
    }
    if let Some(usage) = key.field("use") {
        proto::word(&usage, &["sig", "enc"], problems);
    }
    if let Some(chain) = key.field("x5c") {
        proto::texts(&chain, problems);
    }
    if PRIVATE.iter().any(|name| key.has(name)) {
        problems.warning(
            "private-key",
            &key.at,
            "a private or symmetric key; publish public keys only",
        );
    }
}

/// Either alphabet, with or without padding, as jwx detects it.
fn is_base64(text: &str) -> bool {
    let lenient = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    [&base64::alphabet::URL_SAFE, &base64::alphabet::STANDARD]
        .iter()
        .any(|alphabet| GeneralPurpose::new(alphabet, lenient).decode(text).is_ok())
}
