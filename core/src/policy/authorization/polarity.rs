//! Whether a match gives or takes, and so how widely a value is read.
//!
//! Istio's language is read to the letter, but a letter can be dodged: what a service reads as `/admin/x`
//! or as the host `a` need not be written so. Where a match lets in, the letter stands. Where a match
//! refuses, whatever may mean the same matches too: `{*}` and `{**}` take any byte, `_` in a header's name
//! is `-`, a host is meant with and without its port and the dot behind its name. All else stays.

use super::Action;

/// What a match of a value does to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Polarity {
    /// It gives: values in ALLOW, `not` values in DENY, `exempt`.
    #[default]
    LetsIn,
    /// Neither: AUDIT, which is read to the letter.
    Notes,
    /// It takes: values in DENY, `not` values in ALLOW.
    Refuses,
}

impl Polarity {
    /// Of `values`, `allValues` and `valuesFrom` in a policy of this action, in a dry run too.
    pub(crate) fn of_values(action: Action) -> Self {
        match action {
            Action::Allow => Self::LetsIn,
            Action::Audit => Self::Notes,
            Action::Deny => Self::Refuses,
        }
    }

    /// Of the `not` values beside values of this polarity.
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::LetsIn => Self::Refuses,
            Self::Notes => Self::Notes,
            Self::Refuses => Self::LetsIn,
        }
    }

    /// Whether whatever may mean the same matches too.
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
