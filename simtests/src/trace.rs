//! What happened in a run: one line for each event, kept, counted and hashed.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use beehive::{BusEvent, TraceSink};
use tokio::time::Instant;

/// So much text is kept; what follows is still counted and hashed.
const KEPT_BYTES_MAX: usize = 256 << 20;
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Continues an FNV-1a hash.
pub(crate) fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME))
}

/// Hashes some bytes, to be shown in a line.
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    fnv(FNV_OFFSET, bytes)
}

/// The trace of one run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    hash: u64,
    events: u64,
    text: String,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: FNV_OFFSET, events: 0, text: String::new() }
    }
}

impl Trace {
    /// Returns the hash of all lines.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }

    /// Returns how many lines there were.
    #[must_use]
    pub const fn events(&self) -> u64 {
        self.events
    }

    /// Returns the lines, oldest first.
    pub fn lines(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.text.lines()
    }

    /// Returns the last `count` lines.
    #[must_use]
    pub fn tail(&self, count: usize) -> Vec<&str> {
        let mut lines: Vec<&str> = self.lines().rev().take(count).collect();
        lines.reverse();
        lines
    }

    /// Returns the first line in which two traces differ; `None` when they are the same.
    #[must_use]
    pub fn divergence(&self, other: &Self) -> Option<Divergence> {
        if self.hash == other.hash && self.events == other.events {
            return None;
        }
        let (mut ours, mut theirs) = (self.lines(), other.lines());
        for number in 1.. {
            let (first, second) = (ours.next(), theirs.next());
            if first != second || first.is_none() {
                let text = |line: Option<&str>| line.unwrap_or("(the trace ends here)").to_owned();
                return Some(Divergence { number, first: text(first), second: text(second) });
            }
        }
        None
    }

    fn push(&mut self, at: Duration, line: fmt::Arguments<'_>) {
        let start = self.text.len();
        // Writing to a text cannot fail.
        let _written = fmt::write(&mut self.text, format_args!("{:>12.6} {line}", at.as_secs_f64()));
        // One event is one line, whatever it quotes.
        let has_breaks = self.text.as_bytes().get(start..).is_some_and(|line| line.contains(&b'\n'));
        if has_breaks {
            let line = self.text.split_off(start).replace('\n', " ");
            self.text.push_str(&line);
        }
        self.text.push('\n');
        self.hash = fnv(self.hash, self.text.as_bytes().get(start..).unwrap_or_default());
        self.events += 1;
        if self.text.len() > KEPT_BYTES_MAX {
            self.text.truncate(start);
        }
    }
}

/// Where two runs of one seed went apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Divergence {
    /// The line's number, from one.
    pub number: u64,
    /// The line of the first run.
    pub first: String,
    /// The line of the second run.
    pub second: String,
}

impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, first, second } = self;
        write!(f, "the runs differ first in line {number}:\n  first run:  {first}\n  second run: {second}")
    }
}

/// Takes the events of everything that is simulated.
#[derive(Debug)]
pub(crate) struct Recorder {
    start: Instant,
    trace: Mutex<Trace>,
}

impl Recorder {
    pub(crate) fn new(start: Instant) -> Self {
        Self { start, trace: Mutex::default() }
    }

    fn trace(&self) -> MutexGuard<'_, Trace> {
        self.trace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a line.
    pub(crate) fn line(&self, line: fmt::Arguments<'_>) {
        self.trace().push(self.start.elapsed(), line);
    }

    /// Returns a copy of what was recorded so far.
    pub(crate) fn snapshot(&self) -> Trace {
        self.trace().clone()
    }

    /// Returns how many lines there are.
    pub(crate) fn events(&self) -> u64 {
        self.trace().events
    }
}

impl TraceSink for Recorder {
    fn record(&self, event: BusEvent) {
        self.line(format_args!("bus {event}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(lines: &[&str]) -> Trace {
        let mut trace = Trace::default();
        for line in lines {
            trace.push(Duration::from_millis(1), format_args!("{line}"));
        }
        trace
    }

    #[test]
    fn the_first_line_that_differs_is_found() {
        let check = |left: &[&str], right: &[&str], expect: Option<u64>| {
            let found = trace(left).divergence(&trace(right));
            assert_eq!(found.map(|found| found.number), expect, "{left:?} {right:?}");
        };
        check(&[], &[], None);
        check(&["a", "b"], &["a", "b"], None);
        check(&["a", "b"], &["a", "c"], Some(2));
        check(&["a", "b"], &["a"], Some(2));
        check(&[], &["a"], Some(1));
        check(&["a\nb"], &["a b"], None);
    }

    #[test]
    fn the_tail_has_the_newest_lines_in_order() {
        let trace = trace(&["a", "b", "c"]);
        assert_eq!(trace.tail(2), ["    0.001000 b", "    0.001000 c"]);
        assert_eq!(trace.events(), 3);
    }
}
