//! What authorization policies say.
//!
//! The values of a rule are held as the sets that a request is compared with: a second form of them, as they are
//! written, would weigh in the module and say no more. [`crate::authorize`] compares.

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

use super::ExemptToken;
use rule::{Operand, Rule};

/// `action`. CUSTOM hands a request to another service, which is no filter's to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// One rule of all ALLOW policies must match.
    Allow,
    /// A match is noted.
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

/// What a policy says of its refusals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct PolicyReply {
    pub(crate) status: Option<u16>,
    pub(crate) message: Option<String>,
    pub(crate) challenge: bool,
}

/// One entry of `exempt`: requests that need no token and meet no policy.
#[derive(Clone, Debug)]
pub struct Exemption {
    /// `paths` and `methods`.
    pub(crate) operation: Operand,
    /// `token`: what becomes of one that is there all the same.
    pub token: ExemptToken,
}
