//! A module's timers: one sleep for all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use crate::module::Module;
use crate::parcel::Parcel;

/// Names a timer of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerKey(u64);

/// The shortest period. Tokio's clock has no finer grain.
const PERIOD_MIN: Duration = Duration::from_millis(1);

struct Entry<M: Module> {
    due: Instant,
    period: Option<Duration>,
    make: Box<dyn FnMut() -> Option<Parcel<M>>>,
}

/// The timers of one value of a module.
pub(crate) struct Timers<M: Module> {
    entries: BTreeMap<TimerKey, Entry<M>>,
    queue: BTreeSet<(Instant, TimerKey)>,
    sleep: Option<Pin<Box<Sleep>>>,
    next: u64,
}

impl<M: Module> Timers<M> {
    pub(crate) const fn new() -> Self {
        Self { entries: BTreeMap::new(), queue: BTreeSet::new(), sleep: None, next: 0 }
    }

    pub(crate) fn add(
        &mut self,
        after: Duration,
        period: Option<Duration>,
        make: Box<dyn FnMut() -> Option<Parcel<M>>>,
    ) -> TimerKey {
        let key = TimerKey(self.next);
        self.next += 1;
        let period = period.map(|period| period.max(PERIOD_MIN));
        let now = Instant::now();
        // A wait beyond what the clock can say is a century.
        let due = now.checked_add(after).unwrap_or_else(|| now + Duration::from_secs(3_153_600_000));
        self.entries.insert(key, Entry { due, period, make });
        self.queue.insert((due, key));
        key
    }

    pub(crate) fn cancel(&mut self, key: TimerKey) {
        if let Some(entry) = self.entries.remove(&key) {
            self.queue.remove(&(entry.due, key));
        }
    }

    /// Returns the message of the earliest timer that is due.
    pub(crate) fn poll_due(&mut self, cx: &mut task::Context<'_>) -> Poll<Parcel<M>> {
        while let Some(&(due, key)) = self.queue.first() {
            let sleep = self.sleep.get_or_insert_with(|| Box::pin(sleep_until(due)));
            if sleep.deadline() != due {
                sleep.as_mut().reset(due);
            }
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            self.queue.remove(&(due, key));
            if let Some(parcel) = self.fire(due, key) {
                return Poll::Ready(parcel);
            }
        }
        self.sleep = None;
        Poll::Pending
    }

    fn fire(&mut self, due: Instant, key: TimerKey) -> Option<Parcel<M>> {
        let entry = self.entries.get_mut(&key)?;
        let parcel = (entry.make)();
        match entry.period {
            Some(period) => {
                entry.due = next_tick(due, period, Instant::now());
                self.queue.insert((entry.due, key));
            }
            None => {
                self.entries.remove(&key);
            }
        }
        parcel
    }
}

/// Returns the first tick after `now` on the grid of `due` and `period`: ticks that were missed are
/// skipped.
fn next_tick(due: Instant, period: Duration, now: Instant) -> Instant {
    let late = now.saturating_duration_since(due).as_nanos();
    let ticks = late / period.as_nanos().max(1) + 1;
    u32::try_from(ticks).map_or(now + period, |ticks| due + period * ticks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missed_ticks_are_skipped_and_the_grid_stays() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let check = |now: u64, expect: u64| {
            assert_eq!(next_tick(start, Duration::from_millis(100), at(now)), at(expect), "{now}");
        };
        check(0, 100);
        check(1, 100);
        check(99, 100);
        check(100, 200);
        check(1_050, 1_100);
    }
}
