//! The glue to the host (wasm32 only): read, call [`decide`], apply. No decision is made here.
//!
//! One root context per configuration, one stream context per request. A stream keeps the policy that
//! it began with. A configuration that is wrong does not fail to load, which would leave Envoy without
//! a filter or with an old one: it answers every request 503 `config_invalid`, and the log says why.

use std::cell::RefCell;
use std::rc::Rc;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel, MapType};

use crate::config::Policy;
use crate::decide::{Decision, Session, decide};
use crate::request::Request;
use crate::token::Edits;

mod engine;
mod gather;
mod host;

/// What a configuration came to.
enum Gate {
    Invalid,
    Open(Policy),
}

proxy_wasm::main! {{
    proxy_wasm::set_log_level(LogLevel::Info);
    proxy_wasm::set_root_context(|_| Box::new(Root::new()));
}}

struct Root {
    gate: Rc<Gate>,
    session: Rc<RefCell<Session>>,
}

impl Root {
    fn new() -> Self {
        // Until a configuration was read there is nothing that could be allowed.
        Self { gate: Rc::new(Gate::Invalid), session: Rc::new(RefCell::new(Session::portable())) }
    }
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        self.gate = Rc::new(match Policy::from_json(&text) {
            Ok(loaded) => {
                for warning in &loaded.warnings {
                    log::warn!("usher: configuration: {warning}");
                }
                log::info!("usher: configuration in force");
                // A request under way keeps its policy; which engine serves it is no matter to it.
                if let Ok(mut session) = self.session.try_borrow_mut() {
                    session.engine = engine::chosen(loaded.policy.signature_engine);
                }
                Gate::Open(loaded.policy)
            }
            Err(problems) => {
                for problem in &problems {
                    log::warn!("usher: invalid configuration: {problem}");
                }
                Gate::Invalid
            }
        });
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        let gate = Rc::clone(&self.gate);
        Some(Box::new(Stream { gate, session: Rc::clone(&self.session) }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream {
    gate: Rc<Gate>,
    session: Rc<RefCell<Session>>,
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let headers = host::header_map(MapType::HttpRequestHeaders);
        // Headers that nobody could read might hold a forged identity.
        let readable = headers.is_some();
        let mut request = Request { headers: headers.unwrap_or_default(), ..Request::default() };
        let decision =
            if readable { self.decide(&mut request) } else { Decision::host_failed(&request) };
        if let Some(line) = &decision.log {
            log::warn!("{line}");
        }
        let applied = apply(&decision.edits);
        // What could not be applied might be a forged header that stayed.
        let failed = (!applied).then(|| Decision::host_failed(&request));
        let decision = failed.as_ref().unwrap_or(&decision);
        for (name, value) in decision.facts() {
            host::set_property(name, &value);
        }
        match decision.reply.as_ref() {
            None => Action::Continue,
            Some(reply) => {
                host::send_local_reply(reply);
                Action::Pause
            }
        }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        if let Gate::Open(policy) = &*self.gate
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

impl Stream {
    fn decide(&self, request: &mut Request) -> Decision {
        let Gate::Open(policy) = &*self.gate else {
            return Decision::config_invalid(request);
        };
        gather::connection(policy, &mut request.connection);
        let now = host::unix_time();
        // No call of ours re-enters the VM, so the session is never borrowed twice.
        match self.session.try_borrow_mut() {
            Ok(mut session) => decide(policy, request, now, &mut session),
            Err(_) => Decision::host_failed(request),
        }
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
