//! Which tokens are removed: from a request that passes, one that is refused, one that waits for keys.
//!
//! A token that a rule does not forward reaches neither the service nor an access log (`%REQ(:PATH)%`). In a refused
//! request that holds for any reason, so a token that was never read is removed too.

use super::Evaluation;
use crate::compiled::Compiled;
use crate::headers::HeaderMutations;
use crate::policy::{Mode, default_places};
use crate::request::Request;
use crate::token::Locations;

/// The header mutations of a refused request, the same on every exit: they remove spoofed headers and tokens, except a
/// token that was verified by a rule that forwards it. While no configuration is in force, only the default places are
/// known. `forwarded` is sorted.
pub(super) fn refusal(
    policy: Option<&Compiled>,
    request: &Request,
    forwarded: &[usize],
) -> HeaderMutations {
    match policy {
        Some(policy) => removal(policy, request, &|place| forwarded.binary_search(&place).is_err()),
        None => {
            let mut mutations = HeaderMutations::default();
            mutations.take(&Locations::new(&default_places()), request, &|_, _| true);
            mutations
        }
    }
}

/// The header mutations of a request that waits for keys. No token is verified yet, so none stays: the client may
/// disconnect, or the host end the stream, and the access log is written then.
pub fn while_pending(policy: &Compiled, request: &Request) -> HeaderMutations {
    removal(policy, request, &|_| policy.settings.mode == Mode::Enforce)
}

/// The header mutations of a request that has waited, from those of its decision: they restore what [`while_pending`]
/// removed and the decision keeps.
pub fn after_pending(
    policy: &Compiled,
    request: &Request,
    decided: HeaderMutations,
) -> HeaderMutations {
    let taken = while_pending(policy, request);
    let names = taken.remove.iter().map(Vec::as_slice);
    let names = names.chain(taken.set.iter().map(|(name, _)| &**name));
    let mut mutations = HeaderMutations::default();
    for name in names.filter(|name| !policy.protected_headers.protects(name)) {
        let sent = request.headers.iter().filter(|(other, _)| other == name);
        mutations.set_lines(name.into(), sent.map(|(_, line)| line.clone()).collect());
    }
    mutations.add(decided);
    mutations
}

impl Evaluation<'_> {
    /// Removes tokens that were not read, except from places that every reader forwards.
    pub(super) fn withhold_unread(&mut self, request: &Request) {
        let jwt = &self.policy.jwt;
        if !self.found.is_empty() {
            self.forwarded = self.found.iter().copied().filter(|p| jwt.forwards_from(*p)).collect();
            self.withheld.take(&jwt.locations, request, &|place, _| !jwt.forwards_from(place));
        }
    }

    /// Records which tokens enforcement would have removed from the request, had it let it pass.
    pub(super) fn note_withheld(&mut self) {
        for index in self.found.iter().filter(|index| self.forwarded.binary_search(index).is_err())
        {
            self.report.would_withhold.extend(self.policy.jwt.places.get(*index).cloned());
        }
        if self.report.would_withhold.is_empty() {
            return;
        }
        let places: Vec<String> =
            self.report.would_withhold.iter().map(ToString::to_string).collect();
        self.step(|| format!("token: would be withheld (dry run): {}", places.join(", ")));
    }
}

/// Removes spoofed headers, and every token at the places for which `leaves` is true.
fn removal(
    policy: &Compiled,
    request: &Request,
    leaves: &dyn Fn(usize) -> bool,
) -> HeaderMutations {
    let mut mutations =
        HeaderMutations::removing(&policy.protected_headers.spoofed(&request.headers));
    mutations.take(&policy.jwt.locations, request, &|place, _| leaves(place));
    mutations
}
