//! The durable key-value store port, its in-memory form and its conformance suite.
//!
//! A store holds named trees of ordered keys. Reads see every batch that was committed before,
//! durable or not; a batch is durable, all of it or nothing, when its commit resolves.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;

/// Says why a store could not do as asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The medium failed: full, read-only or broken. Nothing of the batch may be relied on.
    #[error("the store could not {action}: {cause}")]
    Medium {
        /// What was tried.
        action: &'static str,
        /// What the medium said.
        cause: String,
    },
    /// A record did not pass its checksum.
    #[error("the record of tree {tree} at key {key} is corrupt")]
    Corrupt {
        /// The tree.
        tree: String,
        /// The key, printable.
        key: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// One change of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Sets a key.
    Put {
        /// The tree.
        tree: &'static str,
        /// The key.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes a key; a missing one is no error.
    Remove {
        /// The tree.
        tree: &'static str,
        /// The key.
        key: Bytes,
    },
}

/// Changes that become durable together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    writes: Vec<Write>,
}

impl Batch {
    /// Returns an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the setting of a key.
    #[must_use]
    pub fn put(mut self, tree: &'static str, key: impl Into<Bytes>, value: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Put { tree, key: key.into(), value: value.into() });
        self
    }

    /// Adds the removal of a key.
    #[must_use]
    pub fn remove(mut self, tree: &'static str, key: impl Into<Bytes>) -> Self {
        self.writes.push(Write::Remove { tree, key: key.into() });
        self
    }

    /// Returns the changes in order.
    #[must_use]
    pub fn writes(&self) -> &[Write] {
        &self.writes
    }
}

/// Resolves when the batch is durable, or says why it is not.
pub type Commit = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send>>;

/// A key and its value.
pub type Entry = (Bytes, Bytes);

/// The port. Reads are fast enough for a module's own thread; commits are waited for.
pub trait Store: fmt::Debug + Send + Sync + 'static {
    /// Reads one key.
    ///
    /// # Errors
    ///
    /// When the medium fails or the record is corrupt.
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError>;

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
    ) -> Result<Vec<Entry>, StoreError>;

    /// Applies a batch at once and in the order of calls; the returned future resolves when it is
    /// durable. Dropping the future does not take the batch back.
    fn commit(&self, batch: Batch) -> Commit;
}

/// A store as modules hold it.
pub type SharedStore = Arc<dyn Store>;
