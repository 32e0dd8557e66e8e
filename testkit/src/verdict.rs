//! The core alone: a pluginConfig and a request in, what becomes of it out. No host, no clock.
//!
//! What needs no Envoy to be shown is shown here, by the function that the filter calls too.

use serde_json::{Value, json};
use usher_core::observe::decision_log::{LineContext, line};
use usher_core::time::UnixSeconds;
use usher_core::{Compiled, Decision, Request, WorkerState, decide, load};

use crate::mint::{self, Key};

/// The time of every request here: 2027-01-15.
pub const NOW: u64 = 1_800_000_000;

/// The issuer of most tokens here.
pub const ISSUER: &str = "https://idp.example";

/// A policy in force.
pub struct Core {
    policy: Compiled,
    /// What its loading warned of, `path: problem`.
    pub warnings: Vec<String>,
}

/// The outcome of a request.
pub struct Verdict {
    /// The decision.
    pub decision: Decision,
    edited: Request,
}

impl Core {
    /// The policy of a pluginConfig.
    ///
    /// # Panics
    /// With what is wrong with it.
    #[track_caller]
    pub fn new(configuration: &Value) -> Self {
        match load::from_json(configuration.to_string().as_bytes()) {
            Ok(loaded) => Self {
                policy: loaded.policy,
                warnings: loaded.warnings.iter().map(ToString::to_string).collect(),
            },
            Err(problems) => panic!("{configuration}: {problems:#?}"),
        }
    }

    /// The policy of one jwtRule, see [`rule`].
    #[track_caller]
    pub fn with_rule(rule: Value) -> Self {
        Self::new(&json!({ "jwtRules": [rule] }))
    }

    /// Decides a request at [`NOW`].
    pub fn decide(&self, request: &Request) -> Verdict {
        self.ask_at(request, NOW)
    }

    /// Decides a request at another time.
    pub fn ask_at(&self, request: &Request, now: u64) -> Verdict {
        let decision =
            decide(&self.policy, request, UnixSeconds(now), &mut WorkerState::portable());
        let edited = decision.mutations.applied(request);
        Verdict { decision, edited }
    }

    /// Decides a GET of `/` with a bearer token, if one is given.
    pub fn bearer(&self, token: &str) -> Verdict {
        self.decide(&get("/").bearer(token))
    }

    /// The reason code for a bearer token.
    pub fn code(&self, token: &str) -> &'static str {
        self.bearer(token).code()
    }

    /// The line that the decision log has for an answer.
    pub fn log_line(&self, request: &Request, verdict: &Verdict) -> String {
        let context = LineContext {
            now: UnixSeconds(NOW),
            generation: 1,
            process_key: b"process",
            ..Default::default()
        };
        line(&self.policy.settings.decision_log, request, &verdict.decision, &context)
    }

    /// Trailers as the filter leaves them.
    pub fn trailers(&self, trailers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let sent = Request { headers: trailers.to_vec(), ..Request::default() };
        usher_core::trailers::mutations(&self.policy, trailers.to_vec()).applied(&sent).headers
    }
}

/// What is wrong with a pluginConfig; nothing where it loads.
pub fn problems(configuration: &Value) -> Vec<String> {
    match load::from_json(configuration.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

impl Verdict {
    /// The reason code, of what a dry run let pass too.
    pub fn code(&self) -> &'static str {
        self.decision.reason()
    }

    /// The status; 200 where the request went on.
    pub fn status(&self) -> u16 {
        self.decision.status()
    }

    /// Reason code and status.
    pub fn outcome(&self) -> (&'static str, u16) {
        (self.code(), self.status())
    }

    /// The body of the refusal; empty where there is none.
    pub fn body(&self) -> &str {
        self.decision.reply.as_ref().map_or("", |reply| reply.body.as_str())
    }

    /// The challenge of the refusal.
    pub fn challenge(&self) -> Option<&str> {
        self.decision.reply.as_ref().and_then(usher_core::reply::Reply::challenge)
    }

    /// The request as the service sees it.
    ///
    /// # Panics
    /// Where it sees nothing, with the reason.
    #[track_caller]
    pub fn seen(&self) -> &Request {
        assert!(self.decision.reply.is_none(), "denied: {}", self.code());
        &self.edited
    }

    /// The headers after the edits, of a refused request too: what a log would hold.
    pub fn edited(&self) -> &Request {
        &self.edited
    }

    /// The lines of a header as the service sees it.
    ///
    /// # Panics
    /// Where it sees nothing, with the reason.
    #[track_caller]
    pub fn lines(&self, name: &str) -> Vec<String> {
        let lines = self.seen().lines(name);
        lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }
}

/// A request with its pseudo headers, and without a body.
pub fn request(method: &str, path: &str) -> Request {
    let pseudo =
        [(":method", method), (":scheme", "https"), (":authority", "svc.example"), (":path", path)];
    let headers = pseudo.map(|(name, value)| (name.into(), value.into()));
    Request { headers: headers.into(), end_of_stream: true, ..Request::default() }
}

/// A GET.
pub fn get(path: &str) -> Request {
    request("GET", path)
}

/// What a test adds to a request.
pub trait RequestBuilder {
    /// A header line more.
    #[must_use]
    fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self;

    /// `authorization: Bearer ..`.
    #[must_use]
    fn bearer(self, token: &str) -> Self;
}

impl RequestBuilder for Request {
    fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.into(), value.as_ref().into()));
        self
    }

    fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }
}

/// A CORS preflight.
pub fn preflight(path: &str) -> Request {
    request("OPTIONS", path)
        .header("origin", "https://app.example")
        .header("access-control-request-method", "GET")
}

/// A jwtRule for [`ISSUER`] with the key's public half, which emits the subject as `x-user`.
pub fn rule(key: &Key) -> Value {
    json!({
        "issuer": ISSUER,
        "jwks": mint::jwks([key]),
        "outputClaimToHeaders": [{ "header": "x-user", "claim": "sub" }],
    })
}

/// `object` with one field set to `value`; to null: without that field.
pub fn with(object: &Value, field: &str, value: impl Into<Value>) -> Value {
    mint::with(object, field, value)
}

/// Claims of `mmosley` at [`ISSUER`], issued at [`NOW`] for an hour.
pub fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "mmosley", "iat": NOW, "exp": NOW + 3600 })
}

/// [`claims`] with one of them set to `value`; to null: without that one.
pub fn claim(name: &str, value: impl Into<Value>) -> Value {
    mint::with(&claims(), name, value)
}
