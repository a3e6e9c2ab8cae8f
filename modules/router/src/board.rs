//! What rules have counted and what of it their statuses show: each is written once in an interval, however
//! many messages go over a rule.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use api::rules::RuleStatus;
use tokio::time::Instant;

use crate::rule::Key;

/// The shortest time between two writes of one status, and the pause after a write that failed.
const INTERVAL: Duration = Duration::from_secs(1);
const RETRY: Duration = Duration::from_secs(5);
/// Statuses that are being written at a time.
const AT_ONCE: usize = 16;
/// The longest text of an error that a status shows, in bytes.
const ERROR_BYTES_MAX: usize = 1024;

#[derive(Debug)]
struct Entry {
    uid: String,
    success: isize,
    fail: isize,
    /// Why a message was not delivered, or why the rule does not work: the last reason only, as in
    /// KubeEdge's.
    error: Option<String>,
    /// Whether the error is that the rule does not work.
    is_problem: bool,
    is_changed: bool,
    is_writing: bool,
    /// Whether it has a time at which it is written, or waits for a place.
    is_due: bool,
    not_before: Option<Instant>,
}

/// What a status is to show.
#[derive(Debug, PartialEq)]
pub(crate) struct Job {
    pub(crate) key: Key,
    pub(crate) uid: String,
    pub(crate) status: RuleStatus,
}

/// When a status is to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    /// As soon as there is a place.
    Queued,
    /// At this time, by [`Board::is_due`].
    At(Instant),
    /// Nothing is to be done.
    Later,
}

#[derive(Debug, Default)]
pub(crate) struct Board {
    entries: BTreeMap<Key, Entry>,
    queue: VecDeque<Key>,
    writing: usize,
}

impl Board {
    /// Begins to count for a rule from what its status shows, unless it is counted already.
    pub(crate) fn see(&mut self, key: &Key, uid: &str, shown: &RuleStatus) {
        if self.entries.get(key).is_some_and(|entry| entry.uid == uid) {
            return;
        }
        let entry = Entry {
            uid: uid.to_owned(),
            success: shown.success_messages.unwrap_or_default(),
            fail: shown.fail_messages.unwrap_or_default(),
            error: shown.errors.iter().flatten().last().cloned(),
            // Whether it still holds is not known: a rule that works has it taken away.
            is_problem: true,
            is_changed: false,
            is_writing: self.entries.get(key).is_some_and(|entry| entry.is_writing),
            is_due: false,
            not_before: None,
        };
        let counted = entry.success + entry.fail;
        self.entries.insert(key.clone(), Entry { is_problem: counted == 0, ..entry });
    }

    /// Forgets the rules that are not among these.
    pub(crate) fn retain(&mut self, keys: &BTreeSet<Key>) {
        self.entries.retain(|key, _| keys.contains(key));
    }

    /// Counts a message.
    pub(crate) fn count(&mut self, key: &Key, outcome: Result<(), String>, now: Instant) -> Turn {
        let Some(entry) = self.entries.get_mut(key) else { return Turn::Later };
        match outcome {
            Ok(()) => entry.success = entry.success.saturating_add(1),
            Err(text) => {
                entry.fail = entry.fail.saturating_add(1);
                (entry.error, entry.is_problem) = (Some(short(text)), false);
            }
        }
        entry.is_changed = true;
        self.turn(key, now)
    }

    /// Notes what keeps a rule from working, or that nothing does.
    pub(crate) fn note(&mut self, key: &Key, problem: Option<&str>, now: Instant) -> Turn {
        let Some(entry) = self.entries.get_mut(key) else { return Turn::Later };
        let problem = problem.map(|text| short(text.to_owned()));
        if problem == entry.error || (problem.is_none() && !entry.is_problem) {
            return Turn::Later;
        }
        (entry.is_problem, entry.error) = (true, problem);
        entry.is_changed = true;
        self.turn(key, now)
    }

    fn turn(&mut self, key: &Key, now: Instant) -> Turn {
        let Some(entry) = self.entries.get_mut(key) else { return Turn::Later };
        if entry.is_writing || entry.is_due || !entry.is_changed {
            return Turn::Later;
        }
        entry.is_due = true;
        match entry.not_before.filter(|due| *due > now) {
            Some(due) => Turn::At(due),
            None => {
                self.queue.push_back(key.clone());
                Turn::Queued
            }
        }
    }

    /// Notes that the time of a rule has come.
    pub(crate) fn is_due(&mut self, key: Key) {
        self.queue.push_back(key);
    }

    /// Returns what is to be written now, while there are places.
    pub(crate) fn next(&mut self) -> Option<Job> {
        while self.writing < AT_ONCE {
            let key = self.queue.pop_front()?;
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            entry.is_due = false;
            if entry.is_writing || !std::mem::take(&mut entry.is_changed) {
                continue;
            }
            entry.is_writing = true;
            self.writing += 1;
            let status = RuleStatus {
                success_messages: Some(entry.success),
                fail_messages: Some(entry.fail),
                errors: Some(entry.error.iter().cloned().collect()),
            };
            return Some(Job { uid: entry.uid.clone(), key, status });
        }
        None
    }

    /// Notes what became of a job.
    pub(crate) fn written(&mut self, key: &Key, is_written: bool, now: Instant) -> Turn {
        self.writing -= 1;
        let Some(entry) = self.entries.get_mut(key) else { return Turn::Later };
        entry.is_writing = false;
        entry.is_changed |= !is_written;
        entry.not_before = Some(now + if is_written { INTERVAL } else { RETRY });
        self.turn(key, now)
    }
}

fn short(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        ("default".to_owned(), "r".to_owned())
    }

    fn status(success: isize, fail: isize, errors: &[&str]) -> RuleStatus {
        RuleStatus {
            success_messages: Some(success),
            fail_messages: Some(fail),
            errors: Some(errors.iter().map(ToString::to_string).collect()),
        }
    }

    fn board() -> Board {
        let mut board = Board::default();
        board.see(&key(), "u", &status(3, 1, &["old"]));
        board
    }

    #[test]
    fn counts_go_on_from_what_is_shown_and_the_last_error_stays() {
        let (mut board, now) = (board(), Instant::now());
        assert_eq!(board.count(&key(), Ok(()), now), Turn::Queued);
        assert_eq!(board.count(&key(), Err("why".to_owned()), now), Turn::Later);
        board.see(&key(), "u", &status(0, 0, &[]));
        assert_eq!(board.next().expect("a job").status, status(4, 2, &["why"]));
        assert_eq!(board.next(), None);
        board.see(&key(), "another", &RuleStatus::default());
        assert_eq!(board.written(&key(), true, now), Turn::Later);
        board.count(&key(), Ok(()), now + INTERVAL);
        assert_eq!(board.next().expect("a job").status, status(1, 0, &[]));
    }

    #[test]
    fn a_status_is_written_once_in_an_interval_and_again_after_a_failure() {
        let (mut board, now) = (board(), Instant::now());
        board.count(&key(), Ok(()), now);
        board.next().expect("a job");
        for _ in 0..100 {
            assert_eq!(board.count(&key(), Ok(()), now), Turn::Later);
        }
        assert_eq!(board.written(&key(), true, now), Turn::At(now + INTERVAL));
        assert_eq!(board.count(&key(), Ok(()), now), Turn::Later);
        assert_eq!(board.next(), None);
        board.is_due(key());
        assert_eq!(board.next().expect("a job").status, status(105, 1, &["old"]));
        assert_eq!(board.written(&key(), false, now), Turn::At(now + RETRY));
    }

    #[test]
    fn what_keeps_a_rule_from_working_is_shown_until_it_works_and_no_delivery_s_error_is_taken_away() {
        let (mut board, now) = (board(), Instant::now());
        assert_eq!(board.note(&key(), None, now), Turn::Later);
        assert_eq!(board.note(&key(), Some("broken"), now), Turn::Queued);
        assert_eq!(board.next().expect("a job").status, status(3, 1, &["broken"]));
        board.written(&key(), true, now);
        assert_eq!(board.note(&key(), Some("broken"), now), Turn::Later);
        assert_eq!(board.note(&key(), None, now), Turn::At(now + INTERVAL));
        board.is_due(key());
        assert_eq!(board.next().expect("a job").status, status(3, 1, &[]));
    }

    #[test]
    fn a_rule_that_is_gone_is_not_written() {
        let (mut board, now) = (board(), Instant::now());
        board.count(&key(), Err("é".repeat(ERROR_BYTES_MAX)), now);
        board.retain(&BTreeSet::new());
        assert_eq!((board.next(), board.count(&key(), Ok(()), now)), (None, Turn::Later));
        assert_eq!(short("é".repeat(ERROR_BYTES_MAX)).len(), ERROR_BYTES_MAX);
    }
}
