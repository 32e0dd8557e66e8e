//! A worker of a proxy, as a value: one VM of the filter, which is called as Envoy calls it.
//!
//! What a callback asked for is done when it has returned, in the order in which it was asked for; an answered or reset
//! stream is deleted, which enters the VM again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use usher::stage::{HeadersStatus, TrailersStatus};
use usher::vm::Vm;
use usher_core::time::Millis;

use crate::fake_host::{Action, Call, FakeHost, SharedData, Stream, lines};

/// A worker of the proxy: a VM, and the host that it knows.
pub struct Proxy {
    /// The host.
    pub host: FakeHost,
    vm: Rc<Vm<FakeHost>>,
    next: Cell<u32>,
    passed: RefCell<Vec<u32>>,
}

impl Proxy {
    /// A worker at this time, which shares `shared` with the others.
    pub fn new(now: Millis, shared: &SharedData) -> Self {
        let host = FakeHost::new(now, shared);
        let vm = Rc::new(Vm::new(host.clone()));
        Self { host, vm, next: Cell::new(1), passed: RefCell::default() }
    }

    /// The VM, for a host that enters it again.
    pub fn vm(&self) -> Rc<Vm<FakeHost>> {
        Rc::clone(&self.vm)
    }

    /// A plugin begins with this configuration; its root context, and whether the VM accepts it.
    pub fn configure(&self, plugin: &str, configuration: &str) -> (u32, bool) {
        let root = self.number();
        self.host.add_root(root, plugin, configuration);
        self.host.enter(root);
        self.vm.on_context_create(root, 0);
        let loaded = self.vm.on_configure(root);
        self.host.leave();
        (root, loaded)
    }

    /// A request of this plugin begins, which will have these headers and trailers.
    pub fn begin(&self, root: u32, headers: &[(&str, &str)], trailers: &[(&str, &str)]) -> u32 {
        let id = self.number();
        let (headers, trailers) = (lines(headers), lines(trailers));
        let sent = headers.clone();
        let stream = Stream { root, sent, headers, trailers, held: true, ..Stream::default() };
        self.host.add_stream(id, stream);
        self.host.enter(id);
        self.vm.on_context_create(id, root);
        self.host.leave();
        id
    }

    /// A request without a body; its number.
    pub fn get(&self, root: u32, headers: &[(&str, &str)]) -> u32 {
        let id = self.begin(root, headers, &[]);
        self.headers(id, true);
        id
    }

    /// Its headers come, if they did not before.
    pub fn headers(&self, id: u32, end_of_stream: bool) {
        let mut again = false;
        let known = self.host.stream(id, |s| again = std::mem::replace(&mut s.came.headers, true));
        if !known || again {
            return;
        }
        self.host.enter(id);
        let status = self.vm.on_request_headers(id, end_of_stream);
        self.host.leave();
        self.settle();
        if status == HeadersStatus::Continue {
            self.go_on(id);
        }
    }

    /// Some of its body comes: the filter does not see it.
    pub fn body(&self, id: u32) {
        self.host.stream(id, |stream| {
            stream.came.body = true;
            stream.service.body |= !stream.held && stream.reply.is_none();
        });
    }

    /// Its trailers come: the filter sees them when its headers have gone on.
    pub fn trailers(&self, id: u32) {
        let mut shown = false;
        self.host.stream(id, |stream| {
            stream.came.trailers = true;
            shown = !stream.held;
        });
        if shown {
            self.show_trailers(id);
        }
    }

    /// Its trailers come, even ahead of its headers: no host should do so.
    pub fn show_trailers(&self, id: u32) {
        if !self.host.stream(id, |stream| stream.came.trailers = true) {
            return;
        }
        self.host.enter(id);
        let status = self.vm.on_request_trailers(id);
        self.host.leave();
        self.settle();
        self.host.stream(id, |stream| {
            if status == TrailersStatus::Continue && !stream.held && stream.reply.is_none() {
                stream.service.trailers.get_or_insert(stream.trailers.clone());
            }
        });
    }

    /// Its client goes.
    pub fn reset(&self, id: u32) {
        if self.host.stream(id, |stream| stream.gone = true) {
            self.vm.on_delete(id);
            self.settle();
        }
    }

    /// A plugin ends.
    pub fn end(&self, root: u32) {
        self.host.enter(root);
        self.vm.on_delete(root);
        self.host.leave();
        self.host.forget(root);
        self.settle();
    }

    /// Time passes, without a tick.
    pub fn pass(&self, time: Duration) {
        self.host.pass(Millis::try_from(time.as_millis()).unwrap());
    }

    /// Time passes until the plugin's timer ticks, if it is set.
    pub fn tick(&self, root: u32) {
        if let Some(time) = self.host.next_tick(root) {
            self.host.pass(time);
            self.host.enter(root);
            self.vm.on_tick(root);
            self.host.leave();
            self.host.wind_up(root);
            self.settle();
        }
    }

    /// The calls that wait for a response.
    pub fn calls(&self) -> Vec<Call> {
        self.host.calls()
    }

    /// The oldest call is answered so; `None`: it has failed. Returns whether there was one.
    pub fn respond(&self, response: Option<(u16, &str)>) -> bool {
        let Some(call) = self.host.take_call() else { return false };
        let response =
            response.map(|(status, body)| (lines(&[(":status", &status.to_string())]), body));
        let headers = response.as_ref().map_or(0, |(headers, _)| headers.len());
        let size = response.as_ref().map_or(0, |(_, body)| body.len());
        let response = response.map(|(headers, body)| (headers, body.as_bytes().to_vec()));
        self.host.set_response(response);
        self.host.enter(call.root);
        self.vm.on_http_call_response(call.root, call.number, headers, size);
        self.host.leave();
        self.host.set_response(None);
        self.settle();
        true
    }

    /// The state of a request, or the last one of a request that is gone.
    pub fn stream(&self, id: u32) -> Option<Stream> {
        self.host.known_stream(id)
    }

    /// The requests whose headers went on, in that order.
    pub fn passed(&self) -> Vec<u32> {
        self.passed.borrow().clone()
    }

    /// A request ends and is forgotten.
    pub fn finish(&self, id: u32) {
        self.reset(id);
        self.host.remove_stream(id);
    }

    /// Its status for the client: of the answer, or 200 where its headers went on; `None` while it is held.
    pub fn status(&self, id: u32) -> Option<u16> {
        let stream = self.stream(id)?;
        let reply = stream.reply.map(|reply| reply.status);
        reply.or(stream.service.headers.map(|_| 200))
    }

    /// Does what callbacks have asked for, first in, first out. Each may enter the VM again, which does the rest.
    fn settle(&self) {
        while let Some((id, action)) = self.host.take_action() {
            match action {
                Action::Continue => self.go_on(id),
                Action::Reply(reply) => {
                    if self.host.stream(id, |stream| stream.reply = Some(reply)) {
                        self.reset(id);
                    }
                }
            }
        }
    }

    /// Lets the headers of a request that is held go on, and what came behind them.
    fn go_on(&self, id: u32) {
        let (mut passes, mut trailers) = (false, false);
        self.host.stream(id, |stream| {
            passes = stream.reply.is_none() && stream.held && stream.came.headers;
            if passes {
                stream.held = false;
                stream.service.headers = Some(stream.headers.clone());
                stream.service.body |= stream.came.body;
                trailers = stream.came.trailers;
            }
        });
        if passes {
            self.passed.borrow_mut().push(id);
        }
        if trailers {
            self.show_trailers(id);
        }
    }

    fn number(&self) -> u32 {
        self.next.replace(self.next.get() + 1)
    }
}
