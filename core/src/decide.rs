//! The evaluation of one request: scrub -> find -> verify -> authorize -> emit.
//!
//! [`decide`] is a pure function: its arguments hold everything it needs, and the [`Decision`] everything to be
//! done. The filter applies the decision to a live request, `usher explain` prints it.

use std::borrow::Cow;
use std::rc::Rc;

use crate::authenticate::{Verified, authenticate};
use crate::authorize::{self, AuthorizationOutcome, Permit, Verdict};
use crate::cache::Answer;
use crate::compiled::Compiled;
use crate::crypto::Counting;
use crate::denial::{Denial, Malformed};
use crate::headers::Emitted;
use crate::headers::HeaderMutations;
use crate::policy::{CorsPreflight, ExemptToken, Exemption, MissingToken, Mode, OnSpoof};
use crate::remote::MissingKey;
use crate::reply::Reply;
use crate::request::Request;
use crate::request::bounds::{self, Bound};
use crate::time::UnixSeconds;
use crate::token::{self, Found, Placement};
use crate::{compact, path};

mod report;
mod withhold;
mod worker_state;

pub use report::{Decision, Report};
pub use withhold::{after_pending, while_pending};
pub use worker_state::{Trace, WorkerState};

/// Decides one request.
pub fn decide(
    policy: &Compiled,
    request: &Request,
    now: UnixSeconds,
    worker_state: &mut WorkerState,
) -> Decision {
    let mut evaluation = Evaluation {
        policy,
        now,
        worker_state,
        mutations: HeaderMutations::default(),
        withheld: HeaderMutations::default(),
        found: Vec::new(),
        forwarded: Vec::new(),
        noted: None,
        report: Report::default(),
        missing_keys: Vec::new(),
    };
    let outcome = evaluation.run(request);
    evaluation.conclude(request, outcome)
}

/// The evaluation of one request: its mutations and its report so far.
struct Evaluation<'a> {
    policy: &'a Compiled,
    now: UnixSeconds,
    worker_state: &'a mut WorkerState,
    /// Applied in every mode: scrubbing, the path's form, the identity.
    mutations: HeaderMutations,
    /// Tokens to be removed; in a dry run they stay, but rules see the request without them nevertheless.
    withheld: HeaderMutations,
    /// The place of each token.
    found: Vec<usize>,
    /// The places among them whose token is forwarded to the service.
    forwarded: Vec<usize>,
    /// In a dry run: the first denial that did not end the evaluation.
    noted: Option<Denial>,
    report: Report,
    missing_keys: Vec<MissingKey>,
}

impl Evaluation<'_> {
    /// The steps, in their order. An error ends the evaluation.
    fn run(&mut self, request: &Request) -> Result<Passed, Denial> {
        // INVARIANT (scrub-first): no return precedes this line.
        self.scrub(request)?;
        self.check_bounds(request)?;
        let request = &*self.normalize_path(request)?;
        let tokens = self.policy.jwt.locations.find(request);
        self.found = tokens.iter().map(|found| found.place).collect();
        self.found.sort_unstable();
        self.found.dedup();
        let permit = match self.requirement(request) {
            Requirement::Exempt(ExemptToken::Ignore) => {
                self.withhold_unread(request);
                Permit::exempt(None)
            }
            Requirement::Exempt(ExemptToken::Optional) => {
                Permit::exempt(self.verify(request, &tokens)?)
            }
            Requirement::Preflight => {
                self.withhold_unread(request);
                self.authorize(request, None)?
            }
            Requirement::Guarded => {
                let verified = self.verify(request, &tokens)?;
                self.check_presence(verified.as_ref())?;
                self.authorize(request, verified)?
            }
        };
        self.emit(&permit)
    }

    /// Removes every identity header that the client sent, in any spelling.
    fn scrub(&mut self, request: &Request) -> Result<(), Denial> {
        let forged = self.policy.protected_headers.spoofed(&request.headers);
        self.mutations = HeaderMutations::removing(&forged);
        for name in forged {
            self.report.spoofed.push(String::from_utf8_lossy(name).into_owned());
        }
        if let Some(lines) = self.policy.protected_headers.without_nominations(request) {
            self.mutations.set_lines(b"connection".as_slice().into(), lines.into());
        }
        let spoofed = &self.report.spoofed;
        if spoofed.is_empty() {
            return Ok(());
        }
        let names = spoofed.join("`, `");
        self.step(|| format!("scrub: removed `{names}`, which only Usher may set"));
        match self.policy.settings.on_spoof {
            OnSpoof::Reject => self.refuse(Denial::IdentitySpoofed),
            OnSpoof::Strip => Ok(()),
        }
    }

    /// A denial that has nothing to do with the token: a dry run records the first one and continues, so that
    /// the service gets the same identity as without the denial.
    fn refuse(&mut self, denial: Denial) -> Result<(), Denial> {
        match self.policy.settings.mode {
            Mode::Enforce => Err(denial),
            Mode::DryRun => {
                self.noted.get_or_insert(denial);
                Ok(())
            }
        }
    }

    /// Refuses a request that has too much of an attribute that is read. A dry run records that, and evaluates
    /// the whole request.
    fn check_bounds(&mut self, request: &Request) -> Result<(), Denial> {
        self.within(bounds::check(self.policy.reads, request))
    }

    fn within(&mut self, checked: Result<(), Bound>) -> Result<(), Denial> {
        let Err(bound) = checked else {
            return Ok(());
        };
        self.step(|| format!("bounds: more than {} {bound}", bound.most()));
        self.refuse(Denial::RequestTooComplex(bound))
    }

    /// Normalizes the path, which is then matched and forwarded in this form.
    fn normalize_path<'r>(&mut self, request: &'r Request) -> Result<Cow<'r, Request>, Denial> {
        let Some(path) = request.path() else {
            return Ok(Cow::Borrowed(request));
        };
        let Ok(normal) = path::normalize(path, self.policy.settings.path_normalization) else {
            self.refuse(Denial::PathUnsafe)?;
            return Ok(Cow::Borrowed(request));
        };
        if *normal == *path {
            return Ok(Cow::Borrowed(request));
        }
        // Rules see this path: escapes are longer, and there may be more slashes.
        self.within(bounds::check_path(self.policy.reads, &normal))?;
        self.mutations.set(b":path", normal.into_owned());
        self.step(|| "path: normalised".to_owned());
        Ok(Cow::Owned(self.mutations.applied(request)))
    }

    /// What the request must satisfy.
    fn requirement(&mut self, request: &Request) -> Requirement {
        let exemption = Exemption::first(&self.policy.settings.exempt, request);
        if let Some(index) = exemption {
            self.step(|| format!("exempt: exempt[{index}] covers the request"));
        }
        match exemption.and_then(|index| self.policy.settings.exempt.get(index)) {
            Some(entry) => Requirement::Exempt(entry.token),
            None if self.policy.settings.cors_preflight == CorsPreflight::Authorize
                && request.is_cors_preflight() =>
            {
                self.report.preflight = true;
                self.step(|| "preflight: no token is asked for".to_owned());
                Requirement::Preflight
            }
            None => Requirement::Guarded,
        }
    }

    /// Verifies the request's one token, and removes it, except where its rule reads and forwards it.
    fn verify(
        &mut self,
        request: &Request,
        tokens: &[Found<'_>],
    ) -> Result<Option<Verified>, Denial> {
        let Some(first) = tokens.first() else {
            self.step(|| "token: none".to_owned());
            return Ok(None);
        };
        self.report.token_present = true;
        if tokens.iter().any(|found| found.placement == Placement::Misplaced) {
            return Err(Denial::TokenMalformed(Malformed::Prefix));
        }
        // With two different tokens the caller is ambiguous; Envoy decides by the order of places and rules
        // (docs/semantics.md, "Several tokens for one provider").
        if tokens.iter().any(|found| !token::same(&found.token, &first.token)) {
            return Err(Denial::TokenAmbiguous);
        }
        let places = std::mem::take(&mut self.found);
        let verified = self.verified(&first.token, &places);
        self.found = places;
        let verified = verified?;
        let jwt = &self.policy.jwt;
        let rule = jwt.rule(&verified);
        let keeps = |place: usize| rule.is_some_and(|rule| jwt.keeps(rule, place));
        self.forwarded.extend(self.found.iter().filter(|place| keeps(**place)));
        if self.forwarded.len() < self.found.len() {
            let leaves = |place, token: &[u8]| !keeps(place) && token::same(token, &first.token);
            self.withheld.take(&jwt.locations, request, &leaves);
        }
        let (identity, header) = verified.shared();
        self.step(|| format!("token: verified by `{}`", identity.provider));
        self.report.identity = Some(identity);
        self.report.header = Some(header);
        Ok(Some(verified))
    }

    /// Verifies a token, or finds it in the cache.
    fn verified(&mut self, token: &[u8], places: &[usize]) -> Result<Verified, Denial> {
        let policy = self.policy;
        let worker_state = &mut *self.worker_state;
        worker_state.cache.enter(
            &policy.generation,
            worker_state.jwks_cache.epoch(),
            policy.settings.token_cache,
        );
        // A traced evaluation does not use the cache, to have every step; neither does one without a clock,
        // which ends early.
        let cached = worker_state.cache.is_on()
            && worker_state.trace == Trace::Off
            && self.now != UnixSeconds::NO_CLOCK;
        if cached {
            let found = worker_state.cache.find(token, places, &policy.jwt, self.now);
            // A cached token does not count while its rule's keys are too old to be used.
            let in_force = |verified: &Verified| {
                let rule = policy.jwt.rule(verified);
                rule.is_some_and(|rule| {
                    rule.keys.current(&worker_state.jwks_cache, self.now).is_ok()
                })
            };
            if let Some(verified) = found.filter(in_force) {
                self.report.cache = Some(Answer::Hit);
                return Ok(verified);
            }
            self.report.cache = Some(Answer::Miss);
        }
        let compact = compact::parse(token, &policy.settings.limits.token)?;
        self.report.header = Some(Rc::clone(&compact.header));
        let WorkerState { engine, jwks_cache, .. } = worker_state;
        let mut engine = Counting::new(&mut **engine);
        let outcome = authenticate(&policy.jwt, compact, places, self.now, jwks_cache, &mut engine);
        self.report.signature_checks = engine.checks;
        let verified = outcome.map_err(|refused| {
            self.report.claimed_provider = refused.provider;
            self.missing_keys = refused.missing_keys;
            refused.denial
        })?;
        if cached && verified.is_reusable() {
            // With its headers, so that they count for its size. A failure to emit is reported later, by that
            // step.
            let _ = self.emission(&verified);
            self.worker_state.cache.insert(token, places, &verified);
        }
        Ok(verified)
    }

    /// Whether a caller without a token may continue.
    fn check_presence(&self, verified: Option<&Verified>) -> Result<(), Denial> {
        match self.policy.settings.missing_token {
            MissingToken::Reject if verified.is_none() => Err(Denial::TokenMissing),
            MissingToken::Reject | MissingToken::Allow => Ok(()),
        }
    }

    /// Evaluates the policies.
    fn authorize(
        &mut self,
        request: &Request,
        verified: Option<Verified>,
    ) -> Result<Permit, Denial> {
        let view = self.view(request, verified.as_ref())?;
        if self.worker_state.trace == Trace::Rules {
            let identity = verified.as_ref().map(Verified::identity);
            self.report.rules = authorize::trace_rules(&self.policy.authorization, &view, identity);
        }
        let (authorization, outcome) = authorize::authorize(
            &self.policy.authorization,
            &view,
            verified,
            self.policy.settings.mode,
        );
        self.report.denied_by_policy = self.refusal(&authorization);
        self.step(|| format!("policies: {authorization}"));
        self.report.authorization = Some(authorization);
        outcome.ok_or_else(|| self.report.denied_by_policy.clone().unwrap_or(Denial::NoRuleMatched))
    }

    /// The request as rules see it, which is as the service would: without tokens and spoofed headers, and with
    /// the emitted headers; in a dry run, as under enforcement. Built only if a rule reads headers, or a query
    /// from which a token was removed.
    fn view<'r>(
        &self,
        request: &'r Request,
        verified: Option<&Verified>,
    ) -> Result<Cow<'r, Request>, Denial> {
        let needs = self.policy.required_attributes();
        if !needs.headers {
            let cut = needs.query && self.withheld.sets(b":path");
            return Ok(match cut {
                true => Cow::Owned(self.withheld.applied(request)),
                false => Cow::Borrowed(request),
            });
        }
        let mut mutations = self.mutations.clone();
        mutations.add(self.withheld.clone());
        if let Some(verified) = verified {
            mutations.set_all(&self.emission(verified)?.lines);
        }
        Ok(Cow::Owned(mutations.applied(request)))
    }

    /// The denial that an outcome of the policies means for this request.
    fn refusal(&self, authorization: &AuthorizationOutcome) -> Option<Denial> {
        let denial = match authorization.verdict {
            Verdict::Allow => return None,
            Verdict::Deny => Denial::DeniedByRule,
            Verdict::NoRuleMatched => Denial::NoRuleMatched,
        };
        let challenge = self.policy.settings.responses.challenge_anonymous
            || authorization.deny_when_unauthenticated;
        if challenge && self.report.identity.is_none() {
            return Some(Denial::TokenMissing);
        }
        Some(denial)
    }

    /// Sets the identity headers for a permitted caller.
    fn emit(&mut self, permit: &Permit) -> Result<Passed, Denial> {
        let Some(verified) = permit.verified() else {
            return Ok(Passed);
        };
        let emitted = self.emission(verified)?;
        for (name, _) in &emitted.lines {
            self.step(|| format!("emit: `{}`", String::from_utf8_lossy(name)));
        }
        self.mutations.set_all(&emitted.lines);
        for name in &emitted.withheld {
            self.step(|| format!("emit: not `{name}`: `raw` cannot write white space at an end"));
        }
        self.report.withheld.clone_from(&emitted.withheld);
        Ok(Passed)
    }

    fn emission(&self, verified: &Verified) -> Result<Rc<Emitted>, Denial> {
        verified.emission(|| {
            let rule = self.policy.jwt.rule(verified).ok_or(Denial::HostFailed)?;
            rule.emission.emitted(verified, self.policy.settings.limits.emitted_bytes)
        })
    }

    /// Turns the outcome of the evaluation into a decision.
    fn conclude(mut self, request: &Request, outcome: Result<Passed, Denial>) -> Decision {
        let (denial, ended) = match outcome {
            // In a dry run the evaluation continues after a policy's denial.
            Ok(Passed) => (self.report.denied_by_policy.clone(), false),
            Err(denial) => (Some(denial), true),
        };
        // Enforcement would have ended at the first denial.
        let denial = self.noted.take().or(denial);
        let mut reply = None;
        match self.policy.settings.mode {
            // INVARIANT (dry run): the filters and the service behind this filter decide as without it.
            Mode::DryRun => self.note_withheld(),
            Mode::Enforce if ended => {
                // Only a verified token stays.
                let verified = self.report.identity.is_some();
                let forwarded = if verified { self.forwarded.as_slice() } else { &[] };
                self.mutations = withhold::refusal(Some(self.policy), request, forwarded);
                let context = self.report.context();
                let responses = &self.policy.settings.responses;
                reply = denial.as_ref().map(|d| Reply::new(d, request, &context, responses));
            }
            Mode::Enforce => self.mutations.add(std::mem::take(&mut self.withheld)),
        }
        if let Some(denial) = &denial {
            let code = denial.code();
            let verb = if reply.is_some() { "denied" } else { "would be denied (dry run)" };
            self.step(|| format!("{verb}: {code}"));
        }
        let (mutations, report, missing_keys) = (self.mutations, self.report, self.missing_keys);
        Decision { reply, mutations, denial, report, missing_keys }
    }

    fn step(&mut self, words: impl FnOnce() -> String) {
        if self.worker_state.trace != Trace::Off {
            self.report.steps.push(words());
        }
    }
}

/// What a request must satisfy.
enum Requirement {
    /// An `exempt` entry covers it: no token is required, no policy applies.
    Exempt(ExemptToken),
    /// A token, and the policies.
    Guarded,
    /// A CORS preflight, which cannot carry a token: policies only, without identity.
    Preflight,
}

/// The evaluation passed all steps.
struct Passed;

#[cfg(test)]
mod tests;
