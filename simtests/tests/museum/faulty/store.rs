//! Stores that do not do what stores must.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use store::{Batch, Commit, Medium, Over, SharedMedium, SharedStore, Store, StoreError, Survey};

/// A medium whose openings are not what they should be.
pub(crate) struct Faulty<F> {
    medium: SharedMedium,
    opening: F,
}

impl<F> fmt::Debug for Faulty<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Faulty").field(&self.medium).finish()
    }
}

impl<F: Fn(SharedStore) -> SharedStore + Send + Sync + 'static> Medium for Faulty<F> {
    fn store(&self) -> SharedStore {
        (self.opening)(self.medium.store())
    }
}

/// Makes each opening of a medium one that panics after three failures in a row.
pub(crate) fn three_tries(medium: SharedMedium) -> SharedMedium {
    let failures = Arc::<AtomicU32>::default();
    let opening = move |store| -> SharedStore { Arc::new(ThreeTries { store, failures: failures.clone() }) };
    Arc::new(Faulty { medium, opening })
}

/// Makes each opening of a medium one that answers before it has written.
pub(crate) fn hasty(medium: SharedMedium) -> SharedMedium {
    let opening = |store| -> SharedStore { Arc::new(Hasty(store)) };
    Arc::new(Faulty { medium, opening })
}

/// A store that does not bear failures: after the third failed commit in a row it panics, as code does
/// that retries three times and then gives up on the whole process.
struct ThreeTries {
    store: SharedStore,
    failures: Arc<AtomicU32>,
}

impl fmt::Debug for ThreeTries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ThreeTries").field(&self.store).finish()
    }
}

impl Store for ThreeTries {
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.store.get(tree, key)
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        self.store.survey(tree, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Commit {
        let (commit, failures) = (self.store.commit(batch), Arc::clone(&self.failures));
        Box::pin(async move {
            let done = commit.await;
            match done {
                Ok(()) => failures.store(0, Ordering::Relaxed),
                Err(_) => assert!(failures.fetch_add(1, Ordering::Relaxed) < 2, "three tries failed"),
            }
            done
        })
    }

    fn over(&self) -> Over {
        self.store.over()
    }

    fn is_over(&self) -> bool {
        self.store.is_over()
    }
}

/// A store that answers before it has written, as a database does that leaves syncing to the system.
#[derive(Debug)]
struct Hasty(SharedStore);

impl Store for Hasty {
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.0.get(tree, key)
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        self.0.survey(tree, prefix, after, limit)
    }

    fn commit(&self, batch: Batch) -> Commit {
        // The batch is on its way whether or not anybody waits for it.
        drop(self.0.commit(batch));
        Box::pin(std::future::ready(Ok(())))
    }

    fn over(&self) -> Over {
        self.0.over()
    }

    fn is_over(&self) -> bool {
        self.0.is_over()
    }
}
