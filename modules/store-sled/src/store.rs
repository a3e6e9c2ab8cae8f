//! The store over sled.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use ::store::{Batch, Commit, Over, Store, StoreError, Survey, Write};
use bytes::Bytes;

use crate::guard::guarded;
use crate::mark;
use crate::open::{Lock, Opening, try_write};
use crate::record::{decode_value, encode_key, encode_value};
use crate::writer::{Refusal, Writer};

/// The longest that sled may take to close after a failure.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// Of batches that are larger than this the disk is tried first: sled writes large values to files of
/// their own, and does not get over it when it cannot.
const LARGE_BYTES: usize = 64 << 10;

/// One opening of a store in a directory.
///
/// Dropping it makes durable what was committed and closes the files; that takes one flush.
pub struct SledStore {
    stage: RwLock<Stage>,
    path: PathBuf,
    opening: Opening,
}

/// What is open.
pub(crate) struct Files {
    // In the order of closing: the writer flushes, sled closes, the lock goes last.
    pub(crate) writer: Writer,
    pub(crate) database: sled::Db,
    pub(crate) _lock: Arc<Lock>,
}

enum Stage {
    Open(Files),
    Closed(Closing),
}

/// How the files were closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Closing {
    /// In order.
    Done,
    /// Not at all: sled would wait for itself for good. It still has its files locked.
    Left,
    /// Not in time. Whatever else uses sled in this process would wait for it.
    Stuck,
}

impl SledStore {
    pub(crate) fn new(path: PathBuf, files: Files, opening: Opening) -> Self {
        Self { stage: RwLock::new(Stage::Open(files)), path, opening }
    }

    pub(crate) const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// Returns the store's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the files after a failure, whoever still holds the store.
    pub(crate) fn close(&self) -> Closing {
        let mut stage = self.stage.write().unwrap_or_else(PoisonError::into_inner);
        if let Stage::Closed(closing) = *stage {
            return closing;
        }
        let before = std::mem::replace(&mut *stage, Stage::Closed(Closing::Stuck));
        let Stage::Open(files) = before else { return Closing::Stuck };
        let closing = close_failed(files);
        *stage = Stage::Closed(closing);
        closing
    }

    fn with<T>(&self, act: impl FnOnce(&Files) -> Result<T, StoreError>) -> Result<T, StoreError> {
        match &*self.stage.read().unwrap_or_else(PoisonError::into_inner) {
            Stage::Open(files) => act(files),
            Stage::Closed(_) => Err(StoreError::Closed),
        }
    }

    /// Reads, unless sled failed in the middle of a batch: then a read may wait for good.
    fn read<T>(&self, read: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, StoreError> {
        let unreadable = |cause| StoreError::Medium { action: "read", cause };
        self.with(|files| {
            if files.writer.is_wedged() {
                return Err(unreadable("it failed in the middle of a batch".to_owned()));
            }
            guarded(|| read(&files.database)).map_err(unreadable)
        })
    }
}

fn close_failed(files: Files) -> Closing {
    if files.writer.is_wedged() {
        // What is not dropped is not flushed, and holds nothing that others wait for but its files.
        let Files { writer, database, _lock } = files;
        drop(writer);
        std::mem::forget(database);
        return Closing::Left;
    }
    let (closed, is_closed) = mpsc::channel();
    let close = move || {
        let dropped = guarded(|| {
            drop(files);
            Ok(())
        });
        if let Err(cause) = dropped {
            tracing::debug!(cause, "what failed did not close in order");
        }
        closed.send(())
    };
    let closing = thread::Builder::new().name("store-closing".to_owned()).spawn(close);
    match closing.is_ok() && is_closed.recv_timeout(CLOSE_PATIENCE).is_ok() {
        true => Closing::Done,
        false => Closing::Stuck,
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        let stage = self.stage.get_mut().unwrap_or_else(PoisonError::into_inner);
        let has_failed = matches!(stage, Stage::Open(files) if files.writer.has_failed());
        if has_failed && self.close() == Closing::Stuck {
            tracing::debug!("what failed does not close");
        }
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
        let found = self.read(|database| database.get(&encoded_key))?;
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
        self.read(|database| {
            let mut survey = Survey::default();
            for record in database.range(start..).take(limit) {
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
    }

    fn commit(&self, batch: Batch) -> Commit {
        let bytes = size(&batch);
        let applied = self.with(|files| {
            files.writer.apply(|number| {
                if bytes > LARGE_BYTES {
                    // What changes with it is written anew, too.
                    let room = try_write(&self.path, 2 * bytes);
                    room.map_err(|error| Refusal::Disk(error.to_string()))?;
                }
                let mut changes = encode_batch(&batch);
                mark::count_in(&mut changes, number);
                guarded(|| files.database.apply_batch(changes)).map_err(Refusal::Sled)
            })
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

    fn over(&self) -> Over {
        self.opening.openings.end_of(self.opening.number)
    }

    fn is_over(&self) -> bool {
        self.opening.openings.newest() != self.opening.number
    }
}

fn size(batch: &Batch) -> usize {
    let sizes = batch.writes().iter().map(|write| match write {
        Write::Put { key, value, .. } => key.len() + value.len(),
        Write::Remove { key, .. } => key.len(),
    });
    sizes.sum()
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
