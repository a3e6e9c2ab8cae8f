//! Keeps the queue within the transport short, so that what is urgent does not wait in it.
//!
//! A transport takes what it is given into buffers that nothing overtakes: megabytes of them, which
//! a slow link needs minutes for. So an end gives it only as much as the link carries in a moment,
//! and finds out how much that is: behind each bit of data it sends a ping, whose pong tells that
//! all before it has arrived, and how long that took.

use std::collections::VecDeque;
use std::time::Duration;

/// The window that a link begins with and never goes below.
const WINDOW_MIN: usize = 8 << 10;
/// The largest window: what a fast link takes on its way around the earth.
const WINDOW_MAX: usize = 4 << 20;
/// The longest time that data of this end may hold up what is urgent.
const DELAY_MAX: Duration = Duration::from_millis(200);
/// Marks per window, and those that may be unanswered: a peer that answers none is not asked on.
const MARKS: usize = 4;
const MARKS_MAX: usize = 32;
/// How many numbers of pings are told apart where they are short: more than are ever unanswered.
const NUMBERS: u64 = 64;

#[derive(Debug, Clone, Copy)]
struct Mark {
    number: u64,
    sent: Duration,
    /// All that was given to the transport before it, since the session began.
    bytes: u64,
    was_full: bool,
}

/// Measures one direction of a link and limits what is on its way.
///
/// The link's delay without a queue is the shortest that was ever measured. A route that becomes
/// longer than that by more than [`DELAY_MAX`] looks like a queue, and has the smallest window until
/// the next session.
#[derive(Debug, Clone)]
pub(crate) struct Pacer {
    window: usize,
    given: u64,
    arrived: u64,
    marked: u64,
    marks: VecDeque<Mark>,
    numbers: u64,
    shortest: Option<Duration>,
    /// Whether the link was never full, so that the window may double.
    starts: bool,
    /// The mark at which the window was last made smaller: earlier ones say nothing of that.
    shrunk_at: u64,
    was_full: bool,
}

impl Pacer {
    pub(crate) fn new() -> Self {
        Self {
            window: WINDOW_MIN,
            given: 0,
            arrived: 0,
            marked: 0,
            marks: VecDeque::new(),
            numbers: 0,
            shortest: None,
            starts: true,
            shrunk_at: 0,
            was_full: false,
        }
    }

    /// Tells whether data may be given to the transport.
    pub(crate) fn is_open(&mut self) -> bool {
        let on_its_way = self.given - self.arrived;
        let is_open = on_its_way < to_u64(self.window);
        self.was_full |= !is_open;
        is_open
    }

    /// Notes that so many bytes were given to the transport.
    pub(crate) fn gave(&mut self, bytes: usize) {
        self.given += to_u64(bytes);
    }

    /// Tells whether a ping is to follow what was given.
    pub(crate) fn wants_mark(&self) -> bool {
        self.marks.len() < MARKS_MAX && self.given - self.marked >= to_u64(self.window / MARKS)
    }

    /// Makes the number of a ping that is given to the transport now.
    pub(crate) fn mark(&mut self, now: Duration) -> u64 {
        self.numbers += 1;
        self.marked = self.given;
        let was_full = std::mem::take(&mut self.was_full);
        self.marks.push_back(Mark { number: self.numbers, sent: now, bytes: self.given, was_full });
        self.numbers
    }

    /// Takes all for arrived: while this end does not read, it cannot hear that it did, and leaves it
    /// to the transport to hold it back.
    pub(crate) fn forget(&mut self) {
        self.arrived = self.given;
        self.marked = self.given;
        self.marks.clear();
    }

    /// Notes that the ping `number` was answered.
    pub(crate) fn arrived(&mut self, number: u64, now: Duration) {
        let Some(at) = self.marks.iter().position(|mark| mark.number % NUMBERS == number % NUMBERS) else {
            return;
        };
        let Some(mark) = self.marks.drain(..=at).next_back() else { return };
        let bytes = usize::try_from(mark.bytes - self.arrived).unwrap_or(usize::MAX);
        self.arrived = mark.bytes;
        let took = now.saturating_sub(mark.sent);
        let shortest = self.shortest.map_or(took, |shortest| shortest.min(took));
        self.shortest = Some(shortest);
        if took - shortest > DELAY_MAX {
            if mark.number > self.shrunk_at {
                self.window = (self.window / 2).max(WINDOW_MIN);
                self.shrunk_at = self.numbers;
            }
            self.starts = false;
        } else if mark.was_full || self.was_full {
            let more = if self.starts { bytes } else { bytes / 8 };
            self.window = self.window.saturating_add(more).min(WINDOW_MAX);
        }
    }
}

fn to_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends for a minute over a link that carries `per_second` bytes and takes `delay` each way.
    /// Returns what arrived, and the longest time from giving a ping to its pong in the second half.
    fn minute(per_second: u64, delay: Duration) -> (u64, Duration) {
        let mut pacer = Pacer::new();
        let (mut now, mut free_at, mut carried) = (Duration::ZERO, Duration::ZERO, 0);
        let mut pongs: VecDeque<(Duration, u64, Duration)> = VecDeque::new();
        let mut longest = Duration::ZERO;
        let through = |free_at: &mut Duration, now: Duration, bytes: u64| {
            *free_at = (*free_at).max(now) + Duration::from_micros(bytes * 1_000_000 / per_second);
            *free_at
        };
        while now < Duration::from_secs(60) {
            while let Some((at, number, sent)) = pongs.pop_front_if(|(at, ..)| *at <= now) {
                pacer.arrived(number, at);
                if now > Duration::from_secs(30) {
                    longest = longest.max(at - sent);
                }
            }
            while pacer.is_open() {
                pacer.gave(1024);
                through(&mut free_at, now, 1024);
                carried += 1024;
                if pacer.wants_mark() {
                    let number = pacer.mark(now);
                    let there = through(&mut free_at, now, 16);
                    pongs.push_back((there + delay * 2, number, now));
                }
            }
            now += Duration::from_millis(1);
        }
        (carried, longest)
    }

    #[test]
    fn a_slow_link_is_used_and_its_queue_stays_short() {
        for (per_second, delay_ms) in [(32_000, 20), (125_000, 50), (1_250_000, 20), (12_500_000, 100)] {
            let delay = Duration::from_millis(delay_ms);
            let (carried, longest) = minute(per_second, delay);
            assert!(carried > per_second * 60 * 6 / 10, "{per_second}: only {carried} bytes in a minute");
            let most = delay * 2 + DELAY_MAX * 5 / 2;
            assert!(longest < most, "{per_second}: a ping took {longest:?}");
        }
    }

    #[test]
    fn an_end_that_does_not_read_is_not_held_back() {
        let mut pacer = Pacer::new();
        pacer.gave(WINDOW_MIN);
        let number = pacer.mark(Duration::ZERO);
        assert!(!pacer.is_open());
        pacer.forget();
        assert!(pacer.is_open());
        pacer.arrived(number, Duration::from_secs(60));
        assert_eq!(pacer.window, WINDOW_MIN, "a late pong tells nothing");
    }

    #[test]
    fn nothing_more_is_given_until_something_arrived() {
        let mut pacer = Pacer::new();
        while pacer.is_open() {
            pacer.gave(1000);
        }
        let number = pacer.mark(Duration::ZERO);
        assert!(!pacer.is_open());
        pacer.arrived(number + 1, Duration::from_millis(1));
        assert!(!pacer.is_open(), "the pong of another ping");
        pacer.arrived(number, Duration::from_millis(1));
        assert!(pacer.is_open());
        let before = pacer.window;
        pacer.arrived(number, Duration::from_millis(1));
        assert_eq!(pacer.window, before, "a pong counts once");
    }
}
