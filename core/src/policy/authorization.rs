//! Authorization policies.
//!
//! A rule's values are stored as the sets that a request is compared with: storing them as written too would add
//! size to the module, and no information. [`crate::authorize`] compares.

pub(crate) mod address;
pub(crate) mod attribute;
pub(crate) mod host;
pub(crate) mod no_token;
pub(crate) mod peer;
pub(crate) mod polarity;
pub(crate) mod principal;
pub(crate) mod rule;
pub(crate) mod template;
pub(crate) mod text;
pub(crate) mod values_from;

use std::rc::Rc;

use rule::{Operand, Rule};

/// `action`. CUSTOM passes a request to another service, which a filter like this cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One rule of all ALLOW policies must match.
    Allow,
    /// A match is recorded.
    Audit,
    /// A match denies.
    Deny,
}

/// One AuthorizationPolicy.
#[derive(Clone, Debug)]
pub struct AuthorizationPolicy {
    /// `namespace`, or `default`.
    pub namespace: Rc<str>,
    /// `name`.
    pub name: Rc<str>,
    /// `action`.
    pub action: Action,
    /// `dryRun`.
    pub dry_run: bool,
    /// `rules`, in file order.
    pub(crate) rules: Vec<Rule>,
    /// Usher's own `denyStatus`, `denyMessage`, `denyWhenUnauthenticated`.
    pub(crate) reply: PolicyReply,
}

/// The reply that a policy configures for its denials.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PolicyReply {
    pub(crate) status: Option<u16>,
    pub(crate) message: Option<String>,
    pub(crate) challenge: bool,
}

/// One entry of `exempt`: requests that need no token and are subject to no policy.
#[derive(Clone, Debug)]
pub struct Exemption {
    /// `paths` and `methods`.
    pub(crate) operation: Operand,
    /// `token`: what happens to a token that is present nevertheless.
    pub token: ExemptToken,
}

/// `exempt[].token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExemptToken {
    /// Ignored.
    Ignore,
    /// Verified if present; a bad one is refused, a good one's identity emitted.
    Optional,
}
