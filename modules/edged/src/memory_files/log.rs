//! One container's log in memory.

use std::time::SystemTime;

use bytes::Bytes;
use protocol::edge::{LogError, LogStream};
use tokio::sync::mpsc;

use crate::ports::LogQuery;
use crate::time::rfc3339_nano;

/// Lines of a log that are kept; older ones go.
const LINES_MAX: usize = 1000;
/// Chunks that may wait for a reader. Who is further behind is let go.
const CHUNKS_WAITING: usize = 16;

/// Lines with their times, and those who wait for more.
#[derive(Debug, Default)]
pub(super) struct Log {
    lines: Vec<(SystemTime, String)>,
    ended: bool,
    followers: Vec<Follower>,
}

#[derive(Debug)]
struct Follower {
    chunks: mpsc::Sender<Result<Bytes, LogError>>,
    timestamps: bool,
    bytes_left: Option<usize>,
}

impl Log {
    /// Adds a line, and hands it to those who follow.
    pub(super) fn append(&mut self, at: SystemTime, line: &str) {
        if self.lines.len() >= LINES_MAX {
            self.lines.remove(0);
        }
        self.lines.push((at, line.to_owned()));
        self.followers.retain_mut(|follower| follower.tell(shown(at, line, follower.timestamps)));
    }

    /// Lets those who follow go.
    pub(super) fn end(&mut self) {
        self.ended = true;
        self.followers.clear();
    }

    /// Returns the last lines.
    pub(super) fn tail(&self, lines_max: usize) -> String {
        let skip = self.lines.len().saturating_sub(lines_max);
        self.lines.iter().skip(skip).map(|(at, line)| shown(*at, line, false)).collect()
    }

    /// Begins to read.
    pub(super) fn open(&mut self, query: &LogQuery) -> Result<LogStream, LogError> {
        let limit = query.limit_bytes.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let tail = query.tail_lines.map_or(usize::MAX, |tail| usize::try_from(tail).unwrap_or(usize::MAX));
        let skip = self.lines.len().saturating_sub(tail);
        let wanted =
            self.lines.iter().skip(skip).filter(|(at, _)| query.since.is_none_or(|since| *at >= since));
        let text: String = wanted.map(|(at, line)| shown(*at, line, query.timestamps)).collect();
        let (chunks, receiver) = mpsc::channel(CHUNKS_WAITING);
        let mut follower = Follower { chunks, timestamps: query.timestamps, bytes_left: limit };
        let wants_more = text.is_empty() || follower.tell(text);
        self.followers.retain(|follower| !follower.chunks.is_closed());
        if query.follow && !self.ended && wants_more {
            self.followers.push(follower);
        }
        Ok(LogStream(receiver))
    }
}

impl Follower {
    /// Hands text over; says whether more is wanted.
    fn tell(&mut self, text: String) -> bool {
        let mut bytes = Bytes::from(text);
        if let Some(left) = &mut self.bytes_left {
            bytes.truncate(*left);
            *left -= bytes.len();
        }
        self.chunks.try_send(Ok(bytes)).is_ok() && self.bytes_left != Some(0)
    }
}

fn shown(at: SystemTime, line: &str, timestamps: bool) -> String {
    if timestamps { format!("{} {line}\n", rfc3339_nano(at)) } else { format!("{line}\n") }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn log() -> Log {
        let mut log = Log::default();
        log.append(at(1), "one");
        log.append(at(2), "two");
        log
    }

    /// Returns what waits to be read, and whether the stream has ended.
    fn read(stream: &mut LogStream) -> (String, bool) {
        let mut text = String::new();
        loop {
            match stream.0.try_recv() {
                Ok(chunk) => text.push_str(std::str::from_utf8(&chunk.expect("text")).expect("UTF-8")),
                Err(mpsc::error::TryRecvError::Empty) => return (text, false),
                Err(mpsc::error::TryRecvError::Disconnected) => return (text, true),
            }
        }
    }

    #[test]
    fn the_asked_part_is_shown() {
        let query = LogQuery { tail_lines: Some(1), ..LogQuery::default() };
        assert_eq!(read(&mut log().open(&query).expect("open")), ("two\n".to_owned(), true));
        let query = LogQuery { since: Some(at(2)), timestamps: true, ..LogQuery::default() };
        let shown = "1970-01-01T00:00:02.000000000Z two\n".to_owned();
        assert_eq!(read(&mut log().open(&query).expect("open")), (shown, true));
        let query = LogQuery { limit_bytes: Some(5), ..LogQuery::default() };
        assert_eq!(read(&mut log().open(&query).expect("open")), ("one\nt".to_owned(), true));
    }

    #[test]
    fn a_follower_sees_what_is_there_what_comes_and_the_end() {
        let mut log = log();
        let query = LogQuery { follow: true, tail_lines: Some(1), ..LogQuery::default() };
        let mut stream = log.open(&query).expect("open");
        assert_eq!(read(&mut stream), ("two\n".to_owned(), false));
        log.append(at(3), "three");
        assert_eq!(read(&mut stream), ("three\n".to_owned(), false));
        log.end();
        assert_eq!(read(&mut stream), (String::new(), true));
        let mut late = log.open(&query).expect("open");
        assert_eq!(read(&mut late), ("three\n".to_owned(), true), "an ended log is not followed");
    }

    #[test]
    fn neither_lines_nor_slow_readers_pile_up() {
        let mut log = log();
        let mut slow = log.open(&LogQuery { follow: true, ..LogQuery::default() }).expect("open");
        for second in 0..2000 {
            log.append(at(second), "more");
        }
        assert_eq!(log.lines.len(), LINES_MAX);
        assert!(log.followers.is_empty(), "who does not read is let go");
        assert!(read(&mut slow).1);
    }
}
