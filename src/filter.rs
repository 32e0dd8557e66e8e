//! The glue to the host (wasm32 only): read, call [`decide`], apply. No decision is made here.
//!
//! One root context per configuration, one stream context per request. A stream keeps the policy that
//! it began with. A configuration that is wrong does not fail to load, which would leave Envoy without
//! a filter: the last good one stays in force, or else every request is answered 503 `config_invalid`,
//! and the log says why. A request whose keys are on their way waits for them, see [`Stage`].

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::stream::{HeadersStatus, Release, Stage, TrailersStatus};
use host::MapType;
use observe::Observer;
use pending::Ticket;
use standing::Gate;
use usher_core::config::Policy;
use usher_core::decide::{Decision, Session, after_pending, decide, while_pending};
use usher_core::headers::Edits;
use usher_core::policy::FilterState;
use usher_core::reply::Reply;
use usher_core::request::Request;
use usher_core::trailers;

mod abi;
mod engine;
mod exports;
#[cfg(feature = "fault")]
mod fault;
mod gather;
mod host;
mod metrics;
mod observe;
mod pending;
mod remote;
mod standing;

struct Root {
    id: u32,
    gate: RefCell<Rc<Gate>>,
    session: Rc<RefCell<Session>>,
    observer: RefCell<Rc<RefCell<Observer>>>,
    /// The timer's period in milliseconds; 0: none.
    pace: Rc<Cell<u32>>,
}

/// How often those who wait for keys are looked after, in milliseconds.
const QUICK: u32 = 10;

/// When the next of them have their turn, if the last batch has not taken all.
const AT_ONCE: u32 = 1;

impl Root {
    fn new(id: u32) -> Self {
        let mut session = Session::portable();
        session.ring = remote::ring();
        let session = Rc::new(RefCell::new(session));
        // Until a configuration was read there is nothing that could be allowed.
        let gate = RefCell::new(Rc::new(Gate::Invalid));
        Self { id, gate, session, observer: RefCell::default(), pace: Rc::default() }
    }

    fn gate(&self) -> Rc<Gate> {
        self.gate.try_borrow().map_or_else(|_| Rc::new(Gate::Invalid), |gate| Rc::clone(&gate))
    }

    fn observer(&self) -> Rc<RefCell<Observer>> {
        self.observer.try_borrow().map_or_else(|_| Rc::default(), |observer| Rc::clone(&observer))
    }

    /// Refreshes keys, answers who has waited long enough, and winds the timer up again.
    fn refresh(&self) {
        let next = remote::tick(self.id).map(|next| u32::try_from(next.as_millis()));
        self.tell_keys();
        let more = pending::wake(self.id);
        let pace = match next {
            _ if more => AT_ONCE,
            _ if pending::is_any() => QUICK,
            Some(Ok(next)) => next.max(QUICK),
            _ => 0,
        };
        set_pace(&self.pace, pace);
    }

    fn tell_keys(&self) {
        if let Gate::Open { policy, .. } = &*self.gate()
            && let Ok(mut observer) = self.observer().try_borrow_mut()
        {
            observer.fetched(policy, &self.session);
        }
    }

    fn on_http_call_response(&self, token: u32, headers: usize, body_size: usize) {
        remote::answered(token, headers, body_size);
        self.refresh();
    }

    fn on_configure(&self) -> bool {
        #[cfg(feature = "fault")]
        if fault::refuses(&host::plugin_configuration()) {
            return false;
        }
        let configured = standing::configure();
        let observer = Observer::of_plugin();
        if let Gate::Open { policy, refreshes } = &configured.gate {
            // A request under way keeps its policy; which engine serves it is no matter to it.
            if let Ok(mut session) = self.session.try_borrow_mut() {
                session.engine = engine::chosen(policy.signature_engine);
            }
            if !refreshes.is_empty() {
                // Not from here: the host configures a plugin once only to see whether it will bear it.
                set_pace(&self.pace, AT_ONCE);
            }
        }
        if let Ok(mut observer) = observer.try_borrow_mut() {
            observer.configured(&configured, &self.session);
        }
        self.observer.replace(observer);
        self.gate.replace(Rc::new(configured.gate));
        true
    }

    fn on_tick(&self) {
        self.refresh();
    }

    fn stream(&self, id: u32) -> Stream {
        Stream {
            id,
            gate: self.gate(),
            session: Rc::clone(&self.session),
            observer: self.observer(),
            pace: Rc::clone(&self.pace),
            stage: RefCell::default(),
        }
    }
}

/// Sets the timer, unless it ticks so already: to set it anew is to start it over.
fn set_pace(pace: &Cell<u32>, period: u32) {
    if pace.replace(period) != period {
        host::set_tick_period(period);
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        set_pace(&self.pace, 0);
        remote::abandon(self.id);
    }
}

struct Stream {
    id: u32,
    gate: Rc<Gate>,
    session: Rc<RefCell<Session>>,
    observer: Rc<RefCell<Observer>>,
    pace: Rc<Cell<u32>>,
    stage: RefCell<Stage<Rc<Held>>>,
}

/// A request that waits for keys.
struct Held {
    request: Request,
    ticket: Ticket,
}

impl Stream {
    fn on_request_headers(&self, end_of_stream: bool) -> HeadersStatus {
        let headers = host::header_map(MapType::HttpRequestHeaders);
        // Headers that nobody could read might hold a forged identity.
        let readable = headers.is_some();
        let headers = headers.unwrap_or_default();
        let mut request = Request { headers, end_of_stream, ..Request::default() };
        #[cfg(feature = "fault")]
        fault::on_demand(&request);
        if let Some(policy) = self.policy() {
            gather::connection(policy, &mut request.connection);
        }
        let now = host::unix_time();
        let mut decision =
            if readable { self.decide(&request, now) } else { self.host_failed(&request) };
        if remote::look(&decision.wants) {
            decision = self.decide(&request, now);
        }
        if !decision.wants.is_empty() {
            let arrived = host::unix_millis();
            // Who asks sees what is known by then: another worker may have fetched it since the look.
            if remote::ask(&decision.wants) {
                decision = self.decide(&request, now);
            }
            if pending::are_coming(&decision.wants, arrived, arrived) {
                if let Some(ticket) = pending::join(self.id, &decision.wants, arrived) {
                    self.withhold(&request);
                    self.stage.replace(Stage::Pending(Rc::new(Held { request, ticket })));
                    if self.pace.get() != AT_ONCE {
                        set_pace(&self.pace, QUICK);
                    }
                    return self.headers_status();
                }
                if let Ok(mut observer) = self.observer.try_borrow_mut() {
                    observer.pending_overflow();
                }
            }
        }
        self.finish(&request, &decision, now);
        host::recycle(request.headers);
        self.headers_status()
    }

    /// Decides anew about a request that waits, as the stream's effective context.
    fn proceed(&self) {
        let held = match self.stage.try_borrow().as_deref() {
            Ok(Stage::Pending(held)) => Rc::clone(held),
            Ok(Stage::Undecided | Stage::Permitted | Stage::Answered) | Err(_) => return,
        };
        let now = host::unix_time();
        let mut decision = self.decide(&held.request, now);
        if held.ticket.renew(&decision.wants) {
            return;
        }
        if let Some(policy) = self.policy() {
            decision.edits = after_pending(policy, &held.request, decision.edits);
        }
        if let Some(Release::Permit) = self.finish(&held.request, &decision, now) {
            host::continue_request();
        }
    }

    fn on_request_trailers(&self) -> TrailersStatus {
        let answered =
            self.stage.try_borrow().is_ok_and(|stage| matches!(&*stage, Stage::Answered));
        if let Some(policy) = self.policy()
            && !answered
            && !scrub_trailers(policy)
        {
            let request = Request::default();
            let failed = self.host_failed(&request);
            if let Ok(mut observer) = self.observer.try_borrow_mut() {
                observer.decided(self.policy(), &request, &failed, host::unix_time());
            }
            self.release(failed.reply.as_ref());
        }
        self.stage.try_borrow().map_or(TrailersStatus::StopIteration, |stage| stage.trailers())
    }

    fn headers_status(&self) -> HeadersStatus {
        let held = HeadersStatus::StopAllIterationAndWatermark;
        self.stage.try_borrow().map_or(held, |stage| stage.headers())
    }

    fn policy(&self) -> Option<&Policy> {
        match &*self.gate {
            Gate::Open { policy, .. } => Some(policy),
            Gate::Invalid => None,
        }
    }

    fn decide(&self, request: &Request, now: u64) -> Decision {
        let Some(policy) = self.policy() else {
            return Decision::config_invalid(request);
        };
        // No call of ours re-enters the VM, so the session is never borrowed twice.
        match self.session.try_borrow_mut() {
            Ok(mut session) => {
                if let Ok(mut observer) = self.observer.try_borrow_mut() {
                    session.trace = observer.trace(now);
                }
                decide(policy, request, now, &mut session)
            }
            Err(_) => self.host_failed(request),
        }
    }

    fn host_failed(&self, request: &Request) -> Decision {
        Decision::host_failed(self.policy(), request)
    }

    /// Takes out what leaves the request in any case: its client may go before it is answered, and the
    /// access log is written then. What the host refuses here, it is asked for again.
    fn withhold(&self, request: &Request) {
        if let Some(policy) = self.policy() {
            apply(MapType::HttpRequestHeaders, &while_pending(policy, request));
        }
    }

    /// Whether filter state is to hold what was decided; while no configuration is in force it does.
    fn tells_facts(&self) -> bool {
        self.policy().is_none_or(|policy| policy.filter_state == FilterState::Set)
    }

    /// Does what was decided; a request that waited has yet to be told to go on.
    fn finish<'d>(
        &self,
        request: &Request,
        decision: &'d Decision,
        now: u64,
    ) -> Option<Release<'d>> {
        let applied = apply(MapType::HttpRequestHeaders, &decision.edits);
        // What could not be applied might be a forged header that stayed.
        let failed = (!applied).then(|| self.host_failed(request));
        if let Some(failed) = &failed {
            apply(MapType::HttpRequestHeaders, &failed.edits);
        }
        let told = failed.as_ref().unwrap_or(decision);
        if self.tells_facts() {
            told.facts(host::set_property);
        }
        if let Ok(mut observer) = self.observer.try_borrow_mut() {
            observer.decided(self.policy(), request, told, now);
        }
        if let Some(failed) = &failed {
            self.release(failed.reply.as_ref());
            return None;
        }
        let release = self.release(decision.reply.as_ref());
        if let (Some(Release::Permit), Some(policy)) = (&release, self.policy())
            && decision.edits.may_change_route(|name| policy.firewall.protects(name))
        {
            host::clear_route_cache();
        }
        release
    }

    /// Ends the holding, and answers a refusal.
    fn release<'d>(&self, reply: Option<&'d Reply>) -> Option<Release<'d>> {
        let release = self.stage.try_borrow_mut().ok()?.release(reply);
        if let Some(Release::Reply(reply)) = release {
            host::send_local_reply(reply);
        }
        release
    }
}

/// Removes from the trailers what the headers lose too. Answers whether the host did all of it.
fn scrub_trailers(policy: &Policy) -> bool {
    let map = MapType::HttpRequestTrailers;
    host::header_map(map).is_some_and(|lines| apply(map, &trailers::edits(policy, lines)))
}

/// Edits headers or trailers. Answers whether the host did all of it.
fn apply(map: MapType, edits: &Edits) -> bool {
    let mut applied = true;
    for name in &edits.remove {
        applied &= host::remove_header(map, name);
    }
    for (name, lines) in &edits.set {
        for (index, line) in lines.iter().enumerate() {
            applied &= match index {
                0 => host::replace_header(map, name, line),
                _ => host::add_header(map, name, line),
            };
        }
    }
    applied
}
