//! Requests that wait for keys: held, decided again when keys come, and answered when they do not.
//!
//! The queue is [`crate::pending`]'s; here is what each waits for, and whose turn it is. A stream that ends
//! takes its place in the queue along, so no request is resumed that is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::{exports, host, remote};
use crate::pending::{PendingRequests, Place};
use usher_core::remote::{Millis, Want};

thread_local! {
    static QUEUE: RefCell<PendingRequests<Rc<Wait>>> = RefCell::default();
}

/// What a request waits for.
pub(super) struct Wait {
    stream: u32,
    /// When it came.
    arrived: Millis,
    /// The keys, as of the ring's epoch.
    awaited: RefCell<Vec<remote::Awaited>>,
    epoch: Cell<u64>,
}

/// A request's place in the queue, which it leaves when this is dropped.
pub(super) struct Ticket {
    wait: Rc<Wait>,
    place: Place,
}

/// Whether any request waits.
pub(super) fn is_any() -> bool {
    QUEUE.with(|queue| queue.try_borrow().is_ok_and(|queue| !queue.is_empty()))
}

/// Lets the request of `stream` wait; `None` where as many wait as may.
pub(super) fn join(stream: u32, wants: &[Want], arrived: Millis) -> Option<Ticket> {
    let (awaited, epoch) = (RefCell::new(remote::awaited(wants)), Cell::new(remote::epoch()));
    let wait = Rc::new(Wait { stream, arrived, awaited, epoch });
    let place = QUEUE.with(|queue| queue.try_borrow_mut().ok()?.join(Rc::clone(&wait)))?;
    Some(Ticket { wait, place })
}

/// Whether keys that a request lacked, which came at `arrived`, may still come in time.
pub(super) fn are_coming(wants: &[Want], arrived: Millis, now: Millis) -> bool {
    remote::awaited(wants).iter().any(|awaited| awaited.are_coming(arrived, now))
}

/// Decides again about some of those whose keys have come, or will not, and answers them. Answers whether
/// there are more of them: they have to be taken in a callback of their own, see [`crate::pending::BATCH`].
pub(super) fn wake(root: u32) -> bool {
    let (epoch, now) = (remote::epoch(), host::unix_millis());
    let batch = QUEUE.with(|queue| {
        let queue = queue.try_borrow_mut();
        queue.map(|mut queue| queue.batch(|wait| wait.is_due(epoch, now))).ok()
    });
    let Some(batch) = batch else { return true };
    for wait in &batch.due {
        if let Some(stream) = exports::stream(wait.stream)
            && host::set_effective_context(wait.stream)
        {
            stream.proceed();
        }
    }
    if !batch.due.is_empty() {
        // What follows is about the root again, as its timer: the last stream may be another plugin's.
        host::set_effective_context(root);
    }
    batch.more
}

impl Wait {
    /// Whether there is something to decide: most of the time nothing has changed, and many may wait.
    fn is_due(&self, epoch: u64, now: Millis) -> bool {
        self.epoch.get() != epoch
            || self.awaited.try_borrow().is_ok_and(|awaited| {
                !awaited.iter().any(|awaited| awaited.are_coming(self.arrived, now))
            })
    }
}

impl Ticket {
    /// Goes on waiting for what a decision lacks by now. Answers whether that may still come.
    pub(super) fn renew(&self, wants: &[Want]) -> bool {
        self.wait.epoch.set(remote::epoch());
        let Ok(mut awaited) = self.wait.awaited.try_borrow_mut() else { return false };
        *awaited = remote::awaited(wants);
        let now = host::unix_millis();
        awaited.iter().any(|awaited| awaited.are_coming(self.wait.arrived, now))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        QUEUE.with(|queue| {
            if let Ok(mut queue) = queue.try_borrow_mut() {
                queue.leave(self.place);
            }
        });
    }
}
