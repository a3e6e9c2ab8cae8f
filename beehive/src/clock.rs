//! The wall clock, given to a node as a value.

use std::time::SystemTime;

/// Tells the time of day. Durations and deadlines use tokio's clock instead, which tests can pause.
pub trait Clock: Send + Sync {
    /// Returns the time of day.
    fn now(&self) -> SystemTime;
}

/// The machine's own clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the value that gives everyone else the time")]
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}
