//! The thread that makes batches durable, many with one flush.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use ::store::StoreError;
use tokio::sync::watch;

use crate::alarm::Alarm;
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

/// Why a batch was not applied.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The disk does not take it. sled has not seen it.
    Disk(String),
    /// sled failed in the middle of it.
    Sled(String),
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
    /// Held while sled applies or flushes, which it does one at a time anyway.
    turn: Mutex<()>,
    /// Whether sled failed in the middle of a batch: a flush would wait for good then.
    is_wedged: AtomicBool,
    progress: watch::Sender<Progress>,
    alarm: Arc<Alarm>,
}

/// The writer of one store. Dropping it makes durable what was applied and ends its thread.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread of a store that holds `count` batches. The first failure raises `alarm`.
    pub(crate) fn start(
        database: sled::Db,
        disk: Disk,
        mark: Mark,
        count: u64,
        alarm: Arc<Alarm>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            state: Mutex::new(State { applied: count, durable: count, ..State::default() }),
            changed: Condvar::new(),
            turn: Mutex::new(()),
            is_wedged: AtomicBool::new(false),
            progress: watch::Sender::new(Progress { durable: count, failure: None }),
            alarm,
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_groups(&theirs, &database, disk, &mark))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// Tells whether a write failed.
    pub(crate) fn has_failed(&self) -> bool {
        self.shared.lock().failure.is_some()
    }

    /// Tells whether sled failed in the middle of a batch.
    pub(crate) fn is_wedged(&self) -> bool {
        self.shared.is_wedged.load(Ordering::Acquire)
    }

    /// Calls `apply` with the batch's number in its turn, and returns the number with the progress to wait on.
    ///
    /// The caller is stopped for the length of a flush only when very many batches wait for one;
    /// the writer needs nothing of the caller, so this ends.
    pub(crate) fn apply(
        &self,
        apply: impl FnOnce(u64) -> Result<(), Refusal>,
    ) -> Result<(u64, watch::Receiver<Progress>), StoreError> {
        let mut state = self.shared.lock();
        while state.failure.is_none() && state.applied - state.durable >= UNDURABLE_MAX {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        let turn = self.shared.take_turn();
        if let Err(refusal) = apply(state.applied + 1) {
            let (is_wedged, cause) = match refusal {
                Refusal::Disk(cause) => (false, cause),
                Refusal::Sled(cause) => (true, cause),
            };
            self.shared.is_wedged.store(is_wedged, Ordering::Release);
            drop(turn);
            let failure = StoreError::Medium { action: "apply a batch", cause };
            self.shared.fail(&mut state, failure.clone());
            return Err(failure);
        }
        drop(turn);
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

    fn take_turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After a failed flush nobody knows what of the earlier writes is on disk, and a second
    /// fsync may succeed without having written: this opening takes no further batch.
    fn fail(&self, state: &mut State, failure: StoreError) {
        state.failure = Some(failure.clone());
        self.progress.send_modify(|progress| progress.failure = Some(failure));
        self.changed.notify_all();
        self.alarm.raise();
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
        let turn = shared.take_turn();
        if shared.is_wedged.load(Ordering::Acquire) {
            return;
        }
        let flushed = guarded(|| database.flush()).map(drop);
        drop(turn);
        let written = flushed.and_then(synced);

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
