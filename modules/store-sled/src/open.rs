//! Opening a directory, and what is done when it is damaged.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use std::{process, thread};

use ::store::Openings;

use crate::alarm::Alarm;
use crate::data;
use crate::disk::Disk;
use crate::guard::guarded;
use crate::mark::{self, Mark};
use crate::store::{Files, SledStore};
use crate::writer::{Target, Writer};

const CACHE_BYTES: u64 = 1 << 20;

/// sled rewrites fragmented segments in the background as often.
const CLEANING_PERIOD_MS: u64 = 2_000;

/// After a store was closed, sled's threads may hold its files a little longer.
const LINGERING_RETRIES: u32 = 100;
const LINGERING_PAUSE: Duration = Duration::from_millis(20);

/// So much must be writable before a store is opened anew or replaced: what opening writes, and a few
/// segments of sled's, which are of 512 KiB.
const ROOM_BYTES: usize = 2 << 20;

/// Says why a store was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or this one, has the store open.
    #[error("the store {} is in use by process {holder}", path.display())]
    InUse {
        /// The store's directory.
        path: PathBuf,
        /// The other process, as it wrote itself into the lock file.
        holder: String,
    },
    /// The files are damaged.
    #[error("the store {} is damaged: {cause}", path.display())]
    Damaged {
        /// The store's directory.
        path: PathBuf,
        /// What was found.
        cause: String,
    },
    /// The directory could not be used.
    #[error("the store {} could not be opened", path.display())]
    Io {
        /// The store's directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// What a recovery did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// What was wrong.
    pub cause: String,
    /// Where the damaged files are.
    pub moved_to: PathBuf,
}

/// A store that is open, and what it took.
#[derive(Debug)]
pub struct Opened {
    /// The store.
    pub store: SledStore,
    /// Present if the store was damaged: it is empty and its past lies aside.
    pub recovery: Option<Recovery>,
}

/// What is done with files that are damaged beyond single records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnDamage {
    /// The store does not open.
    Refuse,
    /// They are moved aside, and the store opens empty.
    MoveAside,
}

/// Which opening of a medium a store is, and where its files are.
#[derive(Debug, Clone)]
pub(crate) struct Opening {
    pub(crate) data: PathBuf,
    pub(crate) number: u64,
    pub(crate) openings: Openings,
    pub(crate) alarm: Arc<Alarm>,
}

impl Opening {
    /// Makes the first opening of the store in `path`.
    pub(crate) fn first(path: &Path) -> Result<Self, OpenError> {
        let data = data::settle(path).map_err(|source| io_error(path, source))?;
        let openings = Openings::default();
        Ok(Self { data, number: openings.newest(), openings, alarm: Arc::default() })
    }
}

impl SledStore {
    /// Opens the store in the directory `path`, which is made if it is missing. It does not open itself
    /// anew.
    ///
    /// # Errors
    ///
    /// When the store is in use, damaged, or its directory cannot be used.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, OpenError> {
        let path = path.into();
        let lock = Arc::new(Lock::take(&path)?);
        let opening = Opening::first(&path)?;
        Ok(open_locked(&path, lock, OnDamage::Refuse, opening)?.store)
    }

    /// Opens the store in the directory `path` after reading all of it. If it is damaged beyond
    /// single records, its files are moved aside and it opens empty.
    ///
    /// # Errors
    ///
    /// When the store is in use, its directory cannot be used, or the damaged files cannot be
    /// moved.
    pub fn open_or_recover(path: impl Into<PathBuf>) -> Result<Opened, OpenError> {
        let path = path.into();
        let lock = Arc::new(Lock::take(&path)?);
        let opening = Opening::first(&path)?;
        open_locked(&path, lock, OnDamage::MoveAside, opening)
    }
}

/// Opens the store in a directory that nobody else may use.
pub(crate) fn open_locked(
    path: &Path,
    lock: Arc<Lock>,
    on_damage: OnDamage,
    opening: Opening,
) -> Result<Opened, OpenError> {
    let whole = open_whole(path, &opening.data);
    if on_damage == OnDamage::Refuse {
        return Ok(Opened { store: finish(path, whole?, lock, opening)?, recovery: None });
    }
    let readable = whole.and_then(|(database, count)| {
        guarded(|| database.iter().try_for_each(|record| record.map(drop)))
            .map(|()| (database, count))
            .map_err(|cause| OpenError::Damaged { path: path.to_owned(), cause })
    });
    match readable {
        Ok(whole) => Ok(Opened { store: finish(path, whole, lock, opening)?, recovery: None }),
        Err(OpenError::Damaged { cause, .. }) => {
            // Where nothing can be written any store looks damaged.
            check_room(path).map_err(|source| io_error(path, source))?;
            let moved_to = move_aside(path, &opening.data).map_err(|source| io_error(path, source))?;
            let store = finish(path, open_whole(path, &opening.data)?, lock, opening)?;
            Ok(Opened { store, recovery: Some(Recovery { cause, moved_to }) })
        }
        Err(other) => Err(other),
    }
}

fn io_error(path: &Path, source: io::Error) -> OpenError {
    OpenError::Io { path: path.to_owned(), source }
}

fn finish(
    path: &Path,
    (database, count): (sled::Db, u64),
    lock: Arc<Lock>,
    opening: Opening,
) -> Result<SledStore, OpenError> {
    let start = || {
        let (disk, mark) = (Disk::open(&opening.data)?, Mark::open(&opening.data, count)?);
        let (path, database) = (path.to_owned(), database.clone());
        Writer::start(Target { database, disk, mark, count, path }, opening.alarm.clone())
    };
    let writer = start().map_err(|source| io_error(path, source))?;
    Ok(SledStore::new(path.to_owned(), Files { writer, database, _lock: lock }, opening))
}

/// Opens sled's files and counts the batches in them: none that was acknowledged may be missing.
pub(crate) fn open_whole(path: &Path, data: &Path) -> Result<(sled::Db, u64), OpenError> {
    let database = open_sled(path, data)?;
    let count = mark::check(&database, data);
    let count = count.map_err(|cause| OpenError::Damaged { path: path.to_owned(), cause })?;
    Ok((database, count))
}

fn open_sled(path: &Path, data: &Path) -> Result<sled::Db, OpenError> {
    check_access(data).map_err(|source| io_error(path, source))?;
    for _attempt in 0..LINGERING_RETRIES {
        let config = sled::Config::new()
            .path(data)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(Some(CLEANING_PERIOD_MS));
        match guarded(|| config.open()) {
            Err(cause) if cause.contains("could not acquire lock") => thread::sleep(LINGERING_PAUSE),
            opened => {
                return opened.map_err(|cause| OpenError::Damaged { path: path.to_owned(), cause });
            }
        }
    }
    Err(io_error(path, io::Error::new(io::ErrorKind::WouldBlock, "its files stay locked")))
}

/// Tells missing permissions and read-only media from damage, which sled does not.
fn check_access(data: &Path) -> io::Result<()> {
    fs::create_dir_all(data.join("blobs"))?;
    for name in ["db", "conf"] {
        match File::options().read(true).write(true).open(data.join(name)) {
            Ok(_file) => {}
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Tries whether the directory takes writes, and keeps them.
pub(crate) fn check_room(path: &Path) -> io::Result<()> {
    probe(path, ROOM_BYTES, File::sync_all)
}

/// Tries whether the directory takes so many bytes.
pub(crate) fn try_write(path: &Path, bytes: usize) -> io::Result<()> {
    probe(path, bytes, |_| Ok(()))
}

fn probe(path: &Path, bytes: usize, settle: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
    let name = path.join("probe");
    let written = File::create(&name).and_then(|mut file| {
        file.write_all(&vec![0x5a; bytes])?;
        settle(&file)
    });
    let removed = fs::remove_file(&name);
    written.and(removed)
}

fn move_aside(path: &Path, data: &Path) -> io::Result<PathBuf> {
    let mut number = 1_u32;
    let target = loop {
        let target = path.join(format!("data.corrupt-{number}"));
        if !target.try_exists()? {
            break target;
        }
        number += 1;
    };
    fs::rename(data, &target)?;
    File::open(path)?.sync_all()?;
    Ok(target)
}

/// Keeps other processes out of the directory. The kernel frees it when the process ends, however
/// it ends.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    pub(crate) fn take(path: &Path) -> Result<Self, OpenError> {
        let fail = |source| io_error(path, source);
        fs::create_dir_all(path).map_err(fail)?;
        let name = path.join("lock");
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(name).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                if file.read_to_string(&mut holder).is_err() || holder.is_empty() {
                    "(unknown)".clone_into(&mut holder);
                }
                return Err(OpenError::InUse { path: path.to_owned(), holder });
            }
            Err(TryLockError::Error(error)) => return Err(fail(error)),
        }
        file.set_len(0).map_err(fail)?;
        file.rewind().map_err(fail)?;
        write!(file, "{}", process::id()).map_err(fail)?;
        Ok(Self { _file: file })
    }
}
