//! The store over sled.

use std::fmt;
use std::path::{Path, PathBuf};

use ::store::{Batch, Commit, Store, StoreError, Survey, Write};
use bytes::Bytes;

use crate::guard::guarded;
use crate::mark;
use crate::open::Lock;
use crate::record::{decode_value, encode_key, encode_value};
use crate::writer::Writer;

/// A store in a directory.
///
/// Dropping it makes durable what was committed and closes the files; that takes one flush.
pub struct SledStore {
    // In the order of closing: the writer flushes, sled closes, the lock goes last.
    writer: Writer,
    database: sled::Db,
    path: PathBuf,
    _lock: Lock,
}

impl SledStore {
    pub(crate) fn new(path: PathBuf, database: sled::Db, writer: Writer, lock: Lock) -> Self {
        Self { writer, database, path, _lock: lock }
    }

    /// Returns the store's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Store for SledStore {
    fn get(&self, tree: &'static str, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let encoded_key = encode_key(tree, key);
        let found = guarded(|| self.database.get(&encoded_key))
            .map_err(|cause| StoreError::Medium { action: "read", cause })?;
        let Some(found) = found else { return Ok(None) };
        match decode_value(&encoded_key, &found) {
            Some(value) => Ok(Some(value)),
            None => Err(StoreError::corrupt(tree, key)),
        }
    }

    fn survey(
        &self,
        tree: &'static str,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Survey, StoreError> {
        let name_length = tree.len() + 1;
        let encoded_prefix = encode_key(tree, prefix);
        let start = match after {
            Some(after) if after >= prefix => {
                let mut key = encode_key(tree, after);
                key.push(0);
                key
            }
            _ => encoded_prefix.clone(),
        };
        guarded(|| {
            let mut survey = Survey::default();
            for record in self.database.range(start..).take(limit) {
                let (encoded_key, encoded) = record?;
                if !encoded_key.starts_with(&encoded_prefix) {
                    break;
                }
                let key = Bytes::copy_from_slice(encoded_key.get(name_length..).unwrap_or_default());
                match decode_value(&encoded_key, &encoded) {
                    Some(value) => survey.entries.push((key, value)),
                    None => survey.corrupt.push(key),
                }
            }
            Ok(survey)
        })
        .map_err(|cause| StoreError::Medium { action: "read", cause })
    }

    fn commit(&self, batch: Batch) -> Commit {
        let applied = self.writer.apply(|number| {
            let mut changes = encode_batch(&batch);
            mark::count_in(&mut changes, number);
            guarded(|| self.database.apply_batch(changes))
                .map_err(|cause| StoreError::Medium { action: "apply a batch", cause })
        });
        Box::pin(async move {
            let (number, mut progress) = applied?;
            let reached = progress
                .wait_for(|progress| progress.durable >= number || progress.failure.is_some())
                .await
                .map_err(|_closed| StoreError::Closed)?;
            match &reached.failure {
                Some(failure) if reached.durable < number => Err(failure.clone()),
                _ => Ok(()),
            }
        })
    }
}

fn encode_batch(batch: &Batch) -> sled::Batch {
    let mut changes = sled::Batch::default();
    for write in batch.writes() {
        match write {
            Write::Put { tree, key, value } => {
                let key = encode_key(tree, key);
                let value = encode_value(&key, value);
                changes.insert(key, value);
            }
            Write::Remove { tree, key } => changes.remove(encode_key(tree, key)),
        }
    }
    changes
}
