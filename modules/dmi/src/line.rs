//! What one mapper is still to be told, and when.
//!
//! What is due is a difference between what the mapper is to know and what it was told, so that many changes
//! of one object are told once, and nothing is lost while a mapper is away. One call is under way at a time.
//! Models are told before their devices, and taken away after them.

use std::collections::BTreeMap;
use std::time::Duration;

use protocol::{ObjectKey, ResourceType};
use tokio::time::Instant;

use crate::inventory::{Inventory, Wanted};
use crate::mapper::Mapper;
use crate::ports::CallError;

/// The pauses after calls that did not reach the mapper: the first, and the longest.
const AWAY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// The pauses after calls that it refused.
const REFUSED: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// How often it may refuse a state before it is asked no more.
const REFUSALS_MAX: u32 = 6;

/// What is told of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    /// The mapper has not heard of it.
    Create,
    /// The mapper has another state of it.
    Update,
    /// It is gone.
    Remove,
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) key: ObjectKey,
    pub(crate) verb: Verb,
    /// What the mapper then knows; `None` if that is nothing.
    pub(crate) state: Option<u64>,
}

/// What became of a call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The mapper knows.
    Told,
    /// It is said again, later. Whether that is the first failure in a row.
    Away {
        /// So far the mapper was reached.
        is_new: bool,
    },
    /// It is said again, later.
    Refused,
    /// It is not said again before something changes.
    GivenUp,
}

#[derive(Debug, Clone, Copy, Default)]
struct Due {
    refusals: u32,
    not_before: Option<Instant>,
}

/// A mapper, and what it is still to be told.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) mapper: Mapper,
    /// Tells the mapper from those that had its protocol before.
    pub(crate) generation: u64,
    told: BTreeMap<ObjectKey, u64>,
    due: BTreeMap<ObjectKey, Due>,
    is_busy: bool,
    failures: u32,
    pause_until: Option<Instant>,
}

impl Line {
    pub(crate) const fn new(mapper: Mapper, generation: u64, told: BTreeMap<ObjectKey, u64>) -> Self {
        let due = BTreeMap::new();
        Self { mapper, generation, told, due, is_busy: false, failures: 0, pause_until: None }
    }

    /// Returns what the mapper was told.
    pub(crate) const fn told(&self) -> &BTreeMap<ObjectKey, u64> {
        &self.told
    }

    /// Notes that an object may have to be told.
    pub(crate) fn touch(&mut self, key: &ObjectKey) {
        self.due.insert(key.clone(), Due::default());
    }

    /// Notes that everything may have to be told.
    pub(crate) fn touch_all(&mut self, inventory: &Inventory) {
        let known = inventory.of_protocol(&self.mapper.protocol);
        let all: Vec<ObjectKey> =
            known.into_iter().map(|(key, _)| key).chain(self.told.keys().cloned()).collect();
        all.iter().for_each(|key| self.touch(key));
    }

    /// Returns the next call, which then is under way, and forgets what need not be told.
    pub(crate) fn next(&mut self, now: Instant, inventory: &Inventory) -> Option<Step> {
        if self.is_busy || self.pause_until.is_some_and(|until| now < until) {
            return None;
        }
        let (told, protocol) = (&self.told, self.mapper.protocol.as_str());
        self.due.retain(|key, _| is_due(told, key, inventory.wanted(protocol, key)));
        let step = self.choose(now, inventory)?;
        self.is_busy = true;
        Some(step)
    }

    fn choose(&self, now: Instant, inventory: &Inventory) -> Option<Step> {
        let is_time = |due: &Due| due.not_before.is_none_or(|at| at <= now);
        let mut last = None;
        let mut device = None;
        for (key, due) in self.due.iter().filter(|(_, due)| is_time(due)) {
            let is_model = key.resource == ResourceType::DEVICE_MODEL;
            match (is_model, inventory.wanted(&self.mapper.protocol, key)) {
                (true, Wanted::Is(state)) => return Some(self.put(key, state, *due)),
                (false, Wanted::Is(state)) if device.is_none() => {
                    // Its model comes first; one that is due later makes it wait.
                    if inventory.model_of(key).is_none_or(|model| !self.due.contains_key(model)) {
                        device = Some(self.put(key, state, *due));
                    }
                }
                (_, Wanted::Gone) => {
                    let step = Step { key: key.clone(), verb: Verb::Remove, state: None };
                    if is_model { last = last.or(Some(step)) } else { device = device.or(Some(step)) }
                }
                (_, Wanted::Is(_) | Wanted::Unknown) => {}
            }
        }
        let waits = self.due.keys().any(|key| key.resource == ResourceType::DEVICE);
        device.or(last.filter(|_| !waits))
    }

    /// A mapper that refuses one of both is told the other: it may have forgotten what it was told, or know
    /// what nobody remembers to have told it.
    fn put(&self, key: &ObjectKey, state: u64, due: Due) -> Step {
        let is_known = self.told.contains_key(key);
        let verb = if is_known == due.refusals.is_multiple_of(2) { Verb::Update } else { Verb::Create };
        Step { key: key.clone(), verb, state: Some(state) }
    }

    /// A call ended. `roll` is the dice, uniform over its range.
    pub(crate) fn finished(
        &mut self,
        step: &Step,
        done: &Result<(), CallError>,
        now: Instant,
        roll: u32,
    ) -> End {
        self.is_busy = false;
        if let Err(CallError::Unreachable(_)) = done {
            self.failures = self.failures.saturating_add(1);
            self.pause_until = Some(now + pause(AWAY, self.failures, roll));
            return End::Away { is_new: self.failures == 1 };
        }
        (self.failures, self.pause_until) = (0, None);
        match done {
            Ok(()) | Err(CallError::Unserved) => {
                match step.state {
                    Some(state) => drop(self.told.insert(step.key.clone(), state)),
                    None => drop(self.told.remove(&step.key)),
                }
                End::Told
            }
            Err(_) => self.refused(step, now, roll),
        }
    }

    fn refused(&mut self, step: &Step, now: Instant, roll: u32) -> End {
        let Some(due) = self.due.get_mut(&step.key) else { return End::GivenUp };
        due.refusals += 1;
        if due.refusals < REFUSALS_MAX {
            due.not_before = Some(now + pause(REFUSED, due.refusals, roll));
            return End::Refused;
        }
        self.due.remove(&step.key);
        if step.verb == Verb::Remove {
            self.told.remove(&step.key);
        }
        End::GivenUp
    }

    /// Returns when there is something to do next, if no call ends before.
    pub(crate) fn wake(&self) -> Option<Instant> {
        if self.is_busy || self.due.is_empty() {
            return None;
        }
        let next = self.due.values().filter_map(|due| due.not_before).min();
        self.pause_until.max(next)
    }

    /// Returns how much is to be told.
    pub(crate) fn due(&self) -> usize {
        self.due.len()
    }
}

fn is_due(told: &BTreeMap<ObjectKey, u64>, key: &ObjectKey, wanted: Wanted) -> bool {
    match wanted {
        Wanted::Is(state) => told.get(key) != Some(&state),
        Wanted::Gone => told.contains_key(key),
        Wanted::Unknown => false,
    }
}

/// Doubles with each failure, and is random over its upper half.
fn pause((first, longest): (Duration, Duration), failures: u32, roll: u32) -> Duration {
    let whole = first.saturating_mul(1 << failures.saturating_sub(1).min(16)).min(longest);
    whole.mul_f64(0.5 + 0.5 * f64::from(roll) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
