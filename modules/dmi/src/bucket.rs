//! How often a mapper may report.

use tokio::time::Instant;

/// A token bucket.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    per_second: f64,
    most: f64,
    tokens: f64,
    at: Instant,
}

impl Bucket {
    /// Makes a full bucket.
    pub(crate) fn new(per_second: u32, burst: u32, now: Instant) -> Self {
        let most = f64::from(burst);
        Self { per_second: f64::from(per_second), most, tokens: most, at: now }
    }

    /// Takes a token, if there is one.
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.at = self.at.max(now);
        self.tokens = (self.tokens + passed * self.per_second).min(self.most);
        if self.tokens < 1.0 {
            return false;
        }
        self.tokens -= 1.0;
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_is_taken_and_then_as_many_as_come_back() {
        let start = Instant::now();
        let mut bucket = Bucket::new(10, 3, start);
        let mut taken =
            |millis| (0..9).filter(|_| bucket.take(start + Duration::from_millis(millis))).count();
        assert_eq!(taken(0), 3);
        assert_eq!(taken(50), 0);
        assert_eq!(taken(250), 2);
        assert_eq!(taken(60_000), 3);
        assert_eq!(taken(0), 0, "a clock that goes back gives nothing");
    }
}
