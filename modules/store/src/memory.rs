//! A store in memory: for tests, for simulations, and for processes that keep nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::openings::{Openings, Over};
use crate::port::{Commit, Medium, SharedStore, Store, Survey};
use crate::trees::Trees;

/// So many batches may wait to be made durable; one more makes all of them so.
const PENDING_MAX: usize = 1024;

/// How a commit fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing of the batch is seen.
    Refused,
    /// The batch is seen by reads until the store is opened anew.
    NotDurable,
    /// The batch is seen by reads, also after the store was opened anew: it was only not said to be
    /// durable.
    Unsaid,
}

/// A store in memory that keeps the port's promises, also the one about crashes:
/// [`MemoryStore::crash`] gives the store as a restarted process would find it.
///
/// Clones share their content. Commits and reads can be made to fail. As a [`Medium`] it gives one
/// opening after another; as a [`Store`] it is always the newest of them.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
    openings: Openings,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    visible: Trees,
    durable: Trees,
    pending: VecDeque<(u64, Batch)>,
    commits: u64,
    faults: Vec<(Range<u64>, Fault)>,
    /// How every commit fails while the medium is broken.
    broken: Option<Fault>,
    /// Whether a commit of this opening failed.
    failed: bool,
}

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes the commits with these numbers fail. The first commit after this call has number 0.
    /// After each of them the store is opened anew at once.
    pub fn fail_commits(&self, numbers: Range<u64>, fault: Fault) {
        let mut state = self.lock();
        let range = state.commits.saturating_add(numbers.start)..state.commits.saturating_add(numbers.end);
        state.faults.push((range, fault));
    }

    /// Makes every commit fail until [`Self::mend`].
    pub fn break_down(&self, fault: Fault) {
        self.lock().broken = Some(fault);
    }

    /// Ends what [`Self::break_down`] began. If a commit failed meanwhile, the store is opened anew.
    pub fn mend(&self) {
        let mut state = self.lock();
        state.broken = None;
        if state.failed {
            self.reopen(state);
        }
    }

    /// Loses everything, as a medium whose damaged files were moved aside, and opens it anew.
    pub fn lose_all(&self) {
        let mut state = self.lock();
        state.durable = Trees::default();
        self.reopen(state);
    }

    /// Makes the record at `key` corrupt until it is written again.
    pub fn corrupt(&self, tree: &'static str, key: &[u8]) {
        let mut state = self.lock();
        state.visible.damage(tree, key);
        state.durable.damage(tree, key);
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
        let durable = std::mem::take(&mut state.durable);
        *state = State { closed: true, ..State::default() };
        let found = State { visible: durable.clone(), durable, ..State::default() };
        Self { state: Arc::new(Mutex::new(found)), openings: Openings::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn reopen(&self, mut state: MutexGuard<'_, State>) {
        state.visible = state.durable.clone();
        state.pending.clear();
        state.failed = false;
        drop(state);
        self.openings.begin();
    }

    fn apply(&self, batch: Batch, opening: u64) -> Result<u64, StoreError> {
        let mut state = self.open(opening)?;
        let number = state.commits;
        state.commits += 1;
        let hit = state.faults.iter().find(|(range, _)| range.contains(&number)).map(|(_, fault)| *fault);
        match state.broken.or(hit) {
            Some(fault) => {
                state.fail(fault, &batch);
                if state.broken.is_none() {
                    self.reopen(state);
                }
                Err(injected())
            }
            None if state.failed => Err(injected()),
            None => {
                state.visible.write(&batch);
                state.pending.push_back((number, batch));
                if state.pending.len() > PENDING_MAX {
                    state.sync(number);
                }
                Ok(number)
            }
        }
    }

    fn open(&self, opening: u64) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.lock();
        if state.closed || self.openings.newest() != opening { Err(StoreError::Closed) } else { Ok(state) }
    }
}

impl State {
    fn sync(&mut self, upto: u64) {
        while let Some((_, batch)) = self.pending.pop_front_if(|(number, _)| *number <= upto) {
            self.durable.write(&batch);
        }
    }

    /// What came before the failure and was not durable is lost, unless the failure itself is.
    fn fail(&mut self, fault: Fault, batch: &Batch) {
        let was_failed = std::mem::replace(&mut self.failed, true);
        if fault != Fault::Refused {
            self.visible.write(batch);
        }
        if fault == Fault::Unsaid && !was_failed {
            self.sync(u64::MAX);
            self.durable.write(batch);
        }
    }
}

fn injected() -> StoreError {
    StoreError::Medium { action: "commit", cause: "a fault was injected".to_owned() }
}

/// One opening of a store in memory.
#[derive(Debug)]
struct MemoryOpening {
    store: MemoryStore,
    number: u64,
}

impl Store for MemoryOpening {
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.open(self.number)?.visible.get(tree, key)
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        Ok(self.store.open(self.number)?.visible.survey(tree, prefix, after, limit))
    }

    fn commit(&self, batch: Batch) -> Commit {
        let (store, opening) = (self.store.clone(), self.number);
        let applied = store.apply(batch, opening);
        Box::pin(async move {
            let number = applied?;
            let mut state = store.open(opening)?;
            if state.failed && state.pending.iter().any(|(pending, _)| *pending == number) {
                return Err(injected());
            }
            state.sync(number);
            Ok(())
        })
    }

    fn over(&self) -> Over {
        self.store.openings.end_of(self.number)
    }

    fn is_over(&self) -> bool {
        self.store.openings.newest() != self.number
    }
}

impl Medium for MemoryStore {
    fn store(&self) -> SharedStore {
        Arc::new(MemoryOpening { store: self.clone(), number: self.openings.newest() })
    }
}

impl Store for MemoryStore {
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store().get(tree, key)
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        self.store().survey(tree, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Commit {
        self.store().commit(batch)
    }

    fn over(&self) -> Over {
        Box::pin(std::future::pending())
    }

    fn is_over(&self) -> bool {
        false
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
        assert_eq!(keys(&store), ["a", "d"]);
        assert_eq!(keys(&store.crash()), ["a", "d"]);
    }

    #[test]
    fn what_failed_is_seen_until_the_store_is_opened_anew_or_for_good() {
        for (fault, before, after) in
            [(Fault::Refused, false, false), (Fault::NotDurable, true, false), (Fault::Unsaid, true, true)]
        {
            let store = MemoryStore::new();
            store.break_down(fault);
            block_on(store.commit(Batch::new().put(TREE, "a", "1"))).expect_err("it is broken");
            let is_seen = || store.get(TREE, b"a").expect("it is readable").is_some();
            assert_eq!(is_seen(), before, "{fault:?}");
            store.mend();
            assert_eq!(is_seen(), after, "{fault:?}");
        }
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
