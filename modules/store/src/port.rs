//! What a module asks of a store.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

use crate::batch::Batch;
use crate::error::StoreError;
use crate::openings::Over;

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

    /// Returns the keys of all records, first the sound ones.
    pub fn keys(&self) -> impl Iterator<Item = &Bytes> {
        self.entries.iter().map(|(key, _)| key).chain(&self.corrupt)
    }
}

/// One opening of a medium. Reads are fast enough for a module's own thread; commits are waited for.
///
/// The first commit that fails is followed by none that succeeds. Reads go on, and show what failed
/// or not, until the medium was opened anew: from then on this opening only says that it is closed.
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
    ///
    /// A batch whose commit failed may be found after the next opening all the same, whole.
    fn commit(&self, batch: Batch) -> Commit;

    /// Resolves when the medium was opened anew: what is known of it is to be read again.
    fn over(&self) -> Over;

    /// Tells whether the medium was opened anew.
    fn is_over(&self) -> bool;
}

/// A store as modules hold it.
pub type SharedStore = Arc<dyn Store>;

/// What outlives each opening: it opens itself anew after a write failed, once it takes writes again.
///
/// Whoever keeps in memory what a store holds takes one opening, reads from it, and begins anew with
/// the next one when [`Store::over`] resolves.
pub trait Medium: fmt::Debug + Send + Sync + 'static {
    /// Returns the newest opening. It may have failed already.
    fn store(&self) -> SharedStore;
}

/// A medium as processes give it to modules.
pub type SharedMedium = Arc<dyn Medium>;
