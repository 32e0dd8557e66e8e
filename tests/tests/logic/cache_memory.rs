//! What the cache of verified tokens says that it holds is what it holds.

#![expect(unsafe_code, reason = "only an allocator knows what is held")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use serde_json::{Value, json};
use usher_core::{WorkerState, decide, load};
use usher_testkit::mint::{self, Key};

/// The system's allocator, which counts what is held.
struct Counting;

thread_local! {
    /// What this thread has got and not given back: other tests run beside this one.
    static HELD: Cell<isize> = const { Cell::new(0) };
}

unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        HELD.set(HELD.get() + block(layout.size()));
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        HELD.set(HELD.get() - block(layout.size()));
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A block as glibc and the module's allocator give it out.
fn block(bytes: usize) -> isize {
    ((bytes + 8).next_multiple_of(16).max(32)).try_into().unwrap()
}

const NOW: u64 = 1_000_000;
const BOUND: usize = 2 << 20;

/// What a session holds beside its tokens.
const FIXED: usize = 16 << 10;

/// Claims of about 12 KB, in one form each.
fn forms() -> Vec<(&'static str, Value)> {
    let many = |n: usize, item: &dyn Fn(usize) -> Value| (0..n).map(item).collect::<Vec<_>>();
    let object: serde_json::Map<String, Value> =
        (0..900).map(|n| (format!("c{n}"), json!(n % 10))).collect();
    vec![
        ("small objects", json!(many(1_300, &|_| json!({ "a": 1 })))),
        ("empty objects", json!(many(3_000, &|_| json!({})))),
        ("small lists", json!(many(2_000, &|_| json!([1])))),
        ("numbers", json!(many(4_000, &|_| json!(1)))),
        ("texts", json!(many(2_500, &|_| json!("a")))),
        ("one object", Value::Object(object)),
        ("one text", json!("a".repeat(11_000))),
        ("nothing more", json!(null)),
    ]
}

#[test]
fn what_is_counted_is_held() {
    let key = Key::new("ES256", "one");
    for (form, value) in forms() {
        let config = json!({
            "jwtRules": [{
                "issuer": "i", "jwks": mint::jwks([&key]), "outputPayloadToHeader": "user-info",
                "outputClaimToHeaders": [{ "header": "x-sub", "claim": "sub" }],
            }],
            "tokenCache": { "entries": 150, "bytes": BOUND },
        });
        let policy = load::from_value(&config).unwrap().policy;
        let mut worker_state = WorkerState::portable();
        let requests: Vec<usher_core::Request> = (0..150)
            .map(|n| {
                let claims =
                    json!({ "iss": "i", "sub": format!("s{n}"), "exp": NOW + 60, "more": value });
                let token = format!("Bearer {}", key.token(&claims));
                let headers = [
                    (":method", "GET"),
                    (":path", "/"),
                    (":authority", "a"),
                    ("authorization", token.as_str()),
                ];
                let headers = headers.map(|(n, v)| (n.as_bytes().to_vec(), v.as_bytes().to_vec()));
                usher_core::Request { headers: headers.to_vec(), ..usher_core::Request::default() }
            })
            .collect();
        let empty = HELD.get();
        for request in &requests {
            let decision =
                decide(&policy, request, usher_core::time::UnixSeconds(NOW), &mut worker_state);
            assert_eq!(decision.denial, None, "{form}");
        }
        let held = usize::try_from(HELD.get() - empty).unwrap();
        let (counted, entries) = (worker_state.cache.bytes(), worker_state.cache.len());
        println!("{form}: {entries} tokens, {held} bytes held, {counted} counted");
        assert!(entries >= 2, "{form}: {entries}");
        assert!(counted <= BOUND, "{form}: {counted}");
        // Never too low, and not so high that the bound would mean little.
        assert!(held <= counted + FIXED, "{form}: {held} held, {counted} counted");
        assert!(counted <= 3 * held, "{form}: {held} held, {counted} counted");
    }
}
