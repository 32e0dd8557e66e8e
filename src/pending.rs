//! Requests that wait for keys: held, decided again when keys arrive, and answered when they do not.
//!
//! [`queue`] has the queue; this module has the keys that each request waits for, and which request is next. A stream
//! that ends leaves the queue, so that no request is resumed that is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use usher_core::remote::MissingKey;
use usher_core::time::UnixMillis;

use crate::key_sets::{Awaited, KeySets};
use queue::{Batch, PendingRequests, Place};

pub mod queue;

type Queue = Rc<RefCell<PendingRequests<Rc<Wait>>>>;

/// The waiting requests of a worker.
#[derive(Default)]
pub(crate) struct Pending {
    queue: Queue,
}

/// What a request waits for.
pub(crate) struct Wait {
    /// The context of its stream.
    pub(crate) stream: u32,
    /// When it arrived.
    arrived: UnixMillis,
    /// The keys, as of the JWKS cache's epoch.
    awaited: RefCell<Vec<Awaited>>,
    epoch: Cell<u64>,
}

/// A request's place in the queue, which it leaves when this is dropped.
pub(crate) struct Ticket {
    wait: Rc<Wait>,
    place: Place,
    queue: Queue,
}

/// Whether keys that a request lacked, which arrived at `arrived`, may still arrive in time.
pub(crate) fn are_coming(
    key_sets: &KeySets,
    missing_keys: &[MissingKey],
    arrived: UnixMillis,
    now: UnixMillis,
) -> bool {
    key_sets.awaited(missing_keys).iter().any(|awaited| awaited.are_coming(arrived, now))
}

impl Pending {
    /// Whether any request waits.
    pub(crate) fn is_any(&self) -> bool {
        self.queue.try_borrow().is_ok_and(|queue| !queue.is_empty())
    }

    /// Makes the request of `stream` wait; `None` if the maximum number wait already.
    pub(crate) fn join(
        &self,
        key_sets: &KeySets,
        stream: u32,
        missing_keys: &[MissingKey],
        arrived: UnixMillis,
    ) -> Option<Ticket> {
        let awaited = RefCell::new(key_sets.awaited(missing_keys));
        let epoch = Cell::new(key_sets.epoch());
        let wait = Rc::new(Wait { stream, arrived, awaited, epoch });
        let place = self.queue.try_borrow_mut().ok()?.join(Rc::clone(&wait))?;
        Some(Ticket { wait, place, queue: Rc::clone(&self.queue) })
    }

    /// The next requests whose keys have arrived, or will not; `None` if the queue is in use.
    pub(crate) fn batch(&self, epoch: u64, now: UnixMillis) -> Option<Batch<Rc<Wait>>> {
        self.queue.try_borrow_mut().ok().map(|mut q| q.batch(|wait| wait.is_due(epoch, now)))
    }
}

impl Wait {
    /// Whether there is something to decide: most of the time nothing has changed, and many requests may wait.
    fn is_due(&self, epoch: u64, now: UnixMillis) -> bool {
        self.epoch.get() != epoch
            || self.awaited.try_borrow().is_ok_and(|awaited| {
                !awaited.iter().any(|awaited| awaited.are_coming(self.arrived, now))
            })
    }
}

impl Ticket {
    /// Continues to wait, for the keys that a decision lacks now. Returns whether they may still arrive.
    pub(crate) fn renew(
        &self,
        key_sets: &KeySets,
        missing_keys: &[MissingKey],
        now: UnixMillis,
    ) -> bool {
        self.wait.epoch.set(key_sets.epoch());
        let Ok(mut awaited) = self.wait.awaited.try_borrow_mut() else { return false };
        *awaited = key_sets.awaited(missing_keys);
        awaited.iter().any(|awaited| awaited.are_coming(self.wait.arrived, now))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Ok(mut queue) = self.queue.try_borrow_mut() {
            queue.leave(self.place);
        }
    }
}
