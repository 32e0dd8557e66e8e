//! Configurations that follow each other.

use super::*;

const WRONG: &str = r#"{"jwtRule": [], "instance": "a"}"#;

fn with(fields: Value) -> String {
    let mut configuration: Value = serde_json::from_str(&inline()).unwrap();
    configuration.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    configuration.to_string()
}

/// The status of a good token after these configurations of the plugins of these names.
fn after(in_istio: bool, configurations: &[(&str, &str)]) -> (Option<u16>, Proxy) {
    let proxy = Proxy::new(NOW_MILLIS, &shared());
    if in_istio {
        proxy.host.set("xds.node.metadata.ISTIO_VERSION", b"1.29");
    }
    let mut root = 0;
    for (plugin, configuration) in configurations {
        let (new, loaded) = proxy.configure(plugin, configuration);
        assert!(loaded, "the host is never told that a configuration is wrong");
        root = new;
    }
    let id =
        proxy.get(root, &[(":path", "/"), ("user-info", "root"), ("authorization", &bearer(&KEY))]);
    assert_sound(&proxy.stream(id).unwrap(), "whichever configuration is in force");
    (proxy.status(id), proxy)
}

#[test]
fn the_last_good_configuration_of_a_plugin_stays() {
    let a = with(json!({ "instance": "a" }));
    let denies = with(json!({ "instance": "a", "onInvalidConfig": "deny" }));
    for (in_istio, configurations, status, what) in [
        (true, vec![("p", &*inline()), ("p", WRONG)], 200, "in Istio a name is one plugin's"),
        (true, vec![("p", &*inline()), ("q", WRONG)], 503, "another plugin's never"),
        (true, vec![("p", &*inline()), ("", WRONG)], 503, "no name"),
        (
            false,
            vec![("p", &*inline()), ("p", WRONG)],
            503,
            "in a plain Envoy the last has no instance",
        ),
        (false, vec![("p", &*a), ("p", WRONG)], 200, "the same instance"),
        (false, vec![("p", &*a), ("p", r#"{"instance": "b"}"#)], 503, "another instance"),
        (false, vec![("p", &*a), ("p", "not JSON")], 503, "an instance that cannot be read"),
        (false, vec![("p", &*denies), ("p", WRONG)], 503, "the last one says deny"),
        (true, vec![("p", WRONG)], 503, "there was none"),
        (true, vec![("p", WRONG), ("p", &*inline())], 200, "a good one after a wrong one"),
    ] {
        assert_eq!(after(in_istio, &configurations).0, Some(status), "{what}");
    }
}

#[test]
fn the_operator_is_told_what_is_wrong_and_what_is_in_force() {
    let (_, proxy) = after(true, &[("p", &inline()), ("p", r#"{"jwtRule": [], "mode": "x"}"#)]);
    let log = proxy.host.logged();
    let problems = log.iter().filter(|line| line.contains("invalid configuration")).count();
    assert_eq!(problems, 3, "each problem has its line: {log:?}");
    assert!(log.iter().any(|line| line.contains("did you mean `jwtRules`")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("the last good configuration stays")), "{log:?}");
    assert_eq!(proxy.host.metric(&["config_valid"]), Some(0));
    let (_, proxy) = after(false, &[("p", "{}")]);
    let log = proxy.host.logged().join("\n");
    assert!(log.contains("without `instance` no last good configuration is kept"), "{log}");
}

/// Another worker, or the same after a fault of its VM, finds the last good one where the process keeps it.
#[test]
fn the_last_good_configuration_outlives_a_vm() {
    let shared = shared();
    let good = with(json!({ "instance": "a" }));
    Proxy::new(NOW_MILLIS, &shared).configure("p", &good);
    let again = Proxy::new(NOW_MILLIS, &shared);
    let (root, _) = again.configure("p", WRONG);
    let id = again.get(root, &[(":path", "/"), ("authorization", &bearer(&KEY))]);
    assert_eq!(again.status(id), Some(200));
}
