//! One request by itself.

use super::*;

#[test]
fn a_verified_identity_takes_the_place_of_a_forged_one() {
    let (proxy, root) = proxy(&inline());
    let id = proxy.begin(
        root,
        &[
            (":path", "/"),
            ("user-info", "root"),
            ("user_info", "root"),
            ("authorization", &bearer(&KEY)),
        ],
        &[("user-info", "root"), ("checksum", "1")],
    );
    proxy.headers(id, false);
    proxy.body(id);
    proxy.trailers(id);
    let stream = proxy.stream(id).unwrap();
    assert_eq!(stream.got("user-info"), ["mmosley"]);
    assert_eq!(stream.got("user_info"), [""; 0]);
    assert_eq!(stream.got("checksum"), ["1"], "other trailers go on");
    assert!(stream.service.body);
    assert_eq!(stream.property("usher.decision"), Some("allow"));
    assert_sound(&stream, "permitted");
}

#[test]
fn a_refused_request_is_answered_and_none_of_it_goes_on() {
    let (proxy, root) = proxy(&inline());
    for (authorization, status, reason) in [
        (bearer(&LATE), 401, "key_unknown"),
        ("Bearer x".to_owned(), 401, "token_malformed"),
        (String::new(), 401, "token_missing"),
    ] {
        let headers = [(":path", "/"), ("user-info", "root"), ("authorization", &*authorization)];
        let given = if authorization.is_empty() { &headers[..2] } else { &headers };
        let id = proxy.begin(root, given, &[("user-info", "root")]);
        proxy.headers(id, false);
        proxy.body(id);
        proxy.trailers(id);
        let stream = proxy.stream(id).unwrap();
        assert_eq!(proxy.status(id), Some(status), "{reason}");
        assert_eq!(stream.property("usher.reason"), Some(reason));
        assert!(!stream.reached_service(), "{reason}: {stream:?}");
    }
    assert_eq!(proxy.host.metric(&["decision=.=deny", "decisions_total"]), Some(3));
}

#[test]
fn without_a_configuration_every_request_is_refused() {
    let (proxy, root) = proxy("{}");
    let id = proxy.get(root, &[(":path", "/"), ("authorization", &bearer(&KEY))]);
    assert_eq!(proxy.status(id), Some(503));
    let stream = proxy.stream(id).unwrap();
    assert_eq!(stream.property("usher.reason"), Some("config_invalid"));
    let log = proxy.host.logged().join("\n");
    assert!(log.contains("every request is refused"), "{log}");
    // A stream of a root that never was is refused as well.
    let id = proxy.get(999, &[(":path", "/"), ("authorization", &bearer(&KEY))]);
    assert_eq!(proxy.status(id), Some(503));
}

#[test]
fn a_context_that_nobody_has_created_is_held() {
    let (proxy, _) = proxy(&inline());
    let vm = proxy.vm();
    assert_eq!(vm.on_request_headers(999, true).number(), 4);
    assert_eq!(vm.on_request_trailers(999).number(), 1);
    assert!(!vm.on_configure(999));
    vm.on_tick(999);
    vm.on_http_call_response(999, 1, 0, 0);
    vm.on_delete(999);
}

#[test]
fn steps_are_told_at_debug_level_alone() {
    let (proxy, root) = proxy(&inline());
    proxy.get(root, &[(":path", "/"), ("authorization", &bearer(&KEY))]);
    assert!(!proxy.host.logged().iter().any(|line| line.contains("verified")));
    proxy.host.set_debug(true);
    proxy.pass(std::time::Duration::from_secs(1));
    let id = [("x-request-id", "r1\nx"), (":path", "/"), ("authorization", &*bearer(&KEY))];
    proxy.get(root, &id);
    let steps: Vec<_> =
        proxy.host.logged().into_iter().filter(|line| line.starts_with("usher: r1")).collect();
    assert!(steps.len() > 1, "{steps:?}");
    assert!(steps.iter().all(|line| !line.contains('\n')), "{steps:?}");
}

/// Only where what may be routed by has changed: Envoy chooses the route for each request that asks for it.
#[test]
fn the_route_is_chosen_again_for_an_emitted_identity_alone() {
    let mut configuration: Value = serde_json::from_str(&inline()).unwrap();
    configuration["missingToken"] = json!("allow");
    let (proxy, root) = proxy(&configuration.to_string());
    for (what, headers, status, rerouted) in [
        ("an identity", vec![("authorization", bearer(&KEY))], 200, 1),
        ("a spoofed one is removed", vec![("user-info", "root".to_owned())], 200, 1),
        ("nothing to edit", vec![], 200, 0),
        ("a refusal", vec![("authorization", bearer(&LATE))], 401, 0),
    ] {
        let mut lines = vec![(":path", "/")];
        lines.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        let id = proxy.get(root, &lines);
        let stream = proxy.stream(id).unwrap();
        assert_eq!((proxy.status(id), stream.rerouted), (Some(status), rerouted), "{what}");
    }
}
