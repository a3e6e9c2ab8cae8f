//! When which device is reported to the cloud.
//!
//! Of each device one report is under way at a time, and its next begins at least an interval after the
//! last; meanwhile its changes gather. Devices take turns, and a bounded number is under way at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use protocol::DeviceId;
use tokio::time::Instant;

/// How many devices are reported at once.
const AT_ONCE: usize = 32;
/// The pauses after a failure: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));
/// The longest pause while there is no link. It ends when the link is up.
const OFFLINE_PAUSE_MAX: Duration = Duration::from_secs(60);

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The cloud has it; whether there is more to tell.
    Told { more: bool },
    /// It is to be said again, later.
    Failed,
    /// There is no link.
    Offline,
    /// The cloud wants none of this device until something changes.
    Unwanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Waiting(Instant),
    Ready,
    UnderWay,
    Parked,
}

#[derive(Debug)]
struct Turn {
    phase: Phase,
    /// When the next report may begin.
    next: Instant,
    failures: u32,
    /// Whether it changed since its report began.
    changed: bool,
    /// Whether the device went while its report was under way.
    gone: bool,
}

/// The turns of all devices that were ever to be reported.
#[derive(Debug)]
pub(crate) struct Reporter {
    interval: Duration,
    turns: BTreeMap<DeviceId, Turn>,
    ready: VecDeque<DeviceId>,
    waiting: BTreeSet<(Instant, DeviceId)>,
    under_way: usize,
    offline: Option<Instant>,
    offline_tries: u32,
}

impl Reporter {
    pub(crate) const fn new(interval: Duration) -> Self {
        Self {
            interval,
            turns: BTreeMap::new(),
            ready: VecDeque::new(),
            waiting: BTreeSet::new(),
            under_way: 0,
            offline: None,
            offline_tries: 0,
        }
    }

    /// A device has something to tell.
    pub(crate) fn changed(&mut self, id: &DeviceId, now: Instant) {
        let Some(turn) = self.turns.get_mut(id) else {
            let turn = Turn { phase: Phase::Ready, next: now, failures: 0, changed: true, gone: false };
            self.turns.insert(id.clone(), turn);
            self.ready.push_back(id.clone());
            return;
        };
        (turn.changed, turn.gone) = (true, false);
        if matches!(turn.phase, Phase::Idle | Phase::Parked) {
            let at = turn.next;
            self.schedule(id, at, now);
        }
    }

    /// A device is gone.
    pub(crate) fn forget(&mut self, id: &DeviceId) {
        let Some(turn) = self.turns.get_mut(id) else { return };
        match turn.phase {
            Phase::UnderWay => {
                (turn.gone, turn.changed) = (true, false);
                return;
            }
            Phase::Waiting(at) => drop(self.waiting.remove(&(at, id.clone()))),
            Phase::Ready => self.ready.retain(|ready| ready != id),
            Phase::Idle | Phase::Parked => {}
        }
        self.turns.remove(id);
    }

    /// Returns the next device whose report is to begin.
    pub(crate) fn take(&mut self, now: Instant) -> Option<DeviceId> {
        while let Some((at, id)) = self.waiting.pop_first() {
            if at > now {
                self.waiting.insert((at, id));
                break;
            }
            if let Some(turn) = self.turns.get_mut(&id) {
                turn.phase = Phase::Ready;
            }
            self.ready.push_back(id);
        }
        if self.under_way >= AT_ONCE || self.offline.is_some_and(|until| now < until) {
            return None;
        }
        let id = self.ready.pop_front()?;
        let turn = self.turns.get_mut(&id)?;
        (turn.phase, turn.next, turn.changed) = (Phase::UnderWay, now + self.interval, false);
        self.under_way += 1;
        Some(id)
    }

    /// A report ended. `roll` is the dice, uniform over its range.
    pub(crate) fn finished(&mut self, id: &DeviceId, verdict: Verdict, now: Instant, roll: u32) {
        let Some(turn) = self.turns.get_mut(id).filter(|turn| turn.phase == Phase::UnderWay) else { return };
        self.under_way = self.under_way.saturating_sub(1);
        if verdict != Verdict::Offline {
            (self.offline, self.offline_tries) = (None, 0);
        }
        if turn.gone {
            self.turns.remove(id);
            return;
        }
        turn.phase = Phase::Idle;
        let next = turn.next;
        match verdict {
            Verdict::Told { more } => {
                turn.failures = 0;
                if more || turn.changed {
                    self.schedule(id, next, now);
                }
            }
            Verdict::Failed => {
                turn.failures = turn.failures.saturating_add(1);
                let pause = pause(turn.failures, PAUSES.1, roll);
                self.schedule(id, next.max(now + pause), now);
            }
            Verdict::Unwanted if turn.changed => self.schedule(id, next, now),
            Verdict::Unwanted => turn.phase = Phase::Parked,
            Verdict::Offline => {
                self.schedule(id, next, now);
                if self.offline.is_none_or(|until| until <= now) {
                    self.offline_tries = self.offline_tries.saturating_add(1);
                    self.offline = Some(now + pause(self.offline_tries, OFFLINE_PAUSE_MAX, roll));
                }
            }
        }
    }

    /// The link is up: whoever waits because of a failure waits no longer.
    pub(crate) fn link_up(&mut self, now: Instant) {
        (self.offline, self.offline_tries) = (None, 0);
        let waits = |turn: &Turn| turn.phase == Phase::Parked || turn.failures > 0;
        let late: Vec<DeviceId> =
            self.turns.iter().filter(|(_, turn)| waits(turn)).map(|(id, _)| id.clone()).collect();
        for id in late {
            let Some(turn) = self.turns.get_mut(&id) else { continue };
            turn.failures = 0;
            let (phase, next) = (turn.phase, turn.next);
            match phase {
                Phase::Waiting(at) => drop(self.waiting.remove(&(at, id.clone()))),
                Phase::Parked => {}
                Phase::Idle | Phase::Ready | Phase::UnderWay => continue,
            }
            self.schedule(&id, next, now);
        }
    }

    /// Returns when there is something to do next, if no report ends before.
    pub(crate) fn wake(&self) -> Option<Instant> {
        if self.under_way >= AT_ONCE {
            return None;
        }
        let next = if self.ready.is_empty() { Some(self.waiting.first()?.0) } else { None };
        match (next, self.offline) {
            (Some(at), Some(until)) => Some(at.max(until)),
            (at, until) => at.or(until),
        }
    }

    fn schedule(&mut self, id: &DeviceId, at: Instant, now: Instant) {
        let Some(turn) = self.turns.get_mut(id) else { return };
        if at <= now {
            turn.phase = Phase::Ready;
            self.ready.push_back(id.clone());
        } else {
            turn.phase = Phase::Waiting(at);
            self.waiting.insert((at, id.clone()));
        }
    }
}

/// Doubles with each failure, and is random over its upper half.
fn pause(failures: u32, longest: Duration, roll: u32) -> Duration {
    let whole = PAUSES.0.saturating_mul(1 << failures.min(16)).min(longest);
    whole.mul_f64(0.5 + 0.5 * f64::from(roll) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
