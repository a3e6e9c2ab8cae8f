//! In which order and how fast sessions begin to be told what their nodes must know.

use std::collections::VecDeque;
use std::time::Duration;

use wire::session::TokenBucket;

/// Sessions that wait for their turn, first come, first served. `T` is how one is told.
#[derive(Debug)]
pub(crate) struct Turns<T> {
    bucket: TokenBucket,
    waiting: VecDeque<(u64, T)>,
}

impl<T> Turns<T> {
    /// Lets so many have their turn per second; 0 is no limit.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { bucket: TokenBucket::new(per_second, per_second), waiting: VecDeque::new() }
    }

    /// Takes a turn for a session at once, if none waits and it may.
    pub(crate) fn take(&mut self, now: Duration) -> bool {
        self.waiting.is_empty() && self.bucket.take(now)
    }

    /// Lets a session wait. There is one entry for each connection, and their number is bounded.
    pub(crate) fn wait(&mut self, connection: u64, tell: T) {
        self.waiting.push_back((connection, tell));
    }

    /// Forgets a connection that ended.
    pub(crate) fn leave(&mut self, connection: u64) {
        self.waiting.retain(|(waiting, _)| *waiting != connection);
    }

    /// Returns the next whose turn it is.
    pub(crate) fn next(&mut self, now: Duration) -> Option<T> {
        if self.waiting.is_empty() || !self.bucket.take(now) {
            return None;
        }
        self.waiting.pop_front().map(|(_, tell)| tell)
    }

    /// Returns how long the next one waits, if any does.
    pub(crate) fn pause(&mut self, now: Duration) -> Option<Duration> {
        (!self.waiting.is_empty()).then(|| self.bucket.next(now).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn turns_come_in_order_at_the_rate() {
        let mut turns = Turns::new(10);
        let taken = (0..100).filter(|_| turns.take(Duration::ZERO)).count();
        assert_eq!(taken, 10);
        for connection in 0..30 {
            turns.wait(connection, connection);
        }
        turns.leave(3);
        assert!(!turns.take(SECOND / 2), "those who wait go first");
        let told = |turns: &mut Turns<u64>, now| std::iter::from_fn(|| turns.next(now)).collect::<Vec<_>>();
        assert_eq!(told(&mut turns, SECOND / 2), [0, 1, 2, 4, 5]);
        let pause = turns.pause(SECOND / 2).expect("some wait");
        assert!(pause > Duration::ZERO && pause <= SECOND / 5, "{pause:?}");
        assert_eq!(told(&mut turns, SECOND * 10).len(), 10, "no more than a burst is saved up");
        assert_eq!(told(&mut turns, SECOND * 20).len(), 10);
        assert_eq!(told(&mut turns, SECOND * 30).len(), 4);
        assert_eq!(turns.pause(SECOND * 30), None);
    }

    #[test]
    fn without_a_rate_nobody_waits() {
        let mut turns: Turns<()> = Turns::new(0);
        assert!((0..10_000).all(|_| turns.take(Duration::ZERO)));
    }
}
