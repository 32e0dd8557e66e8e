//! A root context: a plugin with one configuration. It has the timer, and makes the calls for keys.
//!
//! An invalid configuration does not fail to load, which would leave the proxy without a filter: the last good one
//! stays in force, or else every request is refused, and the log says why.

use std::cell::RefCell;
use std::rc::Rc;

use usher_core::decide::WorkerState;
use usher_core::remote::JwksCache;

use crate::active_config::{self, ActiveConfig};
use crate::host::Host;
use crate::observer::{Observer, Observers};
use crate::stream::Stream;
use crate::timer::{AT_ONCE, Timer};
use crate::worker::Worker;

/// One root context.
pub(crate) struct Root {
    pub(crate) id: u32,
    active: RefCell<Rc<ActiveConfig>>,
    worker_state: Rc<RefCell<WorkerState>>,
    observer: RefCell<Rc<RefCell<Observer>>>,
    pub(crate) timer: Rc<Timer>,
}

impl Root {
    pub(crate) fn new(id: u32, jwks_cache: JwksCache) -> Self {
        let mut worker_state = WorkerState::portable();
        worker_state.jwks_cache = jwks_cache;
        let worker_state = Rc::new(RefCell::new(worker_state));
        // Until a configuration was read, no request can be allowed.
        let active = RefCell::new(Rc::new(ActiveConfig::None));
        Self { id, active, worker_state, observer: RefCell::default(), timer: Rc::default() }
    }

    /// A stream, which keeps the configuration that it began with.
    pub(crate) fn stream(&self, id: u32) -> Stream {
        Stream::new(
            id,
            self.active(),
            Rc::clone(&self.worker_state),
            self.observer(),
            Rc::clone(&self.timer),
        )
    }

    /// Reads the host's configuration for it. Returns whether the host may use the plugin.
    pub(crate) fn on_configure<H: Host>(&self, worker: &Worker<H>, observers: &Observers) -> bool {
        #[cfg(feature = "fault")]
        if crate::fault::refuses(&worker.host.plugin_configuration()) {
            return false;
        }
        let configured = active_config::configure(worker);
        let observer = observers.of_plugin(&worker.host);
        if let ActiveConfig::InForce { policy, refreshes } = &configured.active {
            // A request in progress keeps its policy; the engine makes no difference to it.
            if let Ok(mut worker_state) = self.worker_state.try_borrow_mut() {
                worker_state.engine =
                    worker.engine.chosen(&worker.host, policy.settings.signature_engine);
            }
            if !refreshes.is_empty() {
                // Not from here: the host also configures a plugin just to check whether it can.
                self.timer.set(&worker.host, AT_ONCE);
            }
        }
        if let Ok(mut observer) = observer.try_borrow_mut() {
            observer.configured(worker, &configured, &self.worker_state);
        }
        self.observer.replace(observer);
        self.active.replace(Rc::new(configured.active));
        true
    }

    /// Refreshes keys. Returns when to call again, in milliseconds.
    pub(crate) fn refresh<H: Host>(&self, worker: &Worker<H>) -> Option<u32> {
        let next = worker.key_sets.tick(&worker.host, self.id);
        self.report_keys(worker);
        next.and_then(|next| u32::try_from(next.as_millis()).ok())
    }

    /// The context ends, and its timer and calls with it.
    pub(crate) fn end<H: Host>(&self, worker: &Worker<H>) {
        self.timer.end(&worker.host);
        worker.key_sets.abandon(&worker.host, self.id);
    }

    fn report_keys<H: Host>(&self, worker: &Worker<H>) {
        if let ActiveConfig::InForce { policy, .. } = &*self.active()
            && let Ok(mut observer) = self.observer().try_borrow_mut()
        {
            observer.fetched(worker, policy, &self.worker_state);
        }
    }

    fn active(&self) -> Rc<ActiveConfig> {
        self.active
            .try_borrow()
            .map_or_else(|_| Rc::new(ActiveConfig::None), |active| Rc::clone(&active))
    }

    fn observer(&self) -> Rc<RefCell<Observer>> {
        self.observer.try_borrow().map_or_else(|_| Rc::default(), |observer| Rc::clone(&observer))
    }
}
