//! How many lines denials may write: a flood of them must not fill the log, nor hide what is new in it.
//!
//! The first denial of each pair of reason and policy in a second is always logged; all other lines at level
//! warning come from one token bucket, which is refilled each second. The configuration bounds both: a
//! client cannot invent reasons or policies. Lines left out are counted.

use std::hash::BuildHasher as _;

use crate::decide::Decision;
use crate::hash::FastSet;
use crate::policy::Rate;
use crate::time::UnixSeconds;

/// The state of one plugin in one worker.
#[derive(Clone, Debug, Default)]
pub struct Limiter {
    second: UnixSeconds,
    spent: u32,
    /// Hashes of the pairs that were logged in this second.
    reported: FastSet<u64>,
    suppressed: u64,
}

/// The number of pairs that are distinguished in a second: more than the reasons and policies in any
/// configuration seen so far, and 128 KiB of memory. Further pairs come from the bucket.
const MAX_PAIRS: usize = 8192;

/// How far a decision's time may be behind the newest: the longest that a request waits for keys
/// (`timeout`). If it is further behind, the clock was set back.
const LONGEST_WAIT: u64 = 60;

impl Limiter {
    /// Whether a line about `decision` may be written at `now`. A line that may not is counted.
    pub fn admits(&mut self, rate: Rate, decision: &Decision, now: UnixSeconds) -> bool {
        let Rate::PerSecond(most) = rate else {
            return true;
        };
        if now > self.second || now < self.second.saturating_sub(LONGEST_WAIT) {
            self.second = now;
            self.spent = 0;
            self.reported.clear();
        }
        if self.is_first(decision) {
            return true;
        }
        if self.spent < most {
            self.spent = self.spent.saturating_add(1);
            return true;
        }
        self.suppressed = self.suppressed.saturating_add(1);
        false
    }

    /// The number of lines left out since the last call.
    pub fn take_suppressed(&mut self) -> u64 {
        std::mem::take(&mut self.suppressed)
    }

    fn is_first(&mut self, decision: &Decision) -> bool {
        if decision.denial.is_none() || self.reported.len() >= MAX_PAIRS {
            return false;
        }
        let authorization = decision.report.authorization.as_ref();
        let policy =
            authorization.map(|authorization| (&authorization.namespace, &authorization.policy));
        let pair = self.reported.hasher().hash_one((decision.reason(), policy));
        self.reported.insert(pair)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authorize::{AuthorizationOutcome, Verdict};
    use crate::denial::Denial;
    use crate::request::Request;

    const NOW: u64 = 1_700_000_000;

    fn allowed() -> Decision {
        Decision { denial: None, ..Decision::host_failed(None, &Request::default()) }
    }

    fn refused(denial: Denial, policy: Option<&str>) -> Decision {
        let mut decision = Decision { denial: Some(denial), ..allowed() };
        decision.report.authorization = policy.map(|name| authorization("shop", name));
        decision
    }

    fn authorization(namespace: &str, policy: &str) -> AuthorizationOutcome {
        AuthorizationOutcome {
            verdict: Verdict::Deny,
            policy: Some(policy.into()),
            namespace: Some(namespace.into()),
            rule: Some(0),
            ..AuthorizationOutcome::allowing()
        }
    }

    /// The number of lines written at `now`, out of `of` tried.
    fn written(
        limiter: &mut Limiter,
        rate: u32,
        decision: &Decision,
        now: u64,
        of: usize,
    ) -> usize {
        (0..of)
            .filter(|_| limiter.admits(Rate::PerSecond(rate), decision, UnixSeconds(now)))
            .count()
    }

    #[test]
    fn a_flood_writes_its_first_line_and_a_bucket_full_each_second() {
        let mut limiter = Limiter::default();
        let flood = refused(Denial::TokenMissing, None);
        for second in [NOW, NOW + 1, NOW + 5] {
            assert_eq!(written(&mut limiter, 50, &flood, second, 1000), 51, "{second}");
            assert_eq!(limiter.take_suppressed(), 949, "{second}");
            assert_eq!(limiter.take_suppressed(), 0, "{second}: reported once");
        }
        assert_eq!(written(&mut limiter, 0, &flood, NOW + 6, 1000), 1);
        let unlimited =
            (0..1000).filter(|_| limiter.admits(Rate::Unlimited, &flood, UnixSeconds(NOW + 6)));
        assert_eq!(unlimited.count(), 1000);
    }

    #[test]
    fn a_flood_hides_no_other_reason_and_no_other_policy() {
        let mut limiter = Limiter::default();
        let flood = refused(Denial::DeniedByRule, Some("no-admin"));
        assert_eq!(written(&mut limiter, 3, &flood, NOW, 100), 4);
        for (decision, why) in [
            (refused(Denial::DeniedByRule, Some("no-debug")), "another policy"),
            (refused(Denial::NoRuleMatched, Some("no-admin")), "another reason"),
            (refused(Denial::TokenExpired, None), "another reason without a policy"),
        ] {
            assert_eq!(written(&mut limiter, 3, &decision, NOW, 100), 1, "{why}");
        }
        let mut namespace = flood;
        namespace.report.authorization = Some(authorization("bank", "no-admin"));
        assert_eq!(written(&mut limiter, 3, &namespace, NOW, 100), 1, "another namespace");
    }

    #[test]
    fn what_is_let_through_comes_from_the_bucket_alone() {
        // AUDIT matches, and what a dry-run policy would have refused.
        let mut limiter = Limiter::default();
        assert_eq!(written(&mut limiter, 50, &allowed(), NOW, 1000), 50);
        assert_eq!(written(&mut limiter, 50, &refused(Denial::TokenMissing, None), NOW, 10), 1);
    }

    #[test]
    fn time_that_jumps_opens_no_second_twice() {
        let mut limiter = Limiter::default();
        let flood = refused(Denial::KeyUnknown, None);
        assert_eq!(written(&mut limiter, 5, &flood, NOW, 100), 6);
        // Requests that have waited, and new ones, in turn.
        let mixed = (0..100).map(|n| written(&mut limiter, 5, &flood, NOW - (n % 2) * 60, 1));
        assert_eq!(mixed.sum::<usize>(), 0);
        // A clock that was set back an hour.
        assert_eq!(written(&mut limiter, 5, &flood, NOW - 3600, 100), 6);
        assert_eq!(written(&mut limiter, 5, &flood, NOW - 3599, 100), 6);
    }

    #[test]
    fn memory_is_bounded() {
        let mut limiter = Limiter::default();
        let all = MAX_PAIRS + 1000;
        let flood = (0..all).map(|n| refused(Denial::DeniedByRule, Some(&n.to_string())));
        let written = flood
            .filter(|decision| limiter.admits(Rate::PerSecond(50), decision, UnixSeconds(NOW)));
        assert_eq!(written.count(), MAX_PAIRS + 50);
        assert_eq!(limiter.reported.len(), MAX_PAIRS);
    }
}
