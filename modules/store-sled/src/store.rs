//! The store over sled.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread;
use std::time::Duration;

use ::store::{Batch, Commit, Over, Store, StoreError, Survey};
use bytes::Bytes;

use crate::guard::guarded;
use crate::open::{Lock, Opening};
use crate::pending::Pending;
use crate::record::{decode_value, encode_key};
use crate::survey;
use crate::writer::Writer;

/// The longest that sled may take to close after a failure.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

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

    /// Reads sled beside what it does not have yet.
    fn read<T>(&self, read: impl FnOnce(&sled::Db, &Pending) -> sled::Result<T>) -> Result<T, StoreError> {
        let unreadable = |cause| StoreError::Medium { action: "read", cause };
        self.with(|files| files.writer.read(|pending| read(&files.database, pending)).map_err(unreadable))
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
        let found = self.read(|database, pending| match pending.get(&encoded_key) {
            Some(changed) => Ok(changed.map(Some)),
            None => Ok(database.get(&encoded_key)?.map(|found| decode_value(&encoded_key, &found))),
        })?;
        match found {
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(StoreError::corrupt(tree, key)),
            None => Ok(None),
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
        self.read(|database, pending| {
            survey::survey(database, pending, (&start, &encoded_prefix), name_length, limit)
        })
    }

    fn commit(&self, batch: Batch) -> Commit {
        let committed = self.with(|files| files.writer.commit(&batch));
        Box::pin(async move {
            let (number, mut progress) = committed?;
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
