//! The latest changes of one resource: what watchers read and old states are rebuilt from.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::storage::object::{Key, Stored};

/// One durable change of one object.
#[derive(Debug)]
pub(crate) struct Event {
    pub version: u64,
    pub key: Key,
    /// The state before; `None` when the object is new.
    pub before: Option<Arc<Stored>>,
    /// The state after; for a deletion the last state, with the version of the deletion.
    pub after: Arc<Stored>,
    pub deleted: bool,
}

/// How much of the past a resource keeps.
#[derive(Debug, Clone, Copy)]
pub struct HistoryLimits {
    /// The most changes.
    pub events_max: usize,
    /// The most bytes of objects in these changes.
    pub bytes_max: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { events_max: 4096, bytes_max: 16 << 20 }
    }
}

/// A bounded window of changes, in the order of their versions.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// Changes up to and including this version are forgotten.
    floor: u64,
    limits: HistoryLimits,
}

impl History {
    pub(crate) fn new(floor: u64, limits: HistoryLimits) -> Self {
        Self { events: VecDeque::new(), bytes: 0, floor, limits }
    }

    /// Returns the version up to which changes are forgotten.
    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn push(&mut self, event: Arc<Event>) {
        self.bytes += event.after.bare().len();
        self.events.push_back(event);
        while self.events.len() > self.limits.events_max || self.bytes > self.limits.bytes_max {
            let Some(oldest) = self.events.pop_front() else { break };
            self.bytes -= oldest.after.bare().len();
            self.floor = oldest.version;
        }
    }

    /// Returns at most `limit` changes after `version`, or `None` if some of them are forgotten.
    pub(crate) fn after(&self, version: u64, limit: usize) -> Option<Vec<Arc<Event>>> {
        if version < self.floor {
            return None;
        }
        let start = self.events.partition_point(|event| event.version <= version);
        Some(self.events.iter().skip(start).take(limit).cloned().collect())
    }

    /// Returns what each object that changed after `version` was at `version`, or `None` if that
    /// is forgotten.
    pub(crate) fn undo(&self, version: u64) -> Option<BTreeMap<Key, Option<Arc<Stored>>>> {
        let mut then = BTreeMap::new();
        for event in self.after(version, usize::MAX)?.into_iter().rev() {
            then.insert(event.key.clone(), event.before.clone());
        }
        Some(then)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn stored(version: u64) -> Arc<Stored> {
        Arc::new(Stored::new(json!({"metadata": {}}), version).expect("it is an object"))
    }

    fn history(limit: usize, versions: std::ops::RangeInclusive<u64>) -> History {
        let mut history = History::new(0, HistoryLimits { events_max: limit, bytes_max: 1 << 20 });
        for version in versions {
            let before = (version > 1).then(|| stored(version - 1));
            history.push(Arc::new(Event {
                version,
                key: Key::new("", "a"),
                before,
                after: stored(version),
                deleted: false,
            }));
        }
        history
    }

    #[test]
    fn changes_after_a_version_come_in_order() {
        let versions = |from, limit| {
            history(10, 1..=5)
                .after(from, limit)
                .map(|events| events.iter().map(|e| e.version).collect::<Vec<_>>())
        };
        assert_eq!(versions(3, 10), Some(vec![4, 5]));
        assert_eq!(versions(0, 2), Some(vec![1, 2]));
        assert_eq!(versions(5, 10), Some(vec![]));
    }

    #[test]
    fn what_fell_out_of_the_window_is_said_to_be_forgotten() {
        let history = history(3, 1..=5);
        assert_eq!(history.floor(), 2);
        assert!(history.after(1, 10).is_none());
        assert!(history.undo(1).is_none());
        assert_eq!(history.after(2, 10).map(|events| events.len()), Some(3));
    }

    #[test]
    fn an_old_state_is_rebuilt_from_the_changes_since() {
        let then = history(10, 1..=5).undo(2).expect("it is in the window");
        assert_eq!(
            then.get(&Key::new("", "a")).and_then(Option::as_ref).map(|object| object.version),
            Some(2)
        );
        let then = history(10, 1..=5).undo(0).expect("it is in the window");
        assert!(then.get(&Key::new("", "a")).is_some_and(Option::is_none));
    }

    #[test]
    fn the_window_is_bounded_in_bytes_too() {
        let mut history = History::new(0, HistoryLimits { events_max: 100, bytes_max: 100 });
        for version in 1..=50 {
            history.push(Arc::new(Event {
                version,
                key: Key::new("", "a"),
                before: None,
                after: stored(version),
                deleted: false,
            }));
        }
        assert!(history.events.len() < 5, "{}", history.events.len());
        assert!(history.bytes <= 100);
    }
}
