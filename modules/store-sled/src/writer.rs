//! The thread that makes batches durable, many with one flush.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use ::store::StoreError;
use tokio::sync::watch;

use crate::disk::Disk;
use crate::guard::guarded;
use crate::mark::Mark;

/// So many batches may be applied and not durable; one more waits for the writer.
const UNDURABLE_MAX: u64 = 4096;

/// How far the writer is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Batches up to this number are durable.
    pub(crate) durable: u64,
    /// Why no further batch will be.
    pub(crate) failure: Option<StoreError>,
}

#[derive(Debug, Default)]
struct State {
    applied: u64,
    durable: u64,
    closing: bool,
    failure: Option<StoreError>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    progress: watch::Sender<Progress>,
}

/// The writer of one store. Dropping it makes durable what was applied and ends its thread.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread of a store that holds `count` batches.
    pub(crate) fn start(database: sled::Db, disk: Disk, mark: Mark, count: u64) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { applied: count, durable: count, ..State::default() }),
            changed: Condvar::new(),
            progress: watch::Sender::new(Progress { durable: count, failure: None }),
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_groups(&theirs, &database, disk, &mark))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Calls `apply` with the batch's number in its turn, and returns the number with the progress to wait on.
    ///
    /// The caller is stopped for the length of a flush only when very many batches wait for one;
    /// the writer needs nothing of the caller, so this ends.
    pub(crate) fn apply(
        &self,
        apply: impl FnOnce(u64) -> Result<(), StoreError>,
    ) -> Result<(u64, watch::Receiver<Progress>), StoreError> {
        let mut state = self.shared.lock();
        while state.failure.is_none() && state.applied - state.durable >= UNDURABLE_MAX {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        if let Err(failure) = apply(state.applied + 1) {
            self.shared.fail(&mut state, failure.clone());
            return Err(failure);
        }
        state.applied += 1;
        self.shared.changed.notify_all();
        Ok((state.applied, self.shared.progress.subscribe()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(Err(_panic)) = self.thread.take().map(JoinHandle::join) {
            tracing::error!("the store's writer thread panicked");
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a failed flush nobody knows what of the earlier writes is on disk, and a second
    /// fsync may succeed without having written: the store takes no further batch.
    fn fail(&self, state: &mut State, failure: StoreError) {
        state.failure = Some(failure.clone());
        self.progress.send_modify(|progress| progress.failure = Some(failure));
        self.changed.notify_all();
    }
}

fn write_groups(shared: &Shared, database: &sled::Db, mut disk: Disk, mark: &Mark) {
    loop {
        let mut state = shared.lock();
        while state.failure.is_none() && state.applied == state.durable && !state.closing {
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.failure.is_some() || state.applied == state.durable {
            return;
        }
        let group = state.applied;
        drop(state);

        let synced = |()| disk.sync().and_then(|()| mark.advance(group)).map_err(|error| error.to_string());
        let written = guarded(|| database.flush()).map(drop).and_then(synced);

        let mut state = shared.lock();
        match written {
            Ok(()) => {
                state.durable = group;
                shared.progress.send_modify(|progress| progress.durable = group);
                shared.changed.notify_all();
            }
            Err(cause) => {
                shared.fail(&mut state, StoreError::Medium { action: "make a batch durable", cause });
                return;
            }
        }
    }
}
