//! Reads all of a store without a change to it, for people.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read};
use std::path::Path;

use crate::data;
use crate::guard::guarded;
use crate::open::{OpenError, open_whole};
use crate::record::decode_value;

/// What a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    /// How many records could be read.
    pub records: u64,
    /// How many could not.
    pub corrupt: u64,
    /// How often the store was damaged before: what was moved aside lies beside it.
    pub moved_aside: u64,
}

/// Reads all of the store in the directory `path`; none is there without its directory. sled writes when
/// it opens, so a copy is read, in the directory `scratch`, which must be the caller's own.
///
/// # Errors
///
/// When it is in use, damaged, or could not be copied.
pub fn examine(path: &Path, scratch: &Path) -> Result<Option<Examined>, OpenError> {
    let failed = |source| OpenError::Io { path: path.to_owned(), source };
    let lock = match File::open(path.join("lock")) {
        Ok(lock) => lock,
        Err(missing) if missing.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // While it is held no process opens the store.
    hold(path, &lock)?;
    let Some(newest) = data::newest(path).map_err(failed)? else { return Ok(None) };
    let copied = scratch.join("data");
    data::copy_all(&newest, &copied).map_err(failed)?;
    let (database, _batches) = open_whole(path, &copied)?;
    let mut examined = Examined { records: 0, corrupt: 0, moved_aside: moved_aside(path).map_err(failed)? };
    let read = guarded(|| {
        database.iter().try_for_each(|record| {
            let (key, value) = record?;
            match decode_value(&key, &value) {
                Some(_) => examined.records += 1,
                None => examined.corrupt += 1,
            }
            Ok(())
        })
    });
    read.map_err(|cause| OpenError::Damaged { path: path.to_owned(), cause })?;
    Ok(Some(examined))
}

fn hold(path: &Path, mut lock: &File) -> Result<(), OpenError> {
    match lock.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = lock.read_to_string(&mut holder);
            if read.is_err() || holder.is_empty() {
                "(unknown)".clone_into(&mut holder);
            }
            Err(OpenError::InUse { path: path.to_owned(), holder })
        }
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path: path.to_owned(), source }),
    }
}

fn moved_aside(path: &Path) -> io::Result<u64> {
    let mut count = 0;
    for entry in fs::read_dir(path)? {
        count += u64::from(entry?.file_name().to_string_lossy().starts_with("data.corrupt-"));
    }
    Ok(count)
}
