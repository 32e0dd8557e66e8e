//! Requests that wait for keys, in order of their arrival.
//!
//! A worker holds at most [`MAX_PENDING`] of them, and a wake-up takes a batch of at most [`BATCH`]: a host may
//! carry out what a callback requested only after that callback has ended, one request nested in the other. The
//! next callbacks take the rest, each continuing where the last one ended, so that each request gets its turn.

use std::collections::BTreeMap;

/// How many may wait in a worker: each keeps its headers (at most 60 KiB in Envoy), and a client may send
/// tokens whose keys never arrive.
pub const MAX_PENDING: usize = 1024;

/// How many a callback decides again. Envoy runs the local replies and continuations of a callback after it has
/// returned, and each that ends a stream enters the module once more, nested in the one before: some 310 of
/// them overflow V8's stack, which is a fault of the whole worker.
pub const BATCH: usize = 32;

/// A position in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(u64);

/// The waiting requests, each with what it waits for.
#[derive(Debug)]
pub struct PendingRequests<W> {
    waiting: BTreeMap<Place, W>,
    next: Place,
    /// Where the next batch begins.
    cursor: Place,
}

/// Some of the waiting requests.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<W> {
    /// In order of arrival, except for those that the last batches have passed over.
    pub due: Vec<W>,
    /// Whether there are more of them.
    pub more: bool,
}

impl<W> Default for PendingRequests<W> {
    fn default() -> Self {
        Self { waiting: BTreeMap::new(), next: Place(0), cursor: Place(0) }
    }
}

impl<W: Clone> PendingRequests<W> {
    /// Whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Adds a request; `None` if the maximum number wait already.
    pub fn join(&mut self, wait: W) -> Option<Place> {
        if self.waiting.len() >= MAX_PENDING {
            return None;
        }
        let place = self.next;
        self.next = Place(place.0.wrapping_add(1));
        self.waiting.insert(place, wait);
        Some(place)
    }

    /// Removes a request: it was answered, or its stream has ended.
    pub fn leave(&mut self, place: Place) {
        self.waiting.remove(&place);
    }

    /// The next requests that are due.
    pub fn batch(&mut self, mut is_due: impl FnMut(&W) -> bool) -> Batch<W> {
        let mut batch = Batch { due: Vec::new(), more: false };
        let turn = self.waiting.range(self.cursor..).chain(self.waiting.range(..self.cursor));
        for (place, wait) in turn {
            if !is_due(wait) {
                continue;
            }
            if batch.due.len() == BATCH {
                batch.more = true;
                self.cursor = *place;
                break;
            }
            batch.due.push(wait.clone());
        }
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(count: usize) -> (PendingRequests<usize>, Vec<Place>) {
        let mut pending = PendingRequests::default();
        let places = (0..count).map(|n| pending.join(n).unwrap()).collect();
        (pending, places)
    }

    #[test]
    fn one_more_than_may_wait_does_not() {
        let (mut pending, places) = waiting(MAX_PENDING);
        assert_eq!(pending.join(0), None);
        pending.leave(places[500]);
        assert!(pending.join(0).is_some(), "a place is free again");
        assert_eq!(pending.join(0), None);
    }

    #[test]
    fn who_leaves_is_in_no_batch() {
        let (mut pending, places) = waiting(3);
        pending.leave(places[1]);
        pending.leave(places[1]);
        assert_eq!(pending.batch(|_| true), Batch { due: vec![0, 2], more: false });
        places.into_iter().for_each(|place| pending.leave(place));
        assert!(pending.is_empty());
        assert_eq!(pending.batch(|_| true), Batch { due: vec![], more: false });
    }

    #[test]
    fn all_are_answered_in_batches() {
        for (count, batches) in [
            (0, 1),
            (1, 1),
            (BATCH, 1),
            (BATCH + 1, 2),
            (2 * BATCH, 2),
            (MAX_PENDING, MAX_PENDING / BATCH),
        ] {
            let (mut pending, places) = waiting(count);
            let mut answered = Vec::new();
            for round in 1..=batches {
                let batch = pending.batch(|_| true);
                assert!(batch.due.len() <= BATCH, "{count}");
                assert_eq!(batch.more, round < batches, "{count}: batch {round}");
                batch.due.iter().for_each(|wait| pending.leave(places[*wait]));
                answered.extend(batch.due);
            }
            assert_eq!(answered, (0..count).collect::<Vec<_>>(), "in order of arrival");
            assert!(pending.is_empty(), "{count}");
        }
    }

    /// Requests that are decided and must continue to wait do not delay the others.
    #[test]
    fn who_stays_due_does_not_hold_up_the_others() {
        let (mut pending, _) = waiting(5 * BATCH);
        let mut turns = vec![0; 5 * BATCH];
        for _ in 0..10 {
            pending.batch(|_| true).due.iter().for_each(|wait| turns[*wait] += 1);
        }
        assert_eq!(turns, [2; 5 * BATCH]);
    }

    #[test]
    fn only_who_is_due_counts() {
        let (mut pending, _) = waiting(100);
        let due = |wait: &usize| *wait == 3 || *wait == 97;
        assert_eq!(pending.batch(due), Batch { due: vec![3, 97], more: false });
    }
}
