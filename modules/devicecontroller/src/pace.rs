//! How many statuses are written in a second.

use std::time::Duration;

use tokio::time::Instant;

/// How much of what is not used is saved up.
const SAVED_MAX: Duration = Duration::from_secs(1);

/// A rate. What is not used in a second may follow at once.
#[derive(Debug)]
pub(crate) struct Pace {
    /// How much time one write takes up.
    step: Duration,
    /// Up to when time is taken up.
    taken: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(per_second: u32) -> Self {
        Self { step: SAVED_MAX / per_second.max(1), taken: None }
    }

    /// Returns when the next write may begin; `None` if that is at once.
    pub(crate) fn next(&self, now: Instant) -> Option<Instant> {
        let next = (self.taken? + self.step).checked_sub(SAVED_MAX)?;
        (next > now).then_some(next)
    }

    /// Begins a write.
    pub(crate) fn take(&mut self, now: Instant) {
        self.taken = Some(self.taken.map_or(now, |taken| taken.max(now)) + self.step);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pace: &mut Pace, now: Instant) -> usize {
        std::iter::from_fn(|| pace.next(now).is_none().then(|| pace.take(now))).take(1000).count()
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let mut pace = Pace::new(20);
        let now = Instant::now();
        assert_eq!(taken(&mut pace, now), 20);
        assert_eq!(pace.next(now), Some(now + Duration::from_millis(50)));
        assert_eq!(taken(&mut pace, now + Duration::from_millis(49)), 0);
        assert_eq!(taken(&mut pace, now + Duration::from_millis(500)), 10);
        let later = now + Duration::from_secs(3600);
        assert_eq!(taken(&mut pace, later), 20, "no more than a second's is saved up");
        assert_eq!(taken(&mut pace, now), 0, "a clock that goes back gives nothing");
    }
}
