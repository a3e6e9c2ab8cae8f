//! What an edge has accepted for the cloud and the cloud has not confirmed.

use std::collections::BTreeMap;
use std::time::Duration;

/// The bounds of a backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BacklogLimits {
    /// Entries that may be kept.
    pub entries_max: usize,
    /// Bytes that all of them together may have.
    pub bytes_max: usize,
    /// Entries that may be unconfirmed at a time.
    pub window: usize,
    /// The pause after a refusal, doubled each time from the first duration to the second.
    pub retry: (Duration, Duration),
}

/// What an entry is, apart from its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<K> {
    /// Entries of one key are sent one after the other.
    pub key: K,
    /// Its size.
    pub bytes: usize,
    /// Whether a later entry of its key that is of the same kind says all that it says.
    pub is_newest_wins: bool,
}

/// What is no longer kept because something was added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Displaced {
    /// The entry that the new one replaces: nothing is lost.
    pub replaced: Option<u64>,
    /// The oldest entries, which were dropped for want of room.
    pub dropped: Vec<u64>,
}

#[derive(Debug, Clone)]
struct Kept<K> {
    entry: Entry<K>,
    in_flight: bool,
    not_before: Duration,
    refusals: u32,
}

/// Orders the entries of an outbox whose contents lie in a store.
///
/// Entries are numbered in the order in which they were accepted and leave in that order, within the
/// window; of one key only one is unconfirmed at a time. An entry stays until it is confirmed.
/// When there is no room the oldest goes: what happened last tells most.
#[derive(Debug, Clone)]
pub struct Backlog<K> {
    limits: BacklogLimits,
    kept: BTreeMap<u64, Kept<K>>,
    keys: BTreeMap<K, Vec<u64>>,
    bytes: usize,
    in_flight: usize,
}

impl<K: Ord + Clone> Backlog<K> {
    /// Makes an empty backlog.
    #[must_use]
    pub fn new(limits: BacklogLimits) -> Self {
        Self { limits, kept: BTreeMap::new(), keys: BTreeMap::new(), bytes: 0, in_flight: 0 }
    }

    /// Adds an entry, whose number is greater than all before it.
    pub fn push(&mut self, number: u64, entry: Entry<K>) -> Displaced {
        let mut displaced = Displaced::default();
        if let Some(last) = self.keys.get(&entry.key).and_then(|numbers| numbers.last()).copied()
            && entry.is_newest_wins
            && self.kept.get(&last).is_some_and(|kept| kept.entry.is_newest_wins && !kept.in_flight)
        {
            self.remove(last);
            displaced.replaced = Some(last);
        }
        self.bytes += entry.bytes;
        self.keys.entry(entry.key.clone()).or_default().push(number);
        self.kept.insert(number, Kept { entry, in_flight: false, not_before: Duration::ZERO, refusals: 0 });
        while self.kept.len() > self.limits.entries_max || self.bytes > self.limits.bytes_max {
            let Some(oldest) = self.kept.keys().next().copied() else { break };
            self.remove(oldest);
            displaced.dropped.push(oldest);
        }
        displaced
    }

    /// Returns the number of the next entry to send at `now`, and counts it as unconfirmed.
    pub fn next(&mut self, now: Duration) -> Option<u64> {
        if self.in_flight >= self.limits.window {
            return None;
        }
        let keys = &self.keys;
        let (number, kept) = self.kept.iter_mut().find(|(number, kept)| {
            let of_its_key = keys.get(&kept.entry.key).and_then(|numbers| numbers.first());
            !kept.in_flight && kept.not_before <= now && of_its_key == Some(*number)
        })?;
        kept.in_flight = true;
        self.in_flight += 1;
        Some(*number)
    }

    /// Notes that the cloud has dealt with an entry. Tells whether it was kept until now.
    pub fn confirm(&mut self, number: u64) -> bool {
        self.remove(number)
    }

    /// Notes that the cloud could not deal with an entry: it is sent again after a pause.
    pub fn refuse(&mut self, number: u64, now: Duration) {
        let (first, longest) = self.limits.retry;
        let Some(kept) = self.kept.get_mut(&number).filter(|kept| kept.in_flight) else { return };
        kept.in_flight = false;
        self.in_flight -= 1;
        let factor = 1_u32.checked_shl(kept.refusals).unwrap_or(u32::MAX);
        kept.not_before = now.saturating_add(first.saturating_mul(factor).min(longest));
        kept.refusals = kept.refusals.saturating_add(1);
    }

    /// Returns how often an entry was refused.
    #[must_use]
    pub fn refusals(&self, number: u64) -> u32 {
        self.kept.get(&number).map_or(0, |kept| kept.refusals)
    }

    /// Returns the bytes of all entries together.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Notes that the session ended: all that is unconfirmed is to be sent again in the next one.
    pub fn release(&mut self) {
        for kept in self.kept.values_mut() {
            kept.in_flight = false;
            kept.not_before = Duration::ZERO;
        }
        self.in_flight = 0;
    }

    /// Returns when [`Backlog::next`] may have something, other than by a push or a confirmation.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        if self.in_flight >= self.limits.window {
            return None;
        }
        let waiting = self.kept.values().filter(|kept| !kept.in_flight);
        waiting.map(|kept| kept.not_before).filter(|at| !at.is_zero()).min()
    }

    /// Returns how many entries are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// Tells whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    fn remove(&mut self, number: u64) -> bool {
        let Some(Kept { entry, in_flight, .. }) = self.kept.remove(&number) else { return false };
        self.bytes -= entry.bytes;
        self.in_flight -= usize::from(in_flight);
        if let Some(numbers) = self.keys.get_mut(&entry.key) {
            numbers.retain(|kept| *kept != number);
            if numbers.is_empty() {
                self.keys.remove(&entry.key);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn backlog(entries_max: usize, window: usize) -> Backlog<&'static str> {
        Backlog::new(BacklogLimits { entries_max, bytes_max: 1000, window, retry: (SECOND, SECOND * 4) })
    }

    fn entry(key: &'static str) -> Entry<&'static str> {
        Entry { key, bytes: 100, is_newest_wins: false }
    }

    fn all(backlog: &mut Backlog<&'static str>, now: Duration) -> Vec<u64> {
        std::iter::from_fn(|| backlog.next(now)).collect()
    }

    #[test]
    fn entries_leave_in_their_order_and_one_of_a_key_at_a_time() {
        let mut backlog = backlog(9, 3);
        for (number, key) in [(1, "a"), (2, "a"), (3, "b"), (4, "c"), (5, "d")] {
            assert_eq!(backlog.push(number, entry(key)), Displaced::default());
        }
        assert_eq!(all(&mut backlog, SECOND), [1, 3, 4]);
        assert!(backlog.confirm(1));
        assert!(!backlog.confirm(1), "once");
        assert_eq!(all(&mut backlog, SECOND), [2]);
        assert!(backlog.confirm(3) && backlog.confirm(4) && backlog.confirm(2));
        assert_eq!(all(&mut backlog, SECOND), [5]);
        assert!(backlog.confirm(5) && backlog.is_empty());
    }

    #[test]
    fn the_oldest_gives_way_when_there_is_no_room() {
        let mut backlog = backlog(3, 9);
        for number in 1..=3 {
            backlog.push(number, entry("a"));
        }
        assert_eq!(all(&mut backlog, SECOND), [1]);
        assert_eq!(backlog.push(4, entry("b")).dropped, [1]);
        assert!(!backlog.confirm(1), "its answer comes too late");
        assert_eq!(all(&mut backlog, SECOND), [2, 4]);
        let large = Entry { bytes: 950, ..entry("c") };
        assert_eq!(backlog.push(5, large).dropped, [2, 3, 4]);
        assert_eq!(all(&mut backlog, SECOND), [5]);
    }

    #[test]
    fn a_newer_state_replaces_one_that_waits_and_none_that_is_on_its_way() {
        let mut backlog = backlog(9, 9);
        let state = || Entry { is_newest_wins: true, ..entry("a") };
        backlog.push(1, entry("a"));
        assert_eq!(backlog.push(2, state()).replaced, None, "1 is no state");
        assert_eq!(backlog.push(3, state()).replaced, Some(2));
        assert_eq!(all(&mut backlog, SECOND), [1]);
        assert!(backlog.confirm(1));
        assert_eq!(all(&mut backlog, SECOND), [3]);
        assert_eq!(backlog.push(4, state()).replaced, None);
        assert_eq!(backlog.len(), 2);
    }

    #[test]
    fn what_was_refused_comes_again_after_growing_pauses_and_holds_up_its_key_only() {
        let mut backlog = backlog(9, 9);
        backlog.push(1, entry("a"));
        backlog.push(2, entry("a"));
        for (at, pause) in [(10, 1), (20, 2), (30, 4), (40, 4)] {
            assert_eq!(all(&mut backlog, SECOND * at), [1]);
            backlog.refuse(1, SECOND * at);
            assert_eq!(backlog.next_due(), Some(SECOND * (at + pause)));
            assert_eq!(backlog.next(SECOND * (at + pause) - Duration::from_millis(1)), None);
        }
        backlog.push(3, entry("b"));
        assert_eq!(all(&mut backlog, SECOND * 41), [3]);
        backlog.release();
        assert_eq!(all(&mut backlog, Duration::ZERO), [1, 3], "a new session waits for nothing");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_doubled_or_out_of_order(
            steps in proptest::collection::vec((0_u8..5, 0_usize..4), 0..200),
        ) {
            let mut backlog = backlog(1000, 3);
            backlog.limits.bytes_max = usize::MAX;
            let (mut numbers, mut sent, mut confirmed) = (0_u64, Vec::new(), Vec::new());
            let keys = ["a", "b", "c", "d"];
            let mut key_of = BTreeMap::new();
            for (step, which) in steps {
                match step {
                    0 | 1 => {
                        numbers += 1;
                        key_of.insert(numbers, keys[which]);
                        backlog.push(numbers, entry(keys[which]));
                    }
                    2 => sent.extend(backlog.next(Duration::MAX)),
                    3 if !sent.is_empty() => {
                        let number = sent.remove(which % sent.len());
                        prop_assert!(backlog.confirm(number));
                        confirmed.push(number);
                    }
                    _ => {
                        backlog.release();
                        sent.clear();
                    }
                }
                prop_assert!(sent.len() <= 3);
            }
            backlog.release();
            while let Some(number) = backlog.next(Duration::MAX) {
                prop_assert!(backlog.confirm(number));
                confirmed.push(number);
            }
            let mut unique = confirmed.clone();
            unique.sort_unstable();
            prop_assert_eq!(unique, (1..=numbers).collect::<Vec<_>>());
            for key in keys {
                let of_key: Vec<_> = confirmed.iter().filter(|number| key_of[number] == key).collect();
                prop_assert!(of_key.is_sorted());
            }
            prop_assert_eq!((backlog.bytes, backlog.in_flight, backlog.keys.len()), (0, 0, 0));
        }
    }
}
