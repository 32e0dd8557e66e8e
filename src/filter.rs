//! The glue to the host (wasm32 only): read, call [`decide`], apply. No decision is made here.
//!
//! One root context per configuration, one stream context per request. A stream keeps the policy that
//! it began with. A configuration that is wrong does not fail to load, which would leave Envoy without
//! a filter: the last good one stays in force, or else every request is answered 503 `config_invalid`,
//! and the log says why. A request whose keys are on their way waits for them.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MapType};

use crate::config::{FilterState, Policy};
use crate::decide::{Decision, Session, decide};
use crate::request::Request;
use crate::token::Edits;
use observe::Observer;
use parked::Parked;
use standing::Gate;

mod engine;
#[cfg(feature = "fault")]
mod fault;
mod gather;
mod host;
mod metrics;
mod observe;
mod parked;
mod remote;
mod standing;

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|id| Box::new(Root::new(id)));
}}

struct Root {
    id: u32,
    gate: Rc<Gate>,
    session: Rc<RefCell<Session>>,
    observer: Rc<RefCell<Observer>>,
    /// The timer's period in milliseconds; 0: none.
    pace: Rc<Cell<u32>>,
}

/// How often those who wait for keys are looked after, in milliseconds.
const QUICK: u32 = 10;

impl Root {
    fn new(id: u32) -> Self {
        let mut session = Session::portable();
        session.ring = remote::ring();
        let session = Rc::new(RefCell::new(session));
        // Until a configuration was read there is nothing that could be allowed.
        let gate = Rc::new(Gate::Invalid);
        Self { id, gate, session, observer: Rc::default(), pace: Rc::default() }
    }

    /// Refreshes keys, answers who has waited long enough, and winds the timer up again.
    fn refresh(&self) {
        let next = remote::tick(self.id).map(|next| u32::try_from(next.as_millis()));
        self.tell_keys();
        parked::wake();
        let pace = match next {
            _ if parked::is_anyone() => QUICK,
            Some(Ok(next)) => next.max(QUICK),
            _ => 0,
        };
        set_pace(&self.pace, pace);
    }

    fn tell_keys(&self) {
        if let Gate::Open { policy, .. } = &*self.gate
            && let Ok(mut observer) = self.observer.try_borrow_mut()
        {
            observer.fetched(policy, &self.session);
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

impl Context for Root {
    fn on_http_call_response(
        &mut self,
        token: u32,
        headers: usize,
        body_size: usize,
        _trailers: usize,
    ) {
        remote::answered(token, headers, body_size);
        self.refresh();
    }
}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        #[cfg(feature = "fault")]
        if fault::refuses(&host::plugin_configuration()) {
            return false;
        }
        let configured = standing::configure();
        self.observer = Observer::of_plugin();
        if let Gate::Open { policy, refreshes } = &configured.gate {
            // A request under way keeps its policy; which engine serves it is no matter to it.
            if let Ok(mut session) = self.session.try_borrow_mut() {
                session.engine = engine::chosen(policy.signature_engine);
            }
            if !refreshes.is_empty() {
                // Not from here: the host configures a plugin once only to see whether it will bear it.
                set_pace(&self.pace, 1);
            }
        }
        if let Ok(mut observer) = self.observer.try_borrow_mut() {
            observer.configured(&configured, &self.session);
        }
        self.gate = Rc::new(configured.gate);
        true
    }

    fn on_tick(&mut self) {
        self.refresh();
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            id: context_id,
            gate: Rc::clone(&self.gate),
            session: Rc::clone(&self.session),
            observer: Rc::clone(&self.observer),
            pace: Rc::clone(&self.pace),
            parked: None,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    id: u32,
    gate: Rc<Gate>,
    session: Rc<RefCell<Session>>,
    observer: Rc<RefCell<Observer>>,
    pace: Rc<Cell<u32>>,
    /// Its place among those who wait for keys.
    parked: Option<Rc<Parked>>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let headers = host::header_map(MapType::HttpRequestHeaders);
        // Headers that nobody could read might hold a forged identity.
        let readable = headers.is_some();
        let mut request = Request { headers: headers.unwrap_or_default(), ..Request::default() };
        #[cfg(feature = "fault")]
        fault::on_demand(&request);
        if let Gate::Open { policy, .. } = &*self.gate {
            gather::connection(policy, &mut request.connection);
        }
        let waiter = Waiter {
            stream: self.id,
            gate: Rc::clone(&self.gate),
            session: Rc::clone(&self.session),
            observer: Rc::clone(&self.observer),
            now: Cell::new(host::unix_time()),
            request,
        };
        let mut decision =
            if readable { waiter.decide() } else { Decision::host_failed(&waiter.request) };
        if remote::look(&decision.wants) {
            decision = waiter.decide();
        }
        if decision.wants.is_empty() {
            return waiter.apply(&decision);
        }
        let arrived = host::unix_millis();
        // Who asks sees what is known by then: another worker may have fetched it since the look.
        if remote::ask(&decision.wants) {
            decision = waiter.decide();
        }
        if !remote::are_coming(&decision.wants, arrived, arrived) || !parked::has_room() {
            return waiter.apply(&decision);
        }
        self.parked = Some(parked::park(waiter, decision.wants, arrived));
        set_pace(&self.pace, QUICK);
        Action::Pause
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if let Gate::Open { policy, .. } = &*self.gate
            && !scrub_trailers(policy)
        {
            if let Some(reply) = &Decision::host_failed(&Request::default()).reply {
                host::send_local_reply(reply);
            }
            return Action::Pause;
        }
        Action::Continue
    }
}

/// Removes forged identity trailers. Answers whether the host did all of it.
fn scrub_trailers(policy: &Policy) -> bool {
    let map = MapType::HttpRequestTrailers;
    host::header_map(map).is_some_and(|trailers| {
        policy.firewall.forged(&trailers).into_iter().all(|name| host::remove_header(map, name))
    })
}

/// A request and all that is needed to decide about it, now or later.
struct Waiter {
    stream: u32,
    gate: Rc<Gate>,
    session: Rc<RefCell<Session>>,
    observer: Rc<RefCell<Observer>>,
    /// When it was decided last, in seconds since 1970.
    now: Cell<u64>,
    request: Request,
}

impl Waiter {
    fn policy(&self) -> Option<&Policy> {
        match &*self.gate {
            Gate::Open { policy, .. } => Some(policy),
            Gate::Invalid => None,
        }
    }

    fn decide(&self) -> Decision {
        let Some(policy) = self.policy() else {
            return Decision::config_invalid(&self.request);
        };
        let now = self.now.get();
        // No call of ours re-enters the VM, so the session is never borrowed twice.
        match self.session.try_borrow_mut() {
            Ok(mut session) => {
                if let Ok(mut observer) = self.observer.try_borrow_mut() {
                    session.trace = observer.trace(now);
                }
                decide(policy, &self.request, now, &mut session)
            }
            Err(_) => Decision::host_failed(&self.request),
        }
    }

    /// Decides anew, at the time that it is by then.
    fn decide_again(&self) -> Decision {
        self.now.set(host::unix_time());
        self.decide()
    }

    fn apply(self, decision: &Decision) -> Action {
        let action = if self.finish(decision) { Action::Continue } else { Action::Pause };
        host::recycle(self.request.headers);
        action
    }

    /// Whether filter state is to hold what was decided; while no configuration is in force it does.
    fn tells_facts(&self) -> bool {
        self.policy().is_none_or(|policy| policy.filter_state == FilterState::Set)
    }

    /// Does what was decided. Answers whether the request goes on.
    fn finish(&self, decision: &Decision) -> bool {
        let applied = apply(&decision.edits);
        // What could not be applied might be a forged header that stayed.
        let failed = (!applied).then(|| Decision::host_failed(&self.request));
        let decision = failed.as_ref().unwrap_or(decision);
        if self.tells_facts() {
            decision.facts(host::set_property);
        }
        if let Ok(mut observer) = self.observer.try_borrow_mut() {
            observer.decided(self.policy(), &self.request, decision, self.now.get());
        }
        if let Some(reply) = &decision.reply {
            host::send_local_reply(reply);
        }
        decision.reply.is_none()
    }
}

/// Edits the headers. Answers whether the host did all of it.
fn apply(edits: &Edits) -> bool {
    let map = MapType::HttpRequestHeaders;
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
