//! The telling differences, played live: native jwt_authn, as istiod configures it, and Usher, side by
//! side in one Envoy, asked the same.
//!
//! Each case says what both must answer. What Envoy really answers is the measure: a case that no
//! longer comes out as written is a difference that the docs describe wrongly.

use std::fmt;

use serde_json::{Value, json};

use crate::bootstrap::Setup;
use crate::client::{Reply, Request};
use crate::envoy::Envoy;
use crate::jwt_authn;
use crate::mint::{self, Key};

mod cases;

pub use cases::CASES;

const CORP: &str = "https://corp.example";
const PARTNER: &str = "https://partner.example";

/// One request, and the two answers to it.
pub struct Case {
    /// The row of docs/differences.md that it shows.
    pub class: &'static str,
    /// What is sent, in words.
    pub title: &'static str,
    rules: Rules,
    request: fn(&Tokens) -> Request,
    native: &'static str,
    usher: &'static str,
}

/// The outcome of a case.
pub struct Outcome {
    /// The case.
    pub case: &'static Case,
    sent: String,
    native: String,
    usher: String,
}

/// Which `jwtRules` both listeners have.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Rules {
    /// One issuer, tokens in the default places.
    Corp,
    /// The same, and a partner whose tokens come in a header of their own.
    CorpAndPartner,
    /// Tokens in the header `x-jwt` behind `T=`, or in the cookie `sid`; the partner's in the default
    /// places.
    Web,
}

/// The tokens that cases send, by the names that answers call them by.
struct Tokens {
    named: Vec<(&'static str, String)>,
}

/// Differences that another test shows, by class: they need an own key set, or two times.
pub const TOLD_ELSEWHERE: &[(&str, &str)] = &[
    ("a-curve-is-named", "tests/tests/e2e/istio_cases/v.rs"),
    ("a-policy-does-not-open", "tests/tests/logic/meanings/evaluation.rs"),
    ("alg-number", "tests/tests/e2e/key_sets.rs"),
    ("any-byte-in-templates", "tests/tests/e2e/dodges.rs"),
    ("bounds", "tests/tests/e2e/bounds.rs"),
    ("dashes-in-header-names", "tests/tests/e2e/dodges.rs"),
    ("key-ops-object", "tests/tests/e2e/key_sets.rs"),
    ("key-ops-sign", "tests/tests/e2e/key_sets.rs"),
    ("paths-in-utf-8", "tests/tests/e2e/dodges.rs"),
    ("preflight-without-body", "tests/tests/e2e/redacted.rs"),
    ("private-part", "tests/tests/e2e/key_sets.rs"),
    ("single-quotes", "tests/tests/e2e/key_sets.rs"),
    ("spellings-of-hosts", "tests/tests/e2e/dodges.rs"),
    ("tokens-in-trailers", "tests/tests/e2e/pending.rs"),
    ("trailing-comma", "tests/tests/e2e/key_sets.rs"),
    ("use-enc", "tests/tests/e2e/key_sets.rs"),
    ("use-number", "tests/tests/e2e/key_sets.rs"),
    ("zero-is-a-time", "tests/tests/e2e/istio_cases/v.rs"),
];

/// Plays every case.
///
/// # Panics
/// When Envoy does not start.
pub fn play() -> Vec<Outcome> {
    let key = Key::new("ES256", "corp");
    let stranger = Key::new("ES256", "corp");
    let tokens = Tokens::new(&key, &stranger);
    let builder = Rules::ALL.iter().fold(Envoy::builder(), |builder, rules| {
        let rules_of = rules.json(&key);
        let usher = Setup::plugin(json!({ "jwtRules": rules_of, "missingToken": "allow" }));
        let native = Setup::open().ahead(jwt_authn::filter(&rules_of));
        builder
            .listener(&rules.listener("native"), native)
            .listener(&rules.listener("usher"), usher)
    });
    let envoy = builder.start();
    let answer = |case: &Case, side: &str| {
        let request = (case.request)(&tokens);
        tokens.words(&envoy.listener(&case.rules.listener(side)).http1(&request), &request)
    };
    CASES
        .iter()
        .map(|case| Outcome {
            case,
            sent: tokens.named_in(&request_line(&(case.request)(&tokens))),
            native: answer(case, "native"),
            usher: answer(case, "usher"),
        })
        .collect()
}

impl Outcome {
    /// Whether both answered as the case says.
    pub fn is_as_expected(&self) -> bool {
        self.native == self.case.native && self.usher == self.case.usher
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} ({})", self.case.title, self.case.class)?;
        writeln!(f, "  sent    {}", self.sent)?;
        for (who, found, told) in
            [("native", &self.native, self.case.native), ("usher ", &self.usher, self.case.usher)]
        {
            writeln!(f, "  {who}  {found}")?;
            if found != told {
                writeln!(f, "          NOT AS EXPECTED: {told}")?;
            }
        }
        Ok(())
    }
}

impl Rules {
    const ALL: [Self; 3] = [Self::Corp, Self::CorpAndPartner, Self::Web];

    fn listener(self, side: &str) -> String {
        let rules = match self {
            Self::Corp => "corp",
            Self::CorpAndPartner => "corp-and-partner",
            Self::Web => "web",
        };
        format!("{side}-{rules}")
    }

    fn json(self, key: &Key) -> Value {
        let corp = json!({
            "issuer": CORP,
            "jwks": mint::jwks([key]),
            "outputPayloadToHeader": "User-Info",
            "outputClaimToHeaders": [
                { "header": "x-groups", "claim": "groups" },
                { "header": "x-level", "claim": "level" },
            ],
        });
        match self {
            Self::Corp => json!([corp]),
            Self::CorpAndPartner => json!([corp, {
                "issuer": PARTNER,
                "jwks": mint::jwks([key]),
                "fromHeaders": [{ "name": "x-partner-token" }],
            }]),
            Self::Web => json!([{
                "issuer": CORP,
                "jwks": mint::jwks([key]),
                "audiences": ["shop"],
                "fromHeaders": [{ "name": "x-jwt", "prefix": "T=" }],
                "fromCookies": ["sid"],
                "outputPayloadToHeader": "User-Info",
            }, { "issuer": PARTNER, "jwks": mint::jwks([key]) }]),
        }
    }
}

impl Tokens {
    fn new(key: &Key, stranger: &Key) -> Self {
        let now = mint::now();
        let good = mint::with(&mint::claims(CORP, "mmosley"), "aud", "shop");
        let edited = |name: &str, value: Value| mint::with(&good, name, value);
        let expired = edited("exp", json!(now - 3600));
        let rich = mint::with(
            &edited("groups", json!(["admin", "dev"])),
            "level",
            9_007_199_254_740_993_u64,
        );
        let critical = json!({ "alg": "ES256", "kid": "corp", "crit": ["x"], "x": 1 });
        let token = key.token(&good);
        // 65 bytes: Envoy halves the length and ignores what is left over (google/jwt_verify_lib
        // src/verify.cc, `verifySignatureEC`).
        let (signed, signature) = token.rsplit_once('.').expect("a token has dots");
        let longer =
            format!("{signed}.{}", mint::encode([mint::decode(signature), vec![7]].concat()));
        let named = vec![
            ("good", token.clone()),
            ("longer", longer),
            ("forged", stranger.token(&good)),
            ("expired", key.token(&expired)),
            ("forged and expired", stranger.token(&expired)),
            ("endless", key.token(&edited("exp", Value::Null))),
            ("tomorrow", key.token(&edited("iat", json!(now + 86_400)))),
            ("critical", key.sign(&critical, &edited("jti", json!("critical")))),
            ("rich", key.token(&rich)),
            ("spaced", key.token(&edited("groups", json!("admin ")))),
            ("elsewhere", key.token(&edited("aud", json!("billing")))),
        ];
        Self { named }
    }

    fn named(&self, name: &str) -> &str {
        let mut all = self.named.iter();
        all.find(|(n, _)| *n == name)
            .map(|(_, token)| token.as_str())
            .expect("a token of that name")
    }

    /// The text with every token, and every payload of one, called by its name.
    fn named_in(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (name, token) in &self.named {
            text = text.replace(token, &format!("<{name}>"));
        }
        for (name, token) in &self.named {
            text = text.replace(mint::payload(token), &format!("<payload of {name}>"));
        }
        text
    }

    /// What matters in an answer: the status, then what the service saw, or the body that the client got.
    fn words(&self, reply: &Reply, request: &Request) -> String {
        let Some(seen) = &reply.seen else {
            let challenge = reply.header("www-authenticate").unwrap_or_default();
            let repeats =
                if challenge.contains('?') { ", challenge repeats the query" } else { "" };
            return self.named_in(&format!("{} `{}`{repeats}", reply.status, reply.text()));
        };
        let path = if request.path == seen.path.as_bytes() {
            String::new()
        } else {
            format!(" {}", seen.path)
        };
        let telling =
            ["authorization", "cookie", "x-jwt", "x-partner-token", "x-groups", "x-level"];
        let lines = seen.headers.iter().chain(&seen.trailers).filter(|(name, _)| {
            telling.contains(&name.as_str()) || name.replace('_', "-") == "user-info"
        });
        // In an order of their own: Envoy puts what it adds behind, and the map of the service its way.
        let mut lines: Vec<String> = lines
            .map(|(name, value)| format!(", {name}: {}", String::from_utf8_lossy(value)))
            .collect();
        let rank = |line: &String| {
            telling.iter().take(4).all(|name| !line.starts_with(&format!(", {name}")))
        };
        lines.sort_by_key(|line| (rank(line), line.clone()));
        self.named_in(&format!("{}{path}{}", reply.status, lines.concat()))
    }
}

/// The request as it is sent, on one line.
fn request_line(request: &Request) -> String {
    let path = String::from_utf8_lossy(&request.path);
    let mut text = format!("{} {path}", request.method);
    for (kind, lines) in [("", &request.lines), ("trailer ", &request.trailers)] {
        for (name, value) in lines {
            let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
            text.push_str(&format!(", {kind}{name}: {value}"));
        }
    }
    text
}
