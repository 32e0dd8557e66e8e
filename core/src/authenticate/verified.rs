//! The proof that a token was verified, and how a later request checks it again.

use std::cell::OnceCell;
use std::rc::Rc;

use super::{Expiration, JwtRule, JwtRules};
use crate::claims::Identity;
use crate::compact::{Compact, Header};
use crate::denial::Denial;
use crate::headers::Emitted;
use crate::headers::Lines;
use crate::heap;
use crate::time::UnixSeconds;

/// Proof that a token was verified, with its content.
///
/// INVARIANT (verified): made by [`super::authenticate`] alone.
#[derive(Clone, Debug)]
pub struct Verified(Rc<Token>);

/// A verified token.
#[derive(Debug)]
struct Token {
    identity: Rc<Identity>,
    header: Rc<Header>,
    rule: usize,
    payload: Box<str>,
    timing: Timing,
    reuse: Reuse,
    emission: OnceCell<Result<Rc<Emitted>, Denial>>,
}

/// Whether the search for a rule would come to the same one again for the same token, as long as that rule
/// accepts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reuse {
    /// It would.
    Same,
    /// An earlier rule found it not yet valid, and may accept it later.
    Unsettled,
}

/// When a verified token is valid, for checking it again later.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    exp: Option<UnixSeconds>,
    nbf: Option<UnixSeconds>,
    iat: Option<UnixSeconds>,
}

impl Verified {
    /// A token that the rule of this index accepted.
    pub(super) fn new(token: Compact<'_>, index: usize, rule: &JwtRule, reuse: Reuse) -> Self {
        let timing = Timing::of(&token);
        let identity = Identity {
            provider: rule.provider.clone(),
            claims: token.claims,
            space_delimited: Rc::clone(&rule.space_delimited),
        };
        Self(Rc::new(Token {
            identity: Rc::new(identity),
            header: token.header,
            rule: index,
            payload: token.payload.into(),
            timing,
            reuse,
            emission: OnceCell::new(),
        }))
    }

    /// The caller that the request speaks for.
    pub fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// The identity and the token's header, to be kept beyond this proof.
    pub fn shared(&self) -> (Rc<Identity>, Rc<Header>) {
        (Rc::clone(&self.0.identity), Rc::clone(&self.0.header))
    }

    /// Index of the rule that accepted the token.
    pub fn rule(&self) -> usize {
        self.0.rule
    }

    /// The payload as in the token: unpadded base64url.
    pub fn payload(&self) -> &str {
        &self.0.payload
    }

    /// The headers to emit, which `make` makes on first use.
    ///
    /// # Errors
    /// The denial from `make`.
    pub fn emission(
        &self,
        make: impl FnOnce() -> Result<Emitted, Denial>,
    ) -> Result<Rc<Emitted>, Denial> {
        self.0.emission.get_or_init(|| make().map(Rc::new)).clone()
    }

    /// Whether a later request with the same token may reuse this proof.
    pub fn is_reusable(&self) -> bool {
        self.0.reuse == Reuse::Same
    }

    /// The memory that it takes.
    pub fn footprint(&self) -> usize {
        let token = &self.0;
        let (identity, header) = (&token.identity, &token.header);
        let named = [&header.kid, &header.typ].into_iter().flatten().map(heap::text);
        let emitted = token.emission.get().and_then(|made| made.as_ref().ok());
        [
            heap::shared(size_of::<Token>()),
            heap::block(token.payload.len()),
            heap::shared(size_of::<Header>()),
            heap::text(&header.alg),
            heap::shared(size_of::<Identity>()),
            heap::text(&identity.provider),
            identity.claims.footprint(),
            emitted.map_or(0, |emitted| emission(&emitted.lines)),
        ]
        .into_iter()
        .chain(named)
        .fold(0, usize::saturating_add)
    }

    /// Checks the time claims again, for a token that was verified earlier.
    ///
    /// # Errors
    /// Why the token is no longer valid.
    pub fn still_valid(&self, rules: &JwtRules, now: UnixSeconds) -> Result<(), Denial> {
        let rule = rules.rules.get(self.rule()).ok_or(Denial::HostFailed)?;
        self.0.timing.check(rule, now)
    }
}

/// The memory that emitted headers take.
fn emission(emitted: &Lines) -> usize {
    let list = size_of::<Lines>();
    let names = emitted.capacity().saturating_mul(size_of::<(Rc<[u8]>, Rc<[Vec<u8>]>)>());
    let header = |(name, lines): &(Rc<[u8]>, Rc<[Vec<u8>]>)| {
        let texts = lines.iter().map(|line| heap::block(line.capacity()));
        let header = heap::shared(name.len()).saturating_add(heap::shared(size_of_val(&**lines)));
        texts.fold(header, usize::saturating_add)
    };
    let fixed = heap::shared(list).saturating_add(heap::block(names));
    emitted.iter().map(header).fold(fixed, usize::saturating_add)
}

impl Timing {
    pub(super) fn of(token: &Compact<'_>) -> Self {
        Self { exp: token.exp, nbf: token.nbf, iat: token.iat }
    }

    /// RFC 7519 sections 4.1.4 to 4.1.6, and Envoy's 60 s of skew unless configured.
    pub(super) fn check(self, rule: &JwtRule, now: UnixSeconds) -> Result<(), Denial> {
        if now == UnixSeconds::NO_CLOCK {
            return Err(Denial::HostFailed);
        }
        let latest = now.saturating_add(rule.clock_skew);
        match self.exp {
            None if rule.expiration == Expiration::Required => {
                return Err(Denial::ExpirationMissing);
            }
            Some(exp) if now > exp.saturating_add(rule.clock_skew) => {
                return Err(Denial::TokenExpired);
            }
            _ => {}
        }
        let latest_issue = now.saturating_add(rule.issued_at_skew);
        if self.nbf.is_some_and(|nbf| latest < nbf)
            || self.iat.is_some_and(|iat| latest_issue < iat)
        {
            return Err(Denial::TokenNotYetValid);
        }
        if let Some(max) = rule.max_lifetime {
            let lifetime = self.exp.zip(self.iat).map(|(exp, iat)| exp.since(iat));
            if lifetime.is_none_or(|lifetime| lifetime > max) {
                return Err(Denial::LifetimeTooLong);
            }
        }
        if let Some(max) = rule.max_age
            && self.iat.is_none_or(|iat| now.since(iat) > max)
        {
            return Err(Denial::TokenTooOld);
        }
        Ok(())
    }
}
