//! Headers, body, trailers, ticks, responses and resets, in every order up to six of them.

use super::*;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Headers,
    Body,
    Trailers,
    Tick,
    Response,
    Reset,
}

const EVENTS: [Event; 6] =
    [Event::Headers, Event::Body, Event::Trailers, Event::Tick, Event::Response, Event::Reset];

/// The length of the longest orders.
const MOST: usize = 6;

/// What comes once at most.
const ONCE: [Event; 4] = [Event::Headers, Event::Body, Event::Trailers, Event::Reset];

/// Calls `each` with every order of up to `most` events.
fn orders(order: &mut Vec<Event>, most: usize, each: &mut dyn FnMut(&[Event])) {
    each(order);
    if order.len() == most {
        return;
    }
    for event in EVENTS {
        // A request that is gone has no more events of its own.
        let ended = order.contains(&Event::Reset) && ONCE.contains(&event);
        if ended || ONCE.contains(&event) && order.contains(&event) {
            continue;
        }
        order.push(event);
        orders(order, most, each);
        order.pop();
    }
}

/// A worker, its plugin, and what the key server will say.
struct Setup {
    name: &'static str,
    make: fn() -> (Proxy, u32),
    key: &'static LazyLock<Key>,
    response: fn() -> Option<(u16, String)>,
}

fn run(setup: &Setup, bearer: &str, order: &[Event]) -> (Proxy, u32) {
    let (proxy, root) = (setup.make)();
    let id = play(&proxy, root, bearer, order, setup.response, setup.name);
    (proxy, id)
}

/// Plays the order with a request. Each moment of it is sound.
fn play(
    proxy: &Proxy,
    root: u32,
    bearer: &str,
    order: &[Event],
    response: fn() -> Option<(u16, String)>,
    name: &str,
) -> u32 {
    let headers = [(":path", "/"), ("user-info", "root"), ("authorization", bearer)];
    let id = proxy.begin(root, &headers, &[("user-info", "root")]);
    for event in order {
        match event {
            Event::Headers => proxy.headers(id, false),
            Event::Body => proxy.body(id),
            // No host does so where its headers did not come.
            Event::Trailers
                if !order.iter().take_while(|e| *e != event).any(|e| *e == Event::Headers) =>
            {
                proxy.show_trailers(id);
            }
            Event::Trailers => proxy.trailers(id),
            Event::Tick => proxy.tick(root),
            Event::Response => {
                let response = response();
                proxy.respond(response.as_ref().map(|(status, body)| (*status, body.as_str())));
            }
            Event::Reset => proxy.reset(id),
        }
        let stream = proxy.stream(id).unwrap();
        assert_sound(&stream, &format!("{name}: {order:?} at {event:?}"));
    }
    id
}

/// Runs every order of six, each moment of which is a shorter one's end. What goes on, if anything does, is decided by
/// `passes`.
#[track_caller]
fn check(setup: &Setup, passes: bool) {
    let bearer = bearer(setup.key);
    let (mut ran, mut passed) = (0, 0);
    orders(&mut Vec::new(), MOST, &mut |order| {
        if order.len() < MOST {
            return;
        }
        let (proxy, id) = run(setup, &bearer, order);
        ran += 1;
        passed += usize::from(proxy.status(id) == Some(200));
    });
    assert!(ran > 4_000, "{ran} orders");
    assert_eq!(passed > 0, passes, "{}: {passed} of {ran} went on", setup.name);
}

#[test]
fn a_request_whose_key_comes_goes_on_and_not_before() {
    let response = || Some((200, key_set(&[&KEY, &LATE])));
    check(&Setup { name: "the key comes", make: || fetched(&[&KEY]), key: &LATE, response }, true);
}

#[test]
fn a_request_whose_key_does_not_come_never_goes_on() {
    let response = || Some((200, key_set(&[&KEY])));
    check(
        &Setup { name: "the key does not come", make: || fetched(&[&KEY]), key: &LATE, response },
        false,
    );
}

#[test]
fn a_request_without_any_keys_never_goes_on() {
    let response = || Some((500, String::new()));
    check(&Setup { name: "no keys", make: || proxy(&remote()), key: &KEY, response }, false);
}

#[test]
fn a_request_that_need_not_wait_goes_on_by_its_headers_alone() {
    for (name, configuration, key, passes) in [
        ("permitted", inline(), &KEY, true),
        ("refused", inline(), &LATE, false),
        ("no configuration", "{}".to_owned(), &KEY, false),
    ] {
        // One worker for all: a request leaves nothing behind that another could meet.
        let (proxy, root) = proxy(&configuration);
        let bearer = bearer(key);
        orders(&mut Vec::new(), MOST, &mut |order| {
            let id = play(&proxy, root, &bearer, order, || None, name);
            let headers = order.iter().position(|event| *event == Event::Headers);
            let reset = order.iter().position(|event| *event == Event::Reset);
            let came = headers.is_some_and(|at| reset.is_none_or(|reset| at < reset));
            let expected = match (came, passes) {
                (true, true) => Some(200),
                (true, false) if name == "refused" => Some(401),
                (true, false) => Some(503),
                (false, _) => None,
            };
            // No host sends trailers ahead of the headers; without a configuration they are answered at once.
            let strange = order.iter().position(|event| *event == Event::Trailers);
            let strange = strange.is_some_and(|at| headers.is_none_or(|headers| at < headers));
            if !strange {
                assert_eq!(proxy.status(id), expected, "{name}: {order:?}");
            }
            proxy.finish(id);
        });
    }
}
