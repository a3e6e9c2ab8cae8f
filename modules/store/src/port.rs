//! What a module asks of a store.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::StoreError;

/// Resolves when the batch is durable, or says why it is not.
pub type Commit = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// A key and its value.
pub type Entry = (Bytes, Bytes);

/// What a part of a tree holds, and which of its records are corrupt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    /// The sound entries in key order.
    pub entries: Vec<Entry>,
    /// The keys of corrupt records in key order.
    pub corrupt: Vec<Bytes>,
}

impl Survey {
    /// Returns the greatest key seen, from which the next survey goes on.
    #[must_use]
    pub fn last_key(&self) -> Option<&Bytes> {
        self.entries.last().map(|(key, _)| key).max(self.corrupt.last())
    }
}

/// The port. Reads are fast enough for a module's own thread; commits are waited for.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads one key.
    ///
    /// # Errors
    ///
    /// When the medium fails or the record is corrupt.
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

    /// Reads at most `limit` records in key order, of keys that begin with `prefix` and are
    /// greater than `after`. Corrupt records are named, not read.
    ///
    /// # Errors
    ///
    /// When the medium fails.
    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError>;

    /// Reads at most `limit` entries in key order, of keys that begin with `prefix` and are
    /// greater than `after`.
    ///
    /// # Errors
    ///
    /// When the medium fails or a record is corrupt.
    fn scan(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<Entry>, StoreError> {
        let survey = self.survey(tree, prefix, after, limit)?;
        match survey.corrupt.first() {
            Some(key) => Err(StoreError::corrupt(tree, key)),
            None => Ok(survey.entries),
        }
    }

    /// Applies a batch at once and in the order of calls; the returned future resolves when it is
    /// durable. Dropping the future does not take the batch back.
    fn commit(&self, batch: Batch) -> Commit;
}

/// A store as modules hold it.
pub type SharedStore = Arc<dyn Store>;
