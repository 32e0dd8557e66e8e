//! The workloads: which tokens come, and which variants are measured with them.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use usher_testkit::mint::{self, Key};

use crate::load::request;
use crate::variants::{Issuer, Rules, Variant};

/// Requests for one round, in their order.
pub(crate) type Requests = Arc<Vec<Vec<u8>>>;

/// Makes the requests of the next round, this many.
pub(crate) type Feed = Box<dyn FnMut(usize) -> Requests>;

/// One row of the report, or several.
pub(crate) struct Workload {
    pub(crate) name: String,
    /// What comes, in words.
    pub(crate) about: String,
    /// The first is the empty filter chain.
    pub(crate) tracks: Vec<Track>,
    pub(crate) feed: Feed,
    pub(crate) compare: Vec<Compare>,
}

/// A variant, and what is expected of it.
pub(crate) struct Track {
    pub(crate) variant: Variant,
    pub(crate) status: u16,
    /// Of a round's requests, one in this many: slow variants need fewer.
    pub(crate) one_in: usize,
    /// Whether each request writes a line to Envoy's log.
    pub(crate) logged: bool,
}

/// The cost of a variant above the empty chain, as a part of another's.
pub(crate) struct Compare {
    pub(crate) variant: String,
    pub(crate) to: String,
    pub(crate) goal: Option<f64>,
}

const NATIVE: &str = "native";
const NATIVE_CACHED: &str = "native, cache on";
const USHER: &str = "usher";
/// Without filter state for access logs.
const USHER_BARE: &str = "usher, filterState off";
const MINIMAL: &str = "a filter that decides nothing";
const QUIET: &str = "usher, no decision log";
const USHER_COLD: &str = "usher, cache off";
const USHER_PORTABLE: &str = "usher, cache off, portable engine";

/// The group that every caller is in.
const GROUP: &str = "developers";

/// A fresh key for this algorithm.
fn key(alg: &str) -> Key {
    Key::new(alg, "key-1")
}

/// What an identity provider writes, padded to about `size` bytes of token.
fn claims(issuer: &str, number: usize, size: usize) -> Value {
    let mut claims = mint::claims(issuer, &format!("user-{number}"));
    claims["aud"] = json!(["service.example"]);
    claims["jti"] = format!("{number:08}-8c1d-4f7e-9a55-0d3c5c1e7f21").into();
    claims["email"] = format!("user-{number}@example.com").into();
    claims["name"] = "Mira Mosley".into();
    claims["groups"] = json!(["everyone", GROUP, "payments-readers"]);
    // A signature and header of about 400 characters; base64 makes 4 of 3.
    let have = 400 + claims.to_string().len() * 4 / 3;
    if size > have {
        let roles = (0..(size - have) * 3 / 4 / 16).map(|n| format!("role-{n:08}").into());
        claims["roles"] = Value::Array(roles.collect());
    }
    claims
}

fn issuer(number: usize) -> String {
    format!("https://idp-{number}.example.com")
}

fn one_rule(signer: &Key) -> Rules {
    Rules {
        issuers: vec![Issuer { name: issuer(0), jwks: mint::jwks([signer]) }],
        allow: vec![(String::new(), GROUP.to_owned())],
    }
}

fn track(variant: Variant) -> Track {
    Track { variant, status: 200, one_in: 1, logged: false }
}

fn compare(variant: &str, to: &str, goal: Option<f64>) -> Compare {
    Compare { variant: variant.to_owned(), to: to.to_owned(), goal }
}

/// One request again and again.
fn same(path: &str, token: Option<&str>) -> Feed {
    let requests = Arc::new(vec![request(path, token)]);
    Box::new(move |_| Arc::clone(&requests))
}

/// A fresh token each time, all through the run.
fn fresh(signer: Key) -> Feed {
    let mut number = 0;
    Box::new(move |count| {
        let requests = (0..count).map(|_| {
            number += 1;
            request("/", Some(&signer.token(&claims(&issuer(0), number, 0))))
        });
        Arc::new(requests.collect())
    })
}

/// All of them, the most telling first. `quick`: fewer tokens where it is the number that takes time.
pub(crate) fn all(module: &Path, minimal: &Path, quick: bool) -> Result<Vec<(String, Workload)>> {
    let none = || track(Variant::none());
    let native = |rules: &Rules| track(Variant::native(NATIVE, rules, None));
    let usher = |rules: &Rules| track(Variant::usher(USHER, module, rules, &json!({})));
    let off = json!({ "tokenCache": { "entries": 0 } });
    let mut all = Vec::new();

    let signer = key("RS256");
    let rules = one_rule(&signer);
    let portable = json!({ "tokenCache": { "entries": 0 }, "signatureEngine": "portable" });
    all.push(Workload {
        name: "hot RS256".to_owned(),
        about: "one token, identity emitted, one claims rule".to_owned(),
        tracks: vec![
            none(),
            native(&rules),
            track(Variant::native(NATIVE_CACHED, &rules, Some(1024))),
            usher(&rules),
            track(Variant::usher(USHER_BARE, module, &rules, &json!({ "filterState": false }))),
            track(Variant::minimal(MINIMAL, minimal)?),
            track(Variant::usher(USHER_COLD, module, &rules, &off)),
            Track {
                one_in: 10,
                ..track(Variant::usher(USHER_PORTABLE, module, &rules, &portable))
            },
        ],
        feed: same("/", Some(&signer.token(&claims(&issuer(0), 0, 0)))),
        compare: vec![
            compare(USHER, NATIVE, Some(0.20)),
            compare(USHER, NATIVE_CACHED, Some(0.80)),
            compare(USHER_BARE, NATIVE, None),
            compare(MINIMAL, NATIVE, None),
            compare(MINIMAL, NATIVE_CACHED, None),
            compare(USHER_COLD, NATIVE, None),
            compare(USHER_PORTABLE, NATIVE, None),
        ],
    });

    for (alg, goal) in [
        ("RS256", Some(1.0)),
        ("ES256", Some(1.0)),
        ("ES384", Some(1.0)),
        ("PS256", None),
        ("EdDSA", None),
        ("ES512", None),
    ] {
        let signer = key(alg);
        let rules = one_rule(&signer);
        // What no host checks takes long.
        let one_in = if ["PS256", "EdDSA"].contains(&alg) { 4 } else { 1 };
        all.push(Workload {
            name: format!("all-distinct {alg}"),
            about: "a fresh token for each request".to_owned(),
            tracks: vec![none(), native(&rules), Track { one_in, ..usher(&rules) }],
            feed: fresh(signer),
            compare: vec![compare(USHER, NATIVE, goal)],
        });
    }

    all.push(log(module));

    let signer = key("RS256");
    let rules = one_rule(&signer);
    let quiet = json!({ "decisionLog": { "emit": "none" } });
    all.push(Workload {
        name: "forged".to_owned(),
        about: "a fresh token for each request, its signature false (RS256)".to_owned(),
        tracks: vec![
            none(),
            Track { status: 401, ..native(&rules) },
            Track { status: 401, logged: true, ..usher(&rules) },
            Track { status: 401, ..track(Variant::usher(QUIET, module, &rules, &quiet)) },
        ],
        feed: {
            let signer = key("RS256");
            fresh(signer)
        },
        compare: vec![compare(USHER, NATIVE, Some(1.0)), compare(QUIET, NATIVE, None)],
    });

    all.push(issuers(module));
    all.push(policies(module));

    let signer = key("RS256");
    let rules = one_rule(&signer);
    let tokens = if quick { 3000 } else { 10_000 };
    all.push(Workload {
        name: "mix".to_owned(),
        about: format!("{tokens} tokens, the n-th asked for 1/n as often (Zipf), caches of 1024"),
        tracks: vec![
            none(),
            native(&rules),
            track(Variant::native(NATIVE_CACHED, &rules, Some(1024))),
            usher(&rules),
        ],
        feed: zipf(&signer, tokens),
        compare: vec![compare(USHER, NATIVE, None), compare(USHER, NATIVE_CACHED, None)],
    });

    let mut open = rules.clone();
    open.allow.clear();
    all.push(Workload {
        name: "no token".to_owned(),
        about: "no token, and none needed".to_owned(),
        tracks: vec![none(), native(&open), usher(&open)],
        feed: same("/", None),
        compare: vec![compare(USHER, NATIVE, None)],
    });

    for size in [2048, 8192] {
        let token = signer.token(&claims(&issuer(0), 0, size));
        all.push(Workload {
            name: format!("hot, {} KiB", size / 1024),
            about: format!("one token of {} bytes", token.len()),
            tracks: vec![
                none(),
                native(&rules),
                track(Variant::native(NATIVE_CACHED, &rules, Some(1024))),
                usher(&rules),
            ],
            feed: same("/", Some(&token)),
            compare: vec![compare(USHER, NATIVE, None), compare(USHER, NATIVE_CACHED, None)],
        });
    }
    Ok(all.into_iter().map(|work| (work.name.clone(), work)).collect())
}

/// Usher against itself: what the decision log costs requests that are allowed.
fn log(module: &Path) -> Workload {
    const ALL: &str = "usher, decision log all";
    let signer = key("RS256");
    let rules = one_rule(&signer);
    let emitting = |name: &str, emit: &str| {
        track(Variant::usher(name, module, &rules, &json!({ "decisionLog": { "emit": emit } })))
    };
    Workload {
        name: "log".to_owned(),
        about: "one RS256 token, hot, allowed; Envoy's log is a file".to_owned(),
        tracks: vec![
            track(Variant::none()),
            emitting(QUIET, "none"),
            emitting(USHER, "denied"),
            Track { logged: true, ..emitting(ALL, "all") },
        ],
        feed: same("/", Some(&signer.token(&claims(&issuer(0), 0, 0)))),
        compare: vec![compare(USHER, QUIET, Some(1.05)), compare(ALL, QUIET, None)],
    }
}

/// Usher against itself, with ever more issuers.
fn issuers(module: &Path) -> Workload {
    let signer = key("ES256");
    // Each has a key of its own; making a thousand would take longer than measuring.
    let other = mint::jwks([&key("ES256")]);
    let rules = |count: usize| Rules {
        issuers: (0..count)
            .map(|n| Issuer {
                name: issuer(n),
                jwks: if n == 0 {
                    mint::jwks([&signer])
                } else {
                    let mut jwks = other.clone();
                    jwks["keys"][0]["kid"] = format!("key-{n}").into();
                    jwks
                },
            })
            .collect(),
        allow: vec![(String::new(), GROUP.to_owned())],
    };
    let name = |count: usize| format!("usher, {count} issuers");
    let usher =
        |count: usize| track(Variant::usher(&name(count), module, &rules(count), &json!({})));
    Workload {
        name: "issuers".to_owned(),
        about: "one ES256 token, hot, of the first of so many issuers".to_owned(),
        tracks: vec![track(Variant::none()), usher(1), usher(50), usher(1000)],
        feed: same("/", Some(&signer.token(&claims(&issuer(0), 0, 0)))),
        compare: vec![
            compare(&name(50), &name(1), None),
            compare(&name(1000), &name(1), Some(1.2)),
        ],
    }
}

/// Usher against itself, with ever more rules.
fn policies(module: &Path) -> Workload {
    let signer = key("RS256");
    let rules = |count: usize| Rules {
        issuers: vec![Issuer { name: issuer(0), jwks: mint::jwks([&signer]) }],
        allow: (0..count).map(|n| (format!("/path-{n}"), GROUP.to_owned())).collect(),
    };
    let name = |count: usize| format!("usher, {count} rules");
    let native = |count: usize| format!("native, {count} rules");
    let ushers = [5, 5000]
        .map(|count| track(Variant::usher(&name(count), module, &rules(count), &json!({}))));
    let natives =
        [5, 5000].map(|count| track(Variant::native(&native(count), &rules(count), Some(1024))));
    let mut tracks = vec![track(Variant::none())];
    tracks.extend(ushers);
    tracks.extend(natives.into_iter().map(|track| Track { one_in: 4, ..track }));
    Workload {
        name: "rules".to_owned(),
        about: "one token, hot; so many rules, each for a path and a claim".to_owned(),
        tracks,
        feed: same("/path-3", Some(&signer.token(&claims(&issuer(0), 0, 0)))),
        compare: vec![
            compare(&name(5000), &name(5), Some(1.5)),
            compare(&native(5000), &native(5), None),
        ],
    }
}

/// Callers as services see them: few come often, many seldom.
fn zipf(signer: &Key, tokens: usize) -> Feed {
    let requests: Vec<Vec<u8>> =
        (0..tokens).map(|n| request("/", Some(&signer.token(&claims(&issuer(0), n, 0))))).collect();
    let mut total = 0.0;
    let mut sums = Vec::with_capacity(tokens);
    for n in 1..=tokens {
        total += 1.0 / n as f64;
        sums.push(total);
    }
    let mut state = 1_u64;
    Box::new(move |count| {
        let mut chosen = Vec::with_capacity(count);
        for _ in 0..count {
            // Knuth's MMIX generator.
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let point = (state >> 11) as f64 / (1_u64 << 53) as f64 * total;
            let at = sums.partition_point(|sum| *sum <= point).min(tokens - 1);
            chosen.push(requests[at].clone());
        }
        Arc::new(chosen)
    })
}

/// Distinct tokens of about `size` bytes, and the rules for them: for what a full cache takes.
pub(crate) fn filling(size: usize, count: usize) -> Result<(Rules, Vec<Vec<u8>>)> {
    let signer = key("RS256");
    let tokens: Vec<String> =
        (0..count).map(|n| signer.token(&claims(&issuer(0), n, size))).collect();
    let first = tokens.first().context("a token")?;
    anyhow::ensure!(first.len().abs_diff(size) < size / 5, "{} bytes, not {size}", first.len());
    let requests = tokens.iter().map(|token| request("/", Some(token))).collect();
    Ok((one_rule(&signer), requests))
}
