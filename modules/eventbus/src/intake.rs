//! What has arrived and is not acknowledged yet.

use std::collections::VecDeque;

/// Messages that are handed over at a time, and their bytes together.
const MESSAGES_MAX: usize = 32;
const BYTES_MAX: usize = 4 << 20;

/// Messages on their way into the node: one at a time of each lane, acknowledged in the order in which
/// they came, and only so many that no memory fills.
#[derive(Debug)]
pub(crate) struct Intake<L, T, R> {
    entries: VecDeque<Entry<L, T, R>>,
    /// The number of the first entry.
    first: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<L, T, R> {
    /// `None` where nothing is handed over.
    lane: Option<L>,
    bytes: usize,
    receipt: R,
    stage: Stage<T>,
}

#[derive(Debug)]
enum Stage<T> {
    Waiting(T),
    Started,
    Done,
}

impl<L: PartialEq, T, R> Intake<L, T, R> {
    pub(crate) const fn new() -> Self {
        Self { entries: VecDeque::new(), first: 0, bytes: 0 }
    }

    /// Tells whether a further message may be read.
    pub(crate) fn has_room(&self) -> bool {
        self.entries.len() < MESSAGES_MAX && self.bytes < BYTES_MAX
    }

    /// Adds a message that is to be handed over.
    pub(crate) fn accept(&mut self, lane: L, bytes: usize, receipt: R, item: T) {
        self.bytes += bytes;
        let lane = Some(lane);
        self.entries.push_back(Entry { lane, bytes, receipt, stage: Stage::Waiting(item) });
    }

    /// Adds a message with which nothing is to be done.
    pub(crate) fn skip(&mut self, receipt: R) {
        self.entries.push_back(Entry { lane: None, bytes: 0, receipt, stage: Stage::Done });
    }

    /// Returns a message that may be handed over now, if there is one, and its number.
    pub(crate) fn start(&mut self) -> Option<(u64, T)> {
        let may_start = |at: usize| {
            let entry = self.entries.get(at)?;
            let is_pending = |other: &&Entry<L, T, R>| !matches!(other.stage, Stage::Done);
            let before =
                self.entries.iter().take(at).filter(is_pending).any(|other| other.lane == entry.lane);
            (matches!(entry.stage, Stage::Waiting(_)) && !before).then_some(at)
        };
        let at = (0..self.entries.len()).find_map(may_start)?;
        let entry = self.entries.get_mut(at)?;
        let number = self.first + u64::try_from(at).unwrap_or(u64::MAX);
        match std::mem::replace(&mut entry.stage, Stage::Started) {
            Stage::Waiting(item) => Some((number, item)),
            Stage::Started | Stage::Done => None,
        }
    }

    /// Notes that a message was taken.
    pub(crate) fn done(&mut self, number: u64) {
        let at = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX);
        if let Some(entry) = self.entries.get_mut(at) {
            entry.stage = Stage::Done;
        }
    }

    /// Returns what may be acknowledged next: the oldest message, if it was taken.
    pub(crate) fn finish(&mut self) -> Option<R> {
        let entry = self.entries.pop_front_if(|entry| matches!(entry.stage, Stage::Done))?;
        self.first += 1;
        self.bytes -= entry.bytes;
        Some(entry.receipt)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Taken = Intake<Option<&'static str>, &'static str, u32>;

    fn device(name: &'static str) -> Option<&'static str> {
        Some(name)
    }

    fn started(intake: &mut Taken) -> Vec<(u64, &'static str)> {
        std::iter::from_fn(|| intake.start()).collect()
    }

    fn finished(intake: &mut Taken) -> Vec<u32> {
        std::iter::from_fn(|| intake.finish()).collect()
    }

    #[test]
    fn each_device_has_one_at_a_time_and_none_waits_for_another() {
        let mut intake = Taken::new();
        intake.accept(device("a"), 1, 10, "a1");
        intake.accept(device("a"), 1, 11, "a2");
        intake.accept(device("b"), 1, 12, "b1");
        intake.accept(None, 1, 13, "node");
        assert_eq!(started(&mut intake), [(0, "a1"), (2, "b1"), (3, "node")]);
        intake.done(2);
        assert_eq!(started(&mut intake), []);
        intake.done(0);
        assert_eq!(started(&mut intake), [(1, "a2")]);
    }

    #[test]
    fn acknowledgements_keep_the_order_of_arrival() {
        let mut intake = Taken::new();
        intake.accept(device("a"), 1, 10, "a1");
        intake.skip(11);
        intake.accept(device("b"), 1, 12, "b1");
        assert_eq!(started(&mut intake).len(), 2);
        assert_eq!(finished(&mut intake), [0; 0]);
        intake.done(2);
        assert_eq!(finished(&mut intake), [0; 0]);
        intake.done(0);
        assert_eq!(finished(&mut intake), [10, 11, 12]);
        intake.accept(device("a"), 1, 13, "a2");
        assert_eq!(started(&mut intake), [(3, "a2")]);
    }

    #[test]
    fn messages_and_bytes_are_bounded_until_they_are_acknowledged() {
        let mut intake = Taken::new();
        for receipt in 0..32 {
            assert!(intake.has_room());
            intake.accept(device("a"), 1, receipt, "a");
        }
        assert!(!intake.has_room());
        assert_eq!(started(&mut intake), [(0, "a")]);
        intake.done(0);
        assert!(!intake.has_room());
        assert_eq!(finished(&mut intake), [0]);
        assert!(intake.has_room());
        let mut large = Taken::new();
        large.accept(device("a"), BYTES_MAX - 1, 0, "a");
        assert!(large.has_room());
        large.accept(device("a"), 1, 1, "a");
        assert!(!large.has_room());
    }
}
