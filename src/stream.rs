//! A stream context: one request. It reads the request, has the core decide, and applies the decision; it decides
//! nothing itself.
//!
//! A request whose keys are being fetched waits for them, see [`Stage`].

use std::cell::RefCell;
use std::rc::Rc;

use usher_core::Compiled;
use usher_core::decide::{Decision, WorkerState, after_pending, decide, while_pending};
use usher_core::headers::HeaderMutations;
use usher_core::policy::FilterState;
use usher_core::reply::Reply;
use usher_core::request::Request;
use usher_core::time::UnixSeconds;
use usher_core::trailers;

use crate::active_config::ActiveConfig;
use crate::attributes;
use crate::host::{HeaderMap, Host};
use crate::observer::Observer;
use crate::pending::{self, Ticket};
use crate::stage::{HeadersStatus, Release, Stage, TrailersStatus};
use crate::timer::Timer;
use crate::worker::Worker;

/// A request, with the configuration that it began with.
pub(crate) struct Stream {
    id: u32,
    active: Rc<ActiveConfig>,
    worker_state: Rc<RefCell<WorkerState>>,
    observer: Rc<RefCell<Observer>>,
    timer: Rc<Timer>,
    stage: RefCell<Stage<Rc<PendingRequest>>>,
}

/// A request that waits for keys.
struct PendingRequest {
    request: Request,
    ticket: Ticket,
}

impl Stream {
    pub(crate) fn new(
        id: u32,
        active: Rc<ActiveConfig>,
        worker_state: Rc<RefCell<WorkerState>>,
        observer: Rc<RefCell<Observer>>,
        timer: Rc<Timer>,
    ) -> Self {
        Self { id, active, worker_state, observer, timer, stage: RefCell::default() }
    }

    pub(crate) fn on_request_headers<H: Host>(
        &self,
        worker: &Worker<H>,
        end_of_stream: bool,
    ) -> HeadersStatus {
        let host = &worker.host;
        let headers = host.header_map(HeaderMap::RequestHeaders);
        // Headers that could not be read might contain a spoofed identity.
        let readable = headers.is_some();
        let headers = headers.unwrap_or_default();
        let mut request = Request { headers, end_of_stream, ..Request::default() };
        #[cfg(feature = "fault")]
        crate::fault::on_demand(&request);
        if let Some(policy) = self.policy() {
            attributes::connection(host, policy, &mut request.connection);
        }
        let now = host.unix_millis().seconds();
        let mut decision =
            if readable { self.decide(host, &request, now) } else { self.host_failed(&request) };
        if worker.key_sets.look(host, &decision.missing_keys) {
            decision = self.decide(host, &request, now);
        }
        if !decision.missing_keys.is_empty() {
            let arrived = host.unix_millis();
            // `ask` reads the newest record: another worker may have fetched the keys since `look`.
            if worker.key_sets.ask(host, &decision.missing_keys) {
                decision = self.decide(host, &request, now);
            }
            if pending::are_coming(&worker.key_sets, &decision.missing_keys, arrived, arrived) {
                if let Some(ticket) =
                    worker.pending.join(&worker.key_sets, self.id, &decision.missing_keys, arrived)
                {
                    self.withhold(host, &request);
                    self.stage.replace(Stage::Pending(Rc::new(PendingRequest { request, ticket })));
                    self.timer.hurry(host);
                    return self.headers_status();
                }
                if let Ok(mut observer) = self.observer.try_borrow_mut() {
                    observer.pending_overflow(host);
                }
            }
        }
        self.finish(host, &request, &decision, now);
        host.recycle(request.headers);
        self.headers_status()
    }

    /// Decides a waiting request again, as the stream's effective context.
    pub(crate) fn proceed<H: Host>(&self, worker: &Worker<H>) {
        let host = &worker.host;
        let held = match self.stage.try_borrow().as_deref() {
            Ok(Stage::Pending(held)) => Rc::clone(held),
            Ok(Stage::Undecided | Stage::Permitted | Stage::Answered) | Err(_) => return,
        };
        let now = host.unix_millis().seconds();
        let mut decision = self.decide(host, &held.request, now);
        if held.ticket.renew(&worker.key_sets, &decision.missing_keys, host.unix_millis()) {
            return;
        }
        if let Some(policy) = self.policy() {
            decision.mutations = after_pending(policy, &held.request, decision.mutations);
        }
        if let Some(Release::Permit) = self.finish(host, &held.request, &decision, now) {
            host.continue_request();
        }
    }

    pub(crate) fn on_request_trailers<H: Host>(&self, worker: &Worker<H>) -> TrailersStatus {
        let host = &worker.host;
        let answered =
            self.stage.try_borrow().is_ok_and(|stage| matches!(&*stage, Stage::Answered));
        if let Some(policy) = self.policy()
            && !answered
            && !scrub_trailers(host, policy)
        {
            let request = Request::default();
            let failed = self.host_failed(&request);
            if let Ok(mut observer) = self.observer.try_borrow_mut() {
                observer.decided(
                    host,
                    self.policy(),
                    &request,
                    &failed,
                    host.unix_millis().seconds(),
                );
            }
            self.release(host, failed.reply.as_ref());
        }
        self.stage.try_borrow().map_or(TrailersStatus::StopIteration, |stage| stage.trailers())
    }

    fn headers_status(&self) -> HeadersStatus {
        let held = HeadersStatus::StopAllIterationAndWatermark;
        self.stage.try_borrow().map_or(held, |stage| stage.headers())
    }

    fn policy(&self) -> Option<&Compiled> {
        match &*self.active {
            ActiveConfig::InForce { policy, .. } => Some(policy),
            ActiveConfig::None => None,
        }
    }

    fn decide<H: Host>(&self, host: &H, request: &Request, now: UnixSeconds) -> Decision {
        let Some(policy) = self.policy() else {
            return Decision::config_invalid(request);
        };
        // No call of ours re-enters the VM, so the worker state is never borrowed twice.
        match self.worker_state.try_borrow_mut() {
            Ok(mut worker_state) => {
                if let Ok(mut observer) = self.observer.try_borrow_mut() {
                    worker_state.trace = observer.trace(host, now);
                }
                decide(policy, request, now, &mut worker_state)
            }
            Err(_) => self.host_failed(request),
        }
    }

    fn host_failed(&self, request: &Request) -> Decision {
        Decision::host_failed(self.policy(), request)
    }

    /// Removes what leaves the request in any case: its client may disconnect before it is answered, and the access log
    /// is written then. What fails here is removed again with the decision.
    fn withhold<H: Host>(&self, host: &H, request: &Request) {
        if let Some(policy) = self.policy() {
            apply(host, HeaderMap::RequestHeaders, &while_pending(policy, request));
        }
    }

    /// Whether filter state shows the decision; it does while no configuration is in force.
    fn sets_filter_state(&self) -> bool {
        self.policy().is_none_or(|policy| policy.settings.filter_state == FilterState::Set)
    }

    /// Applies a decision; a request that waited must still be released.
    fn finish<'d, H: Host>(
        &self,
        host: &H,
        request: &Request,
        decision: &'d Decision,
        now: UnixSeconds,
    ) -> Option<Release<'d>> {
        let applied = apply(host, HeaderMap::RequestHeaders, &decision.mutations);
        // What could not be applied might be the removal of a spoofed header.
        let failed = (!applied).then(|| self.host_failed(request));
        if let Some(failed) = &failed {
            apply(host, HeaderMap::RequestHeaders, &failed.mutations);
        }
        let reported = failed.as_ref().unwrap_or(decision);
        if self.sets_filter_state() {
            reported.filter_state(|name, value| host.set_property(name, value));
        }
        if let Ok(mut observer) = self.observer.try_borrow_mut() {
            observer.decided(host, self.policy(), request, reported, now);
        }
        if let Some(failed) = &failed {
            self.release(host, failed.reply.as_ref());
            return None;
        }
        let release = self.release(host, decision.reply.as_ref());
        if let (Some(Release::Permit), Some(policy)) = (&release, self.policy())
            && decision.mutations.may_change_route(|name| policy.protected_headers.protects(name))
        {
            host.clear_route_cache();
        }
        release
    }

    /// Ends the holding, and answers a denied request.
    fn release<'d, H: Host>(&self, host: &H, reply: Option<&'d Reply>) -> Option<Release<'d>> {
        let release = self.stage.try_borrow_mut().ok()?.release(reply);
        if let Some(Release::Reply(reply)) = release {
            host.send_local_reply(reply);
        }
        release
    }
}

/// Removes from the trailers what is removed from the headers. Returns whether the host did all of it.
fn scrub_trailers<H: Host>(host: &H, policy: &Compiled) -> bool {
    let map = HeaderMap::RequestTrailers;
    host.header_map(map).is_some_and(|lines| apply(host, map, &trailers::mutations(policy, lines)))
}

/// Mutates headers or trailers. Returns whether the host did all of it.
fn apply<H: Host>(host: &H, map: HeaderMap, mutations: &HeaderMutations) -> bool {
    let mut applied = true;
    for name in &mutations.remove {
        applied &= host.remove_header(map, name);
    }
    for (name, lines) in &mutations.set {
        for (index, line) in lines.iter().enumerate() {
            applied &= match index {
                0 => host.replace_header(map, name, line),
                _ => host.add_header(map, name, line),
            };
        }
    }
    applied
}
