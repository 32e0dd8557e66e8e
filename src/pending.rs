//! Requests that wait for keys: held, decided again when keys come, and answered when they do not.
//!
//! The queue is [`queue`]'s; here is what each waits for, and whose turn it is. A stream that ends takes its place in the
//! queue along, so no request is resumed that is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use usher_core::remote::MissingKey;
use usher_core::time::UnixMillis;

use crate::key_sets::{Awaited, KeySets};
use queue::{Batch, PendingRequests, Place};

pub mod queue;

type Queue = Rc<RefCell<PendingRequests<Rc<Wait>>>>;

/// The requests of a worker that wait.
#[derive(Default)]
pub(crate) struct Pending {
    queue: Queue,
}

/// What a request waits for.
pub(crate) struct Wait {
    /// The context of its stream.
    pub(crate) stream: u32,
    /// When it came.
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

/// Whether keys that a request lacked, which came at `arrived`, may still come in time.
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

    /// Lets the request of `stream` wait; `None` where as many wait as may.
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

    /// The next of those whose keys have come, or will not; `None` where the queue is at work.
    pub(crate) fn batch(&self, epoch: u64, now: UnixMillis) -> Option<Batch<Rc<Wait>>> {
        self.queue.try_borrow_mut().ok().map(|mut q| q.batch(|wait| wait.is_due(epoch, now)))
    }
}

impl Wait {
    /// Whether there is something to decide: most of the time nothing has changed, and many may wait.
    fn is_due(&self, epoch: u64, now: UnixMillis) -> bool {
        self.epoch.get() != epoch
            || self.awaited.try_borrow().is_ok_and(|awaited| {
                !awaited.iter().any(|awaited| awaited.are_coming(self.arrived, now))
            })
    }
}

impl Ticket {
    /// Goes on waiting for what a decision lacks by now. Returns whether that may still come.
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
