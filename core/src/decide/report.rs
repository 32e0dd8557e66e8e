//! A decision, and its explanation.

use std::rc::Rc;

use crate::authorize::{AuthorizationOutcome, DryRun, RuleTrace};
use crate::cache;
use crate::claims::Identity;
use crate::codec::redaction::printable;
use crate::compact::Header;
use crate::compiled::Compiled;
use crate::crypto::Algorithm;
use crate::denial::Denial;
use crate::headers::HeaderMutations;
use crate::policy::TokenLocation;
use crate::remote::MissingKey;
use crate::reply::{Reply, ReplyContext};
use crate::request::Request;

use super::withhold;

/// What to do with a request, and why.
#[derive(Clone, Debug)]
pub struct Decision {
    /// The answer to a refused request; `None` lets it pass.
    pub reply: Option<Reply>,
    /// The mutations of the headers, of a refused request too (its log must not contain spoofed ones).
    pub mutations: HeaderMutations,
    /// Why it is refused, or would be if `mode` were `enforce`; `None`: allowed.
    pub denial: Option<Denial>,
    /// What was found during the evaluation.
    pub report: Report,
    /// Remote keys that were missing. While they may arrive, the request can be held and decided again; this is the
    /// decision if they do not.
    pub missing_keys: Vec<MissingKey>,
}

/// What was found during the evaluation of a request.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Identity headers that the client sent, in its spelling.
    pub spoofed: Vec<String>,
    /// Whether it passed, or was refused, as a CORS preflight.
    pub preflight: bool,
    /// In a dry run: the places of tokens that enforcement would have removed.
    pub would_withhold: Vec<TokenLocation>,
    /// Identity headers that were not emitted because their encoding cannot express the claim.
    pub withheld: Vec<String>,
    /// Whether a token was found and verification was tried. An exempt request and a preflight are not looked at.
    pub token_present: bool,
    /// The verified caller.
    pub identity: Option<Rc<Identity>>,
    /// The token's header; its content is only verified if there is an identity.
    pub header: Option<Rc<Header>>,
    /// For a refused token: the rule for the issuer that it names.
    pub claimed_provider: Option<String>,
    /// Each signature check: the algorithm and the engine that made it.
    pub signature_checks: Vec<(Algorithm, &'static str)>,
    /// The result of the cache look-up, if there was one.
    pub cache: Option<cache::Answer>,
    /// The outcome of the policies, if they were evaluated.
    pub authorization: Option<AuthorizationOutcome>,
    /// The denial that the policies' outcome means for this caller; a dry run continues nevertheless.
    pub denied_by_policy: Option<Denial>,
    /// The steps as text, if the worker state collects them.
    pub steps: Vec<String>,
    /// The result of each rule, if the worker state evaluates them all.
    pub rules: Vec<RuleTrace>,
}

/// The longest value in filter state.
const FACT_BYTES: usize = 256;

impl Decision {
    /// The decision while no valid configuration is in force.
    pub fn config_invalid(request: &Request) -> Self {
        Self::refused(Denial::ConfigInvalid, None, request)
    }

    /// The decision if the host failed, under `policy` if one is in force.
    pub fn host_failed(policy: Option<&Compiled>, request: &Request) -> Self {
        Self::refused(Denial::HostFailed, policy, request)
    }

    fn refused(denial: Denial, policy: Option<&Compiled>, request: &Request) -> Self {
        let (context, responses) = Default::default();
        Self {
            reply: Some(Reply::new(&denial, request, &context, &responses)),
            mutations: withhold::refusal(policy, request, &[]),
            denial: Some(denial),
            report: Report::default(),
            missing_keys: Vec::new(),
        }
    }

    /// The reason code: of the denial under enforcement, `allowed` if there is none.
    pub fn reason(&self) -> &'static str {
        self.denial.as_ref().map_or("allowed", Denial::code)
    }

    /// Reports what access logs can show, by name (Envoy `%FILTER_STATE(wasm.usher.reason:PLAIN)%`). In a dry run it
    /// is the outcome under enforcement. Values are short, printable ASCII.
    pub fn filter_state(&self, mut tell: impl FnMut(&'static str, &str)) {
        tell("usher.decision", if self.denial.is_some() { "deny" } else { "allow" });
        tell("usher.reason", self.reason());
        let mut put = |name, value: Option<&str>| {
            if let Some(value) = value {
                tell(name, &printable(value, FACT_BYTES));
            }
        };
        if self.report.preflight {
            put("usher.preflight", Some("true"));
        }
        let withheld: Vec<String> =
            self.report.would_withhold.iter().map(ToString::to_string).collect();
        if !withheld.is_empty() {
            put("usher.would_withhold", Some(&withheld.join(", ")));
        }
        if let Some(identity) = &self.report.identity {
            put("usher.provider", Some(&identity.provider));
            put("usher.sub", identity.claims.text("sub"));
            put("usher.iss", identity.claims.text("iss"));
        }
        if let Some(authorization) = &self.report.authorization {
            put("usher.policy", authorization.policy.as_deref());
            let mut digits = itoa::Buffer::new();
            put("usher.rule", authorization.rule.map(|rule| digits.format(rule)));
            for (name, run) in [
                ("usher.dry_run_deny", &authorization.dry_run_deny),
                ("usher.dry_run_allow", &authorization.dry_run_allow),
            ] {
                let verdict = |run: &DryRun| if run.allowed { "allow" } else { "deny" };
                put(name, run.as_ref().map(verdict));
            }
        }
    }

    /// Whether the decision takes effect; a denial in a dry run does not.
    pub fn is_enforced(&self) -> bool {
        self.denial.is_some() == self.reply.is_some()
    }

    /// The status: that of the reply, or 200 if there is none.
    pub fn status(&self) -> u16 {
        self.reply.as_ref().map_or(200, |reply| reply.status)
    }
}

impl Report {
    /// The rule that accepted the token, or the one for the issuer of a refused token.
    pub fn provider(&self) -> Option<&str> {
        let verified = self.identity.as_ref().map(|identity| identity.provider.as_str());
        verified.or(self.claimed_provider.as_deref())
    }

    /// The parts of the report that the reply to a denial depends on.
    pub(super) fn context(&self) -> ReplyContext {
        let mut context =
            ReplyContext { token_present: self.token_present, ..ReplyContext::default() };
        // A caller without a token is asked for one, also if a policy has another reply.
        let asked = matches!(self.denied_by_policy, Some(Denial::TokenMissing));
        if let Some(authorization) = self.authorization.as_ref().filter(|_| !asked) {
            context.status = authorization.deny_status;
            context.message.clone_from(&authorization.deny_message);
            if self.identity.is_some() {
                context.scopes.clone_from(&authorization.scopes);
            }
        }
        context
    }
}
