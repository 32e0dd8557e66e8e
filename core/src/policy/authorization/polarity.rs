//! Whether a match lets in or refuses, and therefore how widely a value is read.
//!
//! Istio compares literally, but a literal comparison can be evaded: a client need not write `/admin/x` or
//! the host `a` in the spelling that the service reads. Where a match lets in, the comparison is literal.
//! Where a match refuses, every spelling that may mean the same matches too: `{*}` and `{**}` take any
//! byte, `_` in a header's name is `-`, a host matches with and without its port and the dot behind its
//! name. Everything else is the same.

use super::Action;

/// The effect of a value's match on a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Polarity {
    /// It lets in: values in ALLOW, `not` values in DENY, `exempt`.
    #[default]
    LetsIn,
    /// Neither: AUDIT, which compares literally.
    Notes,
    /// It refuses: values in DENY, `not` values in ALLOW.
    Refuses,
}

impl Polarity {
    /// The polarity of `values`, `allValues` and `valuesFrom` in a policy with this action, in a dry run
    /// too.
    pub(crate) fn of_values(action: Action) -> Self {
        match action {
            Action::Allow => Self::LetsIn,
            Action::Audit => Self::Notes,
            Action::Deny => Self::Refuses,
        }
    }

    /// The polarity of the `not` values beside values of this polarity.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::LetsIn => Self::Refuses,
            Self::Notes => Self::Notes,
            Self::Refuses => Self::LetsIn,
        }
    }

    /// Whether every spelling that may mean the same matches too.
    pub(crate) fn is_wide(self) -> bool {
        self == Self::Refuses
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_has_one_for_values_and_one_for_not_values() {
        for (action, values, not_values) in [
            (Action::Allow, Polarity::LetsIn, Polarity::Refuses),
            (Action::Audit, Polarity::Notes, Polarity::Notes),
            (Action::Deny, Polarity::Refuses, Polarity::LetsIn),
        ] {
            let of_values = Polarity::of_values(action);
            assert_eq!((of_values, of_values.negated()), (values, not_values), "{action:?}");
        }
    }
}
