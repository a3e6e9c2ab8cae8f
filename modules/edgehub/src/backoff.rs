//! How long to wait before the next dial: decorrelated jitter.

use std::time::Duration;

/// The pause between dials. Each is random between the first pause and three times the one
/// before, or the longest, so that the edges of a cloud that restarts do not come back in step.
#[derive(Debug, Clone)]
pub(crate) struct Backoff {
    first: Duration,
    last: Duration,
}

impl Backoff {
    pub(crate) fn new(first: Duration) -> Self {
        Self { first, last: first }
    }

    /// Returns the next pause; `roll` is the dice, uniform over its range.
    pub(crate) fn next(&mut self, longest: Duration, roll: u32) -> Duration {
        // A pause that were random and then cut off would be the longest most times, and in step.
        let span = self.last.saturating_mul(3).min(longest).saturating_sub(self.first);
        self.last = self.first + span.mul_f64(f64::from(roll) / f64::from(u32::MAX));
        self.last
    }

    pub(crate) fn reset(&mut self) {
        self.last = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(30);

    #[test]
    fn pauses_grow_to_the_longest_and_never_fall_below_the_first() {
        let mut backoff = Backoff::new(FIRST);
        let pauses: Vec<_> = (0..8).map(|_| backoff.next(LONGEST, u32::MAX)).collect();
        assert_eq!(pauses.first(), Some(&Duration::from_millis(600)));
        assert_eq!(pauses.last(), Some(&LONGEST));
        assert_eq!(backoff.next(LONGEST, 0), FIRST);
        assert_eq!(backoff.next(LONGEST, u32::MAX), FIRST * 3, "a short pause makes the next one short");
    }

    #[test]
    fn long_pauses_are_spread_over_all_that_is_allowed() {
        let mut backoff = Backoff::new(FIRST);
        (0..8).for_each(|_| {
            backoff.next(LONGEST, u32::MAX);
        });
        let pause = backoff.next(LONGEST, u32::MAX / 2);
        assert!(pause > LONGEST / 2 - FIRST && pause < LONGEST / 2 + FIRST, "{pause:?}");
        let pause = backoff.next(LONGEST / 6, u32::MAX / 2);
        assert!(pause > LONGEST / 12 - FIRST && pause < LONGEST / 12 + FIRST, "{pause:?}");
    }

    #[test]
    fn a_reset_starts_over() {
        let mut backoff = Backoff::new(FIRST);
        (0..8).for_each(|_| {
            backoff.next(LONGEST, u32::MAX);
        });
        backoff.reset();
        assert_eq!(backoff.next(LONGEST, u32::MAX), FIRST * 3);
    }
}
