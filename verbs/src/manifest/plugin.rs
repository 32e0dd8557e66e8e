//! WasmPlugin and TrafficExtension: istio/istio pkg/config/validation/validation.go
//! (ValidateWasmPlugin), istio/api extensions/v1alpha1, and the pluginConfig in them.

use std::collections::BTreeSet;

use usher_core::codec::json::{Map, Value};
use usher_core::codec::problems::{Node, Object, Problems, did_you_mean};

use super::{PluginConfig, proto, selector, url};

/// Checks a WasmPlugin's spec; returns its pluginConfig if that is Usher's.
pub(super) fn check_wasm_plugin(
    node: &Node<'_>,
    at_a_waypoint: bool,
    problems: &Problems,
) -> Option<PluginConfig> {
    let spec = node.object(problems)?;
    check_attachment(node, at_a_waypoint, problems);
    selector::check(&spec, selector::TargetRef::Allowed, problems);
    check_place(&spec, &["UNSPECIFIED_PHASE", "AUTHN", "AUTHZ", "STATS"], problems);
    let config = check_module(&spec, problems);
    spec.finish(problems);
    config.map(|config| PluginConfig { at_a_waypoint, ..config })
}

/// A plugin that Istio attaches nowhere lets every request pass, without an error. Source: istio/istio
/// pilot/pkg/model/extensions.go (a waypoint's listeners are of class SERVER and without a port, a
/// gateway's of class CLIENT).
fn check_attachment(spec: &Node<'_>, at_a_waypoint: bool, problems: &Problems) {
    let at_a_gateway = selector::is_at_a_gateway(spec.value);
    let matches = spec.value.get("match").and_then(Value::as_array).into_iter().flatten();
    for (index, one) in matches.enumerate() {
        let at = format!("{}.match[{index}]", spec.at);
        let mode = one.get("mode").and_then(Value::as_str).unwrap_or_default();
        let ports = one.get("ports").and_then(Value::as_array).is_some_and(|p| !p.is_empty());
        if at_a_waypoint && (mode == "CLIENT" || ports) {
            let problem = "with ports or `mode: CLIENT` no waypoint attaches the plugin, and \
                           everything passes unguarded; leave `match` out beside `targetRefs`";
            problems.warning("not-attached", at, problem);
        } else if !at_a_waypoint && at_a_gateway && mode == "SERVER" {
            let problem = "to a plugin an ingress gateway is a CLIENT: with `mode: SERVER` it is not \
                           attached there, and everything passes unguarded; leave `match` out";
            problems.warning("not-attached", at, problem);
        }
    }
}

/// Checks a TrafficExtension's spec; returns its pluginConfig if that is Usher's.
pub(super) fn check_traffic_extension(
    node: &Node<'_>,
    at_a_waypoint: bool,
    problems: &Problems,
) -> Option<PluginConfig> {
    let spec = node.object(problems)?;
    check_attachment(node, at_a_waypoint, problems);
    selector::check(&spec, selector::TargetRef::Unknown, problems);
    // Renamed once in istio/api; each spelling belongs to some release.
    let phases = [
        "AUTHN",
        "AUTHZ",
        "EXECUTION_PHASE_AUTHN",
        "EXECUTION_PHASE_AUTHZ",
        "EXECUTION_PHASE_STATS",
        "EXECUTION_PHASE_UNSPECIFIED",
        "STATS",
        "UNSPECIFIED",
    ];
    check_place(&spec, &phases, problems);
    let wasm = spec.field("wasm").and_then(|wasm| wasm.object(problems));
    let lua = spec.field("lua").and_then(|lua| lua.object(problems));
    if wasm.is_some() == lua.is_some() {
        let found = if lua.is_some() { "both" } else { "neither" };
        problems.error(&spec.at, format!("exactly one of wasm and lua, found {found}"));
    }
    if let Some(lua) = lua {
        let code = lua.required("inlineCode", problems);
        if let Some(code) = code.filter(|code| code.filled_text(problems).is_some()) {
            // istio/api LuaConfig: MaxLength=65536
            proto::no_longer_than(&code, 65536, problems);
        }
        lua.finish(problems);
    }
    spec.finish(problems);
    let wasm = wasm?;
    let config = check_module(&wasm, problems);
    wasm.finish(problems);
    config.map(|config| PluginConfig { at_a_waypoint, ..config })
}

/// The position in the filter chain, and the traffic that it applies to.
fn check_place(spec: &Object<'_>, phases: &[&'static str], problems: &Problems) {
    if let Some(phase) = spec.field("phase") {
        proto::word(&phase, phases, problems);
    }
    if let Some(priority) = spec.field("priority") {
        proto::integer(&priority, i32::MIN.into(), i32::MAX.into(), problems);
    }
    let Some(selectors) = spec.field("match") else { return };
    for selector in proto::objects(&selectors, problems) {
        if let Some(mode) = selector.field("mode") {
            let modes = ["UNDEFINED", "CLIENT", "SERVER", "CLIENT_AND_SERVER"];
            proto::word(&mode, &modes, problems);
        }
        let ports = selector.field("ports");
        for port in ports.iter().flat_map(|ports| proto::objects(ports, problems)) {
            if let Some(number) = port.required("number", problems) {
                proto::integer(&number, 1, 65535, problems);
            }
            port.finish(problems);
        }
        selector.finish(problems);
    }
}

/// The module itself: the fields that WasmPlugin and TrafficExtension.wasm share.
fn check_module(module: &Object<'_>, problems: &Problems) -> Option<PluginConfig> {
    let url = module.required("url", problems);
    let url = url.as_ref().and_then(|url| Some((url, url.filled_text(problems)?)));
    if let Some((url, text)) = url {
        let scheme = url::parse_module(text).and_then(|url| match url.scheme.as_str() {
            "" | "file" | "http" | "https" | "oci" => Ok(()),
            scheme => Err(format!("the scheme `{scheme}`")),
        });
        if let Err(found) = scheme {
            problems
                .error(&url.at, format!("expected an oci, http, https or file URL, found {found}"));
        }
    }
    if let Some(digest) = module.field("sha256") {
        let hex = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
        let is_digest = |text: &str| text.is_empty() || text.len() == 64 && text.bytes().all(hex);
        if digest.text(problems).is_some_and(|text| !is_digest(text)) {
            digest.expected::<()>("64 hexadecimal digits in lower case", problems);
        }
    }
    // The lengths are the schema's; Istio's own checks allow the empty string.
    for (name, most) in [("imagePullSecret", 253), ("pluginName", 256)] {
        if let Some(text) = module.field(name).filter(|t| t.filled_text(problems).is_some()) {
            proto::no_longer_than(&text, most, problems);
        }
    }
    module.field("verificationKey").and_then(|key| key.text(problems));
    for (name, words) in [
        ("imagePullPolicy", &["UNSPECIFIED_POLICY", "IfNotPresent", "Always"][..]),
        ("failStrategy", &["FAIL_CLOSE", "FAIL_OPEN", "FAIL_RELOAD"]),
        ("type", &["UNSPECIFIED_PLUGIN_TYPE", "HTTP", "NETWORK"]),
    ] {
        if let Some(field) = module.field(name) {
            proto::word(&field, words, problems);
        }
    }
    if let Some(vm) = module.field("vmConfig").and_then(|vm| vm.object(problems)) {
        check_vm(vm, problems);
    }
    let config = module.field("pluginConfig");
    let name = module.field("pluginName");
    let names = [url.map(|(_, text)| text), name.and_then(|name| name.value.as_str())];
    plugin_config(module, config, &names, problems)
}

fn check_vm(vm: Object<'_>, problems: &Problems) {
    let mut seen = BTreeSet::new();
    let variables = vm.field("env");
    if let Some(variables) = &variables {
        // istio/api VmConfig: MaxItems=256
        proto::at_most(variables, 256, problems);
    }
    for variable in variables.iter().flat_map(|variables| proto::objects(variables, problems)) {
        if let Some(name) = variable.required("name", problems)
            && let Some(text) = name.filled_text(problems)
        {
            proto::no_longer_than(&name, 256, problems);
            if !seen.insert(text) {
                problems.error(&name.at, format!("the variable `{text}` is set twice"));
            }
        }
        let from = variable.field("valueFrom");
        let from = from.and_then(|from| proto::word(&from, &["INLINE", "HOST"], problems));
        if let Some(value) = variable.field("value")
            && let Some(text) = value.text(problems)
        {
            // istio/api EnvVar: MaxLength=2048
            proto::no_longer_than(&value, 2048, problems);
            if from == Some("HOST") && !text.is_empty() {
                problems.error(&value.at, "a value goes with valueFrom INLINE only");
            }
        }
        variable.finish(problems);
    }
    vm.finish(problems);
}

/// The fields of a pluginConfig of Usher (DESIGN section 2).
const FIELDS: [&str; 21] = [
    "authorizationPolicies",
    "corsPreflight",
    "decisionLog",
    "exempt",
    "filterState",
    "identityHeaders",
    "instance",
    "jwtRules",
    "limits",
    "matchScalarClaims",
    "missingToken",
    "mode",
    "onInvalidConfig",
    "pathNormalization",
    "peerIdentity",
    "requireValidatedPeer",
    "responses",
    "signatureEngine",
    "sourceAddress",
    "tokenCache",
    "trustDomains",
];

/// The pluginConfig to check as Usher's. A module that clearly is another one (neither its url nor its
/// name nor a field of its configuration is Usher's) is not checked, and that is reported.
fn plugin_config(
    module: &Object<'_>,
    config: Option<Node<'_>>,
    names: &[Option<&str>],
    problems: &Problems,
) -> Option<PluginConfig> {
    let Some(config) = config else {
        if speaks_usher(&Map::new(), names) {
            let problem = "no pluginConfig: as it stands every request is answered 503 \
                           `config_invalid`";
            problems.warning("no-configuration", &module.at, problem);
        }
        return None;
    };
    let Value::Object(members) = config.value else {
        return config.expected("an object", problems);
    };
    if !speaks_usher(members, names) {
        let problem = "not checked: neither `url` nor `pluginName` nor a field of it is Usher's";
        problems.warning("not-checked", &config.at, problem);
        return None;
    }
    Some(PluginConfig::new(&config.at, config.value.clone()))
}

/// Whether a module or a field of its configuration has a name of Usher's.
pub(crate) fn speaks_usher(members: &Map<String, Value>, names: &[Option<&str>]) -> bool {
    names.iter().flatten().any(|name| name.to_ascii_lowercase().contains("usher"))
        || members.keys().any(|key| {
            let is_ours = FIELDS.contains(&key.as_str());
            // A misspelt one, if the word is long enough to be no other.
            let is_near = key.len() > 5 && !did_you_mean(key, FIELDS.into_iter()).is_empty();
            is_ours && !COMMON.contains(&key.as_str()) || !is_ours && is_near
        })
}

/// Fields that other vendors' plugins have too: by themselves they say nothing.
const COMMON: [&str; 5] = ["exempt", "instance", "limits", "mode", "responses"];
