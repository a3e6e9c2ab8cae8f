//! Finds out that a peer is dead, and makes sure that it can find out the same.

use std::time::Duration;

/// When an end says that it is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beats {
    /// At each interval.
    Always,
    /// When it heard nothing for an interval: it asks, and the answer says that both are alive.
    WhenSilent,
}

/// The timing of a keepalive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepaliveLimits {
    /// When this end says that it is alive.
    pub beats: Beats,
    /// How often, or after which silence, it says so.
    pub interval: Duration,
    /// The longest silence of a living peer.
    pub silence_max: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// Nothing until then.
    Quiet(Duration),
    /// Tell the peer that this end is alive.
    Beat,
    /// The peer has been silent for too long.
    Dead,
}

/// Watches the silence of a peer and times the own beats.
#[derive(Debug, Clone)]
pub struct Keepalive {
    limits: KeepaliveLimits,
    heard: Duration,
    next_beat: Duration,
}

impl Keepalive {
    /// Begins at `now`, with a first beat due at once.
    #[must_use]
    pub fn new(limits: KeepaliveLimits, now: Duration) -> Self {
        Self { limits, heard: now, next_beat: now }
    }

    /// Notes that the peer said something that proves it alive. Of two ends that beat when it is silent
    /// the one with the shorter interval does.
    pub fn heard(&mut self, now: Duration) {
        self.heard = self.heard.max(now);
        if self.limits.beats == Beats::WhenSilent {
            self.next_beat = self.next_beat.max(now.saturating_add(self.limits.interval));
        }
    }

    /// Tells what is to be done at `now`. A beat that is returned counts as sent.
    pub fn poll(&mut self, now: Duration) -> Liveness {
        let dead_at = self.heard.saturating_add(self.limits.silence_max);
        if now >= dead_at {
            return Liveness::Dead;
        }
        if now >= self.next_beat {
            self.next_beat = now.saturating_add(self.limits.interval);
            return Liveness::Beat;
        }
        Liveness::Quiet(dead_at.min(self.next_beat))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn keepalive(beats: Beats) -> Keepalive {
        let limits = KeepaliveLimits { beats, interval: SECOND * 3, silence_max: SECOND * 9 };
        Keepalive::new(limits, Duration::ZERO)
    }

    #[test]
    fn it_beats_at_once_and_then_at_each_interval() {
        let mut keepalive = keepalive(Beats::Always);
        assert_eq!(keepalive.poll(Duration::ZERO), Liveness::Beat);
        keepalive.heard(SECOND);
        assert_eq!(keepalive.poll(SECOND), Liveness::Quiet(SECOND * 3));
        assert_eq!(keepalive.poll(SECOND * 3), Liveness::Beat);
    }

    #[test]
    fn an_end_that_hears_often_enough_asks_nothing() {
        let mut keepalive = keepalive(Beats::WhenSilent);
        assert_eq!(keepalive.poll(Duration::ZERO), Liveness::Beat);
        for second in (2..20).step_by(2) {
            keepalive.heard(SECOND * second);
            assert_eq!(keepalive.poll(SECOND * second), Liveness::Quiet(SECOND * (second + 3)));
        }
        assert_eq!(keepalive.poll(SECOND * 21), Liveness::Beat);
    }

    #[test]
    fn a_silent_peer_is_dead_after_the_longest_silence_and_not_before() {
        let mut keepalive = keepalive(Beats::WhenSilent);
        keepalive.heard(SECOND * 2);
        assert_ne!(keepalive.poll(SECOND * 11 - Duration::from_millis(1)), Liveness::Dead);
        assert_eq!(keepalive.poll(SECOND * 11), Liveness::Dead);
        keepalive.heard(SECOND);
        assert_eq!(keepalive.poll(SECOND * 11), Liveness::Dead, "time never runs back");
    }
}
