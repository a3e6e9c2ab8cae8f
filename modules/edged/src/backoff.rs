//! Delays that grow with each failure.

use std::time::{Duration, SystemTime};

use crate::time::since;

/// How a delay grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// The first delay.
    pub initial: Duration,
    /// The longest.
    pub max: Duration,
}

/// Between two runs of a container that ends, and between two attempts to pull an image.
pub const CRASH: Growth = Growth { initial: Duration::from_secs(10), max: Duration::from_secs(300) };

/// Between two attempts to make a sandbox, a volume or a container.
pub const SETUP: Growth = Growth { initial: Duration::from_millis(500), max: Duration::from_secs(60) };

/// Tells whether the end of a delay is still to come. One that is further away than any delay was set
/// before the clock was set back, and must not hold anything for hours.
#[must_use]
pub fn is_ahead(until: SystemTime, now: SystemTime) -> bool {
    until > now && since(until, now) <= CRASH.max
}

/// The delay that something is under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The delay.
    pub delay: Duration,
    /// When it was last set.
    pub set_at: SystemTime,
}

impl Backoff {
    /// Returns the delay after one more failure, which happened at `event`. A failure that comes
    /// longer than twice the longest delay after the last one begins anew.
    #[must_use]
    pub fn next(last: Option<Self>, growth: Growth, event: SystemTime, now: SystemTime) -> Self {
        let delay = match last {
            Some(last) if !last.is_over(growth, event) => (last.delay * 2).min(growth.max),
            _ => growth.initial,
        };
        Self { delay, set_at: now }
    }

    /// Returns until when to wait after a failure at `event`; `None` if there is nothing to wait for.
    #[must_use]
    pub fn until(
        last: Option<Self>,
        growth: Growth,
        event: SystemTime,
        now: SystemTime,
    ) -> Option<SystemTime> {
        let last = last.filter(|last| !last.is_over(growth, event))?;
        let until = event + last.delay;
        is_ahead(until, now).then_some(until)
    }

    fn is_over(&self, growth: Growth, event: SystemTime) -> bool {
        since(event, self.set_at) > growth.max * 2
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000 + seconds)
    }

    #[test]
    fn each_failure_doubles_the_delay_up_to_its_bound() {
        let mut backoff = None;
        let mut delays = Vec::new();
        for round in 0..7 {
            let next = Backoff::next(backoff, CRASH, at(round), at(round));
            delays.push(next.delay.as_secs());
            backoff = Some(next);
        }
        assert_eq!(delays, [10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_quiet_minutes_begin_anew() {
        let last = Backoff { delay: Duration::from_secs(300), set_at: at(0) };
        assert_eq!(Backoff::next(Some(last), CRASH, at(601), at(601)).delay, Duration::from_secs(10));
        assert_eq!(Backoff::until(Some(last), CRASH, at(601), at(601)), None);
        assert_eq!(Backoff::until(Some(last), CRASH, at(500), at(501)), Some(at(800)));
        assert_eq!(Backoff::until(None, CRASH, at(0), at(1)), None);
    }

    #[test]
    fn a_clock_set_back_does_not_hold_for_ever() {
        let last = Backoff { delay: Duration::from_secs(300), set_at: at(10_000) };
        assert_eq!(Backoff::until(Some(last), CRASH, at(10_000), at(0)), None);
    }
}
