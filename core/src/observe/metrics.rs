//! Metrics: the families, and which series a decision increments.
//!
//! Names and labels are Prometheus's ([`family::ALL`] is the whole list); [`stat`] defines how a series is
//! written as an Envoy stat and read back by a tag rule. [`registry`] limits their number: label values come
//! from the configuration and the issuers' keys, but a configuration may hold thousands of rules.

use crate::cache;
use crate::decide::Decision;
use crate::headers::fold;

pub mod family;
pub mod registry;
pub mod stat;

use family::Family;

/// The most labels of a family, without `plugin`.
pub const MAX_LABELS: usize = 6;

/// A label's value before it is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Label<'d> {
    /// No value: written as `none`.
    #[default]
    None,
    /// A number.
    Number(usize),
    /// A text of any bytes.
    Text(&'d str),
    /// A name and what it belongs to: written `namespace/name`.
    In(&'d str, &'d str),
}

/// One series: a family, and a value for each of its labels, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Series<'d> {
    /// The family.
    pub family: &'static Family,
    /// The values; those beyond the family's labels are `None`.
    pub labels: [Label<'d>; MAX_LABELS],
}

impl<'d> From<&'d str> for Label<'d> {
    fn from(text: &'d str) -> Self {
        Self::Text(text)
    }
}

impl<'d> From<Option<&'d str>> for Label<'d> {
    fn from(text: Option<&'d str>) -> Self {
        text.map_or(Self::None, Self::Text)
    }
}

impl<'d> Series<'d> {
    /// The series of these values.
    pub fn new<const N: usize>(family: &'static Family, values: [Label<'d>; N]) -> Self {
        let mut labels = [Label::None; MAX_LABELS];
        for (label, value) in labels.iter_mut().zip(values) {
            *label = value;
        }
        Self { family, labels }
    }
}

/// Calls `add` for each counter that a decision increments. Series of every request allocate nothing.
pub fn of_decision(decision: &Decision, mut add: impl FnMut(&Series<'_>)) {
    let report = &decision.report;
    let authorization = report.authorization.as_ref();
    let rule = authorization.and_then(|j| j.rule).map_or(Label::None, Label::Number);
    let policy =
        authorization.and_then(|j| Some(Label::In(j.namespace.as_deref()?, j.policy.as_deref()?)));
    add(&Series::new(
        &family::DECISIONS,
        [
            if decision.denial.is_some() { "deny" } else { "allow" }.into(),
            if decision.is_enforced() { "true" } else { "false" }.into(),
            decision.reason().into(),
            report.provider().into(),
            policy.unwrap_or_default(),
            rule,
        ],
    ));
    if report.preflight {
        let verdict = if decision.denial.is_some() { "deny" } else { "allow" };
        add(&Series::new(&family::CORS_PREFLIGHTS, [verdict.into()]));
    }
    if !report.would_withhold.is_empty() {
        add(&Series::new(&family::DRY_RUN_TOKENS, []));
    }
    // Only for verified tokens: any client can invent a kid.
    if let (Some(identity), Some(header)) = (&report.identity, &report.header) {
        let labels = [identity.provider.as_str().into(), header.kid.as_deref().into()];
        add(&Series::new(&family::KEY_REQUESTS, labels));
    }
    if let Some(answer) = report.cache {
        let result = match answer {
            cache::Answer::Hit => "hit",
            cache::Answer::Miss => "miss",
        };
        add(&Series::new(&family::TOKEN_CACHE_LOOKUPS, [result.into()]));
    }
    for (algorithm, engine) in &report.signature_checks {
        add(&Series::new(&family::SIGNATURE_CHECKS, [algorithm.name().into(), (*engine).into()]));
    }
    for name in &report.spoofed {
        let header = fold(name.as_bytes());
        let header = String::from_utf8_lossy(&header);
        add(&Series::new(&family::IDENTITY_HEADERS_STRIPPED, [(&*header).into()]));
    }
    for header in &report.withheld {
        add(&Series::new(&family::IDENTITY_HEADERS_WITHHELD, [header.as_str().into()]));
    }
    let dry_runs = authorization.map(|j| [("DENY", &j.dry_run_deny), ("ALLOW", &j.dry_run_allow)]);
    for (action, dry_run) in dry_runs.into_iter().flatten() {
        if let Some(dry_run) = dry_run {
            let verdict = if dry_run.allowed { "allow" } else { "deny" };
            add(&Series::new(&family::DRY_RUN_VERDICTS, [action.into(), verdict.into()]));
        }
    }
}
