//! The guides' policies, as pasted: a listener for each, behind the main one's ports.

use anyhow::Context as _;
use serde::Deserialize as _;
use serde_json::{Map, Value};

/// A listener that enforces the policies of one file.
pub struct Listener {
    /// How many ports behind the main listener's.
    pub offset: u16,
    /// What its policies say, as the examples call it.
    pub name: &'static str,
    manifests: &'static str,
}

/// Everyone with a token.
pub const ANYONE: Listener = Listener {
    offset: 4,
    name: "requestPrincipals `*`",
    manifests: include_str!("../policies/anyone.yaml"),
};
/// Members of a group.
pub const GROUP: Listener =
    Listener { offset: 5, name: "group2 only", manifests: include_str!("../policies/group.yaml") };
/// Everyone with a token, and the probe without one.
pub const HEALTH_CHECK: Listener = Listener {
    offset: 6,
    name: "notPaths /health_check",
    manifests: include_str!("../policies/health-check.yaml"),
};
/// DENY before ALLOW.
pub const DENY_AND_ALLOW: Listener = Listener {
    offset: 7,
    name: "DENY and ALLOW",
    manifests: include_str!("../policies/deny-and-allow.yaml"),
};
/// ALLOW nothing.
pub const NOTHING: Listener = Listener {
    offset: 8,
    name: "ALLOW nothing",
    manifests: include_str!("../policies/nothing.yaml"),
};

/// Every listener.
pub const LISTENERS: [Listener; 5] = [ANYONE, GROUP, HEALTH_CHECK, DENY_AND_ALLOW, NOTHING];

impl Listener {
    /// The entries of `authorizationPolicies`: each spec as it is, with its name and namespace.
    ///
    /// # Errors
    /// A file holds something else than AuthorizationPolicy manifests.
    pub fn policies(&self) -> anyhow::Result<Vec<Value>> {
        let documents = serde_yaml_ng::Deserializer::from_str(self.manifests);
        documents.map(|document| entry(&Value::deserialize(document)?)).collect()
    }
}

fn entry(manifest: &Value) -> anyhow::Result<Value> {
    let spec = manifest.get("spec").and_then(Value::as_object).context("no spec")?;
    let mut entry: Map<String, Value> = spec.clone();
    for field in ["name", "namespace"] {
        let value = manifest.get("metadata").and_then(|m| m.get(field));
        entry.insert(field.to_owned(), value.context("no name")?.clone());
    }
    Ok(Value::Object(entry))
}
