//! By any spelling of a header's name: none of its values reaches the service under a name that is
//! Usher's, every other header does, and in its order. 100,000 random requests through the core.
//!
//! The generator's seed is printed; `USHER_SEED` repeats a run.

use std::collections::HashMap;

use rand::prelude::*;
use rand::rngs::StdRng;
use ring::hmac;
use serde_json::{Value, json};
use usher_core::Request;
use usher_testkit::mint;
use usher_testkit::verdict::{
    Core, ISSUER, NOW, RequestBuilder as _, claim, claims, preflight, request, with,
};

const REQUESTS: usize = 100_000;

/// The names that are Usher's.
const PROTECTED: [&str; 4] = ["user-info", "x-user", "x-jwt-groups", "x-remote-user"];

/// What a verified caller is known by.
fn emitted(token: &str) -> [(&'static str, Vec<String>); 3] {
    [
        ("user-info", vec![mint::payload(token).to_owned()]),
        ("x-user", vec!["mmosley".to_owned()]),
        ("x-jwt-groups", vec!["a".to_owned(), "b".to_owned()]),
    ]
}

const SECRET: [u8; 32] = [7; 32];

/// HMAC, so that a hundred thousand verifications take seconds.
fn sign(claims: &Value) -> String {
    let header = mint::encode(r#"{"alg":"HS256"}"#);
    let signed = format!("{header}.{}", mint::encode(claims.to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &SECRET), signed.as_bytes());
    format!("{signed}.{}", mint::encode(tag))
}

fn core(mode: &str, on_spoof: &str) -> Core {
    Core::new(&json!({
        "jwtRules": [{
            "issuer": ISSUER,
            "algorithms": ["HS256"],
            "jwks": { "keys": [{ "kty": "oct", "k": mint::encode(SECRET) }] },
            "outputPayloadToHeader": "User-Info",
            "outputClaimToHeaders": [
                { "header": "X-User", "claim": "sub" },
                { "header": "X-Jwt-Groups", "claim": "groups", "format": "repeat" },
            ],
        }],
        "identityHeaders": { "strip": ["X-Remote-User"], "onSpoof": on_spoof },
        "missingToken": "allow",
        "exempt": [{ "paths": ["/healthz"] }, { "paths": ["/maybe"], "token": "optional" }],
        "authorizationPolicies": [{
            "name": "p", "action": "DENY", "rules": [{ "to": [{ "operation": { "paths": ["/denied"] } }] }],
        }],
        "mode": mode,
    }))
}

/// A way that a request can take, and what the service is to see at its end.
struct Way {
    name: &'static str,
    request: Request,
    dry_run: bool,
    /// `None`: nothing, the request is refused.
    service: Option<Sight>,
}

#[derive(Clone, Copy, PartialEq)]
enum Sight {
    Anonymous,
    Caller,
}

fn ways(good: &str) -> Vec<Way> {
    let expired = sign(&claim("exp", NOW - 3600));
    let way = |name, dry_run, service, request| Way { name, request, dry_run, service };
    let get = |path| request("GET", path);
    let (anonymous, caller) = (Some(Sight::Anonymous), Some(Sight::Caller));
    vec![
        way("no token", false, anonymous, get("/")),
        way("a valid token", false, caller, get("/").bearer(good)),
        way("a valid token in the query", false, caller, get(&format!("/?access_token={good}"))),
        way("a bad token", false, None, get("/").bearer(&expired)),
        way("denied", false, None, get("/denied").bearer(good)),
        way("exempt", false, anonymous, get("/healthz").bearer(good)),
        way("exempt, optional", false, caller, get("/maybe").bearer(good)),
        way("exempt, optional, no token", false, anonymous, get("/maybe")),
        way("a preflight", false, anonymous, preflight("/").bearer(good)),
        way("an unsafe path", false, None, get("/a%00b").bearer(good)),
        way("a path to be normalised", false, caller, get("/a/../b").bearer(good)),
        way("dry run, denied", true, caller, get("/denied").bearer(good)),
        way("dry run, a bad token", true, anonymous, get("/").bearer(&expired)),
        way("dry run, no token", true, anonymous, get("/")),
    ]
}

type Lines = Vec<(Vec<u8>, Vec<u8>)>;

/// Lower case; every byte that is neither letter nor digit is one and the same.
fn folded(name: &[u8]) -> Vec<u8> {
    let fold = |b: &u8| if b.is_ascii_alphanumeric() { b.to_ascii_lowercase() } else { b'-' };
    name.iter().map(fold).collect()
}

fn is_protected(name: &[u8]) -> bool {
    let folded = folded(name);
    !name.starts_with(b":") && PROTECTED.iter().any(|p| folded == p.as_bytes())
}

/// A spelling of a protected name: any separators, any letter case.
fn forged(random: &mut StdRng) -> Vec<u8> {
    let name = PROTECTED.choose(random).unwrap();
    let spell = |b: u8, random: &mut StdRng| match b {
        b'-' if random.random_bool(0.3) => b'-',
        b'-' => loop {
            let separator: u8 = random.random();
            if !separator.is_ascii_alphanumeric() {
                break separator;
            }
        },
        _ if random.random_bool(0.2) => b.to_ascii_uppercase(),
        _ => b,
    };
    name.bytes().map(|b| spell(b, random)).collect()
}

/// A name of the client's own, often almost a protected one.
fn legitimate(random: &mut StdRng) -> Vec<u8> {
    let name = match random.random_range(0..4) {
        0 => ["accept", "x-request-id", "user-agent", "x-forwarded-for", "traceparent"]
            .choose(random)
            .unwrap()
            .as_bytes()
            .to_vec(),
        1 => (0..random.random_range(1..12)).map(|_| random.random_range(b'!'..=b'~')).collect(),
        _ => {
            // One edit away.
            let mut name = forged(random);
            let at = random.random_range(0..name.len());
            match random.random_range(0..3) {
                0 => drop(name.remove(at)),
                1 => name.insert(at, b'-'),
                _ => name[at] = if name[at] == b'q' { b'z' } else { b'q' },
            }
            name
        }
    };
    // What the request's own lines are called would change its meaning, not its spelling.
    let taken = [b"authorization".as_slice(), b"origin", b"access-control-request-method"];
    let meant = taken.contains(&name.as_slice()) || name.starts_with(b":") || is_protected(&name);
    if meant { b"x-kept".to_vec() } else { name }
}

/// Forged and legitimate lines in a random order; each value says which it is.
fn lines(random: &mut StdRng) -> Lines {
    let count = random.random_range(0..12);
    let line = |number, random: &mut StdRng| {
        let (name, kind) = match random.random_bool(0.5) {
            true => (forged(random), "forged"),
            false => (legitimate(random), "kept"),
        };
        (name, format!("{kind}-{number}").into_bytes())
    };
    let mut lines: Lines = (0..count).map(|number| line(number, random)).collect();
    // Repetitions, some far from the first.
    for _ in 0..random.random_range(0..3) {
        if let Some(again) = lines.choose(random).cloned() {
            lines.insert(random.random_range(0..=lines.len()), again);
        }
    }
    lines
}

/// The request with `lines` strewn between its own, behind the pseudo headers.
fn strewn(request: &Request, lines: &Lines, random: &mut StdRng) -> Request {
    let mut headers = request.headers.clone();
    let pseudo = headers.iter().take_while(|(name, _)| name.starts_with(b":")).count();
    let mut at = pseudo;
    for line in lines {
        at = random.random_range(at..=headers.len());
        headers.insert(at, line.clone());
        at += 1;
    }
    Request { headers, ..request.clone() }
}

fn kept(lines: &[(Vec<u8>, Vec<u8>)]) -> Lines {
    lines.iter().filter(|(name, _)| !is_protected(name)).cloned().collect()
}

/// The lines that `lines` holds, of those that `names` are called; the request's own lines aside.
fn clients(request: &Request, sent: &Request) -> Lines {
    let own = |name: &[u8]| sent.headers.iter().any(|(n, _)| n == name);
    request.headers.iter().filter(|(name, _)| !own(name)).cloned().collect()
}

#[test]
fn no_value_of_the_clients_survives_and_nothing_else_is_lost() {
    let seed: u64 = match std::env::var("USHER_SEED") {
        Ok(seed) => seed.parse().expect("USHER_SEED is a number"),
        Err(_) => rand::random(),
    };
    println!("USHER_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let good = sign(&with(&claims(), "groups", json!(["a", "b"])));
    let ours = emitted(&good);
    let (enforcing, dry, rejecting) =
        (core("enforce", "strip"), core("dryRun", "strip"), core("enforce", "reject"));
    let ways = ways(&good);
    let mut walked: HashMap<&str, usize> = HashMap::new();
    let (mut forgeries, mut legitimates) = (0_usize, 0_usize);

    for number in 0..REQUESTS {
        let way = ways.choose(&mut random).unwrap();
        let added = lines(&mut random);
        let request = strewn(&way.request, &added, &mut random);
        let core = if way.dry_run { &dry } else { &enforcing };
        let verdict = core.decide(&request);
        let what = || format!("USHER_SEED={seed}, request {number}, {}: {added:?}", way.name);

        *walked.entry(way.name).or_default() += 1;
        forgeries += added.iter().filter(|(name, _)| is_protected(name)).count();
        legitimates += kept(&added).len();

        // Of a refused request too: its log must not hold what was forged.
        let after = verdict.edited();
        let survivors = after.headers.iter().filter(|(_, value)| value.starts_with(b"forged"));
        assert_eq!(survivors.count(), 0, "{}", what());
        assert_eq!(kept(&clients(after, &way.request)), kept(&added), "{}", what());

        assert_eq!(verdict.decision.reply.is_none(), way.service.is_some(), "{}", what());
        let caller = way.service == Some(Sight::Caller);
        for (name, lines) in &ours {
            let expected = if caller { lines.as_slice() } else { &[] };
            let same = |(n, _): &&(Vec<u8>, Vec<u8>)| folded(n) == name.as_bytes();
            let found: Vec<_> = after.headers.iter().filter(same).collect();
            let expected: Vec<_> =
                expected.iter().map(|line| (name.as_bytes(), line.as_bytes())).collect();
            let found: Vec<_> = found.iter().map(|(n, v)| (n.as_slice(), v.as_slice())).collect();
            assert_eq!(found, expected, "{}", what());
        }
        // Nothing was forged: nothing is counted as forged. Something was: `onSpoof` may refuse it.
        let spoofed = added.iter().any(|(name, _)| is_protected(name));
        assert_eq!(!verdict.decision.report.spoofed.is_empty(), spoofed, "{}", what());
        if spoofed && !way.dry_run && number % 10 == 0 {
            assert_eq!(rejecting.decide(&request).code(), "identity_spoofed", "{}", what());
        }

        let trailers = lines(&mut random);
        assert_eq!(core.trailers(&trailers), kept(&trailers), "trailers of {}", what());
    }

    println!("{forgeries} forged lines, {legitimates} legitimate ones; {walked:?}");
    // The generator reaches what it is to reach.
    assert!(walked.len() == ways.len() && forgeries > REQUESTS && legitimates > REQUESTS);
}
