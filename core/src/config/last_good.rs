//! Which configuration stays in force in place of a wrong one: the plugin's own last good one, and never another
//! plugin's.
//!
//! Two plugins of one process are distinguished by their name and root id in Istio, which gives each plugin its own
//! name, and in a plain Envoy, where two listeners often have a filter of one name, by an `instance` that both texts
//! have.

use super::CONFIG_DEPTH;
use super::fields::Words;
use crate::codec::json::{self, Value};
use crate::policy::OnInvalidConfig;

/// A plugin, as its host identifies it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plugin {
    /// Envoy `plugin_name`.
    pub name: String,
    /// Envoy `plugin_root_id`.
    pub root_id: String,
    /// Whether the proxy is Istio's, where each plugin has its own name.
    pub in_istio: bool,
}

/// The fields that can be read from an invalid text.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wrong {
    on_invalid_config: OnInvalidConfig,
    instance: Option<String>,
}

impl Plugin {
    /// The name in shared data under which a good configuration of this plugin is kept; `None` if another plugin may
    /// have the same name.
    pub fn key(&self, instance: Option<&str>) -> Option<String> {
        if self.name.is_empty() || self.root_id.is_empty() {
            return None;
        }
        let mut parts = vec![self.name.as_str(), &self.root_id];
        if !self.in_istio {
            parts.push(instance.filter(|instance| !instance.is_empty())?);
        }
        // A JSON list: two different lists have different texts, for any names.
        let parts: Value = parts.into_iter().map(Value::from).collect();
        Some(format!("usher.config {parts}"))
    }

    /// What an invalid `text` lacks to identify its own last good configuration.
    pub fn lacks(&self, text: &[u8]) -> Option<&'static str> {
        match self {
            Self { name, .. } if name.is_empty() => Some("name"),
            Self { root_id, .. } if root_id.is_empty() => Some("root_id"),
            _ if self.key(Wrong::read(text).instance.as_deref()).is_none() => Some("instance"),
            _ => None,
        }
    }

    /// As [`Self::key`], for the configuration that may replace `text`, which is invalid; `None` if there is none.
    pub fn key_for_wrong(&self, text: &[u8]) -> Option<String> {
        let wrong = Wrong::read(text);
        match wrong.on_invalid_config {
            OnInvalidConfig::KeepLast => self.key(wrong.instance.as_deref()),
            OnInvalidConfig::Deny => None,
        }
    }

    /// Whether a configuration with this `onInvalidConfig` and `instance`, once kept for this plugin, stays in force in
    /// place of `text`, which is invalid. Either may say `deny`.
    pub fn keeps(&self, last: OnInvalidConfig, instance: Option<&str>, text: &[u8]) -> bool {
        let key = self.key_for_wrong(text);
        last == OnInvalidConfig::KeepLast && key.is_some() && key == self.key(instance)
    }
}

impl Wrong {
    fn read(text: &[u8]) -> Self {
        let value = json::parse(text, CONFIG_DEPTH).ok();
        let word = |name| value.as_ref().and_then(|value| value.get(name)?.as_str());
        let wish = word("onInvalidConfig");
        let known = OnInvalidConfig::WORDS.iter().find(|(known, _)| Some(*known) == wish);
        Self {
            on_invalid_config: known.map_or(OnInvalidConfig::KeepLast, |(_, wish)| *wish),
            instance: word("instance").map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::from_json;
    use super::*;
    use crate::policy::{Config, Settings};

    fn plugin(name: &str, root_id: &str, in_istio: bool) -> Plugin {
        Plugin { name: name.to_owned(), root_id: root_id.to_owned(), in_istio }
    }

    /// A good configuration with these further fields.
    fn good(fields: &Value) -> Config {
        let mut text = json!({ "authorizationPolicies": [{ "name": "all", "rules": [{}] }] });
        text.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        from_json(text.to_string().as_bytes()).unwrap().config
    }

    #[test]
    fn no_text_stands_in_for_another_plugins() {
        let a = json!({ "instance": "a" });
        let denying = json!({ "instance": "a", "onInvalidConfig": "deny" });
        for (in_istio, last, wrong, expected, what) in [
            (true, json!({}), "{}", true, "Istio: name and root id suffice"),
            (true, json!({}), "no JSON", true, "Istio: text that cannot be read"),
            (true, a.clone(), "{}", true, "Istio: an instance is not needed"),
            (true, json!({}), r#"{"onInvalidConfig":"deny"}"#, false, "Istio: the new one denies"),
            (true, denying.clone(), "{}", false, "Istio: the old one denies"),
            (false, json!({}), "{}", false, "neither has an instance"),
            (false, json!({}), r#"{"instance":"a"}"#, false, "the last has none"),
            (false, a.clone(), "{}", false, "the wrong one has none"),
            (false, a.clone(), r#"{"instance":"b"}"#, false, "two instances"),
            (false, a.clone(), r#"{"instance":"A"}"#, false, "another spelling"),
            (false, a.clone(), r#"{"instance":["a"]}"#, false, "no text"),
            (false, a.clone(), r#"{"x":{"instance":"a"}}"#, false, "not at the top"),
            (false, a.clone(), r#"{"instance":"a""#, false, "no JSON"),
            (false, a.clone(), r#"{"instance":"a","instance":"a"}"#, false, "twice"),
            (false, a.clone(), "", false, "no text at all"),
            (false, a.clone(), r#"{"instance":"a"}"#, true, "the same"),
            (
                false,
                a.clone(),
                r#"{"instance":"a","onInvalidConfig":"deny"}"#,
                false,
                "the new one denies",
            ),
            (false, denying, r#"{"instance":"a"}"#, false, "the old one denies"),
            (
                false,
                a,
                r#"{"instance":"a","onInvalidConfig":"denny"}"#,
                true,
                "a word that is not known",
            ),
        ] {
            let plugin = plugin("usher", "usher", in_istio);
            let Settings { on_invalid_config, instance, .. } = good(&last).settings;
            let keeps = plugin.keeps(on_invalid_config, instance.as_deref(), wrong.as_bytes());
            assert_eq!(keeps, expected, "{what}");
        }
    }

    #[test]
    fn no_two_plugins_have_one_key() {
        let name =
            |name, root_id, in_istio, instance| plugin(name, root_id, in_istio).key(instance);
        for (key, what) in [
            (name("", "r", true, Some("i")), "no name"),
            (name("n", "", true, Some("i")), "no root id"),
            (name("n", "r", false, None), "no instance"),
            (name("n", "r", false, Some("")), "an empty instance"),
        ] {
            assert_eq!(key, None, "{what}");
        }
        let keys = [
            name("a b", "c", true, None),
            name("a", "b c", true, None),
            name("a\",\"b", "c", true, None),
            name("a", "b\",\"c", true, None),
            name("a", "b", false, Some("c")),
            name("a", "b", false, Some("d")),
            name("a b", "c", false, Some("d")),
        ];
        let all: std::collections::BTreeSet<_> = keys.iter().flatten().collect();
        assert_eq!(all.len(), keys.len(), "{keys:?}");
        assert_eq!(name("n", "r", true, None), name("n", "r", true, Some("i")));
        for (plugin, wrong, lacks) in [
            (plugin("", "r", true), "{}", Some("name")),
            (plugin("n", "", true), "{}", Some("root_id")),
            (plugin("n", "r", false), "{}", Some("instance")),
            (plugin("n", "r", false), r#"{"instance":""}"#, Some("instance")),
            (plugin("n", "r", false), r#"{"instance":"i"}"#, None),
            (plugin("n", "r", true), "{}", None),
        ] {
            assert_eq!(plugin.lacks(wrong.as_bytes()), lacks, "{plugin:?} {wrong}");
        }
    }
}
