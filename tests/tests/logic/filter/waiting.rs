//! Requests that wait for keys.

use std::time::Duration;

use usher::pending::queue::{BATCH, MAX_PENDING};

use super::*;

fn get(proxy: &Proxy, root: u32, authorization: &str) -> u32 {
    proxy.get(root, &[(":path", "/"), ("user-info", "root"), ("authorization", authorization)])
}

/// The ticks after which all have a status.
fn ticks_until_answered(proxy: &Proxy, root: u32, ids: &[u32]) -> usize {
    let answered = || ids.iter().filter(|id| proxy.status(**id).is_some()).count();
    let mut ticks = 0;
    while answered() < ids.len() {
        let before = answered();
        proxy.tick(root);
        ticks += 1;
        assert!(answered() - before <= BATCH, "{} in one callback", answered() - before);
        assert!(ticks < 10_000, "{} of {} are answered", answered(), ids.len());
    }
    ticks
}

#[test]
fn a_request_goes_on_when_its_key_comes() {
    let (proxy, root) = fetched(&[&KEY]);
    proxy.pass(Duration::from_secs(2));
    let id = get(&proxy, root, &bearer(&LATE));
    assert_eq!(proxy.status(id), None, "it waits");
    assert_eq!(proxy.host.period(root), 10, "and is looked after");
    let waiting = proxy.stream(id).unwrap();
    assert!(waiting.reply.is_none() && !waiting.reached_service());
    proxy.tick(root);
    assert_eq!(proxy.calls().len(), 1, "{:?}", proxy.calls());
    assert!(proxy.respond(Some((200, &key_set(&[&KEY, &LATE])))));
    assert_eq!(proxy.status(id), Some(200));
    assert_eq!(proxy.stream(id).unwrap().got("user-info"), ["mmosley"]);
}

/// A client that goes while it waits leaves no token and no forged header to the access log.
#[test]
fn what_leaves_a_request_in_any_case_leaves_before_it_waits() {
    let mut configuration: Value = serde_json::from_str(&remote()).unwrap();
    configuration["jwtRules"][0]["fromParams"] = json!(["access_token"]);
    let (proxy, root) = proxy(&configuration.to_string());
    proxy.tick(root);
    proxy.respond(Some((200, &key_set(&[&KEY]))));
    proxy.pass(Duration::from_secs(2));
    let token = token(&LATE);
    let id =
        proxy.get(root, &[(":path", &format!("/a?access_token={token}")), ("user-info", "root")]);
    assert_eq!(proxy.status(id), None, "it waits");
    let headers = proxy.stream(id).unwrap().headers();
    let text = headers
        .iter()
        .map(|(name, value)| {
            format!("{}: {}\n", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        })
        .collect::<String>();
    assert!(!text.contains("user-info") && !text.contains(&token), "{text}");
    proxy.reset(id);
    proxy.tick(root);
    proxy.respond(Some((200, &key_set(&[&KEY, &LATE]))));
    assert_eq!(proxy.status(id), None, "it is gone");
}

#[test]
fn a_request_is_answered_when_its_key_does_not_come() {
    let (proxy, root) = fetched(&[&KEY]);
    for (response, status) in [(Some(200), 401), (Some(500), 401), (None, 401)] {
        proxy.pass(Duration::from_secs(60));
        let key = Key::new("EdDSA", &format!("{response:?}"));
        let id = get(&proxy, root, &bearer(&key));
        assert_eq!(proxy.status(id), None, "{response:?}: it waits");
        proxy.tick(root);
        let body = if response == Some(200) { key_set(&[&KEY]) } else { String::new() };
        proxy.respond(response.map(|status| (status, body.as_str())));
        for _ in 0..600 {
            proxy.tick(root);
        }
        assert_eq!(proxy.status(id), Some(status), "{response:?}");
    }
}

#[test]
fn a_key_server_that_never_answers_holds_no_request_for_longer_than_the_timeout() {
    let (proxy, root) = fetched(&[&KEY]);
    proxy.pass(Duration::from_secs(2));
    let id = get(&proxy, root, &bearer(&LATE));
    proxy.tick(root);
    proxy.pass(Duration::from_millis(4_900));
    proxy.tick(root);
    assert_eq!(proxy.status(id), None, "its timeout is five seconds");
    proxy.pass(Duration::from_millis(200));
    proxy.tick(root);
    assert_eq!(proxy.status(id), Some(401));
}

#[test]
fn as_many_wait_as_may_and_are_answered_in_batches() {
    let (proxy, root) = fetched(&[&KEY]);
    proxy.pass(Duration::from_secs(2));
    let late = bearer(&LATE);
    let ids: Vec<u32> = (0..MAX_PENDING).map(|_| get(&proxy, root, &late)).collect();
    assert!(ids.iter().all(|id| proxy.status(*id).is_none()), "all wait");
    let more = get(&proxy, root, &late);
    assert_eq!(proxy.status(more), Some(401), "one more does not wait");
    assert_eq!(proxy.host.metric(&["overflow"]), Some(1));
    // A request that ends makes room for another.
    proxy.reset(ids[500]);
    let another = get(&proxy, root, &late);
    assert_eq!(proxy.status(another), None, "it waits in the place of one that went");

    proxy.tick(root);
    proxy.respond(Some((200, &key_set(&[&KEY, &LATE]))));
    let still: Vec<u32> =
        ids.iter().copied().filter(|id| *id != ids[500]).chain([another]).collect();
    assert_eq!(proxy.host.period(root), 1, "the rest is taken at once");
    let ticks = ticks_until_answered(&proxy, root, &still);
    assert_eq!(ticks, MAX_PENDING / BATCH - 1, "each callback takes a batch");
    for id in still {
        assert_eq!(proxy.status(id), Some(200));
        assert_sound(&proxy.stream(id).unwrap(), "one of a crowd");
    }
    assert_eq!(proxy.status(ids[500]), None, "who went is not let go on");
}

/// A clock that goes far back must not make a wait without end.
#[test]
fn a_clock_that_goes_back_ends_the_wait() {
    let (proxy, root) = fetched(&[&KEY]);
    proxy.pass(Duration::from_secs(2));
    let id = get(&proxy, root, &bearer(&LATE));
    assert_eq!(proxy.status(id), None, "it waits");
    proxy.host.set_now(NOW_MILLIS - 3_600_000);
    proxy.tick(root);
    assert!(matches!(proxy.status(id), Some(401 | 503)), "{:?}", proxy.status(id));
}

/// The timer starts over when its period is set, so it is not set again for each request that comes: they would put off
/// those that wait.
#[test]
fn requests_that_keep_coming_do_not_put_off_the_timer() {
    let (proxy, root) = fetched(&[&KEY]);
    proxy.pass(Duration::from_secs(2));
    get(&proxy, root, &bearer(&LATE));
    assert_eq!(proxy.host.next_tick(root), Some(10));
    proxy.pass(Duration::from_millis(6));
    get(&proxy, root, &bearer(&LATE));
    assert_eq!(proxy.host.next_tick(root), Some(4), "the second one waits for the same tick");
    // As a host: the same period again starts the timer over.
    let host = proxy.host.clone();
    proxy.host.run_in(root, || assert!(usher::host::Host::set_tick_period(&host, 10)));
    assert_eq!(proxy.host.next_tick(root), Some(10));
    let before = proxy.host.now();
    proxy.tick(root);
    assert_eq!(proxy.host.now(), before + 10, "it ticks when it is due");
}

/// The first to wait goes on first, not the oldest stream.
#[test]
fn requests_go_on_in_the_order_in_which_they_waited() {
    let (proxy, root) = fetched(&[&KEY]);
    proxy.pass(Duration::from_secs(2));
    let late = bearer(&LATE);
    let begin = || proxy.begin(root, &[(":path", "/"), ("authorization", &late)], &[]);
    let ids = [begin(), begin(), begin()];
    let waited = [ids[2], ids[0], ids[1]];
    for id in waited {
        proxy.headers(id, true);
        assert_eq!(proxy.status(id), None, "it waits");
    }
    proxy.tick(root);
    proxy.respond(Some((200, &key_set(&[&KEY, &LATE]))));
    assert_eq!(proxy.passed(), waited);
}
