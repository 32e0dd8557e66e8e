//! Two plugins in one VM, and a host that ends a context from within a callback.

use std::time::Duration;

use super::*;

fn get(proxy: &Proxy, root: u32, authorization: &str) -> u32 {
    proxy.get(root, &[(":path", "/"), ("user-info", "root"), ("authorization", authorization)])
}

/// Two plugins that read the same key server.
fn two_plugins() -> (Proxy, u32, u32) {
    let proxy = Proxy::new(NOW_MILLIS, &shared());
    let (one, _) = proxy.configure("one", &remote());
    let (two, _) = proxy.configure("two", &remote());
    (proxy, one, two)
}

/// As [`two_plugins`], when one has fetched a key, and another may be asked for.
fn two_plugins_with_a_key() -> (Proxy, u32, u32) {
    let (proxy, one, two) = two_plugins();
    proxy.tick(one);
    assert!(proxy.respond(Some((200, &key_set(&[&KEY])))));
    proxy.pass(Duration::from_secs(2));
    (proxy, one, two)
}

#[test]
fn each_plugin_decides_by_its_own_configuration() {
    let proxy = Proxy::new(NOW_MILLIS, &shared());
    let other = json!({ "jwtRules": [rule(json!({ "jwks": key_set(&[&LATE]) }))] }).to_string();
    let (one, _) = proxy.configure("one", &inline());
    let (two, _) = proxy.configure("two", &other);
    let (wrong, _) = proxy.configure("three", "[]");
    for (root, key, status) in [
        (one, &KEY, 200),
        (one, &LATE, 401),
        (two, &KEY, 401),
        (two, &LATE, 200),
        (wrong, &KEY, 503),
        (wrong, &LATE, 503),
    ] {
        // Each asks twice: what one has verified is not in the cache of another.
        for _ in 0..2 {
            assert_eq!(
                proxy.status(get(&proxy, root, &bearer(key))),
                Some(status),
                "{root} {}",
                key.kid
            );
        }
    }
    let allowed = |plugin| proxy.host.metric(&[plugin, "decision=.=allow", "decisions_total"]);
    assert_eq!((allowed("=one;"), allowed("=two;"), allowed("=three;")), (Some(2), Some(2), None));
}

#[test]
fn a_request_keeps_the_configuration_that_it_began_with() {
    let (proxy, root) = proxy(&inline());
    let id = proxy.begin(root, &[(":path", "/"), ("authorization", &bearer(&KEY))], &[]);
    let (second, _) = proxy.configure("usher", &remote());
    proxy.end(root);
    proxy.headers(id, true);
    assert_eq!(proxy.status(id), Some(200), "its configuration is gone for new requests alone");
    assert_eq!(proxy.status(get(&proxy, root, &bearer(&KEY))), Some(503), "as the root is");
    assert_eq!(proxy.status(get(&proxy, second, &bearer(&KEY))), None, "it waits for its keys");
}

/// What one plugin has fetched another knows, and a request that waits is answered by the first timer that ticks.
#[test]
fn plugins_share_what_was_fetched_and_each_others_timers() {
    let (proxy, one, two) = two_plugins();
    proxy.tick(one);
    assert!(proxy.respond(Some((200, &key_set(&[&KEY])))));
    assert!(proxy.calls().is_empty(), "it is asked once");
    assert_eq!(proxy.status(get(&proxy, two, &bearer(&KEY))), Some(200));

    proxy.pass(Duration::from_secs(2));
    let waiting = get(&proxy, two, &bearer(&LATE));
    assert_eq!(proxy.status(waiting), None, "it waits");
    proxy.tick(one);
    proxy.end(two);
    let root = proxy.calls().first().map(|call| call.root);
    assert_eq!(root, Some(one), "the plugin whose timer ticked has made the call");
    proxy.respond(Some((200, &key_set(&[&KEY, &LATE]))));
    assert_eq!(proxy.status(waiting), Some(200), "its plugin is gone, and it is not");
    assert_eq!(proxy.host.period(two), 0);
}

/// After it has answered another plugin's request, a plugin winds up its own timer and not the other's.
#[test]
fn a_plugin_that_answers_for_another_keeps_its_own_timer() {
    let (proxy, one, two) = two_plugins_with_a_key();
    let waiting = get(&proxy, two, &bearer(&LATE));
    proxy.tick(one);
    let before = proxy.host.period(two);
    proxy.respond(Some((200, &key_set(&[&KEY, &LATE]))));
    assert_eq!(proxy.status(waiting), Some(200));
    assert_eq!(proxy.host.period(two), before, "the other's is its own to set");
    assert!(proxy.host.period(one) > 10, "{} ms: nothing waits", proxy.host.period(one));
}

/// A call is lost with the plugin that made it; another makes it again.
#[test]
fn a_call_that_is_lost_with_its_plugin_is_made_again() {
    let (proxy, one, two) = two_plugins();
    proxy.tick(one);
    assert_eq!(proxy.calls().len(), 1);
    proxy.end(one);
    assert!(proxy.calls().is_empty(), "the host forgets the calls of a context that is gone");
    let ended = proxy.host.now();
    while proxy.calls().is_empty() {
        proxy.tick(two);
    }
    // Not only when the call would have timed out.
    assert!(proxy.host.now() - ended < 2_000, "{} ms later", proxy.host.now() - ended);
    assert!(proxy.respond(Some((200, &key_set(&[&KEY])))), "{:?}", proxy.host.logged());
    assert_eq!(proxy.status(get(&proxy, two, &bearer(&KEY))), Some(200));
}

/// A plugin that the host ends from within any call of its own tick, and the call that it makes there: another asks again.
#[test]
fn a_call_that_a_plugin_makes_as_it_ends_is_made_again() {
    let mut made = 0;
    for at in 0..60 {
        let (proxy, one, two) = two_plugins();
        let (vm, host) = (proxy.vm(), proxy.host.clone());
        let ended = Rc::new(std::cell::Cell::new(false));
        let ends = Rc::clone(&ended);
        proxy.host.hook(move |name, before| {
            if before == at && name != "set_tick_period" {
                host.forget(one);
                host.run_in(one, || vm.on_delete(one));
                ends.set(true);
            }
            false
        });
        proxy.tick(one);
        if !ended.get() {
            continue;
        }
        made += 1;
        proxy.host.hook(|_, _| false);
        assert_eq!(proxy.host.period(one), 0, "call {at}: a timer that nobody would stop");
        // A call that was made in its name has no response: Envoy has forgotten it with the context.
        proxy.host.forget(one);
        let begun = proxy.host.now();
        while proxy.calls().is_empty() && proxy.host.now() - begun < 10_000 {
            proxy.tick(two);
        }
        let waited = proxy.host.now() - begun;
        assert!(waited < 2_000, "call {at}: asked again only {waited} ms later");
        assert!(proxy.respond(Some((200, &key_set(&[&KEY])))));
        assert_eq!(proxy.status(get(&proxy, two, &bearer(&KEY))), Some(200), "call {at}");
    }
    assert!(made > 5, "{made} calls");
}

/// What was decided about one request is never done to another, even if the host has forgotten the first.
#[test]
fn a_stream_that_the_host_has_forgotten_is_passed_over() {
    let never = Key::new("EdDSA", "never");
    for (first, second) in [(&*LATE, &never), (&never, &*LATE)] {
        let (proxy, root) = fetched(&[&KEY]);
        proxy.pass(Duration::from_secs(2));
        let kept = get(&proxy, root, &bearer(first));
        proxy.pass(Duration::from_secs(1));
        let forgotten = get(&proxy, root, &bearer(second));
        proxy.tick(root);
        assert_eq!((proxy.status(kept), proxy.status(forgotten)), (None, None), "both wait");
        proxy.host.forget(forgotten);
        proxy.respond(Some((200, &key_set(&[&KEY, &LATE]))));
        let expected = if first.kid == LATE.kid { 200 } else { 401 };
        assert_eq!(proxy.status(kept), Some(expected), "{}", first.kid);
        assert_sound(&proxy.stream(kept).unwrap(), &first.kid);
        assert_eq!(proxy.status(forgotten), None);
    }
}

/// Which context the host ends from within a call.
#[derive(Clone, Copy, Debug)]
enum Ends {
    Itself,
    OtherWaiting,
    Root,
    OtherRoot,
    Begins,
}

/// Two requests wait, and their key comes; at the `at`th call to the host it ends a context. Returns how many calls
/// there were.
fn end_within(ends: Ends, at: usize) -> usize {
    let (proxy, one, two) = two_plugins_with_a_key();
    let first = get(&proxy, one, &bearer(&LATE));
    let second = get(&proxy, two, &bearer(&LATE));
    proxy.tick(one);
    let ended = match ends {
        Ends::Itself => first,
        Ends::OtherWaiting => second,
        Ends::Root => one,
        Ends::OtherRoot => two,
        Ends::Begins => 900,
    };
    let (vm, host) = (proxy.vm(), proxy.host.clone());
    let root_ended = Rc::new(std::cell::Cell::new(false));
    let ends_root = Rc::clone(&root_ended);
    proxy.host.hook(move |name, before| {
        // To set the timer of a context that it ends meanwhile is a host's own matter.
        if before == at && name != "set_tick_period" {
            if matches!(ends, Ends::Begins) {
                host.run_in(ended, || vm.on_context_create(ended, one));
            } else {
                host.forget(ended);
                host.run_in(ended, || vm.on_delete(ended));
                ends_root.set(matches!(ends, Ends::Root));
            }
        }
        false
    });
    proxy.respond(Some((200, &key_set(&[&KEY, &LATE]))));
    let third = get(&proxy, two, &bearer(&LATE));
    let calls = proxy.host.made();
    if root_ended.get() {
        assert_eq!(proxy.host.period(one), 0, "call {at}: a timer that nobody would stop");
    }
    proxy.tick(one);
    proxy.tick(two);
    for id in [first, second, third] {
        let what = format!("{ends:?} at call {at}: request {id}");
        let stream = proxy.stream(id).unwrap();
        assert_sound(&stream, &what);
        if id != ended {
            // The second's root may be gone with the keys that it waited for, and never the permission to pass.
            assert!(proxy.status(id).is_some(), "{what} was not answered");
        }
    }
    calls
}

#[test]
fn a_host_may_end_any_context_from_within_any_call() {
    for ends in [Ends::Itself, Ends::OtherWaiting, Ends::Root, Ends::OtherRoot, Ends::Begins] {
        let calls = end_within(ends, usize::MAX);
        assert!(calls > 40, "{calls}");
        for at in 0..calls {
            end_within(ends, at);
        }
    }
}
