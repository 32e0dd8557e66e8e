//! A series as the name of an Envoy stat, in Istio's convention: `label=.=value;.;` for each label, then the
//! metric's name.
//!
//! Wasm can only give a stat a name; tag rules extract the labels from it, `(label=\.=(.*?);\.;)` for each.
//! Istio's bootstrap generates such rules from `extraStatTags` (istio/istio tools/packaging/common/
//! envoy_bootstrap.json) and Envoy's `stats_tags` can express them. The rules are not anchored and stop at
//! the first `;.;`, so a value never contains `;` or `=`.

use super::{Label, Series};
use crate::codec::percent::push_encoded;

/// The longest value, in bytes as written.
const VALUE_BYTES: usize = 96;

/// Words before a dot that rules of Istio's bootstrap search for, in any stat.
const ISTIO: [&str; 5] = ["cache", "component", "tag", "wasm_filter", "rbac"];

/// The name of the stat for a series of `plugin`.
pub fn name(plugin: &str, series: &Series<'_>) -> String {
    let mut name = String::new();
    let mut label = |label: &str, value: &str| {
        name.push_str(label);
        name.push_str("=.=");
        name.push_str(value);
        name.push_str(";.;");
    };
    label("plugin", &value(plugin));
    for (key, text) in series.family.labels.iter().zip(&series.labels) {
        label(key, &written(*text));
    }
    name.push_str(series.family.name);
    name
}

/// The regular expression of the tag rule for a label.
pub fn tag_rule(label: &str) -> String {
    format!(r"({label}=\.=(.*?);\.;)")
}

fn written(label: Label<'_>) -> String {
    match label {
        Label::None => "none".to_owned(),
        Label::Number(number) => number.to_string(),
        Label::Text(text) => value(text),
        Label::In(namespace, name) => value(&format!("{namespace}/{name}")),
    }
}

/// A label's value: percent codes for bytes that a tag rule, Envoy or a reader could misread; a value that is
/// too long is cut, and a checksum of the whole is appended.
pub fn value(text: &str) -> String {
    let mut value = String::new();
    for byte in text.bytes() {
        let plain = byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/' | b'@' | b'+' | b':');
        // Istio's bootstrap removes `cache.x.` and the like from any stat.
        let dotted = byte == b'.' && ISTIO.iter().any(|word| value.ends_with(word));
        if plain && !dotted {
            value.push(char::from(byte));
        } else {
            push_encoded(&mut value, byte);
        }
        if value.len() > VALUE_BYTES {
            let checksum = format!("~{:08x}", fnv1a(text.as_bytes()));
            value.truncate(VALUE_BYTES.saturating_sub(checksum.len()));
            return value + &checksum;
        }
    }
    if value.is_empty() { "none".to_owned() } else { value }
}

/// FNV-1a, 32 bits: not for secrets, only to distinguish two names.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test may stop at any surprise")]
mod tests {
    use super::*;
    use crate::observe::metrics::family;

    #[test]
    fn a_series_is_a_name_that_tag_rules_can_read() {
        let labels = ["https://idp.example".into(), "k;.=1".into()];
        let series = Series::new(&family::KEY_REQUESTS, labels);
        assert_eq!(
            name("shop.usher", &series),
            "plugin=.=shop.usher;.;provider=.=https://idp.example;.;kid=.=k%3B.%3D1;.;usher_key_requests_total"
        );
    }

    #[test]
    fn a_policy_is_named_with_its_namespace() {
        let of = |namespace, name| {
            let none = Label::None;
            let labels = [none, none, none, none, Label::In(namespace, name), Label::Number(0)];
            self::name("p", &Series::new(&family::DECISIONS, labels))
        };
        let expected = "policy=.=shop/no-admin;.;rule=.=0;.;usher_decisions_total";
        assert!(of("shop", "no-admin").ends_with(expected), "{}", of("shop", "no-admin"));
        assert_ne!(
            of("shop", &"x".repeat(200)),
            of("bank", &"x".repeat(200)),
            "cut, and still two"
        );
    }

    #[test]
    fn values_are_clean_and_short() {
        let long = "x".repeat(200);
        for (text, expected) in [
            ("", "none".to_owned()),
            ("a b\n\"\\é", "a%20b%0A%22%5C%C3%A9".to_owned()),
            (&long, format!("{}~{:08x}", "x".repeat(87), fnv1a(long.as_bytes()))),
            (
                &"é".repeat(90),
                format!("{}~{:08x}", &"%C3%A9".repeat(15)[..87], fnv1a("é".repeat(90).as_bytes())),
            ),
            (&"x".repeat(96), "x".repeat(96)),
            ("https://idp.cache.example.com", "https://idp.cache%2Eexample.com".to_owned()),
        ] {
            let value = value(text);
            assert_eq!(value, expected, "{text}");
            assert!(value.len() <= VALUE_BYTES, "{text}");
        }
        assert_ne!(value(&"x".repeat(200)), value(&"x".repeat(201)), "cut, and still two");
    }
}
