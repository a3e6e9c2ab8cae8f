//! How fast something that failed is tried again.

use std::time::Duration;

/// Delays that double from try to try, each spread by up to half so that many do not come together.
#[derive(Debug, Clone)]
pub struct Pace {
    next: Duration,
    first: Duration,
    most: Duration,
    seed: u64,
}

impl Pace {
    /// Makes a pace from `first` up to `most`, whose spread follows from random bytes: two paces of
    /// the same bytes are one.
    #[must_use]
    pub fn new(first: Duration, most: Duration, random: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, ..] = random;
        Self { next: first, first, most, seed: u64::from_le_bytes([a, b, c, d, e, f, g, h]) }
    }

    /// Returns the next delay.
    pub fn delay(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(self.most);
        delay + delay.mul_f64(self.fraction() / 2.0)
    }

    /// Begins anew after a success.
    pub fn reset(&mut self) {
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

    fn pace(seed: u8) -> Pace {
        Pace::new(Duration::from_millis(200), Duration::from_secs(5), [seed; 16])
    }

    #[test]
    fn delays_double_up_to_their_bound_and_are_spread() {
        let mut delays = pace(1);
        for expected in [200, 400, 800, 1600, 3200, 5000, 5000] {
            let (delay, expected) = (delays.delay(), Duration::from_millis(expected));
            assert!(
                delay >= expected && delay <= expected.mul_f64(1.5),
                "{delay:?} is not about {expected:?}"
            );
        }
        delays.reset();
        assert!(delays.delay() <= Duration::from_millis(300));
        assert_ne!(pace(1).delay(), pace(2).delay());
        assert_eq!(pace(1).delay(), pace(1).delay());
    }
}
