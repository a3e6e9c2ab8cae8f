//! What happens on the bus, event by event, for whoever wants to watch.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Something that happened on the bus.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BusEvent {
    /// When, on tokio's clock.
    pub at: Instant,
    /// The node.
    pub node: std::sync::Arc<str>,
    /// Who began it: a module, or `outside`.
    pub from: &'static str,
    /// The module that it concerns.
    pub to: &'static str,
    /// The message that it concerns; empty where none does.
    pub message: &'static str,
    /// What happened.
    pub kind: EventKind,
}

impl fmt::Display for BusEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, from, to, message, kind, .. } = self;
        write!(f, "{node} {from} -> {to} {message} {kind:?}")
    }
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// A message was put in a mailbox.
    Sent,
    /// A request was put in a mailbox.
    Asked,
    /// A mailbox had no room.
    Full,
    /// A wait was refused, since it would have closed a circle.
    Cycle,
    /// An asker had its answer.
    Replied,
    /// An asker went without an answer.
    Unanswered,
    /// A handler is to run.
    Handling,
    /// A handler is to run for a timer of the module.
    Timer,
    /// A request was dropped before its handler ran, since its asker had left.
    Abandoned,
    /// A handler ran to its end.
    Handled,
    /// A module failed.
    Failed,
    /// A failed module waits.
    Restarting {
        /// How long it waits.
        after: Duration,
    },
    /// A module has started.
    Started,
    /// A module is given up.
    GivenUp,
    /// A handler makes no progress.
    Stuck {
        /// For how long.
        waited: Duration,
    },
    /// A module has stopped.
    Stopped,
}

/// Takes events. Called on the bus's own path: it must be quick and must not block.
pub trait TraceSink: Send + Sync {
    /// Takes an event.
    fn record(&self, event: BusEvent);
}

/// Keeps the newest events, up to a bound.
#[derive(Debug)]
pub struct TraceRing {
    events: Mutex<VecDeque<BusEvent>>,
    capacity: usize,
}

impl TraceRing {
    /// Makes a ring for `capacity` events.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self { events: Mutex::new(VecDeque::new()), capacity: capacity.max(1) }
    }

    /// Returns the events, oldest first.
    #[must_use]
    pub fn events(&self) -> Vec<BusEvent> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

impl TraceSink for TraceRing {
    fn record(&self, event: BusEvent) {
        let mut events = self.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == self.capacity {
            events.pop_front();
        }
        events.push_back(event);
    }
}
