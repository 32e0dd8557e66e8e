//! Signatures that the host verifies.

use std::cell::Cell;

use usher_testkit::foreign::verify_signature;

use super::*;

/// The statuses of a good token of this key and of one with another's signature, and how often the host was asked for
/// them. `host` is its function.
fn verified(
    key: &Key,
    host: impl Fn(&[u8]) -> Option<Vec<u8>> + 'static,
) -> ([Option<u16>; 2], usize, String) {
    let asked = Rc::new(Cell::new(0));
    let proxy = Proxy::new(NOW_MILLIS, &shared());
    let count = Rc::clone(&asked);
    proxy.host.set_function("verify_signature", move |arguments| {
        count.set(count.get() + 1);
        host(arguments)
    });
    let configuration = json!({ "jwtRules": [rule(json!({ "jwks": key_set(&[key]) }))] });
    let (root, _) = proxy.configure("usher", &configuration.to_string());
    let known_answers = asked.replace(0);
    assert!(known_answers > 0, "the host is put to the test first");
    let (signed, _) =
        token(key).rsplit_once('.').map(|(a, b)| (a.to_owned(), b.to_owned())).unwrap();
    let other = token(&Key::new(&key.alg, &key.kid));
    let forged = format!("{signed}.{}", other.rsplit_once('.').unwrap().1);
    let statuses = [token(key), forged].map(|token| {
        let id = proxy.get(root, &[(":path", "/"), ("authorization", &format!("Bearer {token}"))]);
        assert_sound(&proxy.stream(id).unwrap(), "whoever verifies");
        proxy.status(id)
    });
    (statuses, asked.get(), usher_testkit::fake_host::log_lines().join("\n"))
}

#[test]
fn a_host_that_passes_the_test_verifies() {
    usher_testkit::fake_host::log_lines();
    for alg in ["RS256", "ES256", "ES384"] {
        let (statuses, asked, log) = verified(&Key::new(alg, "one"), verify_signature);
        assert_eq!((statuses, asked), ([Some(200), Some(401)], 2), "{alg}");
        assert!(log.contains("RS512, ES256, ES384 by the host"), "{log}");
    }
    let (statuses, asked, _) = verified(&Key::new("ES512", "one"), verify_signature);
    assert_eq!((statuses, asked), ([Some(200), Some(401)], 0), "what it lacks the module does");
}

/// A host that says yes or no to everything fails the test, and one that stops answering has not said yes.
#[test]
fn a_host_that_verifies_nothing_is_not_believed() {
    let key = Key::new("ES256", "one");
    for (what, answer) in [("yes", Some(vec![8, 1])), ("no", Some(Vec::new())), ("nothing", None)] {
        let (statuses, asked, _) = verified(&key, move |_| answer.clone());
        assert_eq!((statuses, asked), ([Some(200), Some(401)], 0), "always {what}");
    }
    let calls = Cell::new(0);
    let (statuses, asked, _) = verified(&key, move |arguments| {
        calls.set(calls.get() + 1);
        // The known answers are 18 questions at most.
        if calls.get() > 18 { None } else { verify_signature(arguments) }
    });
    assert_eq!((statuses, asked), ([Some(200), Some(401)], 2), "the module does it instead");
}
