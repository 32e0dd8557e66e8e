//! What authorization policies say.

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
