//! How fast something that failed is tried again.

use std::time::Duration;

/// Delays that double from try to try, each spread by up to half so that many do not come together.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    next: Duration,
    first: Duration,
    most: Duration,
    seed: u64,
}

impl Pace {
    /// Makes the pace of an outside call: 0.2 s to 5 s.
    pub(crate) fn of_calls(seed: u64) -> Self {
        Self::new(Duration::from_millis(200), Duration::from_secs(5), seed)
    }

    /// Makes the pace of a watch: 0.5 s to 15 s.
    pub(crate) fn of_watches(seed: u64) -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(15), seed)
    }

    fn new(first: Duration, most: Duration, seed: u64) -> Self {
        Self { next: first, first, most, seed }
    }

    /// Returns the next delay.
    pub(crate) fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.most);
        delay + delay.mul_f64(self.fraction() / 2.0)
    }

    /// Begins anew after a success.
    pub(crate) fn reset(&mut self) {
        self.next = self.first;
    }

    /// Returns a number from 0 to 1, by splitmix64.
    fn fraction(&mut self) -> f64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.seed;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        f64::from(u32::try_from(z >> 32).unwrap_or_default()) / f64::from(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_their_bound_and_are_spread() {
        let mut pace = Pace::of_calls(1);
        for expected in [200, 400, 800, 1600, 3200, 5000, 5000] {
            let (delay, expected) = (pace.delay(), Duration::from_millis(expected));
            assert!(
                delay >= expected && delay <= expected.mul_f64(1.5),
                "{delay:?} is not about {expected:?}"
            );
        }
        pace.reset();
        assert!(pace.delay() <= Duration::from_millis(300));
        assert_ne!(Pace::of_calls(1).delay(), Pace::of_calls(2).delay());
        assert_eq!(Pace::of_calls(1).delay(), Pace::of_calls(1).delay());
    }
}
