//! Requests that wait for keys: paused, decided again when keys come, and answered when they do not.
//!
//! A stream that ends while it waits takes its place in the queue along: only a weak reference is
//! there, so nobody is resumed who is gone.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

use super::{Waiter, host, remote};
use crate::remote::{Millis, Want};

thread_local! {
    static QUEUE: RefCell<Vec<Weak<Parked>>> = RefCell::default();
}

/// How many may wait in a worker: each keeps its headers (of 60 KiB at most, as Envoy has it), and a
/// client may send what never gets its keys.
const MOST: usize = 1024;

/// A request that waits.
pub(super) struct Parked {
    pub(super) waiter: Waiter,
    /// When it came.
    arrived: Millis,
    /// The keys that it waits for, as of the ring's epoch.
    wants: RefCell<Vec<Want>>,
    epoch: Cell<u64>,
    /// Whether it was answered.
    done: Cell<bool>,
}

/// Whether anyone waits.
pub(super) fn is_anyone() -> bool {
    QUEUE.with(|queue| {
        queue.try_borrow().is_ok_and(|queue| queue.iter().any(|parked| parked.strong_count() > 0))
    })
}

/// Whether there is room for one more.
pub(super) fn has_room() -> bool {
    QUEUE.with(|queue| {
        queue.try_borrow_mut().is_ok_and(|mut queue| {
            queue.retain(|parked| parked.strong_count() > 0);
            queue.len() < MOST
        })
    })
}

/// Lets a request wait. The stream keeps what it gets.
pub(super) fn park(waiter: Waiter, wants: Vec<Want>, arrived: Millis) -> Rc<Parked> {
    let (wants, epoch) = (RefCell::new(wants), Cell::new(remote::epoch()));
    let parked = Rc::new(Parked { waiter, arrived, wants, epoch, done: Cell::new(false) });
    QUEUE.with(|queue| {
        if let Ok(mut queue) = queue.try_borrow_mut() {
            queue.push(Rc::downgrade(&parked));
        }
    });
    parked
}

/// Decides again about everyone who waits, and answers those who need wait no longer.
pub(super) fn wake() {
    let waiting: Vec<Rc<Parked>> = QUEUE.with(|queue| {
        let queue = queue.try_borrow();
        queue.map(|queue| queue.iter().filter_map(Weak::upgrade).collect()).unwrap_or_default()
    });
    for parked in waiting {
        // The host ends no stream while we run, so each of them is still there.
        if host::set_effective_context(parked.waiter.stream) {
            parked.proceed();
        }
    }
    QUEUE.with(|queue| {
        if let Ok(mut queue) = queue.try_borrow_mut() {
            queue.retain(|parked| parked.upgrade().is_some_and(|parked| !parked.done.get()));
        }
    });
}

impl Parked {
    /// As the stream's effective context.
    fn proceed(&self) {
        if self.done.get() {
            return;
        }
        let (epoch, now) = (remote::epoch(), host::unix_millis());
        let waits = |wants: &[Want]| remote::are_coming(wants, self.arrived, now);
        // Most of the time nothing has changed, and there may be many.
        if self.epoch.replace(epoch) == epoch
            && self.wants.try_borrow().is_ok_and(|wants| waits(&wants))
        {
            return;
        }
        let decision = self.waiter.decide_again();
        if waits(&decision.wants) {
            if let Ok(mut wants) = self.wants.try_borrow_mut() {
                *wants = decision.wants;
            }
            return;
        }
        self.done.set(true);
        if self.waiter.finish(&decision) {
            host::continue_request();
        }
    }
}
