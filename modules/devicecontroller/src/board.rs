//! What devices reported and what of it is written, one device apart from the other.
//!
//! A report is answered once it is written. Those that come while the last one is being written, or was
//! just now, are written together: the newest value of each twin. All devices share a rate and take turns:
//! when more changes than it allows, each is shown less often.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::DeviceId;
use protocol::device::payload::{DeviceState, TwinUpdate};
use tokio::time::Instant;

use crate::pace::Pace;
use crate::status::Status;

/// How many may wait for the reports of one device to be written.
const WAITING_MAX: usize = 64;

/// Reports that are written together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Reported {
    twins: TwinUpdate,
    state: Option<DeviceState>,
}

impl Reported {
    pub(crate) fn twins(twins: TwinUpdate) -> Self {
        Self { twins, state: None }
    }

    pub(crate) fn state(state: DeviceState) -> Self {
        Self { twins: TwinUpdate::default(), state: Some(state) }
    }

    /// Takes a later report. Each value that it does not have stays.
    fn take(&mut self, later: Self) {
        self.state = later.state.or(self.state.take());
        let held = self.twins.twin.get_or_insert_default();
        for (name, twin) in later.twins.twin.into_iter().flatten() {
            let merged = match (held.remove(&name).flatten(), twin) {
                (Some(held), Some(mut twin)) => {
                    twin.expected = twin.expected.or(held.expected);
                    twin.actual = twin.actual.or(held.actual);
                    twin.metadata = twin.metadata.or(held.metadata);
                    Some(twin)
                }
                (_, twin) => twin,
            };
            held.insert(name, merged);
        }
    }

    pub(crate) fn apply(&self, status: &mut Status, properties: &BTreeSet<String>) {
        status.take_twins(&self.twins, properties);
        if let Some(state) = &self.state {
            status.take_state(state);
        }
    }
}

/// One device. `R` is who waits for a report to be written.
#[derive(Debug)]
struct Entry<R> {
    /// What its status shows, where that is known.
    shown: Option<Status>,
    waiting: Option<(Reported, Vec<R>)>,
    /// When its status was written last.
    written: Option<Instant>,
    is_writing: bool,
    /// Whether it is in the queue, or has a time at which it will be.
    is_due: bool,
}

impl<R> Default for Entry<R> {
    fn default() -> Self {
        Self { shown: None, waiting: None, written: None, is_writing: false, is_due: false }
    }
}

/// What is to be written now.
#[derive(Debug)]
pub(crate) struct Job<R> {
    pub(crate) device: DeviceId,
    pub(crate) shown: Option<Status>,
    pub(crate) reported: Reported,
    pub(crate) waiting: Vec<R>,
}

/// When a device's report is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As soon as there is a place.
    Queued,
    /// After this time, by [`Board::is_due`].
    At(Instant),
    /// When the last one is written.
    Later,
}

#[derive(Debug)]
pub(crate) struct Board<R> {
    interval: Duration,
    pace: Pace,
    at_once: usize,
    writing: usize,
    entries: BTreeMap<DeviceId, Entry<R>>,
    queue: VecDeque<DeviceId>,
}

impl<R> Board<R> {
    pub(crate) fn new(interval: Duration, pace: Pace, at_once: usize) -> Self {
        Self { interval, pace, at_once, writing: 0, entries: BTreeMap::new(), queue: VecDeque::new() }
    }

    /// Takes a report; gives `waiting` back if too many wait already. It is written all the same.
    pub(crate) fn report(
        &mut self,
        device: &DeviceId,
        reported: Reported,
        waiting: R,
        now: Instant,
    ) -> Result<Turn, R> {
        let entry = self.entries.entry(device.clone()).or_default();
        let (held, all) = entry.waiting.get_or_insert_with(|| (Reported::default(), Vec::new()));
        held.take(reported);
        if all.len() >= WAITING_MAX {
            return Err(waiting);
        }
        all.push(waiting);
        Ok(self.turn(device, now))
    }

    fn turn(&mut self, device: &DeviceId, now: Instant) -> Turn {
        let Some(entry) = self.entries.get_mut(device) else { return Turn::Later };
        if entry.is_writing || entry.is_due || entry.waiting.is_none() {
            return Turn::Later;
        }
        entry.is_due = true;
        match entry.written.map(|written| written + self.interval).filter(|due| *due > now) {
            Some(due) => Turn::At(due),
            None => {
                self.queue.push_back(device.clone());
                Turn::Queued
            }
        }
    }

    /// Notes that the time of a device has come.
    pub(crate) fn is_due(&mut self, device: DeviceId) {
        self.queue.push_back(device);
    }

    /// Returns what is to be written now, while there are places and the rate allows it.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Job<R>> {
        while self.writing < self.at_once && self.pace.next(now).is_none() {
            let device = self.queue.pop_front()?;
            let Some(entry) = self.entries.get_mut(&device) else { continue };
            entry.is_due = false;
            let Some((reported, waiting)) = entry.waiting.take() else { continue };
            entry.is_writing = true;
            self.pace.take(now);
            self.writing += 1;
            return Some(Job { device, shown: entry.shown.clone(), reported, waiting });
        }
        None
    }

    /// Returns when the rate allows the next job, if only that is waited for.
    pub(crate) fn wake(&self, now: Instant) -> Option<Instant> {
        let has_place = self.writing < self.at_once;
        self.pace.next(now).filter(|_| has_place && !self.queue.is_empty())
    }

    /// Notes what became of a job; `None` where it is not known what is shown.
    pub(crate) fn written(&mut self, device: &DeviceId, shown: Option<Status>, now: Instant) -> Turn {
        self.writing -= 1;
        let Some(entry) = self.entries.get_mut(device) else { return Turn::Later };
        (entry.shown, entry.written, entry.is_writing) = (shown, Some(now), false);
        self.turn(device, now)
    }

    /// Forgets a device that is gone, or what its status shows; returns who still waits.
    pub(crate) fn forget(&mut self, device: &DeviceId) -> Vec<R> {
        let Some(entry) = self.entries.get_mut(device) else { return Vec::new() };
        entry.shown = None;
        let waiting = entry.waiting.take().map(|(_, waiting)| waiting).unwrap_or_default();
        if !entry.is_writing {
            self.entries.remove(device);
        }
        waiting
    }
}

#[cfg(test)]
mod tests {
    use protocol::device::payload::read;
    use serde_json::json;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn device(name: &str) -> DeviceId {
        DeviceId::parse("d", name).expect("a device")
    }

    fn twins(text: &str) -> Reported {
        Reported::twins(read(text.as_bytes()).expect("an update"))
    }

    fn unpaced() -> Pace {
        Pace::new(1_000_000)
    }

    fn shown() -> Option<Status> {
        Some(Status::of(&json!({})))
    }

    #[test]
    fn reports_that_come_meanwhile_are_written_together() {
        let mut board = Board::new(SECOND, unpaced(), 2);
        let now = Instant::now();
        let a = device("a");
        let one = || twins(r#"{"twin":{"t":{"actual":{"value":"1"}},"u":{"actual":{"value":"9"}}}}"#);
        assert_eq!(board.report(&a, one(), 1, now), Ok(Turn::Queued));
        assert_eq!(board.report(&a, one(), 2, now), Ok(Turn::Later));
        let job = board.next(now).expect("a job");
        assert_eq!((job.waiting, job.shown), (vec![1, 2], None));
        assert_eq!(board.report(&a, one(), 3, now), Ok(Turn::Later), "it is being written");
        let two = twins(r#"{"twin":{"t":{"expected":{"value":"2"}},"u":null}}"#);
        assert_eq!(board.report(&a, two, 4, now), Ok(Turn::Later));
        assert!(board.next(now).is_none());
        assert_eq!(board.written(&a, shown(), now), Turn::At(now + SECOND));
        assert_eq!(board.report(&a, Reported::state(DeviceState::default()), 5, now), Ok(Turn::Later));
        board.is_due(a.clone());
        let job = board.next(now).expect("a job");
        assert_eq!((&job.waiting, &job.shown), (&vec![3, 4, 5], &shown()));
        let both = r#"{"twin":{"t":{"actual":{"value":"1"},"expected":{"value":"2"}},"u":null}}"#;
        let expected = Reported { state: Some(DeviceState::default()), ..twins(both) };
        assert_eq!(job.reported, expected);
        assert_eq!(board.written(&a, None, now + SECOND), Turn::Later, "nothing waits");
        assert_eq!(board.report(&a, one(), 6, now + 3 * SECOND), Ok(Turn::Queued));
    }

    #[test]
    fn so_many_are_written_at_once_and_so_many_wait() {
        let mut board = Board::new(SECOND, unpaced(), 2);
        let now = Instant::now();
        for name in ["a", "b", "c"] {
            assert_eq!(board.report(&device(name), Reported::default(), 0, now), Ok(Turn::Queued));
        }
        assert_eq!(board.next(now).map(|job| job.device), Some(device("a")));
        assert_eq!(board.next(now).map(|job| job.device), Some(device("b")));
        assert!(board.next(now).is_none());
        board.written(&device("b"), None, now);
        assert_eq!(board.next(now).map(|job| job.device), Some(device("c")));
        for number in 0..WAITING_MAX {
            assert!(board.report(&device("a"), Reported::default(), number, now).is_ok());
        }
        let last = twins(r#"{"twin":{"t":{"actual":{"value":"last"}}}}"#);
        assert_eq!(board.report(&device("a"), last.clone(), 99, now), Err(99));
        let held = board.entries[&device("a")].waiting.as_ref().map(|(held, _)| held);
        assert_eq!(held, Some(&last), "it is written all the same");
        assert_eq!(board.forget(&device("a")).len(), WAITING_MAX);
        assert_eq!(board.written(&device("a"), shown(), now), Turn::Later);
        assert!(board.next(now).is_none());
    }
    #[test]
    fn devices_take_turns_at_a_common_rate() {
        let mut board = Board::new(SECOND, Pace::new(2), 9);
        let now = Instant::now();
        assert_eq!(board.wake(now), None, "nothing waits");
        for name in ["a", "b", "c", "d"] {
            assert_eq!(board.report(&device(name), Reported::default(), 0, now), Ok(Turn::Queued));
        }
        assert_eq!(board.next(now).map(|job| job.device), Some(device("a")));
        assert_eq!(board.next(now).map(|job| job.device), Some(device("b")));
        assert!(board.next(now).is_none());
        let half = now + SECOND / 2;
        assert_eq!(board.wake(now), Some(half));
        assert_eq!(board.report(&device("c"), Reported::default(), 1, now), Ok(Turn::Later));
        let job = board.next(half).expect("a job");
        assert_eq!((job.device, job.waiting), (device("c"), vec![0, 1]));
        assert!(board.next(half).is_none());
        assert_eq!(board.wake(half), Some(now + SECOND));
        assert_eq!(board.next(now + SECOND).map(|job| job.device), Some(device("d")));
        assert_eq!(board.wake(now + SECOND), None, "nothing waits");
    }
}
