//! The filter on a simulated proxy: requests of two plugins, configurations, ticks, responses and calls to the host
//! that fail, in any order.
//!
//! A written case is a list of [`Happening`]s in JSON.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use arbitrary::Arbitrary as _;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::draw::Draw;
use crate::fake_host::SharedData;
use crate::fake_proxy::Proxy;
use crate::mint::{self, Signer};

const MAX_HAPPENINGS: usize = 60;
const NOW: u64 = 1_800_000_000;
const ISSUER: &str = "https://i.example";
const PLUGINS: [&str; 2] = ["one", "two"];

/// Numbers that choose are taken modulo the number of choices.
#[derive(arbitrary::Arbitrary, Clone, Debug, Deserialize, Serialize)]
enum Happening {
    Configure {
        plugin: u8,
        configuration: u8,
    },
    End {
        plugin: u8,
    },
    Begin {
        plugin: u8,
        token: u8,
        forged: bool,
    },
    Headers {
        request: u8,
        last: bool,
    },
    Body {
        request: u8,
    },
    Trailers {
        request: u8,
        early: bool,
    },
    Reset {
        request: u8,
    },
    Tick {
        plugin: u8,
    },
    Respond {
        response: u8,
    },
    Pass {
        tenths: u16,
    },
    /// The call to the host after this many others fails.
    Fail {
        after: u8,
    },
}

/// A running proxy.
struct Play {
    proxy: Proxy,
    /// The root context of each plugin, if it has one.
    roots: [Option<u32>; 2],
    /// Each request, and whether it has a token of a key that is ever listed.
    requests: Vec<(u32, bool)>,
    /// Whether a call to the host has failed so far.
    failed: Rc<std::cell::Cell<bool>>,
}

pub(crate) fn run(data: &[u8]) {
    let happenings: Vec<Happening> = match Draw::of(data) {
        Some(mut draw) => std::iter::from_fn(|| {
            (!draw.is_empty()).then(|| Happening::arbitrary(draw.source()).ok()).flatten()
        })
        .take(MAX_HAPPENINGS)
        .collect(),
        None => match serde_json::from_slice(data) {
            Ok(happenings) => happenings,
            Err(_) => return,
        },
    };
    let mut play = Play {
        proxy: Proxy::new(NOW * 1000, &SharedData::default()),
        roots: [None; 2],
        requests: Vec::new(),
        failed: Rc::default(),
    };
    for (at, happening) in happenings.iter().take(MAX_HAPPENINGS).enumerate() {
        play.step(happening);
        if let Err(problem) = play.check() {
            let so_far = serde_json::to_string(&happenings[..=at]).expect("a plan is JSON");
            panic!("{problem}\n{so_far}");
        }
    }
}

impl Play {
    fn step(&mut self, happening: &Happening) {
        let proxy = &self.proxy;
        match *happening {
            Happening::Configure { plugin, configuration } => {
                let plugin = usize::from(plugin) % PLUGINS.len();
                let (root, loaded) = proxy.configure(PLUGINS[plugin], &configured(configuration));
                assert!(loaded, "no configuration is reported to the host as failed");
                if let Some(former) = self.roots[plugin].replace(root) {
                    proxy.end(former);
                }
            }
            Happening::End { plugin } => {
                if let Some(root) = self.roots[usize::from(plugin) % PLUGINS.len()].take() {
                    proxy.end(root);
                }
            }
            Happening::Begin { plugin, token, forged } => {
                let root = self.roots[usize::from(plugin) % PLUGINS.len()].unwrap_or(999);
                let (token, is_known) = authorization(token);
                let mut headers = vec![(":path", "/")];
                headers.extend(token.as_deref().map(|token| ("authorization", token)));
                let spoofed = [("user-info", "root"), ("user_info", "root"), ("User.Info", "root")];
                headers.extend(spoofed.into_iter().filter(|_| forged));
                let id = proxy.begin(root, &headers, &spoofed);
                self.requests.push((id, is_known));
            }
            Happening::Headers { request, last } => {
                self.of(request).into_iter().for_each(|id| proxy.headers(id, last));
            }
            Happening::Body { request } => {
                self.of(request).into_iter().for_each(|id| proxy.body(id));
            }
            Happening::Trailers { request, early } => {
                let Some(id) = self.of(request) else { return };
                if early { proxy.show_trailers(id) } else { proxy.trailers(id) }
            }
            Happening::Reset { request } => {
                self.of(request).into_iter().for_each(|id| proxy.reset(id));
            }
            Happening::Tick { plugin } => {
                let root = self.roots[usize::from(plugin) % PLUGINS.len()];
                root.into_iter().for_each(|root| proxy.tick(root));
            }
            Happening::Respond { response } => {
                let set = |signers: &[Signer]| mint::ed_jwks(signers).to_string();
                match response % 5 {
                    0 => proxy.respond(Some((200, &set(&[Signer::Ed])))),
                    1 => proxy.respond(Some((200, &set(&[Signer::Ed, Signer::Unnamed])))),
                    2 => proxy.respond(Some((200, r#"{"keys": []}"#))),
                    3 => proxy.respond(Some((503, "no"))),
                    _ => proxy.respond(None),
                };
            }
            Happening::Pass { tenths } => proxy.pass(Duration::from_millis(100) * tenths.into()),
            Happening::Fail { after } => {
                let failed = Rc::clone(&self.failed);
                proxy.host.hook(move |_, before| {
                    let fails = before == usize::from(after);
                    failed.set(failed.get() || fails);
                    fails
                });
            }
        }
    }

    fn of(&self, request: u8) -> Option<u32> {
        let index = usize::from(request).checked_rem(self.requests.len())?;
        Some(self.requests[index].0)
    }

    /// The invariants at any time.
    fn check(&self) -> Result<(), String> {
        for (id, is_known) in &self.requests {
            let stream = self.proxy.stream(*id).ok_or("the proxy knows its requests")?;
            let service = &stream.service;
            if let Some(reply) = &stream.reply {
                // A request whose trailers cannot be cleaned is ended, although its headers were forwarded.
                let ended = reply.status == 503 && service.trailers.is_none() && self.failed.get();
                if stream.reached_service() && !ended {
                    return Err(format!("request {id} is answered and goes on: {stream:?}"));
                }
            }
            let Some(headers) = &service.headers else {
                if stream.reached_service() {
                    return Err(format!("of request {id} a part goes on alone: {stream:?}"));
                }
                continue;
            };
            if !is_known {
                return Err(format!("request {id} goes on without a good token: {stream:?}"));
            }
            let trailers = service.trailers.iter().flatten();
            let identities: BTreeSet<(&[u8], &[u8])> = headers
                .iter()
                .chain(trailers)
                .filter(|(name, _)| {
                    let folded =
                        String::from_utf8_lossy(name).to_lowercase().replace(['_', '.'], "-");
                    folded == "user-info"
                })
                .map(|(name, value)| (name.as_slice(), value.as_slice()))
                .collect();
            if identities != BTreeSet::from([(&b"user-info"[..], &b"sub"[..])]) {
                return Err(format!("request {id} passes as another caller: {stream:?}"));
            }
        }
        Ok(())
    }
}

fn configured(number: u8) -> String {
    let rule = |keys: Value| {
        let mut rule = json!({
            "issuer": ISSUER,
            "outputClaimToHeaders": [{ "header": "User-Info", "claim": "sub" }],
        });
        rule.as_object_mut()
            .expect("an object")
            .extend(keys.as_object().expect("an object").clone());
        json!({ "instance": "a", "jwtRules": [rule] })
    };
    let remote = json!({
        "jwksUri": "http://keys.example/jwks",
        "jwksCluster": "keys",
        "timeout": "5s",
        "maxStale": "60s",
    });
    match number % 4 {
        0 => rule(json!({ "jwks": mint::ed_jwks(&[Signer::Ed]).to_string() })).to_string(),
        1 => rule(remote).to_string(),
        2 => r#"{"instance": "a", "jwtRule": 1}"#.to_owned(),
        _ => String::new(),
    }
}

/// A header's value, and whether its token may ever let a request pass.
fn authorization(number: u8) -> (Option<String>, bool) {
    let token = |signer: Signer, exp: u64| {
        let header = json!({ "alg": signer.algorithm() }).to_string();
        let claims = json!({ "iss": ISSUER, "sub": "sub", "exp": exp }).to_string();
        Some(format!("Bearer {}", signer.token(&header, &claims)))
    };
    match number % 6 {
        0 => (token(Signer::Ed, NOW + 100_000), true),
        1 => (token(Signer::Unnamed, NOW + 100_000), true),
        2 => (token(Signer::Stranger, NOW + 100_000), false),
        3 => (token(Signer::Ed, NOW - 100_000), false),
        4 => (Some("Bearer x.y.z".to_owned()), false),
        _ => (None, false),
    }
}
