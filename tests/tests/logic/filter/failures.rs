//! Each call to the host fails, one at a time, and all of one name: nothing unverified goes on, and nothing stops.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;

/// What a worker does from its configuration on, and the requests that it got.
struct Play {
    name: &'static str,
    run: fn(&Proxy) -> Vec<u32>,
    /// The statuses of the requests if nothing fails.
    statuses: &'static [u16],
}

const PLAYS: [Play; 5] = [
    Play { name: "inline keys", run: with_inline_keys, statuses: &[200, 401] },
    Play { name: "anonymous requests", run: with_anonymous_requests, statuses: &[200, 403, 403] },
    Play { name: "the connection", run: with_rules_on_the_connection, statuses: &[200, 403] },
    Play { name: "fetched keys", run: with_fetched_keys, statuses: &[200, 200, 200, 401] },
    Play { name: "a wrong configuration", run: with_a_wrong_configuration, statuses: &[200, 200] },
];

fn request(proxy: &Proxy, root: u32, authorization: &str) -> u32 {
    let headers = [
        (":path", "/a/../b"),
        ("user-info", "root"),
        ("user-info", "again"),
        ("user.info", "root"),
        ("authorization", authorization),
    ];
    let id = proxy.begin(root, &headers, &[("user-info", "root")]);
    proxy.headers(id, false);
    proxy.body(id);
    proxy.trailers(id);
    id
}

fn with_inline_keys(proxy: &Proxy) -> Vec<u32> {
    let mut configuration: Value = serde_json::from_str(&inline()).unwrap();
    configuration["decisionLog"] = json!({ "emit": "all", "hash": true, "claims": ["sub"] });
    let (root, _) = proxy.configure("usher", &configuration.to_string());
    vec![request(proxy, root, &bearer(&KEY)), request(proxy, root, &bearer(&LATE))]
}

fn with_anonymous_requests(proxy: &Proxy) -> Vec<u32> {
    let mut configuration: Value = serde_json::from_str(&inline()).unwrap();
    configuration["missingToken"] = json!("allow");
    configuration["authorizationPolicies"] = json!([
        { "name": "paths", "action": "DENY", "rules": [{ "to": [{ "operation": { "paths": ["/admin*"] } }] }] },
    ]);
    let (root, _) = proxy.configure("usher", &configuration.to_string());
    let forged = [("user-info", "root"), ("user.info", "root")];
    let get = |path: &'static str| {
        let id = proxy.begin(root, &[&[(":path", path)], &forged[..]].concat(), &forged);
        proxy.headers(id, false);
        proxy.trailers(id);
        if path.starts_with("/admin") {
            assert!(!proxy.stream(id).unwrap().reached_service(), "{path}");
        }
        id
    };
    vec![get("/"), get("/admin"), get("/a/../admin")]
}

/// An attribute that the host fails to return is absent, and a DENY on it does not match, as in Envoy's own filters. The
/// header of several lines is emitted all the same or the request is refused.
fn with_rules_on_the_connection(proxy: &Proxy) -> Vec<u32> {
    let mut configuration: Value = serde_json::from_str(&inline()).unwrap();
    let emitted = configuration["jwtRules"][0]["outputClaimToHeaders"].as_array_mut().unwrap();
    emitted.push(json!({ "header": "x-groups", "claim": "groups", "format": "repeat" }));
    configuration["authorizationPolicies"] = json!([
        { "name": "addresses", "action": "DENY",
            "rules": [{ "from": [{ "source": { "remoteIpBlocks": ["192.0.2.0/24"] } }] }] },
    ]);
    let (root, _) = proxy.configure("usher", &configuration.to_string());
    let token = KEY.token(
        &json!({ "iss": ISSUER, "sub": "mmosley", "exp": NOW + 3600, "groups": ["a", "b"] }),
    );
    let from = |address: &[u8]| {
        proxy.host.set("source.address", address);
        let id = request(proxy, root, &format!("Bearer {token}"));
        if let Some(headers) = proxy.stream(id).unwrap().service.headers {
            let groups = headers.iter().filter(|(name, _)| name == b"x-groups");
            let groups: Vec<&[u8]> = groups.map(|(_, group)| group.as_slice()).collect();
            assert_eq!(groups, [b"a", b"b"], "all lines or none");
        }
        id
    };
    vec![from(b"198.51.100.7:1"), from(b"192.0.2.1:1")]
}

fn with_fetched_keys(proxy: &Proxy) -> Vec<u32> {
    let (root, _) = proxy.configure("usher", &remote());
    // Before any key is there; after the first came; one whose key comes; one whose does not.
    let mut ids = vec![request(proxy, root, &bearer(&KEY))];
    proxy.tick(root);
    proxy.respond(Some((200, &key_set(&[&KEY]))));
    ids.push(request(proxy, root, &bearer(&KEY)));
    proxy.pass(Duration::from_secs(2));
    ids.push(request(proxy, root, &bearer(&LATE)));
    proxy.tick(root);
    proxy.respond(Some((200, &key_set(&[&KEY, &LATE]))));
    let other = Key::new("EdDSA", "never");
    proxy.pass(Duration::from_secs(2));
    ids.push(request(proxy, root, &bearer(&other)));
    proxy.tick(root);
    proxy.respond(None);
    // Long enough for all that may wait.
    for _ in 0..20 {
        proxy.pass(Duration::from_secs(1));
        proxy.tick(root);
    }
    ids
}

fn with_a_wrong_configuration(proxy: &Proxy) -> Vec<u32> {
    proxy.host.set("xds.node.metadata.ISTIO_VERSION", b"1.29");
    let (root, _) = proxy.configure("usher", &inline());
    let (second, _) = proxy.configure("usher", "{\"jwtRule\": []}");
    vec![request(proxy, root, &bearer(&KEY)), request(proxy, second, &bearer(&KEY))]
}

/// Plays it with the calls failing that `fails` names. Which calls were made.
fn play(
    play: &Play,
    fails: impl Fn(&'static str, usize) -> bool + 'static,
    what: &str,
) -> Vec<&'static str> {
    let proxy = Proxy::new(NOW_MILLIS, &shared());
    let calls = Rc::new(RefCell::new(Vec::new()));
    let made = Rc::clone(&calls);
    let failed = Rc::new(RefCell::new(BTreeSet::new()));
    let failing = Rc::clone(&failed);
    proxy.host.hook(move |name, before| {
        made.borrow_mut().push(name);
        let fails = fails(name, before);
        if fails {
            failing.borrow_mut().insert(name);
        }
        fails
    });
    let ids = (play.run)(&proxy);
    for id in ids {
        let stream = proxy.stream(id).unwrap();
        let what = format!("{}: {what}: request {id}", play.name);
        assert_sound(&stream, &what);
        // One stays held if the calls to answer it, to continue it or to wait for it fail: Envoy ends it.
        let held =
            ["send_local_reply", "continue_request", "set_effective_context", "set_tick_period"];
        if !held.iter().any(|name| failed.borrow().contains(name)) {
            assert!(proxy.status(id).is_some(), "{what} was not answered");
        }
    }
    calls.borrow().clone()
}

#[test]
fn a_call_that_fails_lets_nothing_unverified_pass() {
    let mut names = BTreeSet::new();
    for scene in &PLAYS {
        let calls = play(scene, |_, _| false, "nothing fails");
        assert!(calls.len() > 30, "{}: only {} calls", scene.name, calls.len());
        let proxy = Proxy::new(NOW_MILLIS, &shared());
        let ids = (scene.run)(&proxy);
        let statuses: Vec<u16> = ids.iter().filter_map(|id| proxy.status(*id)).collect();
        assert_eq!(statuses, scene.statuses, "{}: nothing fails", scene.name);
        for (at, name) in calls.iter().enumerate() {
            play(scene, move |_, before| before == at, &format!("call {at}, {name}, fails"));
        }
        names.extend(calls);
    }
    for scene in &PLAYS {
        for name in &names {
            let failing = *name;
            play(scene, move |called, _| called == failing, &format!("each {name} fails"));
        }
        play(scene, |_, _| true, "everything fails");
    }
    for name in [
        "add_header",
        "call_body",
        "call_foreign_function",
        "clear_route_cache",
        "continue_request",
        "define_metric",
        "header_map",
        "http_call",
        "increment_metric",
        "log",
        "logs",
        "plugin_configuration",
        "property",
        "random",
        "random_bytes",
        "record_metric",
        "remove_header",
        "replace_header",
        "send_local_reply",
        "set_effective_context",
        "set_property",
        "set_shared_data",
        "set_tick_period",
        "shared_data",
        "unix_millis",
    ] {
        assert!(names.contains(name), "{name} was never called");
    }
}

/// Two calls that fail together: what is done about the first failure may fail too.
#[test]
fn two_calls_that_fail_let_nothing_unverified_pass() {
    for scene in &PLAYS[..3] {
        let calls = play(scene, |_, _| false, "nothing fails");
        for first in 0..calls.len() {
            for second in first + 1..calls.len().min(first + 12) {
                let fails =
                    move |_: &'static str, before: usize| before == first || before == second;
                play(scene, fails, &format!("calls {first} and {second} fail"));
            }
        }
    }
}
