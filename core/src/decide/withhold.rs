//! Which tokens leave a request: one that goes on, one that is refused, one that waits for keys.
//!
//! What a rule does not forward reaches neither the service nor an access log (`%REQ(:PATH)%`). Of a
//! refused request that holds whatever the reason, so a token that was never looked at goes too.

use super::Evaluation;
use crate::compiled::Compiled;
use crate::headers::HeaderMutations;
use crate::policy::{Mode, default_places};
use crate::request::Request;
use crate::token::Locations;

/// The header mutations of a refused request, the same on every exit: no spoofed header and no token, but where a
/// token was verified by a rule that forwards it. While no configuration is in force the default places
/// are all that is known. `forwarded` is in order.
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

/// The header mutations of a request that waits for keys: no token is verified yet, so none stays, since the client may
/// go meanwhile, or the host end the stream, and the access log is written then.
pub fn while_pending(policy: &Compiled, request: &Request) -> HeaderMutations {
    removal(policy, request, &|_| policy.settings.mode == Mode::Enforce)
}

/// The header mutations of a request that has waited, made of its decision's: what [`while_pending`] has taken out and the
/// decision leaves stands there again.
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
    /// Takes out tokens that nobody read, but from places that every reader forwards.
    pub(super) fn withhold_unread(&mut self, request: &Request) {
        let jwt = &self.policy.jwt;
        if !self.found.is_empty() {
            self.forwarded = self.found.iter().copied().filter(|p| jwt.forwards_from(*p)).collect();
            self.withheld.take(&jwt.locations, request, &|place, _| !jwt.forwards_from(place));
        }
    }

    /// Says which tokens enforcement would have taken out of the request, had it let it pass.
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

/// Takes out spoofed headers, and every token at the places that `leaves` chooses.
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
