//! Key sets that the workers of a process share.

use std::time::Duration;

use super::*;

/// `count` workers of one process with the same plugin.
fn workers(count: usize) -> Vec<(Proxy, u32)> {
    let shared = shared();
    let new = |number: usize| {
        // Another time each, and so other random numbers.
        let proxy = Proxy::new(NOW_MILLIS + u64::try_from(number).unwrap(), &shared);
        let (root, _) = proxy.configure("usher", &remote());
        (proxy, root)
    };
    (0..count).map(new).collect()
}

/// The status of a token of `key`, after the wait for it.
fn status(proxy: &Proxy, root: u32, key: &Key) -> Option<u16> {
    let id = proxy.get(root, &[(":path", "/"), ("authorization", &bearer(key))]);
    for _ in 0..1000 {
        if proxy.status(id).is_none() {
            proxy.tick(root);
        }
    }
    assert_sound(&proxy.stream(id).unwrap(), "one of several workers");
    proxy.status(id)
}

#[test]
fn one_worker_fetches_and_all_know() {
    let workers = workers(4);
    workers.iter().for_each(|(proxy, root)| proxy.tick(*root));
    let calls: usize = workers.iter().map(|(proxy, _)| proxy.calls().len()).sum();
    assert_eq!(calls, 1, "of all workers one asks");
    let asked = workers.iter().find(|(proxy, _)| !proxy.calls().is_empty()).unwrap();
    assert_eq!(asked.0.calls()[0].cluster, "keys");
    assert_eq!(asked.0.calls()[0].path, "/jwks");
    asked.0.respond(Some((200, &key_set(&[&KEY]))));
    for (proxy, root) in &workers {
        assert_eq!(status(proxy, *root, &KEY), Some(200), "each knows it at once");
    }
}

/// Another worker writes between a worker's look at the record and its own writing, at each such moment.
#[test]
fn a_worker_that_comes_too_late_takes_what_the_other_has_written() {
    let mut writes = 0;
    for at in 0..40 {
        let workers = workers(2);
        let [(one, root), (two, other)] = &workers[..] else { unreachable!() };
        let (host, vm, other) = (two.host.clone(), two.vm(), *other);
        let raced = Rc::new(std::cell::Cell::new(false));
        let hit = Rc::clone(&raced);
        let seen = std::cell::Cell::new(0);
        one.host.hook(move |name, _| {
            if name == "set_shared_data" && seen.replace(seen.get() + 1) == at {
                hit.set(true);
                host.run_in(other, || vm.on_tick(other));
            }
            false
        });
        one.tick(*root);
        two.tick(other);
        let calls = one.calls().len() + two.calls().len();
        assert_eq!(calls, 1, "race at write {at}: one of them asks");
        for proxy in [one, two] {
            proxy.respond(Some((200, &key_set(&[&KEY]))));
        }
        assert_eq!(status(one, *root, &KEY), Some(200), "race at write {at}");
        assert_eq!(status(two, other, &KEY), Some(200), "race at write {at}");
        writes += usize::from(raced.get());
        if !raced.get() {
            break;
        }
    }
    assert!(writes >= 2, "{writes} races");
}

/// Others write each time: a worker gives up for now, and nothing is fetched twice.
#[test]
fn a_worker_that_always_comes_too_late_tries_again_at_its_next_tick() {
    let (proxy, root) = fetched(&[&KEY]);
    proxy.pass(Duration::from_secs(290));
    let host = proxy.host.clone();
    let late = Rc::new(std::cell::Cell::new(0_usize));
    let count = Rc::clone(&late);
    proxy.host.hook(move |name, _| {
        if name == "set_shared_data" {
            count.set(count.get() + 1);
            host.touch_shared_data();
        }
        false
    });
    proxy.tick(root);
    assert!(late.get() >= 8, "{} tries", late.get());
    assert!(proxy.calls().is_empty(), "who could not write makes no call");
    proxy.host.hook(|_, _| false);
    while proxy.calls().is_empty() {
        proxy.tick(root);
    }
    assert!(proxy.respond(Some((200, &key_set(&[&KEY])))));
    assert_eq!(status(&proxy, root, &KEY), Some(200));
}

#[test]
fn without_shared_data_each_worker_fetches_for_itself() {
    let workers = workers(2);
    for (proxy, root) in &workers {
        proxy.host.hook(|name, _| name.contains("shared_data"));
        proxy.tick(*root);
        assert_eq!(proxy.calls().len(), 1);
        proxy.respond(Some((200, &key_set(&[&KEY]))));
        assert_eq!(status(proxy, *root, &KEY), Some(200));
    }
}

#[test]
fn what_is_no_key_set_brings_no_key_and_is_asked_for_again() {
    for response in [
        None,
        Some((404, key_set(&[&KEY]))),
        Some((200, "{}".to_owned())),
        Some((200, "x".repeat(300_000))),
        Some((301, String::new())),
    ] {
        let (proxy, root) = proxy(&remote());
        let before = usher_testkit::fake_host::log_lines().len();
        proxy.tick(root);
        proxy.respond(response.as_ref().map(|(status, body)| (*status, body.as_str())));
        assert_eq!(
            status(&proxy, root, &KEY),
            Some(503),
            "{:?}",
            response.map(|(status, _)| status)
        );
        let log = usher_testkit::fake_host::log_lines().split_off(before).join("\n");
        assert!(log.contains("failed fetch 1 in a row"), "{log}");
        // What was asked meanwhile had no answer in time.
        while proxy.respond(None) {}
        while proxy.calls().is_empty() {
            proxy.pass(Duration::from_secs(1));
            proxy.tick(root);
        }
        assert!(proxy.respond(Some((200, &key_set(&[&KEY])))), "it is asked again");
        assert_eq!(status(&proxy, root, &KEY), Some(200));
    }
}

#[test]
fn a_set_without_a_key_withdraws_the_last_one() {
    let (proxy, root) = fetched(&[&KEY]);
    assert_eq!(status(&proxy, root, &KEY), Some(200));
    let before = usher_testkit::fake_host::log_lines().len();
    while proxy.calls().is_empty() {
        proxy.pass(Duration::from_secs(1));
        proxy.tick(root);
    }
    proxy.respond(Some((200, r#"{"keys": []}"#)));
    assert_eq!(status(&proxy, root, &KEY), Some(401));
    let log = usher_testkit::fake_host::log_lines().split_off(before).join("\n");
    assert!(log.contains("the last one is withdrawn"), "{log}");
    assert_eq!(proxy.host.metric(&["jwks_keys"]), Some(0));
}
