//! The medium: a directory whose store opens itself anew after a write failed.

use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ::store::{Medium, SharedStore};
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use crate::alarm::{Alarm, Heard};
use crate::data;
use crate::open::{Lock, OnDamage, OpenError, Opening, Recovery, check_room, open_locked};
use crate::store::{Closing, SledStore};

/// The pause before a store that failed is opened anew, and the longest one. An opening that lasts as
/// long as the longest was a good one.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// A directory with a store that opens itself anew after a write failed.
///
/// Until the directory takes writes again the store that failed stays open, for reads.
pub struct SledMedium {
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
}

struct Shared {
    path: PathBuf,
    on_damage: OnDamage,
    lock: Arc<Lock>,
    alarm: Arc<Alarm>,
    newest: Mutex<Arc<SledStore>>,
}

impl SledMedium {
    /// Opens the store in the directory `path`, which is made if it is missing. What `on_damage` says is
    /// done now and at each later opening.
    ///
    /// # Errors
    ///
    /// When the store is in use, damaged and not to be replaced, or its directory cannot be used.
    pub fn open(path: impl Into<PathBuf>, on_damage: OnDamage) -> Result<Self, OpenError> {
        let path = path.into();
        let lock = Arc::new(Lock::take(&path)?);
        let opening = Opening::first(&path)?;
        let alarm = opening.alarm.clone();
        let opened = open_locked(&path, lock.clone(), on_damage, opening)?;
        report(opened.recovery.as_ref());
        let newest = Mutex::new(Arc::new(opened.store));
        let shared = Arc::new(Shared { path, on_damage, lock, alarm, newest });
        let theirs = shared.clone();
        let keeper = thread::Builder::new().name("store-keeper".to_owned()).spawn(move || theirs.keep());
        let keeper = keeper.map_err(|source| OpenError::Io { path: shared.path.clone(), source })?;
        Ok(Self { shared, keeper: Some(keeper) })
    }

    /// Returns the medium's directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }
}

impl fmt::Debug for SledMedium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledMedium").field("path", &self.shared.path).finish_non_exhaustive()
    }
}

impl Medium for SledMedium {
    fn store(&self) -> SharedStore {
        self.shared.newest()
    }
}

impl Drop for SledMedium {
    fn drop(&mut self) {
        self.shared.alarm.close();
        if let Some(Err(_panic)) = self.keeper.take().map(JoinHandle::join) {
            tracing::error!("the store's keeper thread panicked");
        }
    }
}

/// Says that a damaged store was replaced: what is to be done about it depends on who uses it.
fn report(recovery: Option<&Recovery>) {
    if let Some(Recovery { cause, moved_to }) = recovery {
        let moved_to = moved_to.display();
        tracing::error!(cause, %moved_to, "the store was damaged: it was set aside, and an empty one is begun");
    }
}

impl Shared {
    fn newest(&self) -> Arc<SledStore> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Opens the store anew after each failure, until the medium is closed.
    fn keep(&self) {
        let mut pause = PAUSE.0;
        loop {
            let mut heard = self.alarm.listen(Some(PAUSE.1));
            if heard == Heard::Nothing {
                pause = PAUSE.0;
                heard = self.alarm.listen(None);
            }
            if heard == Heard::Closing {
                return;
            }
            let path = self.path.display();
            tracing::warn!(%path, "a write failed: the store is opened anew once it takes writes again");
            loop {
                if self.alarm.is_closed_within(pause) {
                    return;
                }
                pause = (pause * 2).min(PAUSE.1);
                match self.reopen() {
                    Ok(()) => break,
                    Err(OpenError::Io { source, .. }) => {
                        tracing::debug!(%path, error = %source, ?pause, "the store takes no writes yet");
                    }
                    Err(error) => tracing::error!(%error, ?pause, "the store cannot be opened anew"),
                }
            }
            tracing::info!(%path, "the store was opened anew");
        }
    }

    /// Opens the store anew. What is read then is what the disk holds: after a failed flush the system's
    /// cache may show what never reached it. Where sled does not close, a copy is opened.
    fn reopen(&self) -> Result<(), OpenError> {
        let fail = |source| OpenError::Io { path: self.path.clone(), source };
        check_room(&self.path).map_err(fail)?;
        let failed = self.newest();
        let closing = failed.close();
        if closing == Closing::Stuck {
            tracing::error!("the store does not close: this process has to be started again");
            return Err(fail(io::ErrorKind::ResourceBusy.into()));
        }
        let before = failed.opening();
        drop_cached(&before.data).map_err(fail)?;
        let data = match closing {
            Closing::Left => data::copy(&self.path, &before.data).map_err(fail)?,
            Closing::Done | Closing::Stuck => before.data.clone(),
        };
        let is_copy = data != before.data;
        self.alarm.quiet();
        let opening = Opening { data, number: before.number + 1, ..before.clone() };
        let opened = open_locked(&self.path, self.lock.clone(), self.on_damage, opening)?;
        report(opened.recovery.as_ref());
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(opened.store);
        if is_copy && let Err(error) = data::leave(&self.path, &before.data) {
            tracing::warn!(%error, "what an earlier opening left stays until the next start");
        }
        before.openings.begin();
        Ok(())
    }
}

/// Lets the system forget what it holds of the files, so that they are read from the disk.
fn drop_cached(data: &Path) -> io::Result<()> {
    for name in data::files(data)? {
        let file = File::open(name)?;
        // What is not written yet is not forgotten.
        file.sync_all()?;
        posix_fadvise(&file, 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED)?;
    }
    Ok(())
}
