//! AuthorizationPolicy: policies and a request -> [`AuthorizationOutcome`], and perhaps a [`Permit`].
//!
//! Istio's language to the letter (docs/semantics.md, "AuthorizationPolicy"): any DENY rule that
//! matches denies; if there is an ALLOW policy, one of its rules must match; AUDIT only records; a
//! dry-run policy is evaluated and never enforced. Absent attributes fail `values` and satisfy
//! `notValues`. Only this module can make a [`Permit`], and without one no identity is emitted.

use std::fmt;
use std::rc::Rc;

use crate::authenticate::Verified;
use crate::claims::Identity;
use crate::policy::authorization::PolicyReply;
use crate::policy::authorization::polarity::Polarity;
use crate::policy::authorization::rule::Rule;
use crate::policy::{Action, AuthorizationPolicy, Mode};
use crate::request::Request;

mod address;
mod attributes;
mod host;
mod index;
mod key;
mod needs;
mod peer;
mod principal;
mod rule;
mod template;
mod text;
mod trace;
mod values_from;

use attributes::{Attributes, Scalars};
use index::Index;
pub use needs::RequiredAttributes;
pub use trace::{Miss, RuleTrace, trace_rules};

/// All policies in force.
#[derive(Debug, Default)]
pub struct Policies {
    policies: Vec<AuthorizationPolicy>,
    deny: RuleSet,
    allow: RuleSet,
    audit: RuleSet,
    deny_dry_run: RuleSet,
    allow_dry_run: RuleSet,
    scalars: Scalars,
}

/// The rules of one action, by name.
#[derive(Debug, Default)]
struct RuleSet {
    /// Whether there is a policy at all: an ALLOW policy without rules denies everything.
    exists: bool,
    /// Policy and number of each rule, in byte order of the names (docs/semantics.md, "Filter order and
    /// decision").
    rules: Vec<Named>,
    index: Index,
    /// The rules about the request's path, for finding the nearest rule.
    by_path: Index,
    /// The reply if no rule matched: that of the first policy that configures one.
    reply: PolicyReply,
}

#[derive(Debug)]
struct Named {
    name: Rc<str>,
    policy: usize,
    number: usize,
    rule: Rule,
}

/// What the policies decide about a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No policy denies it.
    Allow,
    /// A DENY rule matched.
    Deny,
    /// There are ALLOW policies, and none of their rules matched.
    NoRuleMatched,
}

/// What a dry-run policy would have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DryRun {
    /// Whether it would have let the request pass.
    pub allowed: bool,
    /// The rule that matched, by Istio's name.
    pub matched: Option<Rc<str>>,
}

/// A verdict and what explains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizationOutcome {
    /// The verdict.
    pub verdict: Verdict,
    /// Name of the policy that decided.
    pub policy: Option<Rc<str>>,
    /// That policy's namespace.
    pub namespace: Option<Rc<str>>,
    /// Number of its rule that matched, from 0.
    pub rule: Option<usize>,
    /// Istio's name of that rule, `ns[shop]-policy[p]-rule[0]`; `none`: no ALLOW rule matched; `None`:
    /// no ALLOW policy is enforced.
    pub matched: Option<Rc<str>>,
    /// If there are AUDIT policies: whether one matched.
    pub audit: Option<bool>,
    /// What dry-run DENY policies would have done.
    pub dry_run_deny: Option<DryRun>,
    /// What dry-run ALLOW policies would have done; `None` after a denial by DENY.
    pub dry_run_allow: Option<DryRun>,
    /// For `no_rule_matched`: the rule that came nearest, and why it did not match.
    pub nearest: Option<Nearest>,
    /// The policy's `denyStatus`.
    pub deny_status: Option<u16>,
    /// The policy's `denyMessage`.
    pub deny_message: Option<String>,
    /// The policy's `denyWhenUnauthenticated: 401`.
    pub deny_when_unauthenticated: bool,
    /// Scopes that the nearest rule requires.
    pub scopes: Vec<String>,
}

/// The rule that came nearest to matching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nearest {
    /// Istio's name of the rule.
    pub rule: Rc<str>,
    /// The first of its conditions that did not hold, such as `request.auth.claims[groups]`.
    pub condition: String,
}

/// Proof that the policies let a request pass, with the caller it speaks for.
///
/// INVARIANT (permit): made in this module alone.
#[derive(Clone, Debug)]
pub struct Permit(Option<Verified>);

impl Permit {
    /// For a request that the configuration exempts from policies.
    pub(crate) fn exempt(verified: Option<Verified>) -> Self {
        Self(verified)
    }

    /// The verified caller.
    pub fn verified(&self) -> Option<&Verified> {
        self.0.as_ref()
    }
}

/// Evaluates the policies. The permit is present if they let the request pass, or if `mode` is a dry
/// run of everything.
pub fn authorize(
    policies: &Policies,
    request: &Request,
    verified: Option<Verified>,
    mode: Mode,
) -> (AuthorizationOutcome, Option<Permit>) {
    let authorization = evaluate(policies, request, verified.as_ref().map(Verified::identity));
    let passes = authorization.verdict == Verdict::Allow || mode == Mode::DryRun;
    (authorization, passes.then_some(Permit(verified)))
}

/// Evaluates a request as the service would see it, with a caller or without one.
pub fn evaluate(
    policies: &Policies,
    request: &Request,
    identity: Option<&Identity>,
) -> AuthorizationOutcome {
    let attributes = Attributes::new(request, identity, policies.scalars);
    let mut authorization = AuthorizationOutcome::allowing();
    if policies.audit.exists {
        authorization.audit = Some(policies.audit.first_match(&attributes).is_some());
    }
    if policies.deny_dry_run.exists {
        let matched = policies.deny_dry_run.first_match(&attributes);
        authorization.dry_run_deny = Some(DryRun::new(matched.is_none(), matched));
    }
    if let Some(rule) = policies.deny.first_match(&attributes) {
        authorization.decided(Verdict::Deny, rule, policies);
        return authorization;
    }
    if policies.allow_dry_run.exists {
        let matched = policies.allow_dry_run.first_match(&attributes);
        authorization.dry_run_allow = Some(DryRun::new(matched.is_some(), matched));
    }
    if policies.allow.exists {
        match policies.allow.first_match(&attributes) {
            Some(rule) => authorization.decided(Verdict::Allow, rule, policies),
            None => authorization.unmatched(&attributes, policies),
        }
    }
    authorization
}

impl AuthorizationOutcome {
    pub(crate) fn allowing() -> Self {
        Self {
            verdict: Verdict::Allow,
            policy: None,
            namespace: None,
            rule: None,
            matched: None,
            audit: None,
            dry_run_deny: None,
            dry_run_allow: None,
            nearest: None,
            deny_status: None,
            deny_message: None,
            deny_when_unauthenticated: false,
            scopes: Vec::new(),
        }
    }

    fn decided(&mut self, verdict: Verdict, rule: &Named, policies: &Policies) {
        self.verdict = verdict;
        self.rule = Some(rule.number);
        self.matched = Some(Rc::clone(&rule.name));
        if let Some(policy) = policies.policies.get(rule.policy) {
            self.policy = Some(Rc::clone(&policy.name));
            self.namespace = Some(Rc::clone(&policy.namespace));
            if verdict == Verdict::Deny {
                self.reply(&policy.reply);
            }
        }
    }

    fn unmatched(&mut self, attributes: &Attributes<'_>, policies: &Policies) {
        self.verdict = Verdict::NoRuleMatched;
        self.matched = Some("none".into());
        if let Some((rule, condition, scopes)) = policies.allow.nearest(attributes) {
            self.nearest = Some(Nearest { rule: Rc::clone(&rule.name), condition });
            self.scopes = scopes;
        }
        self.reply(&policies.allow.reply);
    }

    fn reply(&mut self, reply: &PolicyReply) {
        self.deny_status = reply.status;
        self.deny_message.clone_from(&reply.message);
        self.deny_when_unauthenticated = reply.challenge;
    }
}

impl DryRun {
    fn new(allowed: bool, matched: Option<&Named>) -> Self {
        Self { allowed, matched: matched.map(|rule| Rc::clone(&rule.name)) }
    }
}

impl Policies {
    /// Indexes the rules of all policies.
    pub(crate) fn new(policies: Vec<AuthorizationPolicy>, match_scalar_claims: bool) -> Self {
        let set = |action, dry_run| RuleSet::new(&policies, action, dry_run);
        let scalars = if match_scalar_claims { Scalars::AsText } else { Scalars::Never };
        Self {
            deny: set(Action::Deny, false),
            allow: set(Action::Allow, false),
            audit: set(Action::Audit, false),
            deny_dry_run: set(Action::Deny, true),
            allow_dry_run: set(Action::Allow, true),
            policies,
            scalars,
        }
    }

    /// The number of policies.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// Whether there are no policies.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }
}

impl RuleSet {
    fn new(policies: &[AuthorizationPolicy], action: Action, dry_run: bool) -> Self {
        let chosen = policies.iter().enumerate();
        let chosen = chosen.filter(|(_, p)| p.action == action && p.dry_run == dry_run);
        let (mut exists, mut rules, mut reply) = (false, Vec::new(), PolicyReply::default());
        for (index, policy) in chosen {
            exists = true;
            if reply == PolicyReply::default() {
                reply = policy.reply.clone();
            }
            rules.extend(policy.rules.iter().enumerate().map(|(number, rule)| {
                Named {
                    name: format!(
                        "ns[{}]-policy[{}]-rule[{number}]",
                        policy.namespace, policy.name
                    )
                    .into(),
                    policy: index,
                    number,
                    rule: rule.clone(),
                }
            }));
        }
        rules.sort_by(|a, b| a.name.cmp(&b.name));
        let polarity = Polarity::of_values(action);
        let index = Index::new(rules.iter().map(|named| &named.rule), polarity);
        let by_path = Index::by_path(rules.iter().map(|named| &named.rule), polarity);
        Self { exists, rules, index, by_path, reply }
    }

    fn first_match(&self, attributes: &Attributes<'_>) -> Option<&Named> {
        let candidates = self.index.candidates(attributes);
        let mut candidates = candidates.iter().filter_map(|number| self.rules.get(*number));
        candidates.find(|named| named.rule.matches(attributes))
    }

    /// The rule that came nearest, its first failing condition, and the scopes that this condition requires: a rule
    /// whose `to` matches, and of those the one with the most conditions that hold. Only a few rules are looked at:
    /// some about this path, some that the index offers, and the first; otherwise the cost of a denial would grow
    /// with the number of rules.
    fn nearest(&self, attributes: &Attributes<'_>) -> Option<(&Named, String, Vec<String>)> {
        const A_FEW: usize = 4;
        let mut numbers: Vec<usize> = Vec::new();
        for candidates in [self.by_path.candidates(attributes), self.index.candidates(attributes)] {
            numbers.extend(candidates.iter().take(A_FEW));
        }
        numbers.extend((0..self.rules.len()).take(A_FEW));
        numbers.sort_unstable();
        numbers.dedup();
        let considered = numbers.iter().filter_map(|number| self.rules.get(*number));
        let failures =
            considered.filter_map(|named| Some((named, named.rule.first_failure(attributes)?)));
        // `max_by_key` takes the last of equals; reversed, that is the first in order.
        let all: Vec<_> = failures.collect();
        let (named, failure) = all.into_iter().rev().max_by_key(|(_, f)| (f.is_for_it, f.held))?;
        Some((named, failure.condition.to_string(), failure.condition.scopes()))
    }
}

impl fmt::Display for AuthorizationOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.verdict, &self.matched) {
            (Verdict::Allow, None) => {
                f.write_str("no ALLOW policy is enforced and no DENY rule matches")
            }
            (Verdict::Allow, Some(rule)) => write!(f, "allowed by `{rule}`"),
            (Verdict::Deny, rule) => write!(f, "denied by `{}`", rule.as_deref().unwrap_or("none")),
            (Verdict::NoRuleMatched, _) => {
                f.write_str("no ALLOW rule matches")?;
                match &self.nearest {
                    Some(nearest) => write!(f, "; nearest is {nearest}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl fmt::Display for Nearest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`, where `{}` does not hold", self.rule, self.condition)
    }
}

#[cfg(test)]
mod tests;
