//! What an edge has received and not yet kept: per key one at a time, the newest wins.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// More keys wait than a peer may leave unacknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the peer sent more than may be unacknowledged")]
pub struct Overflow;

/// Orders what is to be kept. `R` is what the acknowledgement needs.
///
/// States of one key are kept in the order in which they came; a state that waits while a newer
/// one comes is skipped, and acknowledged together with the newer one.
#[derive(Debug)]
pub struct Intake<K, V, R> {
    keys_max: usize,
    keeping_max: usize,
    waiting: BTreeMap<K, (V, Vec<R>)>,
    order: VecDeque<K>,
    keeping: BTreeMap<K, Vec<R>>,
}

impl<K: Ord + Clone, V, R> Intake<K, V, R> {
    /// Makes an empty intake that takes `keys_max` waiting receipts and lets `keeping_max` keys be
    /// kept at a time.
    #[must_use]
    pub fn new(keys_max: usize, keeping_max: usize) -> Self {
        Self {
            keys_max,
            keeping_max,
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            keeping: BTreeMap::new(),
        }
    }

    /// Takes the newest state of a key.
    ///
    /// # Errors
    ///
    /// When too much waits.
    pub fn push(&mut self, key: K, value: V, receipt: R) -> Result<(), Overflow> {
        let receipts: usize = self.waiting.values().map(|(_, receipts)| receipts.len()).sum();
        if receipts >= self.keys_max {
            return Err(Overflow);
        }
        match self.waiting.get_mut(&key) {
            Some((waiting, receipts)) => {
                *waiting = value;
                receipts.push(receipt);
            }
            None => {
                self.order.push_back(key.clone());
                self.waiting.insert(key, (value, vec![receipt]));
            }
        }
        Ok(())
    }

    /// Returns the next state to keep, if one may be kept now.
    pub fn take_next(&mut self) -> Option<(K, V)> {
        if self.keeping.len() >= self.keeping_max {
            return None;
        }
        let busy: BTreeSet<&K> = self.keeping.keys().collect();
        let at = self.order.iter().position(|key| !busy.contains(key))?;
        let key = self.order.remove(at)?;
        let (value, receipts) = self.waiting.remove(&key)?;
        self.keeping.insert(key.clone(), receipts);
        Some((key, value))
    }

    /// Notes that the keeping of `key` ended, and returns whom to tell.
    pub fn done(&mut self, key: &K) -> Vec<R> {
        self.keeping.remove(key).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_state_of_a_key_is_kept_at_a_time_and_the_newest_of_those_that_wait() {
        let mut intake = Intake::new(8, 2);
        intake.push("a", 1, "r1").expect("room");
        assert_eq!(intake.take_next(), Some(("a", 1)));
        intake.push("a", 2, "r2").expect("room");
        intake.push("b", 3, "r3").expect("room");
        intake.push("a", 4, "r4").expect("room");
        assert_eq!(intake.take_next(), Some(("b", 3)));
        assert_eq!(intake.take_next(), None, "two are being kept");
        assert_eq!(intake.done(&"a"), ["r1"]);
        assert_eq!(intake.take_next(), Some(("a", 4)));
        assert_eq!(intake.done(&"a"), ["r2", "r4"]);
        assert_eq!(intake.done(&"b"), ["r3"]);
        assert_eq!(intake.take_next(), None);
    }

    #[test]
    fn a_peer_that_does_not_wait_for_acknowledgements_is_noticed() {
        let mut intake = Intake::new(2, 1);
        intake.push("a", 1, ()).expect("room");
        intake.push("a", 2, ()).expect("room");
        assert_eq!(intake.push("a", 3, ()), Err(Overflow));
    }
}
