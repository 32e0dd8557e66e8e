//! One VM of the proxy, which is one of its workers: its contexts, and what they share.
//!
//! The host calls it for a context, by the context's number: a root context is a plugin with one configuration, a
//! stream context is one request. No borrow is held during a callback, so that a host that ends a stream from within
//! another's callback finds the tables free. An unknown context is not a fault: a call for a root is ignored, a stream
//! is held, or refused.

use std::cell::RefCell;
use std::rc::Rc;

use usher_core::hash::FastMap;

use crate::host::Host;
use crate::observer::Observers;
use crate::root::Root;
use crate::stage::{HeadersStatus, TrailersStatus};
use crate::stream::Stream;
use crate::timer::{AT_ONCE, QUICK};
use crate::worker::Worker;

/// A worker's filter.
pub struct Vm<H> {
    worker: Worker<H>,
    observers: Observers,
    // The host assigns their numbers.
    roots: RefCell<FastMap<u32, Rc<Root>>>,
    streams: RefCell<FastMap<u32, Rc<Stream>>>,
}

impl<H: Host> Vm<H> {
    /// A VM without contexts.
    pub fn new(host: H) -> Self {
        Self {
            worker: Worker::new(host),
            observers: Observers::default(),
            roots: RefCell::default(),
            streams: RefCell::default(),
        }
    }

    /// A context begins: a root (`root_id` is 0), or a stream of one.
    pub fn on_context_create(&self, id: u32, root_id: u32) {
        let new = |id| Rc::new(Root::new(id, self.worker.key_sets.jwks_cache()));
        if root_id == 0 {
            let former = self.roots.try_borrow_mut().ok().and_then(|mut r| r.insert(id, new(id)));
            self.end(former);
        } else {
            // A stream of a root that is gone, or never existed, has no configuration: it is refused.
            let root = self.root(root_id).unwrap_or_else(|| new(root_id));
            let stream = Rc::new(root.stream(id));
            // Dropped when the table is free again.
            let former = self.streams.try_borrow_mut().ok().and_then(|mut s| s.insert(id, stream));
            drop(former);
        }
    }

    /// The root's configuration has arrived. Returns whether the host may use the plugin. It may with an invalid
    /// configuration too: then requests are refused.
    pub fn on_configure(&self, id: u32) -> bool {
        self.root(id).is_some_and(|root| root.on_configure(&self.worker, &self.observers))
    }

    /// The root's timer.
    pub fn on_tick(&self, id: u32) {
        if let Some(root) = self.root(id) {
            self.refresh(&root);
        }
    }

    /// The response to an HTTP call of the root, with this number of header lines (0: no response) and this body size.
    pub fn on_http_call_response(&self, id: u32, call: u32, headers: usize, body_size: usize) {
        if let Some(root) = self.root(id) {
            let (key_sets, host) = (&self.worker.key_sets, &self.worker.host);
            key_sets.answered(host, call, headers, body_size);
            self.refresh(&root);
        }
    }

    /// A request's headers have arrived.
    pub fn on_request_headers(&self, id: u32, end_of_stream: bool) -> HeadersStatus {
        match self.stream(id) {
            Some(stream) => stream.on_request_headers(&self.worker, end_of_stream),
            None => HeadersStatus::StopAllIterationAndWatermark,
        }
    }

    /// A request's trailers have arrived.
    pub fn on_request_trailers(&self, id: u32) -> TrailersStatus {
        match self.stream(id) {
            Some(stream) => stream.on_request_trailers(&self.worker),
            None => TrailersStatus::StopIteration,
        }
    }

    /// A context ends.
    pub fn on_delete(&self, id: u32) {
        // Each is dropped here, when the table is free again.
        let stream = self.streams.try_borrow_mut().ok().and_then(|mut s| s.remove(&id));
        drop(stream);
        let root = self.roots.try_borrow_mut().ok().and_then(|mut r| r.remove(&id));
        self.end(root);
    }

    /// Refreshes keys, answers requests that have waited long enough, and restarts the root's timer.
    fn refresh(&self, root: &Root) {
        if !root.timer.has_ended() {
            let next = root.refresh(&self.worker);
            let period = match next {
                _ if self.wake(root.id) => AT_ONCE,
                _ if self.worker.pending.is_any() => QUICK,
                Some(next) => next.max(QUICK),
                None => 0,
            };
            root.timer.set(&self.worker.host, period);
        }
        // The host may have ended it meanwhile; then a call made since is lost like those before.
        if root.timer.has_ended() {
            root.end(&self.worker);
        }
    }

    /// Decides again some requests whose keys have arrived, or will not, and answers them. Returns whether there are
    /// more of them: they must be taken in separate callbacks, see [`crate::pending::queue::BATCH`].
    fn wake(&self, root: u32) -> bool {
        let host = &self.worker.host;
        let (epoch, now) = (self.worker.key_sets.epoch(), host.unix_millis());
        let Some(batch) = self.worker.pending.batch(epoch, now) else { return true };
        for wait in &batch.due {
            if let Some(stream) = self.stream(wait.stream)
                && host.set_effective_context(wait.stream)
            {
                stream.proceed(&self.worker);
            }
        }
        if !batch.due.is_empty() {
            // From here on calls apply to the root again, for its timer: the last stream may be another plugin's.
            host.set_effective_context(root);
        }
        batch.more
    }

    /// The stream of this context.
    fn stream(&self, id: u32) -> Option<Rc<Stream>> {
        self.streams.try_borrow().ok()?.get(&id).cloned()
    }

    fn root(&self, id: u32) -> Option<Rc<Root>> {
        self.roots.try_borrow().ok()?.get(&id).cloned()
    }

    fn end(&self, root: Option<Rc<Root>>) {
        if let Some(root) = root {
            root.end(&self.worker);
        }
    }
}
