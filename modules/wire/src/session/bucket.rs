//! A token bucket: a rate with a burst.

use std::time::Duration;

/// Limits how many things happen per second.
#[derive(Debug, Clone)]
pub struct TokenBucket {
    per_second: u32,
    burst: u32,
    tokens: f64,
    filled: Duration,
}

impl TokenBucket {
    /// Makes a full bucket. A rate of zero is no limit.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let burst = burst.max(1);
        Self { per_second, burst, tokens: f64::from(burst), filled: Duration::ZERO }
    }

    /// Takes a token if there is one.
    pub fn take(&mut self, now: Duration) -> bool {
        if self.per_second == 0 {
            return true;
        }
        self.fill(now);
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }

    /// Returns when the next token is there.
    pub fn next(&mut self, now: Duration) -> Duration {
        self.fill(now);
        if self.per_second == 0 || self.tokens >= 1.0 {
            return now;
        }
        let missing = (1.0 - self.tokens) / f64::from(self.per_second);
        now.saturating_add(Duration::from_secs_f64(missing)).saturating_add(Duration::from_millis(1))
    }

    fn fill(&mut self, now: Duration) {
        let gained = now.saturating_sub(self.filled).as_secs_f64() * f64::from(self.per_second);
        self.tokens = (self.tokens + gained).min(f64::from(self.burst));
        self.filled = self.filled.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(bucket: &mut TokenBucket, now: Duration) -> usize {
        std::iter::from_fn(|| bucket.take(now).then_some(())).take(1000).count()
    }

    #[test]
    fn a_burst_is_followed_by_the_rate() {
        let mut bucket = TokenBucket::new(30, 60);
        assert_eq!(taken(&mut bucket, Duration::ZERO), 60);
        assert_eq!(taken(&mut bucket, Duration::from_millis(1010)), 30);
        let next = bucket.next(Duration::from_millis(1010));
        assert!(next > Duration::from_millis(1010) && next < Duration::from_millis(1050), "{next:?}");
        assert!(bucket.take(next));
        assert_eq!(taken(&mut bucket, Duration::from_secs(3600)), 60, "no more than a burst is saved up");
    }

    #[test]
    fn a_rate_of_zero_is_no_limit() {
        let mut bucket = TokenBucket::new(0, 0);
        assert_eq!(taken(&mut bucket, Duration::ZERO), 1000);
    }
}
