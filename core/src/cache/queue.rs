//! Entries in the order of their arrival, and which of them is evicted when there is no room: SIEVE.
//!
//! SIEVE (Zhang et al., NSDI 2024) has more hits than LRU where few keys are used often and many once,
//! as callers' tokens are: a new entry that is not used again is the next to be evicted, so that a
//! client with a fresh token for each request cannot evict those of others. And a hit only sets a flag;
//! LRU would relink its list each time.
//!
//! By hand: a cache of a crate has a map of its own, by the whole token; here an entry is found by a hash that is known.

/// Entries by a number that does not change while they are in the queue.
#[derive(Debug)]
pub(super) struct Queue<T> {
    slots: Vec<Slot<T>>,
    free: Vec<usize>,
    oldest: Option<usize>,
    newest: Option<usize>,
    /// The position of the search for the next eviction; it moves from the oldest to the newest.
    hand: Option<usize>,
    len: usize,
}

#[derive(Debug)]
struct Slot<T> {
    /// `None`: free.
    value: Option<T>,
    /// Whether it was used since the hand last passed.
    visited: bool,
    older: Option<usize>,
    newer: Option<usize>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), oldest: None, newest: None, hand: None, len: 0 }
    }
}

impl<T> Queue<T> {
    /// The bytes of an entry's slot.
    pub(super) const SLOT: usize = size_of::<Slot<T>>() + size_of::<usize>();

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn get(&self, at: usize) -> Option<&T> {
        self.slots.get(at)?.value.as_ref()
    }

    /// Records that the entry was used.
    pub(super) fn visit(&mut self, at: usize) {
        if let Some(slot) = self.slots.get_mut(at) {
            slot.visited = true;
        }
    }

    /// Adds an entry as the newest.
    pub(super) fn push(&mut self, value: T) -> usize {
        let slot = Slot { value: Some(value), visited: false, older: self.newest, newer: None };
        let at = match self.free.pop() {
            Some(at) => at,
            None => self.slots.len(),
        };
        match self.slots.get_mut(at) {
            Some(free) => *free = slot,
            None => self.slots.push(slot),
        }
        match self.newest.and_then(|newest| self.slots.get_mut(newest)) {
            Some(newest) => newest.newer = Some(at),
            None => self.oldest = Some(at),
        }
        self.newest = Some(at);
        self.len = self.len.saturating_add(1);
        at
    }

    /// Removes an entry.
    pub(super) fn remove(&mut self, at: usize) -> Option<T> {
        let slot = self.slots.get_mut(at)?;
        let value = slot.value.take()?;
        let (older, newer) = (slot.older, slot.newer);
        match older.and_then(|older| self.slots.get_mut(older)) {
            Some(slot) => slot.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.slots.get_mut(newer)) {
            Some(slot) => slot.older = older,
            None => self.newest = older,
        }
        if self.hand == Some(at) {
            self.hand = newer;
        }
        self.free.push(at);
        self.len = self.len.saturating_sub(1);
        Some(value)
    }

    /// The next entry to evict: from the hand on, the first that was not used since the hand last
    /// passed.
    pub(super) fn victim(&mut self) -> Option<usize> {
        loop {
            // Each step clears a flag, so that the second round finds one at the latest.
            let at = self.hand.or(self.oldest)?;
            let slot = self.slots.get_mut(at)?;
            self.hand = Some(at);
            if !slot.visited {
                return Some(at);
            }
            slot.visited = false;
            self.hand = slot.newer;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn in_order(queue: &Queue<char>) -> String {
        let mut text = String::new();
        let mut at = queue.oldest;
        while let Some(slot) = at.map(|at| &queue.slots[at]) {
            text.push(slot.value.unwrap());
            at = slot.newer;
        }
        assert_eq!(text.len(), queue.len());
        text
    }

    #[test]
    fn entries_keep_their_order_and_their_number() {
        let mut queue = Queue::default();
        let numbers: Vec<usize> = "abcde".chars().map(|c| queue.push(c)).collect();
        for (gone, left) in [(2, "abde"), (0, "bde"), (4, "bd")] {
            queue.remove(numbers[gone]);
            assert_eq!(in_order(&queue), left);
            assert_eq!(queue.remove(numbers[gone]), None, "it is gone");
        }
        assert_eq!(queue.get(numbers[1]), Some(&'b'));
        queue.push('f');
        assert_eq!(in_order(&queue), "bdf");
        assert_eq!(queue.slots.len(), 5, "free slots are used again");
        for at in 0..5 {
            queue.remove(at);
        }
        assert_eq!(in_order(&queue), "");
        queue.push('g');
        assert_eq!(in_order(&queue), "g");
    }

    /// The entries that remain of the `arrivals`, one by one, in a queue of at most three; after each
    /// arrival, every entry with an upper-case letter is used.
    fn survivors(arrivals: &str) -> String {
        let mut queue = Queue::default();
        for c in arrivals.chars() {
            if queue.len() == 3 {
                let victim = queue.victim().unwrap();
                queue.remove(victim);
            }
            queue.push(c);
            for at in 0..3 {
                if queue.get(at).is_some_and(|c| c.is_uppercase()) {
                    queue.visit(at);
                }
            }
        }
        in_order(&queue)
    }

    #[test]
    fn what_is_asked_for_outlives_what_is_not() {
        for (arrivals, left) in [
            ("abcd", "bcd"),
            ("Abcd", "Acd"),
            ("ABcd", "ABd"),
            // Tokens used once evict each other, however many they are.
            ("ABcdefghijklmnop", "ABp"),
            ("aBcDefgh", "BDh"),
            // If all are used, the oldest is evicted, and the search continues behind it.
            ("ABCd", "BCd"),
            ("ABCde", "BCe"),
            ("ABCDE", "CDE"),
        ] {
            assert_eq!(survivors(arrivals), left, "{arrivals}");
        }
    }
}
