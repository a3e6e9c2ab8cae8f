//! What can go wrong.

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
    /// This opening of the store is over. There may be another.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Says that the record of `tree` at `key` is corrupt.
    #[must_use]
    pub fn corrupt(tree: &str, key: &[u8]) -> Self {
        Self::Corrupt { tree: tree.to_owned(), key: key.escape_ascii().to_string() }
    }
}
