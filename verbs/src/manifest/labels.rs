//! Labels, and what they reveal about a workload.

use std::collections::BTreeMap;

use usher_core::codec::json::Value;

pub(crate) type Labels = BTreeMap<String, String>;

/// The labels of an object.
pub(crate) fn labels(value: Option<&Value>) -> Labels {
    let members = value.and_then(Value::as_object).into_iter().flatten();
    let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
    members.filter_map(text).collect()
}

/// The labels that a spec selects by; empty if it has no selector.
pub(crate) fn match_labels(spec: &Value) -> Labels {
    labels(spec.get("selector").and_then(|selector| selector.get("matchLabels")))
}

/// Whether these are labels of one of Istio's gateways: `istio: ingressgateway` and common variants,
/// or the label of a gateway that the Kubernetes Gateway API made.
pub(crate) fn is_gateway(labels: &Labels) -> bool {
    let istio =
        labels.get("istio").is_some_and(|name| !["istiod", "pilot"].contains(&name.as_str()));
    let app = labels.get("app").is_some_and(|name| name.starts_with("istio-") && is_like(name));
    istio || app || labels.contains_key("gateway.networking.k8s.io/gateway-name")
}

/// Whether a name looks like a gateway's.
pub(crate) fn is_like(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["gateway", "ingress", "egress"].iter().any(|word| name.contains(word))
}
