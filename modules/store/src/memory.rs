//! A store in memory: for tests, for simulations, and for processes that keep nothing.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Bound, Range};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::batch::{Batch, Write};
use crate::error::StoreError;
use crate::port::{Commit, Store, Survey};

/// So many batches may wait to be made durable; one more makes all of them so.
const PENDING_MAX: usize = 1024;

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of the batch is seen.
    Refused,
    /// The batch is seen by reads, and lost by a crash.
    NotDurable,
}

/// A store in memory that keeps the port's promises, also the one about crashes:
/// [`MemoryStore::crash`] gives the store as a restarted process would find it.
///
/// Clones share their content. Commits and reads can be made to fail.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

type Trees = BTreeMap<&'static str, BTreeMap<Bytes, Bytes>>;

#[derive(Debug, Default)]
struct State {
    closed: bool,
    visible: Trees,
    durable: Trees,
    pending: VecDeque<(u64, Batch)>,
    commits: u64,
    faults: Vec<(Range<u64>, Fault)>,
    corrupt: BTreeSet<(&'static str, Bytes)>,
}

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the commits with these numbers fail. The first commit after this call has number 0.
    pub fn fail_commits(&self, numbers: Range<u64>, fault: Fault) {
        let mut state = self.lock();
        let range = state.commits.saturating_add(numbers.start)..state.commits.saturating_add(numbers.end);
        state.faults.push((range, fault));
    }

    /// Makes the record at `key` corrupt until it is written again.
    pub fn corrupt(&self, tree: &'static str, key: &[u8]) {
        self.lock().corrupt.insert((tree, Bytes::copy_from_slice(key)));
    }

    /// Returns how many batches were given to [`Store::commit`].
    #[must_use]
    pub fn commits(&self) -> u64 {
        self.lock().commits
    }

    /// Returns the store as it is found after a crash: without the batches whose commit had not
    /// resolved. This store and its clones are closed.
    #[must_use]
    pub fn crash(&self) -> Self {
        let mut state = self.lock();
        state.closed = true;
        let durable = std::mem::take(&mut state.durable);
        let corrupt = std::mem::take(&mut state.corrupt);
        state.visible.clear();
        state.pending.clear();
        let found = State { visible: durable.clone(), durable, corrupt, ..State::default() };
        Self { state: Arc::new(Mutex::new(found)) }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn open(&self) -> Result<(), StoreError> {
        if self.closed { Err(StoreError::Closed) } else { Ok(()) }
    }

    fn apply(&mut self, batch: Batch) -> Result<u64, StoreError> {
        self.open()?;
        let number = self.commits;
        self.commits += 1;
        let fault = self.faults.iter().find(|(range, _)| range.contains(&number)).map(|(_, fault)| *fault);
        if fault == Some(Fault::Refused) {
            return Err(injected());
        }
        for write in batch.writes() {
            let (Write::Put { tree, key, .. } | Write::Remove { tree, key }) = write;
            self.corrupt.remove(&(*tree, key.clone()));
        }
        write_all(&mut self.visible, &batch);
        if fault == Some(Fault::NotDurable) {
            return Err(injected());
        }
        self.pending.push_back((number, batch));
        if self.pending.len() > PENDING_MAX {
            self.sync(number);
        }
        Ok(number)
    }

    fn sync(&mut self, upto: u64) {
        while let Some((_, batch)) = self.pending.pop_front_if(|(number, _)| *number <= upto) {
            write_all(&mut self.durable, &batch);
        }
    }
}

fn injected() -> StoreError {
    StoreError::Medium { action: "commit", cause: "a fault was injected".to_owned() }
}

fn write_all(trees: &mut Trees, batch: &Batch) {
    for write in batch.writes() {
        match write {
            Write::Put { tree, key, value } => {
                trees.entry(tree).or_default().insert(key.clone(), value.clone());
            }
            Write::Remove { tree, key } => {
                trees.entry(tree).or_default().remove(key);
            }
        }
    }
}

impl Store for MemoryStore {
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let state = self.lock();
        state.open()?;
        let found = state.visible.get(tree).and_then(|records| records.get(key)).cloned();
        if found.is_some() && state.corrupt.contains(&(tree, Bytes::copy_from_slice(key))) {
            return Err(StoreError::corrupt(tree, key));
        }
        Ok(found)
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        let state = self.lock();
        state.open()?;
        let mut survey = Survey::default();
        let Some(records) = state.visible.get(tree) else { return Ok(survey) };
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = records.range::<[u8], _>((start, Bound::Unbounded));
        for (key, value) in range.take_while(|(key, _)| key.starts_with(prefix)).take(limit) {
            if state.corrupt.contains(&(tree, key.clone())) {
                survey.corrupt.push(key.clone());
            } else {
                survey.entries.push((key.clone(), value.clone()));
            }
        }
        Ok(survey)
    }

    fn commit(&self, batch: Batch) -> Commit {
        let applied = self.lock().apply(batch);
        let store = self.clone();
        Box::pin(async move {
            let number = applied?;
            let mut state = store.lock();
            state.open()?;
            state.sync(number);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;

    const TREE: &str = "tree";

    #[test]
    fn a_crash_loses_what_was_not_acknowledged_and_nothing_else() {
        let store = MemoryStore::new();
        block_on(store.commit(Batch::new().put(TREE, "acked", "1"))).expect("it is in memory");
        drop(store.commit(Batch::new().put(TREE, "pending", "2")));
        assert!(store.get(TREE, b"pending").expect("it is readable").is_some());

        let found = store.crash();
        assert_eq!(found.get(TREE, b"acked").expect("it is readable"), Some(Bytes::from("1")));
        assert_eq!(found.get(TREE, b"pending").expect("it is readable"), None);
        assert!(matches!(store.get(TREE, b"acked"), Err(StoreError::Closed)));
    }

    #[test]
    fn a_fault_hits_the_chosen_commit_only() {
        let store = MemoryStore::new();
        store.fail_commits(1..2, Fault::Refused);
        store.fail_commits(2..3, Fault::NotDurable);
        let put = |key: &'static str| block_on(store.commit(Batch::new().put(TREE, key, "")));
        assert!(put("a").is_ok());
        assert!(put("b").is_err());
        assert!(put("c").is_err());
        assert!(put("d").is_ok());
        let keys = |store: &MemoryStore| {
            let entries = store.scan(TREE, b"", None, usize::MAX).expect("it is readable");
            entries.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        assert_eq!(keys(&store), ["a", "c", "d"]);
        assert_eq!(keys(&store.crash()), ["a", "d"]);
    }

    #[test]
    fn a_corrupt_record_is_an_error_in_a_scan_and_a_key_in_a_survey() {
        let store = MemoryStore::new();
        let batch = Batch::new().put(TREE, "a", "1").put(TREE, "b", "2").put(TREE, "c", "3");
        block_on(store.commit(batch)).expect("it is in memory");
        store.corrupt(TREE, b"c");
        assert!(matches!(store.get(TREE, b"c"), Err(StoreError::Corrupt { .. })));
        assert!(matches!(store.scan(TREE, b"", None, 9), Err(StoreError::Corrupt { .. })));
        let survey = store.survey(TREE, b"", None, 9).expect("the medium is sound");
        assert_eq!((survey.entries.len(), survey.corrupt.as_slice()), (2, &[Bytes::from("c")][..]));
        assert_eq!(survey.last_key(), Some(&Bytes::from("c")));
        block_on(store.commit(Batch::new().put(TREE, "c", "4"))).expect("it is in memory");
        assert!(store.get(TREE, b"c").expect("it was written again").is_some());
    }
}
