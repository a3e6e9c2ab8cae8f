//! The thread that writes batches and makes them durable, many at a time.
//!
//! A batch is seen by readers at once, and in sled with all that came until the writer was free: sled writes
//! its log for each batch that it is given, whatever its size.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::{io, thread};

use ::store::{Batch, StoreError};
use tokio::sync::watch;

use crate::alarm::Alarm;
use crate::disk::Disk;
use crate::guard::guarded;
use crate::mark::{self, Mark};
use crate::open::try_write;
use crate::pending::{Pending, Together};

/// So many batches may not be durable; one more waits for the writer.
const UNDURABLE_MAX: u64 = 4096;
/// So many bytes may not be in sled; a batch waits for the writer while there are more.
const PENDING_BYTES_MAX: usize = 8 << 20;

/// How far the writer is.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress {
    /// Batches up to this number are durable.
    pub(crate) durable: u64,
    /// Why no further batch will be.
    pub(crate) failure: Option<StoreError>,
}

/// What the writer writes to.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) database: sled::Db,
    pub(crate) disk: Disk,
    pub(crate) mark: Mark,
    /// How many batches it holds.
    pub(crate) count: u64,
    /// The store's directory.
    pub(crate) path: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    pending: Pending,
    /// The number of the newest batch.
    committed: u64,
    durable: u64,
    is_idle: bool,
    closing: bool,
    failure: Option<StoreError>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    /// Held while sled applies a batch, and while it is read.
    turn: Mutex<()>,
    /// Whether sled failed in the middle of a batch: a flush or a read would wait for good then.
    is_wedged: AtomicBool,
    progress: watch::Sender<Progress>,
    alarm: Arc<Alarm>,
}

/// The writer of one store. Dropping it makes durable what was committed and ends its thread.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. The first failure raises `alarm`.
    pub(crate) fn start(target: Target, alarm: Arc<Alarm>) -> io::Result<Self> {
        let count = target.count;
        let shared = Arc::new(Shared {
            state: Mutex::new(State { committed: count, durable: count, ..State::default() }),
            changed: Condvar::new(),
            turn: Mutex::new(()),
            is_wedged: AtomicBool::new(false),
            progress: watch::Sender::new(Progress { durable: count, failure: None }),
            alarm,
        });
        let theirs = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_groups(&theirs, target))?;
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

    /// Takes a batch, and returns its number with the progress to wait on.
    ///
    /// The caller is stopped for the length of a write only when very much waits for one; the writer needs
    /// nothing of the caller, so this ends.
    pub(crate) fn commit(&self, batch: &Batch) -> Result<(u64, watch::Receiver<Progress>), StoreError> {
        let mut state = self.shared.lock();
        while state.failure.is_none()
            && (state.committed - state.durable >= UNDURABLE_MAX
                || state.pending.bytes() >= PENDING_BYTES_MAX)
        {
            state = self.shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(failure) = &state.failure {
            return Err(failure.clone());
        }
        state.committed += 1;
        let number = state.committed;
        state.pending.add(batch, number);
        if std::mem::take(&mut state.is_idle) {
            self.shared.changed.notify_all();
        }
        Ok((number, self.shared.progress.subscribe()))
    }

    /// Reads sled beside what it does not have yet, unless it failed in the middle of a batch.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Pending) -> sled::Result<T>) -> Result<T, String> {
        let _turn = self.shared.take_turn();
        if self.is_wedged() {
            return Err("it failed in the middle of a batch".to_owned());
        }
        let state = self.shared.lock();
        guarded(|| read(&state.pending))
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

    /// Gives sled all changes of batches up to a number, as one.
    fn apply(&self, target: &Target, group: u64, together: Together) -> Result<(), StoreError> {
        let fail = |cause| StoreError::Medium { action: "apply a batch", cause };
        let Together { mut changes, large } = together;
        if large > 0 {
            // sled writes large values to files of their own, and does not get over it when it cannot. What
            // changes with them is written anew, too.
            try_write(&target.path, 2 * large).map_err(|error| fail(error.to_string()))?;
        }
        mark::count_in(&mut changes, group);
        let _turn = self.take_turn();
        if let Err(cause) = guarded(|| target.database.apply_batch(changes)) {
            self.is_wedged.store(true, Ordering::Release);
            return Err(fail(cause));
        }
        self.lock().pending.settle(group);
        Ok(())
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

fn write_groups(shared: &Shared, mut target: Target) {
    loop {
        let mut state = shared.lock();
        while state.failure.is_none() && state.committed == state.durable && !state.closing {
            state.is_idle = true;
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.is_idle = false;
        if state.failure.is_some() || state.committed == state.durable {
            return;
        }
        let (group, together) = (state.committed, state.pending.together());
        drop(state);
        let written = shared.apply(&target, group, together).and_then(|()| make_durable(&mut target, group));
        let mut state = shared.lock();
        if let Err(failure) = written {
            shared.fail(&mut state, failure);
            return;
        }
        state.durable = group;
        shared.progress.send_modify(|progress| progress.durable = group);
        shared.changed.notify_all();
    }
}

fn make_durable(target: &mut Target, group: u64) -> Result<(), StoreError> {
    let synced =
        |()| target.disk.sync().and_then(|()| target.mark.advance(group)).map_err(|error| error.to_string());
    let flushed = guarded(|| target.database.flush()).map(drop);
    flushed.and_then(synced).map_err(|cause| StoreError::Medium { action: "make a batch durable", cause })
}
