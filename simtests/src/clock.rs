//! A node's wall clock: the simulated time, and how far the node's own clock is off.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use beehive::Clock;
use tokio::time::Instant;

/// When every simulation begins: 2026-01-01T00:00:00Z.
pub(crate) const EPOCH: Duration = Duration::from_secs(1_767_225_600);

/// Tells a node the time of day.
#[derive(Debug)]
pub(crate) struct SimClock {
    start: Instant,
    off_ms: AtomicI64,
}

impl SimClock {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, off_ms: AtomicI64::new(0) }
    }

    /// Moves the clock forward, or backward by a negative number.
    pub(crate) fn jump(&self, by_ms: i64) {
        self.off_ms.fetch_add(by_ms, Ordering::Relaxed);
    }

    /// Sets the clock right.
    pub(crate) fn set_right(&self) {
        self.off_ms.store(0, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> SystemTime {
        let right = SystemTime::UNIX_EPOCH + EPOCH + self.start.elapsed();
        let off = self.off_ms.load(Ordering::Relaxed);
        let by = Duration::from_millis(off.unsigned_abs());
        if off < 0 { right - by } else { right + by }
    }
}
