//! A pluginConfig -> RequestAuthentication and AuthorizationPolicy, as far as Istio can express it.

mod looser;

use serde_json::json;
use usher_core::claims::ClaimName;
use usher_core::codec::json::{Map, Value};
use usher_core::codec::problems::Problems;
use usher_core::load;
use usher_core::policy::MissingToken;

use super::{Manifest, Notes, object};
use crate::config::Source;
use crate::manifest::Waypoints;
use crate::output::set;

/// The plugin's namespace, name and selector.
#[derive(Clone, Debug)]
pub struct Home {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// `selector` and `targetRefs` of the WasmPlugin, null without.
    pub selector: Value,
    /// See `selector`.
    pub targets: Value,
    /// The mesh's path normalization and trust domains, if given.
    pub path_normalization: Option<String>,
    /// See `path_normalization`.
    pub trust_domains: Vec<String>,
}

impl Home {
    /// Where the plugin of this configuration is, in a mesh with these settings.
    pub fn of(
        source: &Source,
        path_normalization: Option<String>,
        trust_domains: Vec<String>,
    ) -> Self {
        let manifest = source.manifest();
        let text = |name: &str| {
            let value = manifest.get("metadata").and_then(|metadata| metadata.get(name));
            value.and_then(Value::as_str).map(str::to_owned)
        };
        let spec = |name: &str| {
            manifest.get("spec").and_then(|spec| spec.get(name)).cloned().unwrap_or_default()
        };
        Self {
            namespace: text("namespace").unwrap_or_else(|| "default".to_owned()),
            name: text("name").unwrap_or_else(|| "usher".to_owned()),
            selector: spec("selector"),
            targets: spec("targetRefs"),
            path_normalization,
            trust_domains,
        }
    }
}

/// The fields of a rule that RequestAuthentication has too.
const RULE: [&str; 12] = [
    "audiences",
    "forwardOriginalToken",
    "fromCookies",
    "fromHeaders",
    "fromParams",
    "issuer",
    "jwks",
    "jwksUri",
    "outputClaimToHeaders",
    "outputPayloadToHeader",
    "spaceDelimitedClaims",
    "timeout",
];

/// What Istio does in place of each field of Usher's.
const WITHOUT: [(&str, &str); 15] = [
    ("algorithms", "every algorithm that a key allows is accepted"),
    ("allValues", "a condition is about any of its values"),
    ("audienceClaims", "`aud` alone says whom a token is for"),
    ("clockSkew", "clocks may differ by 60 s"),
    ("decisionLog", "Envoy's access log says less"),
    ("denyMessage", "the body is `RBAC: access denied`"),
    ("denyStatus", "the status is 403"),
    ("denyWhenUnauthenticated", "the status is 403"),
    ("exempt", "name the paths in the policies: DENY with `notPaths`, or an ALLOW rule for them"),
    ("issuedAtSkew", "clocks may differ by 60 s"),
    ("maxAge", "a token's age is not looked at"),
    ("maxLifetime", "a token's lifetime is not looked at"),
    ("outputPayloadEncoding", "the payload is base64url without padding"),
    ("requiredClaims", "use a DENY policy with `notValues` on the claim"),
    ("types", "`typ` is not looked at"),
];

/// The manifests of a configuration.
pub fn manifests(
    config: &Value,
    missing_token: MissingToken,
    home: &Home,
    notes: &mut Notes,
) -> Vec<Manifest> {
    let mut manifests = Vec::new();
    let rules = list(config, "jwtRules");
    let converted: Vec<Value> = rules
        .iter()
        .enumerate()
        .map(|(index, rule)| jwt_rule(rule, &format!("jwtRules[{index}]"), notes))
        .collect();
    if !converted.is_empty() {
        let spec = scoped(home, vec![("jwtRules", Value::Array(converted))]);
        manifests.push(manifest("RequestAuthentication", &home.name, &home.namespace, spec, false));
    }
    let policies = list(config, "authorizationPolicies");
    for (index, policy) in policies.iter().enumerate() {
        let twice = |other: &Value| other.get("name") == policy.get("name");
        let shared = policies.iter().filter(|other| twice(other)).count() > 1;
        manifests.extend(authorization_policy(policy, index, shared, home, notes));
    }
    // Also without JWT rules: then no token is valid, and all requests are refused.
    if missing_token == MissingToken::Reject {
        // Istio's idiom for "must have a token" (docs/semantics.md, "Missing attributes").
        let rule = json!({ "from": [{ "source": { "notRequestPrincipals": ["*"] } }] });
        let spec = scoped(home, vec![("action", json!("DENY")), ("rules", json!([rule]))]);
        let name = format!("{}-require-token", home.name);
        manifests.push(manifest("AuthorizationPolicy", &name, &home.namespace, spec, false));
        notes.advice(
            "missingToken",
            "a request without a token is answered 403 by a DENY policy, not 401 with a challenge; and so is one \
             whose token has no `sub`, which is no principal in Istio",
        );
    }
    leftover(config, home, notes);
    manifests
}

/// The fields other than rules and policies.
fn leftover(config: &Value, home: &Home, notes: &mut Notes) {
    let policies = list(config, "authorizationPolicies");
    for (name, value) in config.as_object().into_iter().flatten() {
        let why = match name.as_str() {
            "jwtRules" | "authorizationPolicies" | "missingToken" => continue,
            "matchScalarClaims" if *value == Value::Bool(false) => continue,
            "mode" if value == "enforce" => continue,
            "corsPreflight" if value == "authorize" => continue,
            "corsPreflight" => "a preflight needs no token",
            "matchScalarClaims" => "a number or boolean claim never matches",
            "mode" => "a RequestAuthentication cannot run dry; annotate the policies",
            "pathNormalization"
                if value.as_str().is_some_and(|mode| mode.ends_with("MERGE_SLASHES"))
                    && value.as_str() != home.path_normalization.as_deref()
                    && looser::asks_for(&policies, &["paths", "notPaths"]) =>
            {
                "Istio has it for the whole mesh alone, and else another form of a path passes its DENY: say \
                 `--path-normalization` if the mesh has it"
            }
            "trustDomains"
                if *value != json!(home.trust_domains)
                    && looser::asks_for(
                        &policies,
                        &["principals", "notPrincipals", "source.principal"],
                    ) =>
            {
                "Istio has them for the whole mesh alone, and else a peer of another name passes its DENY: say \
                 `--trust-domain` for each that the mesh has, in their order"
            }
            "pathNormalization" | "trustDomains" => {
                notes.advice(name, "it is the mesh configuration's to say");
                continue;
            }
            "sourceAddress" => {
                notes.advice(name, "Istio knows the peer by itself");
                continue;
            }
            "identityHeaders" => "headers that no rule emits are not taken out",
            "responses" => "the texts are Envoy's",
            "limits" => "sizes are not limited",
            name => without(name),
        };
        notes.lost(name, why);
    }
}

fn without(name: &str) -> &'static str {
    let known = WITHOUT.iter().find(|(field, _)| *field == name);
    known.map_or("Istio has no such field", |(_, why)| *why)
}

fn jwt_rule(rule: &Value, at: &str, notes: &mut Notes) -> Value {
    let mut converted = Map::new();
    for (name, value) in rule.as_object().into_iter().flatten() {
        let place = format!("{at}.{name}");
        match name.as_str() {
            // Istio expects the text.
            "jwks" if value.is_object() => {
                converted.insert(name.clone(), json!(usable(value, &place, notes).to_string()));
            }
            "jwks" if value.as_str().is_some_and(|text| text.contains("-----BEGIN")) => {
                notes.lost(&place, "Istio takes a JWK set, no PEM");
            }
            "outputClaimToHeaders" => {
                converted.insert(name.clone(), claim_headers(value, &place, notes));
            }
            name if RULE.contains(&name) => {
                converted.insert(name.to_owned(), value.clone());
            }
            "anyIssuer" => {}
            "name" => notes.advice(&place, "Istio's rules have no names"),
            "requireExpiration" | "allowPublishedKeys" => {}
            name => notes.lost(&place, without(name)),
        }
    }
    if rule.get("requireExpiration") != Some(&Value::Bool(false)) {
        notes.lost(at, "a token without `exp` is accepted, and never ends");
    }
    if rule.get("issuer").is_none() && rule.get("jwksUri").is_none() {
        notes.lost(at, "Istio wants an `issuer` or a `jwksUri`, so any issuer needs the latter");
    }
    Value::Object(converted)
}

/// The usable keys of a set: for Envoy's own filter one unusable key makes the whole set unusable.
fn usable(key_set: &Value, at: &str, notes: &mut Notes) -> Value {
    let mut usable = key_set.clone();
    let keys = list(key_set, "keys");
    let good = |key: &Value| {
        let alone = json!({ "jwtRules": [{ "issuer": "a", "jwks": { "keys": [key] } }] });
        load::from_value(&alone).is_ok()
    };
    let (kept, left): (Vec<Value>, Vec<Value>) = keys.into_iter().partition(good);
    for key in &left {
        let kid = key.get("kid").and_then(Value::as_str).unwrap_or("unnamed");
        notes.advice(at, format!("key `{kid}` is left out: it verifies nothing"));
    }
    set(&mut usable, "keys", Value::Array(kept));
    usable
}

fn claim_headers(value: &Value, at: &str, notes: &mut Notes) -> Value {
    let mut outputs = Vec::new();
    for output in value.as_array().into_iter().flatten() {
        for name in ["format", "encoding"] {
            if output.get(name).is_some() {
                notes.lost(at, format!("`{name}`: a list or object is base64 of its JSON"));
            }
        }
        // Istio has no brackets: there they would be part of a claim's name.
        let claim = output.get("claim").and_then(Value::as_str).unwrap_or_default();
        match ClaimName::new(claim).and_then(|name| name.dotted()) {
            Some(dotted) => {
                let header = output.get("header").cloned();
                outputs.push(object([("header", header), ("claim", Some(json!(dotted)))]));
            }
            None => notes.lost(at, format!("left out: Istio cannot reach the claim `{claim}`")),
        }
    }
    Value::Array(outputs)
}

fn authorization_policy(
    policy: &Value,
    index: usize,
    shared: bool,
    home: &Home,
    notes: &mut Notes,
) -> Option<Manifest> {
    let at = format!("authorizationPolicies[{index}]");
    let text = |name: &str| policy.get(name).and_then(Value::as_str);
    for name in ["denyMessage", "denyStatus", "denyWhenUnauthenticated"] {
        if policy.get(name).is_some() {
            notes.lost(&format!("{at}.{name}"), without(name));
        }
    }
    let action = text("action").unwrap_or("ALLOW");
    let dry_run = policy.get("dryRun") == Some(&Value::Bool(true));
    let mut fields = vec![("action", json!(action))];
    if let Some(Value::Array(rules)) = policy.get("rules") {
        let mut kept = Vec::new();
        for (number, rule) in rules.iter().enumerate() {
            match own_words(rule).or_else(|| refused(rule, action)) {
                Some(problem) => {
                    notes.lost(&format!("{at}.rules[{number}]"), format!("left out: {problem}"));
                }
                None => {
                    for problem in looser::of(rule, if dry_run { "" } else { action }) {
                        notes.lost(&format!("{at}.rules[{number}]"), problem);
                    }
                    kept.push(rule.clone());
                }
            }
        }
        // An ALLOW policy without any rule left stays, and allows nothing: letting a request pass that
        // the original refuses is the worse mistake. Istio refuses DENY without rules.
        if kept.is_empty() && action != "ALLOW" {
            return None;
        }
        fields.push(("rules", Value::Array(kept)));
    }
    // A policy's `namespace` names its origin. It applies where the plugin was, and only there.
    let name = match (text("name").unwrap_or(&home.name), text("namespace")) {
        (name, Some(namespace)) if shared => format!("{name}-{namespace}"),
        (name, _) => name.to_owned(),
    };
    Some(manifest("AuthorizationPolicy", &name, &home.namespace, scoped(home, fields), dry_run))
}

/// Istio's own error for a policy with this rule.
fn refused(rule: &Value, action: &str) -> Option<String> {
    let spec = json!({ "action": action, "rules": [rule] });
    let alone = manifest("AuthorizationPolicy", "alone", "default", spec, false);
    let problems = Problems::default();
    crate::manifest::check(&alone.value, &Waypoints::default(), &problems);
    let (errors, _) = problems.into_parts();
    errors.first().map(|error| format!("Istio refuses it: {error}"))
}

/// The parts of Usher's own language that a rule uses.
fn own_words(rule: &Value) -> Option<String> {
    let conditions = rule.get("when").and_then(Value::as_array);
    for condition in conditions.into_iter().flatten() {
        for name in ["allValues", "valuesFrom"] {
            if condition.get(name).is_some() {
                return Some(format!("`{name}` is Usher's own"));
            }
        }
        let key = condition.get("key").and_then(Value::as_str).unwrap_or_default();
        let own = ["request.auth.actor", "request.auth.provider", "request.auth.scopes"];
        if own.contains(&key) || key.starts_with("request.query[") || key.contains("[*]") {
            return Some(format!("the key `{key}` is Usher's own"));
        }
    }
    None
}

fn scoped(home: &Home, fields: Vec<(&str, Value)>) -> Value {
    let mut spec = Map::new();
    for (name, value) in [("selector", &home.selector), ("targetRefs", &home.targets)] {
        if !value.is_null() {
            spec.insert(name.to_owned(), value.clone());
        }
    }
    spec.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
    Value::Object(spec)
}

fn manifest(kind: &str, name: &str, namespace: &str, spec: Value, dry_run: bool) -> Manifest {
    let mut metadata = json!({ "name": name, "namespace": namespace });
    if dry_run {
        set(&mut metadata, "annotations", json!({ "istio.io/dry-run": "true" }));
    }
    let value = json!({
        "apiVersion": "security.istio.io/v1",
        "kind": kind,
        "metadata": metadata,
        "spec": spec,
    });
    Manifest { comment: Vec::new(), value }
}

fn list(value: &Value, name: &str) -> Vec<Value> {
    value.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}
