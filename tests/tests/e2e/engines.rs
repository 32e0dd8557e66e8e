//! The host's signature engine and the portable one, side by side in one Envoy: they must say the same of
//! every token there is.

use std::collections::HashMap;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use usher_core::load;
use usher_testkit::bootstrap::Setup;
use usher_testkit::client::{Reply, Request};
use usher_testkit::envoy::Envoy;
use usher_testkit::mint::{self, Key};
use usher_testkit::vectors;

const ISSUER: &str = "https://idp.example";

/// What Envoy's host function does.
const BY_THE_HOST: [&str; 6] = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];

struct Signed {
    alg: &'static str,
    token: String,
}

/// One Envoy for both tests; a listener for each engine, and nothing cached.
struct Engines {
    envoy: Envoy,
    tokens: Vec<Signed>,
}

static ENGINES: LazyLock<Engines> = LazyLock::new(|| {
    let claims = mint::claims(ISSUER, "mmosley");
    let (mut tokens, mut keys) = (Vec::new(), Vec::new());
    for alg in BY_THE_HOST {
        let key = Key::new(alg, alg);
        keys.push(key.jwk());
        tokens.push(Signed { alg, token: key.token(&claims) });
    }
    let config = json!({
        "jwtRules": [{ "issuer": ISSUER, "jwks": { "keys": keys } }],
        "decisionLog": { "emit": "none" },
    });
    Engines { envoy: envoy(&config), tokens }
});

fn envoy(config: &Value) -> Envoy {
    let listener = |engine: &str| {
        let mut config = config.clone();
        config["signatureEngine"] = engine.into();
        config["tokenCache"] = json!({ "entries": 0 });
        Setup::plugin(config)
    };
    Envoy::builder()
        .listener("auto", listener("auto"))
        .listener("portable", listener("portable"))
        .start()
}

/// What both engines answer to `requests`, in their order.
fn both(envoy: &Envoy, requests: &[Request]) -> [Vec<Reply>; 2] {
    ["auto", "portable"].map(|listener| envoy.listener(listener).series(requests))
}

fn told(reply: &Reply) -> (u16, String) {
    (reply.status, reply.text())
}

#[test]
fn envoy_passes_the_test_and_the_log_says_so() {
    let envoy = &ENGINES.envoy;
    let all = format!("{} by the host", BY_THE_HOST.join(", "));
    envoy.log().line_with(&["wasm log auto", &all]);
    envoy.log().line_with(&["wasm log portable", "all by the module itself, as configured"]);
    let requests: Vec<Request> =
        ENGINES.tokens.iter().map(|signed| Request::get("/").bearer(&signed.token)).collect();
    for replies in both(envoy, &requests) {
        for (reply, signed) in replies.iter().zip(&ENGINES.tokens) {
            assert_eq!(reply.status, 200, "{}: {reply}", signed.alg);
        }
    }
}

/// Ten thousand signatures that are almost right.
#[test]
fn mutated_signatures_are_refused_alike() {
    const REFUSED: (u16, &str) = (401, "Jwt verification fails");
    let shares = [3000, 1500, 1500, 2500, 1000, 500];
    assert_eq!(shares.iter().sum::<usize>(), 10_000);
    let mut random = Random(1);
    let mut wrong = Vec::new();
    for (signed, share) in ENGINES.tokens.iter().zip(shares) {
        let (text, signature) = signed.token.rsplit_once('.').unwrap();
        let good = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let mutants: Vec<Vec<u8>> = (0..share).map(|number| random.mutant(&good, number)).collect();
        let token = |mutant: &Vec<u8>| format!("{text}.{}", URL_SAFE_NO_PAD.encode(mutant));
        let requests: Vec<Request> =
            mutants.iter().map(|m| Request::get("/").bearer(&token(m))).collect();
        let [auto, portable] = both(&ENGINES.envoy, &requests);
        for ((mutant, auto), portable) in mutants.iter().zip(&auto).zip(&portable) {
            for (engine, reply) in [("auto", auto), ("portable", portable)] {
                let (status, body) = told(reply);
                if (status, &*body) != REFUSED {
                    let hex: String = mutant.iter().map(|byte| format!("{byte:02x}")).collect();
                    wrong.push(format!("{} {hex} by {engine}: {status} {body}", signed.alg));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
}

/// splitmix64: the same mutants at each run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((z ^ (z >> 31)) % u64::try_from(n).unwrap()).unwrap()
    }

    /// A signature that is not `good`: the classic ones first, then random damage.
    fn mutant(&mut self, good: &[u8], number: usize) -> Vec<u8> {
        let (r, s) = good.split_at(good.len() / 2);
        let zero = vec![0; r.len()];
        let full = vec![0xff; r.len()];
        let mut mutant = good.to_vec();
        match number {
            0 => vec![0; good.len()],
            1 => vec![0xff; good.len()],
            2 => [s, r].concat(),
            3 => [&zero, s].concat(),
            4 => [r, &zero].concat(),
            5 => [&full, s].concat(),
            6 => [r, &full].concat(),
            7 => good[1..].to_vec(),
            8 => good[..good.len() - 1].to_vec(),
            9 => [good, &[0]].concat(),
            10 => [&[0], good].concat(),
            11 => r.to_vec(),
            12 => vec![1],
            13 => good.iter().rev().copied().collect(),
            14 => good.iter().map(|byte| !byte).collect(),
            // As some APIs have it, and JWS does not.
            15 => [&[0x30, 0x44, 0x02, 0x20], r, &[0x02, 0x20], s].concat(),
            _ => {
                for _ in 0..=self.below(3) {
                    let at = self.below(mutant.len());
                    mutant[at] ^= 1 << self.below(8);
                }
                if mutant == good {
                    mutant[0] ^= 1;
                }
                mutant
            }
        }
    }
}

/// Every token of the vectors, each under its own key set: a rule for each set, which reads a header of
/// its own.
#[test]
fn public_vectors_are_judged_alike() {
    let vectors = vectors::tokens();
    let mut sets: HashMap<String, String> = HashMap::new();
    let (mut rules, mut requests, mut ids) = (Vec::new(), Vec::new(), Vec::new());
    let (mut no_config, mut no_header) = (0, 0);
    for case in &vectors.cases {
        let token = case["token"].as_str().unwrap();
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            no_header += 1;
            continue;
        }
        let set = case["jwks"].to_string();
        let header = match sets.get(&set) {
            Some(header) => header.clone(),
            None => {
                let header = format!("x-set-{}", sets.len());
                let mut rule = json!({
                    "anyIssuer": true,
                    "jwks": case["jwks"],
                    "allowPublishedKeys": true,
                    "requireExpiration": false,
                    // Most have expired, and were good: it is the signatures that are compared.
                    "clockSkew": "500000h",
                    "fromHeaders": [{ "name": header }],
                });
                rule["algorithms"] =
                    usher_core::crypto::Algorithm::names().map(|(name, _)| name).collect();
                let alone = load::from_value(&json!({ "jwtRules": [rule] }));
                let header = if alone.is_ok() { header } else { String::new() };
                if alone.is_ok() {
                    rules.push(rule);
                }
                sets.insert(set, header.clone());
                header
            }
        };
        if header.is_empty() {
            no_config += 1;
            continue;
        }
        requests.push(Request::get("/").header(&header, token));
        ids.push(case["id"].as_str().unwrap().to_owned());
    }
    let config = json!({
        "jwtRules": rules,
        "decisionLog": { "emit": "none" },
        "limits": { "signatureChecks": 200 },
    });
    let [auto, portable] = both(&envoy(&config), &requests);
    let mut passed = 0;
    let mut wrong = Vec::new();
    for ((id, auto), portable) in ids.iter().zip(&auto).zip(&portable) {
        passed += usize::from(auto.status == 200);
        if told(auto) != told(portable) {
            wrong.push(format!("{id}: {:?} by auto, {:?} by portable", told(auto), told(portable)));
        }
    }
    println!(
        "{} tokens under {} key sets, {passed} of them let pass; {no_config} under sets that are no \
         configuration, {no_header} that no header can hold",
        ids.len(),
        rules.len(),
    );
    assert!(wrong.is_empty(), "{}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(
        ids.len() > vectors.most() && passed > 50 && passed < ids.len(),
        "the vectors are all there"
    );
}
