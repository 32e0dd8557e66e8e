//! The values and the keys that Istio's validation accepts: istio/istio
//! pkg/config/security/security.go.

use std::net::{IpAddr, Ipv6Addr};

use usher_core::codec::problems::{Node, Problems, did_you_mean};

use super::proto;

/// The kind of a list's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// IP addresses and CIDR ranges.
    Addresses,
    /// Anything that is not empty.
    Any,
    /// Paths and path templates.
    Paths,
    /// Ports.
    Ports,
    /// `name` or `namespace/name`.
    ServiceAccounts,
    /// Trust domains, of a source.
    TrustDomainField,
    /// Trust domains in a condition, where a slash is not checked.
    TrustDomainKey,
}

/// Checks the values of a list; returns their number.
pub(super) fn check(list: &Node<'_>, values: Values, problems: &Problems) -> usize {
    let items = list.value.as_array().map_or(0, Vec::len);
    if values == Values::ServiceAccounts {
        // istio/api authorization_policy.proto: MaxItems=16
        proto::at_most(list, 16, problems);
    }
    for (at, text) in proto::texts(list, problems) {
        let problem = if text.is_empty() {
            Err("a value, found an empty string".to_owned())
        } else {
            check_value(text, values)
        };
        if let Err(expected) = problem {
            problems.error(at, format!("expected {expected}"));
        }
    }
    items
}

fn check_value(text: &str, values: Values) -> Result<(), String> {
    match values {
        Values::Any => Ok(()),
        Values::Addresses => check_address(text),
        Values::Paths => check_path(text),
        Values::Ports => {
            let digits = text.bytes().all(|b| b.is_ascii_digit());
            // Go allows leading zeros, any number of them.
            let number = text.trim_start_matches('0');
            let fits = number.is_empty() || number.len() <= 5 && number.parse::<u16>().is_ok();
            if digits && fits {
                return Ok(());
            }
            Err(format!("a port from 0 to 65535, found `{text}`"))
        }
        Values::ServiceAccounts => check_service_account(text),
        Values::TrustDomainField if text.contains('/') => {
            Err(format!("a trust domain, which has no slash, found `{text}`"))
        }
        Values::TrustDomainField | Values::TrustDomainKey => {
            let inner = text.strip_prefix('*').unwrap_or(text);
            let inner = if inner.len() == text.len() {
                inner.strip_suffix('*').unwrap_or(inner)
            } else {
                inner
            };
            if inner.contains('*') {
                return Err(format!("at most one `*`, at the start or the end, found `{text}`"));
            }
            Ok(())
        }
    }
}

/// Go's `netip.ParsePrefix` if there is a slash, else `netip.ParseAddr`.
fn check_address(text: &str) -> Result<(), String> {
    let Some((address, bits)) = text.split_once('/') else {
        let (address, zone) = match text.split_once('%') {
            Some((address, zone)) => (address, Some(zone)),
            None => (text, None),
        };
        let good = match zone {
            None => address.parse::<IpAddr>().is_ok(),
            Some(zone) => !zone.is_empty() && address.parse::<Ipv6Addr>().is_ok(),
        };
        return if good { Ok(()) } else { Err(format!("an IP address, found `{text}`")) };
    };
    let found = || format!("a CIDR range such as `10.0.0.0/8`, found `{text}`");
    let most = match address.parse::<IpAddr>().map_err(|_| found())? {
        IpAddr::V4(_) => 32_u8,
        IpAddr::V6(_) => 128,
    };
    let plain = bits.bytes().all(|b| b.is_ascii_digit()) && (bits == "0" || !bits.starts_with('0'));
    match bits.parse::<u8>() {
        Ok(bits) if plain && bits <= most => Ok(()),
        _ => Err(found()),
    }
}

fn check_path(text: &str) -> Result<(), String> {
    let is_template = text.contains("{*}") || text.contains("{**}");
    let mut rest_matched = false;
    for segment in text.trim_matches('/').split('/') {
        if segment == "{*}" || segment == "{**}" {
            if rest_matched {
                return Err(format!("`{{**}}` as the last operator, found `{text}`"));
            }
            rest_matched = segment == "{**}";
        } else if segment.contains(['{', '}']) {
            return Err(format!("braces as `{{*}}` or `{{**}}` only, found `{text}`"));
        } else if is_template && !is_literal(segment) {
            return Err(format!("a template's segments to be plain text, found `{text}`"));
        }
    }
    Ok(())
}

/// `^[a-zA-Z0-9-._~%!$&'()+,;:@=]+$`
fn is_literal(segment: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()+,;:@=".contains(&b);
    !segment.is_empty() && segment.bytes().all(allowed)
}

fn check_service_account(text: &str) -> Result<(), String> {
    if text.contains('*') {
        return Err(format!("a service account without wildcard, found `{text}`"));
    }
    if text.len() > 320 {
        return Err(format!("at most 320 characters, found {}", text.len()));
    }
    let mut parts = text.split('/');
    let filled = parts.by_ref().take(2).all(|part| !part.is_empty());
    if !filled || parts.next().is_some() {
        return Err(format!("`serviceAccount` or `namespace/serviceAccount`, found `{text}`"));
    }
    Ok(())
}

/// The keys without brackets.
const KEYS: [(&str, Values); 12] = [
    ("connection.sni", Values::Any),
    ("destination.ip", Values::Addresses),
    ("destination.port", Values::Ports),
    ("remote.ip", Values::Addresses),
    ("request.auth.audiences", Values::Any),
    ("request.auth.presenter", Values::Any),
    ("request.auth.principal", Values::Any),
    ("source.ip", Values::Addresses),
    ("source.namespace", Values::Any),
    ("source.principal", Values::Any),
    ("source.serviceAccount", Values::ServiceAccounts),
    ("source.trustDomain", Values::TrustDomainKey),
];

/// The prefixes of keys with a name in brackets.
const MAPS: [&str; 3] = ["request.headers", "request.auth.claims", "experimental.envoy.filters."];

/// The kind of the values of a condition's key; an unknown key is recorded.
pub(super) fn of_key(node: &Node<'_>, key: &str, problems: &Problems) -> Option<Values> {
    if MAPS.iter().any(|map| key.starts_with(map)) {
        // security.go, validateMapKey: `a[b]`, with no further check of either.
        let named = key.find('[').is_some_and(|open| open > 0 && open + 2 < key.len());
        if key.ends_with(']') && named {
            return Some(Values::Any);
        }
        problems.error(&node.at, format!("expected a name in brackets (`a[b]`), found `{key}`"));
        return None;
    }
    if let Some((_, values)) = KEYS.iter().find(|(name, _)| *name == key) {
        return Some(*values);
    }
    let bare = key.split('[').next().unwrap_or(key);
    let hint = did_you_mean(bare, KEYS.iter().map(|(name, _)| *name).chain(MAPS));
    let reason = match key {
        "destination.namespace" => "; a policy is for its own namespace".to_owned(),
        "destination.name" | "destination.user" => "; it ended with v1alpha1".to_owned(),
        key if key.starts_with("destination.labels") => "; that is what selector is for".to_owned(),
        _ => hint,
    };
    problems.error(&node.at, format!("unknown attribute `{key}`{reason}"));
    None
}

/// Whether CUSTOM does not support the key: all keys from a verified identity.
pub(super) fn is_identity(key: &str) -> bool {
    let names =
        ["source.namespace", "source.principal", "source.serviceAccount", "source.trustDomain"];
    names.contains(&key) || key.starts_with("request.auth.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_istios() {
        for (values, good, bad) in [
            (
                Values::Addresses,
                &["10.0.0.1", "10.0.0.1/8", "::1", "fe80::1%eth0", "::ffff:1.2.3.4/120", "::/0"][..],
                &[
                    "10.0.0",
                    "01.2.3.4",
                    " ::1",
                    "1.2.3.4/08",
                    "1.2.3.4/",
                    "/8",
                    "1.2.3.4/33",
                    "::1/129",
                    "1.2.3.4%e",
                    "fe80::1%",
                    "fe80::1%eth0/64",
                    "1.2.3.4/+8",
                ][..],
            ),
            (
                Values::Paths,
                &["/a", "a", "**", "//", "/{*}", "{**}", "//{*}", "/a/{**}/", "/a/{**}/b", "/a*b"],
                &[
                    "/{a}",
                    "/{*}b",
                    "/{**}/{*}",
                    "/{**}/{**}",
                    "/{*}/a*",
                    "/{*}//b",
                    "/a}",
                    "/{*}/ä",
                ],
            ),
            (
                Values::Ports,
                &["0", "80", "080", "65535", "00000080"],
                &["65536", "-1", "80.0", "+1", "x"],
            ),
            (Values::ServiceAccounts, &["a", "a/b", "-"], &["/b", "a/", "a/b/c", "a*", "/"]),
            (
                Values::TrustDomainField,
                &["td", "*", "*td", "td*", "TD"],
                &["td/x", "t*d", "**", "*a*"],
            ),
            (Values::TrustDomainKey, &["td/x"], &["**", "*td*"]),
        ] {
            for text in good {
                assert_eq!(check_value(text, values), Ok(()), "{values:?} {text}");
            }
            for text in bad {
                assert!(check_value(text, values).is_err(), "{values:?} {text}");
            }
        }
    }
}
