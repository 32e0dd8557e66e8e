//! The stage of one request: how much of it the host may forward.
//!
//! Headers, body and trailers are treated alike. None of them is forwarded before the request is decided, none
//! after it was answered, and only a decision changes that: see [`Stage::release`].

use usher_core::reply::Reply;

/// The stage of a request. `P` is what it holds while it waits.
#[derive(Debug, Default, PartialEq, Eq)]
pub enum Stage<P> {
    /// Not decided yet.
    #[default]
    Undecided,
    /// It waits for keys.
    Pending(P),
    /// It is forwarded.
    Permitted,
    /// It was refused, and answered.
    Answered,
}

/// What happens to a request that was held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release<'d> {
    /// It is forwarded.
    Permit,
    /// It is answered.
    Reply(&'d Reply),
}

/// What the host is to do after the request's headers (proxy-wasm `proxy_action_t`, as Envoy's
/// `FilterHeadersStatus` reads it).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadersStatus {
    /// Continues.
    Continue,
    /// Holds headers, body and trailers. Where a plugin is configured with `allow_on_headers_stop_iteration`, Envoy
    /// gives `StopIteration`, which is the ABI's `Pause` (1), a weaker meaning: a body or trailers resume the
    /// request.
    StopAllIterationAndWatermark,
}

/// What the host is to do after the request's trailers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrailersStatus {
    /// Continues.
    Continue,
    /// Holds them.
    StopIteration,
}

impl HeadersStatus {
    /// The ABI's number.
    pub fn number(self) -> u32 {
        match self {
            Self::Continue => 0,
            Self::StopAllIterationAndWatermark => 4,
        }
    }
}

impl TrailersStatus {
    /// The ABI's number.
    pub fn number(self) -> u32 {
        match self {
            Self::Continue => 0,
            Self::StopIteration => 1,
        }
    }
}

impl<P> Stage<P> {
    /// Ends the holding by a decision (`reply`: a denial). An answered request stays answered, and a request that
    /// was forwarded already can only be answered: otherwise there is nothing to release, which is `None`.
    pub fn release<'d>(&mut self, reply: Option<&'d Reply>) -> Option<Release<'d>> {
        match (&*self, reply) {
            (Self::Answered, _) | (Self::Permitted, None) => None,
            (Self::Undecided | Self::Pending(_), None) => {
                *self = Self::Permitted;
                Some(Release::Permit)
            }
            (Self::Undecided | Self::Pending(_) | Self::Permitted, Some(reply)) => {
                *self = Self::Answered;
                Some(Release::Reply(reply))
            }
        }
    }

    /// What the host is to do with the headers, and with everything that follows them.
    pub fn headers(&self) -> HeadersStatus {
        match self {
            Self::Permitted => HeadersStatus::Continue,
            Self::Undecided | Self::Pending(_) | Self::Answered => {
                HeadersStatus::StopAllIterationAndWatermark
            }
        }
    }

    /// What the host is to do with the trailers.
    pub fn trailers(&self) -> TrailersStatus {
        match self {
            Self::Permitted => TrailersStatus::Continue,
            Self::Undecided | Self::Pending(_) | Self::Answered => TrailersStatus::StopIteration,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Stage::{Answered, Pending, Permitted, Undecided};
    use super::*;
    use usher_core::decide::Decision;
    use usher_core::request::Request;

    #[test]
    fn only_a_decision_releases_a_request_and_only_once() {
        let refused = Decision::host_failed(None, &Request::default());
        let reply = refused.reply.as_ref().unwrap();
        let answer = || Some(Release::Reply(reply));
        for (before, denial, after, release, message) in [
            (Undecided, None, Permitted, Some(Release::Permit), "goes on at once"),
            (Undecided, Some(reply), Answered, answer(), "is refused at once"),
            (Pending(()), None, Permitted, Some(Release::Permit), "goes on after it waited"),
            (Pending(()), Some(reply), Answered, answer(), "is refused after it waited"),
            (Permitted, None, Permitted, None, "does not go on twice"),
            (Permitted, Some(reply), Answered, answer(), "is refused at its trailers"),
            (Answered, None, Answered, None, "never goes on after an answer"),
            (Answered, Some(reply), Answered, None, "is not answered twice"),
        ] {
            let mut stage = before;
            assert_eq!(stage.release(denial), release, "{message}");
            assert_eq!(stage, after, "{message}");
        }
    }

    #[test]
    fn nothing_goes_on_but_what_is_permitted() {
        for (stage, headers, trailers) in
            [(Undecided, 4, 1), (Pending(()), 4, 1), (Permitted, 0, 0), (Answered, 4, 1)]
        {
            assert_eq!(stage.headers().number(), headers, "{stage:?}");
            assert_eq!(stage.trailers().number(), trailers, "{stage:?}");
        }
    }
}
