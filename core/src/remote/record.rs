//! The state of one remote key set that the workers of a process share.
//!
//! One line of numbers, then the set as fetched. Times are the wall clock's: if it is set back, a time
//! in the record that is further ahead than possible is ignored.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;

use super::answer::read;
use super::{
    ABSENT, BACK_OFF, CREDIT, CREDIT_EVERY, FRESH_BOUNDS, Fetched, REMEMBERED, SPACING, WITHDRAWN,
};
use crate::jwks::KeySet;
use crate::policy::Selection;
use crate::time::{Millis, UnixMillis};

/// The state of a remote key set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The number of different sets so far; 0: none yet.
    pub generation: u64,
    /// When the server last confirmed the set.
    pub fetched_at: UnixMillis,
    /// When the last completed fetch began.
    pub asked_at: UnixMillis,
    /// When the timer fetches next.
    pub due_at: UnixMillis,
    /// Failed fetches since the last good one.
    pub failures: u32,
    /// Sets without a key in a row, each when a fetch was due; 0: the set in force has a key.
    pub empty: u32,
    /// The number of sets with a key so far, up to the maximum of its type.
    pub filled: u32,
    /// The worker that fetches, since when, and until when at most.
    lease: Option<Lease>,
    /// Refetches for unknown keys that were spent and not returned.
    spent: u32,
    spent_at: UnixMillis,
    /// Keys of tokens that the set lacks, by their hashed ids: the next fetch is for them.
    wanted: Vec<u64>,
    /// Those that the fetch in progress is for. It may miss keys that are wanted later: the server may
    /// have answered before.
    asking: Vec<u64>,
    /// Key ids that the server does not list, and until when that is assumed.
    absent: Vec<(u64, UnixMillis)>,
    /// The ids that the set lists, hashed.
    kids: Vec<u64>,
    /// The set as fetched.
    pub body: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    holder: u64,
    since: UnixMillis,
    until: UnixMillis,
}

/// The first word of a record; another version of Usher may have left one in the same process.
const VERSION: &str = "usher-keys-2";

impl Record {
    /// Whether a set was fetched and may still be used.
    pub fn is_usable(&self, now: UnixMillis, max_stale: Millis) -> bool {
        self.generation > 0 && now < self.fetched_at.saturating_add(max_stale)
    }

    /// Whether a worker is fetching.
    pub fn is_leased(&self, now: UnixMillis) -> bool {
        self.lease.is_some_and(|lease| lease.since <= now && now < lease.until)
    }

    /// The worker that has the lease, even if it has expired.
    pub(super) fn holder(&self) -> Option<u64> {
        self.lease.map(|lease| lease.holder)
    }

    /// When the next fetch is due, if no worker is fetching.
    pub fn next_attempt(&self, now: UnixMillis) -> UnixMillis {
        let latest = match self.fruitless() {
            0 => FRESH_BOUNDS.1,
            _ => BACK_OFF.1,
        };
        let due = if self.due_at > now.saturating_add(latest) { now } else { self.due_at };
        // While the server fails, only the back-off counts.
        if self.failures > 0 || self.wanted.is_empty() {
            return due;
        }
        due.min(self.next_refetch(now))
    }

    /// Fetches without a key since the last with one: the back-off counts them.
    pub fn fruitless(&self) -> u32 {
        self.failures.saturating_add(self.empty)
    }

    /// When the next refetch for an unknown key may be made.
    fn next_refetch(&self, now: UnixMillis) -> UnixMillis {
        let credit = match CREDIT.saturating_sub(self.spent_now(now)) {
            0 => self.spent_at.saturating_add(CREDIT_EVERY),
            _ => now,
        };
        let spaced = self.asked_at.saturating_add(SPACING);
        credit.max(if self.asked_at > now { now } else { spaced })
    }

    /// The refetches spent, less those returned by now.
    fn spent_now(&self, now: UnixMillis) -> u32 {
        let elapsed = now.since(self.spent_at);
        let back = u32::try_from(elapsed / CREDIT_EVERY).unwrap_or(u32::MAX);
        if self.spent_at > now { 0 } else { self.spent.saturating_sub(back) }
    }

    /// Spends a refetch for a fetch that was not due.
    pub(super) fn spend(&mut self, now: UnixMillis) {
        if self.due_at > now && !self.wanted.is_empty() {
            let spent = self.spent_now(now);
            // Keeps the part of the next refetch that has come back already.
            let whole = now.since(self.spent_at) / CREDIT_EVERY;
            self.spent_at = match spent {
                0 => now,
                _ => self.spent_at.saturating_add(whole.saturating_mul(CREDIT_EVERY)),
            };
            self.spent = spent.saturating_add(1);
        }
    }

    /// Begins a fetch, for all keys that are wanted by now.
    pub(super) fn lease(&mut self, holder: u64, since: UnixMillis, until: UnixMillis) {
        for kid in std::mem::take(&mut self.wanted) {
            push(&mut self.asking, kid, |known| *known == kid);
        }
        self.lease = Some(Lease { holder, since, until });
    }

    /// Records that a key is wanted. Returns whether that is new.
    pub(super) fn note_missing(&mut self, kid: &str, now: UnixMillis) -> bool {
        let kid = hash(kid);
        let absent = self.absent.iter().any(|(k, until)| *k == kid && now < *until);
        // A key that the fetch in progress is for is wanted nevertheless: see `asking`.
        if absent || self.wanted.contains(&kid) || self.kids.contains(&kid) {
            return false;
        }
        push(&mut self.wanted, kid, |known| *known == kid);
        true
    }

    /// Stores the result of a fetch that began at `began`.
    pub(super) fn accept(&mut self, fetched: &Fetched, began: UnixMillis, now: UnixMillis) {
        let kids: Vec<u64> = fetched.kids.iter().map(|kid| hash(kid)).collect();
        if fetched.usable == 0 {
            // An issuer that restarts may list no keys for a moment: its keys come back.
            self.absent.clear();
            self.kids.clear();
            if self.empty == 0 || self.due_at <= began {
                self.empty = self.empty.saturating_add(1);
            }
        } else {
            self.empty = 0;
            self.filled = self.filled.saturating_add(1);
        }
        self.absent.retain(|(kid, until)| now < *until && !kids.contains(kid));
        // The fetch was for these, and the server does not list them.
        let asked_for = std::mem::take(&mut self.asking);
        let missing = asked_for.iter().map(|kid| (*kid, now.saturating_add(ABSENT)));
        // Tokens with a withdrawn key must not use up the refetches for a new key.
        let withdrawn = self.kids.iter().map(|kid| (*kid, now.saturating_add(WITHDRAWN)));
        let gone: Vec<_> =
            missing.chain(withdrawn).filter(|(kid, _)| !kids.contains(kid)).collect();
        for entry in gone {
            push(&mut self.absent, entry, |(kid, _)| *kid == entry.0);
        }
        self.wanted.retain(|kid| !kids.contains(kid));
        if fetched.body != self.body {
            self.generation = self.generation.saturating_add(1);
            self.spent = self.spent.saturating_sub(1);
            self.body.clone_from(&fetched.body);
        }
        (self.kids, self.fetched_at, self.failures) = (kids, now, 0);
        self.end(began);
    }

    /// Records that a fetch failed that began at `began`. The keys stay unchanged.
    pub(super) fn refuse(&mut self, began: UnixMillis) {
        self.failures = self.failures.saturating_add(1);
        self.asking.clear();
        self.end(began);
    }

    /// Ends a fetch without a result.
    pub(super) fn release(&mut self) {
        for kid in std::mem::take(&mut self.asking) {
            push(&mut self.wanted, kid, |known| *known == kid);
        }
        self.lease = None;
    }

    fn end(&mut self, began: UnixMillis) {
        self.asked_at = began;
        self.lease = None;
    }

    /// Whether a request that may wait until `until` should wait for a key set (no `kid`), or for this
    /// key, which was wanted when the request arrived. No request waits for the key of an issuer that
    /// lists none.
    pub fn is_worth_waiting(&self, kid: Option<&str>, until: UnixMillis, now: UnixMillis) -> bool {
        if now >= until {
            return false;
        }
        let leased = self.is_leased(now);
        let coming = leased || self.next_attempt(now) < until;
        match kid.map(hash) {
            None => coming,
            Some(_) if self.empty > 0 => false,
            Some(kid) if self.wanted.contains(&kid) => coming,
            Some(kid) => leased && self.asking.contains(&kid),
        }
    }

    /// The keys of the record, if it has any.
    pub fn keys(&self, selection: &Selection) -> Option<Rc<KeySet>> {
        if self.generation == 0 {
            return None;
        }
        read(&self.body, selection).ok().map(|(keys, _)| Rc::new(keys))
    }

    /// The record in its shared form.
    pub fn to_bytes(&self) -> Vec<u8> {
        let lease = self.lease.map_or([0; 3], |lease| [lease.holder, lease.since.0, lease.until.0]);
        let numbers = [
            self.generation,
            self.fetched_at.0,
            self.asked_at.0,
            self.due_at.0,
            self.failures.into(),
            self.spent.into(),
            self.spent_at.0,
            self.empty.into(),
            self.filled.into(),
        ];
        let lists = [
            numbers.to_vec(),
            lease.to_vec(),
            self.wanted.clone(),
            self.asking.clone(),
            self.absent.iter().flat_map(|(kid, until)| [*kid, until.0]).collect(),
            self.kids.clone(),
        ];
        let words: Vec<String> = lists
            .iter()
            .map(|list| list.iter().map(u64::to_string).collect::<Vec<_>>().join(","))
            .collect();
        format!("{VERSION};{}\n{}", words.join(";"), self.body).into_bytes()
    }

    /// Reads a record. `None` if the bytes are not a record.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (head, body) = std::str::from_utf8(bytes).ok()?.split_once('\n')?;
        let mut lists = head.strip_prefix(VERSION)?.strip_prefix(';')?.split(';').map(|list| {
            let words = list.split(',').filter(|word| !word.is_empty());
            words.map(|word| word.parse::<u64>().ok()).collect::<Option<Vec<u64>>>()
        });
        let mut next = || lists.next().flatten();
        let (numbers, lease, wanted) = (next()?, next()?, next()?);
        let (asking, absent, kids) = (next()?, next()?, next()?);
        let [generation, fetched_at, asked_at, due_at, failures, spent, spent_at, empty, filled] =
            numbers.try_into().ok()?;
        let [holder, since, until] = lease.try_into().ok()?;
        let pairs = |list: Vec<u64>| -> Vec<(u64, UnixMillis)> {
            list.chunks_exact(2)
                .filter_map(|pair| Some((*pair.first()?, UnixMillis(*pair.get(1)?))))
                .collect()
        };
        Some(Self {
            generation,
            fetched_at: UnixMillis(fetched_at),
            asked_at: UnixMillis(asked_at),
            due_at: UnixMillis(due_at),
            failures: u32::try_from(failures).ok()?,
            empty: u32::try_from(empty).ok()?,
            filled: u32::try_from(filled).ok()?,
            lease: (until > 0).then_some(Lease {
                holder,
                since: UnixMillis(since),
                until: UnixMillis(until),
            }),
            spent: u32::try_from(spent).ok()?,
            spent_at: UnixMillis(spent_at),
            wanted,
            asking,
            absent: pairs(absent),
            kids,
            body: body.to_owned(),
        })
    }
}

/// Adds an entry in place of an equal one, and keeps only the latest.
fn push<T>(list: &mut Vec<T>, entry: T, same: impl Fn(&T) -> bool) {
    list.retain(|known| !same(known));
    let surplus = list.len().saturating_add(1).saturating_sub(REMEMBERED);
    list.drain(..surplus);
    list.push(entry);
}

/// A client chooses a key id, and it may be long. Not a map's keyed hash: all workers must compute the
/// same one.
fn hash(kid: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    kid.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fetched(body: &str, kids: &[&str]) -> Fetched {
        let kids: Vec<String> = kids.iter().map(|kid| (*kid).to_owned()).collect();
        Fetched {
            body: body.to_owned(),
            usable: kids.len(),
            kids,
            max_age: None,
            warnings: Vec::new(),
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        let mut record = Record::default();
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record.clone()), "empty");
        record.accept(&fetched("{\"keys\":\n[]}", &["a", "b"]), UnixMillis(5), UnixMillis(7));
        record.note_missing("c", UnixMillis(8));
        record.spend(UnixMillis(8));
        record.lease(3, UnixMillis(9), UnixMillis(20));
        record.refuse(UnixMillis(9));
        record.note_missing("d", UnixMillis(11));
        record.lease(u64::MAX, UnixMillis(10), UnixMillis(20));
        record.note_missing("e", UnixMillis(11));
        assert_eq!(Record::from_bytes(&record.to_bytes()), Some(record), "full");
        for (bytes, why) in [
            (&b""[..], "nothing"),
            (b"usher-keys-2;\n", "no numbers"),
            (b"usher-keys-1;0,0,0,0,0,0,0,0,0;0,0,0;;;;\n", "another version"),
            (b"usher-keys-2;0,0,0,0,0,0,0,0;0,0,0;;;;\n", "a number short"),
            (b"usher-keys-2;0,0,0,0,0,0,0,0,x;0,0,0;;;;\n", "no number"),
            (b"usher-keys-2;0,0,0,0,0,0,0,0,0;0,0,0;;;;", "no line"),
            (b"usher-keys-2;0,0,0,0,0,0,0,0,0;0,0,0;;;;\n\xff", "not UTF-8"),
        ] {
            assert_eq!(Record::from_bytes(bytes), None, "{why}");
        }
    }

    #[test]
    fn a_key_is_wanted_until_the_server_was_asked() {
        let mut record = Record::default();
        record.accept(&fetched("1", &["old"]), UnixMillis(0), UnixMillis(10));
        record.due_at = UnixMillis(300_000);
        record.lease(1, UnixMillis(1_990), UnixMillis(8_000));
        assert!(!record.note_missing("old", UnixMillis(2_000)), "the set has it");
        assert!(record.note_missing("new", UnixMillis(2_000)));
        assert!(!record.note_missing("new", UnixMillis(2_001)), "known to be wanted");
        assert!(record.is_worth_waiting(Some("new"), UnixMillis(7_000), UnixMillis(2_000)));
        assert!(
            !record.is_worth_waiting(Some("other"), UnixMillis(7_000), UnixMillis(2_000)),
            "not wanted"
        );
        // A fetch that began before the token arrived may not include its key.
        record.accept(&fetched("1", &["old"]), UnixMillis(1_990), UnixMillis(2_010));
        assert!(record.is_worth_waiting(Some("new"), UnixMillis(7_000), UnixMillis(2_010)));
        assert!(
            !record.is_worth_waiting(Some("new"), UnixMillis(2_500), UnixMillis(2_010)),
            "not in time"
        );
        // Even in the same millisecond.
        record.lease(1, UnixMillis(2_010), UnixMillis(8_000));
        assert!(record.is_worth_waiting(Some("new"), UnixMillis(7_000), UnixMillis(2_010)));
        record.release();
        assert!(
            record.is_worth_waiting(Some("new"), UnixMillis(7_000), UnixMillis(3_000)),
            "a lost fetch is made up for"
        );
        record.lease(1, UnixMillis(3_000), UnixMillis(8_000));
        record.accept(&fetched("1", &["old"]), UnixMillis(3_000), UnixMillis(3_010));
        assert!(
            !record.is_worth_waiting(Some("new"), UnixMillis(7_000), UnixMillis(3_010)),
            "it was asked"
        );
        assert!(!record.note_missing("new", UnixMillis(3_020)), "and is not asked again at once");
        assert!(record.note_missing("new", UnixMillis(3_010 + ABSENT)), "but later");
        record.lease(1, UnixMillis(64_000), UnixMillis(70_000));
        record.accept(&fetched("2", &["new"]), UnixMillis(64_000), UnixMillis(64_000));
        assert!(!record.note_missing("old", UnixMillis(64_001 + ABSENT)), "withdrawn");
        record.note_missing("third", UnixMillis(64_002));
        record.lease(1, UnixMillis(66_000), UnixMillis(70_000));
        record.refuse(UnixMillis(66_000));
        assert!(
            !record.is_worth_waiting(Some("third"), UnixMillis(69_000), UnixMillis(66_001)),
            "one refetch, which failed"
        );
    }

    #[test]
    fn made_up_key_ids_use_up_their_credit_and_no_more() {
        let mut record = Record::default();
        record.accept(&fetched("1", &["a"]), UnixMillis(0), UnixMillis(0));
        let (mut fetches, mut made_up) = (0, 0);
        for now in (0..600_000).step_by(100) {
            record.due_at = UnixMillis(now + 100_000);
            made_up += 1;
            record.note_missing(&made_up.to_string(), UnixMillis(now));
            if record.next_attempt(UnixMillis(now)) <= UnixMillis(now) {
                record.spend(UnixMillis(now));
                record.lease(1, UnixMillis(now), UnixMillis(now + 1));
                record.accept(&fetched("1", &["a"]), UnixMillis(now), UnixMillis(now));
                fetches += 1;
            }
        }
        // Five at once, and one every 30 s.
        assert_eq!(fetches, 5 + 600 / 30 - 1);
    }

    #[test]
    fn a_clock_that_was_set_back_stops_nothing() {
        let mut record = Record::default();
        let later = 1_000_000_000;
        record.lease(1, UnixMillis(later), UnixMillis(later + 5_000));
        assert!(!record.is_leased(UnixMillis(1_000)), "a lease of the future");
        record.accept(&fetched("1", &["a"]), UnixMillis(later), UnixMillis(later));
        record.due_at = UnixMillis(later + 100_000);
        assert_eq!(
            record.next_attempt(UnixMillis(1_000)),
            UnixMillis(1_000),
            "a fetch in the far future is due"
        );
    }
}
