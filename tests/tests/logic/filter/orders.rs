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

/// What comes once at most.
const ONCE: [Event; 3] = [Event::Headers, Event::Trailers, Event::Reset];

/// Calls `each` with every order of up to `most` events.
fn orders(order: &mut Vec<Event>, most: usize, each: &mut dyn FnMut(&[Event])) {
    each(order);
    if order.len() == most {
        return;
    }
    for event in EVENTS {
        if ONCE.contains(&event) && order.contains(&event) {
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
    let headers = [(":path", "/"), ("user-info", "root"), ("authorization", bearer)];
    let id = proxy.begin(root, &headers, &[("user-info", "root")]);
    for event in order {
        match event {
            Event::Headers => proxy.headers(id, false),
            Event::Body => proxy.body(id),
            // As no host does it, where its headers did not come.
            Event::Trailers
                if !order.iter().take_while(|e| *e != event).any(|e| *e == Event::Headers) =>
            {
                proxy.show_trailers(id);
            }
            Event::Trailers => proxy.trailers(id),
            Event::Tick => proxy.tick(root),
            Event::Response => {
                let response = (setup.response)();
                proxy.respond(response.as_ref().map(|(status, body)| (*status, body.as_str())));
            }
            Event::Reset => proxy.reset(id),
        }
        let stream = proxy.stream(id).unwrap();
        assert_sound(&stream, &format!("{}: {order:?} at {event:?}", setup.name));
    }
    (proxy, id)
}

#[test]
fn nothing_goes_on_before_it_is_permitted_in_any_order() {
    let setups = [
        Setup { name: "inline", make: || proxy(&inline()), key: &KEY, response: || None },
        Setup { name: "refused", make: || proxy(&inline()), key: &LATE, response: || None },
        Setup {
            name: "the key comes",
            make: || fetched(&[&KEY]),
            key: &LATE,
            response: || Some((200, key_set(&[&KEY, &LATE]))),
        },
        Setup {
            name: "the key does not come",
            make: || fetched(&[&KEY]),
            key: &LATE,
            response: || Some((200, key_set(&[&KEY]))),
        },
        Setup {
            name: "no keys",
            make: || proxy(&remote()),
            key: &KEY,
            response: || Some((500, String::new())),
        },
        Setup { name: "no configuration", make: || proxy("{}"), key: &KEY, response: || None },
    ];
    let mut ran = 0;
    for setup in &setups {
        let bearer = bearer(setup.key);
        let mut passed = 0;
        orders(&mut Vec::new(), 4, &mut |order| {
            let (proxy, id) = run(setup, &bearer, order);
            ran += 1;
            passed += usize::from(proxy.status(id) == Some(200));
        });
        let passes = matches!(setup.name, "inline" | "the key comes");
        assert_eq!(passed > 0, passes, "{}: {passed} went on", setup.name);
    }
    println!("{ran} orders");
}
