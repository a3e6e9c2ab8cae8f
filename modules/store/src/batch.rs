//! What is written together.

use bytes::Bytes;

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
