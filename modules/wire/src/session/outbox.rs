//! What a cloud has for one node: bounded, one entry per key, the newest state wins.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::message::MessageId;

/// The bounds of an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutboxLimits {
    /// Keys that may wait.
    pub keys_max: usize,
    /// Bytes that all values together may have. A single value may have more.
    pub bytes_max: usize,
    /// Messages that may be unacknowledged at a time.
    pub window: usize,
    /// The time after which an unacknowledged message is sent again, as it was.
    pub resend_after: Duration,
    /// How often it is sent again before it goes back into the queue.
    pub resends_max: u32,
    /// The pause of a key that went back into the queue: doubled each time from the first
    /// duration to the second.
    pub retry: (Duration, Duration),
}

/// The outbox has as many keys, or as many bytes, as it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full")]
pub struct Full;

/// What to send next.
#[derive(Debug, Clone, PartialEq)]
pub struct ToSend<V> {
    /// The message's id; the same for each time that it is sent again.
    pub id: MessageId,
    /// What it carries.
    pub value: V,
}

#[derive(Debug, Clone)]
struct InFlight<K, V> {
    key: K,
    value: V,
    bytes: usize,
    due: Duration,
    resends: u32,
}

#[derive(Debug, Clone)]
struct Waiting<V> {
    value: V,
    bytes: usize,
    not_before: Duration,
}

/// Orders and repeats the messages of one session.
///
/// A key's states never overtake each other: while one is unacknowledged the next waits, and of
/// several waiting ones only the newest is kept. Other keys go on meanwhile, within the window.
#[derive(Debug, Clone)]
pub struct Outbox<K, V> {
    limits: OutboxLimits,
    waiting: BTreeMap<K, Waiting<V>>,
    order: VecDeque<K>,
    in_flight: BTreeMap<MessageId, InFlight<K, V>>,
    keys_in_flight: BTreeSet<K>,
    failures: BTreeMap<K, u32>,
    bytes: usize,
}

impl<K: Ord + Clone, V: Clone> Outbox<K, V> {
    /// Makes an empty outbox.
    #[must_use]
    pub fn new(limits: OutboxLimits) -> Self {
        Self {
            limits,
            waiting: BTreeMap::new(),
            order: VecDeque::new(),
            in_flight: BTreeMap::new(),
            keys_in_flight: BTreeSet::new(),
            failures: BTreeMap::new(),
            bytes: 0,
        }
    }

    /// Queues `value`, of so many bytes, as the newest state of `key`, replacing one that waits.
    ///
    /// # Errors
    ///
    /// When the outbox would hold more than it may.
    pub fn push(&mut self, key: K, value: V, bytes: usize) -> Result<(), Full> {
        let replaced = self.waiting.get(&key).map(|waiting| waiting.bytes);
        let others = self.bytes - replaced.unwrap_or_default();
        if others > 0 && others.saturating_add(bytes) > self.limits.bytes_max {
            return Err(Full);
        }
        let is_full = self.waiting.len() >= self.limits.keys_max;
        match self.waiting.get_mut(&key) {
            Some(waiting) => (waiting.value, waiting.bytes) = (value, bytes),
            None if is_full => return Err(Full),
            None => {
                self.order.push_back(key.clone());
                self.waiting.insert(key, Waiting { value, bytes, not_before: Duration::ZERO });
            }
        }
        self.bytes = others.saturating_add(bytes);
        Ok(())
    }

    /// Returns how many bytes all values have, those that are unacknowledged too.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns what is to be sent at `now`: first what is due to be sent again, then the key that
    /// has waited longest, of those that `fits` lets pass. `id` makes the id of a new message.
    pub fn next(
        &mut self,
        now: Duration,
        fits: impl Fn(&V) -> bool,
        id: impl FnOnce() -> MessageId,
    ) -> Option<ToSend<V>> {
        self.give_up(now);
        let due = |message: &InFlight<K, V>| message.due <= now && fits(&message.value);
        if let Some((id, message)) = self.in_flight.iter_mut().find(|(_, message)| due(message)) {
            message.due = now.saturating_add(self.limits.resend_after);
            message.resends += 1;
            return Some(ToSend { id: id.clone(), value: message.value.clone() });
        }
        if self.in_flight.len() >= self.limits.window {
            return None;
        }
        let at = self.order.iter().position(|key| self.is_ready(key, now, &fits))?;
        let key = self.order.remove(at)?;
        let Waiting { value, bytes, .. } = self.waiting.remove(&key)?;
        let id = id();
        let due = now.saturating_add(self.limits.resend_after);
        self.keys_in_flight.insert(key.clone());
        self.in_flight.insert(id.clone(), InFlight { key, value: value.clone(), bytes, due, resends: 0 });
        Some(ToSend { id, value })
    }

    /// Notes that the message `id` was kept by the peer. Returns what it carried, if it was
    /// unacknowledged.
    pub fn acknowledge(&mut self, id: &MessageId) -> Option<V> {
        let message = self.in_flight.remove(id)?;
        self.keys_in_flight.remove(&message.key);
        self.failures.remove(&message.key);
        self.bytes -= message.bytes;
        Some(message.value)
    }

    /// Notes that the peer could not keep the message `id`: its key is tried again after a pause.
    /// Tells whether it was unacknowledged.
    pub fn refuse(&mut self, id: &MessageId, now: Duration) -> bool {
        let Some(message) = self.in_flight.remove(id) else { return false };
        self.requeue(message, now);
        true
    }

    /// Returns the time at which [`Outbox::next`] may have something to send, other than by a
    /// push or an acknowledgement.
    #[must_use]
    pub fn next_due(&self) -> Option<Duration> {
        let resend = self.in_flight.values().map(|message| message.due).min();
        if self.in_flight.len() >= self.limits.window {
            return resend;
        }
        let free = self.waiting.iter().filter(|(key, _)| !self.keys_in_flight.contains(key));
        free.map(|(_, waiting)| waiting.not_before).chain(resend).min()
    }

    /// Returns how many keys wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns how many messages are unacknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.in_flight.len()
    }

    fn is_ready(&self, key: &K, now: Duration, fits: impl Fn(&V) -> bool) -> bool {
        let is_due = |waiting: &Waiting<V>| waiting.not_before <= now && fits(&waiting.value);
        let waits = self.waiting.get(key).is_some_and(is_due);
        waits && !self.keys_in_flight.contains(key)
    }

    fn give_up(&mut self, now: Duration) {
        let resends_max = self.limits.resends_max;
        let exhausted: Vec<MessageId> = self
            .in_flight
            .iter()
            .filter(|(_, message)| message.due <= now && message.resends >= resends_max)
            .map(|(id, _)| id.clone())
            .collect();
        for id in exhausted {
            self.refuse(&id, now);
        }
    }

    /// A newer state that waits already takes the place of the one that failed.
    fn requeue(&mut self, message: InFlight<K, V>, now: Duration) {
        let InFlight { key, value, bytes, .. } = message;
        self.keys_in_flight.remove(&key);
        let failures = self.failures.entry(key.clone()).or_default();
        let (first, longest) = self.limits.retry;
        let pause = first.saturating_mul(1_u32.checked_shl(*failures).unwrap_or(u32::MAX)).min(longest);
        *failures = failures.saturating_add(1);
        let not_before = now.saturating_add(pause);
        match self.waiting.get_mut(&key) {
            Some(waiting) => {
                waiting.not_before = not_before;
                self.bytes -= bytes;
            }
            None => {
                self.order.push_back(key.clone());
                self.waiting.insert(key, Waiting { value, bytes, not_before });
            }
        }
    }
}

#[cfg(test)]
mod tests;
